"""Small networks, and parameters as training might leave them."""

import jax
import jax.numpy as jnp
import numpy as np

from dec_jax.networks.architecture import (
    Architecture,
    Conv2D,
    Dense,
    MaxPool2D,
    dense_architecture,
)
from dec_jax.networks.autoencoder import init_params

TINY = dense_architecture(2, hidden=(2,), embedding_dim=1)
CONVOLUTIONAL = Architecture(
    (6, 6, 1), (Conv2D(2, (3, 3)), MaxPool2D(), Dense(3, "linear")), batch_norm=True
)
# The decoder has no batch normalization: its part of "batch_stats" is empty.
HALF_NORMALIZED = Architecture(
    (5, 5, 1), (Conv2D(2, (3, 3)), Dense(3, "linear")), batch_norm=True
)
METADATA = {
    "recipe": "dec",
    "seed": 3,
    "classes": ["zero", "eins"],
    "note": {"é": None},
}


def some_params(architecture, n_clusters=3, seed=0):
    """Random parameters, as training might leave them: no bias is 0."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(
        lambda key: init_params(key, architecture), jax.random.key(0)
    )
    params = jax.tree.map(
        lambda leaf: rng.uniform(-0.5, 1, leaf.shape).astype(np.float32), shapes
    )
    if "batch_stats" in params:
        # Running variances are positive.
        params["batch_stats"] = jax.tree.map(np.abs, params["batch_stats"])
    centroids = rng.normal(size=(n_clusters, architecture.embedding_dim))
    return jax.tree.map(
        jnp.asarray, {**params, "centroids": centroids.astype(np.float32)}
    )


def without(params, name):
    return {key: value for key, value in params.items() if key != name}
