import numpy as np

from dec_jax.evaluation.typical import typical_ranks


def test_ranks_are_those_within_the_cluster():
    labels = np.array([1, 0, 1, 0, 1, 2])
    q = np.array([0.5, 0.9, 0.7, 0.8, 0.6, 0.4])
    assert typical_ranks(labels, q).tolist() == [0.0, 1.0, 1.0, 0.0, 0.5, 1.0]


def test_equal_q_share_their_rank():
    ranks = typical_ranks(np.zeros(4, int), np.array([1.0, 1.0, 1.0, 0.2]))
    np.testing.assert_allclose(ranks, [2 / 3, 2 / 3, 2 / 3, 0])
