"""IMSAT (Hu et al., 2017) and IIC (Ji et al., 2019): mutual information."""

from dataclasses import replace
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dec_jax import model
from dec_jax.clustering.assignment import equidistant_centroids
from dec_jax.evaluation.metrics import clustering_accuracy
from dec_jax.networks.architecture import dense_architecture
from dec_jax.networks.autoencoder import encode, init_params
from dec_jax.objectives import IIC, IMSAT, Batch, Objective
from dec_jax.objectives.iic import mutual_information
from dec_jax.objectives.imsat import adversarial, nearest_distances
from dec_jax.training.augmentation import Augmentation
from dec_jax.training.cluster import train, train_step
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.state import TrainConfig, init_state

KEY = jax.random.key(0)
WEIGHTS = np.array([1 / 8] * 8 + [0] * 4, np.float32)
LEARNER = dense_architecture(8, hidden=(16,), embedding_dim=4)
NORMALIZED = replace(LEARNER, batch_norm=True)
CONFIG = TrainConfig(
    20,
    15,
    batch_size=50,
    tolerance=0.0,
    optimizer=Optimizer("adam", 1e-2),
    augmentation=Augmentation(masking=0.1),
)
SMOOTH = IMSAT(information_weight=0.3, marginal_weight=2.0, radius=0.0)
by_objective = pytest.mark.parametrize(
    "objective", [IMSAT(), IIC()], ids=["imsat", "iic"]
)


def new_params(architecture=LEARNER, objective=SMOOTH):
    """A new network with one output for each cluster."""
    drawn = init_params(KEY, architecture)
    centroids = equidistant_centroids(4)
    learner = {name: drawn[name] for name in drawn if name != "decoder"}
    return learner | objective.extra_params(centroids) | {"centroids": centroids}


def batch_of(x, view=None):
    return Batch(
        x if view is None else view,
        jnp.ones((len(x), 4)) / 4,
        jnp.asarray(WEIGHTS),
        KEY,
        x,
    )


def q_by_loops(params, x):
    """The softmax of the network's outputs."""
    logits = np.asarray(encode(params, x, architecture=LEARNER), np.float64)
    return np.stack([np.exp(row) / np.exp(row).sum() for row in logits])


def entropy_by_loops(p):
    return -sum(value * np.log(value) for value in p if value > 0)


def test_q_of_a_new_network_is_the_softmax_of_its_outputs(x):
    params = new_params()
    z = encode(params, x[:12], architecture=LEARNER)
    q = IMSAT().assignment(params, z)
    np.testing.assert_allclose(q, q_by_loops(params, x[:12]), rtol=1e-4, atol=1e-6)


# IMSAT.


def test_imsat_loss_equals_loops(x):
    params, view = new_params(), x[:12] + 0.3
    losses, _ = SMOOTH.loss(params, batch_of(x[:12], view), architecture=LEARNER)
    q, moved = q_by_loops(params, x[:12]), q_by_loops(params, view)
    divergence = conditional = 0.0
    for i in range(12):
        conditional += WEIGHTS[i] * entropy_by_loops(q[i])
        for j in range(4):
            divergence += WEIGHTS[i] * q[i, j] * np.log(q[i, j] / moved[i, j])
    marginal = entropy_by_loops(WEIGHTS @ q)
    expected = divergence - 0.3 * (2.0 * marginal - conditional)
    np.testing.assert_allclose(losses.total, expected, rtol=1e-4)
    assert losses.clustering == losses.total and losses.reconstruction == 0


def test_imsat_holds_the_first_q_of_the_divergence_fixed(x):
    # Only the second argument of KL(q(x) || q(T(x))) is trained.
    objective, view = replace(SMOOTH, information_weight=0.0), x[:12] + 0.3
    params = new_params()
    fixed = jnp.asarray(q_by_loops(params, x[:12]), jnp.float32)

    def total(params):
        batch = batch_of(x[:12], view)
        return objective.loss(params, batch, architecture=LEARNER)[0].total

    def cross_entropy(params):
        z = encode(params, view, architecture=LEARNER)
        log_q = jnp.log(objective.assignment(params, z))
        return -jnp.asarray(WEIGHTS) @ (fixed * log_q).sum(axis=1)

    chex.assert_trees_all_close(
        jax.grad(total)(params)["encoder"],
        jax.grad(cross_entropy)(params)["encoder"],
        rtol=1e-3,
        atol=1e-5,
    )


