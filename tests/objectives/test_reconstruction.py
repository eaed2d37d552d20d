from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dec_jax.networks.architecture import (
    Architecture,
    Conv2D,
    Dense,
    dense_architecture,
)
from dec_jax.networks.autoencoder import (
    decode,
    encode,
    encode_distribution,
    init_params,
)
from dec_jax.objectives import Batch
from dec_jax.objectives.reconstruction import (
    PretrainObjective,
    Reconstruction,
    Variational,
    bernoulli_loss,
    gaussian_kl,
    sample_vae,
)

B, D, E = 12, 8, 3
TINY = dense_architecture(D, hidden=(16,), embedding_dim=E)
VAE = Architecture((D,), (Dense(16), Dense(E, "linear")), "sigmoid", variational=True)
RNG = np.random.default_rng(0)
X = RNG.random((B, D)).astype(np.float32)
LOGITS = RNG.normal(size=(B, D)).astype(np.float32)
MEAN, LOG_VARIANCE = (RNG.normal(size=(B, E)).astype(np.float32) for _ in range(2))
WEIGHTS = np.array([1 / 8] * 8 + [0] * 4, np.float32)


def bernoulli_loss_by_loops(x, logits, weights):
    loss = 0.0
    for i in range(len(x)):
        for pixel, logit in zip(x[i], logits[i], strict=True):
            p = 1 / (1 + np.exp(-float(logit)))
            loss -= weights[i] * (pixel * np.log(p) + (1 - pixel) * np.log(1 - p))
    return loss


def gaussian_kl_by_loops(mean, log_variance, weights):
    """Appendix B of Kingma and Welling (2014), with sigma^2 written out."""
    loss = 0.0
    for i in range(len(mean)):
        for m, lv in zip(mean[i], log_variance[i], strict=True):
            variance = np.exp(float(lv))
            loss -= weights[i] * 0.5 * (1 + np.log(variance) - float(m) ** 2 - variance)
    return loss


def loss_of(objective, params, architecture, key=None, **options):
    key = jax.random.key(1) if key is None else key
    batch = batch_of(X, key)
    return objective.loss(params, batch, architecture=architecture, **options)[0]


def batch_of(x, key=None):
    """A batch whose target is its input."""
    key = jax.random.key(0) if key is None else key
    return Batch(jnp.asarray(x), jnp.asarray(x), jnp.asarray(WEIGHTS), key)


@pytest.fixture(scope="module")
def params():
    return init_params(jax.random.key(0), TINY)


@pytest.fixture(scope="module")
def vae_params():
    return init_params(jax.random.key(0), VAE)


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_bernoulli_loss_equals_loops(transform):
    loss = transform(bernoulli_loss)(
        jnp.asarray(X), jnp.asarray(LOGITS), weights=jnp.asarray(WEIGHTS)
    )
    np.testing.assert_allclose(
        loss, bernoulli_loss_by_loops(X, LOGITS, WEIGHTS), rtol=1e-5
    )


def test_bernoulli_loss_of_certain_logits_is_finite():
    x = jnp.array([[0.0, 1.0, 0.0, 1.0]])
    logits = jnp.array([[-500.0, 500.0, 500.0, -500.0]])
    np.testing.assert_allclose(bernoulli_loss(x, logits), 1000, rtol=1e-6)


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_gaussian_kl_equals_loops(transform):
    loss = transform(gaussian_kl)(
        jnp.asarray(MEAN), jnp.asarray(LOG_VARIANCE), weights=jnp.asarray(WEIGHTS)
    )
    expected = gaussian_kl_by_loops(MEAN, LOG_VARIANCE, WEIGHTS)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_gaussian_kl_of_the_prior_is_zero():
    assert gaussian_kl(jnp.zeros((4, E)), jnp.zeros((4, E))) == 0


def test_reconstruction_is_the_mean_squared_error(params):
    z = encode(params, jnp.asarray(X), architecture=TINY)
    error = (np.asarray(decode(params, z, architecture=TINY)) - X) ** 2
    expected = sum(w * row.mean() for w, row in zip(WEIGHTS, error, strict=True))
    loss = loss_of(Reconstruction(), params, TINY)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_sparsity_adds_the_l1_norm_of_z_averaged_over_samples(params):
    z = np.asarray(encode(params, jnp.asarray(X), architecture=TINY))
    norm = sum(w * np.abs(row).sum() for w, row in zip(WEIGHTS, z, strict=True))
    plain, sparse = (
        loss_of(Reconstruction(sparsity=s), params, TINY) for s in (0.0, 0.5)
    )
    np.testing.assert_allclose(sparse - plain, 0.5 * norm, rtol=1e-4)


@pytest.mark.parametrize("where", ["input_dropout", "hidden_dropout"])
def test_dropout_is_drawn_from_the_key_and_off_in_evaluation(params, where):
    objective = Reconstruction(**{where: 0.5})
    keys = jax.random.split(jax.random.key(3), 2)
    first, other = (loss_of(objective, params, TINY, key) for key in keys)
    evaluated = loss_of(objective, params, TINY, keys[0], train=False)
    assert first != other
    assert evaluated == loss_of(Reconstruction(), params, TINY)


