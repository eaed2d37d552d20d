"""The stability of each cluster: how well other labelings find it again."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int


def cluster_stability(
    labels: Int[np.ndarray, " n"],
    others: Sequence[Int[np.ndarray, " n"]],
    n_clusters: int,
) -> Float[np.ndarray, " k"]:
    """Averages over other labelings the largest Jaccard index with one of their clusters.

    The cluster-wise stability of Hennig, `Cluster-wise assessment of cluster stability
    <https://doi.org/10.1016/j.csda.2006.11.025>`_, 2007, with given labelings in place of
    those of resampled data.

    Args:
      labels: [n] the cluster of each sample.
      others: other labelings of the same samples.
      n_clusters: k.

    Returns:
      [k] in [0, 1]; 1 for a cluster that all of them find. NaN without other labelings,
      or for a cluster without a sample.

    Example:
      >>> cluster_stability(np.array([0, 0, 1, 1]), [np.array([5, 5, 5, 7])], 2).tolist()
      [0.6666666666666666, 0.5]
    """
    sizes = np.bincount(labels, minlength=n_clusters)
    if not len(others):
        return np.full(n_clusters, np.nan)
    total = np.zeros(n_clusters)
    for other in others:
        _, codes = np.unique(other, return_inverse=True)
        table = np.zeros((n_clusters, codes.max() + 1))
        np.add.at(table, (labels, codes), 1)
        union = table.sum(axis=1, keepdims=True) + table.sum(axis=0) - table
        total += (table / union).max(axis=1)
    return np.where(sizes > 0, total / len(others), np.nan)
