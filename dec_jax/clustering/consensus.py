"""One labeling from many of the same samples, and how stable each sample is among them.

    graph_consensus   labelings -> a cut of the bipartite graph of samples and clusters
    vote_consensus    labelings -> the cluster that most of them, aligned, vote for
    consensus         either, with the stability of each sample

No array of shape [n, n] exists: a labeling is a column of the sample-by-cluster incidence
matrix, and samples that all labelings treat alike are one row of it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from dec_jax.parallel.hardware import one_thread
from dec_jax.validation import check_choice, check_n_clusters

METHODS = ("votes", "graph")
STARTS = 20  # of k-means on the spectrum of the graph
TURNS = 20  # of votes, at most


class Consensus(NamedTuple):
    """One labeling from many.

    Attributes:
      labels: [n] int32, from 0 to k - 1.
      stability: [n] share of the labelings, their clusters matched one to one to those of
        `labels`, that put the sample into the same cluster; in [0, 1].
    """

    labels: Int[np.ndarray, " n"]
    stability: Float[np.ndarray, " n"]


def consensus(
    labelings: Sequence[ArrayLike] | np.ndarray,
    n_clusters: int,
    *,
    method: str = "votes",
    seed: int = 0,
) -> Consensus:
    """Joins labelings of the same samples, such as those of several seeds.

    Args:
      labelings: two or more, each of shape [n], any labels that sort; they may have other
        numbers of clusters.
      n_clusters: k, the number of clusters of the result.
      method: "votes" (`vote_consensus`) or "graph" (`graph_consensus`).
      seed: of k-means.

    Returns:
      The labels, and the stability of each sample.

    Raises:
      ValueError: there are fewer than two labelings, of different lengths, k is out of
        range, or the method is unknown.

    Example:
      >>> runs = [[0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 1]]
      >>> found = consensus(runs, 2)
      >>> found.labels.tolist(), found.stability.round(2).tolist()
      ([0, 0, 0, 1, 1, 1], [1.0, 1.0, 0.67, 1.0, 1.0, 1.0])
    """
    check_choice("method", method, METHODS)
    codes = _checked(labelings)
    check_n_clusters(n_clusters, codes.shape[1])
    if method == "votes":
        labels = vote_consensus(codes, n_clusters, seed=seed)
    else:
        labels = graph_consensus(codes, n_clusters, seed=seed)
    votes = aligned_votes(codes, labels, n_clusters)
    return Consensus(labels, votes[np.arange(len(labels)), labels] / len(codes))


@one_thread
def graph_consensus(
    labelings: Int[np.ndarray, "r n"], n_clusters: int, *, seed: int = 0
) -> Int[np.ndarray, " n"]:
    """Cuts the bipartite graph of samples and clusters (HBGF).

    Fern and Brodley (2004), section 3.3. A sample has an edge to each cluster that it lies
    in. With the incidence matrix A [n, m] of m clusters and the diagonal D of their sizes,
    the leading singular vectors of A D^-1/2 are the spectrum of the graph; the samples and
    clusters are grouped by k-means on its unit rows (Ng, Jordan and Weiss, 2002).

    Args:
      labelings: at least one, from 0 on.
      n_clusters: k.
      seed: of k-means.

    Returns:
      int32 labels from 0 to k - 1; fewer, if the samples fall into fewer patterns.

    References:
      Fern and Brodley, `Solving Cluster Ensemble Problems by Bipartite Graph Partitioning
      <https://doi.org/10.1145/1015330.1015414>`_, ICML 2004.

    Example:
      >>> runs = np.array([[0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 0, 0]])
      >>> len(set(graph_consensus(runs, 2).tolist()))
      2
    """
    from sklearn.cluster import KMeans

    patterns, codes, counts = np.unique(
        labelings, axis=1, return_inverse=True, return_counts=True
    )
    incidence = _incidence(patterns)
    if incidence.shape[0] <= n_clusters:
        return codes.astype(np.int32)
    sizes = counts @ incidence
    # D_1, the degree of a sample, is the same for all: the number of labelings.
    scaled = incidence / np.sqrt(len(labelings) * sizes)
    gram = (scaled * counts[:, None]).T @ scaled
    values, right = np.linalg.eigh(gram)
    leading = np.argsort(-values)[:n_clusters]
    values = np.maximum(values[leading], np.finfo(np.float64).tiny)
    right = right[:, leading]
    left = scaled @ right / np.sqrt(values)
    # Both D^-1/2 times the singular vectors; a pattern stands for all its samples.
    rows = np.concatenate(
        [left / np.sqrt(len(labelings)), right / np.sqrt(sizes)[:, None]]
    )
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    weights = np.concatenate([counts, np.ones(len(sizes))])
    means = KMeans(n_clusters, n_init=STARTS, random_state=seed)
    labels = means.fit(rows, sample_weight=weights).labels_[: len(left)]
    return labels[codes].astype(np.int32)


def vote_consensus(
    labelings: Int[np.ndarray, "r n"], n_clusters: int, *, seed: int = 0
) -> Int[np.ndarray, " n"]:
    """Aligns labelings to a reference, and takes the cluster of most votes.

    The reference is the labeling of k clusters that agrees most with the others, or the
    cut of `graph_consensus` if none has k clusters. The others' clusters are matched one
    to one to its clusters, by the largest number of common samples (Hungarian algorithm);
    the majority is the next reference, until it no longer changes (Dudoit and Fridlyand,
    2003: bagged clustering). The reference breaks ties.

    Args:
      labelings: at least one, from 0 on.
      n_clusters: k.
      seed: of `graph_consensus`.

    Returns:
      int32 labels from 0 to k - 1.

    References:
      Dudoit and Fridlyand, `Bagging to improve the accuracy of a clustering procedure
      <https://doi.org/10.1093/bioinformatics/btg038>`_, 2003.

    Example:
      >>> vote_consensus(np.array([[0, 0, 1, 1], [1, 1, 0, 0], [0, 1, 1, 1]]), 2).tolist()
      [0, 0, 1, 1]
    """
    reference = _reference(labelings, n_clusters)
    if reference is None:
        reference = graph_consensus(labelings, n_clusters, seed=seed)
    for _ in range(TURNS):
        votes = aligned_votes(labelings, reference, n_clusters)
        votes[np.arange(len(reference)), reference] += 0.5
        labels = votes.argmax(axis=1).astype(np.int32)
        if (labels == reference).all():
            break
        reference = labels
    return reference


def aligned_votes(
    labelings: Int[np.ndarray, "r n"],
    reference: Int[np.ndarray, " n"],
    n_clusters: int,
) -> Float[np.ndarray, "n k"]:
    """Counts the labelings that put each sample into each cluster of a reference.

    Args:
      labelings: each from 0 on.
      reference: labels from 0 to k - 1.
      n_clusters: k.

    Returns:
      [n, k] counts. A cluster of a labeling that no cluster of the reference is matched to
      gives no vote.

    Example:
      >>> aligned_votes(np.array([[1, 1, 0], [0, 1, 1]]), np.array([0, 0, 1]), 2).tolist()
      [[2.0, 0.0], [1.0, 1.0], [0.0, 2.0]]
    """
    from scipy.optimize import linear_sum_assignment

    votes = np.zeros((len(reference), n_clusters))
    rows = np.arange(len(reference))
    for labels in labelings:
        table = np.zeros((int(labels.max()) + 1, n_clusters))
        np.add.at(table, (labels, reference), 1)
        match = np.full(len(table), -1)
        own, its = linear_sum_assignment(table, maximize=True)
        match[own] = its
        voted = match[labels]
        votes[rows[voted >= 0], voted[voted >= 0]] += 1
    return votes


def _reference(
    labelings: Int[np.ndarray, "r n"], n_clusters: int
) -> Int[np.ndarray, " n"] | None:
    """Finds the labeling of k clusters that agrees most with the others, aligned."""
    fitting = [labels for labels in labelings if labels.max() + 1 == n_clusters]
    if not fitting:
        return None
    rows = np.arange(labelings.shape[1])
    agreement = [
        aligned_votes(labelings, labels, n_clusters)[rows, labels].sum()
        for labels in fitting
    ]
    return fitting[int(np.argmax(agreement))].astype(np.int32)


def _incidence(labelings: Int[np.ndarray, "r n"]) -> Float[np.ndarray, "n m"]:
    """Marks the clusters, of all labelings together, that each sample lies in by 1."""
    return np.concatenate(
        [np.eye(int(labels.max()) + 1)[labels] for labels in labelings], axis=1
    )


def _checked(labelings: Sequence[ArrayLike] | np.ndarray) -> Int[np.ndarray, "r n"]:
    """Numbers the clusters of each labeling from 0 on."""
    if len(labelings) < 2:
        raise ValueError(f"labelings must hold at least 2, got {len(labelings)}.")
    codes = [np.unique(labels, return_inverse=True)[1].ravel() for labels in labelings]
    lengths = sorted({len(one) for one in codes})
    if len(lengths) > 1 or lengths[0] == 0:
        raise ValueError(
            "labelings must be of the same samples, at least one, got lengths "
            f"{', '.join(map(str, lengths))}."
        )
    return np.stack(codes)
