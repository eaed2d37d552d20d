import itertools
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from sklearn.metrics.cluster import contingency_matrix as sklearn_contingency

from dec_jax.evaluation.metrics import (
    adjusted_rand_index,
    classification_report,
    clustering_accuracy,
    confusion_table,
    contingency_matrix,
    match_clusters,
    matched_labels,
    normalized_mutual_info,
    purity,
)

RNG = np.random.default_rng(0)

# Pairs of labelings: classes and clusters of the same samples.
LABELINGS = {
    "random": (RNG.integers(0, 5, 300), RNG.integers(0, 5, 300)),
    "related": (np.arange(300) % 4, (np.arange(300) + (np.arange(300) % 7 == 0)) % 4),
    "more clusters": (np.arange(200) % 3, np.arange(200) % 12),
    "fewer clusters": (np.arange(200) % 12, np.arange(200) % 3),
    "one cluster": (np.arange(20) % 4, np.zeros(20, int)),
    "one class": (np.zeros(20, int), np.arange(20) % 4),
    "one of each": (np.zeros(9, int), np.full(9, 7)),
    "singleton clusters": (np.arange(12) % 4, np.arange(12)),
    "singleton classes": (np.arange(12), np.arange(12) % 4),
    "singletons of both": (np.arange(8), np.arange(8)[::-1]),
    "singletons in one cluster": (np.arange(8), np.zeros(8, int)),
    "identical": (np.arange(30) % 5, np.arange(30) % 5),
    "renamed": (np.arange(30) % 5, (np.arange(30) * 3 + 1) % 5),
    "independent": (np.arange(36) // 6, np.arange(36) % 6),
    "n = 1": (np.array([3]), np.array([8])),
    "n = 2, split": (np.array([0, 0]), np.array([0, 1])),
    "strings": (np.array(["cat", "dog", "cat", "emu"]), np.array(["b", "a", "b", "b"])),
    "floats": (np.array([0.5, 2.0, 2.0, -1.5]), np.array([1e300, 0.0, 0.0, -1e-300])),
    "negative": (np.array([-3, -3, 5, 5, 5]), np.array([-1, 0, 0, -1, -1])),
    "sparse values": (np.array([10**12, 7, 7, 0]), np.array([-(2**62), 2**62, 1, 1])),
    "booleans": (np.array([True, False, True]), np.array([False, False, True])),
    "small unsigned": (np.arange(600) % 2, (np.arange(600) % 256).astype(np.uint8)),
    "two kinds": (np.array(["x", "y", "y", "x"]), np.array([0.0, 1.0, 1.0, 1.0])),
    "lists": ([0, 1, 1, 2], ["a", "b", "b", "b"]),
}
all_labelings = pytest.mark.parametrize(
    ("labels_true", "labels_pred"), LABELINGS.values(), ids=LABELINGS.keys()
)
AVERAGES = ("arithmetic", "geometric", "min", "max")
SYMMETRIC = {
    "accuracy": clustering_accuracy,
    "ari": adjusted_rand_index,
    **{
        f"nmi-{mean}": partial(normalized_mutual_info, average=mean)
        for mean in AVERAGES
    },
}
SCORES = SYMMETRIC | {"purity": purity}
every_symmetric_score = pytest.mark.parametrize(
    "score", SYMMETRIC.values(), ids=SYMMETRIC
)
every_score = pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)

# Classes and clusters of up to 40 samples, two lists of one length.
label_pairs = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40
).map(lambda pairs: [list(labels) for labels in zip(*pairs, strict=True)])


def numbered(labels):
    """Labels as 0, 1, ..., as scikit-learn's scores refuse floats."""
    return np.unique(labels, return_inverse=True)[1]


def accuracy_by_all_matches(labels_true, labels_pred):
    """The best share over every one-to-one match, tried one after the other."""
    classes, clusters = sorted(set(labels_true)), sorted(set(labels_pred))
    classes += [None] * max(len(clusters) - len(classes), 0)
    best = 0
    for chosen in itertools.permutations(classes, len(clusters)):
        match = dict(zip(clusters, chosen, strict=True))
        hits = sum(
            match[cluster] == label
            for label, cluster in zip(labels_true, labels_pred, strict=True)
        )
        best = max(best, hits)
    return best / len(labels_true)


