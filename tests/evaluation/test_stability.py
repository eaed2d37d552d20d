import numpy as np

from dec_jax.evaluation.stability import cluster_stability


def jaccard_by_sets(labels, other, cluster):
    """The largest Jaccard index of a cluster with one of another labeling."""
    own = set(np.flatnonzero(labels == cluster))
    others = [set(np.flatnonzero(other == name)) for name in set(other.tolist())]
    return max(len(own & one) / len(own | one) for one in others)


def test_stability_is_the_mean_of_the_largest_jaccard_index():
    rng = np.random.default_rng(0)
    labels, first, second = rng.integers(0, 4, (3, 50))
    expected = [
        np.mean([jaccard_by_sets(labels, one, cluster) for one in (first, second)])
        for cluster in range(4)
    ]
    np.testing.assert_allclose(cluster_stability(labels, [first, second], 4), expected)


def test_an_empty_cluster_has_no_stability():
    found = cluster_stability(np.array([0, 0, 2]), [np.array([7, 7, 8])], 3)
    np.testing.assert_array_equal(found, [1, np.nan, 1])


def test_without_other_labelings_there_is_no_stability():
    assert np.isnan(cluster_stability(np.array([0, 1]), [], 2)).all()
