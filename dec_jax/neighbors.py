"""Exact nearest neighbours on the device, in matrix products and without an n x n array."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from dec_jax.validation import check_positive_int, check_samples

# Distances that may be in memory at once: 134 MB.
DISTANCES_AT_ONCE = 2**25
# Samples whose least distance stands for all of theirs in the first of two rounds.
GROUP_SIZE = 64


class Neighbors(NamedTuple):
    """The nearest other samples of each sample, nearest first."""

    indices: Int[Array, "n m"]
    distances: Float[Array, "n m"]  # Euclidean


def nearest_neighbors(
    x: Num[Array, "n d"] | np.ndarray, n_neighbors: int = 20
) -> Neighbors:
    """Finds the nearest other samples of each sample, by comparing all with all.

    Blocks of rows meet all samples in a matrix product. Sorting so many distances would
    cost far more than the product: the least of each group of samples is looked at
    first, and only the groups with the lowest of those can hold a neighbour.

    Args:
      x: samples.
      n_neighbors: m, from 1 to n - 1.

    Returns:
      Indices and Euclidean distances. A sample is not its own neighbour, a copy of it
      is. Which of several samples at the same distance are taken is not said.

    Raises:
      TypeError, ValueError: `x` is not finite numbers of shape [n, d], or there are not
        so many neighbours.
    """
    check_samples(x)
    check_positive_int("n_neighbors", n_neighbors)
    if n_neighbors >= len(x):
        raise ValueError(
            f"n_neighbors must be below the number of samples, {len(x)}, got "
            f"{n_neighbors}."
        )
    return _nearest_neighbors(jnp.asarray(x), n_neighbors)


@partial(jax.jit, static_argnames="n_neighbors")
def _nearest_neighbors(x: Num[Array, "n d"], n_neighbors: int) -> Neighbors:
    n = len(x)
    # Small numbers leave the differences of squares below more exact.
    x = x.astype(jnp.float32)
    x = x - x.mean(axis=0, keepdims=True)
    # With few groups, a sample is a group of its own.
    size = GROUP_SIZE if n >= 4 * GROUP_SIZE * n_neighbors else 1
    others = jnp.pad(x, ((0, -n % size), (0, 0)))
    squares = (others**2).sum(axis=1)
    squares = jnp.where(jnp.arange(len(others)) < n, squares, jnp.inf)
    block_size = min(max(8, DISTANCES_AT_ONCE // len(others)), n)
    num_blocks = -(-n // block_size)
    rows = jnp.arange(num_blocks * block_size).reshape(num_blocks, block_size)

    def block(row: Int[Array, " b"]) -> Neighbors:
        # Rows past the end repeat the last one and are dropped.
        row = jnp.minimum(row, n - 1)
        own = x[row]
        # |own - other|^2 without |own|^2, which does not change the order.
        products = jnp.matmul(own, others.T, precision="highest")
        distances = squares[None, :] - 2 * products
        itself = row[:, None] == jnp.arange(len(others))[None, :]
        distances = jnp.where(itself, jnp.inf, distances)
        groups = distances.reshape(block_size, -1, size)
        _, nearest = jax.lax.top_k(-groups.min(axis=2), n_neighbors)
        candidates = jnp.take_along_axis(groups, nearest[:, :, None], axis=1)
        _, place = jax.lax.top_k(-candidates.reshape(block_size, -1), n_neighbors)
        group = jnp.take_along_axis(nearest, place // size, axis=1)
        indices = group * size + place % size
        # Once more and exactly, for the few that are kept.
        apart = own[:, None, :] - x[indices]
        return Neighbors(indices, jnp.sqrt((apart**2).sum(axis=2)))

    found = jax.lax.map(block, rows)
    return Neighbors(*(part.reshape(-1, n_neighbors)[:n] for part in found))
