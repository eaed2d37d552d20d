"""Choice of the number of clusters, without labels.

Two views can decide it: the eigengap of the graph of neighbors, where it is larger than
noise can make it, and the agreement of simple methods, where it is high at one number
alone. Elsewhere nothing is decided, and `recommend` takes the number at which they agree
most.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num

from dec_jax.clustering.agreement import pair_indices
from dec_jax.clustering.candidates import (
    best_cut,
    graph_spectrum,
    neighbor_graph,
    unit_rows,
)
from dec_jax.evaluation.judge import best_support, method_space, methods_for_numbers
from dec_jax.parallel.hardware import one_thread
from dec_jax.validation import check_n_clusters, check_positive_int, check_samples

# Below this ARI, halves of the data disagree on the clusters.
STABLE = 0.9
# A gap of at least this share of the largest one is a rival.
RIVAL = 0.8
# A support of at least this share of the highest one is nearly as good.
NEARLY = 0.9
# Support that decides, if that of every other number is below this share of it. The
# largest support in five samples of noise was 0.31.
HIGH_SUPPORT, ALONE = 0.6, 0.7
# The gap must be this many times the largest one of noise. Among 33 small tables with known
# classes and 9 samples of noise, the largest gap of wrong numbers was at most 1.7 times as
# large as that of noise, but for one table, whose number it missed by one.
ABOVE_NOISE = 1.75
NOISE_DRAWS = 2
N_NEIGHBORS = 20  # of each sample in the graph
MOST_PARTS = 20  # that a graph is searched for, where no numbers are given
MOST_ROWS = 5_000  # that the graph is made of


class Sweep(NamedTuple):
    """Four scores of each number of clusters, and the spectrum of the graph."""

    n_clusters: Int[np.ndarray, " s"]
    eigengap: Float[np.ndarray, " s"]  # lambda_k - lambda_(k+1)
    support: Float[np.ndarray, " s"]  # of the best simple labeling, in [0, 1]
    silhouette: Float[np.ndarray, " s"]  # of the graph's partition, in [-1, 1]
    stability: Float[np.ndarray, " s"]  # ARI of halves of the data, at most 1
    eigenvalues: Float[np.ndarray, " e"]  # of the graph, largest first
    noise_gap: float  # the largest eigengap in normal noise of the same covariance


class Recommendation(NamedTuple):
    """A number of clusters, whether the scores decide it, and the reasons.

    Attributes:
      n_clusters: k.
      decided: whether the data decide k.
      reasons: one line each.
      others: numbers that are worth a try too, the most promising first; none where k is
        decided.
    """

    n_clusters: int
    decided: bool
    reasons: tuple[str, ...]
    others: tuple[int, ...] = ()

    @property
    def text(self) -> str:
        """The recommendation in one line."""
        decided = "the data decide it" if self.decided else "the data do not decide it"
        return f"recommended: {self.n_clusters} clusters; {decided}"


def listed_numbers(numbers: Sequence[int]) -> str:
    """Lists numbers for a sentence, the smallest first.

    Example:
      >>> listed_numbers([4]), listed_numbers([4, 3]), listed_numbers([9, 4, 3])
      ('4', '3 and 4', '3, 4 and 9')
    """
    *most, last = map(str, sorted(numbers))
    return f"{', '.join(most)} and {last}" if most else last


@one_thread
def sweep_n_clusters(
    z: Num[np.ndarray, "n d"],
    n_clusters: Sequence[int],
    *,
    seed: int = 0,
    n_neighbors: int = N_NEIGHBORS,
    n_halves: int = 5,
    by_direction: bool = True,
    on_k: Callable[[int], object] | None = None,
) -> Sweep:
    """Scores each number of clusters k by the graph of z's neighbors and by simple methods.

    The eigengap is that of von Luxburg, `A Tutorial on Spectral Clustering
    <https://arxiv.org/abs/0711.0189>`_, 2007, section 8.3. Normal noise of the same
    covariance, which has no clusters, shows how large it is by chance, as in the gap
    statistic of Tibshirani, Walther and Hastie (2001). Stability follows Ben-Hur,
    Elisseeff and Guyon (2002): k-means is fitted to random halves of the rows of the
    eigenvectors, each fit labels all samples, and the ARI measures their agreement.
    Of more than 5,000 samples, as many are drawn at random.

    Args:
      z: samples or embeddings, shape [n, d].
      n_clusters: numbers k to try, each from 2 to n - 1.
      seed: of all random numbers.
      n_neighbors: neighbors of each sample in the graph, at most n - 1 of which exist.
      n_halves: number of random halves, at least 2.
      by_direction: as in `judge.method_space`.
      on_k: called with k after each k; returning True ends the sweep there.

    Returns:
      The scores of the numbers that were tried, in the order of `n_clusters`.

    Raises:
      TypeError, ValueError: `z` is not finite numbers of shape [n, d], or a number is
        out of its range.

    Example:
      >>> z = np.float32([[0, 0], [0, 1], [1, 0], [9, 9], [9, 8], [8, 9]])
      >>> sweep = sweep_n_clusters(z, [2], n_neighbors=2, n_halves=2)
      >>> sweep.n_clusters.tolist(), sweep.stability.tolist()
      ([2], [1.0])
    """
    from sklearn.metrics import silhouette_score

    check_samples(z, "z")
    rng = np.random.default_rng(seed)
    if len(z) > MOST_ROWS:
        z = z[np.sort(rng.permutation(len(z))[:MOST_ROWS])]
    space = method_space(z, by_direction=by_direction)
    n = len(space)
    if not n_clusters:
        raise ValueError("n_clusters must name at least one number, got none.")
    for k in n_clusters:
        check_n_clusters(k, n - 1)
        if k < 2:
            raise ValueError(f"n_clusters must be at least 2 each, got {k}.")
    check_positive_int("n_halves", n_halves)
    if n_halves < 2:
        raise ValueError(f"n_halves must be at least 2, got {n_halves}.")
    graph = neighbor_graph(space, n_neighbors)
    values, vectors = graph_spectrum(graph, min(2 * max(n_clusters), n), seed)
    methods = methods_for_numbers(space, max(n_clusters), seed=seed)
    rows = []
    for k in n_clusters:
        labels, used = best_cut(graph, vectors, k, seed)
        several = 1 < len(np.unique(labels)) < n
        wide = silhouette_score(space, labels) if several else 0.0
        agree = _stability(rng, unit_rows(vectors[:, :used]), k, n_halves)
        gap = values[k - 1] - values[k]
        rows.append((k, gap, best_support(methods, k), wide, agree))
        if on_k is not None and on_k(k):
            break
    columns = np.array(rows, np.float64).T
    numbers, (gaps, shared, width, stability) = columns[0].astype(int), columns[1:]
    # Of the same numbers and draws whatever was tried: fewer numbers make no gap clearer.
    rng = np.random.default_rng([seed, 1])
    usual = np.arange(2, min(MOST_PARTS, n - 2) + 1)
    noise = _noise_gap(rng, space, np.union1d(numbers, usual), n_neighbors)
    return Sweep(numbers, gaps, shared, width, stability, values, noise)


@one_thread
def clear_number(space: Float[np.ndarray, "n e"], *, seed: int = 0) -> int | None:
    """Finds the number of parts that a neighbor graph clearly falls into, if any.

    Args:
      space: samples in the space in which neighbors mean something.
      seed: of the noise that the graph is compared with.

    Returns:
      The number from 2 to 20 whose eigengap is the largest by far, and at least 1.75 times
      as large as that of noise; None if there is no such number.

    Example:
      >>> x = 9 * np.eye(4)[np.arange(80) % 4]
      >>> clear_number(x + np.random.default_rng(0).normal(size=(80, 4)))
      4
    """
    n = len(space)
    numbers = np.arange(2, min(MOST_PARTS, n - 2) + 1)
    if len(numbers) < 2:
        return None
    graph = neighbor_graph(space, N_NEIGHBORS)
    values, _ = graph_spectrum(graph, int(numbers[-1]) + 1, seed)
    gaps = values[numbers - 1] - values[numbers]
    widest = int(gaps.argmax())
    rivals = (gaps >= RIVAL * gaps[widest]).sum() > 1
    if rivals or numbers[widest] == numbers[-1]:
        return None
    rng = np.random.default_rng(seed)
    noise = _noise_gap(rng, space, numbers, N_NEIGHBORS)
    return int(numbers[widest]) if gaps[widest] >= ABOVE_NOISE * noise else None


def _noise_gap(
    rng: np.random.Generator,
    space: Float[np.ndarray, "n e"],
    numbers: Int[np.ndarray, " s"],
    n_neighbors: int,
) -> float:
    """Finds the largest eigengap at these numbers in noise of the samples' covariance."""
    largest = 0.0
    covariance = np.atleast_2d(np.cov(space, rowvar=False))
    for _ in range(NOISE_DRAWS):
        noise = rng.multivariate_normal(
            np.zeros(space.shape[1]), covariance, len(space), check_valid="ignore"
        )
        graph = neighbor_graph(noise, n_neighbors)
        values, _ = graph_spectrum(graph, int(numbers.max()) + 1, 0)
        largest = max(largest, float((values[numbers - 1] - values[numbers]).max()))
    return largest


