"""All scores of two labelings at once, against slow versions and scikit-learn's."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from labelings import all_labelings, label_pairs, numbered

from dec_jax.evaluation.comparison import (
    compare_labels,
    pair_scores,
    variation_of_information,
)
from dec_jax.evaluation.metrics import purity


def pair_scores_by_loops(labels_true, labels_pred):
    """Precision, recall and F1 from a look at each pair of samples."""
    right = found = wanted = 0
    for i, j in itertools.combinations(range(len(labels_true)), 2):
        same_class = labels_true[i] == labels_true[j]
        same_cluster = labels_pred[i] == labels_pred[j]
        right += bool(same_class and same_cluster)
        wanted += bool(same_class)
        found += bool(same_cluster)
    return (
        right / found if found else 1.0,
        right / wanted if wanted else 1.0,
        2 * right / (found + wanted) if found + wanted else 1.0,
    )


def variation_by_loops(labels_true, labels_pred):
    """H(class given cluster) + H(cluster given class), a pair of groups at a time."""
    n, pairs = len(labels_true), Counter(zip(labels_true, labels_pred, strict=True))
    classes, clusters = Counter(labels_true), Counter(labels_pred)
    return -sum(
        count / n * (math.log(count / classes[a]) + math.log(count / clusters[b]))
        for (a, b), count in pairs.items()
    )


@all_labelings
def test_pair_scores_match_a_look_at_each_pair(labels_true, labels_pred):
    expected = pair_scores_by_loops(list(labels_true), list(labels_pred))
    np.testing.assert_allclose(pair_scores(labels_true, labels_pred), expected)


@given(label_pairs)
def test_variation_of_information_matches_its_definition(pair):
    expected = variation_by_loops(*pair)
    found = variation_of_information(*pair)
    assert found >= 0 and math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9)


@given(label_pairs)
def test_variation_of_information_is_a_metric(pair):
    one, two = pair
    three = [(a + b) % 3 for a, b in zip(one, two, strict=True)]
    assert variation_of_information(one, one) == 0
    there, back = variation_of_information(one, two), variation_of_information(two, one)
    assert math.isclose(there, back, abs_tol=1e-9)
    detour = variation_of_information(one, three) + variation_of_information(three, two)
    assert there <= detour + 1e-9


@all_labelings
def test_comparison_holds_the_scores_of_scikit_learn(labels_true, labels_pred):
    found = compare_labels(labels_true, labels_pred)
    one, two = numbered(labels_true), numbered(labels_pred)
    metrics = sklearn.metrics
    expected = {
        "ami": metrics.adjusted_mutual_info_score(one, two),
        "homogeneity": metrics.homogeneity_score(one, two),
        "completeness": metrics.completeness_score(one, two),
        "v_measure": metrics.v_measure_score(one, two),
        "nmi": metrics.normalized_mutual_info_score(one, two),
        "ari": metrics.adjusted_rand_score(one, two),
        "fowlkes_mallows": metrics.fowlkes_mallows_score(one, two),
    }
    for name, value in expected.items():
        assert math.isclose(getattr(found, name), value, abs_tol=1e-9), name
    assert found.purity == purity(labels_true, labels_pred)
    # The Fowlkes-Mallows index is the geometric mean of the two, where there are pairs.
    if found.fowlkes_mallows > 0:
        mean = math.sqrt(found.pair_precision * found.pair_recall)
        assert math.isclose(found.fowlkes_mallows, mean)


def test_comparison_rejects_labels_of_another_length():
    with pytest.raises(ValueError, match="must have the same length, got 2 and 3"):
        compare_labels([0, 1], [0, 1, 1])
