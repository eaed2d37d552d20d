"""Scores of clusters against known classes; `label_free` has scores without classes.

Every score is computed from the contingency matrix, so labels may be of any kind that
sorts: integers with gaps, negative numbers, floats, strings.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Int
from numpy.typing import ArrayLike

from dec_jax.validation import require

if TYPE_CHECKING:
    import pandas

# Means of two entropies that `normalized_mutual_info` can divide by.
_MEANS: dict[str, Callable[[float, float], float]] = {
    "arithmetic": lambda a, b: (a + b) / 2,
    "geometric": lambda a, b: math.sqrt(a * b),
    "min": min,
    "max": max,
}


def contingency_matrix(
    labels_true: ArrayLike, labels_pred: ArrayLike
) -> Int[np.ndarray, "n_classes n_clusters"]:
    """Counts the samples of each class in each cluster.

    Args:
      labels_true: class of each sample, shape [n]; any labels that sort.
      labels_pred: cluster of each sample, shape [n]; any labels that sort.

    Returns:
      int64 counts, shape [n_classes, n_clusters]. Rows are the distinct classes, columns
      the distinct clusters, both in sorted order; labels that do not occur have none.

    Raises:
      TypeError: labels of one array cannot be sorted, such as numbers mixed with None.
      ValueError: an array is empty, not of rank 1, or holds NaN, or the lengths differ.

    Example:
      >>> contingency_matrix(["cat", "cat", "dog"], [7, 7, 2]).tolist()
      [[0, 2], [1, 0]]
    """
    return _table(_cells(labels_true, labels_pred))


def clustering_accuracy(labels_true: ArrayLike, labels_pred: ArrayLike) -> float:
    """Clustering accuracy (ACC), the share of samples in the cluster of their class.

    Equation 10 of Xie et al. (2016): clusters are matched one to one to classes by the
    Hungarian algorithm. With more clusters than classes, samples of the unmatched
    clusters count as wrong; with fewer, samples of the unmatched classes do.

    Args:
      labels_true, labels_pred: as in `contingency_matrix`.

    Returns:
      ACC in [0, 1]; 1 is a perfect match.

    Raises:
      TypeError, ValueError: as `contingency_matrix` raises them.

    Example:
      >>> clustering_accuracy([0, 0, 1, 1], [5, 5, 3, 5])
      0.75
    """
    from scipy.optimize import linear_sum_assignment

    table = contingency_matrix(labels_true, labels_pred)
    rows, columns = linear_sum_assignment(table, maximize=True)
    return int(table[rows, columns].sum()) / int(table.sum())


def match_clusters(labels_true: ArrayLike, labels_pred: ArrayLike) -> dict[Any, Any]:
    """Matches each cluster to a class, as `clustering_accuracy` does.

    No two clusters share a class. With more clusters than classes, unmatched clusters map
    to None; with fewer, unmatched classes do not occur. The match is optimal overall, so
    a cluster may be matched to a class that it holds no sample of.

    Args:
      labels_true, labels_pred: as in `contingency_matrix`.

    Returns:
      {cluster: class or None}, one entry for each cluster that occurs, in sorted order.

    Example:
      >>> match_clusters(["cat", "cat", "dog"], [7, 7, 2])
      {2: 'dog', 7: 'cat'}
    """
    cells = _cells(labels_true, labels_pred)
    classes = [*cells.classes.tolist(), None]
    rows = _matched_rows(_table(cells))
    return {
        cluster: classes[row]
        for cluster, row in zip(cells.clusters.tolist(), rows, strict=True)
    }


def matched_labels(labels_true: ArrayLike, labels_pred: ArrayLike) -> np.ndarray:
    """Replaces the cluster of each sample by the class that `match_clusters` gives it.

    The result can be passed to tools for classification. The share of samples whose
    matched label is their class is `clustering_accuracy`.

    Args:
      labels_true, labels_pred: as in `contingency_matrix`.

    Returns:
      Labels, shape [n], of the type of the classes. With more clusters than classes,
      samples of unmatched clusters get None, and the type is object. They do not get -1,
      because -1 may be the name of a class.

    Example:
      >>> matched_labels(["cat", "cat", "dog"], [7, 7, 2]).tolist()
      ['cat', 'cat', 'dog']
    """
    cells = _cells(labels_true, labels_pred)
    rows = _matched_rows(_table(cells))
    classes = cells.classes
    if len(cells.clusters) > len(classes):
        classes = np.array([*classes.tolist(), None], object)
    return classes[rows[factorize("labels_pred", labels_pred)[1]]]


def classification_report(labels_true: ArrayLike, labels_pred: ArrayLike) -> str:
    """Formats precision, recall and F1 of each class, with clusters matched to classes.

    scikit-learn's table of the same name must not be given clusters directly: cluster 3
    need not be class 3, so a perfect clustering of k classes may score 1 / k or 0. Here
    the clusters are matched first, as in `match_clusters`, and renumbering them does not
    change the table.

    Args:
      labels_true, labels_pred: as in `contingency_matrix`.

    Returns:
      The table: a line for each class with the number of its samples (support); the
      accuracy, which is ACC; and means over the classes, plain and weighted by support.
      With more clusters than classes, samples of unmatched clusters are wrong, and a line
      "unmatched" of zeros shows that they exist; it is no class and enters no mean. With
      fewer, unmatched classes score 0.

    Raises:
      ImportError: scikit-learn is not installed.
    """
    sklearn_metrics = require(
        "sklearn.metrics", extra="data", task="the classification report"
    )
    cells = _cells(labels_true, labels_pred)
    n_classes, n_clusters = len(cells.classes), len(cells.clusters)
    names = [*map(str, cells.classes.tolist()), "unmatched"]
    _, classes = factorize("labels_true", labels_true)
    _, clusters = factorize("labels_pred", labels_pred)
    matched = _matched_rows(_table(cells))[clusters]

    def lines(n_rows: int) -> list[str]:
        text = sklearn_metrics.classification_report(
            classes,
            matched,
            labels=range(n_rows),
            target_names=names[:n_rows],
            zero_division=0,
        )
        return text.split("\n")

    if n_clusters <= n_classes:
        return "\n".join(lines(n_classes))
    report = lines(n_classes + 1)
    # scikit-learn's plain mean would count "unmatched" as one more class.
    report[-3] = lines(n_classes)[-3]
    return "\n".join(report)


def confusion_table(
    labels_true: ArrayLike, labels_pred: ArrayLike
) -> "pandas.DataFrame":
    """Makes a table of the samples of each class in each cluster, matches on the diagonal.

    It is `contingency_matrix` with names, in the order of `plots.confusion_matrix`.

    Args:
      labels_true, labels_pred: as in `contingency_matrix`.

    Returns:
      A DataFrame with a row for each class, in sorted order, and a column for each
      cluster, in the order of the matched classes: with as many clusters as classes, the
      diagonal holds the correct samples. Unmatched clusters come last, in sorted order.

    Raises:
      ImportError: pandas is not installed.

    Example:
      >>> table = confusion_table(["cat", "cat", "dog"], [7, 7, 2])
      >>> table.index.tolist(), table.columns.tolist(), table.to_numpy().tolist()
      (['cat', 'dog'], [7, 2], [[2, 0], [0, 1]])
    """
    pandas = require("pandas", extra="tables", task="the confusion table")
    cells = _cells(labels_true, labels_pred)
    table = _table(cells)
    order = np.argsort(_matched_rows(table), kind="stable")
    return pandas.DataFrame(
        table[:, order],
        index=pandas.Index(cells.classes, name="class"),
        columns=pandas.Index(cells.clusters[order], name="cluster"),
    )


def normalized_mutual_info(
    labels_true: ArrayLike, labels_pred: ArrayLike, *, average: str = "arithmetic"
) -> float:
    """Normalized mutual information (NMI) of classes and clusters.

    The mutual information is divided by a mean of the two entropies, and the result
    depends on the choice of that mean. scikit-learn used the geometric mean before its
    version 0.22, and so did most papers of that time. Since then the arithmetic mean is
    its default, as here. Compare with a paper's number under the paper's own mean.

    Args:
      labels_true, labels_pred: as in `contingency_matrix`.
      average: the mean of the two entropies: "arithmetic", "geometric", "min" or "max".

    Returns:
      NMI in [0, 1]; 1 is a perfect match. One class in one cluster gives 1; one class in
      several clusters gives 0.

    Raises:
      ValueError: an unknown mean, or labels that `contingency_matrix` rejects.

    Example:
      >>> round(normalized_mutual_info([0, 0, 1, 1], [0, 0, 1, 2]), 3)
      0.8
    """
    if average not in _MEANS:
        known = ", ".join(_MEANS)
        raise ValueError(f"average must be one of {known}, got {average!r}.")
    cells = _cells(labels_true, labels_pred)
    n_samples = int(cells.counts.sum())
    if len(cells.class_sizes) == len(cells.cluster_sizes) == 1:
        return 1.0
    # Float64 before the products: n ** 2 overflows int64 at n = 3e9.
    expected = cells.class_sizes[cells.rows].astype(np.float64)
    expected *= cells.cluster_sizes[cells.columns]
    lift = np.log(cells.counts * float(n_samples) / expected)
    mutual_info = float(np.sum(cells.counts / n_samples * lift))
    # Independent labelings leave a rounding error, which the division would amplify.
    if mutual_info <= np.finfo(np.float64).eps:
        return 0.0
    entropies = entropy(cells.class_sizes), entropy(cells.cluster_sizes)
    return min(mutual_info / _MEANS[average](*entropies), 1.0)


def adjusted_rand_index(labels_true: ArrayLike, labels_pred: ArrayLike) -> float:
    """Adjusted Rand index (ARI): agreement on pairs of samples, corrected for chance.

    Hubert and Arabie (1985). Pairs are counted in integers of any size, so the result is
    exact to the last bit for any n.

    Args:
      labels_true, labels_pred: as in `contingency_matrix`.

    Returns:
      ARI in [-0.5, 1]: 1 is a perfect match, 0 is the expected value for random labels.

    Raises:
      TypeError, ValueError: as `contingency_matrix` raises them.

    Example:
      >>> round(adjusted_rand_index([0, 0, 1, 1], [0, 0, 1, 2]), 3)
      0.571
    """
    cells = _cells(labels_true, labels_pred)
    together = _count_pairs(cells.counts)
    in_classes = _count_pairs(cells.class_sizes)
    in_clusters = _count_pairs(cells.cluster_sizes)
    n_samples = int(cells.counts.sum())
    pairs = n_samples * (n_samples - 1) // 2
    # (together - chance) / (mean - chance) with chance = in_classes * in_clusters / pairs,
    # multiplied by 2 * pairs to keep integers.
    excess = 2 * (together * pairs - in_classes * in_clusters)
    span = pairs * (in_classes + in_clusters) - 2 * in_classes * in_clusters
    # The span is 0 only if both labelings are one cluster, or both are all singletons.
    return excess / span if span else 1.0


def purity(labels_true: ArrayLike, labels_pred: ArrayLike) -> float:
    """Purity, the share of samples that belong to the largest class of their cluster.

    Several clusters may have the same class, and splitting a cluster never lowers the
    purity: compare it at equal numbers of clusters. It is not symmetric.

    Args:
      labels_true, labels_pred: as in `contingency_matrix`.

    Returns:
      Purity in (0, 1]; 1 if each cluster holds samples of one class.

    Raises:
      TypeError, ValueError: as `contingency_matrix` raises them.

    Example:
      >>> purity([0, 0, 1, 1], [0, 0, 1, 2]), purity([0, 0, 1, 1], [0, 0, 0, 0])
      (1.0, 0.5)
    """
    cells = _cells(labels_true, labels_pred)
    largest = np.zeros(len(cells.cluster_sizes), np.int64)
    np.maximum.at(largest, cells.columns, cells.counts)
    return int(largest.sum()) / int(cells.counts.sum())


class _Cells(NamedTuple):
    """The cells of a contingency matrix that are not zero; at most n for n samples."""

    classes: np.ndarray  # [n_classes], distinct labels, sorted
    clusters: np.ndarray  # [n_clusters], distinct labels, sorted
    class_sizes: np.ndarray  # [n_classes]
    cluster_sizes: np.ndarray  # [n_clusters]
    rows: np.ndarray  # [cells], index of the cell's class
    columns: np.ndarray  # [cells], index of the cell's cluster
    counts: np.ndarray  # [cells], samples in the cell


def _cells(labels_true: ArrayLike, labels_pred: ArrayLike) -> _Cells:
    """Checks two labelings and counts the samples in each cell that is not empty."""
    classes, rows = factorize("labels_true", labels_true)
    clusters, columns = factorize("labels_pred", labels_pred)
    if len(rows) != len(columns):
        raise ValueError(
            "labels_true and labels_pred must have the same length, "
            f"got {len(rows)} and {len(columns)}."
        )
    pairs, counts = np.unique(rows * len(clusters) + columns, return_counts=True)
    return _Cells(
        classes=classes,
        clusters=clusters,
        class_sizes=np.bincount(rows),
        cluster_sizes=np.bincount(columns),
        rows=pairs // len(clusters),
        columns=pairs % len(clusters),
        counts=counts,
    )


def _table(cells: _Cells) -> np.ndarray:
    """Makes the dense contingency matrix, [n_classes, n_clusters]."""
    table = np.zeros((len(cells.classes), len(cells.clusters)), np.int64)
    table[cells.rows, cells.columns] = cells.counts
    return table


def _matched_rows(table: np.ndarray) -> np.ndarray:
    """Matches a row to each column of a table, [n_clusters]; n_classes means no match."""
    from scipy.optimize import linear_sum_assignment

    # Columns are sorted by content, so that names never decide between equal matches.
    order = np.lexsort(table)
    rows, columns = linear_sum_assignment(table[:, order], maximize=True)
    matched = np.full(table.shape[1], len(table))
    matched[order[columns]] = rows
    return matched


def factorize(name: str, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns the sorted distinct labels, and each sample's index among them."""
    values = checked_labels(name, labels)
    try:
        distinct, codes = np.unique(values, return_inverse=True)
    except TypeError as error:
        raise TypeError(f"{name} must hold labels of one kind: {error}.") from None
    return distinct, codes.astype(np.int64)


