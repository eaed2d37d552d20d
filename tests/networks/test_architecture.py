import pytest

from dec_jax.networks.architecture import (
    Architecture,
    Conv2D,
    Deconv2D,
    Dense,
    MaxPool2D,
    Reshape,
    Unpool2D,
    dense_architecture,
    output_shape,
)

CONVOLUTIONAL = Architecture(
    (9, 8, 2),
    (
        Conv2D(4, (2, 3), "elu"),
        MaxPool2D((2, 2), "same"),
        Conv2D(5, (3, 3), "tanh", padding="same"),
        Dense(3, "linear"),
    ),
    "sigmoid",
    batch_norm=True,
)


def decoder_layers(architecture):
    return [step.layer for step in architecture.decoder_steps()]


def test_dense_architecture_is_the_papers_by_default():
    architecture = dense_architecture(784)
    widths = [500, 500, 2000, 10]
    assert [layer.features for layer in architecture.layers] == widths
    widths = [2000, 500, 500, 784]
    assert [layer.features for layer in decoder_layers(architecture)] == widths


def test_dense_architecture_has_a_linear_embedding_and_reconstruction():
    architecture = dense_architecture(784)
    assert architecture.layers[-1].activation == "linear"
    assert decoder_layers(architecture)[-1].activation == "linear"


def test_decoder_reverses_widths_and_activations():
    layers = (Dense(5, "relu"), Dense(4, "tanh"), Dense(2, "linear"))
    decoder = decoder_layers(Architecture((6,), layers, "sigmoid"))
    assert decoder == [Dense(4, "tanh"), Dense(5, "relu"), Dense(6, "sigmoid")]


def test_decoder_of_a_single_layer_is_the_reconstruction():
    architecture = Architecture((6,), (Dense(2, "linear"),))
    assert decoder_layers(architecture) == [Dense(6, "linear")]


def test_decoder_mirrors_every_layer_of_a_convolutional_network():
    assert decoder_layers(CONVOLUTIONAL) == [
        Dense(4 * 3 * 5, "tanh"),
        Deconv2D(4, (3, 3), "elu", padding="same"),
        Unpool2D((2, 2)),
        Deconv2D(2, (2, 3), "sigmoid"),
    ]


def test_decoder_goes_through_the_shapes_of_the_encoder_backwards():
    shapes = [(9, 8, 2), (8, 6, 4), (4, 3, 4), (4, 3, 5), (3,)]
    assert list(CONVOLUTIONAL.shapes) == shapes
    encoder, decoder = CONVOLUTIONAL.encoder_steps(), CONVOLUTIONAL.decoder_steps()
    assert [step.output_shape for step in encoder] == shapes[1:]
    assert [step.output_shape for step in decoder] == shapes[-2::-1]


def test_decoder_mirrors_strides_and_transposed_convolutions():
    layers = (
        Conv2D(4, (3, 3), strides=(2, 1)),
        Deconv2D(6, (2, 2), "elu", padding="full"),
        Dense(2, "linear"),
    )
    assert decoder_layers(Architecture((7, 7, 1), layers))[1:] == [
        Conv2D(4, (2, 2), "relu", padding="full"),
        Deconv2D(1, (3, 3), "linear", strides=(2, 1)),
    ]


@pytest.mark.parametrize("first", [Reshape((4, 6, 1)), MaxPool2D((1, 1))])
def test_reconstruction_has_the_output_activation_before_layers_without_weights(first):
    layers = (first, Conv2D(3, (3, 3)), Dense(2, "linear"))
    decoder = decoder_layers(Architecture((6, 4, 1), layers, "sigmoid"))
    assert decoder[1].activation == "sigmoid"
    assert not hasattr(decoder[2], "activation")


def test_decoder_undoes_a_reshape():
    layers = (Reshape((2, 3, 1)), Conv2D(1, (2, 2)), Dense(2))
    assert decoder_layers(Architecture((6,), layers))[-1] == Reshape((6,))


