"""ACe/DeC: Miklautz, Bauer, Mautz, Tschiatschek, Boehm and Plant (2021)."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dec_jax import model
from dec_jax.evaluation.metrics import clustering_accuracy
from dec_jax.networks.autoencoder import decode, embed
from dec_jax.objectives import ACeDeC, Batch, Objective
from dec_jax.training.cluster import train
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.refresh import refresh_targets, reseed_clusters
from dec_jax.training.state import TrainConfig, init_state, reorder_clusters

KEY = jax.random.key(0)
WEIGHTS = np.array([1 / 8] * 8 + [0] * 4, np.float32)
CONFIG = TrainConfig(
    10, 6, batch_size=50, tolerance=0.0, optimizer=Optimizer("adam", 1e-3)
)
OBJECTIVE = ACeDeC(clustering_weight=0.3)
SETTINGS = {"objective": OBJECTIVE, "config": CONFIG}


@pytest.fixture(scope="module")
def params(start):
    """Counts, a matrix that is no exact rotation, and shares between 0 and 1."""
    network, centroids, _ = start
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0] + 0.1 * rng.normal(size=(3, 3))
    return network | {
        "centroids": centroids,
        "counts": jnp.array([100.0, 20.0, 5.0, 50.0]),
        "shared": {
            "rotation": jnp.asarray(rotation, jnp.float32),
            "logits": jnp.array([2.0, -1.0, 0.5]),
        },
    }


def batch_of(x):
    return Batch(x, jnp.ones((len(x), 4)) / 4, jnp.asarray(WEIGHTS), KEY)


def loss_by_loops(z, params):
    """The mean of the squared distances in both spaces, and the nearest centroids."""
    centroids, counts = (np.asarray(params[it]) for it in ("centroids", "counts"))
    rotation, logits = (
        np.asarray(params["shared"][it]) for it in ("rotation", "logits")
    )
    beta = 1 / (1 + np.exp(-logits))
    mean = sum(n * mu for n, mu in zip(counts, centroids, strict=True)) / counts.sum()
    total, labels = 0.0, []
    for z_i, weight in zip(z, WEIGHTS, strict=True):
        clustered = [(beta * ((z_i - mu) @ rotation) ** 2).sum() for mu in centroids]
        shared = ((1 - beta) * ((z_i - mean) @ rotation) ** 2).sum()
        labels.append(int(np.argmin(clustered)))
        total += weight * (min(clustered) + shared) / 2
    return total, labels


def test_loss_equals_loops(params, x, architecture):
    losses, new = OBJECTIVE.loss(params, batch_of(x[:12]), architecture=architecture)
    z = np.asarray(embed(params, x[:12], architecture=architecture))
    clustering, labels = loss_by_loops(z, params)
    rotation = np.asarray(params["shared"]["rotation"])
    back = jnp.asarray(z @ rotation @ rotation.T)
    x_hat = np.asarray(decode(params, back, architecture=architecture))
    reconstruction = WEIGHTS @ ((np.asarray(x[:12]) - x_hat) ** 2).mean(axis=1)
    np.testing.assert_allclose(losses.clustering, clustering, rtol=1e-4)
    np.testing.assert_allclose(losses.reconstruction, reconstruction, rtol=1e-4)
    total = reconstruction + 0.3 * clustering
    np.testing.assert_allclose(losses.total, total, rtol=1e-4)
    counts = np.asarray(params["counts"]) + np.bincount(labels[:8], minlength=4)
    np.testing.assert_allclose(new["counts"], counts)
    first = z[:8][np.array(labels[:8]) == labels[0]]
    centroid = np.asarray(params["centroids"])[labels[0]]
    moved = centroid + (first - centroid).sum(axis=0) / counts[labels[0]]
    np.testing.assert_allclose(new["centroids"][labels[0]], moved, rtol=1e-4)


def test_q_is_that_of_the_distances_in_the_clustered_space(params, x, architecture):
    z = embed(params, x[:12], architecture=architecture)
    q = OBJECTIVE.assignment(params, z)
    np.testing.assert_array_equal(
        q.argmax(axis=1), loss_by_loops(np.asarray(z), params)[1]
    )
    np.testing.assert_allclose(q.sum(axis=1), np.ones(12), rtol=1e-5)


def test_first_refresh_finds_the_dimensions_of_the_clusters(start, architecture):
    # Two clusters along (1, 1, 0), far apart; elsewhere noise alone.
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    z = rng.normal(size=(200, 3)) * [0.1, 0.1, 1.0]
    z = (z + np.outer(4.0 * labels, [1, 1, 0])).astype(np.float32)
    means = np.stack([z[labels == j].mean(axis=0) for j in range(2)])
    space = OBJECTIVE.fit(
        {"centroids": jnp.asarray(means)}, jnp.asarray(z), jnp.asarray(labels)
    )["shared"]
    rotation = np.asarray(space["rotation"])
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-5)
    shares = 1 / (1 + np.exp(-np.asarray(space["logits"])))
    np.testing.assert_allclose(
        np.abs(rotation[:, 2]), [0.5**0.5, 0.5**0.5, 0], atol=0.1
    )
    rotated = z @ rotation
    clustered = ((rotated - (means @ rotation)[labels]) ** 2).mean(axis=0)
    shared = ((rotated - rotated.mean(axis=0)) ** 2).mean(axis=0)
    expected = shared**2 / (shared**2 + clustered**2)
    np.testing.assert_allclose(shares, expected, rtol=1e-3)
    assert shares[2] > 0.99 and shares[:2].max() < 0.6


def test_gradients_are_finite_for_shares_of_0_and_1(params, x, architecture):
    space = params["shared"] | {"logits": jnp.array([300.0, -300.0, 0.0])}

    def total(params):
        batch = batch_of(x[:12])
        return OBJECTIVE.loss(params, batch, architecture=architecture)[0].total

    chex.assert_tree_all_finite(jax.grad(total)(params | {"shared": space}))


def test_padding_counts_nothing(params, x, architecture):
    one, other = (
        OBJECTIVE.loss(params, batch_of(rows), architecture=architecture)
        for rows in (x[:12], x[:12].at[8:].set(100.0))
    )
    chex.assert_trees_all_close(one, other, rtol=1e-6)


def test_training_clusters_blobs_and_learns_the_space(start, x, blobs, architecture):
    state = init_state(KEY, *start, **SETTINGS)
    result = train(state, x, architecture=architecture, **SETTINGS)
    assert clustering_accuracy(blobs[1], result.labels) > 0.95
    assert result.history.loss[-1] < result.history.loss[0]
    first = refresh_targets(state, x, architecture=architecture, **SETTINGS)
    for name, value in result.state.params["shared"].items():
        assert np.abs(value - first.params["shared"][name]).max() > 1e-3, name


def test_model_predicts_as_training_ended(start, x, architecture, tmp_path):
    state = init_state(KEY, *start, **SETTINGS)
    trained = train(state, x, architecture=architecture, **SETTINGS)
    result = reorder_clusters(trained, np.array([2, 0, 3, 1]))
    path = tmp_path / "model.safetensors"
    model.save(path, result.state.params, architecture=architecture)
    q = model.predict_proba(model.load(path), x)
    np.testing.assert_allclose(q, result.q, atol=1e-6)
    np.testing.assert_array_equal(q.argmax(axis=1), result.labels)


def test_reseeding_leaves_the_space(params, x, architecture):
    state = init_state(
        KEY, params, params["centroids"].at[0].set(1e4), jnp.zeros(200, int), **SETTINGS
    )
    state = state._replace(params=state.params | {"shared": params["shared"]})
    z = embed(state.params, x, architecture=architecture)
    labels = jnp.asarray(np.arange(len(x)) % 3 + 1, jnp.int32)
    moved, count = reseed_clusters(state, z, labels, below=0.1, objective=OBJECTIVE)
    assert int(count) == 1
    chex.assert_trees_all_equal(moved.params["shared"], state.params["shared"])
    np.testing.assert_array_equal(
        moved.params["centroids"][1:], params["centroids"][1:]
    )


def test_acedec_is_an_objective_that_hashes_by_value():
    assert isinstance(ACeDeC(), Objective)
    assert ACeDeC() == ACeDeC() and hash(ACeDeC()) == hash(ACeDeC())
    assert ACeDeC() != OBJECTIVE


def test_acedec_rejects_settings_out_of_range():
    with pytest.raises(ValueError, match="clustering_weight must be .*got -1"):
        ACeDeC(clustering_weight=-1)
    with pytest.raises(ValueError, match="initial_count must be .*got 0"):
        ACeDeC(initial_count=0)
    with pytest.raises(ValueError, match="alpha must be .*got 0"):
        ACeDeC(alpha=0)
