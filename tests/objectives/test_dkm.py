"""Deep k-Means: Moradi Fard, Thonet and Gaussier (2020)."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dec_jax import model
from dec_jax.clustering.assignment import log_softmax_assignment
from dec_jax.evaluation.metrics import clustering_accuracy
from dec_jax.networks.autoencoder import embed, reconstruct
from dec_jax.objectives import DKM, Batch, Objective
from dec_jax.training.cluster import train
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.refresh import reseed_clusters
from dec_jax.training.state import TrainConfig, init_state, reorder_clusters

KEY = jax.random.key(0)
WEIGHTS = np.array([1 / 8] * 8 + [0] * 4, np.float32)
SOFT = DKM(clustering_weight=0.3, inverse_temperature=0.5)
HARD = DKM(clustering_weight=0.1)
ANNEALED = DKM(clustering_weight=0.1, inverse_temperature=0.1, anneal_every=3)
# Small steps, because no autoencoder was trained before.
CONFIG = TrainConfig(
    10, 10, batch_size=50, tolerance=0.0, optimizer=Optimizer("adam", 1e-3)
)


def softmax_by_loops(z, centroids, inverse_temperature):
    q = np.empty((len(z), len(centroids)))
    for i, z_i in enumerate(z.astype(np.float64)):
        squares = np.array([((z_i - mu) ** 2).sum() for mu in centroids])
        # Only differences of the distances matter.
        terms = np.exp(-inverse_temperature * (squares - squares.min()))
        q[i] = terms / terms.sum()
    return q


def loss_by_loops(objective, x, z, x_hat, centroids):
    q = softmax_by_loops(z, centroids, objective.inverse_temperature)
    reconstruction = clustering = 0.0
    for i in range(len(x)):
        reconstruction += WEIGHTS[i] * np.mean((x[i] - x_hat[i]) ** 2)
        for j in range(len(centroids)):
            distance = ((z[i] - centroids[j]) ** 2).sum()
            clustering += WEIGHTS[i] * q[i, j] * distance
    return reconstruction, clustering


def params_of(start, objective):
    network, centroids, _ = start
    return network | objective.extra_params(centroids) | {"centroids": centroids}


def batch_of(x):
    return Batch(x, jnp.ones((len(x), 4)) / 4, jnp.asarray(WEIGHTS), KEY)


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("inverse_temperature", [0.3, 1000.0])
def test_log_softmax_assignment_equals_loops(transform, inverse_temperature):
    rng = np.random.default_rng(0)
    z, centroids = (rng.normal(size=(n, 3)).astype(np.float32) for n in (7, 4))
    log_q = transform(log_softmax_assignment)(
        jnp.asarray(z), jnp.asarray(centroids), inverse_temperature
    )
    expected = softmax_by_loops(z, centroids, inverse_temperature)
    np.testing.assert_allclose(np.exp(log_q), expected, rtol=1e-3, atol=1e-6)


def test_loss_equals_loops(start, x, architecture):
    params, batch = params_of(start, SOFT), batch_of(x[:12])
    losses, new = SOFT.loss(params, batch, architecture=architecture)
    z = np.asarray(embed(params, x[:12], architecture=architecture))
    x_hat = np.asarray(reconstruct(params, x[:12], architecture=architecture))
    reconstruction, clustering = loss_by_loops(
        SOFT, np.asarray(x[:12]), z, x_hat, np.asarray(start[1])
    )
    np.testing.assert_allclose(losses.reconstruction, reconstruction, rtol=1e-4)
    np.testing.assert_allclose(losses.clustering, clustering, rtol=1e-4)
    total = reconstruction + 0.3 * clustering
    np.testing.assert_allclose(losses.total, total, rtol=1e-4)
    assert new == {}


def test_a_high_inverse_temperature_gives_the_loss_of_k_means(start, x, architecture):
    params = params_of(start, DKM(inverse_temperature=1e6))
    z = np.asarray(embed(params, x[:12], architecture=architecture))
    squares = ((z[:, None] - np.asarray(start[1])) ** 2).sum(axis=2)
    losses, _ = DKM().loss(params, batch_of(x[:12]), architecture=architecture)
    expected = WEIGHTS @ squares.min(axis=1)
    np.testing.assert_allclose(losses.clustering, expected, rtol=1e-4)


def test_gradients_are_finite_where_an_embedding_is_a_centroid(start, x, architecture):
    z = embed(start[0], x[:4], architecture=architecture)
    params = params_of((start[0], z, None), DKM())

    def total(params):
        batch = batch_of(x[:12])
        return DKM().loss(params, batch, architecture=architecture)[0].total

    chex.assert_tree_all_finite(jax.grad(total)(params))


def test_padding_counts_nothing(start, x, architecture):
    params = params_of(start, SOFT)
    one, other = (
        SOFT.loss(params, batch_of(rows), architecture=architecture)[0]
        for rows in (x[:12], x[:12].at[8:].set(100.0))
    )
    chex.assert_trees_all_close(one, other, rtol=1e-6)


# The schedule.


def alphas_by_loops(number):
    """The n-th value is that before times 2^(1 / log(n)^2), from 0.1."""
    values = [0.1]
    for n in range(2, number + 1):
        values.append(values[-1] * 2 ** (1 / np.log(n) ** 2))
    return values


def test_annealing_keeps_each_value_for_its_steps():
    params = ANNEALED.extra_params(jnp.zeros((4, 3)))
    seen = []
    for _ in range(15):
        seen.append(float(params["shared"]["inverse_temperature"]))
        params = ANNEALED.annealed(params)
    expected = np.repeat(alphas_by_loops(5), 3)
    np.testing.assert_allclose(seen, expected, rtol=1e-5)


def test_training_anneals_on_from_a_saved_state(start, x, architecture):
    settings = {"architecture": architecture, "objective": ANNEALED, "config": CONFIG}
    state = init_state(KEY, *start, objective=ANNEALED, config=CONFIG)
    kept = []

    def on_interval(state, _):
        kept.append(jax.tree.map(jnp.copy, state))

    whole = train(state, x, **settings, on_interval=on_interval)
    rest = train(kept[3], x, **settings)
    np.testing.assert_array_equal(rest.q, whole.q)
    assert float(whole.state.params["shared"]["steps"]) == 100
    last = whole.state.params["shared"]["inverse_temperature"]
    np.testing.assert_allclose(last, alphas_by_loops(34)[-1], rtol=1e-4)


# In training.


@pytest.mark.parametrize("objective", [HARD, ANNEALED], ids=["constant", "annealed"])
def test_dkm_clusters_blobs(start, x, blobs, architecture, objective):
    settings = {"architecture": architecture, "objective": objective, "config": CONFIG}
    state = init_state(KEY, *start, objective=objective, config=CONFIG)
    result = train(state, x, **settings)
    assert clustering_accuracy(blobs[1], result.labels) > 0.95
    assert result.history.loss[-1] < result.history.loss[0]


def test_model_predicts_as_training_ended(start, x, architecture, tmp_path):
    settings = {"architecture": architecture, "objective": ANNEALED, "config": CONFIG}
    state = init_state(KEY, *start, objective=ANNEALED, config=CONFIG)
    result = reorder_clusters(train(state, x, **settings), np.array([2, 0, 3, 1]))
    path = tmp_path / "model.safetensors"
    model.save(path, result.state.params, architecture=architecture)
    q = model.predict_proba(model.load(path), x)
    # The mean of the centroids, which distances refer to, is rounded in their order.
    np.testing.assert_allclose(q, result.q, atol=1e-6)
    np.testing.assert_array_equal(q.argmax(axis=1), result.labels)


def test_reseeding_leaves_the_inverse_temperature(start, x, architecture):
    far = (start[0], start[1].at[0].set(1e4), start[2])
    state = init_state(KEY, *far, objective=ANNEALED, config=CONFIG)
    state = state._replace(params=state.params | ANNEALED.annealed(state.params))
    z = embed(state.params, x, architecture=architecture)
    labels = jnp.asarray(np.arange(len(x)) % 3 + 1, jnp.int32)
    move = partial(reseed_clusters, below=0.1, objective=ANNEALED)
    moved, count = move(state, z, labels)
    assert int(count) == 1
    chex.assert_trees_all_equal(moved.params["shared"], state.params["shared"])


# Settings.


def test_dkm_is_an_objective_that_hashes_by_value():
    assert isinstance(DKM(), Objective)
    assert DKM() == DKM() and hash(DKM()) == hash(DKM())
    assert DKM() != SOFT


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_dkm_rejects_an_inverse_temperature(value):
    with pytest.raises(ValueError, match=f"inverse_temperature must be .*got {value}"):
        DKM(inverse_temperature=value)


def test_dkm_rejects_other_settings():
    with pytest.raises(ValueError, match="clustering_weight must be .*got -1"):
        DKM(clustering_weight=-1)
    with pytest.raises(ValueError, match="anneal_every must be .*got 0"):
        DKM(anneal_every=0)
