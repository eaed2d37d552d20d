import contextlib
import json
import os
from pathlib import Path

import pytest
from architecture_files import (
    CONV,
    DENSE,
    INPUT,
    MINE,
    POOL,
    with_layers,
    without,
    write,
)
from hypothesis import given
from hypothesis import strategies as st

import dec_jax
from dec_jax.networks.architecture import (
    ACTIVATIONS,
    INITIALIZERS,
    PADDINGS,
    Architecture,
    Conv2D,
    Deconv2D,
    Dense,
    MaxPool2D,
    Reshape,
    dense_architecture,
)
from dec_jax.networks.architecture_json import (
    NamedArchitecture,
    architecture_from_json,
    architecture_to_json,
    load_architecture,
    read_architectures,
    shipped_architectures,
)


def read(description):
    return architecture_from_json(description, origin="mine.json").architecture


def test_a_published_description_becomes_an_architecture():
    assert architecture_from_json(MINE) == NamedArchitecture(
        "mine",
        32,
        Architecture(
            # [channels, height, width] in the file.
            (8, 9, 2),
            (Conv2D(4, (3, 2), "relu"), MaxPool2D((2, 4)), Dense(5, "linear")),
            "relu",
            batch_norm=True,
        ),
    )


def test_every_layer_and_option_is_read():
    layers = with_layers(
        {"type": "Input", "output_shape": [32]},
        {"type": "Reshape", "output_shape": [2, 1, 16]},
        CONV | {"filter_size": [1, 5], "strides": [1, 2], "conv_mode": "same"},
        POOL | {"type": "MaxPool2D*", "filter_size": [1, 3], "padding": "same"},
        CONV | {"type": "Deconv2D", "non_linearity": "gelu", "conv_mode": "full"},
        {"type": "Reshape", "output_shape": [4]},
        DENSE | {"non_linearity": "tanh"},
    )["layers"]
    layers[4]["filter_size"] = [1, 3]
    description = {
        "layers": layers,
        "use_batch_norm": False,
        "output_non_linearity": "sigmoid",
        "initializer": "he_normal",
        "input_scale": 0.5,
        "variational": True,
    }
    assert read(description) == Architecture(
        (32,),
        (
            Reshape((1, 16, 2)),
            Conv2D(4, (1, 5), "relu", (1, 2), "same"),
            MaxPool2D((1, 3), "same"),
            Deconv2D(4, (1, 3), "gelu", (1, 1), "full"),
            Reshape((4,)),
            Dense(5, "tanh"),
        ),
        "sigmoid",
        "he_normal",
        0.5,
        variational=True,
    )


@pytest.mark.parametrize("flag, expected", [(0, False), (1, True), (True, True)])
def test_flags_are_booleans_or_0_and_1(flag, expected):
    assert read(MINE | {"use_batch_norm": flag}).batch_norm is expected


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_is_read_by_our_name(name):
    assert read(with_layers(INPUT, DENSE | {"non_linearity": name})) == Architecture(
        (8, 9, 2), (Dense(5, name),), name, batch_norm=True
    )


def test_the_reconstruction_has_the_first_activation_by_default():
    rows = {"type": "Input", "output_shape": [72]}
    image = {"type": "Reshape", "output_shape": [1, 8, 9]}
    layers = (rows, image, CONV | {"non_linearity": "elu"}, DENSE)
    assert read(with_layers(*layers)).output_activation == "elu"


@pytest.mark.parametrize(
    "sizes, network_type, layer, expected",
    [
        ([12], None, DENSE, (12,)),
        ([12], "AE", DENSE, (12,)),
        ([1, 1, 12], None, DENSE, (12,)),
        ([1, 1, 12], "AE", DENSE, (12,)),
        ([1, 1, 12], "CAE", DENSE, (1, 12, 1)),
        ([1, 1, 12], None, POOL | {"filter_size": [1, 3]}, (1, 12, 1)),
        ([1, 1, 12], "CAE", POOL | {"filter_size": [1, 3]}, (1, 12, 1)),
        ([2, 1, 6], None, DENSE, (1, 6, 2)),
        ([2, 1, 6], "CAE", DENSE, (1, 6, 2)),
    ],
)
def test_the_input_is_a_row_or_an_image(sizes, network_type, layer, expected):
    description = with_layers({"type": "Input", "output_shape": sizes}, layer, DENSE)
    if network_type is not None:
        description["network_type"] = network_type
    assert read(description).input_shape == expected


def test_name_and_batch_size_may_be_left_out():
    named = architecture_from_json(without(without(MINE, "name"), "batch_size"))
    assert (named.name, named.batch_size) == ("", None)


def test_read_architectures_keeps_the_order_of_a_list(tmp_path):
    path = write(tmp_path, [MINE | {"name": "first"}, MINE | {"name": "second"}])
    assert [named.name for named in read_architectures(path)] == ["first", "second"]


def test_read_architectures_takes_a_single_object(tmp_path):
    assert read_architectures(write(tmp_path, MINE)) == (architecture_from_json(MINE),)


