import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dec_jax.clustering import neighbors
from dec_jax.clustering.neighbors import nearest_neighbors

RNG = np.random.default_rng(0)


def neighbors_by_loops(x, n_neighbors):
    indices, distances = [], []
    for i in range(len(x)):
        apart = [
            (float(np.sqrt(((x[i].astype(float) - x[j]) ** 2).sum())), j)
            for j in range(len(x))
            if j != i
        ]
        nearest = sorted(apart)[:n_neighbors]
        distances.append([distance for distance, _ in nearest])
        indices.append([j for _, j in nearest])
    return np.array(indices), np.array(distances)


# As many as there are; one; blocks and groups that do not divide.
@pytest.mark.parametrize("n, m", [(7, 6), (40, 1), (301, 5)])
def test_matches_loops(n, m):
    x = RNG.normal(size=(n, 3)).astype(np.float32)
    found = nearest_neighbors(x, m)
    indices, distances = neighbors_by_loops(x, m)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-5)


@pytest.mark.parametrize("rows_at_once", [1, 13, 10_000])
def test_groups_and_blocks_change_nothing(monkeypatch, rows_at_once):
    n, m = 4 * neighbors.GROUP_SIZE * 2 + 5, 2  # just enough for groups
    x = RNG.normal(size=(n, 4)).astype(np.float32)
    monkeypatch.setattr(neighbors, "DISTANCES_AT_ONCE", rows_at_once * n)
    neighbors._nearest_neighbors.clear_cache()
    found = nearest_neighbors(x, m)
    expected = np.argsort(
        ((x[:, None] - x[None]) ** 2).sum(2) + np.diag([np.inf] * n), axis=1
    )
    np.testing.assert_array_equal(found.indices, expected[:, :m])


def test_neighbors_may_share_a_group():
    """All of a sample's neighbors stand in one group of the first round."""
    n = 4 * neighbors.GROUP_SIZE * 4  # just enough for groups
    x = np.arange(n, dtype=np.float32)[:, None]
    found = nearest_neighbors(x, 4).indices[10]
    assert set(found.tolist()) == {8, 9, 11, 12}


def test_copies_are_neighbors_of_each_other_and_not_of_themselves():
    x = np.zeros((30, 2), np.float32)
    found = nearest_neighbors(x, 4)
    assert not (found.indices == np.arange(30)[:, None]).any()
    assert all(len(set(row)) == 4 for row in np.asarray(found.indices).tolist())
    np.testing.assert_array_equal(found.distances, 0)


def test_far_from_the_origin_they_are_the_same():
    x = RNG.integers(0, 50, size=(60, 3)).astype(np.float32)
    near, far = nearest_neighbors(x, 3), nearest_neighbors(x + 1e5, 3)
    np.testing.assert_array_equal(near.distances, far.distances)


def test_bytes_are_samples_too():
    x = RNG.integers(0, 256, size=(40, 5), dtype=np.uint8)
    found = nearest_neighbors(x, 2)
    assert found.indices.dtype == jnp.int32
    np.testing.assert_allclose(
        found.distances, neighbors_by_loops(x.astype(float), 2)[1], rtol=1e-5
    )


def test_memory_is_not_that_of_all_pairs():
    n = 20_000
    x = jax.ShapeDtypeStruct((n, 4), jnp.float32)
    compiled = neighbors._nearest_neighbors.lower(x, 5).compile()
    held = compiled.memory_analysis().temp_size_in_bytes
    assert held < 6 * 4 * neighbors.DISTANCES_AT_ONCE < 4 * n**2


def test_rejects_as_many_neighbors_as_samples():
    with pytest.raises(ValueError, match=r"n_neighbors must be below .* 5, got 5"):
        nearest_neighbors(np.eye(5, dtype=np.float32), 5)


def test_rejects_no_neighbors():
    with pytest.raises(ValueError, match="n_neighbors must be at least 1, got 0"):
        nearest_neighbors(np.eye(5, dtype=np.float32), 0)


def test_rejects_samples_that_are_not_finite():
    with pytest.raises(ValueError, match="x must be finite"):
        nearest_neighbors(np.full((5, 2), np.nan, np.float32), 2)
