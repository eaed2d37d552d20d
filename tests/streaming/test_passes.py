"""Passes over all samples of a source: z, q, p and k-means."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from assignments import target_distribution_by_loops
from tiny_training import KEY, TINY

from dec_jax import streaming
from dec_jax.clustering import kmeans
from dec_jax.networks.autoencoder import embed
from dec_jax.objectives import DEC
from dec_jax.streaming import passes
from dec_jax.streaming.targets import frozen_targets, targets
from dec_jax.training.cluster import assign
from dec_jax.training.minibatches import epoch_order

READING = streaming.Reading(block_bytes=2 * 64 * 32)


def test_embed_gives_z_of_all_and_of_some(blobs, source, start, small_blocks):
    expected = embed(start[0], blobs[0], architecture=TINY)
    z = streaming.embed(start[0], source, architecture=TINY, reading=READING)
    np.testing.assert_allclose(z, expected, rtol=1e-4, atol=1e-5)
    rows = np.array([199, 0, 64, 64])
    z = streaming.embed(start[0], source, architecture=TINY, rows=rows)
    np.testing.assert_allclose(z, expected[rows], rtol=1e-4, atol=1e-5)


def test_assign_equals_the_in_memory_assign(blobs, source, start, small_blocks):
    params = {**start[0], "centroids": start[1]}
    objective = DEC(alpha=2.0)
    q, labels = assign(params, blobs[0], architecture=TINY, objective=objective)
    settings = {"architecture": TINY, "reading": READING, "objective": objective}
    found = streaming.assign(params, source, **settings)
    np.testing.assert_allclose(found[0], q, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found[1], labels)
    assert found[1].dtype == np.int32


def test_p_of_a_row_of_q_and_the_column_sums_is_equation_3(
    blobs, source, start, small_blocks
):
    params = {**start[0], "centroids": start[1]}
    seen = passes.look(params, source, TINY, DEC(), READING)
    q = np.asarray(assign(params, blobs[0], architecture=TINY)[0], np.float64)
    p = target_distribution_by_loops(q)
    found = targets(seen, params["centroids"], READING)
    np.testing.assert_allclose(found.x, p, rtol=1e-5)
    np.testing.assert_allclose(seen.frequency, q.sum(axis=0), rtol=1e-6)
    np.testing.assert_allclose(seen.max_q, q.max(axis=1).mean(), rtol=1e-6)
    entropy = -(q * np.log(q)).sum(axis=1).mean() / np.log(4)
    np.testing.assert_allclose(seen.q_entropy, entropy, rtol=1e-5)


def test_k_means_of_all_is_that_of_the_array(source, start):
    found = streaming.k_means(KEY, start[0], source, 4, architecture=TINY, n_init=2)
    np.testing.assert_array_equal(found.centroids, start[1])
    np.testing.assert_array_equal(found.labels, start[2])


def test_k_means_of_a_subsample_labels_all(blobs, source, start, small_blocks):
    found = streaming.k_means(
        KEY, start[0], source, 4, architecture=TINY, sample_size=50, n_init=2
    )
    drawn = np.sort(epoch_order(jax.random.fold_in(KEY, 2), 0, 200)[:50])
    z = np.asarray(embed(start[0], blobs[0], architecture=TINY))
    expected = kmeans.k_means(KEY, z[drawn], 4, n_init=2)
    np.testing.assert_allclose(found.centroids, expected.centroids, rtol=1e-5)
    for i, z_i in enumerate(z):
        distances = [np.sum((z_i - mu) ** 2) for mu in np.asarray(found.centroids)]
        assert found.labels[i] == np.argmin(distances)


def test_a_pass_counts_the_labels_that_changed_and_the_clusters(
    source, start, small_blocks
):
    params = {**start[0], "centroids": start[1]}
    settings = (params, source, TINY, DEC(), READING)
    labels = passes.look(*settings).labels
    previous = labels.copy()
    previous[[0, 44, 45, 199]] += 1
    seen = passes.look(*settings, previous=previous)
    assert seen.changed == 4
    np.testing.assert_array_equal(seen.sizes, [np.sum(labels == i) for i in range(4)])
    assert passes.look(*settings, previous=labels).changed == 0


def shares_kept_by_loops(p, shares):
    """Scales columns to the shares, then rows to 1, in turn."""
    while np.abs(p.mean(axis=0) - shares).max() > 1e-6:
        p = p * shares / p.mean(axis=0)
        p = p / p.sum(axis=1, keepdims=True)
    return p


@pytest.mark.parametrize("groups", [1, 5])
def test_p_keeps_cluster_sizes_in_any_number_of_groups(
    source, start, monkeypatch, groups
):
    monkeypatch.setattr(passes, "GROUP_VALUES", 4 * 200 // groups)
    params = {**start[0], "centroids": start[1]}
    seen = passes.look(params, source, TINY, DEC(), READING)
    shares = np.array([0.4, 0.3, 0.2, 0.1], np.float32)
    free = targets(seen, params["centroids"], READING).x.astype(np.float64)
    kept = targets(seen, params["centroids"], READING, jnp.asarray(shares)).x
    np.testing.assert_allclose(kept, shares_kept_by_loops(free, shares), atol=1e-3)
    np.testing.assert_allclose(kept.mean(axis=0), shares, atol=2e-4)


def test_frozen_p_is_the_labeling():
    labels = np.array([2, 0, 1, 2])
    np.testing.assert_array_equal(
        frozen_targets(labels, 3, READING).x, np.eye(3)[labels]
    )


def test_many_samples_are_looked_at_in_small_groups(monkeypatch):
    centroids = jnp.zeros((10, 4))
    assert passes.rows_of_group(838_860, centroids) == 838_860
    assert passes.rows_of_group(838_861, centroids) == 104_857
    monkeypatch.setattr(passes, "GROUP_VALUES", 3)
    assert passes.rows_of_group(5, centroids) == 1


def test_k_means_rejects_fewer_samples_than_clusters(blobs, source, start):
    with pytest.raises(ValueError, match="Cannot place 10 centroids on 9 samples"):
        streaming.k_means(KEY, start[0], blobs[0][:9], 10, architecture=TINY)
    with pytest.raises(ValueError, match="sample_size must be at least n_clusters = 4"):
        streaming.k_means(KEY, start[0], source, 4, architecture=TINY, sample_size=3)
