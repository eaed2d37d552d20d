from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dec_jax.clustering.assignment import log_soft_assignment, target_distribution
from dec_jax.networks.architecture import dense_architecture
from dec_jax.networks.autoencoder import decode, encode, init_params
from dec_jax.objectives import (
    DCN,
    DEC,
    IDEC,
    Batch,
    Objective,
    clustering_loss,
    kmeans_loss,
    update_centroids,
)
from dec_jax.objectives.reconstruction import reconstruction_loss

B, D, K = 12, 8, 4
KEY = jax.random.key(0)
TINY = dense_architecture(D, hidden=(16,), embedding_dim=3)
RNG = np.random.default_rng(0)
X, X_HAT = (RNG.normal(size=(B, D)).astype(np.float32) for _ in range(2))
Z = 2 * RNG.normal(size=(B, 3)).astype(np.float32)
CENTROIDS = RNG.normal(size=(K, 3)).astype(np.float32)
P, Q = (RNG.dirichlet(np.ones(K), B).astype(np.float32) for _ in range(2))
WEIGHTS = np.array([1 / 8] * 8 + [0] * 4, np.float32)

transforms = chex.variants(
    with_jit=True, without_jit=True, with_device=True, with_pmap=True
)


def reconstruction_loss_by_loops(x, x_hat, weights):
    losses = [
        sum((float(a) - float(b)) ** 2 for a, b in zip(row, row_hat, strict=True)) / D
        for row, row_hat in zip(x, x_hat, strict=True)
    ]
    return sum(w * loss for w, loss in zip(weights, losses, strict=True))


def clustering_loss_by_loops(p, q, weights):
    """Equation 2 of Xie et al. (2016): summed over clusters, averaged over samples."""
    loss = 0.0
    for i in range(len(p)):
        for j in range(p.shape[1]):
            if p[i, j] > 0:
                loss += weights[i] * p[i, j] * np.log(float(p[i, j]) / float(q[i, j]))
    return loss


def gradients_by_loops(z, centroids, p, alpha):
    """Equations 4 and 5 of Xie et al. (2016), divided by n: the loss is a mean."""
    z, centroids = z.astype(np.float64), centroids.astype(np.float64)
    z_gradient, centroid_gradient = np.zeros_like(z), np.zeros_like(centroids)
    for i in range(len(z)):
        distances = [((z[i] - mu) ** 2).sum() for mu in centroids]
        kernel = np.array([(1 + d / alpha) ** (-(alpha + 1) / 2) for d in distances])
        q = kernel / kernel.sum()
        for j in range(len(centroids)):
            pull = (alpha + 1) / alpha / (1 + distances[j] / alpha)
            step = pull * (p[i, j] - q[j]) * (z[i] - centroids[j]) / len(z)
            z_gradient[i] += step
            centroid_gradient[j] -= step
    return z_gradient, centroid_gradient


@pytest.fixture(scope="module")
def params():
    return init_params(jax.random.key(0), TINY) | {"centroids": jnp.asarray(CENTROIDS)}


@pytest.fixture(scope="module")
def terms(params):
    """Mean squared error and KL(P || Q) of the batch, from the parts."""
    z = encode(params, jnp.asarray(X), architecture=TINY)
    q = np.exp(log_soft_assignment(z, params["centroids"]))
    x_hat = np.asarray(decode(params, z, architecture=TINY))
    return (
        reconstruction_loss_by_loops(X, x_hat, WEIGHTS),
        clustering_loss_by_loops(P, q, WEIGHTS),
    )


def batch(p=P):
    return Batch(jnp.asarray(X), jnp.asarray(p), jnp.asarray(WEIGHTS), KEY)


def loss(objective, params):
    """The losses alone; what moves by rule is tested by itself."""
    params = params | objective.extra_params(params["centroids"])
    return objective.loss(params, batch(), architecture=TINY)[0]


