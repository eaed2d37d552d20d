import math
from dataclasses import replace
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dec_jax.networks import autoencoder
from dec_jax.networks.architecture import (
    INITIALIZERS,
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


def with_random_biases(params, seed=0):
    """Biases start at 0, where an omitted one would not show."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda a: a if a.ndim == 2 else jnp.asarray(rng.normal(size=a.shape), a.dtype),
        params,
    )


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


# Convolutional networks.

IMAGES = np.random.default_rng(1).random((6, 5 * 7 * 2), np.float32)
CONV = Architecture(
    (5, 7, 2), (Conv2D(3, (2, 3)), MaxPool2D((2, 2)), Dense(4, "linear"))
)


def convolution_by_loops(images, layer, strides=(1, 1)):
    """Valid convolution, one output pixel at a time."""
    kernel, bias = (np.asarray(layer[name], np.float64) for name in ("kernel", "bias"))
    kh, kw, _, features = kernel.shape
    n, height, width, _ = images.shape
    rows, columns = (height - kh) // strides[0] + 1, (width - kw) // strides[1] + 1
    out = np.zeros((n, rows, columns, features))
    for i in range(rows):
        for j in range(columns):
            top, left = i * strides[0], j * strides[1]
            window = images[:, top : top + kh, left : left + kw]
            for f in range(features):
                out[:, i, j, f] = (window * kernel[..., f]).sum(axis=(1, 2, 3)) + bias[
                    f
                ]
    return out


def test_convolutional_encoder_equals_its_layers_by_loops():
    params = with_random_biases(init_params(KEY, CONV))
    encoder = params["encoder"]
    images = IMAGES.reshape(6, 5, 7, 2).astype(np.float64)
    filtered = np.maximum(convolution_by_loops(images, encoder["conv_0"]), 0)
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
        x = convolution_by_loops(x, params["encoder"][f"conv_{index}"])
        mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
        layer = params["encoder"][f"batch_norm_{index}"]
        x = activation(normalized_by_loops(x, mean, variance, layer))
    z = encode_batch(params, jnp.asarray(SQUARES), architecture=NORMAL).output
    np.testing.assert_allclose(z, x.reshape(9, -1), rtol=1e-4, atol=1e-4)


def test_batch_norm_moves_its_running_averages_by_a_tenth():
    params = init_params(KEY, NORMAL)
    x = convolution_by_loops(
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
