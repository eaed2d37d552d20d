"""The loss of validation samples, and pretraining that stops early by it."""

from dataclasses import replace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_training import PRETRAIN, TINY, fit

from dec_jax.networks.autoencoder import init_params, reconstruct
from dec_jax.training.augmentation import Augmentation
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.pretrain import PretrainConfig, PretrainHistory, validation_loss


def test_without_validation_data_there_is_no_validation_loss(key, x):
    _, history = fit(key, x)
    assert isinstance(history, PretrainHistory)
    assert np.isnan(history.validation).all()


def test_validation_loss_is_the_loss_of_the_parameters_after_the_epoch(key, x):
    # 37 samples in batches of 16: the last one is padded, and its padding must not count.
    config = PretrainConfig(1, 16, Optimizer("adam", 0.01))
    params, history = fit(key, x[:64], config=config, validation=x[64:101])
    x_hat = reconstruct(params, jnp.asarray(x[64:101]), architecture=TINY)
    expected = np.mean((np.asarray(x_hat) - x[64:101]) ** 2)
    np.testing.assert_allclose(history.validation[0], expected, rtol=1e-5)


def test_validation_noise_is_the_same_in_each_epoch(key, x):
    config = replace(PRETRAIN, augmentation=Augmentation(masking=0.5))
    params = init_params(key, TINY)
    first, again = (
        validation_loss(key, params, jnp.asarray(x), architecture=TINY, config=config)
        for _ in range(2)
    )
    clean = validation_loss(
        key,
        params,
        jnp.asarray(x),
        architecture=TINY,
        config=replace(config, augmentation=Augmentation()),
    )
    assert first == again != clean


def overfit(key, x, patience, **options):
    """Four samples to learn, others to watch, and a rate that soon does harm."""
    config = PretrainConfig(
        60, 4, Optimizer("sgd", 0.5, momentum=0.0), patience=patience
    )
    return fit(key, x[:4], config=config, validation=x[100:], **options)


def test_patience_stops_and_goes_back_to_the_lowest_loss(key, x):
    params, history = overfit(key, x, patience=5)
    best = int(np.argmin(history.validation))
    assert 0 < best < 54
    assert len(history.validation) == best + 1 + 5
    config = PretrainConfig(60, 4)
    loss = validation_loss(
        key, params, jnp.asarray(x[100:]), architecture=TINY, config=config
    )
    np.testing.assert_allclose(loss, history.validation[best], rtol=1e-5)


def test_without_patience_all_epochs_run(key, x):
    _, history = overfit(key, x, patience=None)
    assert len(history.loss) == 60


def test_patience_without_validation_watches_the_epochs_own_loss(key, x):
    # A rate too small to lower a loss of this size in float32: the first epoch is best.
    config = PretrainConfig(30, 64, Optimizer("sgd", 1e-12), patience=2)
    _, history = fit(key, x[:64], config=config)
    assert len(history.loss) == 3


def test_resuming_with_patience_equals_the_unbroken_run(key, x):
    states = []
    params, history = overfit(
        key, x, 5, on_epoch=lambda s, _: states.append(jax.tree.map(jnp.copy, s))
    )
    resumed, rest = overfit(key, x, 5, state=states[len(states) - 3])
    chex.assert_trees_all_equal(resumed, params)
    np.testing.assert_array_equal(rest.validation, history.validation[-2:])


def test_pretrain_rejects_validation_of_another_width(key, x):
    with pytest.raises(ValueError, match=r"validation must have 8 columns.*\(200, 3\)"):
        fit(key, x, validation=x[:, :3])
