import json
from dataclasses import replace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dec_jax.clustering.kmeans import k_means
from dec_jax.data.load import load_dataset
from dec_jax.networks.architecture import (
    Architecture,
    Conv2D,
    Dense,
    dense_architecture,
)
from dec_jax.networks.architecture_json import architecture_to_json, load_architecture
from dec_jax.networks.autoencoder import encode, init_params, reconstruct
from dec_jax.networks.convolution import FUNCTIONS, geometry, in_bfloat16
from dec_jax.networks.precision import bfloat16_product
from dec_jax.training.cluster import train
from dec_jax.training.pretrain import PretrainConfig, pretrain_end_to_end
from dec_jax.training.state import TrainConfig, init_state

RNG = np.random.default_rng(0)


def draw(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def rounded(x):
    """To bfloat16 by hand: the nearest of the numbers with 8 significant bits."""
    mantissa, exponent = np.frexp(np.asarray(x, np.float64))
    return np.ldexp(np.rint(mantissa * 256) / 256, exponent)


def test_rounded_is_bfloat16():
    x = draw(1000)
    np.testing.assert_array_equal(rounded(x), np.asarray(x, jnp.bfloat16))


# One row, one column, widths that fill no register.
SHAPES = [(7, 5, 3), (1, 4, 1), (33, 16, 17), (16, 1, 8)]


class Product(chex.TestCase):
    @chex.variants(without_jit=True, with_jit=True)
    def test_matches_rounded_operands_in_double_precision(self):
        for b, i, o in SHAPES:
            x, kernel = map(jnp.asarray, (draw(b, i), draw(i, o)))
            found = self.variant(bfloat16_product)(x, kernel)
            assert found.dtype == jnp.float32
            expected = rounded(x) @ rounded(kernel)
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)

    @chex.variants(without_jit=True, with_jit=True)
    def test_gradients_match_rounded_operands_in_double_precision(self):
        for b, i, o in SHAPES:
            shapes = (b, i), (i, o), (b, o)
            x, kernel, cotangent = (jnp.asarray(draw(*shape)) for shape in shapes)

            def pulled_back(x, kernel, cotangent):
                return jax.vjp(bfloat16_product, x, kernel)[1](cotangent)

            of_x, of_kernel = self.variant(pulled_back)(x, kernel, cotangent)
            assert of_x.dtype == of_kernel.dtype == jnp.float32
            np.testing.assert_allclose(
                of_x, rounded(cotangent) @ rounded(kernel).T, rtol=1e-5, atol=1e-5
            )
            np.testing.assert_allclose(
                of_kernel, rounded(x).T @ rounded(cotangent), rtol=1e-5, atol=1e-5
            )


def test_gradients_map_over_seeds():
    x, kernels = jnp.asarray(draw(7, 5)), jnp.asarray(draw(4, 5, 3))

    def loss(kernel):
        return (bfloat16_product(x, kernel) ** 2).sum()

    found = jax.vmap(jax.grad(loss))(kernels)
    expected = jnp.stack([jax.grad(loss)(kernel) for kernel in kernels])
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "architecture",
    [
        dense_architecture(36, hidden=(20,), embedding_dim=4),
        Architecture((6, 6, 1), (Conv2D(5, (3, 3)), Dense(4, "linear"))),
    ],
    ids=["dense", "convolutional"],
)
def test_network_in_bfloat16_is_close_and_its_parameters_stay_float32(architecture):
    params = init_params(jax.random.key(0), architecture)
    x = RNG.random((8, 36)).astype(np.float32)
    low = replace(architecture, precision="bfloat16")
    found = reconstruct(params, x, architecture=low)
    expected = reconstruct(params, x, architecture=architecture)
    assert not np.array_equal(found, expected)
    np.testing.assert_allclose(found, expected, atol=0.03 * np.abs(expected).max())

    def loss(params):
        return (reconstruct(params, x, architecture=low) ** 2).mean()

    gradients = jax.grad(loss)(params)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradients)} == {jnp.dtype("float32")}
    chex.assert_tree_all_finite(gradients)


def test_convolutions_of_other_devices_round_what_they_multiply():
    sizes = geometry((6, 6), (3, 3), (1, 1), "valid")
    x, kernel = jnp.asarray(draw(2, 6, 6, 3)), jnp.asarray(draw(3, 3, 3, 5))
    native = FUNCTIONS["y"][1]
    found = in_bfloat16(lambda x, kernel: native(sizes, x, kernel))(x, kernel)
    assert found.dtype == jnp.float32
    expected = native(
        sizes, *(a.astype("bfloat16").astype("float32") for a in (x, kernel))
    )
    # The result itself is rounded too.
    np.testing.assert_allclose(found, expected, rtol=2**-8, atol=1e-6)


@pytest.mark.slow
def test_labels_agree_with_those_of_float32():
    """From the same start, 99 % of the labels; what differs is at the edges."""
    digits = load_dataset("digits")
    network = dense_architecture(64, hidden=(64, 64), input_scale=1 / 16)
    key = jax.random.key(0)
    pretraining = PretrainConfig(epochs=20, batch_size=64)
    params, _ = pretrain_end_to_end(
        key, digits.x, architecture=network, config=pretraining
    )
    start = k_means(key, encode(params, digits.x, architecture=network), 10)
    config = TrainConfig(update_interval=10, max_intervals=10)
    state = init_state(key, params, start.centroids, start.labels, config=config)
    found, low = (
        train(
            state,
            digits.x,
            architecture=replace(network, precision=precision),
            config=config,
        )
        for precision in ("float32", "bfloat16")
    )
    assert np.mean(found.labels == low.labels) >= 0.99
    assert not np.array_equal(found.q, low.q)


def test_precision_travels_with_the_file(tmp_path):
    network = dense_architecture(8, hidden=(4,))
    low = replace(network, precision="bfloat16")
    for architecture in (network, low):
        path = tmp_path / "network.json"
        path.write_text(json.dumps(architecture_to_json(architecture)))
        assert load_architecture(path) == architecture


def test_architecture_rejects_an_unknown_precision():
    with pytest.raises(ValueError, match=r"Unknown precision 'float16'.*bfloat16"):
        Architecture((3,), (Dense(2),), precision="float16")
