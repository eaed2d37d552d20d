import itertools
import math

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from dec_jax.evaluation.metrics import (
    adjusted_rand_index,
    clustering_accuracy,
    normalized_mutual_info,
)
from dec_jax.evaluation.run_selection import (
    HIGHER_IS_BETTER,
    agreement,
    choose_run,
    rank_correlation,
)

CLASSES = np.arange(300) % 6


def runs_with(errors):
    """Labels of runs that each give so many samples, drawn anew, to a random cluster."""
    runs = []
    for seed, count in enumerate(errors):
        rng = np.random.default_rng(seed)
        # Clusters bear other numbers in every run.
        labels = rng.permutation(6)[CLASSES]
        labels[rng.choice(300, count, replace=False)] = rng.integers(0, 6, count)
        runs.append(labels)
    return runs


def agreement_by_loops(labelings, score):
    """The mean over all others, one pair at a time, both ways."""
    means = []
    for i, mine in enumerate(labelings):
        others = [score(mine, other) for j, other in enumerate(labelings) if j != i]
        means.append(sum(others) / len(others))
    return means


# Agreement.


@pytest.mark.parametrize("score", [adjusted_rand_index, normalized_mutual_info])
def test_agreement_equals_loops(score):
    runs = runs_with([10, 50, 100, 200])
    expected = agreement_by_loops(runs, score)
    np.testing.assert_allclose(agreement(runs, score=score), expected, rtol=1e-12)


def test_mean_agreement_is_the_mean_over_all_pairs():
    labelings = [np.random.default_rng(seed).integers(0, 3, 40) for seed in range(4)]
    pairs = itertools.combinations(labelings, 2)
    expected = np.mean([sklearn.metrics.adjusted_rand_score(a, b) for a, b in pairs])
    assert agreement(labelings).mean() == pytest.approx(expected, abs=1e-14)


def test_agreement_of_one_clustering_under_three_names_is_one():
    found = agreement([[0, 0, 1], [1, 1, 0], ["x", "x", "y"]])
    np.testing.assert_array_equal(found, [1, 1, 1])


def test_agreement_rejects_a_single_labeling():
    message = r"^agreement needs at least 2 labelings, got 1\.$"
    with pytest.raises(ValueError, match=message):
        agreement([[0, 1]])


# The choice.


def test_choose_run_takes_the_run_that_agrees_most():
    # Errors that each run makes by itself: the one with fewest is best, and is found.
    runs = runs_with([120, 60, 20, 150, 90])
    accuracies = [clustering_accuracy(CLASSES, run) for run in runs]
    choice = choose_run(runs)
    assert choice.run == 2 == int(np.argmax(accuracies))
    assert choice.by == "stability"
    assert choice.ranks["stability"] == (4, 2, 1, 5, 3)
    np.testing.assert_allclose(choice.scores["stability"], agreement(runs))
    nmi = agreement(runs, score=normalized_mutual_info)
    np.testing.assert_allclose(choice.scores["stability_nmi"], nmi)


def test_choose_run_is_not_taken_in_by_a_run_in_one_cluster():
    runs = [np.zeros(300, int), *runs_with([30, 60, 90])]
    assert choose_run(runs).ranks["stability"][0] == 4


def test_choose_run_sees_no_error_that_most_runs_make():
    # Two classes in one cluster: the single run that is right agrees least.
    merged = np.where(CLASSES == 5, 4, CLASSES)
    assert choose_run([CLASSES, merged, merged]).ranks["stability"] == (3, 1, 1)


@pytest.mark.parametrize(
    "name, values, run, ranks",
    [
        ("silhouette", [0.1, 0.3, 0.2], 1, (3, 1, 2)),
        ("reconstruction", [0.1, 0.3, 0.2], 0, (1, 3, 2)),
        ("clustering", [0.3, 0.1, 0.1], 1, (3, 1, 1)),
        ("max_q", [None, 0.3, float("nan")], 1, (2, 1, 2)),
        ("evenness", [0.5, 0.5, 0.5], 0, (1, 1, 1)),
    ],
)
def test_choose_run_ranks_by_any_score(name, values, run, ranks):
    choice = choose_run(runs_with([10, 50, 100]), {name: values}, by=name)
    assert (choice.run, choice.ranks[name]) == (run, ranks)


