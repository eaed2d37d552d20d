"""How clusters look where no classes are known: their sizes, widths and repeatability."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int
from numpy.typing import ArrayLike

from dec_jax.evaluation.metrics import (
    adjusted_rand_index,
    checked_labels,
    entropy,
    factorize,
)
from dec_jax.validation import check_positive_int

# Rows of distances held at once by `silhouette`: 512 x 10,000 float64 are 41 MB.
_SILHOUETTE_ROWS = 512


def cluster_sizes(labels: ArrayLike, n_clusters: int) -> Int[np.ndarray, " k"]:
    """Counts the samples of each cluster, empty ones included.

    Args:
      labels: cluster of each sample, shape [n], integers in [0, n_clusters).
      n_clusters: number of clusters.

    Returns:
      int64 counts, which sum to n.

    Raises:
      TypeError: `labels` or `n_clusters` are not integers.
      ValueError: `labels` is empty, not of rank 1, or holds a label outside the range.
    """
    check_positive_int("n_clusters", n_clusters)
    values = checked_labels("labels", labels)
    if not np.issubdtype(values.dtype, np.integer):
        raise TypeError(
            f"labels must be integers, got dtype {values.dtype}; "
            "number them with numpy.unique(labels, return_inverse=True)[1]."
        )
    for bound in (values.min(), values.max()):
        if not 0 <= bound < n_clusters:
            raise ValueError(
                f"labels must be from 0 to n_clusters - 1 = {n_clusters - 1}, got {bound}."
            )
    return np.bincount(values.astype(np.int64), minlength=n_clusters).astype(np.int64)


def size_entropy(labels: ArrayLike, n_clusters: int) -> float:
    """Evenness of the cluster sizes: their entropy over its largest value, log k.

    Args:
      labels: cluster of each sample, shape [n], integers in [0, n_clusters).
      n_clusters: number of clusters; empty ones lower the result.

    Returns:
      A share in [0, 1], not nats: 1 if all clusters are of one size, 0 if all samples
      lie in one of several clusters; 1 for `n_clusters` = 1.
    """
    return evenness(cluster_sizes(labels, n_clusters))


def evenness(sizes: Int[np.ndarray, " k"]) -> float:
    """`size_entropy` of clusters whose sizes are known: in [0, 1], 1 if all are equal.

    Args:
      sizes: samples of each cluster, at least one in all.

    Returns:
      The entropy of the sizes as a share of log k; 1 for a single cluster.
    """
    if len(sizes) == 1:
        return 1.0
    return min(entropy(sizes[sizes > 0]) / math.log(len(sizes)), 1.0)


def silhouette(
    z: ArrayLike, labels: ArrayLike, *, max_samples: int = 10_000, seed: int = 0
) -> float:
    """Mean silhouette of Euclidean distances: how much nearer a sample's own cluster is.

    Rousseeuw (1987): (b - a) / max(a, b), with a the mean distance of a sample to the
    others of its cluster and b that to the nearest other cluster; 0 for the only sample
    of a cluster. Exact on the samples used, which are all of them up to `max_samples`
    and a random `max_samples` of them beyond, as its time grows with their square.

    Args:
      z: embeddings, shape [n, d].
      labels: cluster of each sample, shape [n]; any labels that sort.
      max_samples: the most samples used.
      seed: draws the samples used.

    Returns:
      The mean in [-1, 1]; higher is better separated.

    Raises:
      ValueError: a shape or a value is wrong, or the samples used lie in fewer than 2
        clusters or each in its own.
    """
    check_positive_int("max_samples", max_samples)
    if max_samples < 3:
        raise ValueError(f"max_samples must be at least 3, got {max_samples}.")
    values = checked_labels("labels", labels)
    z = np.asarray(z)
    if z.ndim != 2 or len(z) != len(values):
        raise ValueError(
            f"z must have shape [n, d] with n = {len(values)}, the number of labels, "
            f"got shape {z.shape}."
        )
    if not np.isfinite(z).all():
        raise ValueError("z must be finite, got NaN or infinity.")
    if len(z) > max_samples:
        chosen = np.random.default_rng(seed).permutation(len(z))[:max_samples]
        z, values = z[chosen], values[chosen]
    z = z.astype(np.float64)
    clusters, codes = factorize("labels", values)
    if not 2 <= len(clusters) < len(z):
        raise ValueError(
            "silhouette needs at least 2 clusters and fewer clusters than samples, "
            f"got {len(clusters)} clusters in the {len(z)} samples used."
        )
    # In cluster order, the distances to one cluster are neighbors in a row.
    order = np.argsort(codes, kind="stable")
    return float(_silhouette_samples(z[order], np.bincount(codes)).mean())


def stability(labelings: Sequence[ArrayLike]) -> float:
    """Mean adjusted Rand index over all pairs of labelings of the same samples.

    Runs from several seeds that agree have found structure; it needs no classes.

    Args:
      labelings: two or more arrays of labels, each of shape [n], one for each run.

    Returns:
      The mean ARI; 1 if all runs found the same clusters, about 0 if they share nothing.
    """
    if len(labelings) < 2:
        raise ValueError(f"stability needs at least 2 labelings, got {len(labelings)}.")
    scores = [
        adjusted_rand_index(first, second)
        for i, first in enumerate(labelings)
        for second in labelings[i + 1 :]
    ]
    return sum(scores) / len(scores)


def _silhouette_samples(z: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Silhouette of each row of `z`, whose rows stand in the order of their clusters."""
    # Distances do not change, and their expansion below loses fewer digits.
    z = z - z.mean(axis=0)
    squares = np.sum(z**2, axis=1)
    starts = np.cumsum(sizes) - sizes
    own = np.repeat(np.arange(len(sizes)), sizes)
    result = np.empty(len(z))
    for begin in range(0, len(z), _SILHOUETTE_ROWS):
        block = np.arange(begin, min(begin + _SILHOUETTE_ROWS, len(z)))
        rows = block - begin
        distances = squares[block, None] + squares[None, :] - 2 * z[block] @ z.T
        distances = np.sqrt(np.maximum(distances, 0))
        distances[rows, block] = 0
        totals = np.add.reduceat(distances, starts, axis=1)  # [rows, k]
        own_size = sizes[own[block]]
        within = totals[rows, own[block]] / np.maximum(own_size - 1, 1)
        means = totals / sizes
        means[rows, own[block]] = np.inf
        nearest = means.min(axis=1)
        widest = np.maximum(within, nearest)
        # Samples that coincide with all others have no distance to compare.
        valid = (own_size > 1) & (widest > 0)
        result[block] = np.where(valid, nearest - within, 0) / np.where(
            valid, widest, 1
        )
    return result
