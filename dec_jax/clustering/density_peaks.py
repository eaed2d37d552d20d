"""Clusters of unknown number by density peaks, on a map of two dimensions (DDC).

Ren, Wang, Li and Xu, `Deep Density-based Image Clustering
<https://arxiv.org/abs/1812.04287>`_, 2020:

    density_clusters   z -> t-SNE -> density_peaks; the published method ends there
    density_peaks      points -> local peaks of the density, joined where core points touch

Distances are computed a block of rows at a time; no array of shape [n, n] exists.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from dec_jax.parallel.hardware import one_thread
from dec_jax.validation import check_samples

RATIO = 0.1  # of the cutoff to the mean distance, the paper's
MOST_ROWS = 10_000  # of the map
BLOCK = 512  # rows of distances that are in memory at once
PERPLEXITY = 30.0


class DensityPeaks(NamedTuple):
    """Clusters around the peaks of a density.

    Attributes:
      labels: [n] int32, numbered by size, the largest first.
      density: [n] rho of equation 7.
      peaks: rows of the local peaks, before clusters were joined.
    """

    labels: Int[np.ndarray, " n"]
    density: Float[np.ndarray, " n"]
    peaks: Int[np.ndarray, " p"]


def density_clusters(
    z: ArrayLike, *, ratio: float = RATIO, seed: int = 0
) -> Int[np.ndarray, " n"]:
    """Clusters embeddings without a given number of clusters, as DDC does.

    The embeddings are mapped to two dimensions by t-SNE (van der Maaten and Hinton, 2008),
    and `density_peaks` clusters the map. Of more than 10,000 samples, as many are drawn at
    random, and the nearest of them in z labels each other one.

    Args:
      z: samples or embeddings, shape [n, d], of at least 4 samples.
      ratio: of the cutoff distance to the mean distance on the map, above 0; a larger one
        finds fewer clusters.
      seed: of the draw and of t-SNE.

    Returns:
      int32 labels, numbered by size, the largest first.

    Raises:
      TypeError, ValueError: `z` is not finite numbers of shape [n, d], has fewer than 4
        samples, or `ratio` is out of range.

    Example:
      >>> rng = np.random.default_rng(0)
      >>> z = 20 * np.eye(3)[np.arange(60) % 3] + rng.normal(size=(60, 3))
      >>> np.bincount(density_clusters(z)).tolist()
      [20, 20, 20]
    """
    values = np.asarray(z)
    check_samples(values, "z")
    check_ratio(ratio)
    n = len(values)
    if n < 4:
        raise ValueError(f"z must have at least 4 samples, got {n}.")
    values = values.astype(np.float32)
    rows = np.arange(n)
    if n > MOST_ROWS:
        rows = np.sort(np.random.default_rng(seed).permutation(n)[:MOST_ROWS])
    labels = density_peaks(_map(values[rows], seed), ratio=ratio).labels
    if len(rows) == n:
        return labels
    from sklearn.neighbors import KNeighborsClassifier

    near = KNeighborsClassifier(n_neighbors=1).fit(values[rows], labels)
    return _by_size(near.predict(values))


@one_thread
def _map(z: Float[np.ndarray, "n d"], seed: int) -> Float[np.ndarray, "n 2"]:
    """Maps embeddings to two dimensions by t-SNE, with its usual settings."""
    from sklearn.manifold import TSNE

    # t-SNE must have more samples than three times the perplexity to be meaningful.
    perplexity = min(PERPLEXITY, (len(z) - 1) / 3)
    return TSNE(2, perplexity=perplexity, random_state=seed).fit_transform(z)


def density_peaks(
    points: Float[np.ndarray, "n d"], *, ratio: float = RATIO
) -> DensityPeaks:
    """Clusters points around local peaks of their density, and joins clusters that touch.

    Equations 7 to 11 of Ren et al. (2020), after Rodriguez and Laio (2014). With the
    cutoff c, `ratio` times the mean distance:

        density   rho_i = sum over j of exp(-(d_ij / c)^2)                            (7)
        delta     the distance to the nearest point of higher density                 (8)
        peaks     points with delta > c and rho above the mean                        (9)

    Each other point joins the cluster of the nearest point of higher density. Core points
    have a rho above the mean of their cluster (10); two clusters with core points closer
    than c become one (11). Of equal densities, that of the first row counts as higher.

    Args:
      points: in the space in which distances mean something, usually two-dimensional.
      ratio: of c to the mean distance, above 0.

    Returns:
      The clusters; a single one if all points are equal.

    Raises:
      ValueError: `ratio` is out of range.

    Example:
      >>> line = np.array([[0.0], [0.1], [0.2], [9.0], [9.1], [9.2]])
      >>> found = density_peaks(line)
      >>> found.labels.tolist(), found.peaks.tolist()
      ([0, 0, 0, 1, 1, 1], [1, 4])
    """
    check_ratio(ratio)
    points = np.asarray(points, np.float64)
    n = len(points)
    total = sum(float(apart.sum()) for _, apart in _blocks(points))
    if total == 0:
        return DensityPeaks(
            np.zeros(n, np.int32), np.full(n, n - 1.0), np.zeros(1, int)
        )
    cutoff = ratio * total / (n * (n - 1))
    rho = np.empty(n)
    for rows, apart in _blocks(points):
        # Without the point itself, whose distance to itself is 0.
        rho[rows] = np.exp(-((apart / cutoff) ** 2)).sum(axis=1) - 1
    order = np.argsort(-rho, kind="stable")
    rank = np.argsort(order)
    delta, higher = np.empty(n), np.empty(n, np.int64)
    for rows, apart in _blocks(points):
        apart[rank[None, :] >= rank[rows, None]] = np.inf
        higher[rows] = apart.argmin(axis=1)
        delta[rows] = apart.min(axis=1)
    # The densest point has none above it: it is a peak.
    is_peak = (delta > cutoff) & ((rho > rho.mean()) | (rank == 0))
    labels = np.full(n, -1)
    labels[is_peak] = np.arange(is_peak.sum())
    for point in order:
        if not is_peak[point]:
            labels[point] = labels[higher[point]]
    joined = _joined(points, labels, rho, cutoff)
    return DensityPeaks(_by_size(joined[labels]), rho, np.flatnonzero(is_peak))


def _joined(
    points: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    rho: Float[np.ndarray, " n"],
    cutoff: float,
) -> Int[np.ndarray, " k"]:
    """Finds the cluster that each one becomes part of (equations 10 and 11)."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    k = int(labels.max()) + 1
    means = np.bincount(labels, weights=rho) / np.bincount(labels)
    core = np.flatnonzero(rho > means[labels])
    touching = np.zeros((k, k), bool)
    for rows, apart in _blocks(points[core]):
        first, second = np.nonzero(apart < cutoff)
        touching[labels[core[rows][first]], labels[core[second]]] = True
    return connected_components(csr_matrix(touching), directed=False)[1]


def _blocks(
    points: Float[np.ndarray, "n d"],
) -> Iterator[tuple[Int[np.ndarray, " b"], Float[np.ndarray, "b n"]]]:
    """Yields the distances of a block of rows to all points."""
    from scipy.spatial.distance import cdist

    for first in range(0, len(points), BLOCK):
        rows = np.arange(first, min(first + BLOCK, len(points)))
        yield rows, cdist(points[rows], points)


def _by_size(labels: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Numbers clusters by size, the largest first."""
    _, codes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    return np.argsort(np.argsort(-sizes, kind="stable"))[codes].astype(np.int32)


def check_ratio(ratio: float) -> None:
    """Raises ValueError unless the cutoff's share of the mean distance is above 0."""
    if not 0 < ratio < np.inf:
        raise ValueError(f"ratio must be finite and above 0, got {ratio}.")
