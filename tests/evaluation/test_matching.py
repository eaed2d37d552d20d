"""Clusters matched to classes: names, reports and tables."""

import sys

import numpy as np
import pandas
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from labelings import LABELINGS, all_labelings, label_pairs

from dec_jax.evaluation.metrics import (
    classification_report,
    clustering_accuracy,
    confusion_table,
    contingency_matrix,
    match_clusters,
    matched_labels,
)


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
        "random",
        "related",
        "more clusters",
        "fewer clusters",
        "one cluster",
        "one class",
        "one of each",
        "singleton clusters",
        "renamed",
        "n = 1",
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


@pytest.mark.parametrize(
    ("module", "function", "message"),
    [
        (
            "sklearn.metrics",
            classification_report,
            r'the classification report needs scikit-learn: pip install "dec_jax\[data\]"',
        ),
        (
            "pandas",
            confusion_table,
            r'the confusion table needs pandas: pip install "dec_jax\[tables\]"',
        ),
    ],
)
def test_tables_say_which_package_is_not_installed(
    module, function, message, monkeypatch
):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=message):
        function([0, 1], [1, 0])
