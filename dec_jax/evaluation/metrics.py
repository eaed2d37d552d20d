"""How well clusters agree with known classes; `label_free` holds what needs none.

Every score of two labelings comes from one table, the contingency matrix, so labels
may be of any kind that sorts: integers with gaps, negative numbers, floats, strings.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Int
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    import pandas

# The means that `normalized_mutual_info` may divide by.
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
      int64 counts. Rows are the distinct classes in sorted order, columns the distinct
      clusters in sorted order; labels that do not occur have no row or column.

    Raises:
      TypeError: labels of one array cannot be sorted, as numbers beside None.
      ValueError: an array is empty, not of rank 1, or holds NaN, or the lengths differ.
    """
    return _table(_cells(labels_true, labels_pred))


def clustering_accuracy(labels_true: ArrayLike, labels_pred: ArrayLike) -> float:
    """Share of samples that are right under the best one-to-one match, ACC.

    Equation 10 of Xie et al. (2016): clusters are matched to classes by the Hungarian
    algorithm. With more clusters than classes, the samples of the clusters left over
    count as wrong; with fewer, those of the classes left over do.

    Args:
      labels_true, labels_pred: as in `contingency_matrix`.

    Returns:
      ACC in [0, 1]; 1 is a perfect match.
    """
    from scipy.optimize import linear_sum_assignment

    table = contingency_matrix(labels_true, labels_pred)
    rows, columns = linear_sum_assignment(table, maximize=True)
    return int(table[rows, columns].sum()) / int(table.sum())


def match_clusters(labels_true: ArrayLike, labels_pred: ArrayLike) -> dict[Any, Any]:
    """Names the class that each cluster stands for in `clustering_accuracy`.

    No two clusters share a class. With more clusters than classes, the clusters left
    over map to None; with fewer, the classes left over are no cluster's value. The match
    is the best one overall: a cluster may be given a class that it holds no sample of.

    Args:
      labels_true, labels_pred: as in `contingency_matrix`.

    Returns:
      {cluster: class or None}, one entry for each cluster that occurs, in sorted order.
    """
    cells = _cells(labels_true, labels_pred)
    classes = [*cells.classes.tolist(), None]
    rows = _matched_rows(_table(cells))
    return {
        cluster: classes[row]
        for cluster, row in zip(cells.clusters.tolist(), rows, strict=True)
    }


def matched_labels(labels_true: ArrayLike, labels_pred: ArrayLike) -> np.ndarray:
    """Renames the cluster of each sample to its class, as `match_clusters` pairs them.

    What another tool for classes may be given: the share of samples whose matched label
    is their class is `clustering_accuracy`.

    Args:
      labels_true, labels_pred: as in `contingency_matrix`.

    Returns:
      Labels, shape [n], of the type of the classes. With more clusters than classes the
      samples of the clusters left over get None, and the type is object: -1 may be the
      name of a class.
    """
    cells = _cells(labels_true, labels_pred)
    rows = _matched_rows(_table(cells))
    classes = cells.classes
    if len(cells.clusters) > len(classes):
        classes = np.array([*classes.tolist(), None], object)
    return classes[rows[factorize("labels_pred", labels_pred)[1]]]