def test_read_architectures_passes_over_a_byte_order_mark(tmp_path):
    path = tmp_path / "mine.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(MINE).encode())
    assert read_architectures(path) == (architecture_from_json(MINE),)


def test_load_architecture_takes_one_of_a_list(tmp_path):
    wide = with_layers(INPUT, DENSE | {"num_units": 6})
    path = write(tmp_path, [MINE, wide])
    assert load_architecture(path) == read(MINE)
    assert load_architecture(str(path), index=1) == read(wide)


def test_load_architecture_takes_a_file_of_any_name_in_a_folder(tmp_path):
    path = write(tmp_path, MINE, name="mine")
    assert load_architecture(str(path)) == read(MINE)


def test_load_architecture_prefers_a_shipped_name_to_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, MINE, name="dense")
    assert load_architecture("dense") == dense_architecture(784)
    assert load_architecture(Path("dense")) == read(MINE)


def test_load_architecture_finds_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path, MINE)
    assert load_architecture(os.path.join("~", "mine.json")) == read(MINE)


SHIPPED = {
    "coil20-conv": ((128, 128, 1), 320),
    "dec-conv": ((28, 28, 1), 10),
    "denoising-conv": ((28, 28, 1), 4 * 4 * 16),
    "dense": ((784,), 10),
    "mnist-conv": ((28, 28, 1), 120),
    "mnist-conv-deep": ((28, 28, 1), 10),
    "mnist-conv-dense": ((28, 28, 1), 32),
}


def test_shipped_architectures_are_these():
    assert shipped_architectures() == tuple(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_architecture_has_the_published_ends(name):
    architecture = load_architecture(name)
    ends = (architecture.input_shape, architecture.embedding_dim)
    assert ends == SHIPPED[name]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_architecture_survives_a_round_trip(name):
    architecture = load_architecture(name)
    named = NamedArchitecture(name, 100, architecture)
    text = json.dumps(architecture_to_json(architecture, name=name, batch_size=100))
    assert architecture_from_json(json.loads(text)) == named


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_file_gives_its_own_name(name):
    folder = Path(dec_jax.__file__).parent / "networks/architectures"
    (named,) = read_architectures(folder / f"{name}.json")
    assert named.name == name
    assert named.architecture == load_architecture(name)


def test_shipped_shapes_of_the_network_of_guo():
    shapes = load_architecture("dec-conv").shapes
    assert shapes == ((28, 28, 1), (14, 14, 32), (7, 7, 64), (3, 3, 128), (10,))


def test_shipped_shapes_of_the_denoising_network():
    sides = [shape[0] for shape in load_architecture("denoising-conv").shapes]
    assert sides == [28, 28, 14, 14, 7, 7, 4]


activations = st.sampled_from(ACTIVATIONS)
sizes = st.integers(1, 4)
pairs = st.tuples(st.integers(1, 2), st.integers(1, 2))
convolutions = st.tuples(sizes, pairs, activations, pairs, st.sampled_from(PADDINGS))
# Built in the test, because the checks of types draw random numbers.
parts = st.one_of(
    st.tuples(st.sampled_from([Conv2D, Deconv2D]), convolutions),
    st.tuples(st.just(MaxPool2D), st.tuples(pairs, st.sampled_from(PADDINGS[:2]))),
    st.tuples(st.just(Dense), st.tuples(sizes, activations)),
    st.tuples(st.just(Reshape), st.just(((1, 1, 4),))),
)
settings = st.fixed_dictionaries(
    {
        "output_activation": activations,
        "initializer": st.sampled_from(INITIALIZERS),
        "input_scale": st.floats(min_value=0, exclude_min=True, max_value=1e300),
        "batch_norm": st.booleans(),
        "normalize": st.booleans(),
        "variational": st.booleans(),
    }
).filter(lambda it: not (it["normalize"] and it["output_activation"] == "sigmoid"))


def longest_that_fits(shape, layers, settings):
    """The architecture of as many of the layers as fit, and a Dense one."""
    for count in range(len(layers), -1, -1):
        with contextlib.suppress(ValueError):
            return Architecture(shape, (*layers[:count], Dense(4)), **settings)


@given(
    st.tuples(sizes) | st.tuples(sizes, sizes, sizes),
    st.lists(parts, max_size=4),
    settings,
    st.text(),
    st.none() | st.integers(1, 10**6),
)
def test_any_architecture_survives_a_round_trip(
    shape, parts, settings, name, batch_size
):
    layers = [kind(*arguments) for kind, arguments in parts]
    architecture = longest_that_fits(shape, layers, settings)
    out = architecture_to_json(architecture, name=name, batch_size=batch_size)
    expected = NamedArchitecture(name, batch_size, architecture)
    assert architecture_from_json(json.loads(json.dumps(out))) == expected


def test_architecture_to_json_leaves_out_defaults():
    assert architecture_to_json(dense_architecture(6, hidden=(), embedding_dim=2)) == {
        "network_type": "AE",
        "output_non_linearity": "linear",
        "layers": [
            {"type": "Input", "output_shape": [6]},
            {"type": "Dense", "num_units": 2, "non_linearity": "linear"},
        ],
    }
