"""The tree over clusters, against a slow version, and its cuts."""

import numpy as np
import pytest

from dec_jax.clustering.candidates import neighbor_graph
from dec_jax.clustering.hierarchy import (
    Hierarchy,
    cluster_hierarchy,
    cut_hierarchy,
    merge_tree,
)


def samples(seed=0, k=6, n=240):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % k)
    return rng.normal(size=(k, 3))[labels] * 2 + rng.normal(size=(n, 3)), labels


def merges_by_loops(graph, labels, k):
    """Average linkage of the edges over those expected at random, from all the samples."""
    degrees, total = graph.sum(axis=1), graph.sum()
    groups, found = {leaf: np.flatnonzero(labels == leaf) for leaf in range(k)}, []
    for step in range(k - 1):
        best = (-1.0, 0, 0)
        for a in groups:
            for b in groups:
                if a < b:
                    weight = sum(graph[i, j] for i in groups[a] for j in groups[b])
                    volumes = degrees[groups[a]].sum() * degrees[groups[b]].sum()
                    best = max(best, (weight * total / volumes, a, b))
        similarity, a, b = best
        found.append((a, b, similarity))
        groups[k + step] = np.concatenate([groups.pop(a), groups.pop(b)])
    return found


@pytest.mark.parametrize("seed", range(4))
def test_tree_matches_average_linkage_of_the_edges(seed):
    z, labels = samples(seed)
    graph = neighbor_graph(z, 10).toarray()
    expected = merges_by_loops(graph, labels, 6)
    found = cluster_hierarchy(z, labels)
    assert found.merges.tolist() == [[a, b] for a, b, _ in expected]
    np.testing.assert_allclose(found.similarity, [s for *_, s in expected])
    assert found.sizes.tolist() == np.bincount(labels).tolist()


def modularity(graph, labels):
    degrees, total = graph.sum(axis=1), graph.sum()
    same = labels[:, None] == labels[None]
    return ((graph - np.outer(degrees, degrees) / total) * same).sum() / total


def test_a_merge_above_one_raises_the_modularity_and_others_lower_it():
    z, labels = samples(1)
    graph, tree = neighbor_graph(z, 10).toarray(), cluster_hierarchy(z, labels)
    levels = [
        modularity(graph, cut_hierarchy(tree, k)[labels]) for k in range(6, 0, -1)
    ]
    assert (np.diff(levels) > 0).tolist() == (tree.similarity > 1).tolist()
    assert (np.diff(tree.similarity) <= 0).all()


def test_clusters_without_links_merge_by_their_means():
    labels = np.repeat(np.arange(4), 20)
    z = np.array([0.0, 1000.0, 1100.0, 5000.0])[labels, None]
    z = z + np.random.default_rng(0).normal(size=(80, 1))
    tree = cluster_hierarchy(z, labels)
    assert tree.merges.tolist() == [[1, 2], [0, 4], [3, 5]]
    assert tree.similarity.tolist() == [0, 0, 0] and tree.heights.tolist() == [1, 1, 1]


def test_an_empty_cluster_merges_last():
    z, labels = samples()
    labels = np.where(labels == 2, 3, labels)
    tree = cluster_hierarchy(z, labels)
    assert 2 in tree.merges[-1] and tree.similarity[-1] == 0
    assert tree.sizes[2] == 0


def test_many_samples_are_drawn_from(monkeypatch):
    z, labels = samples(n=400)
    monkeypatch.setattr("dec_jax.clustering.hierarchy.MOST_ROWS", 300)
    tree = cluster_hierarchy(z, labels)
    rows = np.sort(np.random.default_rng(0).permutation(400)[:300])
    assert tree.sizes.sum() == 400
    same = cluster_hierarchy(z[rows], labels[rows])
    assert tree.merges.tolist() == same.merges.tolist()


def test_cuts_are_nested_and_numbered_by_size():
    z, labels = samples(2)
    tree = cluster_hierarchy(z, labels)
    finer = cut_hierarchy(tree, 6)
    assert sorted(finer.tolist()) == list(range(6))
    for k in range(5, 0, -1):
        groups = cut_hierarchy(tree, k)
        assert len(set(zip(finer, groups, strict=True))) == k + 1
        sizes = np.bincount(groups, weights=tree.sizes)
        assert len(sizes) == k and (np.diff(sizes) <= 0).all()
        finer = groups


def test_one_cluster_has_no_merges():
    tree = merge_tree(np.ones((1, 1)), np.array([5]), np.zeros((1, 2)))
    assert tree.merges.shape == (0, 2) and cut_hierarchy(tree, 1).tolist() == [0]


def test_hierarchy_rejects_labels_that_do_not_fit():
    z = np.eye(3)
    with pytest.raises(
        ValueError, match="one for each of at least 2 rows .* got 2 for 3"
    ):
        cluster_hierarchy(z, np.array([0, 1]))
    with pytest.raises(ValueError, match="from 0 to k - 1 = 1, got 0 to 2"):
        cluster_hierarchy(z, np.array([0, 1, 2]), 2)
    tree = Hierarchy(np.array([[0, 1]]), np.ones(1), np.array([2, 1]))
    with pytest.raises(
        ValueError, match="must be from 1 to 2, the clusters of the hierarchy, got 3"
    ):
        cut_hierarchy(tree, 3)
