"""Dendrogram purity against a look at each pair of samples."""

import itertools

import numpy as np
import pytest

from dec_jax.clustering.hierarchy import Hierarchy
from dec_jax.evaluation.metrics import purity
from dec_jax.evaluation.tree_purity import dendrogram_purity


def random_tree(rng, k):
    nodes, merges = list(range(k)), []
    for step in range(k - 1):
        pair = sorted(rng.choice(nodes, 2, replace=False).tolist())
        merges.append(pair)
        nodes = [node for node in nodes if node not in pair] + [k + step]
    return Hierarchy(np.array(merges).reshape(-1, 2), np.ones(k - 1), np.ones(k, int))


def purity_by_pairs(classes, labels, tree):
    """The mean over all pairs of one class, each with a walk up the tree."""
    k = len(tree.sizes)
    parent = {child: k + i for i, pair in enumerate(tree.merges) for child in pair}

    def up(node):
        path = [node]
        while path[-1] in parent:
            path.append(parent[path[-1]])
        return path

    shares = []
    for i, j in itertools.combinations(range(len(labels)), 2):
        if classes[i] == classes[j]:
            meet = next(node for node in up(labels[i]) if node in up(labels[j]))
            below = [m for m in range(len(labels)) if meet in up(labels[m])]
            shares.append(np.mean([classes[m] == classes[i] for m in below]))
    return float(np.mean(shares)) if shares else 1.0


@pytest.mark.parametrize("seed", range(6))
def test_dendrogram_purity_matches_a_look_at_each_pair(seed):
    rng = np.random.default_rng(seed)
    k = 1 + seed
    tree, labels = random_tree(rng, k), rng.integers(0, k, 40)
    classes = rng.integers(0, 4, 40)
    found = dendrogram_purity(classes, labels, tree)
    assert found == pytest.approx(purity_by_pairs(classes, labels, tree))


def test_subtrees_of_one_class_are_pure_and_mixed_leaves_are_not():
    tree = Hierarchy(np.array([[0, 1], [2, 3]]), np.ones(2), np.ones(3, int))
    leaves = np.array([0, 1, 1, 2])
    assert dendrogram_purity(["a", "a", "a", "b"], leaves, tree) == 1
    mixed = ["a", "a", "b", "b"]
    assert dendrogram_purity(mixed, leaves, tree) < 1 > purity(mixed, leaves)


def test_dendrogram_purity_rejects_what_is_no_leaf():
    tree = Hierarchy(np.array([[0, 1]]), np.ones(1), np.ones(2, int))
    with pytest.raises(ValueError, match="must be leaves from 0 to 1, got 0 to 2"):
        dendrogram_purity([0, 1], np.array([0, 2]), tree)
    with pytest.raises(ValueError, match="must have the same length, got 2 and 3"):
        dendrogram_purity([0, 1], np.array([0, 1, 1]), tree)
