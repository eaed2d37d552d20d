"""Estimate of the time that a run takes, before it starts."""

import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from dec_jax.networks.architecture import Architecture, Conv2D
from dec_jax.networks.autoencoder import encode, init_params, reconstruct
from dec_jax.networks.own import Network
from dec_jax.recipes.recipe import Recipe
from dec_jax.training.layerwise import pretraining_stages
from dec_jax.training.minibatches import steps_per_epoch

# Seconds of a step that has next to nothing to compute.
OVERHEAD = 1.5e-3
# A step's time, as a multiple of what its FLOPs take in a product of large matrices. Of
# steps of 256 samples on two CPU cores: dense layers 1.1 to 2, convolutions 3.5.
DENSE, CONVOLUTIONAL = 1.5, 4.0
SIDE, PRODUCTS = 1024, 8  # of the matrices
LONG = 60  # seconds from which a run is announced


def time_line(recipe: Recipe, n_samples: int) -> str:
    """Says how long a seed will take, if that is more than a minute.

    Args:
      recipe: the settings of the run.
      n_samples: number of samples.

    Returns:
      A line such as "up to about 6 minutes a seed on this machine", or "": training may
      end before its last interval.
    """
    seconds = expected_seconds(recipe, n_samples)
    if seconds < LONG:
        return ""
    minutes = seconds / 60
    if minutes < 90:
        return f"up to about {max(2, round(minutes))} minutes a seed on this machine"
    return f"up to about {minutes / 60:.0f} hours a seed on this machine"


def expected_seconds(recipe: Recipe, n_samples: int) -> float:
    """Estimates the longest time of pretraining and clustering, to a factor of about two.

    Args:
      recipe: the settings of the run.
      n_samples: number of samples.

    Returns:
      Seconds on these devices, from the FLOPs of the steps and the measured time of a
      product of matrices; what comes before and after training is left out.

    Example:
      >>> from dec_jax import DataShape, make_recipe
      >>> recipe = make_recipe("dec", DataShape(n_samples=150, input_dim=4))
      >>> 0 < expected_seconds(recipe, 150) < 600
      True
    """
    flops_a_second = product_rate(recipe.network.precision)
    total = 0.0
    for stage in pretraining_stages(recipe.architecture, recipe.pretrain):
        config = stage.config
        batch = min(config.batch_size, n_samples)
        steps = config.epochs * steps_per_epoch(n_samples, batch)
        work = batch * 3 * flops(stage.architecture, reconstruct) / flops_a_second
        total += steps * max(OVERHEAD, slowdown(stage.architecture) * work)
    network, train = recipe.network, recipe.train
    batch = min(train.batch_size, n_samples)
    a_sample = slowdown(network) / flops_a_second
    encoding = a_sample * flops(network, encode)
    both = "decoder" in recipe.objective.trained
    forward = a_sample * flops(network, reconstruct) if both else encoding
    step = max(OVERHEAD, 3 * batch * forward)
    refresh = n_samples * encoding
    return total + train.max_intervals * (train.update_interval * step + refresh)


def slowdown(network: Network) -> float:
    """The time of a network's FLOPs as a multiple of that in a product of matrices."""
    layers = network.layers if isinstance(network, Architecture) else ()
    convolutions = any(isinstance(layer, Conv2D) for layer in layers)
    return CONVOLUTIONAL if convolutions else DENSE


def flops(network: Network, forward: Any) -> float:
    """Counts the FLOPs of a forward pass of one sample; nothing is compiled."""
    batch = 8
    params = jax.eval_shape(
        partial(init_params, architecture=network), jax.random.key(0)
    )
    x = jax.ShapeDtypeStruct((batch, network.input_dim), jnp.float32)
    lowered = jax.jit(partial(forward, architecture=network)).lower(params, x)
    return float((lowered.cost_analysis() or {}).get("flops", 0.0)) / batch


def product_rate(precision: str) -> float:
    """Measures the FLOPs a second of a product of two large matrices."""
    dtype = jnp.dtype(precision)
    matrix = jnp.ones((SIDE, SIDE), dtype)
    product = jax.jit(jnp.matmul)
    product(matrix, matrix).block_until_ready()
    best = float("inf")
    for _ in range(PRODUCTS):
        start = time.perf_counter()
        product(matrix, matrix).block_until_ready()
        best = min(best, time.perf_counter() - start)
    return 2 * SIDE**3 / best
