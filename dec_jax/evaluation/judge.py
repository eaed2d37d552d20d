"""Chooses one of several labelings without known classes, and tells how sure it is.

Labelings whose methods assume different things, and which agree all the same, rest on the
data. Each labeling is scored by its support: the mean cube of its adjusted Rand index with
each of the others. The cube makes close agreement count most, so that the winner is where
many labelings nearly coincide rather than halfway between all of them. Where nothing comes
close to anything else, the cube would only reward the few that resemble each other, such as
labelings with one huge cluster: there the mean index itself decides.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix

from dec_jax.clustering.agreement import pair_indices, supports
from dec_jax.clustering.candidates import (
    SimpleMethods,
    candidate_labels,
    cluster_volumes,
    neighbor_graph,
)

# Where no labeling has more support, the mean index decides. On the same tables that changes
# nothing (0.899); of the 65 topics of Reuters-21578 it takes k-means (NMI 0.48) in place of
# a linkage that puts nearly all texts in one cluster (NMI 0.30).
LITTLE_SUPPORT = 0.15
NEIGHBORS = 10  # of the graph that conductance is measured in
MOST_ROWS = 3_000  # that the methods see: linkages take time n^2
ROWS_FOR_NUMBER = 1_500  # that they see for many numbers of clusters
WIDE = 64  # columns up to which rows are taken as they are
MOST_COLUMNS = 32  # principal components of wide rows


class Judgment(NamedTuple):
    """The labelings in their order, the best first.

    Attributes:
      names: of the methods.
      labels: [m, n] int32, the labels of each.
      scores: [m] the support of each in [0, 1]: the mean cube of its adjusted Rand index
        with the others, where that is positive.
      agreement: [m] mean adjusted Rand index with the others, in [-0.5, 1].
      conductance: of the best: its mean over the clusters, in [0, 1]; 0 for separate
        components.
    """

    names: tuple[str, ...]
    labels: Int[np.ndarray, "m n"]
    scores: Float[np.ndarray, " m"]
    agreement: Float[np.ndarray, " m"]
    conductance: float


def judge(
    x: Float[np.ndarray, "n d"], labelings: Mapping[str, Int[np.ndarray, " n"]]
) -> Judgment:
    """Scores labelings of the same samples against each other.

    The best is the labeling of most support, or, where no support is above 0.15, the one
    of the highest mean index.

    Args:
      x: [n, d] samples, in the space in which neighbors mean something.
      labelings: at least two, by the name of their method.

    Returns:
      All of them, the best first.

    Raises:
      ValueError: there are fewer than two labelings.

    Example:
      >>> rng = np.random.default_rng(0)
      >>> x = np.concatenate([rng.normal(0, 1, (30, 2)), rng.normal(9, 1, (30, 2))])
      >>> halves = np.arange(60) // 30
      >>> found = judge(x, {"a": halves, "b": np.arange(60) % 2, "c": 1 - halves})
      >>> found.names
      ('a', 'c', 'b')
    """
    if len(labelings) < 2:
        raise ValueError(
            f"labelings must hold at least 2 to compare, got {len(labelings)}."
        )
    names, all_labels = tuple(labelings), list(labelings.values())
    pairs = pair_indices(all_labels)
    m = len(names)
    agreement = (pairs.sum(axis=1) - 1) / (m - 1)
    scores = supports(pairs)
    decisive = scores if scores.max() > LITTLE_SUPPORT else agreement
    order = np.argsort(-decisive, kind="stable")
    graph = neighbor_graph(x, NEIGHBORS)
    return Judgment(
        tuple(names[i] for i in order),
        np.stack([all_labels[i] for i in order]).astype(np.int32),
        scores[order],
        agreement[order],
        conductance(graph, all_labels[order[0]]),
    )


def methods_for_numbers(
    x: Float[np.ndarray, "n d"], most: int, *, seed: int = 0
) -> SimpleMethods:
    """Makes the simple methods ready for many numbers of clusters, with few starts each.

    Args:
      x: [n, d] samples, in the space in which neighbors mean something; of more than
        1,500, as many are drawn at random.
      most: the largest number of clusters.
      seed: of the draw and of the methods.
    """
    if len(x) > ROWS_FOR_NUMBER:
        rows = np.random.default_rng(seed).permutation(len(x))[:ROWS_FOR_NUMBER]
        x = x[np.sort(rows)]
    return SimpleMethods(x, most, seed=seed, thorough=False)


def best_support(methods: SimpleMethods, n_clusters: int) -> float:
    """Computes the support of the best labeling with this number of clusters.

    Methods that assume different things agree most where the number is right: a cluster
    too many is cut out elsewhere by each of them.

    Args:
      methods: from `methods_for_numbers`.
      n_clusters: k, at most the largest number that they were made ready for.

    Returns:
      A number in [0, 1].

    Example:
      >>> rng = np.random.default_rng(0)
      >>> x = 9 * np.eye(3)[np.arange(60) % 3] + rng.normal(size=(60, 3))
      >>> methods = methods_for_numbers(x, 4)
      >>> best_support(methods, 3) > max(best_support(methods, k) for k in (2, 4))
      True
    """
    labelings = list(methods.labels(n_clusters).values())
    return float(supports(pair_indices(labelings)).max())


def conductance(graph: csr_matrix, labels: Int[np.ndarray, " n"]) -> float:
    """Averages over the clusters the share of their edges' weight that leaves them.

    Args:
      graph: [n, n] symmetric weights, from `neighbor_graph`.
      labels: [n] the cluster of each sample.

    Returns:
      A number in [0, 1]: 0 where clusters are separate components of the graph.

    Example:
      >>> graph = csr_matrix(np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0.0]]))
      >>> round(conductance(graph, np.array([0, 0, 1])), 3)
      0.667
    """
    between = cluster_volumes(graph, labels)
    volume = between.sum(axis=1)
    # A sample without neighbors is a component of its own.
    inside = np.where(
        volume > 0, between.diagonal() / np.where(volume > 0, volume, 1), 1
    )
    return float((1 - inside).mean())


class Choice(NamedTuple):
    """The labels that were chosen for all samples, and what they were chosen among.

    Attributes:
      labels: [n] int32, from 0 to k - 1.
      judgment: the labelings of the rows that were judged.
      rows: [m] the numbers of those rows.
      space: [m, e] these rows as the methods saw them.
    """

    labels: Int[np.ndarray, " n"]
    judgment: Judgment
    rows: Int[np.ndarray, " m"]
    space: Float[np.ndarray, "m e"]


def choose_labels(
    x: Float[np.ndarray, "n d"],
    n_clusters: int,
    *,
    seed: int = 0,
    by_direction: bool = True,
) -> Choice:
    """Labels samples by many simple methods, and chooses one of the labelings.

    The methods see at most `MOST_ROWS` samples, drawn at random, and at most
    `MOST_COLUMNS` principal components; the nearest of these samples label the others.

    Args:
      x: [n, d] samples: standardized columns, or an embedding.
      n_clusters: k.
      seed: of the draw and of the methods.
      by_direction: as in `method_space`.

    Returns:
      The labels of all samples, and the judgment that they rest on.

    Raises:
      ValueError: there are more clusters than samples.

    Example:
      >>> rng = np.random.default_rng(0)
      >>> x = np.concatenate([rng.normal(0, 1, (30, 2)), rng.normal(9, 1, (30, 2))])
      >>> np.bincount(choose_labels(x, 2).labels).tolist()
      [30, 30]
    """
    space = method_space(x, by_direction=by_direction)
    n = len(space)
    rows = np.arange(n)
    if n > MOST_ROWS:
        rows = np.sort(np.random.default_rng(seed).permutation(n)[:MOST_ROWS])
    seen = space[rows]
    judgment = judge(seen, candidate_labels(seen, n_clusters, seed=seed))
    labels = judgment.labels[0]
    if len(rows) < n:
        from sklearn.neighbors import KNeighborsClassifier

        nearest = KNeighborsClassifier(n_neighbors=5).fit(seen, labels)
        labels = nearest.predict(space)
    return Choice(labels.astype(np.int32), judgment, rows, seen)


def method_space(
    x: Float[np.ndarray, "n d"], *, by_direction: bool = True
) -> Float[np.ndarray, "n e"]:
    """Brings samples into the space in which simple methods label them.

    Rows of many columns are projected on principal axes. Embeddings and weights of terms
    differ by direction rather than by length: they are scaled to length 1 before.

    Args:
      x: [n, d] finite numbers.
      by_direction: False keeps the lengths of rows, for tables whose columns have units of
        their own (`Dataset.by_direction`).

    Returns:
      [n, e] float64; e is d for at most `WIDE` columns, else `MOST_COLUMNS` or less.
    """
    space = np.asarray(x, np.float64)
    n, d = space.shape
    if d <= WIDE:
        return space
    from sklearn.decomposition import PCA

    if by_direction:
        length = np.linalg.norm(space, axis=1, keepdims=True)
        space = space / np.where(length > 0, length, 1)
    components = min(MOST_COLUMNS, n - 1, d)
    space = PCA(components, random_state=0).fit_transform(space)
    return space / (space.std() or 1.0)
