"""Scores of one labeling, with or without known classes."""

from typing import Any

import numpy as np

from dec_jax.evaluation import metrics
from dec_jax.evaluation.label_free import cluster_sizes, evenness, silhouette


def class_scores(
    classes: np.ndarray, labels: np.ndarray, *, geometric: bool = False
) -> dict[str, float]:
    """Scores the agreement of clusters with classes.

    Args:
      classes: [n] the known class of each sample.
      labels: [n] its cluster.
      geometric: also gives NMI by the geometric mean of the entropies, as scikit-learn
        had it until 2018, and as results were published before then.

    Returns:
      "acc", "nmi" and "ari"; with `geometric` also "nmi_geometric".
    """
    nmi = metrics.normalized_mutual_info
    found = {
        "acc": metrics.clustering_accuracy(classes, labels),
        "nmi": nmi(classes, labels),
        "ari": metrics.adjusted_rand_index(classes, labels),
    }
    if geometric:
        found["nmi_geometric"] = nmi(classes, labels, average="geometric")
    return found


def stage_scores(
    classes: np.ndarray | None, labels: np.ndarray, z: Any, n_clusters: int
) -> dict[str, Any]:
    """Scores a labeling against the classes, or without them.

    Args:
      classes: [n] the known class of each sample, or None.
      labels: [n] its cluster.
      z: [n, d] what was clustered.
      n_clusters: k, clusters that there can be.

    Returns:
      With classes those of `class_scores`; without them "smallest" and "largest", the
      sizes of those clusters, "evenness" of the sizes, and "silhouette" in z (None where
      there is one cluster).
    """
    if classes is not None:
        return class_scores(classes, labels)
    sizes = cluster_sizes(labels, n_clusters)
    several = 1 < len(np.unique(labels)) < len(labels)
    return {
        "smallest": int(sizes.min()),
        "largest": int(sizes.max()),
        "evenness": evenness(sizes),
        "silhouette": silhouette(np.asarray(z, np.float32), labels)
        if several
        else None,
    }