def test_nearest_distances_equal_loops():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 3)).astype(np.float32)
    x[5] = x[0]  # it pads the batch
    counted = np.array([True] * 5 + [False])
    expected = [
        min(np.linalg.norm(x[i] - x[j]) for j in range(5) if j != i) for i in range(6)
    ]
    found = nearest_distances(jnp.asarray(x), jnp.asarray(counted))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_nearest_distance_of_a_single_sample_is_0():
    found = nearest_distances(jnp.ones((1, 3)), jnp.array([True]))
    np.testing.assert_array_equal(found, [0.0])


def test_adversarial_step_has_its_length_and_the_steepest_direction():
    # The loss sum_i i a . x_i grows most along a, whatever i.
    direction = jnp.array([3.0, 0.0, -4.0])
    x = jax.random.normal(KEY, (4, 3))

    def loss(x):
        return (jnp.arange(4.0) * (x @ direction)).sum()

    lengths = jnp.array([1.0, 2.0, 0.0, 0.5])
    moved = adversarial(KEY, x, lengths, loss) - x
    expected = np.outer(lengths, direction / 5)
    expected[0] = 0  # no gradient, no step
    np.testing.assert_allclose(moved, expected, atol=1e-5)


def test_adversarial_step_raises_the_loss_more_than_random_ones(x):
    params = new_params()
    plain = SMOOTH.loss(params, batch_of(x[:12]), architecture=LEARNER)[0].total

    def raised(view):
        batch = batch_of(x[:12], view)
        return SMOOTH.loss(params, batch, architecture=LEARNER)[0].total - plain

    objective = replace(SMOOTH, radius=0.5)
    losses, _ = objective.loss(params, batch_of(x[:12]), architecture=LEARNER)
    lengths = 0.5 * nearest_distances(x[:12], jnp.asarray(WEIGHTS) > 0)
    rises = []
    for key in jax.random.split(KEY, 10):
        step = jax.random.normal(key, (12, 8))
        step = step / jnp.linalg.norm(step, axis=1)[:, None]
        rises.append(raised(x[:12] + lengths[:, None] * step))
    assert losses.total - plain > max(rises)


# IIC.


def information_by_loops(joint):
    joint = (joint + joint.T) / 2
    marginal = joint.sum(axis=0)
    total = 0.0
    for i in range(len(joint)):
        for j in range(len(joint)):
            if joint[i, j] > 0:
                ratio = joint[i, j] / (marginal[i] * marginal[j])
                total += joint[i, j] * np.log(ratio)
    return total


def test_iic_loss_equals_loops(x):
    params, view = new_params(objective=IIC()), x[:12] + 0.3
    losses, _ = IIC().loss(params, batch_of(x[:12], view), architecture=LEARNER)
    q, moved = q_by_loops(params, x[:12]), q_by_loops(params, view)
    joint = sum(WEIGHTS[i] * np.outer(q[i], moved[i]) for i in range(12))
    expected = -information_by_loops(joint)
    np.testing.assert_allclose(losses.total, expected, rtol=1e-3, atol=1e-6)


def test_mutual_information_by_hand():
    same = mutual_information(jnp.eye(4) / 4)
    np.testing.assert_allclose(same, np.log(4), rtol=1e-5)
    independent = mutual_information(jnp.full((4, 4), 1 / 16))
    np.testing.assert_allclose(independent, 0, atol=1e-6)
    # A weight of 2 counts both marginals twice.
    weighted = mutual_information(jnp.eye(4) / 4, marginal_weight=2.0)
    np.testing.assert_allclose(weighted, 3 * np.log(4), rtol=1e-5)


