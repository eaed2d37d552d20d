import numpy as np
import pytest

from dec_jax.clustering.candidates import (
    SimpleMethods,
    candidate_labels,
    neighbor_graph,
)
from dec_jax.evaluation.metrics import adjusted_rand_index

RNG = np.random.default_rng(0)
CLASSES = np.arange(60) % 3
BLOBS = 10 * np.eye(3)[CLASSES] + RNG.normal(size=(60, 3))


def rings():
    """A ring around another one, 150 points each."""
    angle = RNG.uniform(0, 2 * np.pi, 300)
    radius = np.repeat([1.0, 4.0], 150)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return points + RNG.normal(0, 0.1, (300, 2)), np.repeat([0, 1], 150)


def test_all_methods_find_far_blobs():
    found = candidate_labels(BLOBS, 3)
    assert len(found) == 18 and next(iter(found)) == "k-means"
    for name, labels in found.items():
        assert adjusted_rand_index(CLASSES, labels) == 1, name
        assert labels.dtype == np.int32


def test_normalized_cuts_find_rings_that_k_means_cuts():
    x, classes = rings()
    found = candidate_labels(x, 2)
    assert adjusted_rand_index(classes, found["k-means"]) < 0.1
    for neighbors in (5, 10, 20):
        cut = found[f"normalized cut (graph of {neighbors} neighbors)"]
        assert adjusted_rand_index(classes, cut) == 1


def test_one_set_of_trees_and_graphs_serves_every_number():
    methods = SimpleMethods(BLOBS, 5, thorough=False)
    for k in (5, 3, 2):
        found = methods.labels(k)
        alone = SimpleMethods(BLOBS, k, thorough=False).labels(k)
        assert len(found) == 16 and list(found) == list(alone)
        for name, labels in found.items():
            assert len(np.unique(labels)) == k
            assert adjusted_rand_index(labels, alone[name]) == 1, name


def test_neighbor_graph_weights_as_defined():
    graph = neighbor_graph(BLOBS, 4).toarray()
    distances = np.linalg.norm(BLOBS[:, None] - BLOBS[None], axis=2)
    order = np.argsort(distances, axis=1)[:, 1:5]
    scale = distances[np.arange(60), order[:, -1]]
    expected = np.zeros((60, 60))
    for i in range(60):
        for j in order[i]:
            weight = np.exp(-(distances[i, j] ** 2) / (scale[i] * scale[j]))
            expected[i, j] = expected[j, i] = weight
    np.testing.assert_allclose(graph, expected, rtol=1e-6)


@pytest.mark.parametrize("n", [3, 4, 12])
def test_few_samples_are_labeled(n):
    for labels in candidate_labels(BLOBS[:n], 3).values():
        assert labels.shape == (n,) and labels.max() <= 2


def test_duplicates_are_labeled():
    x = np.repeat(RNG.normal(size=(3, 4)), 30, axis=0)
    found = candidate_labels(x, 3)
    assert adjusted_rand_index(np.repeat(np.arange(3), 30), found["k-means"]) == 1


def test_candidate_labels_rejects_more_clusters_than_samples():
    with pytest.raises(ValueError, match="Cannot place 61 centroids on 60 samples"):
        candidate_labels(BLOBS, 61)
