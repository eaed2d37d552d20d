import itertools
import math
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from sklearn.metrics.cluster import contingency_matrix as sklearn_contingency

from dec_jax import metrics
from dec_jax.metrics import (
    adjusted_rand_index,
    cluster_sizes,
    clustering_accuracy,
    contingency_matrix,
    match_clusters,
    normalized_mutual_info,
    purity,
    silhouette,
    size_entropy,
    stability,
)

RNG = np.random.default_rng(0)

# Pairs of labellings: classes and clusters of the same samples.
LABELLINGS = {
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
all_labellings = pytest.mark.parametrize(
    ("labels_true", "labels_pred"), LABELLINGS.values(), ids=LABELLINGS.keys()
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


def silhouette_by_loops(z, labels):
    """Rousseeuw's mean silhouette, one sample at a time."""
    widths = []
    for i, z_i in enumerate(z):
        distance = [math.dist(z_i, z_j) for z_j in z]
        members = {
            label: [j for j in range(len(z)) if labels[j] == label and j != i]
            for label in set(labels)
        }
        means = {
            label: sum(distance[j] for j in others) / len(others)
            for label, others in members.items()
            if others
        }
        own = means.pop(labels[i], None)
        nearest = min(means.values())
        widths.append(0 if own is None else (nearest - own) / max(own, nearest))
    return sum(widths) / len(widths)


# The contingency matrix.


def test_contingency_matrix_of_six_samples_by_hand():
    table = contingency_matrix(["b", "a", "b", "b", "a", "c"], [9, 4, 9, 4, 4, 9])
    np.testing.assert_array_equal(table, [[2, 0], [1, 2], [0, 1]])
    assert table.dtype == np.int64


@all_labellings
def test_contingency_matrix_equals_scikit_learn(labels_true, labels_pred):
    np.testing.assert_array_equal(
        contingency_matrix(labels_true, labels_pred),
        sklearn_contingency(labels_true, labels_pred),
    )


def test_contingency_matrix_transposes_when_its_arguments_swap():
    labels_true, labels_pred = LABELLINGS["more clusters"]
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


@all_labellings
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


@all_labellings
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


# NMI and ARI.


@pytest.mark.parametrize("average", AVERAGES)
@all_labellings
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


@all_labellings
def test_adjusted_rand_index_equals_scikit_learn(labels_true, labels_pred):
    expected = sklearn.metrics.adjusted_rand_score(
        numbered(labels_true), numbered(labels_pred)
    )
    score = adjusted_rand_index(labels_true, labels_pred)
    assert score == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("name", ["related", "random", "more clusters"])
def test_adjusted_rand_index_equals_a_count_of_pairs(name):
    labels_true, labels_pred = (labels[:60] for labels in LABELLINGS[name])
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


@all_labellings
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


# Without classes: sizes and their entropy.


def test_cluster_sizes_counts_empty_clusters():
    sizes = cluster_sizes([0, 2, 2, 4], 6)
    np.testing.assert_array_equal(sizes, [1, 0, 2, 0, 1, 0])
    assert sizes.dtype == np.int64


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64])
def test_cluster_sizes_takes_integers_of_any_width(dtype):
    labels = (np.arange(300) % 3).astype(dtype)
    np.testing.assert_array_equal(cluster_sizes(labels, 3), [100, 100, 100])


@pytest.mark.parametrize("function", [cluster_sizes, size_entropy])
@pytest.mark.parametrize(
    ("labels", "n_clusters", "error", "message"),
    [
        ([], 3, ValueError, "labels is empty."),
        (
            [[0, 1]],
            3,
            ValueError,
            "labels must have shape [n], got shape (1, 2); use .ravel() for a column, "
            ".argmax(axis=1) for scores.",
        ),
        (
            [0.0, 1.0],
            3,
            TypeError,
            "labels must be integers, got dtype float64; number them with "
            "numpy.unique(labels, return_inverse=True)[1].",
        ),
        (
            [True, False],
            3,
            TypeError,
            "labels must be integers, got dtype bool; number them with "
            "numpy.unique(labels, return_inverse=True)[1].",
        ),
        (
            [0, 3],
            3,
            ValueError,
            "labels must be from 0 to n_clusters - 1 = 2, got 3.",
        ),
        (
            [-1, 2],
            3,
            ValueError,
            "labels must be from 0 to n_clusters - 1 = 2, got -1.",
        ),
        ([0], 0, ValueError, "n_clusters must be at least 1, got 0."),
        ([0], 2.0, TypeError, "n_clusters must be an integer, got 2.0."),
        ([0], True, TypeError, "n_clusters must be an integer, got True."),
    ],
)
def test_cluster_sizes_rejects_arguments(function, labels, n_clusters, error, message):
    with pytest.raises(error) as caught:
        function(labels, n_clusters)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("labels", "n_clusters", "expected"),
    [
        ([0, 1, 2, 3], 4, 1.0),
        ([0, 0, 1, 1], 4, 0.5),
        ([0, 0, 0], 1, 1.0),
        ([0, 0, 0, 1], 2, 2 - 0.75 * math.log2(3)),
    ],
)
def test_size_entropy_by_hand(labels, n_clusters, expected):
    assert size_entropy(labels, n_clusters) == pytest.approx(expected, rel=1e-14)


def test_size_entropy_of_one_full_cluster_is_zero_without_a_sign():
    assert f"{size_entropy([2, 2, 2], 5):.1f}" == "0.0"


# Silhouette.


