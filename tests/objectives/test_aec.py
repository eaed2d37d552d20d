"""Auto-encoder based clustering: Song, Liu, Huang, Wang and Tan (2013)."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dec_jax import streaming
from dec_jax.evaluation.metrics import clustering_accuracy
from dec_jax.networks.autoencoder import embed, reconstruct
from dec_jax.objectives import AEC, Batch, Objective
from dec_jax.training.cluster import train
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.refresh import refresh_targets
from dec_jax.training.state import TrainConfig, init_state

KEY = jax.random.key(0)
WEIGHTS = np.array([1 / 8] * 8 + [0] * 4, np.float32)
CONFIG = TrainConfig(
    10, 6, batch_size=50, tolerance=0.0, optimizer=Optimizer("adam", 1e-3)
)


def means_by_loops(z, labels, centroids):
    """The mean of each cluster; an empty one keeps its centroid."""
    means = np.array(centroids, np.float64)
    for j in range(len(centroids)):
        members = [z_i for z_i, label in zip(z, labels, strict=True) if label == j]
        if members:
            means[j] = np.mean(members, axis=0)
    return means


def params_of(start):
    return start[0] | {"centroids": start[1]}


def batch_of(x):
    return Batch(x, jnp.ones((len(x), 4)) / 4, jnp.asarray(WEIGHTS), KEY)


def test_loss_equals_loops(start, x, architecture):
    params = params_of(start)
    losses, new = AEC(0.3).loss(params, batch_of(x[:12]), architecture=architecture)
    z = np.asarray(embed(params, x[:12], architecture=architecture))
    x_hat = np.asarray(reconstruct(params, x[:12], architecture=architecture))
    reconstruction = clustering = 0.0
    for i in range(12):
        squares = [((z[i] - mu) ** 2).sum() for mu in np.asarray(start[1])]
        clustering += WEIGHTS[i] * min(squares)
        reconstruction += WEIGHTS[i] * np.mean((np.asarray(x[i]) - x_hat[i]) ** 2)
    np.testing.assert_allclose(losses.clustering, clustering, rtol=1e-4)
    np.testing.assert_allclose(losses.reconstruction, reconstruction, rtol=1e-4)
    total = reconstruction + 0.3 * clustering
    np.testing.assert_allclose(losses.total, total, rtol=1e-4)
    assert new == {} and "centroids" not in AEC.trained


def test_fit_gives_the_means_of_the_clusters_that_are_not_empty():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(12, 3)).astype(np.float32)
    centroids = rng.normal(size=(4, 3)).astype(np.float32)
    labels = np.array([0, 1, 0, 0, 3, 3, 1, 0, 3, 1, 1, 0], np.int32)
    params = {"centroids": jnp.asarray(centroids)}
    found = AEC().fit(params, jnp.asarray(z), jnp.asarray(labels))["centroids"]
    expected = means_by_loops(z, labels, centroids)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_each_refresh_updates_centroids_before_labels(start, x, architecture):
    state = init_state(KEY, *start, objective=AEC(), config=CONFIG)
    refresh = jax.jit(
        refresh_targets, static_argnames=("architecture", "objective", "config")
    )
    settings = {"architecture": architecture, "objective": AEC(), "config": CONFIG}
    # Not the first refresh: other objectives fit nothing there.
    state = state._replace(step=state.step + 10, labels=jnp.roll(state.labels, 1))
    after = refresh(state, x, **settings)
    z = np.asarray(embed(state.params, x, architecture=architecture))
    centroids = means_by_loops(z, np.asarray(state.labels), np.asarray(start[1]))
    np.testing.assert_allclose(after.params["centroids"], centroids, atol=1e-5)
    squares = ((z[:, None] - centroids) ** 2).sum(axis=2)
    np.testing.assert_array_equal(after.labels, squares.argmin(axis=1))


def test_gradients_are_finite_where_an_embedding_is_a_centroid(start, x, architecture):
    z = embed(start[0], x[:4], architecture=architecture)

    def total(params):
        return AEC().loss(params, batch_of(x[:12]), architecture=architecture)[0].total

    chex.assert_tree_all_finite(jax.grad(total)(start[0] | {"centroids": z}))


def test_aec_clusters_blobs(start, x, blobs, architecture):
    settings = {"architecture": architecture, "objective": AEC(), "config": CONFIG}
    state = init_state(KEY, *start, objective=AEC(), config=CONFIG)
    result = train(state, x, **settings)
    assert clustering_accuracy(blobs[1], result.labels) > 0.95
    assert result.history.loss[-1] < result.history.loss[0]


def test_streaming_rejects_what_fits_all_samples(start, x, architecture):
    state = init_state(KEY, *start, objective=AEC(), config=CONFIG)
    with pytest.raises(
        ValueError, match="AEC cannot learn from a stream: it fits cent"
    ):
        streaming.train(
            state,
            np.asarray(x),
            architecture=architecture,
            objective=AEC(),
            config=CONFIG,
        )


def test_aec_is_an_objective_that_hashes_by_value():
    assert isinstance(AEC(), Objective)
    assert AEC() == AEC() and hash(AEC()) == hash(AEC()) and AEC() != AEC(alpha=2.0)


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_aec_rejects_a_clustering_weight(weight):
    with pytest.raises(ValueError, match=f"clustering_weight must be .*got {weight}"):
        AEC(clustering_weight=weight)
