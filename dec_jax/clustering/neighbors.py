"""Exact nearest neighbors on the device, and the graph that they make.

In matrix products, and without an n x n array.
"""

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
# Least weight of an edge: a copy of a far sample must not fall off the graph.
LEAST_WEIGHT = 1e-6


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
    first, and only the groups with the lowest of those can hold a neighbor.

    Args:
      x: samples.
      n_neighbors: m, from 1 to n - 1.

    Returns:
      Indices and Euclidean distances. A sample is not its own neighbor, a copy of it
      is. Which of several samples at the same distance are taken is not said.

    Raises:
      TypeError, ValueError: `x` is not finite numbers of shape [n, d], or there are not
        so many neighbors.
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


class Graph(NamedTuple):
    """A symmetric graph W = A + A^T, with the edges of A in the order of `Neighbors`."""

    neighbors: Int[Array, "n m"]
    weights: Float[Array, "n m"]  # half an edge's weight where both ends list it


def neighbor_graph(neighbors: Neighbors, *, scale_neighbor: int = 7) -> Graph:
    """Ties samples to their neighbors, as strongly as their own surroundings say.

    w_ij = exp(-d_ij^2 / (s_i s_j)) where one of the two is among the other's nearest,
    with s_i the distance of i to its seventh neighbor: Zelnik-Manor and Perona,
    `Self-Tuning Spectral Clustering
    <https://papers.nips.cc/paper/2619-self-tuning-spectral-clustering>`_, 2004.

    Args:
      neighbors: from `nearest_neighbors`.
      scale_neighbor: which neighbor gives the scale, counted from 1; the last one
        where there are fewer.

    Returns:
      The graph.

    Raises:
      ValueError: `scale_neighbor` is below 1.
    """
    check_positive_int("scale_neighbor", scale_neighbor)
    return _neighbor_graph(neighbors, scale_neighbor)


@partial(jax.jit, static_argnames="scale_neighbor")
def _neighbor_graph(neighbors: Neighbors, scale_neighbor: int) -> Graph:
    indices, distances = neighbors
    n, m = indices.shape
    scale = distances[:, min(scale_neighbor, m) - 1]
    # Of a sample with many copies it is 0.
    scale = jnp.maximum(scale, jnp.finfo(jnp.float32).tiny ** 0.5)
    similar = jnp.exp(-(distances**2) / (scale[:, None] * scale[indices]))
    weights = jnp.maximum(similar, LEAST_WEIGHT)

    def mutual(column: Int[Array, " n"]) -> Array:
        return (indices[column] == jnp.arange(n)[:, None]).any(axis=1)

    both = jax.lax.map(mutual, indices.T).T
    return Graph(indices, jnp.where(both, weights / 2, weights))


def adjacency_product(graph: Graph, v: Float[Array, "n c"]) -> Float[Array, "n c"]:
    """W v, the sum over each node's edges.

    Args:
      graph: W, from `neighbor_graph`.
      v: some vectors, as columns, with a value for each node.

    Returns:
      W v, the vectors in the order of `v`.
    """

    def add(total: Array, column: tuple[Array, Array]) -> tuple[Array, None]:
        target, weight = column[0], column[1][:, None]
        total = total + weight * v[target]
        return total.at[target].add(weight * v), None

    columns = (graph.neighbors.T, graph.weights.T)
    return jax.lax.scan(add, jnp.zeros_like(v), columns)[0]


def node_degrees(graph: Graph) -> Float[Array, " n"]:
    """D, the sum of each node's edges."""
    return adjacency_product(graph, jnp.ones((len(graph.neighbors), 1)))[:, 0]
