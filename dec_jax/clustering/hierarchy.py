"""A hierarchy over the clusters of any result: which of them are most alike.

cluster_hierarchy   samples, labels -> the tree of their clusters
merge_tree          weights between clusters -> the tree
cut_hierarchy       the tree -> a coarser cluster for each cluster
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix

from dec_jax.clustering.candidates import neighbor_graph
from dec_jax.validation import check_samples

NEIGHBORS = 10  # of each sample in the graph
MOST_ROWS = 3_000  # of the graph


class Hierarchy(NamedTuple):
    """A binary tree over k clusters, which are its leaves 0 to k - 1.

    Attributes:
      merges: [k - 1, 2] the two nodes that each merge joins; the merge of row i makes the
        node k + i. The last node is the root.
      similarity: [k - 1] weight of the edges between the two, divided by the weight that
        edges drawn at random would have; from 0, never rising. Above 1, the merge raises
        the modularity of the partition.
      sizes: [k] samples of each leaf.

    Example:
      >>> tree = Hierarchy(np.array([[0, 1], [2, 3]]), np.array([3.0, 1.0]), np.full(3, 5))
      >>> tree.heights.tolist()
      [0.25, 0.5]
    """

    merges: Int[np.ndarray, "m 2"]
    similarity: Float[np.ndarray, " m"]
    sizes: Int[np.ndarray, " k"]

    @property
    def heights(self) -> Float[np.ndarray, " m"]:
        """1 / (1 + similarity) of each merge: above 0.5 for less than random, at most 1."""
        return 1 / (1 + self.similarity)


def cluster_hierarchy(
    z: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    n_clusters: int | None = None,
    *,
    seed: int = 0,
) -> Hierarchy:
    """Merges the clusters of a labeling, the most connected ones first.

    The weights are those of the graph of nearest neighbors, of at most 3,000 samples drawn
    at random. Clusters that no edge connects merge last, those of the nearest means first.

    Args:
      z: samples, in the space in which neighbors mean something.
      labels: cluster of each sample, from 0 to k - 1.
      n_clusters: k; None takes the largest label plus 1.
      seed: of the draw.

    Returns:
      The tree; see `merge_tree`.

    Raises:
      ValueError: a shape is wrong, there is one sample, or a label is out of range.

    Example:
      >>> rng = np.random.default_rng(0)
      >>> labels = np.arange(90) % 3
      >>> z = np.array([[0.0, 0.0], [2.0, 0.0], [9.0, 9.0]])[labels]
      >>> tree = cluster_hierarchy(z + rng.normal(size=(90, 2)), labels)
      >>> tree.merges.tolist()
      [[0, 1], [2, 3]]
      >>> cut_hierarchy(tree, 2)[labels[:6]].tolist()
      [0, 0, 1, 0, 0, 1]
    """
    check_samples(z, "z")
    k = int(labels.max()) + 1 if n_clusters is None else n_clusters
    if len(labels) != len(z) or len(z) < 2:
        raise ValueError(
            f"labels must hold one for each of at least 2 rows of z, got {len(labels)} "
            f"for {len(z)}."
        )
    if labels.min() < 0 or labels.max() >= k:
        raise ValueError(
            f"labels must be from 0 to k - 1 = {k - 1}, got {labels.min()} to "
            f"{labels.max()}."
        )
    sizes = np.bincount(labels, minlength=k)
    if len(z) > MOST_ROWS:
        rows = np.sort(np.random.default_rng(seed).permutation(len(z))[:MOST_ROWS])
        z, labels = z[rows], labels[rows]
    z, n = np.asarray(z, np.float64), len(z)
    members = csr_matrix((np.ones(n), (np.arange(n), labels)), shape=(n, k))
    graph = neighbor_graph(z, NEIGHBORS)
    # Centered, so that the expansion of distances between means loses no digits.
    sums = members.T @ (z - z.mean(axis=0))
    return merge_tree((members.T @ graph @ members).toarray(), sizes, sums)


def merge_tree(
    weights: Float[np.ndarray, "k k"],
    sizes: Int[np.ndarray, " k"],
    sums: Float[np.ndarray, "k d"],
) -> Hierarchy:
    """Joins the two clusters of the largest similarity, again and again.

    The similarity of clusters a and b is W_ab w / (v_a v_b): the weight between them over
    that of random edges, with the volumes v, the row sums of W, and their total w. It is
    average linkage: the similarity of a union is the mean of those of its parts, weighted
    by their volumes. No merge is therefore more similar than the one before. Equal
    similarities, as of clusters without an edge, are decided by the distance of the means.

    Args:
      weights: W, symmetric; the weight inside each cluster is in the diagonal.
      sizes: samples of each cluster.
      sums: sum over the samples of each cluster.

    Returns:
      The tree.

    References:
      Bonald, Charpentier, Galland and Hollocou, `Hierarchical Graph Clustering using Node
      Pair Sampling <https://arxiv.org/abs/1806.01664>`_, 2018: the reciprocal of the
      similarity is their distance.

    Example:
      >>> weights = np.array([[8.0, 1.0, 2.0], [1.0, 8.0, 0.0], [2.0, 0.0, 8.0]])
      >>> merge_tree(weights, np.full(3, 9), np.zeros((3, 1))).merges.tolist()
      [[0, 2], [1, 3]]
    """
    k = len(weights)
    between, mass = weights.astype(np.float64), sizes.astype(np.float64)
    places, total = sums.astype(np.float64), weights.sum()
    nodes = np.arange(k)
    merges = np.empty((max(k - 1, 0), 2), np.int64)
    similarity = np.empty(len(merges))
    for step in range(k - 1):
        volumes = between.sum(axis=1)
        expected = volumes[:, None] * volumes
        alike = np.where(expected > 0, between * total, 0)
        alike = alike / np.where(expected > 0, expected, 1)
        first, second = np.triu_indices(len(nodes), 1)
        means = places / np.maximum(mass, 1)[:, None]
        apart = ((means[first] - means[second]) ** 2).sum(axis=1)
        # An empty cluster has no mean: it merges last.
        apart = np.where((mass[first] > 0) & (mass[second] > 0), apart, np.inf)
        best = np.lexsort((apart, -alike[first, second]))[0]
        a, b = first[best], second[best]
        merges[step] = sorted((nodes[a], nodes[b]))
        similarity[step] = alike[a, b]
        for array in (mass, places, between, between.T):
            array[a] += array[b]
        between = np.delete(np.delete(between, b, 0), b, 1)
        mass, places = np.delete(mass, b), np.delete(places, b, 0)
        nodes = np.delete(nodes, b)
        nodes[a] = k + step
    # Rounding must not let a mean exceed its parts.
    return Hierarchy(merges, np.minimum.accumulate(similarity), sizes.astype(np.int64))


def cut_hierarchy(hierarchy: Hierarchy, n_clusters: int) -> Int[np.ndarray, " k"]:
    """Finds the coarser cluster of each cluster.

    Args:
      hierarchy: a tree over k clusters.
      n_clusters: number of coarser clusters, from 1 to k.

    Returns:
      The coarser cluster of each cluster, numbered by their samples, the most first; index
      it with labels to get those of the samples.

    Raises:
      ValueError: `n_clusters` is out of range.

    Example:
      >>> tree = Hierarchy(np.array([[0, 2], [1, 3]]), np.array([0.4, 0.1]), np.full(3, 5))
      >>> cut_hierarchy(tree, 2).tolist()
      [0, 1, 0]
    """
    k = len(hierarchy.sizes)
    if not 1 <= n_clusters <= k:
        raise ValueError(
            f"n_clusters must be from 1 to {k}, the clusters of the hierarchy, got "
            f"{n_clusters}."
        )
    group = np.arange(k)
    for step, pair in enumerate(hierarchy.merges[: k - n_clusters]):
        group[np.isin(group, pair)] = k + step
    nodes, codes = np.unique(group, return_inverse=True)
    samples = np.bincount(codes, weights=hierarchy.sizes)
    first = np.array([np.flatnonzero(codes == code)[0] for code in range(len(nodes))])
    # Equal sizes keep the order of their first clusters.
    order = np.lexsort((first, -samples))
    return np.argsort(order)[codes]
