"""Spectral clustering at any size: the graph of a sample, whose labels reach all rows.

    sample_rows      z -> rows of a sample in which rare places keep their neighborhoods
    spread_labels    labels of the sample -> labels of all rows, by a vote of the nearest
    spectral_labels  the exact graph of all rows if they are few, else both of these

The graph of n rows takes n^2 distances. That of a sample takes as many as the sample
asks for, and the vote n times the sample's size. Rows are read a block at a time, so that
they may lie in a file.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from dec_jax.clustering.assignment import squared_distances
from dec_jax.clustering.kmeans import k_means
from dec_jax.clustering.neighbors import DISTANCES_AT_ONCE, neighbors_among
from dec_jax.clustering.spectral import Partition, spectral_clustering
from dec_jax.validation import check_n_clusters, check_positive_int

# Rows of the largest graph of all rows, and of a sample of more.
GRAPH_ROWS = 100_000
# Cells of k-means that the sample is spread over.
CELLS = 256
# Rows that a cell keeps: one and its 20 nearest, as many as the largest graph connects.
LEAST_ROWS = 21
# Nearest rows of the sample that vote on the label of another row.
VOTERS = 5
ROWS_AT_ONCE = 2**14

# Reads rows of z, of shape [n, d], by a slice or by their numbers in ascending order.
ReadRows = Callable[[Any], np.ndarray]


def spectral_labels(
    key: jax.Array,
    read: ReadRows,
    n: int,
    n_clusters: int,
    *,
    graph_rows: int = GRAPH_ROWS,
    on_step: Callable[[], object] | None = None,
) -> Int[np.ndarray, " n"]:
    """Labels any number of rows by spectral clustering of at most `graph_rows` of them.

    Args:
      key: a `jax.random.key`.
      read: reads rows of z; `z.__getitem__` for an array.
      n: number of rows.
      n_clusters: number of clusters k.
      graph_rows: largest number of rows in the graph. Up to as many rows, the labels are
        those of `spectral_clustering`.
      on_step: as in `spectral_clustering`.

    Returns:
      Labels, int32. Rows of the sample have the label that the graph gave them.

    Raises:
      TypeError, ValueError: z is not finite numbers; k is out of range, or above
        `graph_rows`.

    Example:
      >>> z = np.arange(400, dtype=np.float32)[:, None]
      >>> z[200:] += 1000
      >>> labels = spectral_labels(
      ...     jax.random.key(0), z.__getitem__, 400, 2, graph_rows=100
      ... )
      >>> sorted(np.bincount(labels).tolist())
      [200, 200]
    """
    check_n_clusters(n_clusters, n)
    check_positive_int("graph_rows", graph_rows)
    if graph_rows < n_clusters:
        raise ValueError(
            f"graph_rows must be at least n_clusters = {n_clusters}, got {graph_rows}."
        )

    def graph(z: np.ndarray) -> Partition:
        return spectral_clustering(key, z, n_clusters, on_step=on_step)

    if n <= graph_rows:
        return graph(read(slice(0, n))).labels
    rows = sample_rows(jax.random.fold_in(key, 2), read, n, graph_rows)
    z = read(rows)
    found = graph(z).labels
    labels = spread_labels(read, n, z, found, n_clusters)
    labels[rows] = found
    return labels


def sample_rows(
    key: jax.Array, read: ReadRows, n: int, size: int
) -> Int[np.ndarray, " m"]:
    """Draws rows in proportion to density, but keeps whole neighborhoods of rare places.

    k-means cuts z into 256 cells, or fewer for small samples. Each cell keeps 21 rows, or
    all if it has no more. What is left of the sample is shared in proportion to the
    cells' other rows. Gaps between clusters stay as wide as they are, which a sample of
    equal density everywhere would fill.

    Args:
      key: a `jax.random.key`; the same key gives the same rows.
      read: reads rows of z.
      n: number of rows.
      size: number of rows to draw, from 1 to n.

    Returns:
      Their numbers, ascending.
    """
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
    seen = np.sort(rng.choice(n, size, replace=False, shuffle=False))
    n_cells = max(1, min(CELLS, size // (2 * LEAST_ROWS)))
    cells = k_means(key, read(seen), n_cells, n_init=1, max_iter=20).centroids
    # Numbers of 16 bits, because NumPy sorts those by their digits.
    of_row = nearest_centroids(read, n, cells).astype(np.int16)
    sizes = np.bincount(of_row, minlength=n_cells)
    # Each cell's rows in a row, in random order: a sample of it is its beginning.
    order = rng.permutation(n)
    order = order[np.argsort(of_row[order], kind="stable")]
    begins = np.cumsum(sizes) - sizes
    quotas = cell_quotas(sizes, size)
    drawn = [
        order[begin : begin + quota]
        for begin, quota in zip(begins, quotas, strict=True)
    ]
    return np.sort(np.concatenate(drawn))


def cell_quotas(sizes: Int[np.ndarray, " c"], size: int) -> Int[np.ndarray, " c"]:
    """Shares a sample over cells: some rows for each, the rest in proportion.

    Args:
      sizes: number of rows of each cell.
      size: number of rows of the sample, at most their sum.

    Returns:
      Number of rows to draw from each cell; they sum to `size`.

    Example:
      >>> cell_quotas(np.array([9, 1000, 3000]), 400).tolist()
      [9, 109, 282]
    """
    least = min(LEAST_ROWS, size // len(sizes))
    kept = np.minimum(sizes, least)
    others = sizes - kept
    exact = (size - kept.sum()) * (others / max(1, others.sum()))
    quotas = kept + np.floor(exact).astype(int)
    # The largest fractions are rounded up; a cell that is taken whole has none.
    left = size - quotas.sum()
    quotas[np.argsort(np.floor(exact) - exact, kind="stable")[:left]] += 1
    return quotas


def spread_labels(
    read: ReadRows,
    n: int,
    z: Float[np.ndarray, "m d"],
    labels: Int[np.ndarray, " m"],
    n_clusters: int,
) -> Int[np.ndarray, " n"]:
    """Gives each row the label that most of its five nearest sampled rows have.

    Args:
      read: reads rows of z.
      n: number of rows.
      z: the sampled rows.
      labels: their labels, from 0 to k - 1.
      n_clusters: number of clusters k.

    Returns:
      Labels, int32; the lowest of those with the most votes.

    Example:
      >>> z = np.array([[0.0], [1.0], [2.0], [9.0]], np.float32)
      >>> sample, labels = z[[0, 1, 3]], np.array([0, 0, 1])
      >>> spread_labels(z.__getitem__, 4, sample, labels, 2).tolist()
      [0, 0, 0, 0]
    """
    sample, known = jnp.asarray(z, jnp.float32), jnp.asarray(labels)
    at_once = min(ROWS_AT_ONCE, max(8, DISTANCES_AT_ONCE // len(z)), n)
    found = np.empty(n, np.int32)
    for rows in blocks_of(n, at_once):
        block = read(rows)
        # All blocks have one shape, so that one program fits them.
        padded = np.zeros((at_once, block.shape[1]), np.float32)
        padded[: len(block)] = block
        votes = _voted(jnp.asarray(padded), sample, known, n_clusters=n_clusters)
        found[rows] = np.asarray(votes)[: len(block)]
    return found


def nearest_centroids(
    read: ReadRows, n: int, centroids: Float[Array, "k d"]
) -> Int[np.ndarray, " n"]:
    """Labels each row by its nearest centroid, int32.

    Args:
      read: reads rows of z.
      n: number of rows.
      centroids: in the space of z.

    Returns:
      Labels; the lowest of equally near ones.

    Example:
      >>> z = np.array([[0.0], [1.0], [9.0]], np.float32)
      >>> nearest_centroids(z.__getitem__, 3, jnp.array([[8.0], [0.0]])).tolist()
      [1, 1, 0]
    """
    labels = np.empty(n, np.int32)
    for rows in blocks_of(n):
        labels[rows] = _nearest(jnp.asarray(read(rows)), centroids)
    return labels


def blocks_of(n: int, at_once: int | None = None) -> list[slice]:
    """Cuts n rows into slices of at most `at_once` rows, by default `ROWS_AT_ONCE`."""
    size = at_once or ROWS_AT_ONCE
    return [slice(begin, min(begin + size, n)) for begin in range(0, n, size)]


@jax.jit
def _nearest(z: Float[Array, "b d"], centroids: Float[Array, "k d"]) -> Array:
    distances = squared_distances(z, centroids)
    # Two minima, because XLA's argmin is slow on a CPU (benchmarks/kmeans.py).
    nearest = distances == distances.min(axis=1, keepdims=True)
    numbers = jnp.arange(len(centroids), dtype=jnp.int32)[None, :]
    return jnp.where(nearest, numbers, len(centroids)).min(axis=1)


@partial(jax.jit, static_argnames="n_clusters")
def _voted(
    rows: Float[Array, "b d"],
    sample: Float[Array, "m d"],
    labels: Int[Array, " m"],
    *,
    n_clusters: int,
) -> Int[Array, " b"]:
    nearest = neighbors_among(rows, sample, min(VOTERS, len(sample))).indices
    votes = jax.nn.one_hot(labels[nearest], n_clusters).sum(axis=1)
    return votes.argmax(axis=1).astype(jnp.int32)