@pytest.mark.parametrize(
    "count, scores, by, message",
    [
        (2, {}, "stability", "choose_run needs at least 3 labelings, got 2"),
        (3, {"siluette": [1, 2, 3]}, "stability", "Unknown score 'siluette'; did you"),
        (3, {"max_q": [1, 2]}, "stability", "one max_q for each run, got 2 for 3 runs"),
        (3, {}, "max_q", "Unknown score 'max_q'"),
        (3, {"max_q": [None] * 3}, "max_q", "Cannot choose by max_q: no run has"),
    ],
)
def test_choose_run_rejects_arguments(count, scores, by, message):
    with pytest.raises(ValueError, match=message):
        choose_run(runs_with([10] * count), scores, by=by)


# How scores order runs as their accuracy does.

RNG = np.random.default_rng(0)
ACCURACIES = RNG.random(8).tolist()
SCORES = (np.array(ACCURACIES) + 0.5 * RNG.random(8)).tolist()


def test_rank_correlation_of_one_set_is_spearmans():
    expected = scipy.stats.spearmanr(SCORES, ACCURACIES).statistic
    assert 0 < expected < 1
    rho = rank_correlation("stability", SCORES, ACCURACIES)
    assert rho == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", HIGHER_IS_BETTER)
def test_rank_correlation_is_one_where_better_scores_are_more_accurate(name):
    sign = 1 if HIGHER_IS_BETTER[name] else -1
    scores = [sign * accuracy**3 for accuracy in ACCURACIES]
    assert rank_correlation(name, scores, ACCURACIES) == pytest.approx(1)
    assert rank_correlation(name, scores[::-1], ACCURACIES[::-1]) == pytest.approx(1)


def pooled_by_loops(scores, accuracies, sets):
    """Pearson's correlation of the ranks within each set of one size, by counting."""
    ranks = []
    for column in (scores, accuracies):
        ranks.append(
            [
                sum(
                    other < mine
                    for other, s in zip(column, sets, strict=True)
                    if s == o
                )
                for mine, o in zip(column, sets, strict=True)
            ]
        )
    return np.corrcoef(ranks)[0, 1]


def test_rank_correlation_pools_ranks_within_each_set():
    sets = ["a", "b"] * 4
    expected = pooled_by_loops(SCORES, ACCURACIES, sets)
    rho = rank_correlation("stability", SCORES, ACCURACIES, sets=sets)
    assert rho == pytest.approx(expected, abs=1e-12)


def test_rank_correlation_ignores_differences_between_sets():
    # Within each set more is worse; over all of them, more would be better.
    scores, accuracies = [1, 2, 11, 12, 13], [0.2, 0.1, 0.9, 0.8, 0.7]
    sets = ["a", "a", "b", "b", "b"]
    assert rank_correlation("max_q", scores, accuracies, sets=sets) == pytest.approx(-1)
    assert rank_correlation("max_q", scores, accuracies) > 0


def test_rank_correlation_leaves_out_runs_without_the_score():
    scores, accuracies = [*SCORES, None, float("nan")], [*ACCURACIES, 0.0, 1.0]
    expected = rank_correlation("stability", SCORES, ACCURACIES)
    assert rank_correlation("stability", scores, accuracies) == expected


@pytest.mark.parametrize(
    "scores, sets", [([1.0, 1.0], None), ([None, None], None), ([1, 2], ["a", "b"])]
)
def test_rank_correlation_of_nothing_to_order_is_nan(scores, sets):
    assert math.isnan(rank_correlation("stability", scores, [0.1, 0.2], sets=sets))


def test_rank_correlation_rejects_other_lengths():
    with pytest.raises(ValueError, match="one entry for each run, got 2, 3 and 2"):
        rank_correlation("stability", [1, 2], [1, 2, 3])


def test_rank_correlation_rejects_an_unknown_score():
    with pytest.raises(ValueError, match="Unknown score 'kl'"):
        rank_correlation("kl", [1, 2], [1, 2])
