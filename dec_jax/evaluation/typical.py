"""The rank of each sample within its cluster: how typical it is."""

import numpy as np
from jaxtyping import Float, Int


def typical_ranks(
    labels: Int[np.ndarray, " n"], q: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Ranks each sample by its q among the samples of its cluster.

    A rank says more than q itself, which training sharpens: it spreads the samples of
    every cluster evenly, however sure the network is of all of them.

    Args:
      labels: [n] the cluster of each sample.
      q: [n] its share of that cluster.

    Returns:
      [n] from 0, the most ambiguous of its cluster, to 1, the most typical. Equal q share
      their mean rank; the only sample of a cluster has 1.

    Example:
      >>> typical_ranks(np.array([0, 0, 0, 1]), np.array([0.9, 0.5, 0.7, 0.6])).tolist()
      [1.0, 0.0, 0.5, 1.0]
    """
    from scipy.stats import rankdata

    ranks = np.ones(len(labels))
    for cluster in np.unique(labels):
        members = labels == cluster
        if (count := int(members.sum())) > 1:
            ranks[members] = (rankdata(q[members]) - 1) / (count - 1)
    return ranks
