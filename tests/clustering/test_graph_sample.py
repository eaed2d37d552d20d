"""Labels by the graph of a sample."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dec_jax.clustering import graph_sample
from dec_jax.clustering.graph_sample import (
    cell_quotas,
    local_means,
    nearest_centroids,
    sample_rows,
    spectral_labels,
    spread_labels,
)
from dec_jax.clustering.neighbors import GROUP_SIZE, neighbors_among
from dec_jax.clustering.spectral import spectral_clustering
from dec_jax.evaluation.metrics import clustering_accuracy

KEY = jax.random.key(0)
N, SAMPLE = 1200, 400


def rings():
    """Two circles, one around the other, 600 rows each, and their clusters."""
    rng = np.random.default_rng(0)
    classes = np.arange(N) % 2
    angle = rng.uniform(0, 2 * np.pi, N)
    radius = np.where(classes == 0, 1.0, 3.0) + rng.normal(scale=0.1, size=N)
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return x.astype(np.float32), classes


Z, CLASSES = rings()


def labels_of(rows, **options):
    return spectral_labels(KEY, Z.__getitem__, N, 2, graph_rows=rows, **options)


@pytest.fixture(scope="module")
def exact():
    """The labels by the graph of all rows."""
    return spectral_clustering(KEY, Z, 2).labels


def test_a_sample_of_all_rows_gives_the_exact_labels(exact):
    np.testing.assert_array_equal(labels_of(10 * N), exact)


@pytest.mark.slow
def test_a_sample_gives_the_exact_partition_up_to_a_few_rows(exact):
    found = labels_of(SAMPLE)
    assert found.dtype == np.int32 and found.shape == (N,)
    assert clustering_accuracy(exact, found) >= 0.99
    assert clustering_accuracy(CLASSES, found) >= 0.99


def test_the_same_key_draws_the_same_sample_and_another_key_another():
    first, again = (sample_rows(KEY, Z.__getitem__, N, SAMPLE) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = sample_rows(jax.random.key(1), Z.__getitem__, N, SAMPLE)
    assert (first != other).any()


def test_a_sample_has_its_size_and_no_row_twice_and_keeps_a_rare_place():
    z = Z.copy()
    z[::60] += 100
    rows = sample_rows(KEY, z.__getitem__, N, SAMPLE)
    assert len(rows) == SAMPLE and (np.diff(rows) > 0).all()
    # A third would be 7 of the 20.
    assert np.sum(rows % 60 == 0) == 20


def test_rows_are_read_a_block_at_a_time(monkeypatch):
    expected = labels_of(SAMPLE)
    monkeypatch.setattr(graph_sample, "ROWS_AT_ONCE", 128)
    sizes = []

    def read(rows):
        z = Z[rows]
        sizes.append(len(z))
        return z

    found = spectral_labels(KEY, read, N, 2, graph_rows=SAMPLE)
    np.testing.assert_array_equal(found, expected)
    assert max(sizes) == SAMPLE and sizes.count(128) == 3 * (N // 128)


def test_steps_are_told():
    seen = []
    labels_of(SAMPLE, on_step=lambda: seen.append(len(seen)))
    assert seen == [0, 1, 2]


def test_quotas_are_some_rows_for_each_cell_and_the_rest_in_proportion():
    sizes = np.array([5, 30, 300, 665])
    found = cell_quotas(sizes, 200)
    kept = np.array([5, 21, 21, 21])
    exact = kept + (200 - kept.sum()) * (sizes - kept) / (sizes - kept).sum()
    assert found.sum() == 200
    np.testing.assert_allclose(found, exact, atol=1)
    assert (found <= sizes).all()


@pytest.mark.parametrize("size", [1, 3, 40, 999, 1000])
def test_quotas_sum_to_any_size(size):
    sizes = np.array([0, 5, 30, 300, 665])
    found = cell_quotas(sizes, size)
    assert found.sum() == size and (found <= sizes).all() and (found >= 0).all()


def spread_by_loops(x, sample, labels, k):
    found = []
    for row in x:
        distances = [((row - other) ** 2).sum() for other in sample]
        nearest = np.argsort(distances)[: graph_sample.VOTERS]
        found.append(np.bincount(labels[nearest], minlength=k).argmax())
    return found


def test_spread_labels_matches_loops():
    rng = np.random.default_rng(0)
    sample = Z[::7]
    labels = rng.integers(0, 4, len(sample)).astype(np.int32)
    found = spread_labels(Z.__getitem__, N, sample, labels, 4)
    np.testing.assert_array_equal(found, spread_by_loops(Z, sample, labels, 4))


def test_local_means_match_loops():
    sample = Z[::7]
    nearest = [((row - sample) ** 2).sum(axis=1).argmin() for row in Z]
    expected = [Z[np.equal(nearest, node)].mean(axis=0) for node in range(len(sample))]
    found = local_means(Z.__getitem__, N, sample)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_local_means_of_all_rows_are_the_rows():
    np.testing.assert_array_equal(local_means(Z.__getitem__, N, Z), Z)
    copies = np.repeat(Z[:5], 2, axis=0)
    found = local_means(copies.__getitem__, 10, copies)
    np.testing.assert_array_equal(found, copies)


def test_nearest_centroids_match_loops():
    centroids = Z[:6]
    expected = [((row - centroids) ** 2).sum(axis=1).argmin() for row in Z]
    found = nearest_centroids(Z.__getitem__, N, jnp.asarray(centroids))
    np.testing.assert_array_equal(found, expected)


def test_neighbors_among_matches_loops_in_groups_and_without():
    rng = np.random.default_rng(0)
    for n in (40, 4 * GROUP_SIZE * 3 + 5):
        x = rng.normal(size=(n, 4)).astype(np.float32)
        rows = rng.normal(size=(9, 4)).astype(np.float32)
        apart = np.sqrt(((rows[:, None] - x[None]) ** 2).sum(axis=2))
        found = neighbors_among(jnp.asarray(rows), jnp.asarray(x), 3)
        np.testing.assert_array_equal(found.indices, apart.argsort(axis=1)[:, :3])
        np.testing.assert_allclose(
            found.distances, np.sort(apart, axis=1)[:, :3], rtol=1e-5
        )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (0, "graph_rows must be at least 1, got 0"),
        (1, "graph_rows must be at least n_clusters = 2, got 1"),
    ],
)
def test_spectral_labels_rejects_a_sample_too_small(rows, message):
    with pytest.raises(ValueError, match=message):
        labels_of(rows)
