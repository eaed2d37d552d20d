"""A second opinion on the clusters of a run, independent of the space that it trained.

Simple methods label a sample of the data (`choose_labels`). A run whose labels differ from
all that they agree on is rarely right; one that they support rests on more than itself.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from dec_jax.clustering.agreement import POWER
from dec_jax.clustering.candidates import neighbor_graph
from dec_jax.evaluation.judge import (
    LITTLE_SUPPORT,
    NEIGHBORS,
    Choice,
    Judgment,
    best_support,
    conductance,
    methods_for_numbers,
)
from dec_jax.evaluation.metrics import adjusted_rand_index
from dec_jax.evaluation.n_clusters import clear_number, listed_numbers
from dec_jax.evaluation.stability import cluster_stability
from dec_jax.parallel.hardware import one_thread

CONFIDENT, SEVERAL, NONE = "confident", "several answers", "no clusters"
# `python -m benchmarks.verdict` measures how many wrong answers this tells.
DOUBTFUL = 0.25
# Support below which an answer is doubtful however it compares, and the most that this adds.
LOW_SUPPORT, LOW_WEIGHT = 0.3, 0.25
NEAR_NUMBERS = 2  # more and fewer clusters that the number is compared with
# Stability below which the verdict names a cluster, and how many it names.
WEAK, MOST_WEAK = 0.6, 3
# What each of two reasons adds to the doubt: another number of parts of the graph, if it
# differs by more than one and a tenth, and no labeling that has support.
HALF, NEAR_SHARE = 0.5, 0.1
# Below this agreement of the simple methods, their best labeling is one of several.
DISPUTED = 0.55
# Support above which parts of the graph that are one more or fewer count as well: simple
# methods agree on them nearly without exception.
NEARLY_ALL = 0.95
APART = 0.02  # conductance at which clusters are apart, whatever the methods say
# Share of the conductance in noise of the same covariance above which there are no clusters.
LIKE_NOISE = 0.8


class Numbers(NamedTuple):
    """The support that other numbers of clusters have, and what the graph falls into.

    Attributes:
      support: of the best simple labeling, by the number of clusters.
      parts: the number that the neighbor graph clearly falls into, if simple methods agree
        on it no less than on the number of the labels; else None.
    """

    support: dict[int, float]
    parts: int | None = None

    def rival(self, n_clusters: int) -> tuple[int, float]:
        """The number of most support, and the support of `n_clusters` as a share of its."""
        own = self.support.get(n_clusters, 0.0)
        best = max(self.support, key=lambda k: self.support[k], default=n_clusters)
        most = self.support.get(best, 0.0)
        return best, own / most if most > 0 else 1.0


class SecondOpinion(NamedTuple):
    """Tells whether the clusters of a run can be trusted.

    Attributes:
      verdict: "confident", "several answers" or "no clusters".
      text: the verdict in a sentence, with its reasons.
      agreement: adjusted Rand index of the run's labels with the best simple labeling.
      method: the name of that labeling's method.
      support: of the run's labels, in [0, 1]: the mean cube of their adjusted Rand index
        with each simple labeling.
      best_support: of the best simple labeling.
      conductance: of the run's labels in the neighbor graph, in [0, 1].
      doubt: 0 for labels that simple methods support most, with a number of clusters that
        they support most; the verdict is "confident" up to 0.25.
      other_number: the number of clusters that the text names as another answer, or None.
    """

    verdict: str
    text: str
    agreement: float
    method: str
    support: float
    best_support: float
    conductance: float
    doubt: float
    other_number: int | None = None

    def as_json(self) -> dict[str, Any]:
        """The entry "opinion" of results.json."""
        return self._asdict()


def opinion_on(
    labels: Int[np.ndarray, " n"], choice: Choice, *, seed: int = 0
) -> SecondOpinion:
    """Compares the labels of a run with those of simple methods, and with their graph.

    Args:
      labels: [n] of the run, for all samples.
      choice: of `choose_labels`, on the same samples.
      seed: of the noise that the graph is compared with.

    Returns:
      The verdict and its numbers.

    Example:
      >>> from dec_jax.evaluation.judge import choose_labels
      >>> x = 9 * np.eye(2)[np.arange(60) % 2] + np.random.default_rng(0).normal(size=(60, 2))
      >>> choice = choose_labels(x, 2)
      >>> opinion_on(choice.labels, choice).verdict
      'confident'
    """
    seen = labels[choice.rows]
    numbers = other_numbers(choice.space, len(np.unique(seen)), seed=seed)
    return second_opinion(seen, choice.judgment, choice.space, numbers, seed=seed)


def other_numbers(
    space: Float[np.ndarray, "m e"], n_clusters: int, *, seed: int = 0
) -> Numbers:
    """Compares a number of clusters with those up to two more and two fewer.

    Args:
      space: [m, e] samples, in the space in which neighbors mean something.
      n_clusters: k.
      seed: of the methods, and of the noise that the graph is compared with.

    Returns:
      The support of each number, and the number of parts of the neighbor graph that has
      at least as much support as k.
    """
    first, last = max(2, n_clusters - NEAR_NUMBERS), n_clusters + NEAR_NUMBERS
    near = range(first, min(last, len(space) - 2) + 1)
    if n_clusters < 2 or len(near) < 2:
        return Numbers({})
    parts = clear_number(space, seed=seed)
    methods = methods_for_numbers(space, max(near[-1], parts or 0), seed=seed)
    support = {k: best_support(methods, k) for k in near}
    # Gaps of a graph also lie within clusters: simple methods must see those parts as well.
    if parts and best_support(methods, parts) < support[n_clusters]:
        parts = None
    return Numbers(support, parts)


def second_opinion(
    labels: Int[np.ndarray, " m"],
    judgment: Judgment,
    space: Float[np.ndarray, "m e"],
    numbers: Numbers | None = None,
    *,
    seed: int = 0,
) -> SecondOpinion:
    """Compares the labels of a run with those of simple methods.

    The doubt is 1 - (support / best support) * sqrt(support of k / support of the number
    near k that has most), plus up to 0.25 where even the best support is low, 0.5 more where
    it is below 0.15, and 0.5 where the neighbor graph falls into another number of parts.

    Args:
      labels: [m] of the run, for the rows that were judged.
      judgment: of the simple methods' labelings.
      space: [m, e] those rows as the methods saw them.
      numbers: from `other_numbers`; without them, the number is taken as given.
      seed: of the noise that the rows are compared with.

    Returns:
      The verdict and its numbers.

    Example:
      >>> from dec_jax.evaluation.judge import choose_labels
      >>> rng = np.random.default_rng(0)
      >>> x = np.concatenate([rng.normal(0, 1, (30, 2)), rng.normal(9, 1, (30, 2))])
      >>> choice = choose_labels(x, 2)
      >>> second_opinion(choice.labels, choice.judgment, choice.space).verdict
      'confident'
    """
    numbers = numbers or Numbers({})
    leaving = conductance(neighbor_graph(space, NEIGHBORS), labels)
    with_each = [adjusted_rand_index(labels, other) for other in judgment.labels]
    own = float((np.maximum(with_each, 0) ** POWER).mean())
    best, top = float(judgment.scores.max()), float(with_each[0])
    method, agreement = judgment.names[0], float(judgment.agreement[0])
    k = len(np.unique(labels))
    rival, share = numbers.rival(k)
    # What each reason takes from the trust in the labels.
    of_labels = 1 - min(1.0, own / best) if best > 0 else 1.0
    of_number = 1 - float(np.sqrt(share))
    of_all = LOW_WEIGHT * max(0.0, 1 - best / LOW_SUPPORT)
    parts = numbers.parts
    another = parts is not None and (
        abs(parts - k) > max(1, NEAR_SHARE * k)
        or parts != k
        and numbers.support.get(parts, 0.0) >= NEARLY_ALL > numbers.support.get(k, 0.0)
    )
    unsupported = best <= LITTLE_SUPPORT
    doubt = float(
        1 - (1 - of_labels) * (1 - of_number) + of_all + HALF * (another + unsupported)
    )
    found = (top, method, own, best, leaving)
    disputed = agreement < DISPUTED and judgment.conductance > APART
    if disputed and judgment.conductance > LIKE_NOISE * noise_conductance(
        space, labels, seed
    ):
        text = (
            "there are no clusters to speak of: the graph of neighbors has no more gaps "
            f"than noise has, and simple methods disagree (mean ARI {agreement:.2f})"
        )
        return SecondOpinion(NONE, text, *found, 1 + doubt)
    if doubt <= DOUBTFUL:
        text = (
            f"confident: {method} finds much the same clusters (ARI {top:.2f}), and simple "
            f"methods agree (mean ARI {agreement:.2f}){weak_clusters(labels, judgment)}"
        )
        return SecondOpinion(CONFIDENT, text, *found, doubt)
    other = None
    if another:
        other = parts
        reason = f"the graph of neighbors falls into {parts} parts rather than {k}"
    elif not unsupported and of_labels >= max(of_number, of_all):
        reason = (
            f"{method} finds another one (ARI {top:.2f}), with which simple methods agree "
            f"more (support {best:.2f}, of this one {own:.2f})"
        )
    elif not unsupported and of_number >= of_all:
        other, supports = rival, numbers.support
        reason = (
            f"simple methods agree more on {rival} clusters (support "
            f"{supports[rival]:.2f}) than on {k} ({supports.get(k, 0):.2f})"
        )
    else:
        reason = f"simple methods hardly agree (mean ARI {agreement:.2f})"
    return SecondOpinion(
        SEVERAL, f"several answers are possible: {reason}", *found, doubt, other
    )


def with_open_number(opinion: SecondOpinion, others: Sequence[int]) -> SecondOpinion:
    """Takes back the confidence in clusters whose number a search left open.

    Args:
      opinion: on the clusters of the number that the search recommended.
      others: numbers that are worth a try too, the most promising first; none where the
        data decide the number.

    Returns:
      The opinion, of the verdict "several answers" where it was "confident".

    Example:
      >>> sure = SecondOpinion(CONFIDENT, "confident", 1.0, "k-means", 1, 1, 0, 0)
      >>> with_open_number(sure, [4, 3]).text
      'several answers are possible: k-means finds much the same clusters (ARI 1.00), but \
the data do not decide their number: 3 and 4 are worth a try too'
      >>> with_open_number(sure, []).verdict
      'confident'
    """
    if opinion.verdict != CONFIDENT or not others:
        return opinion
    verb = "is" if len(others) == 1 else "are"
    text = (
        f"several answers are possible: {opinion.method} finds much the same clusters (ARI "
        f"{opinion.agreement:.2f}), but the data do not decide their number: "
        f"{listed_numbers(others)} {verb} worth a try too"
    )
    return opinion._replace(verdict=SEVERAL, text=text, other_number=others[0])


def weak_clusters(labels: Int[np.ndarray, " m"], judgment: Judgment) -> str:
    """Names the clusters that simple methods hardly find, for the end of a sentence."""
    stability = cluster_stability(labels, list(judgment.labels), int(labels.max()) + 1)
    weakest = [i for i in np.argsort(stability) if stability[i] < WEAK][:MOST_WEAK]
    if not weakest:
        return ""
    named = ", ".join(f"{i} ({stability[i]:.2f})" for i in weakest)
    return f"; least sure: cluster{'s' * (len(weakest) > 1)} {named}"


@one_thread
def noise_conductance(
    space: Float[np.ndarray, "m e"], labels: Int[np.ndarray, " m"], seed: int
) -> float:
    """Measures the conductance of k-means on normal noise of the samples' covariance."""
    from sklearn.cluster import KMeans

    rng = np.random.default_rng(seed)
    covariance = np.atleast_2d(np.cov(space, rowvar=False))
    noise = rng.multivariate_normal(
        np.zeros(space.shape[1]), covariance, len(space), check_valid="ignore"
    )
    k = len(np.unique(labels))
    found = KMeans(k, n_init=5, random_state=seed).fit_predict(noise)
    return conductance(neighbor_graph(noise, NEIGHBORS), found)
