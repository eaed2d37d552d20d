import contextlib
import json
import os
import re
from pathlib import Path

import pytest
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

MINE = {
    "name": "mine",
    "batch_size": 32,
    "use_batch_norm": 1,
    "layers": [
        {"type": "Input", "output_shape": [2, 8, 9]},
        {
            "type": "Conv2D",
            "num_filters": 4,
            "filter_size": [3, 2],
            "non_linearity": "rectify",
        },
        {"type": "MaxPool2D", "filter_size": [2, 4]},
        {"type": "Dense", "num_units": 5, "non_linearity": "linear"},
    ],
}
INPUT, CONV, POOL, DENSE = MINE["layers"]


def with_layers(*layers, **fields):
    return MINE | {"layers": list(layers)} | fields


def without(description, name):
    return {key: value for key, value in description.items() if key != name}


def read(description):
    return architecture_from_json(description, origin="mine.json").architecture


def write(folder, text, name="mine.json"):
    path = folder / name
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return path


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


@pytest.mark.parametrize("shape", [(6, 7), (2, 3, 7, 1)])
def test_architecture_to_json_rejects_a_shape_of_another_rank(shape):
    with pytest.raises(ValueError, match=r"A shape must be \(d,\) or .*, got \(\d, "):
        architecture_to_json(Architecture(shape, (Dense(2),)))


def test_architecture_to_json_rejects_a_batch_size_of_0():
    with pytest.raises(
        ValueError, match="batch_size must be a positive integer, got 0"
    ):
        architecture_to_json(Architecture((3,), (Dense(2),)), batch_size=0)


TYPES = "Input, Conv2D, MaxPool2D, MaxPool2D*, Dense, Reshape, Deconv2D"
PAIR = "must be two positive integers [height, width], got"
SIZES = "must be positive integers [channels, height, width] or [d], got"
ROW = {"type": "Input", "output_shape": [12]}


def layer_cases(place, layer, changes):
    """(description, message) for wrong values of one field of a layer at a time."""
    for name, value, message in changes:
        layers = list(MINE["layers"])
        layers[place] = layer | {name: value}
        yield with_layers(*layers), f"mine.json: layers[{place}].{name} {message}"


