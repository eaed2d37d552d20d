"""Choice of the number of clusters from the graph of neighbors, without labels.

One graph and one spectrum serve every k. Each k has four scores. The eigengap decides
between them; if it cannot, `recommend` uses the silhouette in addition.
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Num

from dec_jax.clustering.assignment import squared_distances
from dec_jax.clustering.kmeans import k_means
from dec_jax.clustering.neighbors import nearest_neighbors, neighbor_graph
from dec_jax.clustering.spectral import (
    Spectrum,
    leading_eigenvectors,
    partition,
    unit_rows,
)
from dec_jax.evaluation.label_free import silhouette
from dec_jax.evaluation.metrics import adjusted_rand_index
from dec_jax.parallel.row_blocks import map_blocks
from dec_jax.validation import check_n_clusters, check_positive_int

# Below this ARI, halves of the data disagree on the clusters.
STABLE = 0.9
# A gap of at least this share of the largest one is a rival.
RIVAL = 0.8
# A silhouette of at least this share of the highest one is nearly as good.
NEARLY = 0.9


class Sweep(NamedTuple):
    """Four scores of each number of clusters, and the spectrum of the graph."""

    n_clusters: Int[np.ndarray, " s"]
    eigengap: Float[np.ndarray, " s"]  # lambda_k - lambda_(k+1)
    modularity: Float[np.ndarray, " s"]  # of the partition, higher is better
    silhouette: Float[np.ndarray, " s"]  # of the partition in z, in [-1, 1]
    stability: Float[np.ndarray, " s"]  # ARI of halves of the data, at most 1
    eigenvalues: Float[np.ndarray, " e"]  # of the graph, largest first


class Recommendation(NamedTuple):
    """A number of clusters, whether the scores decide it, and the reasons."""

    n_clusters: int
    decided: bool
    reasons: tuple[str, ...]


def sweep_n_clusters(
    key: jax.Array,
    z: Num[Array, "n d"] | np.ndarray,
    n_clusters: Sequence[int],
    *,
    n_neighbors: int = 20,
    n_halves: int = 5,
    on_k: Callable[[int], None] | None = None,
) -> Sweep:
    """Scores each number of clusters k by a partition of the graph of z's neighbors.

    The eigengap is that of von Luxburg, `A Tutorial on Spectral Clustering
    <https://arxiv.org/abs/0711.0189>`_, 2007, section 8.3. Stability follows Ben-Hur,
    Elisseeff and Guyon (2002): k-means is fitted to random halves of the rows of the
    eigenvectors, each fit labels all samples, and the ARI measures their agreement.

    Args:
      key: a `jax.random.key`.
      z: embeddings, shape [n, d].
      n_clusters: numbers k to try, each from 2 to n - 1.
      n_neighbors: neighbors of each sample in the graph, at most n - 1 of which exist.
      n_halves: number of random halves, at least 2.
      on_k: called with k after each k.

    Returns:
      The scores, in the order of `n_clusters`.

    Raises:
      TypeError, ValueError: `z` is not finite numbers of shape [n, d], or a number is
        out of its range.

    Example:
      >>> z = np.float32([[0, 0], [0, 1], [1, 0], [9, 9], [9, 8], [8, 9]])
      >>> options = {"n_neighbors": 2, "n_halves": 2}
      >>> sweep = sweep_n_clusters(jax.random.key(0), z, [2], **options)
      >>> sweep.n_clusters.tolist(), sweep.stability.tolist()
      ([2], [1.0])
    """
    n = len(z)
    if not n_clusters:
        raise ValueError("n_clusters must name at least one number, got none.")
    for k in n_clusters:
        check_n_clusters(k, n - 1)
        if k < 2:
            raise ValueError(f"n_clusters must be at least 2 each, got {k}.")
    check_positive_int("n_halves", n_halves)
    if n_halves < 2:
        raise ValueError(f"n_halves must be at least 2, got {n_halves}.")
    graph = neighbor_graph(nearest_neighbors(z, min(n_neighbors, n - 1)))
    keys = jax.random.split(key, 3)
    spectrum = leading_eigenvectors(keys[0], graph, min(2 * max(n_clusters), n))
    values = np.asarray(spectrum.eigenvalues)
    rows = []
    for k in n_clusters:
        found = partition(keys[1], graph, spectrum, k)
        several = len(np.unique(found.labels)) > 1
        wide = silhouette(np.asarray(z, np.float32), found.labels) if several else 0.0
        agree = _stability(keys[2], spectrum, found.n_eigenvectors, k, n_halves)
        rows.append((k, values[k - 1] - values[k], found.modularity, wide, agree))
        if on_k is not None:
            on_k(k)
    columns = np.array(rows, np.float64).T
    gaps, modularity, width, stability = columns[1:]
    return Sweep(columns[0].astype(int), gaps, modularity, width, stability, values)


def _stability(
    key: jax.Array, spectrum: Spectrum, n_eigenvectors: int, k: int, n_halves: int
) -> float:
    """Mean ARI over all pairs of labelings that were fitted to halves of the data."""
    rows = unit_rows(spectrum.eigenvectors[:, :n_eigenvectors])
    labelings = []
    for half_key in jax.random.split(key, n_halves):
        chosen = jax.random.permutation(half_key, len(rows))[: max(k, len(rows) // 2)]
        centroids = k_means(half_key, rows[chosen], k, n_init=10).centroids

        def nearest(block: Array, centroids: Array = centroids) -> Array:
            return squared_distances(block, centroids).argmin(axis=1)

        labelings.append(np.asarray(map_blocks(nearest, rows)))
    pairs = [adjusted_rand_index(a, b) for a, b in combinations(labelings, 2)]
    return float(np.mean(pairs))


def recommend(sweep: Sweep) -> Recommendation:
    """Recommends a number of clusters, and says whether the scores decide it.

    Candidates are the numbers k on whose clusters halves of the data agree (mean ARI of
    0.9 or more), or all k if there are none. If there are such numbers and one eigengap
    is clearly the largest, the k of that gap is decided. Otherwise k is that of the
    largest gap among the candidates whose silhouette is nearly the highest.

    Agreement of halves is no proof of clusters: the halves share the spectrum of all
    samples, so even a single cloud is split in two the same way each time.

    Args:
      sweep: result of `sweep_n_clusters`.

    Returns:
      k, whether it is decided, and the reasons, one line each.

    Example:
      >>> three_is_best = np.array([0.0, 0.5, 0.1])
      >>> sweep = Sweep(np.array([2, 3, 4]), *[three_is_best] * 3, np.ones(3), np.ones(8))
      >>> recommend(sweep)[:2]
      (3, True)
    """
    stable = sweep.stability >= STABLE
    allowed = stable if stable.any() else np.full(len(stable), True)
    gaps = np.where(allowed, sweep.eigengap, -np.inf)
    widest = int(gaps.argmax())
    numbers = sweep.n_clusters
    words = "of those on which halves of the data agree, " if stable.any() else ""
    reasons = [
        f"{words}the eigengap is largest at k = {numbers[widest]}: {gaps[widest]:.4f}"
    ]
    near = (sweep.eigengap >= RIVAL * gaps[widest]) & (numbers != numbers[widest])
    decided = bool(stable.any()) and not near.any()
    best = widest
    if near.any():
        names = ", ".join(map(str, numbers[near].tolist()))
        reasons.append(f"almost as large, or larger, at k = {names}")
    if not decided:
        width = np.where(allowed, sweep.silhouette, -np.inf)
        apart = width >= width.max() - (1 - NEARLY) * abs(width.max())
        best = int(np.where(apart, sweep.eigengap, -np.inf).argmax())
        names = ", ".join(map(str, numbers[apart].tolist()))
        reasons.append(
            f"{words}the silhouette is high at k = {names}; of these the eigengap is "
            f"largest at k = {numbers[best]}"
        )
    k = int(numbers[best])
    for name in ("modularity", "silhouette"):
        at = int(numbers[getattr(sweep, name).argmax()])
        reasons.append(f"{name} {'agrees' if at == k else f'is highest at k = {at}'}")
    word = "agree" if stable.any() else "do not agree"
    agree = float(sweep.stability[best])
    reasons.append(f"halves of the data {word} on the clusters: ARI {agree:.2f}")
    return Recommendation(k, decided, tuple(reasons))
