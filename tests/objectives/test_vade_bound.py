"""The bound of VaDE and its gradient, on one batch."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from variational_networks import BERNOULLI, GAUSSIAN, KEY, D, E, with_log_variance

from dec_jax import model
from dec_jax.clustering.mixture import Mixture
from dec_jax.networks.autoencoder import encode_distribution, init_params
from dec_jax.objectives import Batch, Objective
from dec_jax.objectives.reconstruction import (
    MeanReconstruction,
    PretrainObjective,
    likelihood_loss,
)
from dec_jax.objectives.vade import VaDE, mixture_kl, prior

B, K = 12, 4
over_outputs = pytest.mark.parametrize(
    "network", [BERNOULLI, GAUSSIAN], ids=["bernoulli", "gaussian"]
)
RNG = np.random.default_rng(0)
X = RNG.random((B, D)).astype(np.float32)
P = np.full((B, K), 1 / K, np.float32)
WEIGHTS = np.array([1 / 8] * 8 + [0] * 4, np.float32)
MEAN, LOG_VARIANCE = (RNG.normal(size=(B, E)).astype(np.float32) for _ in range(2))
PRIOR = {
    "centroids": jnp.asarray(RNG.normal(size=(K, E)), jnp.float32),
    "log_variances": jnp.asarray(RNG.normal(size=(K, E)), jnp.float32),
    "log_weights": jnp.asarray(RNG.normal(size=K), jnp.float32),
}


@pytest.fixture(scope="module")
def params():
    return init_params(KEY, BERNOULLI) | PRIOR


def loss(params, network=BERNOULLI, key=KEY, p=P, weights=WEIGHTS):
    batch = Batch(*map(jnp.asarray, (X, p, weights)), key)
    return VaDE().loss(params, batch, architecture=network)[0]


def gamma_by_loops(z, log_weights, means, log_variances):
    """Equation 16 for one z, as probabilities in float64."""
    shares = []
    for c in range(K):
        share = np.exp(log_weights[c])
        for j in range(E):
            variance = np.exp(log_variances[c, j])
            square = (z[j] - means[c, j]) ** 2 / variance
            share *= np.exp(-0.5 * square) / np.sqrt(2 * np.pi * variance)
        shares.append(share)
    return np.array(shares) / sum(shares)


def kl_by_loops(gamma, mean, log_variance, log_weights, means, log_variances):
    """The terms that equation 12 of Jiang et al. (2017) takes off a sample's likelihood."""
    kl = 0.0
    for c in range(K):
        for j in range(E):
            variance = np.exp(log_variances[c, j])
            square = (mean[j] - means[c, j]) ** 2
            term = log_variances[c, j] + np.exp(log_variance[j]) / variance
            kl += 0.5 * gamma[c] * (term + square / variance)
        kl -= gamma[c] * np.log(np.exp(log_weights[c]) / gamma[c])
    for j in range(E):
        kl -= 0.5 * (1 + log_variance[j])
    return kl


def decoded_by_numpy(params, z):
    """The decoder before its last activation."""
    layers = params["decoder"]
    first, last = (layers[name] for name in sorted(layers))
    hidden = np.maximum(z @ first["kernel"] + first["bias"], 0)
    return hidden @ last["kernel"] + last["bias"]


def loss_by_loops(params, key, network):
    """Equation 12 in float64: mean reconstruction and mean divergence of the batch."""
    mean, log_variance = (
        np.asarray(a, np.float64)
        for a in encode_distribution(params, jnp.asarray(X), architecture=network)
    )
    noise = np.asarray(jax.random.normal(key, (B, E)), np.float64)
    z = mean + np.exp(0.5 * log_variance) * noise
    output = decoded_by_numpy(jax.tree.map(np.float64, params), z)
    log_weights = np.float64(params["log_weights"])
    log_weights = log_weights - np.log(np.exp(log_weights).sum())
    clusters = (log_weights, *map(np.float64, (PRIOR["centroids"],)))
    clusters = (*clusters, np.float64(params["log_variances"]))
    reconstruction = kl = 0.0
    for i in range(B):
        for x, o in zip(X[i], output[i], strict=True):
            if network is GAUSSIAN:
                reconstruction += WEIGHTS[i] * (x - o) ** 2
            else:
                p = 1 / (1 + np.exp(-o))
                reconstruction -= WEIGHTS[i] * (x * np.log(p) + (1 - x) * np.log(1 - p))
        gamma = gamma_by_loops(z[i], *clusters)
        kl += WEIGHTS[i] * kl_by_loops(gamma, mean[i], log_variance[i], *clusters)
    return reconstruction, kl


@over_outputs
@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_loss_equals_its_slow_copy(params, network, transform):
    key = jax.random.key(5)
    losses = transform(partial(loss, network=network, key=key))(params)
    reconstruction, kl = loss_by_loops(params, key, network)
    np.testing.assert_allclose(losses.reconstruction, reconstruction, rtol=1e-4)
    np.testing.assert_allclose(losses.clustering, kl, rtol=1e-4)
    np.testing.assert_allclose(losses.total, reconstruction + kl, rtol=1e-4)