class TestUnderTransforms(chex.TestCase):
    @transforms
    def test_reconstruction_loss_equals_loops(self):
        loss = self.variant(reconstruction_loss)(jnp.asarray(X), jnp.asarray(X_HAT))
        expected = reconstruction_loss_by_loops(X, X_HAT, np.full(B, 1 / B))
        np.testing.assert_allclose(loss, expected, rtol=1e-5)

    @transforms
    def test_clustering_loss_matches_equation_2(self):
        loss = self.variant(clustering_loss)(jnp.asarray(P), jnp.log(jnp.asarray(Q)))
        expected = clustering_loss_by_loops(P, Q, np.full(B, 1 / B))
        np.testing.assert_allclose(loss, expected, rtol=1e-4)


def test_reconstruction_loss_weighs_samples():
    loss = reconstruction_loss(
        jnp.asarray(X), jnp.asarray(X_HAT), weights=jnp.asarray(WEIGHTS)
    )
    expected = reconstruction_loss_by_loops(X, X_HAT, WEIGHTS)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_clustering_loss_weighs_samples():
    loss = clustering_loss(
        jnp.asarray(P), jnp.log(jnp.asarray(Q)), weights=jnp.asarray(WEIGHTS)
    )
    expected = clustering_loss_by_loops(P, Q, WEIGHTS)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)


def test_clustering_loss_by_hand():
    p, q = jnp.array([[1.0, 0.0], [0.5, 0.5]]), jnp.array([[0.5, 0.5], [0.5, 0.5]])
    loss = clustering_loss(p, jnp.log(q))
    np.testing.assert_allclose(loss, np.log(2) / 2, rtol=1e-6)


def test_clustering_loss_of_equal_distributions_is_zero():
    q = jnp.asarray(Q)
    np.testing.assert_allclose(clustering_loss(q, jnp.log(q)), 0, atol=1e-7)


def test_clustering_loss_does_not_fall_with_the_number_of_samples():
    # The loss is averaged over samples, and summed (not averaged) over clusters.
    p, log_q = jnp.asarray(P), jnp.log(jnp.asarray(Q))
    twice = clustering_loss(jnp.tile(p, (2, 1)), jnp.tile(log_q, (2, 1)))
    np.testing.assert_allclose(twice, clustering_loss(p, log_q), rtol=1e-6)


def test_clustering_loss_of_a_p_of_zero_has_a_finite_value_and_gradient():
    # p log p is 0 at p = 0, but its naive gradient is NaN.
    p = jnp.array([[1.0, 0.0, 0.0]])
    logits = jnp.array([[0.3, -80.0, 0.2]])
    value, gradient = jax.value_and_grad(
        lambda logits: clustering_loss(p, jax.nn.log_softmax(logits, axis=1))
    )(logits)
    chex.assert_tree_all_finite((value, gradient))


@pytest.mark.parametrize("alpha", [1.0, 3.0])
def test_gradients_match_equations_4_and_5(alpha):
    def loss(z, centroids):
        log_q = log_soft_assignment(z, centroids, alpha=alpha)
        return clustering_loss(jnp.asarray(P), log_q)

    gradients = jax.grad(loss, (0, 1))(jnp.asarray(Z), jnp.asarray(CENTROIDS))
    expected = gradients_by_loops(Z, CENTROIDS, P, alpha)
    chex.assert_trees_all_close(
        gradients, jax.tree.map(np.float32, expected), atol=1e-5
    )


def test_idec_weighs_the_clustering_and_not_the_reconstruction(params, terms):
    # Swapped weights give a loss that looks right.
    reconstruction, clustering = terms
    losses = loss(IDEC(clustering_weight=0.3), params)
    np.testing.assert_allclose(
        losses.total, reconstruction + 0.3 * clustering, rtol=1e-4
    )
    np.testing.assert_allclose(losses.clustering, clustering, rtol=1e-4)
    np.testing.assert_allclose(losses.reconstruction, reconstruction, rtol=1e-4)


def test_idec_takes_the_papers_gamma_by_default():
    assert IDEC().clustering_weight == 0.1


