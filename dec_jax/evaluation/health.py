"""Stability of training: detects collapse and late drift, without labels.

A stable training is no sign that the clusters are right; scores without labels and other
runs say more about that (`label_free`, `run_selection`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from dec_jax.clustering.assignment import confidence
from dec_jax.evaluation.label_free import evenness
from dec_jax.training.state import History

# A cluster is dying below this share of the mean size n / k. The smallest clusters of
# stable runs (USPS, Fashion-MNIST, COIL-20, digits, 240 photos) have 0.17 to 0.66 of it.
DYING_SHARE = 0.1
# It must also have lost this share of its first size: a true cluster may be small.
LOST_SHARE = 0.5
# A cluster is a runaway past this part of the way from an even share, 1 / k, to all samples.
RUNAWAY = 0.5
# It must also have gained this share of all samples: the largest cluster of unbalanced
# data is that large from the first refresh on.
TAKEN_SHARE = 0.1
# Mean largest q relative to 1 / k, which is 1 for a uniform q. It is 3.3 to 9 in the same
# runs with 10 and 20 clusters, 1.4 in one with 2, and 1.01 to 1.06 in runs with a
# learning rate that was far too large.
FLAT_RATIO = 1.2
# Share of its highest value that the mean largest q has lost by the end: at most 0.007 in
# 31 stable runs (MNIST, USPS, Fashion-MNIST), and 0.018 to 0.075 in the four runs on
# Fashion-MNIST whose accuracy fell again.
BLURRED_SHARE = 0.01
# Share of labels that still change at the last refresh; ten times the paper's tolerance.
MOVING_SHARE = 0.01


class HealthWarning(NamedTuple):
    """A sign of unstable training."""

    kind: str  # "died", "runaway", "flat", "blurred", "not finite" or "moving"
    text: str  # one line: the finding, then what to do


@dataclass(frozen=True)
class Health:
    """Stability of a training, and the numbers at its end.

    Attributes:
      warnings: signs of unstable training, at most one of each kind.
      n_empty: number of clusters without a sample.
      smallest: number of samples of the smallest cluster.
      largest: number of samples of the largest cluster.
      evenness: evenness of the cluster sizes, in [0, 1]; see `label_free.evenness`.
      max_q: mean over the samples of the largest q, in [1 / k, 1].
      q_entropy: mean entropy of q as a share of log k, in [0, 1].
      label_change: share of labels that the last refresh changed, in [0, 1].
    """

    warnings: tuple[HealthWarning, ...]
    n_empty: int
    smallest: int
    largest: int
    evenness: float
    max_q: float
    q_entropy: float
    label_change: float

    @property
    def healthy(self) -> bool:
        """True if training was stable: there are no warnings."""
        return not self.warnings


def verdict(
    warnings: Sequence[str],
    *,
    smallest: int,
    largest: int,
    evenness: float,
    max_q: float,
) -> str:
    """Formats the stability of a training as one line, for the end of a run.

    Args:
      warnings: texts of the warnings, none for a stable training.
      smallest, largest, evenness, max_q: as in `Health`.

    Returns:
      The line.

    Example:
      >>> verdict([], smallest=5412, largest=8001, evenness=0.984, max_q=0.931)
      'training was stable: clusters of 5,412 to 8,001 samples (evenness 0.98 of 1), mean q of the own cluster 0.93 of 1'
      >>> verdict(["cluster 1 is empty"], smallest=0, largest=9, evenness=0, max_q=1)
      'training was unstable: cluster 1 is empty'
    """
    if warnings:
        return f"training was unstable: {'; '.join(warnings)}"
    sizes = f"{smallest:,} to {largest:,}" if smallest < largest else f"{largest:,}"
    return (
        f"training was stable: clusters of {sizes} samples (evenness "
        f"{evenness:.2f} of 1), mean q of the own cluster {max_q:.2f} of 1"
    )


def health(
    history: History,
    *,
    first: int = 0,
    final_q: Float[np.ndarray, "n k"] | None = None,
    ended: bool = True,
    trained_by_q: bool = True,
) -> Health:
    """Checks the stability of training: dead or runaway clusters, a flat or falling q.

    It compares the last refresh with those before, and needs no labels. It does not
    judge whether the clusters are right: a stable training may end in wrong clusters.

    Args:
      history: history of the whole run, at least one interval; for a resumed run, the
        rows before and after it was resumed.
      first: first row of the history that counts, 0 or more; 1 for a network with new
        weights, whose labels at the first refresh are arbitrary.
      final_q: q of the final parameters, which covers the steps after the last refresh.
      ended: whether the run is over; before that, changing labels and a falling q are no
        warnings.
      trained_by_q: whether the method trains q. DCN, AEC, ACe/DeC and DEN do not, and a flat q is
        no warning there.

    Returns:
      The warnings and the numbers at the end.

    Raises:
      ValueError: the history has no row, `first` is negative, or `final_q` has another
        number of samples or clusters.

    Example:
      >>> history = History(*[np.ones(2)] * len(History._fields))
      >>> sizes = np.array([[50, 50], [100, 0]])  # of 2 clusters at 2 refreshes
      >>> found = health(history._replace(cluster_sizes=sizes))
      >>> found.healthy, found.smallest
      (False, 0)
      >>> print(found.warnings[0].text.partition(":")[0])
      cluster 1 is empty
    """
    if len(history.loss) == 0:
        raise ValueError("history must have at least one interval, got none.")
    if first < 0:
        raise ValueError(f"first must be 0 or more, a row of the history, got {first}.")
    first = min(first, len(history.loss) - 1)
    start, last = (np.asarray(history.cluster_sizes[row]) for row in (first, -1))
    max_q, q_entropy = float(history.max_q[-1]), float(history.q_entropy[-1])
    if final_q is not None:
        if final_q.shape != (last.sum(), len(last)):
            raise ValueError(
                f"final_q must have shape {(int(last.sum()), len(last))}, the samples and "
                f"clusters of the history, got {final_q.shape}."
            )
        last = np.bincount(final_q.argmax(axis=1), minlength=len(last))
        max_q, q_entropy = map(float, confidence(jnp.asarray(final_q)))
    label_change = float(history.label_change[-1])
    if not _is_finite(history) or not np.isfinite(max_q):
        # NaN puts all samples in cluster 0, so sizes and labels mean nothing.
        text = "the loss or q is no longer finite: lower the learning rate (--learning-rate)"
        found = [HealthWarning("not finite", text)]
    else:
        found = [*_died(start, last), *_runaway(start, last)]
        if trained_by_q:
            found += _flat(max_q, len(last))
        if trained_by_q and ended and not found:
            found += _blurred(np.asarray(history.max_q), max_q, first)
        if ended:
            found += _moving(label_change)
    return Health(
        warnings=tuple(found),
        n_empty=int((last == 0).sum()),
        smallest=int(last.min()),
        largest=int(last.max()),
        evenness=evenness(last),
        max_q=max_q,
        q_entropy=q_entropy,
        label_change=label_change,
    )


def _died(
    first: Int[np.ndarray, " k"], last: Int[np.ndarray, " k"]
) -> list[HealthWarning]:
    """Warns of clusters that are empty, or nearly so and far smaller than at first."""
    mean = last.sum() / len(last)
    empty = last == 0
    dying = ~empty & (last < DYING_SHARE * mean) & (last < (1 - LOST_SHARE) * first)
    parts = []
    if empty.any():
        parts.append(f"{_clusters(empty)} empty")
    if dying.any():
        parts.append(
            f"{_clusters(dying)} below {DYING_SHARE:.0%} of the mean size {mean:,.0f} and "
            f"{1 - LOST_SHARE:.0%} of the first size"
        )
    if not parts:
        return []
    advice = (
        "lower the learning rate (--learning-rate), use fewer clusters, or reseed "
        "(--reseed-below)"
    )
    return [HealthWarning("died", f"{', '.join(parts)}: {advice}")]


def _runaway(
    first: Int[np.ndarray, " k"], last: Int[np.ndarray, " k"]
) -> list[HealthWarning]:
    """Warns of a cluster that holds most samples, and did not at first."""
    share, start = last.max() / last.sum(), first.max() / first.sum()
    even = 1 / len(last)
    if share <= even + RUNAWAY * (1 - even) or share - start <= TAKEN_SHARE:
        return []
    text = (
        f"cluster {last.argmax()} holds {share:.0%} of the samples, and the largest held "
        f"{start:.0%} at first: lower the learning rate (--learning-rate)"
    )
    return [HealthWarning("runaway", text)]


def _flat(max_q: float, n_clusters: int) -> list[HealthWarning]:
    """Warns of a q that is nearly uniform over the clusters."""
    if n_clusters == 1 or max_q >= FLAT_RATIO / n_clusters:
        return []
    text = (
        f"mean max q is {max_q:.3f}, near the {1 / n_clusters:.3f} of a uniform q: lower "
        "the learning rate (--learning-rate), or pretrain for longer (--epochs)"
    )
    return [HealthWarning("flat", text)]


def _blurred(
    seen: Float[np.ndarray, " i"], max_q: float, first: int
) -> list[HealthWarning]:
    """Warns of a q that was sharper before: the clusters lose a structure they had."""
    surest = first + int(seen[first:].argmax())
    if max_q >= (1 - BLURRED_SHARE) * seen[surest]:
        return []
    fall = (
        f"mean max q fell from {seen[surest]:.3f} at interval {surest} to {max_q:.3f}"
    )
    # At interval 0, before the first step, there is no training to keep.
    advice = (
        f"stop training at interval {surest} (--max-intervals {surest})"
        if surest
        else "lower the learning rate (--learning-rate)"
    )
    text = f"{fall}: {advice}"
    return [HealthWarning("blurred", text)]


def _moving(label_change: float) -> list[HealthWarning]:
    """Warns of labels that still changed when training ended."""
    if label_change <= MOVING_SHARE:
        return []
    text = (
        f"{label_change:.1%} of labels changed at the last refresh: train for longer "
        "(--max-intervals in a new run, and --pretrained with this run's autoencoder)"
    )
    return [HealthWarning("moving", text)]


def _is_finite(history: History) -> bool:
    """Returns True if all losses and q are finite; an interval of no step has no loss."""
    trained = ~np.asarray(history.converged, bool)
    return bool(
        np.isfinite(np.asarray(history.loss)[trained]).all()
        and np.isfinite(history.max_q).all()
    )


def _clusters(which: np.ndarray) -> str:
    """Names the clusters, at most five of them, with a verb."""
    numbers = np.flatnonzero(which).tolist()
    names = ", ".join(map(str, numbers[:5])) + (" ..." if len(numbers) > 5 else "")
    if len(numbers) == 1:
        return f"cluster {names} is"
    return f"{len(numbers)} clusters ({names}) are"