def _stability(
    rng: np.random.Generator, rows: Float[np.ndarray, "n e"], k: int, n_halves: int
) -> float:
    """Averages the ARI over all pairs of labelings that were fitted to halves of the data."""
    from sklearn.cluster import KMeans

    labelings = []
    for _ in range(n_halves):
        half = rng.permutation(len(rows))[: max(k, len(rows) // 2)]
        seed = int(rng.integers(2**31))
        found = KMeans(k, n_init=10, random_state=seed).fit(rows[half])
        labelings.append(found.predict(rows))
    pairs = pair_indices(labelings)
    return float(pairs[np.triu_indices(n_halves, 1)].mean())


def recommend(sweep: Sweep) -> Recommendation:
    """Recommends a number of clusters, and says whether the scores decide it.

    The data decide a number in one of two ways, both only where halves of the data agree
    on its clusters (mean ARI of 0.9 or more), and not for the largest number that was
    tried, beyond which nothing is known. Its eigengap is the largest, no other gap is
    nearly as large, noise has no gap of more than four sevenths of its size, and simple
    methods agree on it at least 0.7 times as much as on any other. Or its
    support is at least 0.6, and that of every other number at most 0.7 of it. Otherwise
    the answer is the smallest number at which the support has a peak of nearly its
    largest height.

    Agreement of halves is no proof of clusters: the halves share the spectrum of all
    samples, so even a single cloud is split in two the same way each time.

    Args:
      sweep: result of `sweep_n_clusters`.

    Returns:
      k, whether it is decided, and the reasons, one line each.

    Example:
      >>> three_is_best = np.array([0.0, 0.5, 0.1])
      >>> scores = [three_is_best] * 3
      >>> sweep = Sweep(np.array([2, 3, 4]), *scores, np.ones(3), np.ones(8), 0.01)
      >>> recommend(sweep)[:2]
      (3, True)
    """
    numbers, shared = sweep.n_clusters, sweep.support
    by_gap, at_edge, reasons = _by_eigengap(sweep)
    peak = _first_peak(numbers, shared)
    alone = shared[peak] >= HIGH_SUPPORT and not np.any(
        np.delete(shared, peak) > ALONE * shared[peak]
    )
    best = by_gap if by_gap is not None else peak
    inside = numbers[peak] < numbers.max()
    decided = bool(alone and inside and sweep.stability[peak] >= STABLE)
    if by_gap is not None:
        decided = not at_edge
    most = int(numbers[shared.argmax()])
    if peak == shared.argmax():
        words = f"simple methods agree most on k = {most}: support {shared[peak]:.2f}"
    else:
        words = (
            f"simple methods agree on k = {numbers[peak]} (support {shared[peak]:.2f}) "
            f"nearly as much as on k = {most} ({shared.max():.2f})"
        )
    reasons.append(words)
    widest = int(numbers[sweep.silhouette.argmax()])
    k = int(numbers[best])
    reasons.append(
        f"silhouette {'agrees' if widest == k else f'is highest at k = {widest}'}"
    )
    agree = float(sweep.stability[best])
    word = "agree" if agree >= STABLE else "do not agree"
    reasons.append(f"halves of the data {word} on the clusters: ARI {agree:.2f}")
    return Recommendation(k, decided, tuple(reasons))


def _by_eigengap(sweep: Sweep) -> tuple[int | None, bool, list[str]]:
    """Finds the number of the clearest eigengap, if any is clear, and tells why or why not.

    Returns:
      The place of the number; whether it is the largest that was tried; the reasons.
    """
    stable = sweep.stability >= STABLE
    gaps = np.where(stable if stable.any() else True, sweep.eigengap, -np.inf)
    widest, numbers = int(gaps.argmax()), sweep.n_clusters
    words = "of those on which halves of the data agree, " if stable.any() else ""
    near = (sweep.eigengap >= RIVAL * gaps[widest]) & (numbers != numbers[widest])
    largest = int(sweep.eigengap.argmax())
    unstable = stable.any() and sweep.eigengap[largest] * RIVAL > gaps[widest]
    if unstable:
        reason = (
            f"the eigengap is largest at k = {numbers[largest]}: "
            f"{sweep.eigengap[largest]:.4f}, but halves of the data do not agree on its "
            f"clusters (ARI {sweep.stability[largest]:.2f})"
        )
    else:
        reason = (
            f"{words}the eigengap is largest at k = {numbers[widest]}: "
            f"{gaps[widest]:.4f}"
        )
    reasons = [reason]
    noisy = gaps[widest] < ABOVE_NOISE * sweep.noise_gap
    at_edge = len(numbers) > 1 and numbers[widest] == numbers.max()
    if near.any() and not unstable:
        names = ", ".join(map(str, numbers[near].tolist()))
        reasons.append(f"almost as large, or larger, at k = {names}")
    if noisy:
        reasons.append(f"noise without clusters has a gap of {sweep.noise_gap:.4f} too")
    if at_edge:
        reasons.append(f"k = {numbers[widest]} is the largest number that was tried")
    clear = stable.any() and not (near.any() or noisy)
    # Within a cluster too, a graph may have a gap: simple methods must see those parts.
    if clear and sweep.support[widest] < ALONE * sweep.support.max():
        clear = False
        reasons.append(
            f"simple methods hardly agree on k = {numbers[widest]}: support "
            f"{sweep.support[widest]:.2f}"
        )
    return widest if clear else None, bool(at_edge), reasons


def _first_peak(
    numbers: Int[np.ndarray, " s"], support: Float[np.ndarray, " s"]
) -> int:
    """Finds the smallest number at a local maximum of at least 0.9 of the largest support."""
    order = np.argsort(numbers)
    sorted_support = support[order]
    padded = np.concatenate([[-1.0], sorted_support, [-1.0]])
    peaks = (sorted_support >= padded[:-2]) & (sorted_support >= padded[2:])
    return int(order[np.argmax(peaks & (sorted_support >= NEARLY * support.max()))])