def test_iic_rejects_samples_that_are_not_augmented(x):
    message = "IIC needs two views of each sample, .*augmentation of TrainConfig"
    with pytest.raises(ValueError, match=message):
        IIC().loss(new_params(), batch_of(x[:12]), architecture=LEARNER)


# Both.


@by_objective
def test_gradients_are_finite_where_q_underflows(x, objective):
    params = new_params(objective=objective)
    params["shared"] = {"inverse_temperature": jnp.float32(1e4)}

    def total(params):
        batch = batch_of(x[:12], x[:12] + 0.3)
        return objective.loss(params, batch, architecture=LEARNER)[0].total

    chex.assert_tree_all_finite(jax.value_and_grad(total)(params))


@by_objective
def test_padding_counts_nothing(x, objective):
    params = new_params(NORMALIZED, objective)
    one, other = (
        objective.loss(params, batch_of(rows, rows + 0.3), architecture=NORMALIZED)
        for rows in (x[:12], x[:12].at[8:].set(100.0))
    )
    chex.assert_trees_all_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "objective",
    [SMOOTH, pytest.param(IIC(), marks=pytest.mark.slow)],
    ids=["imsat", "iic"],
)
def test_step_over_devices_equals_one_device(x, objective):
    # The marginal is that of the whole batch. No noise: each device draws its own.
    config = replace(
        CONFIG, optimizer=Optimizer("sgd", 0.1), augmentation=Augmentation(masking=1e-9)
    )
    state = init_state(
        KEY,
        new_params(),
        equidistant_centroids(4),
        jnp.zeros(64, jnp.int32),
        objective=objective,
        config=config,
    )
    step = partial(train_step, architecture=LEARNER, objective=objective, config=config)
    p = jnp.full((64, 4), 0.25)
    whole, losses = jax.jit(step)(state, x[:64], p, jnp.full(64, 1 / 64))
    spread, mean_losses = jax.pmap(
        partial(step, axis_name="devices"),
        "devices",
        in_axes=(None, 0, 0, 0),
        out_axes=None,
    )(
        state,
        x[:64].reshape(4, 16, 8),
        p.reshape(4, 16, 4),
        jnp.full((4, 16), 1 / 16),
    )
    chex.assert_trees_all_close(mean_losses, losses, rtol=1e-4, atol=1e-6)
    chex.assert_trees_all_close(spread.params, whole.params, atol=1e-5)


# With the plain information, this IIC leaves a cluster empty.
@pytest.mark.parametrize(
    "objective", [IMSAT(), IIC(marginal_weight=2.0)], ids=["imsat", "iic"]
)
def test_a_new_network_clusters_blobs(x, blobs, objective, tmp_path):
    state = init_state(
        KEY,
        new_params(),
        equidistant_centroids(4),
        jnp.zeros(200, jnp.int32),
        objective=objective,
        config=CONFIG,
    )
    result = train(state, x, architecture=LEARNER, objective=objective, config=CONFIG)
    assert clustering_accuracy(blobs[1], result.labels) > 0.95
    path = tmp_path / "model.safetensors"
    model.save(path, result.state.params, architecture=LEARNER)
    q = model.predict_proba(model.load(path), x)
    np.testing.assert_array_equal(q, result.q)


@by_objective
def test_objective_hashes_by_value(objective):
    same = type(objective)()
    assert isinstance(objective, Objective)
    assert same == objective and hash(same) == hash(objective)
    assert replace(same, marginal_weight=0.5) != objective


@pytest.mark.parametrize(
    ("method", "name"),
    [
        (IMSAT, "information_weight"),
        (IMSAT, "marginal_weight"),
        (IMSAT, "radius"),
        (IIC, "marginal_weight"),
    ],
)
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_objective_rejects_a_setting(method, name, value):
    with pytest.raises(ValueError, match=f"{name} must be finite .*got {value}"):
        method(**{name: value})