def checked_labels(name: str, labels: ArrayLike) -> np.ndarray:
    """Returns labels as an array, checked to be non-empty, of rank 1 and without NaN."""
    values = np.asarray(labels)
    if values.ndim != 1:
        raise ValueError(
            f"{name} must have shape [n], got shape {values.shape}; "
            f"use .ravel() for a column, .argmax(axis=1) for scores."
        )
    if len(values) == 0:
        raise ValueError(f"{name} is empty.")
    # Only a missing value (NaN, NaT) differs from itself.
    try:
        missing = values != values
    except TypeError as error:  # pandas.NA is neither equal nor unequal
        raise ValueError(f"{name} must not hold missing values: {error}.") from None
    if missing.any():
        raise ValueError(
            f"{name} must not hold missing values, got {values[missing][0]} "
            f"at index {np.flatnonzero(missing)[0]}."
        )
    return values


def entropy(sizes: np.ndarray) -> float:
    """Entropy in nats of the group of a random sample, from positive group sizes."""
    # log(total / sizes), not -log(sizes / total): one group has entropy 0, not -0.
    total = sizes.sum()
    return float(np.sum(sizes / total * np.log(total / sizes)))


def _count_pairs(sizes: np.ndarray) -> int:
    """Counts pairs of samples within groups; int64 holds the number up to n = 3e9."""
    return int(np.sum(sizes * (sizes - 1) // 2))