def purity_by_loops(labels_true, labels_pred):
    """The share of samples in the largest class of their cluster, counted in a loop."""
    members = {}
    for label, cluster in zip(labels_true, labels_pred, strict=True):
        members.setdefault(cluster, []).append(label)
    hits = sum(max(Counter(labels).values()) for labels in members.values())
    return hits / len(labels_true)


def rand_index_by_pairs(labels_true, labels_pred):
    """Hubert and Arabie's index, from a look at each pair of samples."""
    pairs = list(itertools.combinations(range(len(labels_true)), 2))
    same_class = [labels_true[i] == labels_true[j] for i, j in pairs]
    same_cluster = [labels_pred[i] == labels_pred[j] for i, j in pairs]
    together = sum(a and b for a, b in zip(same_class, same_cluster, strict=True))
    chance = sum(same_class) * sum(same_cluster) / len(pairs)
    return (together - chance) / ((sum(same_class) + sum(same_cluster)) / 2 - chance)


# The contingency matrix.


def test_contingency_matrix_of_six_samples_by_hand():
    table = contingency_matrix(["b", "a", "b", "b", "a", "c"], [9, 4, 9, 4, 4, 9])
    np.testing.assert_array_equal(table, [[2, 0], [1, 2], [0, 1]])
    assert table.dtype == np.int64


@all_labelings
def test_contingency_matrix_equals_scikit_learn(labels_true, labels_pred):
    np.testing.assert_array_equal(
        contingency_matrix(labels_true, labels_pred),
        sklearn_contingency(labels_true, labels_pred),
    )


def test_contingency_matrix_transposes_when_its_arguments_swap():
    labels_true, labels_pred = LABELINGS["more clusters"]
    np.testing.assert_array_equal(
        contingency_matrix(labels_pred, labels_true),
        contingency_matrix(labels_true, labels_pred).T,
    )


def test_labels_may_be_arrays_of_jax():
    table = contingency_matrix(jnp.array([0, 1, 1]), jnp.array([1, 0, 0]))
    np.testing.assert_array_equal(table, [[0, 1], [2, 0]])


# What goes wrong is said, by every score.

BOTH = (
    contingency_matrix,
    clustering_accuracy,
    match_clusters,
    matched_labels,
    classification_report,
    normalized_mutual_info,
    adjusted_rand_index,
    purity,
)
every_function = pytest.mark.parametrize("function", BOTH, ids=lambda f: f.__name__)


@every_function
@pytest.mark.parametrize(
    ("labels_true", "labels_pred", "message"),
    [
        (
            [0, 1, 2],
            [0, 1],
            "labels_true and labels_pred must have the same length, got 3 and 2.",
        ),
        ([], [0], "labels_true is empty."),
        ([0], [], "labels_pred is empty."),
        (
            [[0], [1]],
            [0, 1],
            "labels_true must have shape [n], got shape (2, 1); use .ravel() for a "
            "column, .argmax(axis=1) for scores.",
        ),
        (
            [0, 1],
            3,
            "labels_pred must have shape [n], got shape (); use .ravel() for a "
            "column, .argmax(axis=1) for scores.",
        ),
        (
            [0.0, 1.0, np.nan, np.nan],
            [0, 0, 1, 1],
            "labels_true must not hold missing values, got nan at index 2.",
        ),
        (
            [0, 1],
            np.array(["a", np.nan], object),
            "labels_pred must not hold missing values, got nan at index 1.",
        ),
    ],
)
def test_scores_rejects_labels(function, labels_true, labels_pred, message):
    with pytest.raises(ValueError) as caught:
        function(labels_true, labels_pred)
    assert str(caught.value) == message


@every_function
def test_scores_rejects_labels_that_do_not_sort(function):
    with pytest.raises(TypeError, match="labels_pred must hold labels of one kind: "):
        function([0, 1], [0, None])


# ACC.


@pytest.mark.parametrize(
    ("labels_true", "labels_pred", "accuracy"),
    [
        ([0, 0, 1, 1, 2, 2], [2, 2, 0, 0, 1, 1], 1.0),
        ([0, 0, 1, 1, 2, 2], [2, 2, 0, 0, 1, 2], 5 / 6),
        # Of clusters 0 and 1, only one may stand for class 0.
        ([0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 2, 2], 5 / 6),
        # One cluster, so that one class alone is right.
        ([0, 0, 0, 1, 1, 2], [5, 5, 5, 5, 5, 5], 3 / 6),
        # A greedy match takes the 4 and is left with 0; the best takes 3 + 3.
        ([0] * 7 + [1] * 3, [0] * 4 + [1] * 3 + [0] * 3, 6 / 10),
    ],
)
def test_clustering_accuracy_by_hand(labels_true, labels_pred, accuracy):
    assert clustering_accuracy(labels_true, labels_pred) == accuracy


