import math
from dataclasses import replace
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from layers_by_loops import with_random_biases

from dec_jax.networks import autoencoder
from dec_jax.networks.architecture import (
    INITIALIZERS,
    Architecture,
    Conv2D,
    Dense,
    dense_architecture,
)
from dec_jax.networks.autoencoder import (
    decode,
    embed,
    encode,
    init_params,
    reconstruct,
    rows_at_once,
    scale_input,
)

KEY = jax.random.key(0)
TINY = dense_architecture(8, hidden=(16,), embedding_dim=3)
X = np.random.default_rng(0).normal(size=(12, 8)).astype(np.float32)
ACTIVATIONS = {
    "linear": lambda v: v,
    "relu": lambda v: max(v, 0.0),
    "elu": lambda v: v if v > 0 else math.exp(v) - 1,
    "sigmoid": lambda v: 1 / (1 + math.exp(-v)),
    "tanh": math.tanh,
    # Hendrycks and Gimpel (2016), the approximation by tanh.
    "gelu": lambda v: (
        v / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3)))
    ),
}


def forward_by_loops(params, x, activations):
    """Layer by layer and unit by unit, in float64."""
    rows = []
    for row in np.asarray(x, np.float64):
        for index, activation in enumerate(activations):
            kernel = np.asarray(params[f"dense_{index}"]["kernel"], np.float64)
            bias = np.asarray(params[f"dense_{index}"]["bias"], np.float64)
            units = [row @ column + b for column, b in zip(kernel.T, bias, strict=True)]
            row = np.array([ACTIVATIONS[activation](unit) for unit in units])
        rows.append(row)
    return np.array(rows)


@pytest.fixture(scope="module")
def params():
    return with_random_biases(init_params(KEY, TINY))


class TestUnderTransforms(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True, with_device=True, with_pmap=True)
    def test_encode_equals_the_layers_by_loops(self):
        params = with_random_biases(init_params(KEY, TINY))
        z = self.variant(partial(encode, architecture=TINY))(params, jnp.asarray(X))
        expected = forward_by_loops(params["encoder"], X, ["relu", "linear"])
        np.testing.assert_allclose(z, expected, atol=1e-5)

    @chex.variants(with_jit=True, without_jit=True, with_device=True, with_pmap=True)
    def test_decode_equals_the_layers_by_loops(self):
        params = with_random_biases(init_params(KEY, TINY))
        z = jnp.asarray(X[:, :3])
        x_hat = self.variant(partial(decode, architecture=TINY))(params, z)
        expected = forward_by_loops(params["decoder"], z, ["relu", "linear"])
        np.testing.assert_allclose(x_hat, expected, atol=1e-5)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_encode_applies_each_activation(activation):
    layers = (Dense(4, activation), Dense(3, activation))
    architecture = Architecture((8,), layers)
    params = with_random_biases(init_params(KEY, architecture))
    z = encode(params, jnp.asarray(X), architecture=architecture)
    expected = forward_by_loops(params["encoder"], X, [activation] * 2)
    np.testing.assert_allclose(z, expected, atol=1e-5)


def test_embedding_and_reconstruction_take_both_signs(params):
    # Trap P8: an embedding through a ReLU or a sigmoid has one.
    z = encode(params, jnp.asarray(X), architecture=TINY)
    x_hat = decode(params, 10 * z, architecture=TINY)
    assert (z < 0).any() and (z > 0).any()
    assert (x_hat < 0).any() and (x_hat > 1).any()


def test_reconstruct_is_decode_of_encode(params):
    x = jnp.asarray(X)
    z = encode(params, x, architecture=TINY)
    np.testing.assert_allclose(
        reconstruct(params, x, architecture=TINY),
        decode(params, z, architecture=TINY),
        rtol=1e-6,
    )


def test_encode_passes_over_other_entries(params):
    x = jnp.asarray(X)
    more = params | {"centroids": jnp.zeros((2, 3))}
    np.testing.assert_array_equal(
        encode(more, x, architecture=TINY), encode(params, x, architecture=TINY)
    )


def test_encode_of_stacked_params_under_vmap_equals_each():
    stacked = jax.vmap(lambda key: init_params(key, TINY))(jax.random.split(KEY, 2))
    x = jnp.asarray(X)
    together = jax.vmap(lambda params: encode(params, x, architecture=TINY))(stacked)
    for i in range(2):
        alone = jax.tree.map(lambda a, i=i: a[i], stacked)
        np.testing.assert_allclose(
            together[i], encode(alone, x, architecture=TINY), atol=1e-5
        )


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_integers_are_scaled_and_floats_are_not(params, dtype):
    x = np.random.default_rng(0).integers(0, 256, (12, 8)).astype(dtype)
    np.testing.assert_allclose(
        encode(params, jnp.asarray(x), architecture=TINY),
        encode(params, jnp.asarray(x.astype(np.float32) / 255), architecture=TINY),
        atol=1e-6,
    )