def test_dec_is_the_clustering_loss_alone(params, terms):
    losses = loss(DEC(), params)
    np.testing.assert_allclose(losses.total, terms[1], rtol=1e-4)
    np.testing.assert_allclose(losses.clustering, terms[1], rtol=1e-4)
    assert losses.reconstruction == 0


@pytest.mark.parametrize("method", [DEC, IDEC])
def test_alpha_reaches_the_loss(params, method):
    # An alpha that only q uses, and not the loss, goes unnoticed at alpha = 1.
    one, three = (loss(method(alpha=a), params).clustering for a in (1.0, 3.0))
    assert abs(one - three) > 1e-3


def test_dec_gives_the_decoder_no_gradient(params):
    gradient = jax.grad(lambda params: loss(DEC(), params).total)(params)
    for leaf in jax.tree.leaves(gradient["decoder"]):
        np.testing.assert_array_equal(leaf, np.zeros_like(leaf))


@pytest.mark.parametrize("objective", [DEC(), IDEC(), DCN()])
def test_gradient_is_finite_where_an_embedding_is_a_centroid(params, objective):
    z = encode(params, jnp.asarray(X), architecture=TINY)
    on_samples = params | {"centroids": z[:K]}
    gradient = jax.grad(lambda params: loss(objective, params).total)(on_samples)
    chex.assert_tree_all_finite(gradient)


@pytest.mark.parametrize("objective", [DEC(), IDEC()])
def test_loss_of_one_cluster_has_no_clustering(params, objective):
    one = params | {"centroids": params["centroids"][:1]}
    losses, _ = objective.loss(one, batch(p=jnp.ones((B, 1))), architecture=TINY)
    np.testing.assert_allclose(losses.clustering, 0, atol=1e-7)


@pytest.mark.parametrize("objective", [DEC(), IDEC(), DCN()])
def test_losses_are_the_same_under_jit_and_vmap(params, objective):
    jitted = jax.jit(partial(loss, objective))(params)
    stacked = jax.tree.map(lambda a: jnp.stack([a, 0.5 * a]), params)
    mapped = jax.vmap(partial(loss, objective))(stacked)
    eager = loss(objective, params)
    chex.assert_trees_all_close(jitted, eager, rtol=1e-5, atol=1e-7)
    first = jax.tree.map(lambda a: a[0], mapped)
    chex.assert_trees_all_close(first, eager, rtol=1e-5, atol=1e-7)


def test_self_training_lowers_the_divergence_from_its_target():
    z, centroids = jnp.asarray(Z), jnp.asarray(CENTROIDS)
    p = target_distribution(jnp.exp(log_soft_assignment(z, centroids)))

    def divergence(z):
        return clustering_loss(p, log_soft_assignment(z, centroids))

    assert divergence(z - 0.1 * jax.grad(divergence)(z)) < divergence(z)


@pytest.mark.parametrize("method", [DEC, IDEC, DCN])
def test_objectives_are_equal_and_hash_by_value(method):
    assert method() == method() and hash(method()) == hash(method())
    assert method() != method(alpha=2.0)
    assert isinstance(method(), Objective)


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("method", [DEC, IDEC, DCN])
def test_objective_rejects_an_alpha_without_a_kernel(method, alpha):
    with pytest.raises(ValueError, match=f"alpha must be .*above 0, got {alpha}"):
        method(alpha=alpha)


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
@pytest.mark.parametrize("method", [IDEC, DCN])
def test_objective_rejects_a_clustering_weight(method, weight):
    with pytest.raises(ValueError, match=f"clustering_weight must be .*got {weight}"):
        method(clustering_weight=weight)


@pytest.mark.parametrize("count", [0.0, -1.0, float("nan"), float("inf")])
def test_dcn_rejects_an_initial_count(count):
    with pytest.raises(ValueError, match=f"initial_count must be .*got {count}"):
        DCN(initial_count=count)


# DCN: Yang et al. (2017).


