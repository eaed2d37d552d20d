"""Whether a clustering run looks healthy: collapse seen while it runs, without classes."""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from dec_jax.clustering.assignment import confidence
from dec_jax.evaluation.label_free import evenness
from dec_jax.training.state import History

# A cluster is dying below this share of the mean size n / k; the smallest clusters of
# sound runs (USPS, Fashion-MNIST, COIL-20, digits, 240 photos) have 0.17 to 0.66 of it.
DYING_SHARE = 0.1
# It must also have lost this share of its own start: a true cluster may be small.
LOST_SHARE = 0.5
# One cluster has run away halfway from an even share, 1 / k, to all samples ...
RUNAWAY = 0.5
# ... if it took over a tenth of all samples since the start: the largest of unbalanced
# data is that large from the first refresh on.
TAKEN_SHARE = 0.1
# Mean largest q over 1 / k, which is 1 if q says nothing: 3.3 to 9 in the same runs, of
# 10 and 20 clusters, 1.4 in one of 2, and 1.01 to 1.06 where a learning rate was far too
# large.
FLAT_RATIO = 1.2
# Share of its largest value that the mean largest q has lost by the end: at most 0.007 in
# 31 sound runs (MNIST, USPS, Fashion-MNIST), and 0.018 to 0.075 in the four on
# Fashion-MNIST that lost what they had found.
BLURRED_SHARE = 0.01
# Share of labels that still change at the last refresh; ten times the paper's tolerance.
MOVING_SHARE = 0.01


class HealthWarning(NamedTuple):
    """What looks wrong."""

    kind: str  # "died", "runaway", "flat", "blurred", "not finite" or "moving"
    text: str  # one line, in words


@dataclass(frozen=True)
class Health:
    """The verdict on a run, and the numbers that it rests on, those of its last look.

    Attributes:
      warnings: what looks wrong, at most one of each kind; none in a healthy run.
      n_empty: clusters without a sample.
      smallest: samples of the smallest cluster.
      largest: samples of the largest.
      evenness: of the sizes, in [0, 1]; see `label_free.evenness`.
      max_q: mean over the samples of the largest q, in [1 / k, 1].
      q_entropy: mean entropy of q as a share of log k, in [0, 1].
      label_change: share of labels that the last refresh changed.
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
        """Nothing looks wrong."""
        return not self.warnings


def health(
    history: History,
    *,
    first: int = 0,
    final_q: Float[np.ndarray, "n k"] | None = None,
    ended: bool = True,
    trained_by_q: bool = True,
) -> Health:
    """Looks for collapse: clusters that died or run away, q flat or less sure again.

    It compares the last look at all samples with those before, needs no classes, and says
    nothing of whether the clusters are the right ones. A healthy run may be wrong.

    Args:
      history: of the whole run, at least one interval; columns of a resumed run must be
        joined to those before.
      first: row of the history from which on it is looked at, 0 or more; 1 for a
        network that begins with nothing, whose first look means nothing.
      final_q: q of the final parameters, so that what the steps after the last refresh
        did is seen too.
      ended: the run is over; before, labels may well still move, and q waver.
      trained_by_q: the method pulls q to p. DCN does not, and a flat q harms nothing
        there.

    Returns:
      The verdict, warnings and numbers.

    Raises:
      ValueError: the history has no row, `first` is negative, or `final_q` has another
        number of samples or clusters.
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
        # NaN puts all samples in cluster 0: sizes and labels mean nothing then.
        text = "the loss or q is no longer finite; lower the learning rate"
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
    """Clusters that are empty, or nearly and far smaller than they began."""
    mean = last.sum() / len(last)
    empty = last == 0
    dying = ~empty & (last < DYING_SHARE * mean) & (last < (1 - LOST_SHARE) * first)
    parts = []
    if empty.any():
        parts.append(f"{_clusters(empty)} empty")
    if dying.any():
        parts.append(
            f"{_clusters(dying)} below {DYING_SHARE:.0%} of the mean size {mean:,.0f} and "
            f"{LOST_SHARE:.0%} of the start"
        )
    if not parts:
        return []
    advice = "lower the learning rate, take fewer clusters, or set reseed_below"
    return [HealthWarning("died", f"{', '.join(parts)}; {advice}")]


def _runaway(
    first: Int[np.ndarray, " k"], last: Int[np.ndarray, " k"]
) -> list[HealthWarning]:
    """One cluster that holds most samples, and did not from the start."""
    share, start = last.max() / last.sum(), first.max() / first.sum()
    even = 1 / len(last)
    if share <= even + RUNAWAY * (1 - even) or share - start <= TAKEN_SHARE:
        return []
    text = (
        f"cluster {last.argmax()} holds {share:.0%} of the samples, the largest one held "
        f"{start:.0%} at the start; lower the learning rate"
    )
    return [HealthWarning("runaway", text)]


def _flat(max_q: float, n_clusters: int) -> list[HealthWarning]:
    """q that hardly prefers any cluster."""
    if n_clusters == 1 or max_q >= FLAT_RATIO / n_clusters:
        return []
    text = (
        f"q is flat: its largest share is {max_q:.3f} on average, where 1 / k is "
        f"{1 / n_clusters:.3f}; lower the learning rate, or pretrain for longer"
    )
    return [HealthWarning("flat", text)]


def _blurred(
    seen: Float[np.ndarray, " i"], max_q: float, first: int
) -> list[HealthWarning]:
    """q that was surer before: the clusters give up a shape that they had."""
    surest = first + int(seen[first:].argmax())
    if max_q >= (1 - BLURRED_SHARE) * seen[surest]:
        return []
    text = (
        f"q was surer before, its largest share {seen[surest]:.3f} on average after "
        f"{surest} interval{'s' * (surest != 1)}, where it is {max_q:.3f} now; end there"
    )
    return [HealthWarning("blurred", text)]


def _moving(label_change: float) -> list[HealthWarning]:
    """Labels that had not settled when training ended."""
    if label_change <= MOVING_SHARE:
        return []
    text = f"{label_change:.1%} of labels changed at the last refresh; train for longer"
    return [HealthWarning("moving", text)]


def _is_finite(history: History) -> bool:
    """True if every loss is a number, but for an interval that took no step."""
    trained = ~np.asarray(history.converged, bool)
    return bool(
        np.isfinite(np.asarray(history.loss)[trained]).all()
        and np.isfinite(history.max_q).all()
    )


def _clusters(which: np.ndarray) -> str:
    """Which clusters, in words; the first five where there are many."""
    numbers = np.flatnonzero(which).tolist()
    names = ", ".join(map(str, numbers[:5])) + (" ..." if len(numbers) > 5 else "")
    if len(numbers) == 1:
        return f"cluster {names} is"
    return f"{len(numbers)} clusters ({names}) are"
