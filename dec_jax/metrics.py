"""How well clusters agree with known classes, and how they look without any.

Every score of two labellings comes from one table, the contingency matrix, so labels
may be of any kind that sorts: integers with gaps, negative numbers, floats, strings.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int
from numpy.typing import ArrayLike

# Rows of distances held at once by `silhouette`: 512 x 10,000 float64 are 41 MB.
_SILHOUETTE_ROWS = 512


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
    from scipy.optimize import linear_sum_assignment

    cells = _cells(labels_true, labels_pred)
    rows, columns = linear_sum_assignment(_table(cells), maximize=True)
    classes, clusters = cells.classes.tolist(), cells.clusters.tolist()
    matched = dict.fromkeys(clusters)
    for row, column in zip(rows, columns, strict=True):
        matched[clusters[column]] = classes[row]
    return matched


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
    # Independent labellings leave a rounding error here, which min() would blow up.
    if mutual_info <= np.finfo(np.float64).eps:
        return 0.0
    entropies = _entropy(cells.class_sizes), _entropy(cells.cluster_sizes)
    return min(mutual_info / _MEANS[average](*entropies), 1.0)


def adjusted_rand_index(labels_true: ArrayLike, labels_pred: ArrayLike) -> float:
    """Share of pairs of samples on which both labellings agree, above chance, ARI.

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
    # Zero only if both labellings are one cluster, or both are all singletons.
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
    _check_at_least("n_clusters", n_clusters, 1)
    values = _checked_labels("labels", labels)
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
    sizes = cluster_sizes(labels, n_clusters)
    if n_clusters == 1:
        return 1.0
    return min(_entropy(sizes[sizes > 0]) / math.log(n_clusters), 1.0)


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
    _check_at_least("max_samples", max_samples, 3)
    values = _checked_labels("labels", labels)
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
    clusters, codes = _factorise("labels", values)
    if not 2 <= len(clusters) < len(z):
        raise ValueError(
            "silhouette needs at least 2 clusters and fewer clusters than samples, "
            f"got {len(clusters)} clusters in the {len(z)} samples used."
        )
    # In cluster order, the distances to one cluster are neighbours in a row.
    order = np.argsort(codes, kind="stable")
    return float(_silhouette_samples(z[order], np.bincount(codes)).mean())


def stability(labellings: Sequence[ArrayLike]) -> float:
    """Mean adjusted Rand index over all pairs of labellings of the same samples.

    Runs from several seeds that agree have found structure; it needs no classes.

    Args:
      labellings: two or more arrays of labels, each of shape [n], one for each run.

    Returns:
      The mean ARI; 1 if all runs found the same clusters, about 0 if they share nothing.
    """
    if len(labellings) < 2:
        raise ValueError(
            f"stability needs at least 2 labellings, got {len(labellings)}."
        )
    scores = [
        adjusted_rand_index(first, second)
        for i, first in enumerate(labellings)
        for second in labellings[i + 1 :]
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
    """Checks two labellings and counts the samples that they have in common."""
    classes, rows = _factorise("labels_true", labels_true)
    clusters, columns = _factorise("labels_pred", labels_pred)
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


def _factorise(name: str, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Sorted distinct labels, and the index of each sample's label among them."""
    values = _checked_labels(name, labels)
    try:
        distinct, codes = np.unique(values, return_inverse=True)
    except TypeError as error:
        raise TypeError(f"{name} must hold labels of one kind: {error}.") from None
    return distinct, codes.astype(np.int64)


def _checked_labels(name: str, labels: ArrayLike) -> np.ndarray:
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
    missing = values != values
    if missing.any():
        raise ValueError(
            f"{name} must not hold missing values, got {values[missing][0]} "
            f"at index {np.flatnonzero(missing)[0]}."
        )
    return values


def _check_at_least(name: str, value: int, lowest: int) -> None:
    """Raises unless `value` is an integer of at least `lowest`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an integer, got {value!r}.")
    if value < lowest:
        raise ValueError(f"{name} must be at least {lowest}, got {value}.")


def _entropy(sizes: np.ndarray) -> float:
    """Entropy in nats of a sample drawn at random, from the positive sizes of groups."""
    # The log of the inverse, as one group has entropy 0 and not -0.
    total = sizes.sum()
    return float(np.sum(sizes / total * np.log(total / sizes)))


def _count_pairs(sizes: np.ndarray) -> int:
    """Pairs of samples within groups of these sizes; int64 holds it up to n = 3e9."""
    return int(np.sum(sizes * (sizes - 1) // 2))
