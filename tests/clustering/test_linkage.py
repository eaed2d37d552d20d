import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage

from dec_jax.clustering.linkage import genie, spanning_tree
from dec_jax.evaluation.metrics import adjusted_rand_index

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))


def genie_by_definition(x, k, threshold):
    """Algorithm 1 of Gagolewski et al. (2016), over all pairs of clusters."""
    clusters = [[i] for i in range(len(x))]
    distances = np.linalg.norm(x[:, None] - x[None], axis=2)
    while len(clusters) > k:
        sizes = np.array([len(one) for one in clusters])
        total = sum(abs(a - b) for a in sizes for b in sizes) / 2
        gini = total / ((len(sizes) - 1) * sizes.sum())
        best = None
        for i in range(len(clusters)):
            for j in range(i):
                if gini > threshold and min(sizes[i], sizes[j]) > sizes.min():
                    continue
                nearest = distances[np.ix_(clusters[i], clusters[j])].min()
                if best is None or nearest < best[0]:
                    best = nearest, i, j
        _, i, j = best
        clusters[j] += clusters.pop(i)
    labels = np.empty(len(x), int)
    for number, members in enumerate(clusters):
        labels[members] = number
    return labels


def test_spanning_tree_has_the_lengths_of_single_linkage():
    expected = np.sort(linkage(X, "single")[:, 2])
    np.testing.assert_allclose(spanning_tree(X).length, expected)


def test_spanning_tree_by_mutual_reachability_matches_its_definition():
    distances = np.linalg.norm(X[:, None] - X[None], axis=2)
    core = np.sort(distances, axis=1)[:, 4]
    reach = np.maximum(distances, np.maximum(core[:, None], core[None]))
    pairs = reach[np.triu_indices(len(X), 1)]
    expected = np.sort(linkage(pairs, "single")[:, 2])
    np.testing.assert_allclose(spanning_tree(X, core=4).length, expected)


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.3, 0.7])
@pytest.mark.parametrize("k", [2, 5])
def test_genie_merges_as_defined(k, threshold):
    found = genie(spanning_tree(X), k, gini_threshold=threshold)
    expected = genie_by_definition(X, k, threshold)
    assert adjusted_rand_index(found, expected) == 1


def test_genie_with_a_threshold_of_1_is_single_linkage():
    found = genie(spanning_tree(X), 6, gini_threshold=1.0)
    expected = fcluster(linkage(X, "single"), 6, "maxclust")
    assert adjusted_rand_index(found, expected) == 1


def test_genie_rejects_a_threshold_outside_its_range():
    with pytest.raises(ValueError, match=r"gini_threshold must be in \[0, 1\], got 2"):
        genie(spanning_tree(X), 2, gini_threshold=2)


def test_genie_rejects_more_clusters_than_points():
    with pytest.raises(ValueError, match="Cannot place 41 centroids on 40 samples"):
        genie(spanning_tree(X), 41)
