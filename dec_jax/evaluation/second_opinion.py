"""A second opinion on the clusters of a run, independent of the space that it trained.

Simple methods label a sample of the data (`choose_labels`). A run whose labels differ from
all that they agree on is rarely right; one that they support rests on more than itself.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from dec_jax.clustering.candidates import neighbor_graph
from dec_jax.evaluation.judge import (
    NEIGHBORS,
    Choice,
    Judgment,
    conductance,
    judge_score,
)
from dec_jax.evaluation.metrics import adjusted_rand_index
from dec_jax.evaluation.n_clusters import clear_number
from dec_jax.evaluation.stability import cluster_stability
from dec_jax.parallel.hardware import one_thread

CONFIDENT, SEVERAL, NONE = "confident", "several answers", "no clusters"
# Of 594 labelings of 33 small tables, this names 72 % of those that are more than 5
# points of ACC below the best one, and 10 % of the others (`python -m benchmarks.quality`).
DOUBTFUL = 0.4
GAP_WEIGHT, DISPUTE_WEIGHT = 0.7, 2.0
# Stability below which the verdict names a cluster, and how many it names.
WEAK, MOST_WEAK = 0.6, 3
# Another number of parts of the graph counts if it differs by more than one, and a tenth.
OTHER_NUMBER, NEAR_SHARE = 0.5, 0.1
# Below this agreement of the simple methods, their best labeling is one of several.
DISPUTED = 0.55
APART = 0.02  # conductance at which clusters are apart, whatever the methods say
# Share of the conductance in noise of the same covariance above which there are no clusters.
LIKE_NOISE = 0.8


class SecondOpinion(NamedTuple):
    """Tells whether the clusters of a run can be trusted.

    Attributes:
      verdict: "confident", "several answers" or "no clusters".
      text: the verdict in a sentence, with its reasons.
      agreement: adjusted Rand index of the run's labels with the best simple labeling.
      method: the name of that labeling's method.
      support: mean adjusted Rand index of that labeling with the other methods'.
      conductance: of the run's labels in the neighbor graph, in [0, 1].
      doubt: 0 for labels that the judge prefers and most methods share; the verdict is
        "confident" up to 0.4.
    """

    verdict: str
    text: str
    agreement: float
    method: str
    support: float
    conductance: float
    doubt: float

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
    parts = clear_number(choice.space, seed=seed)
    seen = labels[choice.rows]
    return second_opinion(seen, choice.judgment, choice.space, parts=parts, seed=seed)


def second_opinion(
    labels: Int[np.ndarray, " m"],
    judgment: Judgment,
    space: Float[np.ndarray, "m e"],
    *,
    parts: int | None = None,
    seed: int = 0,
) -> SecondOpinion:
    """Compares the labels of a run with those of simple methods.

    Args:
      labels: [m] of the run, for the rows that were judged.
      judgment: of the simple methods' labelings.
      space: [m, e] those rows as the methods saw them.
      parts: the number that their graph clearly falls into, from `clear_number`.
      seed: of the noise that they are compared with.

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
    graph = neighbor_graph(space, NEIGHBORS)
    with_each = [adjusted_rand_index(labels, other) for other in judgment.labels]
    leaving = conductance(graph, labels)
    # The run's labels get the score that the judge would have given them.
    score = judge_score(float(np.mean(with_each)), leaving)
    gap = max(0.0, float(judgment.scores[0]) - score)
    top, support = float(with_each[0]), float(judgment.agreement[0])
    method, best = judgment.names[0], float(judgment.conductance[0])
    disputed = support < DISPUTED and best > APART
    doubt = (
        (1 - top) + GAP_WEIGHT * gap + disputed * DISPUTE_WEIGHT * (DISPUTED - support)
    )
    k = len(np.unique(labels))
    another = parts is not None and abs(parts - k) > max(1, NEAR_SHARE * k)
    doubt += OTHER_NUMBER * another
    numbers = (top, method, support, leaving, doubt)
    if disputed and best > LIKE_NOISE * noise_conductance(space, labels, seed):
        text = (
            "there are no clusters to speak of: the graph of neighbors has no more gaps "
            f"than noise has, and simple methods disagree (mean ARI {support:.2f})"
        )
        return SecondOpinion(NONE, text, *numbers[:-1], 1 + doubt)
    if another:
        text = (
            f"several answers are possible: the graph of neighbors falls into {parts} "
            f"parts rather than {k}"
        )
        return SecondOpinion(SEVERAL, text, *numbers)
    if doubt > DOUBTFUL and (1 - top) > DISPUTED - support:
        text = (
            f"several answers are possible: {method} finds another one (ARI {top:.2f}), "
            f"with which simple methods agree more (mean ARI {support:.2f})"
        )
        return SecondOpinion(SEVERAL, text, *numbers)
    if doubt > DOUBTFUL:
        text = (
            f"several answers are possible: simple methods disagree (mean ARI "
            f"{support:.2f}), {method} is nearest to all of them"
        )
        return SecondOpinion(SEVERAL, text, *numbers)
    text = (
        f"confident: {method} finds much the same clusters (ARI {top:.2f}), and simple methods "
        f"agree (mean ARI {support:.2f}){weak_clusters(labels, judgment)}"
    )
    return SecondOpinion(CONFIDENT, text, *numbers)


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