@pytest.mark.parametrize(("n_classes", "n_clusters"), [(4, 4), (3, 5), (5, 3), (1, 4)])
def test_clustering_accuracy_equals_the_best_of_all_matches(n_classes, n_clusters):
    rng = np.random.default_rng(n_classes)
    labels_true = rng.integers(0, n_classes, 50).tolist()
    labels_pred = rng.integers(0, n_clusters, 50).tolist()
    expected = accuracy_by_all_matches(labels_true, labels_pred)
    assert clustering_accuracy(labels_true, labels_pred) == expected


@all_labelings
def test_clustering_accuracy_equals_scipy_on_the_contingency(labels_true, labels_pred):
    table = sklearn_contingency(labels_true, labels_pred)
    match = linear_sum_assignment(-table)
    expected = table[match].sum() / table.sum()
    assert clustering_accuracy(labels_true, labels_pred) == expected


def test_clustering_accuracy_counts_extra_clusters_as_wrong():
    labels = np.arange(60) % 3
    split = labels + 3 * (np.arange(60) < 30)
    assert clustering_accuracy(labels, split) == 0.5
    assert purity(labels, split) == 1.0


def test_match_clusters_by_hand():
    match = match_clusters(["cat", "cat", "dog", "dog", "emu"], [7, 7, 3, 3, 5])
    assert match == {3: "dog", 5: "emu", 7: "cat"}
    assert list(match) == [3, 5, 7]


def test_match_clusters_leaves_extra_clusters_without_a_class():
    assert match_clusters([0, 0, 0, 1, 1], [4, 4, 5, 6, 6]) == {4: 0, 5: None, 6: 1}


def test_match_clusters_names_no_class_twice_with_too_few_clusters():
    assert match_clusters([0, 0, 0, 1, 2, 2], [8, 8, 8, 8, 9, 9]) == {8: 0, 9: 2}


def test_match_clusters_may_give_a_class_without_a_sample_in_the_cluster():
    assert match_clusters([0, 0, 0, 0, 1], [0, 0, 0, 1, 0]) == {0: 0, 1: 1}


@all_labelings
def test_match_clusters_gives_clustering_accuracy(labels_true, labels_pred):
    match = match_clusters(labels_true, labels_pred)
    classes = [label for label in match.values() if label is not None]
    named = [match[label] for label in np.asarray(labels_pred).tolist()]
    hits = sum(
        guess == label
        for guess, label in zip(named, np.asarray(labels_true).tolist(), strict=True)
    )
    assert len(classes) == len(set(classes))
    assert hits / len(named) == clustering_accuracy(labels_true, labels_pred)


@given(pairs=label_pairs, names=st.permutations(range(6)))
def test_match_clusters_ignores_the_names_of_clusters_even_where_matches_tie(
    pairs, names
):
    labels_true, labels_pred = pairs
    match = match_clusters(labels_true, labels_pred)
    renamed = match_clusters(labels_true, [names[label] for label in labels_pred])
    table = confusion_by_loops(labels_true, labels_pred)
    # Clusters of the same samples of each class may change places.
    assert sorted(
        (table[cluster], str(label)) for cluster, label in match.items()
    ) == sorted(
        (table[names.index(name)], str(label)) for name, label in renamed.items()
    )


# The report of each class.


def confusion_by_loops(labels_true, labels_pred):
    """Samples of each class in each cluster: {cluster: [count of each class]}."""
    pairs = list(zip(labels_true, labels_pred, strict=True))
    classes = sorted(set(labels_true))
    return {
        cluster: [sum(pair == (label, cluster) for pair in pairs) for label in classes]
        for cluster in set(labels_pred)
    }


