"""Autoencoders of images: convolutions, images in their own shape, batch normalization."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from layers_by_loops import convolved, with_random_biases

from dec_jax.networks.architecture import (
    Architecture,
    Conv2D,
    Deconv2D,
    Dense,
    MaxPool2D,
    Reshape,
    dense_architecture,
)
from dec_jax.networks.autoencoder import (
    decode,
    decode_batch,
    embed,
    encode,
    encode_batch,
    encode_distribution,
    init_params,
    reconstruct,
)

KEY = jax.random.key(0)
IMAGES = np.random.default_rng(1).random((6, 5 * 7 * 2), np.float32)
CONV = Architecture(
    (5, 7, 2), (Conv2D(3, (2, 3)), MaxPool2D((2, 2)), Dense(4, "linear"))
)


def test_convolutional_encoder_equals_its_layers_by_loops():
    params = with_random_biases(init_params(KEY, CONV))
    encoder = params["encoder"]
    images = IMAGES.reshape(6, 5, 7, 2).astype(np.float64)
    filtered = np.maximum(convolved(images, encoder["conv_0"]), 0)
    # 4 x 5 pixels pooled by 2 x 2: the last column fills no window.
    pooled = filtered[:, :, :4].reshape(6, 2, 2, 2, 2, 3).max(axis=(2, 4))
    dense = encoder["dense_2"]
    expected = pooled.reshape(6, -1) @ np.asarray(dense["kernel"], np.float64)
    z = encode(params, jnp.asarray(IMAGES), architecture=CONV)
    np.testing.assert_allclose(z, expected + np.asarray(dense["bias"]), atol=1e-5)


def test_convolutional_decoder_equals_its_layers_by_loops():
    params = with_random_biases(init_params(KEY, CONV))
    decoder = params["decoder"]
    z = np.random.default_rng(2).normal(size=(6, 4)).astype(np.float32)
    dense = decoder["dense_0"]
    hidden = z @ np.asarray(dense["kernel"], np.float64) + np.asarray(dense["bias"])
    small = np.maximum(hidden, 0).reshape(6, 2, 2, 3)
    # Replicated by 2 x 2 to 4 x 4, and the last column once more for 4 x 5.
    large = small.repeat(2, axis=1).repeat(2, axis=2)
    large = np.concatenate([large, large[:, :, -1:]], axis=2)
    kernel = np.asarray(decoder["conv_2"]["kernel"], np.float64)
    image = np.zeros((6, 5, 7, 2)) + np.asarray(decoder["conv_2"]["bias"], np.float64)
    for i in range(4):
        for j in range(5):
            image[:, i : i + 2, j : j + 3] += np.einsum(
                "bf,hwcf->bhwc", large[:, i, j], kernel
            )
    x_hat = decode(params, jnp.asarray(z), architecture=CONV)
    np.testing.assert_allclose(x_hat, image.reshape(6, -1), atol=1e-5)


@pytest.mark.parametrize(
    "layers",
    [
        (Conv2D(3, (2, 2), strides=(2, 3), padding="same"), Dense(2)),
        (Conv2D(3, (3, 3), padding="full"), MaxPool2D((3, 2), "same"), Dense(2)),
        (Dense(12), Reshape((2, 3, 2)), Deconv2D(2, (3, 2), strides=(2, 2))),
        (MaxPool2D((2, 2)), Dense(3), Reshape((3, 1, 1))),
    ],
)
def test_reconstruction_has_the_shape_of_the_input(layers):
    architecture = Architecture((5, 7, 2), layers)
    params = init_params(KEY, architecture)
    x_hat = reconstruct(params, jnp.asarray(IMAGES), architecture=architecture)
    assert x_hat.shape == IMAGES.shape
    z = encode(params, jnp.asarray(IMAGES), architecture=architecture)
    assert z.shape == (6, architecture.embedding_dim)


@pytest.mark.parametrize("transposed", [False, True])
def test_initializer_of_a_convolution_counts_the_inputs_of_a_unit(transposed):
    # he_normal: variance 2 / fan_in, fan_in = inputs of one output value.
    layers = (Conv2D(40, (3, 3)), Dense(2))
    architecture = Architecture((8, 8, 30), layers, initializer="he_normal")
    params = init_params(KEY, architecture)
    conv = params["decoder"]["conv_1"] if transposed else params["encoder"]["conv_0"]
    fan_in = 9 * (40 if transposed else 30)
    np.testing.assert_allclose(
        np.asarray(conv["kernel"]).std(), math.sqrt(2 / fan_in), rtol=0.03
    )


GRAY = Architecture((5, 7, 1), (Conv2D(3, (2, 3)), Dense(4, "linear")))
ROWS = dense_architecture(70, hidden=(6,), embedding_dim=4)
COLOR_ROWS = Architecture((70,), (Dense(4, "linear"),), variational=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(
    ("architecture", "shape"),
    [
        (CONV, (6, 5, 7, 2)),
        (GRAY, (12, 5, 7)),
        (GRAY, (12, 5, 7, 1)),
        (ROWS, (6, 10, 7)),
        (COLOR_ROWS, (6, 5, 7, 2)),
    ],
)
def test_images_in_their_own_shape_equal_flat_rows(architecture, shape, dtype):
    images = (200 * IMAGES.reshape(shape)).astype(dtype)
    params = init_params(KEY, architecture)
    functions = [encode, embed, reconstruct]
    functions += [encode_distribution] * architecture.variational
    for function in functions:
        found, expected = (
            function(params, x, architecture=architecture)
            for x in (images, images.reshape(shape[0], -1))
        )
        chex.assert_trees_all_equal(found, expected)


@pytest.mark.parametrize(
    ("architecture", "shape"),
    [
        (CONV, (6, 7, 5, 2)),
        (CONV, (6, 2, 5, 7)),
        (CONV, (6, 10, 7)),
        (GRAY, (6, 7, 5)),
        (GRAY, (6, 1, 5, 7)),
        (ROWS, (6, 9, 7)),
        (ROWS, (1, 6, 5, 7, 2)),
    ],
)
@pytest.mark.parametrize("function", [encode, embed, reconstruct])
def test_network_rejects_images_of_another_shape(function, architecture, shape):
    params = init_params(KEY, architecture)
    rule = r"x must have shape \[n, \d+\](?: or \[n, 5, 7, [12]\])?, the architecture's"
    with pytest.raises(ValueError, match=rf"{rule} .*got shape \({shape[0]}, .*; resh"):
        function(params, jnp.zeros(shape), architecture=architecture)


# Batch normalization.


NORMAL = Architecture(
    (4, 4, 1), (Conv2D(2, (2, 2)), Conv2D(3, (3, 3), "linear")), batch_norm=True
)
SQUARES = np.random.default_rng(3).random((9, 16), np.float32)


def normalized_by_loops(x, mean, variance, layer):
    scale, bias = (np.asarray(layer[name], np.float64) for name in ("scale", "bias"))
    return (x - mean) / np.sqrt(variance + 1e-5) * scale + bias


def test_batch_norm_stands_after_each_convolution_but_the_last():
    params = init_params(KEY, NORMAL)
    assert set(params["batch_stats"]["encoder"]) == {"batch_norm_0", "batch_norm_1"}
    assert set(params["batch_stats"]["decoder"]) == {"batch_norm_0"}


def test_batch_norm_in_training_takes_the_mean_and_variance_of_the_batch():
    params = with_random_biases(init_params(KEY, NORMAL))
    x = SQUARES.reshape(9, 4, 4, 1).astype(np.float64)
    for index, activation in enumerate([lambda v: np.maximum(v, 0), lambda v: v]):
        x = convolved(x, params["encoder"][f"conv_{index}"])
        mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
        layer = params["encoder"][f"batch_norm_{index}"]
        x = activation(normalized_by_loops(x, mean, variance, layer))
    z = encode_batch(params, jnp.asarray(SQUARES), architecture=NORMAL).output
    np.testing.assert_allclose(z, x.reshape(9, -1), rtol=1e-4, atol=1e-4)


def test_batch_norm_moves_its_running_averages_by_a_tenth():
    params = init_params(KEY, NORMAL)
    x = convolved(
        SQUARES.reshape(9, 4, 4, 1).astype(np.float64), params["encoder"]["conv_0"]
    )
    moved = encode_batch(params, jnp.asarray(SQUARES), architecture=NORMAL).batch_stats
    np.testing.assert_allclose(
        moved["batch_norm_0"]["mean"], 0.1 * x.mean(axis=(0, 1, 2)), rtol=1e-4
    )
    np.testing.assert_allclose(
        moved["batch_norm_0"]["var"], 0.9 + 0.1 * x.var(axis=(0, 1, 2)), rtol=1e-4
    )


def test_batch_norm_in_evaluation_does_not_look_at_the_other_samples():
    # Training normalizes by the batch; q, p and labels come from the running averages.
    params = init_params(KEY, NORMAL)
    one = encode(params, jnp.asarray(SQUARES[:1]), architecture=NORMAL)
    all_of_them = encode(params, jnp.asarray(SQUARES), architecture=NORMAL)
    np.testing.assert_allclose(one[0], all_of_them[0], atol=1e-6)
    in_training = encode_batch(params, jnp.asarray(SQUARES), architecture=NORMAL)
    assert not np.allclose(in_training.output[0], all_of_them[0], atol=1e-2)


@pytest.mark.parametrize("run", [encode_batch, decode_batch])
def test_evaluation_mode_equals_the_plain_functions(run):
    params = init_params(KEY, NORMAL)
    plain, width = (encode, 16) if run is encode_batch else (decode, 3)
    x = jnp.asarray(SQUARES[:, :width])
    found = run(params, x, architecture=NORMAL, train=False)
    np.testing.assert_array_equal(found.output, plain(params, x, architecture=NORMAL))
    assert found.batch_stats == {}


def test_batch_norm_over_devices_equals_one_device():
    params = init_params(KEY, NORMAL)
    x = jnp.asarray(SQUARES[:8])
    alone = encode_batch(params, x, architecture=NORMAL)
    spread = jax.pmap(
        lambda x: encode_batch(params, x, architecture=NORMAL, axis_name="data"),
        axis_name="data",
    )(x.reshape(4, 2, 16))
    np.testing.assert_allclose(
        np.asarray(spread.output).reshape(8, -1), alone.output, atol=1e-5
    )
    first = jax.tree.map(lambda a: np.asarray(a)[0], spread.batch_stats)
    chex.assert_trees_all_close(first, alone.batch_stats, rtol=1e-4)