def test_scale_input_multiplies_by_input_scale():
    architecture = dense_architecture(2, hidden=(), embedding_dim=1, input_scale=0.5)
    x = jnp.array([[0, 255]], jnp.uint8)
    np.testing.assert_array_equal(scale_input(x, architecture), [[0.0, 127.5]])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_scale_input_normalizes_each_sample(dtype):
    architecture = dense_architecture(3, hidden=(), embedding_dim=1)
    x = np.array([[3, 0, 4], [200, 100, 50], [0, 0, 0], [0, 0, 1]], dtype)
    expected = x.astype(np.float64)
    for row in (0, 1, 3):
        expected[row] /= (sum(value**2 for value in expected[row]) / 3) ** 0.5
    normalized = replace(architecture, normalize=True)
    np.testing.assert_allclose(scale_input(x, normalized), expected, rtol=1e-6)
    # The network sees nothing else of it.
    params = init_params(KEY, architecture)
    np.testing.assert_allclose(
        encode(params, x, architecture=normalized),
        encode(params, expected.astype(np.float32), architecture=architecture),
        rtol=1e-5,
        atol=1e-6,
    )


def test_init_params_names_its_tree():
    shapes = jax.tree.map(lambda a: a.shape, init_params(KEY, TINY))
    assert shapes == {
        "encoder": {
            "dense_0": {"kernel": (8, 16), "bias": (16,)},
            "dense_1": {"kernel": (16, 3), "bias": (3,)},
        },
        "decoder": {
            "dense_0": {"kernel": (3, 16), "bias": (16,)},
            "dense_1": {"kernel": (16, 8), "bias": (8,)},
        },
    }


def test_init_params_are_float32():
    assert all(a.dtype == jnp.float32 for a in jax.tree.leaves(init_params(KEY, TINY)))


def test_init_params_depend_on_the_key_only():
    once, again = (init_params(KEY, TINY) for _ in range(2))
    other = init_params(jax.random.key(1), TINY)
    chex.assert_trees_all_equal(once, again)
    assert not np.array_equal(
        once["encoder"]["dense_0"]["kernel"], other["encoder"]["dense_0"]["kernel"]
    )


def test_init_params_draws_each_layer_by_itself():
    square = dense_architecture(4, hidden=(4, 4), embedding_dim=4)
    kernels = [a for a in jax.tree.leaves(init_params(KEY, square)) if a.ndim == 2]
    assert len({np.asarray(kernel).tobytes() for kernel in kernels}) == 6


def test_init_params_is_traced_once_for_equal_architectures():
    before = autoencoder._init_params._cache_size()
    for _ in range(2):
        init_params(KEY, dense_architecture(9, hidden=(5,), embedding_dim=2))
    assert autoencoder._init_params._cache_size() == before + 1


WIDE_IN, WIDE_OUT = 400, 300
SPREADS = {
    "glorot_uniform": math.sqrt(2 / (WIDE_IN + WIDE_OUT)),
    "he_normal": math.sqrt(2 / WIDE_IN),
    "lecun_normal": math.sqrt(1 / WIDE_IN),
    "fan_in_uniform": math.sqrt(1 / (3 * WIDE_IN)),
    "xie_normal": 0.01,
}


def wide_params(initializer):
    architecture = Architecture((WIDE_IN,), (Dense(WIDE_OUT),), initializer=initializer)
    return init_params(KEY, architecture)["encoder"]["dense_0"]


@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_initializer_has_the_spread_of_its_formula(initializer):
    kernel = np.asarray(wide_params(initializer)["kernel"])
    np.testing.assert_allclose(kernel.std(), SPREADS[initializer], rtol=0.01)
    np.testing.assert_allclose(kernel.mean(), 0, atol=0.01 * SPREADS[initializer])


@pytest.mark.parametrize("initializer", ["glorot_uniform", "fan_in_uniform"])
def test_uniform_initializer_fills_its_range(initializer):
    largest = np.abs(wide_params(initializer)["kernel"]).max()
    np.testing.assert_allclose(largest, math.sqrt(3) * SPREADS[initializer], rtol=1e-3)


@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_biases_start_at_zero(initializer):
    np.testing.assert_array_equal(wide_params(initializer)["bias"], np.zeros(WIDE_OUT))


@pytest.mark.parametrize("shape", [(12, 7), (12, 9), (8,), (12, 2, 5), (12, 2, 2, 1)])
def test_encode_rejects_another_width(params, shape):
    with pytest.raises(ValueError, match=r"x must have shape \[n, 8\].*got shape"):
        encode(params, jnp.zeros(shape), architecture=TINY)


@pytest.mark.parametrize("shape", [(12, 8), (3,)])
def test_decode_rejects_another_width(params, shape):
    with pytest.raises(ValueError, match=r"z must have shape \[n, 3\].*got shape"):
        decode(params, jnp.zeros(shape), architecture=TINY)


def test_embed_equals_encode_of_everything():
    params = init_params(KEY, TINY)
    x = np.random.default_rng(0).normal(size=(5000, 8)).astype(np.float32)
    np.testing.assert_allclose(
        embed(params, x, architecture=TINY),
        encode(params, jnp.asarray(x), architecture=TINY),
        atol=1e-6,
    )


def test_rows_at_once_keeps_large_images_within_memory():
    large = Architecture((128, 128, 1), (Conv2D(20, (9, 9)), Dense(2)))
    # 120 x 120 places of 20 filters of 81 values, 4 bytes each.
    assert rows_at_once(large) * 120 * 120 * 20 * 81 <= 2**26
    assert rows_at_once(TINY) == 2048