def test_loss_is_mapped_over_parameters(params):
    stacked = jax.tree.map(lambda a: jnp.stack([a, 0.5 * a]), params)
    mapped = jax.vmap(loss)(stacked)
    first = jax.tree.map(lambda a: a[0], mapped)
    chex.assert_trees_all_close(first, loss(params), rtol=1e-5)


def test_mixture_kl_of_a_single_cluster_that_is_the_posterior_is_zero():
    one = Mixture(jnp.zeros(1), jnp.asarray(MEAN[:1]), jnp.asarray(LOG_VARIANCE[:1]))
    given = jnp.asarray(MEAN[:1]), jnp.asarray(LOG_VARIANCE[:1])
    np.testing.assert_allclose(mixture_kl(jnp.zeros((1, 1)), *given, one), 0, atol=1e-6)


def test_mixture_kl_is_never_below_zero():
    log_gamma = jax.nn.log_softmax(
        jnp.asarray(RNG.normal(size=(B, K)), jnp.float32), axis=1
    )
    rows = (log_gamma, jnp.asarray(MEAN), jnp.asarray(LOG_VARIANCE))

    def of_one(*row):
        return mixture_kl(*(a[None] for a in row), prior(PRIOR))

    assert (jax.vmap(of_one)(*rows) > 0).all()


def test_the_target_is_not_looked_at(params):
    other = RNG.dirichlet(np.ones(K), B).astype(np.float32)
    assert loss(params) == loss(params, p=other)


def test_padding_is_not_looked_at(params):
    x = jnp.asarray(X)
    given = (jnp.asarray(P), jnp.asarray(WEIGHTS), KEY)
    batch = Batch(x.at[8:].set(1.0), *given)
    padded = VaDE().loss(params, batch, architecture=BERNOULLI)[0]
    chex.assert_trees_all_close(padded, loss(params), rtol=1e-6)


def test_each_key_draws_its_own_z(params):
    assert loss(params) == loss(params)
    assert loss(params) != loss(params, key=jax.random.key(1))


@partial(jax.jit, static_argnames="network")
def total_and_gradient(params, network=BERNOULLI):
    return jax.value_and_grad(lambda params: loss(params, network).total)(params)


@pytest.mark.parametrize("value", [-1e4, 1e4, 1e30])
@pytest.mark.parametrize("name", ["encoder", "log_variances", "log_weights"])
@over_outputs
def test_loss_and_gradient_are_finite_at_any_log_variance(params, network, name, value):
    if name == "encoder":
        extreme = with_log_variance(params, value)
    else:
        changed = params[name].at[0].set(value)
        extreme = params | {name: changed}
    chex.assert_tree_all_finite(total_and_gradient(extreme, network))


@pytest.mark.parametrize("distance", [1e8, 1e15, -1e25])
def test_loss_and_gradient_are_finite_however_far_the_clusters_are(params, distance):
    # Trap V1: in probability space each density is 0, and gamma 0 / 0.
    far = params | {"centroids": params["centroids"] + distance}
    far |= {"log_variances": jnp.full((K, E), -30.0)}
    chex.assert_tree_all_finite(total_and_gradient(far))


def test_gradient_reaches_network_and_prior(params):
    _, gradient = total_and_gradient(params)
    assert set(gradient) == set(VaDE.trained)
    for name in VaDE.trained:
        assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient[name])) > 0


def test_likelihood_of_a_certain_wrong_pixel_is_finite():
    x, output = jnp.array([[0.0, 1.0]]), jnp.array([[500.0, -500.0]])
    found = likelihood_loss(x, output, architecture=BERNOULLI)
    np.testing.assert_allclose(found, 1000, rtol=1e-6)


def test_vade_is_an_objective_that_hashes_by_value():
    assert isinstance(VaDE(), Objective)
    assert VaDE() == VaDE() and hash(VaDE()) == hash(VaDE())
    assert set(VaDE.fitted) <= set(VaDE.trained)


def test_model_rejects_half_a_mixture(params, tmp_path):
    half = {name: value for name, value in params.items() if name != "log_weights"}
    with pytest.raises(ValueError, match="and lack log_weights"):
        model.save(tmp_path / "model.safetensors", half, architecture=BERNOULLI)


def test_vade_takes_any_samples_with_a_linear_output():
    VaDE().check(np.full((2, D), -5.0), GAUSSIAN)


# Pretraining.


def mean_loss(params, network=BERNOULLI, **options):
    batch = Batch(*map(jnp.asarray, (X, X, WEIGHTS)), KEY)
    return MeanReconstruction().loss(params, batch, architecture=network, **options)[0]


@over_outputs
@pytest.mark.parametrize("train", [True, False])
def test_mean_reconstruction_is_the_bound_without_noise_and_prior(
    params, network, train
):
    quiet = with_log_variance(params, -30.0)
    expected = loss(quiet, network).reconstruction
    found = mean_loss(params, network, train=train)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_mean_reconstruction_leaves_the_log_variance_alone(params):
    network = {name: params[name] for name in ("encoder", "decoder")}
    gradient = jax.grad(mean_loss)(network)["encoder"]["dense_1"]
    assert np.abs(gradient["kernel"][:, :E]).max() > 0
    np.testing.assert_array_equal(gradient["kernel"][:, E:], np.zeros((16, E)))


def test_mean_reconstruction_is_a_pretraining_objective():
    assert isinstance(MeanReconstruction(), PretrainObjective)