def test_silhouette_of_four_samples_by_hand():
    # At 0 and 1, and at 5 and 6: within 1; between 5.5, 4.5, 4.5, 5.5.
    z = np.array([[0.0], [1.0], [5.0], [6.0]])
    expected = (4.5 / 5.5 + 3.5 / 4.5) / 2
    assert silhouette(z, [0, 0, 1, 1]) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("n", [3, 10, 511, 512, 513, 1100])
def test_silhouette_equals_scikit_learn(n):
    rng = np.random.default_rng(n)
    labels = rng.integers(0, 5, n) if n > 3 else np.array([0, 0, 1])
    z = rng.normal(size=(n, 4)) + labels[:, None] + 100
    expected = sklearn.metrics.silhouette_score(z, labels)
    assert silhouette(z, labels) == pytest.approx(expected, abs=1e-10)


def test_silhouette_equals_loops_with_a_cluster_of_one_and_names():
    z = np.random.default_rng(0).normal(size=(25, 3)).astype(np.float32)
    labels = ["lonely", *(["a", "b", "c"] * 8)]
    expected = silhouette_by_loops(z.astype(np.float64), labels)
    assert silhouette(z, labels) == pytest.approx(expected, abs=1e-12)


def test_silhouette_of_a_subsample_equals_scikit_learn_on_it(blobs):
    z, labels = blobs
    chosen = np.random.default_rng(3).permutation(200)[:50]
    expected = sklearn.metrics.silhouette_score(
        z[chosen].astype(np.float64), labels[chosen]
    )
    score = silhouette(z, labels, max_samples=50, seed=3)
    assert score == pytest.approx(expected, abs=1e-10)
    assert score != silhouette(z, labels, max_samples=50, seed=4)


def test_silhouette_uses_all_samples_up_to_max_samples(blobs):
    z, labels = blobs
    assert silhouette(z, labels, max_samples=200, seed=1) == silhouette(z, labels)


def test_silhouette_of_samples_that_coincide_is_zero():
    assert silhouette(np.ones((6, 2)), [0, 0, 0, 1, 1, 1]) == 0


def test_silhouette_keeps_its_digits_far_from_the_origin(blobs):
    z, labels = blobs[0].astype(np.float64), blobs[1]
    assert silhouette(z + 1e6, labels) == pytest.approx(silhouette(z, labels), abs=1e-7)


def test_silhouette_ignores_scale_and_order_of_the_samples(blobs):
    z, labels = blobs
    order = np.random.default_rng(0).permutation(200)
    score = silhouette(1000 * z[order], labels[order])
    assert score == pytest.approx(silhouette(z, labels), rel=1e-6)


def with_nan(n):
    z = np.zeros((n, 2))
    z[-1, 1] = np.nan
    return z


@pytest.mark.parametrize(
    ("z", "labels", "message"),
    [
        (
            np.zeros((3, 2)),
            [0, 1],
            "z must have shape [n, d] with n = 2, the number of labels, got shape "
            "(3, 2).",
        ),
        (
            np.zeros(3),
            [0, 1, 1],
            "z must have shape [n, d] with n = 3, the number of labels, got shape (3,).",
        ),
        (with_nan(4), [0, 0, 1, 1], "z must be finite, got NaN or infinity."),
        (
            np.zeros((4, 2)),
            [1, 1, 1, 1],
            "silhouette needs at least 2 clusters and fewer clusters than samples, got "
            "1 clusters in the 4 samples used.",
        ),
        (
            np.zeros((3, 2)),
            [0, 1, 2],
            "silhouette needs at least 2 clusters and fewer clusters than samples, got "
            "3 clusters in the 3 samples used.",
        ),
        (np.zeros((0, 2)), [], "labels is empty."),
    ],
)
def test_silhouette_rejects_samples(z, labels, message):
    with pytest.raises(ValueError) as caught:
        silhouette(z, labels)
    assert str(caught.value) == message


def test_silhouette_rejects_nan_in_a_sample_that_it_would_not_draw():
    for seed in range(5):
        with pytest.raises(ValueError, match="z must be finite"):
            silhouette(with_nan(40), np.arange(40) % 2, max_samples=3, seed=seed)


def test_silhouette_rejects_too_small_a_subsample():
    with pytest.raises(ValueError, match=r"^max_samples must be at least 3, got 2\.$"):
        silhouette(np.zeros((4, 1)), [0, 0, 1, 1], max_samples=2)


def test_silhouette_of_blocks_equals_that_of_one(blobs, monkeypatch):
    z, labels = blobs
    whole = silhouette(z, labels)
    monkeypatch.setattr(metrics, "_SILHOUETTE_ROWS", 7)
    assert silhouette(z, labels) == pytest.approx(whole, rel=1e-12)


# Stability.


def test_stability_is_the_mean_over_all_pairs():
    labellings = [RNG.integers(0, 3, 40) for _ in range(4)]
    expected = np.mean(
        [
            sklearn.metrics.adjusted_rand_score(first, second)
            for first, second in itertools.combinations(labellings, 2)
        ]
    )
    assert stability(labellings) == pytest.approx(expected, abs=1e-14)


def test_stability_of_one_clustering_under_three_names_is_one():
    assert stability([[0, 0, 1], [1, 1, 0], ["x", "x", "y"]]) == 1


def test_stability_rejects_a_single_labelling():
    message = r"^stability needs at least 2 labellings, got 1\.$"
    with pytest.raises(ValueError, match=message):
        stability([[0, 1]])


def test_importing_metrics_loads_neither_sklearn_nor_scipy_optimize():
    program = (
        "import sys, dec_jax.metrics;"
        "print({'sklearn', 'scipy.optimize', 'matplotlib'} & set(sys.modules))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert (answer.stdout, answer.returncode) == ("set()\n", 0), answer.stderr
