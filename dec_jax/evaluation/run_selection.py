"""Choice among several runs, without labels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from dec_jax.evaluation.metrics import adjusted_rand_index, normalized_mutual_info
from dec_jax.validation import check_choice

# Scores of a run that need no labels, and whether higher is better.
HIGHER_IS_BETTER = {
    "stability": True,  # mean ARI with the labels of the other runs
    "stability_nmi": True,  # mean NMI with them
    "silhouette": True,  # of z; each run has its own z, and may inflate it
    "max_q": True,  # mean largest q; a sharp q may still be wrong
    "evenness": True,  # of the cluster sizes; sensible only if true sizes are even
    "clustering": False,  # KL(P || Q) at the end; for DCN the squared distance
    "reconstruction": False,  # mean squared error of the autoencoder
}


@dataclass(frozen=True)
class Choice:
    """The chosen run, and the scores of all runs.

    Attributes:
      run: index of the chosen run.
      by: score that it was chosen by.
      scores: scores of all runs, by name of the score; NaN if a run has none.
      ranks: ranks of all runs, by name of the score, 1 is the best. Tied runs share the
        better rank, and runs without the score come last.
    """

    run: int
    by: str
    scores: dict[str, tuple[float, ...]]
    ranks: dict[str, tuple[int, ...]]


def agreement(
    labelings: Sequence[ArrayLike],
    *,
    score: Callable[[ArrayLike, ArrayLike], float] = adjusted_rand_index,
) -> Float[np.ndarray, " r"]:
    """Mean agreement of each labeling with the others.

    The mean over all runs, the mean over all pairs, is called the stability of runs.

    Args:
      labelings: r arrays of labels of the same samples, each of shape [n]; 2 or more.
      score: a symmetric score of two labelings: ARI, or `normalized_mutual_info`.

    Returns:
      The mean score of each run with the r - 1 others, shape [r].

    Raises:
      ValueError: fewer than 2 labelings, or labelings of different lengths.

    Example:
      >>> agreement([[0, 0, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]]).tolist()
      [0.25, 0.25, -0.5]
    """
    count = len(labelings)
    if count < 2:
        raise ValueError(f"agreement needs at least 2 labelings, got {count}.")
    table = np.zeros((count, count))
    for i, first in enumerate(labelings):
        for j in range(i):
            table[i, j] = table[j, i] = score(first, labelings[j])
    return table.sum(axis=1) / (count - 1)


def choose_run(
    labelings: Sequence[ArrayLike],
    scores: Mapping[str, Sequence[float | None]] | None = None,
    *,
    by: str = "stability",
) -> Choice:
    """Chooses among runs on the same samples by a score that needs no labels.

    The default is the run that agrees most with the others. Runs differ by chance, such
    as a start that merged or split a group, and share the structure of the data. An error
    that only one run makes lowers its agreement with all others. Labels can be compared
    between runs. Silhouette, q and losses cannot: each run measures them in its own z,
    and they reward clusters that are far apart, right or wrong. Agreement does not detect
    an error that most runs share, and collapsed runs may agree: check `health` first.

    Args:
      labelings: 3 or more arrays of labels, each of shape [n]; two runs always agree
        equally with each other.
      scores: more scores of the runs, by their names in `HIGHER_IS_BETTER`; None or NaN
        if a run has none.
      by: score to choose by. The first of tied runs is chosen.

    Returns:
      The choice, with all scores and ranks.

    Raises:
      ValueError: fewer than 3 labelings, an unknown score, a score for another number of
        runs, or `by` is a score that no run has.

    Example:
      >>> runs = [[0, 0, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]]
      >>> choice = choose_run(runs)
      >>> choice.run, choice.by, choice.ranks["stability"]
      (0, 'stability', (1, 1, 3))
    """
    count = len(labelings)
    if count < 3:
        raise ValueError(f"choose_run needs at least 3 labelings, got {count}.")
    columns = {
        "stability": agreement(labelings),
        "stability_nmi": agreement(labelings, score=normalized_mutual_info),
    }
    for name, values in (scores or {}).items():
        check_choice("score", name, HIGHER_IS_BETTER)
        if len(values) != count:
            raise ValueError(
                f"scores must have one {name} for each run, got {len(values)} for {count} runs."
            )
        columns[name] = np.array(values, np.float64)
    check_choice("score", by, columns)
    if np.isnan(columns[by]).all():
        raise ValueError(f"Cannot choose by {by}: no run has that score.")
    ranks = {name: _ranks(name, column) for name, column in columns.items()}
    return Choice(
        run=ranks[by].index(1),
        by=by,
        scores={name: tuple(column.tolist()) for name, column in columns.items()},
        ranks=ranks,
    )


def rank_correlation(
    name: str,
    scores: Sequence[float | None],
    accuracies: Sequence[float],
    *,
    sets: Sequence[str] | None = None,
) -> float:
    """Spearman's rank correlation of a score with the accuracy of runs.

    Runs on different data or with different methods are ranked within their own set, and
    the ranks are scaled to [-1, 1] and pooled. Differences between sets therefore do not
    count, only the order within each set.

    Args:
      name: name of the score, in `HIGHER_IS_BETTER`.
      scores: score of each run; a run with None or NaN is left out.
      accuracies: accuracy of each run.
      sets: set that each run belongs to; None is one set for all.

    Returns:
      rho in [-1, 1]; 1 if better scores always go with higher accuracies, for scores
      where lower is better as well. NaN if no set has runs that differ in both.

    Raises:
      ValueError: an unknown name, or lengths that differ.
    """
    from scipy.stats import rankdata, spearmanr

    check_choice("score", name, HIGHER_IS_BETTER)
    sets = ["all"] * len(scores) if sets is None else sets
    if not len(scores) == len(accuracies) == len(sets):
        raise ValueError(
            "scores, accuracies and sets must have one entry for each run, got "
            f"{len(scores)}, {len(accuracies)} and {len(sets)}."
        )
    values = np.array(scores, np.float64)
    pairs = np.stack([values, np.array(accuracies, np.float64)])
    known, names = ~np.isnan(values), np.array(sets)
    pooled = [np.zeros((2, 0))]
    for one in np.unique(names):
        members = pairs[:, known & (names == one)]
        size = members.shape[1]
        if size > 1:
            pooled.append((2 * rankdata(members, axis=1) - size - 1) / (size - 1))
    ranks = np.concatenate(pooled, axis=1)
    # scipy warns of constants and returns NaN.
    if ranks.shape[1] == 0 or (np.ptp(ranks, axis=1) == 0).any():
        return float("nan")
    rho = float(spearmanr(*ranks).statistic)
    return rho if HIGHER_IS_BETTER[name] else -rho


def _ranks(name: str, column: Float[np.ndarray, " r"]) -> tuple[int, ...]:
    """Ranks from 1, the best; runs with NaN come last."""
    from scipy.stats import rankdata

    worse = -column if HIGHER_IS_BETTER[name] else column
    worst_last = np.where(np.isnan(column), np.inf, worse)
    return tuple(int(rank) for rank in rankdata(worst_last, method="min"))