def test_batch_norm_follows_convolutions_but_not_the_reconstruction():
    encoder, decoder = CONVOLUTIONAL.encoder_steps(), CONVOLUTIONAL.decoder_steps()
    assert [step.batch_norm for step in encoder] == [True, False, True, False]
    assert [step.batch_norm for step in decoder] == [False, True, False, False]


def test_batch_norm_is_off_by_default():
    architecture = Architecture((5, 5, 1), (Conv2D(2, (3, 3)), Conv2D(2, (3, 3))))
    steps = (*architecture.encoder_steps(), *architecture.decoder_steps())
    assert not any(step.batch_norm for step in steps)


def test_variational_encoder_ends_in_a_mean_and_a_log_variance():
    architecture = Architecture((8,), (Dense(4), Dense(3, "linear")), variational=True)
    last = architecture.encoder_steps()[-1]
    assert (last.layer, last.output_shape) == (Dense(6, "linear"), (6,))
    assert architecture.embedding_dim == 3
    assert decoder_layers(architecture)[0] == Dense(4, "relu")


def test_input_dim_counts_the_values_of_a_sample():
    assert Architecture((5, 7, 3), (Dense(2),)).input_dim == 105


def test_embedding_dim_is_the_last_layers_width():
    assert dense_architecture(8, hidden=(16,), embedding_dim=3).embedding_dim == 3


def test_embedding_dim_counts_the_values_of_an_image():
    assert Architecture((6, 5, 1), (Conv2D(7, (3, 3)),)).embedding_dim == 4 * 3 * 7


def test_architectures_are_equal_and_hash_by_value():
    one, same = (dense_architecture(8, hidden=(16,)) for _ in range(2))
    other = dense_architecture(8, hidden=(17,))
    assert one == same and hash(one) == hash(same)
    assert one != other


def test_a_transposed_convolution_is_not_equal_to_the_convolution():
    assert Deconv2D(2, (3, 3)) != Conv2D(2, (3, 3))


@pytest.mark.parametrize(
    "layer, expected",
    [
        (Dense(3), (3,)),
        (Reshape((60,)), (60,)),
        (Reshape((6, 5, 2)), (6, 5, 2)),
        (Conv2D(7, (2, 3)), (4, 2, 7)),
        (Conv2D(7, (2, 3), padding="same"), (5, 4, 7)),
        (Conv2D(7, (2, 3), padding="full"), (6, 6, 7)),
        (Conv2D(7, (2, 3), strides=(2, 2)), (2, 1, 7)),
        (Conv2D(7, (2, 3), strides=(2, 3), padding="same"), (3, 2, 7)),
        (Deconv2D(7, (2, 3)), (6, 6, 7)),
        (MaxPool2D((2, 3)), (2, 1, 3)),
        (MaxPool2D((2, 3), "same"), (3, 2, 3)),
    ],
    ids=str,
)
def test_output_shape_of_an_image_of_5_by_4_and_3_channels(layer, expected):
    assert output_shape(layer, (5, 4, 3)) == expected