OBJECT_CASES = [
    ([], "mine.json must be an object, got []."),
    (without(MINE, "layers"), "mine.json: layers is missing."),
    (
        MINE | {"batchsize": 3},
        'mine.json: batchsize is not a known field; did you mean "batch_size"? Known: '
        "name, batch_size, use_batch_norm, network_type, output_non_linearity, "
        "initializer, input_scale, normalize, variational, precision, layers.",
    ),
    (MINE | {"qqqq": 3}, "mine.json: qqqq is not a known field. Known: name, "),
    (MINE | {"name": 5}, "mine.json: name must be a string, got 5."),
    (
        MINE | {"use_batch_norm": 2},
        "mine.json: use_batch_norm must be true, false, 1 or 0, got 2.",
    ),
    (MINE | {"use_batch_norm": 1.0}, "use_batch_norm must be true, false, 1 or 0"),
    (MINE | {"variational": "yes"}, "mine.json: variational must be true, false, 1 or"),
    (
        MINE | {"output_non_linearity": "sigmod"},
        "mine.json: output_non_linearity must be one of rectify, linear, relu, elu, "
        'sigmoid, tanh, gelu, got "sigmod"; did you mean "sigmoid"?',
    ),
    (MINE | {"initializer": None}, "mine.json: initializer must be one of glorot_unif"),
    (MINE | {"initializer": "he_norm"}, 'got "he_norm"; did you mean "he_normal"?'),
    *(
        (
            MINE | {"batch_size": value},
            f"mine.json: batch_size must be a positive integer, got {shown}.",
        )
        for value, shown in [(0, 0), (True, "true"), (2.0, "2.0"), (None, "null")]
    ),
    *(
        (
            MINE | {"input_scale": value},
            f"mine.json: input_scale must be a positive number, got {shown}",
        )
        for value, shown in [
            (0, "0."),
            (-1.5, "-1.5."),
            (True, "true."),
            ("1/255", '"1/255".'),
            (float("nan"), "NaN."),
            (float("inf"), "Infinity."),
            (10**400, f"1{'0' * 56}... "[:-1]),
        ]
    ),
    *(
        (MINE | {"layers": value}, f"mine.json: layers must be a list of an {rest}")
        for value, rest in [
            ({}, "Input and at least one layer, got {}."),
            ([], "Input and at least one layer, got []."),
            ([ROW], "Input and at least one layer, got "),
        ]
    ),
    (with_layers(INPUT, 5), "mine.json: layers[1] must be an object, got 5."),
    (
        with_layers(INPUT, without(DENSE, "type")),
        f"mine.json: layers[1].type is missing; known: {TYPES}.",
    ),
    (
        with_layers(DENSE, DENSE),
        "mine.json: layers[0].type must be Input, which is the first layer and no "
        'other, got "Dense".',
    ),
    (
        with_layers(INPUT, DENSE, INPUT),
        "mine.json: layers[2].type must not be Input, which is the first layer and no "
        'other, got "Input".',
    ),
    *(
        (
            with_layers(*(without(layer, name) for layer in MINE["layers"])),
            f"mine.json: layers[{place}].{name} is missing.",
        )
        for place, name in [
            (0, "output_shape"),
            (1, "num_filters"),
            (1, "filter_size"),
            (1, "non_linearity"),
            (3, "num_units"),
        ]
    ),
    *layer_cases(0, INPUT, [("output_shape", [28, 28], f"{SIZES} [28, 28].")]),
    *layer_cases(
        1,
        CONV,
        [
            (
                "type",
                "conv2d",
                f'must be one of {TYPES}, got "conv2d"; did you mean "Conv2D"?',
            ),
            ("type", ["Conv2D"], f'must be one of {TYPES}, got ["Conv2D"]'),
            ("num_filters", -3, "must be a positive integer, got -3."),
            ("num_filters", True, "must be a positive integer, got true."),
            ("num_filters", "3", 'must be a positive integer, got "3".'),
            ("filter_size", [5], f"{PAIR} [5]."),
            ("filter_size", 5, f"{PAIR} 5."),
            ("filter_size", [5, 0], f"{PAIR} [5, 0]."),
            ("filter_size", [5, True], f"{PAIR} [5, true]."),
            ("filter_size", [5, 5.0], f"{PAIR} [5, 5.0]."),
            ("strides", [1, 1, 1], f"{PAIR} [1, 1, 1]."),
            ("non_linearity", "rectfy", "must be one of rectify, linear, relu, elu, "),
            (
                "conv_mode",
                "smae",
                'must be one of valid, same, full, got "smae"; did you mean "same"?',
            ),
            (
                "num_units",
                3,
                'is not a known field; did you mean "num_filters"? Known: ',
            ),
        ],
    ),
    *layer_cases(
        2,
        POOL,
        [
            ("filter_size", [2, -2], f"{PAIR} [2, -2]."),
            ("padding", "full", 'must be one of valid, same, got "full".'),
            ("strides", [2, 2], "is not a known field. Known: filter_size, padding."),
        ],
    ),
    *layer_cases(
        3,
        DENSE,
        [
            ("num_units", None, "must be a positive integer, got null."),
            ("filter_size", [1, 1], "is not a known field"),
        ],
    ),
    *layer_cases(
        2,
        {"type": "Reshape"},
        [
            ("output_shape", [4, 0, 9], f"{SIZES} [4, 0, 9]."),
            ("output_shape", "all", f'{SIZES} "all".'),
        ],
    ),
    (
        MINE | {"network_type": "FC"},
        'mine.json: network_type must be one of AE, CAE, got "FC".',
    ),
    (
        MINE | {"network_type": "AE"},
        'mine.json: network_type must be "CAE", because layers[1] is a Conv2D, got "AE".',
    ),
    (
        with_layers(INPUT, DENSE, network_type="AE"),
        "mine.json: layers[0].output_shape must be [d] or [1, 1, d], because "
        'network_type is "AE", got [2, 8, 9].',
    ),
    (
        with_layers(ROW, DENSE, network_type="CAE"),
        'mine.json: network_type must be "AE", because neither the Input nor a layer '
        'is of images, got "CAE".',
    ),
    (
        with_layers(ROW, CONV, DENSE),
        "mine.json: layers[1]: Conv2D needs an image (height, width, channels), got "
        "shape (12,); put a Reshape before it.",
    ),
    (
        with_layers(INPUT, CONV | {"filter_size": [9, 9]}, DENSE),
        "mine.json: layers[1]: ",
    ),
    (
        with_layers(INPUT, CONV, {"type": "Reshape", "output_shape": [5]}, DENSE),
        "mine.json: layers[2]: Reshape must keep the 192 values of (6, 8, 4), got (5,).",
    ),
    (
        with_layers(INPUT, POOL),
        "mine.json: layers must hold a Dense, Conv2D or Deconv2D layer.",
    ),
    (
        with_layers(INPUT, CONV, variational=True),
        "mine.json: variational needs a Dense last layer, for a mean and a log-variance",
    ),
]