def update_centroids_by_loops(centroids, counts, z, labels, counted):
    """Equation 8: one sample after the other, each step 1 / count."""
    centroids, counts = centroids.astype(np.float64), counts.astype(np.float64)
    for z_i, label, counts_too in zip(z, labels, counted, strict=True):
        if counts_too:
            counts[label] += 1
            centroids[label] += (z_i - centroids[label]) / counts[label]
    return centroids, counts


LABELS = np.array([0, 1, 0, 0, 3, 3, 1, 0, 3, 1, 1, 0], np.int32)  # none in cluster 2
COUNTS = np.array([100, 1, 5, 20], np.float32)


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_update_centroids_equals_one_sample_after_the_other(order):
    moved = update_centroids(
        *map(jnp.asarray, (CENTROIDS, COUNTS, Z, LABELS, WEIGHTS > 0))
    )
    rows = (Z[order], LABELS[order], (WEIGHTS > 0)[order])
    expected = update_centroids_by_loops(CENTROIDS, COUNTS, *rows)
    np.testing.assert_allclose(moved[0], expected[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(moved[1], expected[1])


def test_update_centroids_leaves_an_empty_cluster_where_it_is():
    moved, counts = update_centroids(
        *map(jnp.asarray, (CENTROIDS, COUNTS, Z, LABELS, WEIGHTS > 0))
    )
    np.testing.assert_array_equal(moved[2], CENTROIDS[2])
    assert counts[2] == COUNTS[2]


def test_update_centroids_over_devices_equals_one_device():
    def split(array):
        return jnp.asarray(array).reshape(4, -1, *array.shape[1:])

    rows = (Z, LABELS, WEIGHTS > 0)
    spread = jax.pmap(
        partial(update_centroids, axis_name="data"),
        axis_name="data",
        in_axes=(None, None, 0, 0, 0),
        out_axes=None,
    )(jnp.asarray(CENTROIDS), jnp.asarray(COUNTS), *map(split, rows))
    alone = update_centroids(*map(jnp.asarray, (CENTROIDS, COUNTS, *rows)))
    chex.assert_trees_all_close(spread, alone, rtol=1e-5)


def test_kmeans_loss_equals_loops():
    # The distance is summed over d, not averaged.
    expected = sum(
        w
        * sum((float(a) - float(b)) ** 2 for a, b in zip(z, CENTROIDS[j], strict=True))
        for w, z, j in zip(WEIGHTS, Z, LABELS, strict=True)
    )
    arrays = map(jnp.asarray, (Z, CENTROIDS, LABELS))
    loss = kmeans_loss(*arrays, weights=jnp.asarray(WEIGHTS))
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_dcn_matches_algorithm_1(params, terms):
    z = np.asarray(encode(params, jnp.asarray(X), architecture=TINY))
    nearest = ((z[:, None] - CENTROIDS) ** 2).sum(axis=2).argmin(axis=1)
    counts = np.full(K, 7.0)
    centroids, counts = update_centroids_by_loops(
        CENTROIDS, counts, z, nearest, WEIGHTS > 0
    )
    distances = ((z - centroids[nearest]) ** 2).sum(axis=1)
    objective = DCN(clustering_weight=0.3, initial_count=7.0)
    all_params = params | objective.extra_params(params["centroids"])
    losses, moved = objective.loss(all_params, batch(), architecture=TINY)
    np.testing.assert_allclose(losses.clustering, WEIGHTS @ distances, rtol=1e-4)
    np.testing.assert_allclose(losses.reconstruction, terms[0], rtol=1e-4)
    total = terms[0] + 0.15 * (WEIGHTS @ distances)
    np.testing.assert_allclose(losses.total, total, rtol=1e-4)
    np.testing.assert_allclose(moved["centroids"], centroids, rtol=1e-4)
    np.testing.assert_allclose(moved["counts"], counts)


def test_dcn_moves_no_centroid_by_its_gradient():
    assert "centroids" not in DCN.trained
