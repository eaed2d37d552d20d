import numpy as np
import pytest

from dec_jax.evaluation import odd_rows as module
from dec_jax.evaluation.odd_rows import odd_rows


@pytest.fixture
def cloud():
    """200 rows of 6 columns without copies or outliers."""
    return np.random.default_rng(0).uniform(size=(200, 6)).astype(np.float32)


def test_a_cloud_has_neither_copies_nor_outliers(cloud):
    found = odd_rows(cloud, cloud)
    assert found.copies.tolist() == found.outliers.tolist() == []
    assert found.n_compared == 200
    assert found.bound > 0


def test_equal_and_nearly_equal_rows_are_groups(cloud):
    cloud[20] = cloud[3]
    cloud[30] = cloud[3] + 1e-3
    cloud[150] = cloud[149]
    found = odd_rows(cloud, cloud)
    assert found.copies.tolist() == [3, 20, 30, 149, 150]
    assert found.groups.tolist() == [0, 0, 0, 1, 1]
    assert found.equal.tolist() == [True, True, False, True, True]


def test_minus_zero_is_zero():
    x = np.array([[0.0, 1], [-0.0, 1], [2, 3]], np.float32)
    assert odd_rows(x, x).copies.tolist() == [0, 1]


def test_rows_of_few_columns_are_copies_only_if_equal():
    x = np.random.default_rng(0).uniform(size=(2_000, 1))
    assert odd_rows(x, x).copies.tolist() == []


def test_far_rows_are_outliers_the_farthest_first(cloud):
    cloud[7] += 5
    cloud[99] -= 9
    found = odd_rows(cloud, cloud)
    assert found.outliers.tolist() == [99, 7]
    expected = np.sort(np.linalg.norm(cloud - cloud[99], axis=1))[5]
    assert found.distances[0] == pytest.approx(expected, rel=1e-5)


def test_copies_do_not_hide_an_outlier(cloud):
    cloud[:8] = 9
    found = odd_rows(cloud, cloud)
    assert found.copies.tolist() == list(range(8))
    assert found.outliers.tolist() == [0]


def test_distances_are_those_of_the_embedding(cloud):
    x = np.arange(200)[:, None]
    cloud[7] += 5
    assert odd_rows(x, cloud).outliers.tolist() == [7]


def test_at_most_some_rows_are_compared_and_equal_ones_always_found(cloud, monkeypatch):
    monkeypatch.setattr(module, "MOST_ROWS", 50)
    cloud[199] = cloud[0]
    found = odd_rows(cloud, cloud)
    assert found.n_compared == 50
    assert found.copies.tolist() == [0, 199]


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_rows_have_no_outliers(cloud, n):
    found = odd_rows(cloud[:n], cloud[:n])
    assert found.outliers.tolist() == []