@pytest.mark.parametrize(
    "description, message",
    OBJECT_CASES,
    ids=[message[:60] for _, message in OBJECT_CASES],
)
def test_architecture_from_json_rejects_a_malformed_object(description, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        architecture_from_json(description, origin="mine.json")


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "mine.json is not valid JSON: Expecting value: line 1 column 1 (char 0)."),
        ('{"name": "mine",}', "mine.json is not valid JSON: "),
        ("[" * 100_000, "mine.json is not valid JSON: "),
        (
            '{"name": "a", "name": "b"}',
            "mine.json is not valid JSON: the field name occurs twice in one object.",
        ),
        ("5", "mine.json must hold an object or a list of at least one, got 5."),
        ("[]", "mine.json must hold an object or a list of at least one, got []."),
        ("[5]", "mine.json[0] must be an object, got 5."),
        (
            json.dumps([MINE, MINE | {"name": 5}]),
            "mine.json[1]: name must be a string, got 5.",
        ),
    ],
    ids=range(8),
)
def test_read_architectures_rejects_a_malformed_file(text, message, tmp_path):
    with pytest.raises(ValueError, match=re.escape(message)):
        read_architectures(write(tmp_path, text))


def test_read_architectures_rejects_bytes_that_are_no_text(tmp_path):
    (tmp_path / "mine.json").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ValueError, match="mine.json is not valid JSON"):
        read_architectures(tmp_path / "mine.json")


def test_load_architecture_rejects_a_file_that_does_not_exist(tmp_path):
    with pytest.raises(ValueError, match="none.json cannot be read: No such file"):
        load_architecture(str(tmp_path / "none.json"))


def test_load_architecture_rejects_an_unknown_home_folder():
    with pytest.raises(ValueError, match="~nobody-here/a.json cannot be read: "):
        load_architecture("~nobody-here/a.json")


def test_load_architecture_rejects_a_folder(tmp_path):
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        load_architecture(tmp_path)


@pytest.mark.parametrize("index", [2, -1, True, 1.0])
def test_load_architecture_rejects_an_index_out_of_range(index, tmp_path):
    path = write(tmp_path, [MINE, MINE])
    rule = f"mine.json: index must be an integer from 0 to 1, got {index!r}."
    with pytest.raises(ValueError, match=re.escape(rule)):
        load_architecture(path, index=index)


def test_load_architecture_rejects_an_unknown_name():
    message = (
        "Unknown architecture 'mnist-cnv'; did you mean 'mnist-conv'? Known: "
        f"{', '.join(SHIPPED)}. The path of a file ends in .json."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        load_architecture("mnist-cnv")


def test_load_architecture_rejects_an_empty_name():
    with pytest.raises(ValueError, match="Unknown architecture ''. Known: coil20-conv"):
        load_architecture("")