def test_input_dropout_scales_up_what_is_kept():
    # Trap P2: with the identity as encoder and decoder, the loss shows the corruption.
    linear = Architecture((D,), (Dense(D, "linear"),))
    eye = {"dense_0": {"kernel": jnp.eye(D), "bias": jnp.zeros(D)}}
    loss = loss_of(
        Reconstruction(input_dropout=0.2), {"encoder": eye, "decoder": eye}, linear
    )
    key = jax.random.split(jax.random.key(1))[0]
    kept = np.asarray(jax.random.bernoulli(key, 0.8, X.shape))
    error = (np.where(kept, X / 0.8, 0) - X) ** 2
    np.testing.assert_allclose(loss, WEIGHTS @ error.mean(axis=1), rtol=1e-5)


def test_variational_loss_equals_its_slow_copy(vae_params):
    key = jax.random.key(5)
    mean, log_variance = encode_distribution(
        vae_params, jnp.asarray(X), architecture=VAE
    )
    noise = np.asarray(jax.random.normal(key, (B, E)))
    z = np.asarray(mean) + np.sqrt(np.exp(np.asarray(log_variance))) * noise
    p = np.asarray(decode(vae_params, jnp.asarray(z), architecture=VAE))
    logits = np.log(p / (1 - p))
    expected = bernoulli_loss_by_loops(X, logits, WEIGHTS)
    expected += gaussian_kl_by_loops(
        np.asarray(mean), np.asarray(log_variance), WEIGHTS
    )
    loss = loss_of(Variational(), vae_params, VAE, key)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)


@pytest.mark.parametrize("bias", [-1e4, 88.0, 1e4, 1e30])
def test_variational_loss_and_gradient_are_finite_at_any_log_variance(vae_params, bias):
    last = vae_params["encoder"]["dense_1"]
    extreme = last | {"bias": last["bias"].at[E:].set(bias)}
    params = vae_params | {"encoder": vae_params["encoder"] | {"dense_1": extreme}}
    chex.assert_tree_all_finite(
        jax.value_and_grad(partial(loss_of, Variational(), architecture=VAE))(params)
    )


def test_encode_of_a_variational_network_is_the_mean(vae_params):
    mean, _ = encode_distribution(vae_params, jnp.asarray(X), architecture=VAE)
    z = encode(vae_params, jnp.asarray(X), architecture=VAE)
    np.testing.assert_array_equal(z, mean)


def test_sample_gives_probabilities_that_depend_on_the_key(vae_params):
    one, same, other = (
        sample_vae(jax.random.key(seed), vae_params, 5, architecture=VAE)
        for seed in (0, 0, 1)
    )
    assert one.shape == (5, D)
    assert float(one.min()) > 0 and float(one.max()) < 1
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)


def test_encode_distribution_rejects_a_plain_network(params):
    with pytest.raises(ValueError, match="needs an architecture with variational=True"):
        encode_distribution(params, jnp.asarray(X), architecture=TINY)


@pytest.mark.parametrize("kind", [Reconstruction, Variational])
def test_pretraining_objectives_are_equal_and_hash_by_value(kind):
    assert kind() == kind() and hash(kind()) == hash(kind())
    assert isinstance(kind(), PretrainObjective)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"sparsity": -1.0}, "sparsity must be finite and at least 0, got -1"),
        ({"sparsity": float("nan")}, "sparsity must be finite"),
        ({"input_dropout": 1.0}, r"input_dropout must be in \[0, 1\), got 1"),
        ({"hidden_dropout": -0.1}, r"hidden_dropout must be in \[0, 1\), got -0.1"),
    ],
)
def test_reconstruction_rejects_a_value(options, message):
    with pytest.raises(ValueError, match=message):
        Reconstruction(**options)


# Batch normalization.

CONV = Architecture(
    (4, 4, 1), (Conv2D(2, (2, 2)), Conv2D(3, (3, 3), "linear")), batch_norm=True
)
IMAGES = RNG.random((B, 16)).astype(np.float32)


def test_padding_does_not_reach_the_loss_nor_the_running_averages():
    params = init_params(jax.random.key(0), CONV)
    padded = IMAGES.copy()
    padded[8:] = 1e3
    results = [
        Reconstruction().loss(params, batch_of(x), architecture=CONV)
        for x in (IMAGES, padded)
    ]
    chex.assert_trees_all_close(*results, rtol=1e-5)


def test_evaluation_moves_no_running_average():
    params = init_params(jax.random.key(0), CONV)
    _, new = Reconstruction().loss(
        params, batch_of(IMAGES), architecture=CONV, train=False
    )
    assert new["batch_stats"] == {"encoder": {}, "decoder": {}}
