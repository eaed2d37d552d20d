"""Reads and writes architectures as JSON files, in the format of Aljalbout et al.

A file holds one object or a list of them; each describes an encoder, layer by layer:

    {"name": "mine", "batch_size": 100, "use_batch_norm": 1, "layers": [
      {"type": "Input", "output_shape": [1, 28, 28]},
      {"type": "Conv2D", "num_filters": 50, "filter_size": [5, 5],
       "non_linearity": "rectify", "conv_mode": "same"},
      {"type": "MaxPool2D", "filter_size": [2, 2]},
      {"type": "Dense", "num_units": 10, "non_linearity": "linear"}]}

Images are [channels, height, width] in a file, as published, and (height, width,
channels) in an `Architecture`. This library adds the fields `strides` of Conv2D and
Deconv2D, `padding` of pools, and `initializer`, `input_scale`, `normalize`, `variational`
and `precision` of the object.

The decoder mirrors every layer. It differs from the published code in three ways. The
published code has no mirror of a fully connected bottleneck. It gives a mirrored
convolution the activation of the mirrored layer; here it has the activation of that
layer's input, which it restores. Its `MaxPool2D*` puts values back at the position of the
maximum, which the decoder must know from the encoder, so that z alone cannot be decoded;
here both kinds of pool are undone by replication, as its `MaxPool2D` is.

Aljalbout, Golkov, Siddiqui and Cremers, `Clustering with Deep Learning: Taxonomy and
New Methods <https://arxiv.org/abs/1801.07648>`_, 2018.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from dec_jax.networks.architecture import (
    ACTIVATIONS,
    INITIALIZERS,
    PADDINGS,
    Architecture,
    Conv2D,
    Deconv2D,
    Dense,
    Layer,
    MaxPool2D,
    Reshape,
    Shape,
    output_shape,
)
from dec_jax.networks.json_fields import (
    Field,
    parse,
    read_choice,
    read_fields,
    read_flag,
    read_positive_int,
    read_positive_number,
    read_sizes,
    read_string,
    shown,
    write_fields,
)
from dec_jax.networks.precision import PRECISIONS
from dec_jax.validation import check_choice, expanded, near_path

MOST_BYTES = 2**24  # of a file
# Names of activations in files, and in `Architecture`. Of two names the first is written.
NON_LINEARITIES = {"rectify": "relu"} | {name: name for name in ACTIVATIONS}


@dataclass(frozen=True)
class NamedArchitecture:
    """An architecture of a file, with its name and batch size.

    Attributes:
      name: of the network, "" if the file gives none.
      batch_size: that the network was published with, None if the file gives none.
      architecture: the network.
    """

    name: str
    batch_size: int | None
    architecture: Architecture


def shipped_architectures() -> tuple[str, ...]:
    """Names of the architectures that come with the library, sorted."""
    files = resources.files("dec_jax.networks").joinpath("architectures").iterdir()
    names = (Path(file.name) for file in files)
    return tuple(sorted(name.stem for name in names if name.suffix == ".json"))


def load_architecture(
    name_or_path: str | os.PathLike[str], *, index: int = 0
) -> Architecture:
    """Loads an architecture that comes with the library, or one from a JSON file.

    Args:
      name_or_path: one of `shipped_architectures()`, or a file. A string is a path if it
        ends in .json or contains a folder.
      index: index in the list of architectures of the file; the first is 0.

    Returns:
      The architecture.

    Raises:
      ValueError: the name is unknown, the file does not exist or is malformed (the
        message names the field), or the file has no such index.

    Example:
      >>> from dec_jax import load_architecture
      >>> load_architecture("mnist-conv").input_shape
      (28, 28, 1)
    """
    found = named_architectures(name_or_path)
    is_integer = isinstance(index, int) and not isinstance(index, bool)
    if not is_integer or not 0 <= index < len(found):
        raise ValueError(
            f"{name_or_path}: index must be an integer from 0 to {len(found) - 1}, got "
            f"{index!r}."
        )
    return found[index].architecture


def named_architectures(
    name_or_path: str | os.PathLike[str],
) -> tuple[NamedArchitecture, ...]:
    """Loads all architectures of a file, from which `load_architecture` takes one."""
    if not isinstance(name_or_path, str):
        return read_architectures(name_or_path)
    if name_or_path.lower().endswith(".json") or len(Path(name_or_path).parts) > 1:
        return read_architectures(name_or_path)
    try:
        check_choice("architecture", name_or_path, shipped_architectures())
    except ValueError as error:
        raise ValueError(f"{error} The path of a file ends in .json.") from None
    file = f"{name_or_path}.json"
    text = (
        resources.files("dec_jax.networks").joinpath("architectures", file).read_bytes()
    )
    return _all_of(parse(text, file), file)


def read_architectures(path: str | os.PathLike[str]) -> tuple[NamedArchitecture, ...]:
    """Reads every architecture of a JSON file.

    Args:
      path: a file in the format of this module.

    Returns:
      One entry per object, in the order of the file.

    Raises:
      ValueError: the file does not exist or is malformed; the message names the file,
        the field, its rule and its value.
    """
    try:
        with expanded(path).open("rb") as file:
            # A device may have no end.
            text = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", error)
        hint = near_path(path) if isinstance(error, FileNotFoundError) else "."
        raise ValueError(f"{path} cannot be read: {reason}{hint}") from error
    if len(text) > MOST_BYTES:
        raise ValueError(
            f"{path} must be a JSON file of at most {MOST_BYTES >> 20} MiB, got more; it is "
            "no description of networks."
        )
    return _all_of(parse(text, os.fspath(path)), os.fspath(path))


def _all_of(content: Any, origin: str) -> tuple[NamedArchitecture, ...]:
    """Reads the architectures of the content of a file."""
    if isinstance(content, dict):
        return (architecture_from_json(content, origin=origin),)
    if not isinstance(content, list) or not content:
        raise ValueError(
            f"{origin} must hold an object or a list of at least one, got "
            f"{shown(content)}."
        )
    return tuple(
        architecture_from_json(description, origin=f"{origin}[{index}]")
        for index, description in enumerate(content)
    )


def architecture_from_json(
    description: dict[str, Any], *, origin: str = "architecture"
) -> NamedArchitecture:
    """Reads the architecture that a JSON object describes.

    Args:
      description: the object, in the format of this module. Without
        `output_non_linearity`, the reconstruction has, as published, the activation of
        the first layer after Input that has one. `network_type` tells whether an Input of
        [1, 1, d] is a row of d numbers ("AE") or an image ("CAE"). Without it, the Input
        is a row if no layer needs images.
      origin: start of the messages, such as the path of the file.

    Returns:
      The architecture, with its name and batch size.

    Raises:
      ValueError: the object is malformed; the message names field, rule and value.
    """
    if not isinstance(description, dict):
        raise ValueError(f"{origin} must be an object, got {shown(description)}.")
    values = read_fields(description, _SETTINGS, f"{origin}: ")
    name, batch_size = values.pop("name"), values.pop("batch_size")
    sizes, layers = values.pop("layers")
    is_row = _is_row(sizes, layers, values.pop("network_type"), origin)
    input_shape = sizes[-1:] if is_row else _channels_last(sizes)
    shape = input_shape
    for index, layer in enumerate(layers, start=1):
        try:
            shape = output_shape(layer, shape)
        except ValueError as error:
            raise ValueError(f"{origin}: layers[{index}]: {error}") from error
    if values["output_activation"] is None:
        activations = [getattr(layer, "activation", None) for layer in layers]
        values["output_activation"] = next(filter(None, activations), "linear")
    try:
        architecture = Architecture(input_shape, layers, **values)
    except ValueError as error:
        raise ValueError(f"{origin}: {error}") from error
    return NamedArchitecture(name, batch_size, architecture)


def architecture_to_json(
    architecture: Architecture, *, name: str = "", batch_size: int | None = None
) -> dict[str, Any]:
    """Writes the JSON object from which `architecture_from_json` reads an architecture.

    Args:
      architecture: the network.
      name: of the network.
      batch_size: that the network is trained with, at least 1.

    Returns:
      Lists, numbers and strings; fields with default values are left out.

    Raises:
      ValueError: a shape is neither (d,) nor (height, width, channels), so that the format
        cannot hold it; the batch size is not a positive integer.
    """
    if batch_size is not None:
        read_positive_int(batch_size, "batch_size")
    is_row = len(architecture.input_shape) == 1
    of_rows = is_row and _first_image_layer(architecture.layers) is None
    values = vars(architecture) | {
        "name": name,
        "batch_size": batch_size,
        "network_type": "AE" if of_rows else "CAE",
        "layers": (architecture.input_shape, architecture.layers),
    }
    return write_fields(values, _SETTINGS)


def _first_image_layer(layers: Iterable[Layer]) -> int | None:
    """Index of the first layer that needs images, or None."""
    kinds = [isinstance(layer, Conv2D | MaxPool2D) for layer in layers]
    return kinds.index(True) if True in kinds else None


def _is_row(
    sizes: Shape, layers: Sequence[Layer], network_type: str | None, origin: str
) -> bool:
    """True if the Input is a row of numbers, not an image; checks `network_type`."""
    image_layer = _first_image_layer(layers)
    may_be_row = len(sizes) == 1 or sizes[:2] == (1, 1)
    if network_type == "AE" and image_layer is not None:
        kind = type(layers[image_layer]).__name__
        raise ValueError(
            f'{origin}: network_type must be "CAE", because layers[{image_layer + 1}] '
            f'is a {kind}, got "AE".'
        )
    if network_type == "AE" and not may_be_row:
        raise ValueError(
            f"{origin}: layers[0].output_shape must be [d] or [1, 1, d], because "
            f'network_type is "AE", got {shown(sizes)}.'
        )
    if network_type == "CAE" and len(sizes) == 1 and image_layer is None:
        raise ValueError(
            f'{origin}: network_type must be "AE", because neither the Input nor a '
            'layer is of images, got "CAE".'
        )
    if len(sizes) == 1 or network_type is not None:
        return len(sizes) == 1 or network_type == "AE"
    return may_be_row and image_layer is None


def _read_activation(value: Any, where: str) -> str:
    return NON_LINEARITIES[read_choice(NON_LINEARITIES)(value, where)]


def _write_activation(activation: str) -> str:
    return next(name for name, ours in NON_LINEARITIES.items() if ours == activation)


def _channels_last(sizes: Shape) -> Shape:
    return (*sizes[1:], sizes[0])


def _read_shape(value: Any, where: str) -> Shape:
    return _channels_last(_read_channels_first(value, where))


def _write_shape(shape: Shape) -> list[int]:
    if len(shape) not in (1, 3):
        raise ValueError(
            "A shape must be (d,) or (height, width, channels) to be written to a "
            f"file, got {shape}."
        )
    return [shape[-1], *shape[:-1]]


def _read_layers(value: Any, where: str) -> tuple[Shape, tuple[Layer, ...]]:
    """Reads the sizes of the Input, in the order of the file, and the layers after it."""
    if not isinstance(value, list | tuple) or len(value) < 2:
        raise ValueError(
            f"{where} must be a list of an Input and at least one layer, got "
            f"{shown(value)}."
        )
    layers: list[Any] = []
    for index, description in enumerate(value):
        at = f"{where}[{index}]"
        if not isinstance(description, dict):
            raise ValueError(f"{at} must be an object, got {shown(description)}.")
        if "type" not in description:
            raise ValueError(f"{at}.type is missing; known: {', '.join(_LAYERS)}.")
        kind = read_choice(_LAYERS)(description["type"], f"{at}.type")
        if (kind == "Input") != (index == 0):
            raise ValueError(
                f"{at}.type must {'' if index == 0 else 'not '}be Input, which is the "
                f"first layer and no other, got {shown(kind)}."
            )
        build, fields = _LAYERS[kind]
        rest = {name: it for name, it in description.items() if name != "type"}
        layers.append(build(**read_fields(rest, fields, f"{at}.")))
    return layers[0], tuple(layers[1:])


def _write_layers(stack: tuple[Shape, tuple[Layer, ...]]) -> list[dict[str, Any]]:
    input_shape, layers = stack
    out = [{"type": "Input", "output_shape": _write_shape(input_shape)}]
    for layer in layers:
        kind = type(layer).__name__
        out.append({"type": kind} | write_fields(vars(layer), _LAYERS[kind][1]))
    return out


def _write_sizes(sizes: Shape) -> list[int]:
    return [int(size) for size in sizes]


_read_channels_first = read_sizes(
    "positive integers [channels, height, width] or [d]", 1, 3
)
_read_pair = read_sizes("two positive integers [height, width]", 2)
_ACTIVATION = Field("non_linearity", "activation", _read_activation, _write_activation)
_CONVOLUTION = (
    Field("num_filters", "features", read_positive_int, int),
    Field("filter_size", "kernel_size", _read_pair, _write_sizes),
    _ACTIVATION,
    Field("conv_mode", "padding", read_choice(PADDINGS), str, "valid"),
    Field("strides", "strides", _read_pair, _write_sizes, (1, 1)),
)
_POOL = (
    Field("filter_size", "pool_size", _read_pair, _write_sizes),
    Field("padding", "padding", read_choice(PADDINGS[:2]), str, "valid"),
)
_DENSE = (Field("num_units", "features", read_positive_int, int), _ACTIVATION)
_INPUT = (Field("output_shape", "sizes", _read_channels_first, _write_sizes),)
_RESHAPE = (Field("output_shape", "shape", _read_shape, _write_shape),)
_LAYERS: dict[str, tuple[Callable[..., Any], tuple[Field, ...]]] = {
    "Input": (lambda sizes: sizes, _INPUT),
    "Conv2D": (Conv2D, _CONVOLUTION),
    "MaxPool2D": (MaxPool2D, _POOL),
    "MaxPool2D*": (MaxPool2D, _POOL),
    "Dense": (Dense, _DENSE),
    "Reshape": (Reshape, _RESHAPE),
    "Deconv2D": (Deconv2D, _CONVOLUTION),
}
_SETTINGS = (
    Field("name", "name", read_string, str, ""),
    Field("batch_size", "batch_size", read_positive_int, int, None),
    Field("use_batch_norm", "batch_norm", read_flag, int, False),
    Field("network_type", "network_type", read_choice(("AE", "CAE")), str, None),
    Field(
        "output_non_linearity",
        "output_activation",
        _read_activation,
        _write_activation,
        None,
    ),
    Field(
        "initializer", "initializer", read_choice(INITIALIZERS), str, INITIALIZERS[0]
    ),
    Field("input_scale", "input_scale", read_positive_number, float, 1 / 255),
    Field("normalize", "normalize", read_flag, bool, False),
    Field("variational", "variational", read_flag, bool, False),
    Field("precision", "precision", read_choice(PRECISIONS), str, PRECISIONS[0]),
    Field("layers", "layers", _read_layers, _write_layers),
)
