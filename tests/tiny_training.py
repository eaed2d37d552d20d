"""Pretrains a tiny network for a few epochs, and clusters the blobs in short intervals."""

import jax
import jax.numpy as jnp
import pytest

from dec_jax.networks.architecture import dense_architecture
from dec_jax.networks.autoencoder import encode, init_params
from dec_jax.objectives import DCN, DEC, IDEC
from dec_jax.training.augmentation import Augmentation
from dec_jax.training.cluster import train
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.pretrain import PretrainConfig, pretrain_end_to_end
from dec_jax.training.state import TrainConfig, init_state

KEY = jax.random.key(0)
TINY = dense_architecture(8, hidden=(16,), embedding_dim=3)
# 200 samples in batches of 64, the last one partial; intervals end within an epoch.
CONFIG = TrainConfig(
    update_interval=5,
    max_intervals=4,
    batch_size=64,
    tolerance=0.0,
    optimizer=Optimizer("sgd", 0.1),
)
PRETRAIN = PretrainConfig(
    epochs=6,
    batch_size=64,
    optimizer=Optimizer("adam", 0.01, schedule="cosine"),
    augmentation=Augmentation(masking=0.2),
)
METHODS = [DEC(), IDEC(), DCN(clustering_weight=0.1)]
NAMES = ["dec", "idec", "dcn"]
# One method in the default tier, the others in the slow one.
ONE_QUICK = [
    METHODS[0],
    *(pytest.param(one, marks=pytest.mark.slow) for one in METHODS[1:]),
]
by_method = pytest.mark.parametrize("objective", ONE_QUICK, ids=NAMES)


def fit(key, x, **options):
    """Pretrains the tiny network: its parameters and the history."""
    return pretrain_end_to_end(
        key, x, **({"architecture": TINY, "config": PRETRAIN} | options)
    )


def state_of(start, objective=METHODS[0], config=CONFIG, key=KEY):
    return init_state(key, *start, objective=objective, config=config)


def settings(objective=METHODS[0], config=CONFIG, architecture=TINY):
    return {"architecture": architecture, "objective": objective, "config": config}


def run(start, x, objective=METHODS[0], config=CONFIG, **options):
    state = state_of(start, objective, config)
    return train(state, x, **settings(objective, config), **options)


def fresh_start(x, n_clusters):
    """Network, first samples as centroids, and all samples in cluster 0."""
    params = init_params(KEY, TINY)
    z = encode(params, jnp.asarray(x), architecture=TINY)
    return params, z[:n_clusters], jnp.zeros(len(x), jnp.int32)
