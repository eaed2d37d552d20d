"""Compares two labelings of the same samples by all usual scores at once."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dec_jax.evaluation.metrics import (
    adjusted_rand_index,
    clustering_accuracy,
    contingency_matrix,
    entropy,
    factorize,
    normalized_mutual_info,
    purity,
)
from dec_jax.validation import require


class PairScores(NamedTuple):
    """Agreement on the pairs of samples that lie together; each in [0, 1].

    Attributes:
      precision: share of the pairs in one cluster that are of one class.
      recall: share of the pairs of one class that are in one cluster.
      f1: harmonic mean of the two.
    """

    precision: float
    recall: float
    f1: float


class Comparison(NamedTuple):
    """All scores of clusters against classes; 1 is a perfect match but for the distance.

    Attributes:
      acc: clustering accuracy, clusters matched one to one to classes, in [0, 1].
      nmi: normalized mutual information, arithmetic mean, in [0, 1].
      ari: adjusted Rand index, in [-0.5, 1].
      ami: adjusted mutual information, arithmetic mean; 0 is expected of chance.
      homogeneity: 1 if each cluster holds one class.
      completeness: 1 if each class lies in one cluster.
      v_measure: harmonic mean of the two; equal to `nmi`.
      fowlkes_mallows: geometric mean of the precision and recall of pairs.
      pair_precision, pair_recall, pair_f1: of `pair_scores`.
      variation_of_information: a distance in nats, from 0, a perfect match, to log n.
      purity: share of samples of the largest class of their cluster.
    """

    acc: float
    nmi: float
    ari: float
    ami: float
    homogeneity: float
    completeness: float
    v_measure: float
    fowlkes_mallows: float
    pair_precision: float
    pair_recall: float
    pair_f1: float
    variation_of_information: float
    purity: float


def compare_labels(labels_true: ArrayLike, labels_pred: ArrayLike) -> Comparison:
    """Scores clusters against classes, or one labeling against another.

    The adjusted mutual information, homogeneity, completeness, the V-measure and the
    Fowlkes-Mallows index are those of scikit-learn.

    Args:
      labels_true: class of each sample, shape [n]; any labels that sort.
      labels_pred: cluster of each sample, shape [n]; any labels that sort.

    Returns:
      All scores.

    Raises:
      TypeError, ValueError: as `contingency_matrix` raises them.
      ImportError: scikit-learn is not installed.

    Example:
      >>> scores = compare_labels([0, 0, 1, 1], ["a", "a", "b", "c"])
      >>> scores.acc, scores.purity, scores.pair_precision, scores.pair_recall
      (0.75, 1.0, 1.0, 0.5)
    """
    metrics = require("sklearn.metrics", extra="data", task="the comparison of labels")
    # scikit-learn refuses floats and mixtures of kinds.
    classes = factorize("labels_true", labels_true)[1]
    clusters = factorize("labels_pred", labels_pred)[1]
    pairs = pair_scores(classes, clusters)
    homogeneity, completeness, v_measure = metrics.homogeneity_completeness_v_measure(
        classes, clusters
    )
    return Comparison(
        acc=clustering_accuracy(classes, clusters),
        nmi=normalized_mutual_info(classes, clusters),
        ari=adjusted_rand_index(classes, clusters),
        ami=float(metrics.adjusted_mutual_info_score(classes, clusters)),
        homogeneity=float(homogeneity),
        completeness=float(completeness),
        v_measure=float(v_measure),
        fowlkes_mallows=float(metrics.fowlkes_mallows_score(classes, clusters)),
        pair_precision=pairs.precision,
        pair_recall=pairs.recall,
        pair_f1=pairs.f1,
        variation_of_information=variation_of_information(classes, clusters),
        purity=purity(classes, clusters),
    )


def pair_scores(labels_true: ArrayLike, labels_pred: ArrayLike) -> PairScores:
    """Computes precision, recall and F1 of the pairs of samples in one cluster.

    A pair is found if both samples are in one cluster, and right if both are of one class.
    A share of no pairs is 1: no claim was wrong, or nothing was missed.

    Args:
      labels_true, labels_pred: as in `contingency_matrix`.

    Returns:
      The three scores.

    Example:
      >>> pair_scores([0, 0, 1, 1], [0, 0, 0, 1])
      PairScores(precision=0.3333333333333333, recall=0.5, f1=0.4)
    """
    table = contingency_matrix(labels_true, labels_pred)
    right = _pairs(table.ravel())
    found, wanted = _pairs(table.sum(axis=0)), _pairs(table.sum(axis=1))
    return PairScores(
        precision=right / found if found else 1.0,
        recall=right / wanted if wanted else 1.0,
        f1=2 * right / (found + wanted) if found + wanted else 1.0,
    )


def _pairs(sizes: np.ndarray) -> int:
    """Counts the pairs of samples within groups of these sizes."""
    return int((sizes * (sizes - 1) // 2).sum())


def variation_of_information(labels_true: ArrayLike, labels_pred: ArrayLike) -> float:
    """Variation of information, a distance of labelings, Meila (2007), equation 15.

    H(class given cluster) + H(cluster given class), in nats. Unlike most scores it is a
    metric: it is symmetric, and obeys the triangle inequality.

    Args:
      labels_true, labels_pred: as in `contingency_matrix`.

    Returns:
      A distance from 0, the same clusters under any names, to log n.

    References:
      Meila, `Comparing clusterings: an information based distance
      <https://doi.org/10.1016/j.jmva.2006.11.013>`_, 2007.

    Example:
      >>> round(variation_of_information([0, 0, 1, 1], [0, 1, 0, 1]) / math.log(2), 3)
      2.0
    """
    table = contingency_matrix(labels_true, labels_pred)
    joint = entropy(table[table > 0])
    distance = 2 * joint - entropy(table.sum(axis=1)) - entropy(table.sum(axis=0))
    # The difference of equal entropies may round to just below 0.
    return max(0.0, distance) if not math.isclose(distance, 0, abs_tol=1e-12) else 0.0