def report_by_loops(labels_true, labels_pred):
    """{line: its numbers} of the report, one class after the other."""
    labels_true, labels_pred = list(labels_true), list(labels_pred)
    match = match_clusters(labels_true, labels_pred)
    pairs = [
        (label, match[cluster])
        for label, cluster in zip(labels_true, labels_pred, strict=True)
    ]
    report = {}
    for name in sorted(set(labels_true)):
        right = sum(pair == (name, name) for pair in pairs)
        given_name = sum(guess == name for _, guess in pairs)
        support = sum(label == name for label, _ in pairs)
        precision = right / given_name if given_name else 0
        recall = right / support
        f1 = 2 * right / (given_name + support)
        report[str(name)] = [precision, recall, f1, support]
    scores = np.array(list(report.values()))
    n = len(pairs)
    if None in match.values():
        report["unmatched"] = [0, 0, 0, 0]
    report["accuracy"] = [sum(label == guess for label, guess in pairs) / n, n]
    report["macro avg"] = [*scores[:, :3].mean(axis=0), n]
    report["weighted avg"] = [*(scores[:, 3] @ scores[:, :3] / n), n]
    return report


def numbers(report):
    """{line: its numbers} of a printed report, without the heading."""
    lines = [line.split("  ") for line in report.splitlines()[1:] if line]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    return {name: [float(value) for value in values] for name, *values in cells}


@pytest.mark.parametrize(
    "name",
    [
        *("random", "related", "more clusters", "fewer clusters", "one cluster"),
        *("one class", "one of each", "singleton clusters", "renamed", "n = 1"),
    ],
)
def test_classification_report_equals_loops(name):
    labels_true, labels_pred = LABELINGS[name]
    report = numbers(classification_report(labels_true, labels_pred))
    expected = report_by_loops(labels_true.tolist(), labels_pred.tolist())
    assert list(report) == list(expected)
    for line, values in expected.items():
        assert report[line] == pytest.approx(values, abs=0.005 + 1e-9), line


def test_classification_report_of_two_named_classes_by_hand():
    # Cluster 1 is yes: of 3 samples, 2 are yes; of 3 yes, 2 are in it.
    labels_true = ["yes", "yes", "yes", "no", "no"]
    report = classification_report(labels_true, [1, 1, 0, 0, 1])
    assert numbers(report) == {
        "no": [0.5, 0.5, 0.5, 2],
        "yes": [0.67, 0.67, 0.67, 3],
        "accuracy": [0.6, 5],
        "macro avg": [0.58, 0.58, 0.58, 5],
        "weighted avg": [0.6, 0.6, 0.6, 5],
    }
    assert report.split("\n")[0].split() == [
        "precision",
        "recall",
        "f1-score",
        "support",
    ]


def test_classification_report_of_ten_classes_is_scikit_learns_on_matched_labels():
    labels_true = np.arange(400) % 10
    labels_pred = (3 * labels_true + (np.arange(400) % 7 == 0)) % 10
    matched = (7 * labels_pred) % 10  # 7 * 3 = 21
    expected = sklearn.metrics.classification_report(labels_true, matched)
    assert classification_report(labels_true, labels_pred) == expected
    # What scikit-learn says of clusters as they come.
    raw = sklearn.metrics.classification_report(labels_true, labels_pred)
    assert numbers(raw)["accuracy"][0] < 0.3 < 0.8 < numbers(expected)["accuracy"][0]


@given(pairs=label_pairs, names=st.permutations(range(6)))
def test_classification_report_ignores_the_names_of_clusters(pairs, names):
    labels_true, labels_pred = pairs
    report = classification_report(labels_true, labels_pred)
    renamed = [f"c{names[label]}" for label in labels_pred]
    assert classification_report(labels_true, renamed) == report


def test_classification_report_counts_extra_clusters_as_wrong_but_not_as_a_class():
    # Each of three clusters holds what is right, and a fourth a quarter of each class.
    labels = np.arange(120) % 3
    clusters = np.where(np.arange(120) < 30, 9, labels)
    report = numbers(classification_report(labels, clusters))
    assert report["unmatched"] == [0, 0, 0, 0]
    assert report["accuracy"] == [0.75, 120]
    assert report["macro avg"] == [1.0, 0.75, 0.86, 120]


# Labels renamed.


def test_matched_labels_by_hand():
    matched = matched_labels(["cat", "cat", "dog", "dog", "emu"], [7, 7, 3, 7, 5])
    np.testing.assert_array_equal(matched, ["cat", "cat", "dog", "cat", "emu"])
    assert matched.dtype.kind == "U"


def test_matched_labels_of_clusters_left_over_are_none_and_no_class_of_minus_one():
    matched = matched_labels([-1, -1, -1, 1, 1], [4, 4, 5, 6, 6])
    assert matched.tolist() == [-1, -1, None, 1, 1]
    assert matched.dtype == object


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, bool])
def test_matched_labels_keep_the_type_of_the_classes(dtype):
    labels = (np.arange(6) % 2).astype(dtype)
    matched = matched_labels(labels, 1 - np.arange(6) % 2)
    np.testing.assert_array_equal(matched, labels)
    assert matched.dtype == dtype


