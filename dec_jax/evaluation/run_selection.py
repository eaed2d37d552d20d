"""Which of several runs to keep, where no classes are known."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from dec_jax.evaluation.metrics import adjusted_rand_index, normalized_mutual_info
from dec_jax.validation import check_choice

# The scores that a run may have without classes, and whether more is better.
HIGHER_IS_BETTER = {
    "stability": True,  # mean ARI with the labels of the other runs
    "stability_nmi": True,  # mean NMI with them
    "silhouette": True,  # of z; each run has a space of its own, and may inflate it
    "max_q": True,  # mean largest q; a sharp q may be sharply wrong
    "evenness": True,  # of the sizes; right only where the true ones are even
    "clustering": False,  # KL(P || Q) at the end; of DCN the squared distance
    "reconstruction": False,  # mean squared error of the autoencoder
}


@dataclass(frozen=True)
class Choice:
    """The run that was chosen, and how all of them did.

    Attributes:
      run: index of the chosen run.
      by: the score that it was chosen by.
      scores: of each run, by name; NaN where a run has none.
      ranks: the same as ranks from 1, the best; runs that tie share the better rank, and
        those without the score come last.
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
    """How well each of several labelings agrees with the others, on average.

    The mean over the runs is `label_free.stability`.

    Args:
      labelings: two or more arrays of labels of the same samples, each of shape [n].
      score: of two labelings, symmetric; ARI, or `normalized_mutual_info`.

    Returns:
      The mean score of each run with the r - 1 others.

    Raises:
      ValueError: fewer than 2 labelings, or of different lengths.
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
    """Chooses among runs of the same samples by a score that needs no classes.

    By default the run that agrees most with the others. Runs differ in what is chance, a
    start that merged two groups or split one, and agree in what the data hold: each
    error of its own costs a run agreement with all others. Labels can be compared
    between runs; silhouette, q and losses are measured in a space that each run made
    itself, and reward one that pulled its clusters apart, right or wrong. What most runs
    get wrong in the same way, no score of this kind sees, and runs that collapsed alike
    agree: look at `health` first.

    Args:
      labelings: three or more arrays of labels, each of shape [n]; with two, each
        agrees with the other as much.
      scores: further scores of each run, by their names in `HIGHER_IS_BETTER`; None or
        NaN where a run has none.
      by: the score to choose by. Of runs that tie, the first is taken.

    Returns:
      The choice, with all scores and ranks.

    Raises:
      ValueError: fewer than 3 labelings, an unknown score, one of another number of
        runs, or `by` is a score that no run has.
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
                f"scores must have one {name} a run, got {len(values)} for {count} runs."
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
    """How well a score orders runs as their accuracy does: Spearman's rank correlation.

    Runs on different data or of different methods are pooled by their ranks within their
    own set, scaled to [-1, 1]: that one set has higher scores and accuracies than
    another says nothing of a choice within either.

    Args:
      name: of the score, in `HIGHER_IS_BETTER`.
      scores: of each run; None or NaN leaves the run out.
      accuracies: of each run.
      sets: the set that each run belongs to; one for all if not given.

    Returns:
      rho in [-1, 1]; 1 if better scores always go with higher accuracies, whichever end
      of the score is the better one. NaN if no set has runs that differ in both.

    Raises:
      ValueError: the name is unknown, or the lengths differ.
    """
    from scipy.stats import rankdata, spearmanr

    check_choice("score", name, HIGHER_IS_BETTER)
    sets = ["all"] * len(scores) if sets is None else sets
    if not len(scores) == len(accuracies) == len(sets):
        raise ValueError(
            "scores, accuracies and sets must have one entry a run, got "
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
    # Of constants scipy warns, and answers NaN.
    if ranks.shape[1] == 0 or (np.ptp(ranks, axis=1) == 0).any():
        return float("nan")
    rho = float(spearmanr(*ranks).statistic)
    return rho if HIGHER_IS_BETTER[name] else -rho


def _ranks(name: str, column: Float[np.ndarray, " r"]) -> tuple[int, ...]:
    """1 for the best; NaN last."""
    from scipy.stats import rankdata

    worse = -column if HIGHER_IS_BETTER[name] else column
    worst_last = np.where(np.isnan(column), np.inf, worse)
    return tuple(int(rank) for rank in rankdata(worst_last, method="min"))
