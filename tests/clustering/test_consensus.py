"""Consensus of labelings, against slow versions that know every sample."""

import itertools

import numpy as np
import pytest

from dec_jax.clustering.consensus import (
    aligned_votes,
    consensus,
    graph_consensus,
    vote_consensus,
)
from dec_jax.evaluation.metrics import (
    adjusted_rand_index,
    clustering_accuracy,
    matched_labels,
)


def noisy(seed, r=5, n=60, k=3, share=0.25):
    """Labelings that are wrong on a share of the samples, under other names each."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % k
    runs = []
    for _ in range(r):
        labels = np.where(rng.random(n) < share, rng.integers(0, k, n), truth)
        runs.append(rng.permutation(k)[labels])
    return np.stack(runs), truth


def votes_by_permutations(labelings, reference, k):
    """Counts votes under the best of all permutations of each labeling's names."""
    votes = np.zeros((len(reference), k))
    for labels in labelings:
        best = max(
            itertools.permutations(range(k)),
            key=lambda names: sum(
                names[label] == other
                for label, other in zip(labels, reference, strict=True)
            ),
        )
        for i, label in enumerate(labels):
            votes[i, best[label]] += 1
    return votes


@pytest.mark.parametrize("seed", range(4))
def test_votes_match_the_best_permutation(seed):
    runs, truth = noisy(seed)
    np.testing.assert_array_equal(
        aligned_votes(runs, truth, 3), votes_by_permutations(runs, truth, 3)
    )


def graph_spectrum_by_matrix(labelings, k):
    """The leading eigenvalues of D^-1/2 W D^-1/2 of the whole bipartite graph."""
    incidence = np.concatenate(
        [np.eye(labels.max() + 1)[labels] for labels in labelings], 1
    )
    n, m = incidence.shape
    graph = np.block([[np.zeros((n, n)), incidence], [incidence.T, np.zeros((m, m))]])
    degrees = graph.sum(axis=1)
    values, vectors = np.linalg.eigh(graph / np.sqrt(np.outer(degrees, degrees)))
    rows = vectors[:, -k:] / np.sqrt(degrees)[:, None]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(4))
def test_graph_consensus_equals_the_cut_of_the_whole_graph(seed):
    from sklearn.cluster import KMeans

    runs, _ = noisy(seed, share=0.15)
    rows = graph_spectrum_by_matrix(runs, 3)
    expected = KMeans(3, n_init=20, random_state=0).fit(rows).labels_[:60]
    assert adjusted_rand_index(expected, graph_consensus(runs, 3)) == 1


@pytest.mark.parametrize("method", ["votes", "graph"])
def test_consensus_is_better_than_its_labelings(method):
    runs, truth = noisy(0, r=9, n=300, share=0.3)
    found = consensus(runs, 3, method=method)
    single = max(clustering_accuracy(truth, labels) for labels in runs)
    assert clustering_accuracy(truth, found.labels) > single
    right = matched_labels(truth, found.labels) == truth
    # Samples that are wrong are less stable.
    assert found.stability[right].mean() > found.stability[~right].mean()


@pytest.mark.parametrize("method", ["votes", "graph"])
def test_names_of_clusters_do_not_matter(method):
    runs, _ = noisy(3, share=0.1)
    renamed = [np.array([7, 90, 11])[labels] for labels in runs]
    one, other = (consensus(it, 3, method=method) for it in (runs, renamed))
    assert adjusted_rand_index(one.labels, other.labels) == 1
    np.testing.assert_allclose(one.stability, other.stability)


def test_stability_is_the_share_of_labelings_that_agree():
    runs = np.array([[0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 1]])
    found = consensus(runs, 2)
    votes = votes_by_permutations(runs, found.labels, 2)
    np.testing.assert_allclose(found.stability, votes[np.arange(6), found.labels] / 3)


def test_labelings_may_have_other_numbers_of_clusters():
    truth = np.arange(60) % 3
    runs = [truth, truth + 3 * (np.arange(60) % 2), np.minimum(truth, 1), truth]
    for method in ("votes", "graph"):
        found = consensus(runs, 3, method=method)
        assert clustering_accuracy(truth, found.labels) == 1
    # None has 6 clusters but one, which is the reference then.
    assert len(np.unique(vote_consensus(np.stack([runs[1], truth]), 6))) == 6
    # None has 2 at all: the graph is cut.
    assert len(np.unique(consensus([truth, truth], 2).labels)) == 2


def test_equal_labelings_are_their_consensus():
    truth = np.arange(40) % 4
    for method in ("votes", "graph"):
        found = consensus([truth, 3 - truth], 4, method=method)
        assert adjusted_rand_index(truth, found.labels) == 1
        assert found.stability.tolist() == [1.0] * 40
        assert found.labels.dtype == np.int32


@pytest.mark.parametrize(
    ("labelings", "k", "options", "message"),
    [
        ([[0, 1]], 2, {}, "labelings must hold at least 2, got 1"),
        (
            [[0, 1], [0, 1, 1]],
            2,
            {},
            "of the same samples, at least one, got lengths 2, 3",
        ),
        ([[0, 1], [0, 1]], 3, {}, "Cannot place 3 centroids on 2 samples"),
        (
            [[0, 1], [0, 1]],
            2,
            {"method": "vote"},
            "Unknown method 'vote'; did you mean",
        ),
    ],
)
def test_consensus_rejects_what_does_not_fit(labelings, k, options, message):
    with pytest.raises(ValueError, match=message):
        consensus(labelings, k, **options)
