"""Purity of a hierarchy against known classes."""

import numpy as np
from jaxtyping import Int
from numpy.typing import ArrayLike

from dec_jax.clustering.hierarchy import Hierarchy
from dec_jax.evaluation.metrics import factorize


def dendrogram_purity(
    labels_true: ArrayLike, labels: Int[np.ndarray, " n"], hierarchy: Hierarchy
) -> float:
    """Dendrogram purity: the share of their class below the node that joins two samples.

    Heller and Ghahramani (2005); equation 1 of Kobren, Monath, Krishnamurthy and McCallum
    (2017). For each pair of samples of one class, the smallest subtree that holds both is
    looked up; the purity is the mean share of that class in it. Samples of one leaf meet
    in the leaf. The mean is over all pairs, counted by classes and nodes.

    Args:
      labels_true: class of each sample, shape [n]; any labels that sort.
      labels: leaf of each sample, from 0 to k - 1.
      hierarchy: a tree over k clusters.

    Returns:
      A number in (0, 1]: 1 if each class is a subtree, or a union of leaves that no other
      class shares, within one; 1 also if no class has two samples. The purity of the
      leaves alone is `purity`.

    Raises:
      ValueError: the lengths differ, or a label is no leaf.

    References:
      Heller and Ghahramani, `Bayesian Hierarchical Clustering
      <https://doi.org/10.1145/1102351.1102389>`_, ICML 2005. Kobren et al., `A Hierarchical
      Algorithm for Extreme Clustering <https://arxiv.org/abs/1704.01858>`_, KDD 2017.

    Example:
      >>> tree = Hierarchy(np.array([[0, 1], [2, 3]]), np.array([0.4, 0.1]), np.full(3, 2))
      >>> leaves = np.array([0, 0, 1, 1, 2, 2])
      >>> dendrogram_purity(["a", "a", "a", "a", "b", "b"], leaves, tree)
      1.0
    """
    classes, codes = factorize("labels_true", labels_true)
    k = len(hierarchy.sizes)
    if len(codes) != len(labels):
        raise ValueError(
            "labels_true and labels must have the same length, got "
            f"{len(codes)} and {len(labels)}."
        )
    if labels.min() < 0 or labels.max() >= k:
        raise ValueError(
            f"labels must be leaves from 0 to {k - 1}, got {labels.min()} to "
            f"{labels.max()}."
        )
    counts = np.zeros((2 * k - 1, len(classes)))
    np.add.at(counts, (labels, codes), 1)
    for step, (a, b) in enumerate(hierarchy.merges):
        counts[k + step] = counts[a] + counts[b]
    # Pairs of one class that meet in a node: those below it, but not below a child.
    pairs = counts * (counts - 1) / 2
    meeting = pairs.copy()
    for step, (a, b) in enumerate(hierarchy.merges):
        meeting[k + step] -= pairs[a] + pairs[b]
    total = meeting.sum()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return float((meeting * shares).sum() / total) if total else 1.0
