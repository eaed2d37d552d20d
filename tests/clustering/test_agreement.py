import numpy as np
import pytest

from dec_jax.clustering.agreement import pair_indices, supports
from dec_jax.evaluation.metrics import adjusted_rand_index

RNG = np.random.default_rng(0)
CLASSES = np.arange(90) % 3


def test_pair_indices_are_those_of_the_metric():
    labelings = [RNG.integers(k, size=90) for k in (2, 3, 5, 9)]
    labelings += [CLASSES, 2 - CLASSES, np.zeros(90, int), np.arange(90)]
    found = pair_indices(labelings)
    expected = [
        [adjusted_rand_index(one, other) for other in labelings] for one in labelings
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_pair_indices_of_a_few_samples_and_of_one_labeling():
    assert pair_indices([np.array([0, 1])]).tolist() == [[1.0]]
    assert pair_indices([np.array([0]), np.array([0])]).tolist() == [[1, 1], [1, 1]]


def test_support_is_the_mean_cube_of_the_index_with_each_other_labeling():
    labelings = [RNG.integers(3, size=90) for _ in range(4)] + [CLASSES, CLASSES]
    found = supports(pair_indices(labelings))
    for i, one in enumerate(labelings):
        others = [other for j, other in enumerate(labelings) if j != i]
        cubes = [max(adjusted_rand_index(one, other), 0) ** 3 for other in others]
        assert found[i] == pytest.approx(np.mean(cubes), abs=1e-12)