@all_labelings
def test_matched_labels_hit_as_often_as_clustering_accuracy(labels_true, labels_pred):
    matched = matched_labels(labels_true, labels_pred)
    hits = np.mean(matched == np.asarray(labels_true))
    assert hits == pytest.approx(clustering_accuracy(labels_true, labels_pred))


# The table with names.


def test_confusion_table_puts_each_cluster_below_its_class_and_extra_ones_last():
    labels_true = ["cat", "cat", "cat", "dog", "dog", "emu"]
    table = confusion_table(labels_true, [9, 9, 2, 4, 9, 7])
    expected = pandas.DataFrame(
        [[2, 0, 0, 1], [1, 1, 0, 0], [0, 0, 1, 0]],
        index=pandas.Index(["cat", "dog", "emu"], name="class"),
        columns=pandas.Index([9, 4, 7, 2], name="cluster"),
    )
    pandas.testing.assert_frame_equal(table, expected)


def test_confusion_table_of_fewer_clusters_keeps_all_classes():
    table = confusion_table([0, 1, 1, 2, 2, 2], [0, 1, 1, 0, 0, 0])
    assert table.columns.tolist() == [1, 0]
    assert table.to_numpy().tolist() == [[0, 1], [2, 0], [0, 3]]


@all_labelings
def test_confusion_table_holds_the_contingency_matrix(labels_true, labels_pred):
    table = confusion_table(labels_true, labels_pred)
    columns = np.argsort(table.columns.to_numpy())
    np.testing.assert_array_equal(
        table.to_numpy()[:, columns], contingency_matrix(labels_true, labels_pred)
    )
    assert table.index.tolist() == np.unique(labels_true).tolist()


def test_confusion_table_rejects_lengths_that_differ():
    with pytest.raises(ValueError, match="must have the same length, got 2 and 1"):
        confusion_table([0, 1], [0])


def test_labels_may_be_series_of_pandas():
    names, clusters = ["cat", "dog", "cat"], [4, 1, 4]
    classes = pandas.Series(names, index=[5, 6, 7])
    for labels_true in (classes, classes.astype("category")):
        series = labels_true, pandas.Series(clusters)
        assert matched_labels(*series).tolist() == names
        assert classification_report(*series) == classification_report(names, clusters)
        assert confusion_table(*series).to_numpy().tolist() == [[2, 0], [0, 1]]


def test_scores_rejects_missing_values_of_pandas():
    labels = pandas.Series(["cat", None], dtype="string")
    with pytest.raises(ValueError, match="^labels_true must not hold missing values: "):
        matched_labels(labels, [0, 1])


# NMI and ARI.


@pytest.mark.parametrize("average", AVERAGES)
@all_labelings
def test_normalized_mutual_info_equals_scikit_learn(labels_true, labels_pred, average):
    expected = sklearn.metrics.normalized_mutual_info_score(
        numbered(labels_true), numbered(labels_pred), average_method=average
    )
    score = normalized_mutual_info(labels_true, labels_pred, average=average)
    assert score == pytest.approx(expected, abs=1e-12)
    assert 0 <= score <= 1


@pytest.mark.parametrize(
    ("average", "expected"),
    [("arithmetic", 2 / 3), ("geometric", 2**-0.5), ("min", 1), ("max", 1 / 2)],
)
def test_normalized_mutual_info_of_halved_classes_by_hand(average, expected):
    # Entropies log 2 and log 4, mutual information log 2.
    score = normalized_mutual_info([0, 0, 1, 1], [0, 1, 2, 3], average=average)
    assert score == pytest.approx(expected, rel=1e-14)


def test_normalized_mutual_info_takes_the_arithmetic_mean_by_default():
    assert normalized_mutual_info([0, 0, 1, 1], [0, 1, 2, 3]) == pytest.approx(2 / 3)