def classification_report(labels_true: ArrayLike, labels_pred: ArrayLike) -> str:
    """Precision, recall and F1 of each class once the clusters bear names of classes.

    scikit-learn's table of the same name, which must never be given clusters as they
    come: cluster 3 need not be class 3, so that a perfect clustering of k classes may
    score 1 / k or 0. Here the clusters are matched first, as in `match_clusters`, and no
    renumbering of them changes the table.

    Args:
      labels_true, labels_pred: as in `contingency_matrix`.

    Returns:
      The table: a line for each class with the number of its samples, support; the
      accuracy, which is ACC; and means over the classes, plain and weighted by support.
      With more clusters than classes, the samples of the clusters left over are wrong,
      and a line "unmatched" of zeros says that there are some; it is no class and enters
      no mean. With fewer, the classes left over score 0.
    """
    import sklearn.metrics

    cells = _cells(labels_true, labels_pred)
    n_classes, n_clusters = len(cells.classes), len(cells.clusters)
    names = [*map(str, cells.classes.tolist()), "unmatched"]
    _, classes = factorize("labels_true", labels_true)
    _, clusters = factorize("labels_pred", labels_pred)
    matched = _matched_rows(_table(cells))[clusters]

    def lines(n_rows: int) -> list[str]:
        text = sklearn.metrics.classification_report(
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
    # scikit-learn's plain mean would take "unmatched" for one more class.
    report[-3] = lines(n_classes)[-3]
    return "\n".join(report)


def confusion_table(
    labels_true: ArrayLike, labels_pred: ArrayLike
) -> "pandas.DataFrame":
    """Counts the samples of each class in each cluster, each cluster below its class.

    `contingency_matrix` with names, as `plots.confusion_matrix` draws it.

    Args:
      labels_true, labels_pred: as in `contingency_matrix`.

    Returns:
      A row for each class, in sorted order, and a column for each cluster, in the order
      of the classes that they are matched to: with as many clusters as classes, the
      diagonal holds what is right. Clusters without a class come last, in sorted order.
    """
    import pandas

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
    """Mutual information of classes and clusters over the mean of their entropies, NMI.

    The mean is a choice and the number depends on it: scikit-learn took the geometric
    mean before its version 0.22, and so did most papers of that time; since then the
    arithmetic mean is its default, as here. Compare a paper's number with its own mean.

    Args:
      labels_true, labels_pred: as in `contingency_matrix`.
      average: the mean of the two entropies: "arithmetic", "geometric", "min" or "max".

    Returns:
      NMI in [0, 1]; 1 is a perfect match, and so are one class and one cluster; one
      class and several clusters give 0.
    """
    if average not in _MEANS:
        known = ", ".join(_MEANS)
        raise ValueError(f"average must be one of {known}, got {average!r}.")
    cells = _cells(labels_true, labels_pred)
    n_samples = int(cells.counts.sum())
    if len(cells.class_sizes) == len(cells.cluster_sizes) == 1:
        return 1.0
    # Float64 before the products: n ** 2 leaves int64 at n = 3e9.
    expected = cells.class_sizes[cells.rows].astype(np.float64)
    expected *= cells.cluster_sizes[cells.columns]
    lift = np.log(cells.counts * float(n_samples) / expected)
    mutual_info = float(np.sum(cells.counts / n_samples * lift))
    # Independent labelings leave a rounding error here, which min() would blow up.
    if mutual_info <= np.finfo(np.float64).eps:
        return 0.0
    entropies = entropy(cells.class_sizes), entropy(cells.cluster_sizes)
    return min(mutual_info / _MEANS[average](*entropies), 1.0)


def adjusted_rand_index(labels_true: ArrayLike, labels_pred: ArrayLike) -> float:
    """Share of pairs of samples on which both labelings agree, above chance, ARI.

    Hubert and Arabie (1985). Pairs are counted in integers of any size, so the result
    is exact to the last bit of its float for any n.

    Args:
      labels_true, labels_pred: as in `contingency_matrix`.

    Returns:
      ARI in [-0.5, 1]: 1 is a perfect match, 0 is expected of random labels.
    """
    cells = _cells(labels_true, labels_pred)
    together = _count_pairs(cells.counts)
    in_classes = _count_pairs(cells.class_sizes)
    in_clusters = _count_pairs(cells.cluster_sizes)
    n_samples = int(cells.counts.sum())
    pairs = n_samples * (n_samples - 1) // 2
    # (together - chance) / (mean - chance), with chance = in_classes * in_clusters / pairs
    # multiplied out to keep to integers.
    excess = 2 * (together * pairs - in_classes * in_clusters)
    span = pairs * (in_classes + in_clusters) - 2 * in_classes * in_clusters
    # Zero only if both labelings are one cluster, or both are all singletons.
    return excess / span if span else 1.0


def purity(labels_true: ArrayLike, labels_pred: ArrayLike) -> float:
    """Share of samples that belong to the largest class of their cluster.

    Several clusters may stand for one class, and splitting a cluster never lowers it:
    compare purities at equal numbers of clusters. Not symmetric in its arguments.

    Args:
      labels_true, labels_pred: as in `contingency_matrix`.

    Returns:
      Purity in (0, 1]; 1 if each cluster holds samples of one class.
    """
    cells = _cells(labels_true, labels_pred)
    largest = np.zeros(len(cells.cluster_sizes), np.int64)
    np.maximum.at(largest, cells.columns, cells.counts)
    return int(largest.sum()) / int(cells.counts.sum())


class _Cells(NamedTuple):
    """The cells of a contingency matrix that hold a sample: n singletons need only n."""

    classes: np.ndarray  # [n_classes], distinct labels, sorted
    clusters: np.ndarray  # [n_clusters], distinct labels, sorted
    class_sizes: np.ndarray  # [n_classes]
    cluster_sizes: np.ndarray  # [n_clusters]
    rows: np.ndarray  # [cells], index of the cell's class
    columns: np.ndarray  # [cells], index of the cell's cluster
    counts: np.ndarray  # [cells], samples in the cell


def _cells(labels_true: ArrayLike, labels_pred: ArrayLike) -> _Cells:
    """Checks two labelings and counts the samples that they have in common."""
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
    """The whole contingency matrix, [n_classes, n_clusters]."""
    table = np.zeros((len(cells.classes), len(cells.clusters)), np.int64)
    table[cells.rows, cells.columns] = cells.counts
    return table


def _matched_rows(table: np.ndarray) -> np.ndarray:
    """The row matched to each column of a table, [n_clusters]; n_classes means none."""
    from scipy.optimize import linear_sum_assignment

    # In an order of their contents, so that names decide between no two equal matches.
    order = np.lexsort(table)
    rows, columns = linear_sum_assignment(table[:, order], maximize=True)
    matched = np.full(table.shape[1], len(table))
    matched[order[columns]] = rows
    return matched


def factorize(name: str, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Sorted distinct labels, and the index of each sample's label among them."""
    values = checked_labels(name, labels)
    try:
        distinct, codes = np.unique(values, return_inverse=True)
    except TypeError as error:
        raise TypeError(f"{name} must hold labels of one kind: {error}.") from None
    return distinct, codes.astype(np.int64)


def checked_labels(name: str, labels: ArrayLike) -> np.ndarray:
    """`labels` as an array; raises unless it is non-empty, of rank 1, without NaN."""
    values = np.asarray(labels)
    if values.ndim != 1:
        raise ValueError(
            f"{name} must have shape [n], got shape {values.shape}; "
            f"use .ravel() for a column, .argmax(axis=1) for scores."
        )
    if len(values) == 0:
        raise ValueError(f"{name} is empty.")
    # Of all values, only a missing one (NaN, NaT) differs from itself.
    try:
        missing = values != values
    except TypeError as error:  # pandas.NA answers neither yes nor no
        raise ValueError(f"{name} must not hold missing values: {error}.") from None
    if missing.any():
        raise ValueError(
            f"{name} must not hold missing values, got {values[missing][0]} "
            f"at index {np.flatnonzero(missing)[0]}."
        )
    return values


def entropy(sizes: np.ndarray) -> float:
    """Entropy in nats of a sample drawn at random, from the positive sizes of groups."""
    # The log of the inverse, as one group has entropy 0 and not -0.
    total = sizes.sum()
    return float(np.sum(sizes / total * np.log(total / sizes)))


def _count_pairs(sizes: np.ndarray) -> int:
    """Pairs of samples within groups of these sizes; int64 holds it up to n = 3e9."""
    return int(np.sum(sizes * (sizes - 1) // 2))
