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
from labelings import LABELINGS, all_labelings, label_pairs, numbered
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