def test_normalized_mutual_info_of_a_large_independent_table_is_zero():
    labels = np.arange(10_000)
    for average in AVERAGES:
        assert normalized_mutual_info(labels // 100, labels % 100, average=average) == 0


def test_normalized_mutual_info_rejects_an_unknown_average():
    with pytest.raises(ValueError) as caught:
        normalized_mutual_info([0], [0], average="harmonic")
    known = "arithmetic, geometric, min, max"
    assert str(caught.value) == f"average must be one of {known}, got 'harmonic'."


@all_labelings
def test_adjusted_rand_index_equals_scikit_learn(labels_true, labels_pred):
    expected = sklearn.metrics.adjusted_rand_score(
        numbered(labels_true), numbered(labels_pred)
    )
    score = adjusted_rand_index(labels_true, labels_pred)
    assert score == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("name", ["related", "random", "more clusters"])
def test_adjusted_rand_index_equals_a_count_of_pairs(name):
    labels_true, labels_pred = (labels[:60] for labels in LABELINGS[name])
    expected = rand_index_by_pairs(labels_true.tolist(), labels_pred.tolist())
    assert adjusted_rand_index(labels_true, labels_pred) == pytest.approx(expected)


def test_adjusted_rand_index_reaches_its_lowest_value_by_hand():
    assert adjusted_rand_index([0, 0, 1, 1], [0, 1, 0, 1]) == -0.5


def test_adjusted_rand_index_holds_pairs_of_pairs_beyond_int64():
    # 400,000 samples make 8e10 pairs, and products of two such counts leave int64. One
    # in ten samples of each class is wrong, so that the index is (1 - 0.2) ** 2.
    def halves(n):
        labels = np.arange(n) % 2
        return labels, np.where(np.arange(n) // 2 % 10 == 0, 1 - labels, labels)

    assert adjusted_rand_index(*halves(400_000)) == pytest.approx(0.64, abs=1e-5)
    assert adjusted_rand_index(*halves(400)) == pytest.approx(
        rand_index_by_pairs(*(labels.tolist() for labels in halves(400)))
    )


def test_many_clusters_make_no_table():
    # As a table, 100,000 singletons of both would be 80 GB.
    labels = np.arange(100_000)
    assert adjusted_rand_index(labels, labels) == 1
    assert normalized_mutual_info(labels, labels) == pytest.approx(1)
    assert purity(labels, labels) == 1


# Purity.


def test_purity_by_hand():
    # Cluster 0 holds a, a, b; cluster 1 b, c.
    assert purity(["a", "a", "b", "b", "c"], [0, 0, 0, 1, 1]) == 3 / 5


@all_labelings
def test_purity_equals_loops(labels_true, labels_pred):
    expected = purity_by_loops(
        np.asarray(labels_true).tolist(), np.asarray(labels_pred).tolist()
    )
    assert purity(labels_true, labels_pred) == expected


@given(label_pairs)
def test_purity_never_falls_when_clusters_are_split(pairs):
    labels_true, labels_pred = pairs
    split = 2 * np.array(labels_pred) + np.arange(len(labels_pred)) % 2
    assert purity(labels_true, split) >= purity(labels_true, labels_pred)


# Properties of all scores.


@every_score
@given(pairs=label_pairs, names=st.permutations(range(6)))
def test_scores_ignore_the_names_of_labels(score, pairs, names):
    labels_true, labels_pred = pairs
    expected = pytest.approx(score(labels_true, labels_pred), abs=1e-12)
    assert score(labels_true, [f"c{names[label]}" for label in labels_pred]) == expected
    assert score([names[label] - 2.5 for label in labels_true], labels_pred) == expected


@every_symmetric_score
@given(pairs=label_pairs)
def test_scores_are_symmetric(score, pairs):
    labels_true, labels_pred = pairs
    expected = pytest.approx(score(labels_true, labels_pred), abs=1e-12)
    assert score(labels_pred, labels_true) == expected


@every_score
@given(pairs=label_pairs)
def test_scores_stay_in_their_range_and_reach_one(score, pairs):
    labels_true, labels_pred = pairs
    assert -0.5 <= score(labels_true, labels_pred) <= 1
    assert score(labels_true, labels_true) == pytest.approx(1)


@given(label_pairs)
def test_clustering_accuracy_is_at_most_purity(pairs):
    labels_true, labels_pred = pairs
    accuracy = clustering_accuracy(labels_true, labels_pred)
    assert accuracy <= purity(labels_true, labels_pred)


def test_importing_metrics_loads_neither_sklearn_nor_scipy_optimize():
    program = (
        "import sys, dec_jax.evaluation.metrics;"
        "print({'sklearn', 'scipy.optimize', 'matplotlib'} & set(sys.modules))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert (answer.stdout, answer.returncode) == ("set()\n", 0), answer.stderr
