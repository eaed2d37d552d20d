"""Exact nearest neighbors on the device, and their graph.

Distances are matrix products of blocks of samples; no array of shape [n, n] exists.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from dec_jax.validation import check_positive_int, check_samples

# Largest number of distances in memory at a time, 134 MB.
DISTANCES_AT_ONCE = 2**25
# Number of samples in a group, of which the first of two searches sees only the nearest.
GROUP_SIZE = 64
# Smallest weight of an edge: isolated samples with duplicates must stay connected.
LEAST_WEIGHT = 1e-6


class Neighbors(NamedTuple):
    """The nearest other samples of each sample, nearest first."""

    indices: Int[Array, "n m"]
    distances: Float[Array, "n m"]  # Euclidean


def nearest_neighbors(
    x: Num[Array, "n d"] | np.ndarray, n_neighbors: int = 20
) -> Neighbors:
    """Finds the nearest other samples of each sample, by comparing all with all.

    The distances of a block of rows to all samples are one matrix product. Sorting all of
    them would take much longer than the product. Samples are therefore in groups of 64:
    only the m groups with the smallest minima can hold the m nearest neighbors.

    Args:
      x: samples, [n, d] of any numeric dtype.
      n_neighbors: number of neighbors m, from 1 to n - 1.

    Returns:
      Indices and Euclidean distances. A sample is not its own neighbor, but a duplicate of
      it is. The order of neighbors at equal distances is arbitrary.

    Raises:
      TypeError, ValueError: `x` is not finite numbers of shape [n, d], or `n_neighbors` is
        out of range.

    Example:
      >>> x = np.array([[0.0], [1.0], [5.0], [7.0]], np.float32)
      >>> neighbors = nearest_neighbors(x, 1)
      >>> neighbors.indices[:, 0].tolist(), neighbors.distances[:, 0].tolist()
      ([1, 0, 3, 2], [1.0, 1.0, 2.0, 2.0])
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
    # Centered, because differences of large squares would lose digits below.
    x = x.astype(jnp.float32)
    x = x - x.mean(axis=0, keepdims=True)
    others, squares, size = _in_groups(x, n_neighbors)
    block_size = min(max(8, DISTANCES_AT_ONCE // len(others)), n)
    num_blocks = -(-n // block_size)
    rows = jnp.arange(num_blocks * block_size).reshape(num_blocks, block_size)

    def block(row: Int[Array, " b"]) -> Neighbors:
        # Rows past the end repeat the last one and are dropped.
        row = jnp.minimum(row, n - 1)
        own = x[row]
        distances = _distances_beyond_own(own, others, squares)
        itself = row[:, None] == jnp.arange(len(others))[None, :]
        distances = jnp.where(itself, jnp.inf, distances)
        return _nearest_in_groups(own, x, distances, n_neighbors, size)

    found = jax.lax.map(block, rows)
    return Neighbors(*(part.reshape(-1, n_neighbors)[:n] for part in found))


def _in_groups(
    x: Float[Array, "n d"], n_neighbors: int
) -> tuple[Float[Array, "p d"], Float[Array, " p"], int]:
    """Pads samples to whole groups; returns them, their squares, and a group's size."""
    n = len(x)
    # If groups would be few, each sample is a group.
    size = GROUP_SIZE if n >= 4 * GROUP_SIZE * n_neighbors else 1
    others = jnp.pad(x, ((0, -n % size), (0, 0)))
    squares = (others**2).sum(axis=1)
    squares = jnp.where(jnp.arange(len(others)) < n, squares, jnp.inf)
    return others, squares, size


def _distances_beyond_own(
    own: Float[Array, "b d"], others: Float[Array, "p d"], squares: Float[Array, " p"]
) -> Float[Array, "b p"]:
    """Computes ||own - other||^2 without ||own||^2, which does not change the order."""
    products = jnp.matmul(own, others.T, precision="highest")
    return squares[None, :] - 2 * products


def _nearest_in_groups(
    own: Float[Array, "b d"],
    x: Float[Array, "n d"],
    distances: Float[Array, "b p"],
    n_neighbors: int,
    size: int,
) -> Neighbors:
    """Finds the smallest distances of each row, and computes them again."""
    block_size = len(own)
    groups = distances.reshape(block_size, -1, size)
    _, nearest = jax.lax.top_k(-groups.min(axis=2), n_neighbors)
    candidates = jnp.take_along_axis(groups, nearest[:, :, None], axis=1)
    # `place` counts within the m candidate groups, `indices` over all samples.
    _, place = jax.lax.top_k(-candidates.reshape(block_size, -1), n_neighbors)
    group = jnp.take_along_axis(nearest, place // size, axis=1)
    indices = group * size + place % size
    # Distances of the kept few are computed again without cancellation.
    apart = own[:, None, :] - x[indices]
    return Neighbors(indices, jnp.sqrt((apart**2).sum(axis=2)))


@partial(jax.jit, static_argnames="n_neighbors")
def neighbors_among(
    rows: Float[Array, "b d"], x: Float[Array, "n d"], n_neighbors: int
) -> Neighbors:
    """Finds the samples nearest to other rows, which may be among the samples.

    Args:
      rows: [b, d], as many at a time as `DISTANCES_AT_ONCE` allows.
      x: samples, [n, d].
      n_neighbors: number of neighbors m, from 1 to n.

    Returns:
      Indices into `x` and Euclidean distances, nearest first.

    Example:
      >>> x = jnp.array([[0.0], [1.0], [5.0]])
      >>> neighbors_among(jnp.array([[4.0]]), x, 2).indices.tolist()
      [[2, 1]]
    """
    middle = x.mean(axis=0, keepdims=True)
    rows, x = rows - middle, x - middle
    others, squares, size = _in_groups(x, n_neighbors)
    distances = _distances_beyond_own(rows, others, squares)
    return _nearest_in_groups(rows, x, distances, n_neighbors, size)


class Graph(NamedTuple):
    """Symmetric graph W = A + A^T, with the edges of A in the order of `Neighbors`."""

    neighbors: Int[Array, "n m"]
    weights: Float[Array, "n m"]  # half the edge's weight if both ends list it


def neighbor_graph(neighbors: Neighbors, *, scale_neighbor: int = 7) -> Graph:
    """Connects samples to their neighbors, with weights relative to the local scale.

    w_ij = exp(-d_ij^2 / (s_i s_j)) if i or j is among the nearest neighbors of the other,
    where s_i is the distance of i to its seventh neighbor: Zelnik-Manor and Perona,
    `Self-Tuning Spectral Clustering
    <https://papers.nips.cc/paper/2619-self-tuning-spectral-clustering>`_, 2004.

    Args:
      neighbors: result of `nearest_neighbors`.
      scale_neighbor: number of the neighbor whose distance is the scale, from 1; the last
        neighbor if there are fewer.

    Returns:
      The graph.

    Raises:
      ValueError: `scale_neighbor` is below 1.

    Example:
      >>> x = np.array([[0.0], [1.0], [5.0], [7.0]], np.float32)
      >>> neighbor_graph(nearest_neighbors(x, 2)).weights.shape
      (4, 2)
    """
    check_positive_int("scale_neighbor", scale_neighbor)
    return _neighbor_graph(neighbors, scale_neighbor)


@partial(jax.jit, static_argnames="scale_neighbor")
def _neighbor_graph(neighbors: Neighbors, scale_neighbor: int) -> Graph:
    indices, distances = neighbors
    n, m = indices.shape
    scale = distances[:, min(scale_neighbor, m) - 1]
    # The scale of a sample with many duplicates is 0; `tiny` keeps the quotient finite.
    scale = jnp.maximum(scale, jnp.finfo(jnp.float32).tiny ** 0.5)
    similar = jnp.exp(-(distances**2) / (scale[:, None] * scale[indices]))
    weights = jnp.maximum(similar, LEAST_WEIGHT)

    # An edge that both ends list appears twice in A + A^T: each gets half its weight.
    def mutual(column: Int[Array, " n"]) -> Array:
        return (indices[column] == jnp.arange(n)[:, None]).any(axis=1)

    both = jax.lax.map(mutual, indices.T).T
    return Graph(indices, jnp.where(both, weights / 2, weights))


def adjacency_product(graph: Graph, v: Float[Array, "n c"]) -> Float[Array, "n c"]:
    """Computes W v, the weighted sum over each node's edges.

    Args:
      graph: W, from `neighbor_graph`.
      v: c vectors as columns, with a value for each node.

    Returns:
      W v.
    """

    def add(total: Array, column: tuple[Array, Array]) -> tuple[Array, None]:
        target, weight = column[0], column[1][:, None]
        total = total + weight * v[target]
        return total.at[target].add(weight * v), None

    columns = (graph.neighbors.T, graph.weights.T)
    return jax.lax.scan(add, jnp.zeros_like(v), columns)[0]


def node_degrees(graph: Graph) -> Float[Array, " n"]:
    """Computes D, the sum of the weights of each node's edges."""
    return adjacency_product(graph, jnp.ones((len(graph.neighbors), 1)))[:, 0]
