"""Descriptions of networks, and names and files, that are refused in one line."""

import json
import re
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

from dec_jax.networks.architecture import Architecture, Dense
from dec_jax.networks.architecture_json import (
    architecture_from_json,
    architecture_to_json,
    load_architecture,
    read_architectures,
    shipped_architectures,
)


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
        f"{', '.join(shipped_architectures())}. The path of a file ends in .json."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        load_architecture("mnist-cnv")


def test_load_architecture_rejects_an_empty_name():
    with pytest.raises(ValueError, match="Unknown architecture ''. Known: coil20-conv"):
        load_architecture("")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs a file without end")
def test_load_rejects_a_file_without_end(tmp_path):
    (tmp_path / "endless.json").symlink_to("/dev/zero")
    message = "endless.json must be a JSON file of at most 16 MiB, got more"
    with pytest.raises(ValueError, match=message):
        load_architecture(tmp_path / "endless.json")
