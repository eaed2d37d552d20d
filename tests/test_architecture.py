import pytest

from dec_jax.architecture import Architecture, Dense, dense_architecture


def test_dense_architecture_is_the_papers_by_default():
    architecture = dense_architecture(784)
    assert [layer.features for layer in architecture.layers] == [500, 500, 2000, 10]
    assert [layer.features for layer in architecture.mirrored()] == [
        2000,
        500,
        500,
        784,
    ]


def test_dense_architecture_has_a_linear_embedding_and_reconstruction():
    architecture = dense_architecture(784)
    assert architecture.layers[-1].activation == "linear"
    assert architecture.mirrored()[-1].activation == "linear"


def test_mirrored_reverses_widths_and_activations():
    layers = (Dense(5, "relu"), Dense(4, "tanh"), Dense(2, "linear"))
    decoder = Architecture((6,), layers, "sigmoid").mirrored()
    assert decoder == (Dense(4, "tanh"), Dense(5, "relu"), Dense(6, "sigmoid"))


def test_mirrored_of_a_single_layer_is_the_reconstruction():
    assert Architecture((6,), (Dense(2, "linear"),)).mirrored() == (Dense(6, "linear"),)


def test_input_dim_counts_the_values_of_a_sample():
    assert Architecture((5, 7, 3), (Dense(2),)).input_dim == 105


def test_embedding_dim_is_the_last_layers_width():
    assert dense_architecture(8, hidden=(16,), embedding_dim=3).embedding_dim == 3


def test_architectures_are_equal_and_hash_by_value():
    one, same = (dense_architecture(8, hidden=(16,)) for _ in range(2))
    other = dense_architecture(8, hidden=(17,))
    assert one == same and hash(one) == hash(same)
    assert one != other


@pytest.mark.parametrize(
    "options, message",
    [
        ({"input_shape": ()}, r"input_shape must have at least one axis, got \(\)"),
        ({"input_shape": (0,)}, "input_shape must be at least 1, got 0"),
        ({"layers": ()}, "layers must hold at least the embedding"),
        ({"output_activation": "sigmod"}, "output_activation 'sigmod'; did you mean"),
        ({"initializer": "he_norm"}, "initializer 'he_norm'; did you mean 'he_normal'"),
        ({"input_scale": 0.0}, "input_scale must be positive, got 0.0"),
        ({"input_scale": float("nan")}, "input_scale must be positive, got nan"),
        ({"input_scale": float("inf")}, "input_scale must be positive, got inf"),
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


def test_architecture_rejects_settings_that_do_not_hash():
    with pytest.raises(TypeError, match="layers must be a tuple, .* got list"):
        Architecture((8,), [Dense(3, "linear")])
