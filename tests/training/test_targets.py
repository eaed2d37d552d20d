"""The target distribution p in training: of all samples, fixed, with shares kept."""

from dataclasses import replace
from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_training import CONFIG, KEY, TINY, settings, state_of
from training_state import restored, saved

from dec_jax.clustering.assignment import (
    match_cluster_sizes,
    soft_assignment,
    target_distribution,
)
from dec_jax.clustering.spectral import cluster_means
from dec_jax.networks.autoencoder import encode
from dec_jax.objectives import DEC
from dec_jax.training.augmentation import Augmentation
from dec_jax.training.cluster import assign, train, train_interval
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.refresh import refresh_targets
from dec_jax.training.state import init_state


@pytest.mark.parametrize("alpha", [1.0, 3.0])
def test_refresh_takes_p_of_all_samples(start, x, alpha):
    objective = DEC(alpha=alpha)
    state = state_of(start, objective)
    refreshed = refresh_targets(state, x, **settings(objective))
    z = encode(state.params, x, architecture=TINY)
    p = target_distribution(soft_assignment(z, state.params["centroids"], alpha=alpha))
    np.testing.assert_allclose(refreshed.targets, p, rtol=1e-4, atol=1e-6)


def test_refresh_measures_the_change_of_labels(start, x):
    params, centroids, _ = start
    labels = assign(state_of(start).params, x, architecture=TINY)[1]
    labels = labels.at[:10].set((labels[:10] + 1) % 4)
    state = state_of((params, centroids, labels))
    refreshed = refresh_targets(state, x, **settings())
    np.testing.assert_allclose(refreshed.label_change, 10 / 200)


def test_p_is_the_labeling_at_the_start_for_as_long_as_it_is_fixed(start, x):
    params, centroids, labels = start
    # Another labeling than q gives, which no refresh would bring back.
    given = (labels + 1) % 4
    config = replace(
        CONFIG, frozen_target_intervals=2, max_intervals=3, tolerance=0.999
    )
    seen = []
    train(
        init_state(KEY, params, centroids, given, config=config),
        x,
        **settings(config=config),
        on_interval=lambda state, _: seen.append(saved(state)),
    )
    # A tolerance that every refresh is below ends training as soon as p is free.
    assert [int(state.step) for state in seen] == [5, 10, 10]
    for state in seen[:2]:
        np.testing.assert_array_equal(state.targets, np.eye(4)[given])
    free = refresh_targets(restored(seen[1]), x, **settings(config=config))
    np.testing.assert_allclose(seen[2].targets, free.targets, rtol=1e-4, atol=1e-6)


def test_p_keeps_the_shares_that_its_clusters_have_at_first(start, x):
    # Of the refresh that first makes p of q, the second here; not those at the start.
    config = replace(CONFIG, keep_cluster_sizes=True, frozen_target_intervals=1)
    params, centroids, labels = start
    given = jnp.where(jnp.arange(len(labels)) < 40, 0, labels)
    states = []
    train(
        init_state(KEY, params, centroids, given, config=config),
        x,
        **settings(config=config),
        on_interval=lambda state, _: states.append(saved(state)),
    )
    np.testing.assert_array_equal(states[0].targets, np.eye(4)[given])
    shares = np.bincount(states[1].labels, minlength=4) / len(x)
    assert np.abs(shares - np.bincount(given) / len(x)).max() > 0.02
    for before, state in pairwise(states):
        np.testing.assert_allclose(state.shares, shares, rtol=1e-6)
        plain = refresh_targets(restored(before), x, **settings()).targets
        expected = match_cluster_sizes(plain, jnp.asarray(state.shares))
        np.testing.assert_allclose(state.targets, expected, rtol=1e-3, atol=1e-4)
        assert np.abs(state.targets - plain).max() > 1e-3


def test_fixed_targets_teach_the_labeling_at_the_start(start, x, blobs):
    params, _, _ = start
    labels = jnp.asarray(blobs[1])
    z = encode(params, x, architecture=TINY)
    config = replace(
        CONFIG,
        update_interval=20,
        max_intervals=3,
        frozen_target_intervals=2,
        optimizer=Optimizer("adam", 1e-2),
    )
    means = cluster_means(z, labels, 4)
    state = init_state(KEY, params, means, labels, config=config)
    result = train(state, x, **settings(config=config))
    assert np.mean(result.labels == blobs[1]) > 0.99


def test_augmented_steps_keep_targets_of_the_samples_as_they_are(start, x):
    masked = replace(CONFIG, augmentation=Augmentation(masking=0.5))
    state = state_of(start)
    clean, distorted = (
        jax.jit(partial(train_interval, **settings(config=config)))(state, x)[0]
        for config in (CONFIG, masked)
    )
    np.testing.assert_array_equal(clean.targets, distorted.targets)
    assert not np.array_equal(clean.params["centroids"], distorted.params["centroids"])
