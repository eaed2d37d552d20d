"""Clustering of any data, and what is turned away."""

import chex
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_training import KEY, TINY, by_method, fresh_start, run, settings, state_of

from dec_jax.clustering.kmeans import k_means
from dec_jax.evaluation.metrics import clustering_accuracy
from dec_jax.networks.autoencoder import encode, init_params
from dec_jax.training.cluster import _train_intervals, train
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.pretrain import PretrainConfig, pretrain_end_to_end
from dec_jax.training.state import TrainConfig

# Any data.


@pytest.fixture(scope="module")
def pretrained(x):
    config = PretrainConfig(30, 64, Optimizer("adam", 0.01))
    params, _ = pretrain_end_to_end(KEY, x, architecture=TINY, config=config)
    return params


@by_method
def test_blobs_are_clustered_from_pixels_to_labels(pretrained, blobs, objective):
    x, labels = blobs
    z = encode(pretrained, jnp.asarray(x), architecture=TINY)
    clusters = k_means(KEY, z, 4, n_init=2)
    start = (pretrained, clusters.centroids, clusters.labels)
    result = run(start, x, objective)
    assert clustering_accuracy(labels, result.labels) > 0.95


def test_bytes_equal_their_scaled_floats():
    x = np.random.default_rng(0).integers(0, 256, (200, 8)).astype(np.uint8)
    as_floats = jnp.asarray(x, jnp.float32) / 255
    params = init_params(KEY, TINY)
    clusters = k_means(KEY, encode(params, as_floats, architecture=TINY), 4, n_init=2)
    start = (params, clusters.centroids, clusters.labels)
    one, other = (run(start, data) for data in (x, as_floats))
    np.testing.assert_allclose(one.centroids, other.centroids, atol=1e-4)
    np.testing.assert_array_equal(one.labels, other.labels)


# A multiple of the batch (no partial batch), fewer samples than the batch, n = k.
@pytest.mark.parametrize(
    "n", [4, *(pytest.param(n, marks=pytest.mark.slow) for n in (40, 128))]
)
def test_any_number_of_samples_will_do(x, n):
    result = run(fresh_start(x[:n], 4), x[:n])
    assert result.labels.shape == (n,)
    chex.assert_tree_all_finite((result.state.params, result.q, result.history.loss))


def test_one_cluster_has_nothing_to_learn(x):
    result = run(fresh_start(x, 1), x)
    np.testing.assert_array_equal(result.labels, np.zeros(200))
    np.testing.assert_allclose(result.history.loss, np.zeros(4), atol=1e-7)


@by_method
def test_duplicate_rows_stay_finite(x, objective):
    # All on each other and on all centroids.
    same = jnp.tile(x[:1], (200, 1))
    result = run(fresh_start(same, 4), same, objective)
    chex.assert_tree_all_finite((result.state.params, result.q, result.history.loss))


@by_method
def test_constant_columns_stay_finite(x, objective):
    constant = x.at[:, 2:].set(1.0)
    result = run(fresh_start(constant, 4), constant, objective)
    chex.assert_tree_all_finite((result.state.params, result.q, result.history.loss))


@by_method
def test_an_empty_cluster_stays_finite(start, x, objective):
    params, centroids, labels = start
    far = centroids.at[0].set(1e4)
    result = run((params, far, labels), x, objective)
    assert (result.history.cluster_sizes[:, 0] == 0).all()
    chex.assert_tree_all_finite((result.state.params, result.q, result.history.loss))


# What is turned away.


@pytest.mark.parametrize(
    "samples, error, message",
    [
        (
            np.zeros((200, 7)),
            ValueError,
            r"x must have shape \(200, 8\).*got \(200, 7\)",
        ),
        (
            np.zeros((199, 8)),
            ValueError,
            r"x must have shape \(200, 8\).*got \(199, 8\)",
        ),
        (np.full((200, 8), np.nan), ValueError, "x must be finite: column 0"),
        (
            np.full((200, 8), 1e19),
            ValueError,
            r"x must have rows of a norm of at most 3.3e\+17, .* got 2.8e\+19 in row 0; "
            r"scale x down",
        ),
        (np.zeros((200, 2, 4)), ValueError, r"x must have shape \[n, d\]"),
        (np.zeros((0, 8)), ValueError, "x is empty"),
        (np.full((200, 8), "a"), TypeError, "x must be numeric"),
        ([[0.0] * 8] * 200, TypeError, "x must be an array, got list"),
    ],
)
def test_train_rejects_samples(start, samples, error, message):
    before = _train_intervals._cache_size()
    with pytest.raises(error, match=message):
        train(state_of(start), samples, **settings())
    assert _train_intervals._cache_size() == before


@pytest.mark.parametrize("count, error", [(0, ValueError), (1.0, TypeError)])
def test_train_rejects_intervals_per_call(start, x, count, error):
    with pytest.raises(error, match=f"intervals_per_call must be .*got {count}"):
        train(state_of(start), x, **settings(), intervals_per_call=count)


def test_train_rejects_centroids_of_another_width(start, x):
    params, centroids, labels = start
    with pytest.raises(ValueError, match="z and centroids must be .*the same width"):
        run((params, centroids[:, :2], labels), x)


@pytest.mark.parametrize(
    "options, error, message",
    [
        (
            {"update_interval": 0},
            ValueError,
            "update_interval must be at least 1, got 0",
        ),
        ({"max_intervals": 0}, ValueError, "max_intervals must be at least 1, got 0"),
        (
            {"frozen_target_intervals": -1},
            ValueError,
            "frozen_target_intervals must be at least 0, got -1",
        ),
        (
            {"frozen_target_intervals": 4, "max_intervals": 3},
            ValueError,
            "max_intervals must be above frozen_target_intervals = 4, got 3; use "
            "max_intervals = 5 or more",
        ),
        (
            {"frozen_target_intervals": 143},
            ValueError,
            "max_intervals must be above frozen_target_intervals = 143, got 143; use "
            "max_intervals = 144",
        ),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"batch_size": 2.5}, TypeError, "batch_size must be an integer, got 2.5"),
        ({"tolerance": 1.0}, ValueError, r"tolerance must be in \[0, 1\), got 1.0"),
        ({"tolerance": -0.1}, ValueError, r"tolerance must be in \[0, 1\), got -0.1"),
        (
            {"reseed_below": 1.0},
            ValueError,
            r"reseed_below must be in \[0, 1\), a share of .* n / k, got 1.0; 0 turns",
        ),
        ({"reseed_below": -0.1}, ValueError, r"reseed_below must be .*, got -0.1; 0"),
        (
            {"reseed_below": float("nan")},
            ValueError,
            r"reseed_below must be .*, got nan; 0",
        ),
    ],
)
def test_train_config_rejects_a_value(options, error, message):
    with pytest.raises(error, match=message):
        TrainConfig(**options)