@pytest.mark.parametrize(
    "options, message",
    [
        ({"input_shape": ()}, r"input_shape must have at least one axis, got \(\)"),
        ({"input_shape": (0,)}, "input_shape must be at least 1, got 0"),
        ({"layers": ()}, "layers must hold at least the embedding"),
        (
            {"layers": (Reshape((4, 2)),)},
            "layers must hold a Dense, Conv2D or Deconv2D",
        ),
        (
            {"input_shape": (4, 4, 1), "layers": (MaxPool2D(), Reshape((4,)))},
            "layers must hold a Dense, Conv2D or Deconv2D layer",
        ),
        ({"output_activation": "sigmod"}, "output_activation 'sigmod'; did you mean"),
        ({"initializer": "he_norm"}, "initializer 'he_norm'; did you mean 'he_normal'"),
        ({"input_scale": 0.0}, "input_scale must be positive, got 0.0"),
        ({"input_scale": float("nan")}, "input_scale must be positive, got nan"),
        ({"input_scale": float("inf")}, "input_scale must be positive, got inf"),
        (
            {"normalize": True, "output_activation": "sigmoid"},
            "normalize must be False where the output activation is 'sigmoid'",
        ),
        (
            {"layers": (Dense(2), Reshape((2, 1))), "variational": True},
            "variational needs a Dense last layer, .* got Reshape",
        ),
        (
            {"layers": (Dense(6), Conv2D(2, (3, 3)))},
            r"layers\[1\]: Conv2D needs an image \(height, width, channels\), got shape "
            r"\(6,\); put a Reshape before it",
        ),
        (
            {"layers": (Reshape((3, 3)), Dense(2))},
            r"layers\[0\]: Reshape must keep the 8 values of \(8,\), got \(3, 3\)",
        ),
        (
            {"input_shape": (4, 4, 1), "layers": (Dense(2), Unpool2D((2, 2)))},
            r"layers\[1\]: Unpool2D needs an image",
        ),
        (
            {"input_shape": (4, 4, 1), "layers": (Unpool2D((2, 2)), Dense(2))},
            r"layers\[0\]: Unpool2D cannot stand in an encoder",
        ),
        (
            {"input_shape": (4, 4, 1), "layers": (Conv2D(2, (5, 5)), Dense(2))},
            r"^layers\[0\]: ",
        ),
    ],
)
def test_architecture_rejects_a_value(options, message):
    with pytest.raises(ValueError, match=message):
        Architecture(**({"input_shape": (8,), "layers": (Dense(2),)} | options))


@pytest.mark.parametrize(
    "features, activation, error, message",
    [
        (0, "relu", ValueError, "features must be at least 1, got 0"),
        (-5, "relu", ValueError, "features must be at least 1, got -5"),
        (2.0, "relu", TypeError, "features must be an integer, got 2.0"),
        (True, "relu", TypeError, "features must be an integer, got True"),
        (2, "rely", ValueError, "activation 'rely'; did you mean 'relu'"),
    ],
)
def test_dense_rejects_bad_settings(features, activation, error, message):
    with pytest.raises(error, match=message):
        Dense(features, activation)


@pytest.mark.parametrize("kind", [Conv2D, Deconv2D])
@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"features": 0}, ValueError, "features must be at least 1, got 0"),
        ({"kernel_size": (0, 3)}, ValueError, "kernel_size must be at least 1, got 0"),
        ({"kernel_size": 3}, TypeError, r"kernel_size must be a tuple .*, got 3"),
        ({"kernel_size": (3,)}, TypeError, r"kernel_size must be a tuple .*\(3,\)"),
        ({"kernel_size": [3, 3]}, TypeError, r"must be a tuple .*, got \[3, 3\]"),
        ({"strides": (1, 1.5)}, TypeError, "strides must be an integer, got 1.5"),
        ({"padding": "sane"}, ValueError, "padding 'sane'; did you mean 'same'"),
        ({"activation": "rely"}, ValueError, "activation 'rely'; did you mean 'relu'"),
    ],
)
def test_convolution_rejects_bad_settings(kind, options, error, message):
    with pytest.raises(error, match=message):
        kind(**({"features": 2, "kernel_size": (3, 3)} | options))


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"pool_size": 2}, TypeError, "pool_size must be a tuple .*, got 2"),
        ({"pool_size": (2, 0)}, ValueError, "pool_size must be at least 1, got 0"),
        ({"padding": "full"}, ValueError, "Unknown padding 'full'"),
    ],
)
def test_max_pool_rejects_bad_settings(options, error, message):
    with pytest.raises(error, match=message):
        MaxPool2D(**options)


def test_reshape_rejects_a_shape_that_does_not_hash():
    with pytest.raises(TypeError, match="shape must be a tuple, .* got list"):
        Reshape([2, 3])


def test_architecture_rejects_settings_that_do_not_hash():
    with pytest.raises(TypeError, match="layers must be a tuple, .* got list"):
        Architecture((8,), [Dense(3, "linear")])
