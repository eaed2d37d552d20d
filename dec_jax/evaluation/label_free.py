"""Properties of clusters that need no labels: their sizes, and the silhouette."""

import math

import numpy as np
from jaxtyping import Int
from numpy.typing import ArrayLike

from dec_jax.evaluation.metrics import checked_labels, entropy, factorize
from dec_jax.validation import check_positive_int

# Rows of distances that `silhouette` holds at once: 512 x 10,000 float64 are 41 MB.
_SILHOUETTE_ROWS = 512


def cluster_sizes(labels: ArrayLike, n_clusters: int) -> Int[np.ndarray, " k"]:
    """Counts the samples of each cluster, empty ones included.

    Args:
      labels: cluster of each sample, shape [n], integers in [0, n_clusters).
      n_clusters: number of clusters.

    Returns:
      int64 counts, shape [k], which sum to n.

    Raises:
      TypeError: `labels` or `n_clusters` are not integers.
      ValueError: `labels` is empty, not of rank 1, or holds a label outside the range.

    Example:
      >>> cluster_sizes([0, 2, 2], 4).tolist()
      [1, 0, 2, 0]
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


def evenness(sizes: Int[np.ndarray, " k"]) -> float:
    """Computes how even cluster sizes are: their entropy as a share of log k.

    Args:
      sizes: number of samples of each cluster, with at least one sample in total; empty
        clusters lower the result. `cluster_sizes` counts them from labels.

    Returns:
      A share in [0, 1], not nats: 1 if all clusters have the same size, 0 if all samples
      are in one of several clusters; 1 for a single cluster.

    Example:
      >>> evenness(np.array([5, 5])), evenness(np.array([9, 0]))
      (1.0, 0.0)
    """
    if len(sizes) == 1:
        return 1.0
    return min(entropy(sizes[sizes > 0]) / math.log(len(sizes)), 1.0)


def silhouette(
    z: ArrayLike, labels: ArrayLike, *, max_samples: int = 10_000, seed: int = 0
) -> float:
    """Mean silhouette coefficient with Euclidean distances, Rousseeuw (1987).

    The coefficient of a sample is (b - a) / max(a, b): a is its mean distance to the
    other samples of its cluster, and b its mean distance to the samples of the nearest
    other cluster. It is 0 for the only sample of a cluster. The mean is exact over the
    samples used. These are all samples up to `max_samples`, and `max_samples` random ones
    beyond that, because the time grows with the square of their number.

    Args:
      z: embeddings, shape [n, d].
      labels: cluster of each sample, shape [n]; any labels that sort.
      max_samples: largest number of samples used, at least 3.
      seed: seed of the random samples.

    Returns:
      The mean in [-1, 1]; higher means better separated clusters.

    Raises:
      ValueError: a shape or a value is wrong, or the samples used are in fewer than 2
        clusters, or each is in a cluster of its own.

    Example:
      >>> z = np.array([[0.0], [1.0], [10.0], [11.0]])
      >>> round(silhouette(z, [0, 0, 1, 1]), 3)
      0.9
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
    # Sorted by cluster, the distances to one cluster are contiguous in a row.
    order = np.argsort(codes, kind="stable")
    return float(_silhouette_samples(z[order], np.bincount(codes)).mean())


def _silhouette_samples(z: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Silhouette coefficient of each row of `z`; the rows are sorted by cluster."""
    # Centering keeps distances, and their expansion below then loses fewer digits.
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
        # A sample that coincides with all others has no distances to compare.
        valid = (own_size > 1) & (widest > 0)
        result[block] = np.where(valid, nearest - within, 0) / np.where(
            valid, widest, 1
        )
    return result
