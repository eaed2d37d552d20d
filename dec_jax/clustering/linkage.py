"""Linkages as trees, among them Genie, which keeps cluster sizes from growing apart.

Gagolewski, Bartoszuk and Cena, `Genie: A new, fast, and outlier-resistant hierarchical
clustering algorithm <https://arxiv.org/abs/2209.05757>`_, Information Sciences 363, 2016.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from dec_jax.validation import check_n_clusters


class SpanningTree(NamedTuple):
    """A tree over n points: n - 1 edges, in the order in which clusters merge."""

    first: np.ndarray  # [n - 1] one end of each edge
    second: np.ndarray  # [n - 1] the other end
    length: np.ndarray  # [n - 1]


def spanning_tree(x: Float[np.ndarray, "n d"], *, core: int = 0) -> SpanningTree:
    """Computes the minimum spanning tree of Euclidean distances, by Prim's algorithm.

    Args:
      x: [n, d] points.
      core: 0, or a number of neighbors m: the distance of two points is then at least
        that of either to its m-th neighbor (the mutual reachability of HDBSCAN).

    Returns:
      The edges, the shortest first; n steps of n distances, and no matrix of all of them.

    Example:
      >>> spanning_tree(np.array([[0.0], [5.0], [1.0]])).length.tolist()
      [1.0, 4.0]
    """
    n = len(x)
    reach = np.zeros(n)
    if core:
        from scipy.spatial import cKDTree

        reach = cKDTree(x).query(x, k=[min(core, n - 1) + 1])[0][:, 0]
    nearest, parent = np.full(n, np.inf), np.zeros(n, int)
    outside = np.ones(n, bool)
    ends = np.empty((n - 1, 2), int)
    length = np.empty(n - 1)
    point = 0
    for edge in range(n - 1):
        outside[point] = False
        distance = np.sqrt(((x - x[point]) ** 2).sum(axis=1))
        distance = np.maximum(distance, np.maximum(reach, reach[point]))
        closer = outside & (distance < nearest)
        nearest[closer], parent[closer] = distance[closer], point
        point = int(np.where(outside, nearest, np.inf).argmin())
        ends[edge], length[edge] = (point, parent[point]), nearest[point]
    order = np.argsort(length, kind="stable")
    return SpanningTree(ends[order, 0], ends[order, 1], length[order])


def linkage_tree(x: Float[np.ndarray, "n d"], linkage: str) -> SpanningTree:
    """Merges the two nearest clusters again and again, by a linkage of SciPy.

    Args:
      x: [n, d] points; the time is n^2.
      linkage: such as "ward" or "average".

    Returns:
      An edge for each merge, in their order, between a point of each of the two clusters.

    Example:
      >>> tree = linkage_tree(np.array([[0.0], [5.0], [1.0]]), "average")
      >>> tree.length.tolist()
      [1.0, 4.5]
    """
    from scipy.cluster.hierarchy import linkage as merge

    merged = merge(x, linkage)
    member = np.arange(2 * len(x) - 1)  # a point of each cluster
    for number, cluster in enumerate(merged[:, 0].astype(int), start=len(x)):
        member[number] = member[cluster]
    ends = member[merged[:, :2].astype(int)]
    return SpanningTree(ends[:, 0], ends[:, 1], merged[:, 2])


def genie(
    tree: SpanningTree, n_clusters: int, *, gini_threshold: float = 0.3
) -> Int[np.ndarray, " n"]:
    """Merges clusters along the spanning tree, the smallest ones once sizes are uneven.

    While the Gini index of the cluster sizes is at most the threshold, the two nearest
    clusters merge, as in single linkage; above it, one of the smallest clusters merges
    with its nearest.

    Args:
      tree: from `spanning_tree`.
      n_clusters: k.
      gini_threshold: in [0, 1]; 1 is single linkage.

    Returns:
      Labels from 0 to k - 1.

    Raises:
      ValueError: the threshold is outside [0, 1], or there are more clusters than points.

    Example:
      >>> tree = spanning_tree(np.array([[0.0], [0.1], [5.0], [5.1]]))
      >>> genie(tree, 2).tolist()
      [0, 0, 1, 1]
    """
    return cut_tree(genie_tree(tree, gini_threshold), n_clusters)


def genie_tree(tree: SpanningTree, gini_threshold: float) -> SpanningTree:
    """Brings the edges of a tree into the order in which Genie merges along them.

    Args:
      tree: from `spanning_tree`.
      gini_threshold: in [0, 1]; 1 is single linkage.

    Returns:
      The same edges, the first merge first.

    Raises:
      ValueError: the threshold is outside [0, 1].

    Example:
      >>> tree = spanning_tree(np.array([[0.0], [1.0], [3.0], [6.0]]))
      >>> genie_tree(tree, 1.0).length.tolist()
      [1.0, 2.0, 3.0]
    """
    n = len(tree.length) + 1
    if not 0 <= gini_threshold <= 1:
        raise ValueError(f"gini_threshold must be in [0, 1], got {gini_threshold}.")
    cluster, sizes = np.arange(n), np.ones(n)
    unused = np.ones(n - 1, bool)
    alive = np.ones(n, bool)
    order = np.empty(n - 1, int)
    for merge in range(n - 1):
        edges = np.flatnonzero(unused)
        now = np.sort(sizes[alive])
        if _gini(now, n) > gini_threshold:
            ends = sizes[cluster[tree.first[edges]]], sizes[cluster[tree.second[edges]]]
            edges = edges[np.minimum(*ends) == now[0]]
        edge = order[merge] = edges[0]
        unused[edge] = False
        kept, gone = cluster[tree.first[edge]], cluster[tree.second[edge]]
        cluster[cluster == gone] = kept
        sizes[kept] += sizes[gone]
        alive[gone] = False
    return SpanningTree(*(column[order] for column in tree))


def cut_tree(tree: SpanningTree, n_clusters: int) -> Int[np.ndarray, " n"]:
    """Labels the parts that the first n - k edges of a tree connect.

    Args:
      tree: from `linkage_tree` or `genie_tree`.
      n_clusters: k.

    Returns:
      Labels from 0 to k - 1.

    Raises:
      ValueError: there are more clusters than points.

    Example:
      >>> cut_tree(linkage_tree(np.array([[0.0], [5.0], [1.0]]), "average"), 2).tolist()
      [0, 1, 0]
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    n = len(tree.length) + 1
    check_n_clusters(n_clusters, n)
    merged = n - n_clusters
    ends = tree.first[:merged], tree.second[:merged]
    joined = csr_matrix((np.ones(merged), ends), shape=(n, n))
    return connected_components(joined, directed=False)[1].astype(np.int32)


def _gini(sizes: np.ndarray, n: int) -> float:
    """The Gini index of sorted sizes that sum to n: 0 where all are equal."""
    m = len(sizes)
    if m == 1:
        return 0.0
    return float((2 * np.arange(1, m + 1) - m - 1) @ sizes / (n * (m - 1)))
