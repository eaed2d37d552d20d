"""Spectral clustering at any size: the graph of a sample, whose labels reach all rows.

    sample_rows      z -> rows of a sample in which rare places keep their neighborhoods
    local_means      the mean of the rows that are nearest to each of the sample: the nodes
    spread_labels    labels of the nodes -> labels of all rows, by a vote of the nearest
    spectral_labels  the exact graph of all rows if they are few, else that of the nodes

The graph of n rows takes n^2 distances. That of m nodes takes m^2, and means and vote take
n m each. Rows are read a block at a time, so that they may lie in a file.
"""

from collections.abc import Callable, Iterator
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

# Rows of the largest graph of all rows, and nodes of that of a sample of more.
GRAPH_ROWS = 100_000
# Cells of k-means that the sample is spread over.
CELLS = 256
# Rows that a cell keeps: one and its 20 nearest, as many as the largest graph connects.
LEAST_ROWS = 21
# Nearest nodes that vote on the label of a row.
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
      graph_rows: largest number of nodes of the graph. Up to as many rows, the labels are
        those of `spectral_clustering`.
      on_step: as in `spectral_clustering`.

    Returns:
      Labels, int32.

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
    nodes = local_means(read, n, read(rows))
    return spread_labels(read, n, nodes, graph(nodes).labels, n_clusters)


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
      [9, 107, 284]
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


def local_means(
    read: ReadRows, n: int, sample: Float[np.ndarray, "m d"]
) -> Float[np.ndarray, "m d"]:
    """Averages the rows that are nearest to each row of a sample.

    The means have less noise than the sample, and gaps between clusters are wider among
    them: 2,000 means gave 98.7 % of the first 5,000 samples of MNIST the labels of the
    exact graph, and the sample itself 94.6 % (`benchmarks/graph.py`).

    Args:
      read: reads rows of z.
      n: number of rows.
      sample: rows of z.

    Returns:
      The means; a row that is the nearest to none, such as a copy, stays as it is.

    Example:
      >>> z = np.array([[0.0], [1.0], [2.0], [9.0]], np.float32)
      >>> local_means(z.__getitem__, 4, z[[1, 3]]).tolist()
      [[1.0], [9.0]]
    """
    sums, sizes = np.zeros(sample.shape), np.zeros(len(sample), int)
    for _, block, nearest in _nearest_nodes(read, n, sample, 1):
        np.add.at(sums, nearest[:, 0], block)
        sizes += np.bincount(nearest[:, 0], minlength=len(sample))
    means = sums / np.maximum(sizes, 1)[:, None]
    return np.where(sizes[:, None] > 0, means, sample).astype(np.float32)


def spread_labels(
    read: ReadRows,
    n: int,
    nodes: Float[np.ndarray, "m d"],
    labels: Int[np.ndarray, " m"],
    n_clusters: int,
) -> Int[np.ndarray, " n"]:
    """Gives each row the label that most of its five nearest nodes have.

    Args:
      read: reads rows of z.
      n: number of rows.
      nodes: in the space of z.
      labels: of the nodes, from 0 to k - 1.
      n_clusters: number of clusters k.

    Returns:
      Labels, int32; the lowest of those with the most votes.

    Example:
      >>> z = np.array([[0.0], [1.0], [2.0], [9.0]], np.float32)
      >>> nodes = np.repeat(z[[0, 3]], 5, axis=0)
      >>> spread_labels(z.__getitem__, 4, nodes, np.arange(10) // 5, 2).tolist()
      [0, 0, 0, 1]
    """
    found = np.empty(n, np.int32)
    for rows, _, nearest in _nearest_nodes(read, n, nodes, min(VOTERS, len(nodes))):
        votes = np.zeros((len(nearest), n_clusters), int)
        for column in nearest.T:
            votes[np.arange(len(votes)), labels[column]] += 1
        found[rows] = votes.argmax(axis=1)
    return found


def _nearest_nodes(
    read: ReadRows, n: int, nodes: Float[np.ndarray, "m d"], count: int
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yields slices of all rows, the rows, and the numbers of their nearest nodes."""
    on_device = jnp.asarray(nodes, jnp.float32)
    at_once = min(ROWS_AT_ONCE, max(8, DISTANCES_AT_ONCE // len(nodes)), n)
    for rows in blocks_of(n, at_once):
        block = read(rows)
        # All blocks have one shape, so that one program fits them.
        padded = np.zeros((at_once, block.shape[1]), np.float32)
        padded[: len(block)] = block
        nearest = neighbors_among(jnp.asarray(padded), on_device, count).indices
        yield rows, block, np.asarray(nearest)[: len(block)]


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
