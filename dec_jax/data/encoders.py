"""Pretrained networks of the user's own, which turn images into vectors."""

import functools
import hashlib
import importlib
import importlib.util
import math
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dec_jax.validation import expanded, near_path, one_line, reason, require, shown

if TYPE_CHECKING:
    from PIL import Image

BATCH = 32  # images at a time
SIDE = 224  # pixels of an ONNX file's input that leaves the size open
MOST_NUMBERS = 2**28  # in a batch that an ONNX file may ask for
# Mean and deviation of the colors of ImageNet, which most pretrained networks subtract.
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
TYPES = {
    "tensor(uint8)": np.uint8,
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
}

Encode = Callable[[list["Image.Image"]], np.ndarray]


class Encoder(NamedTuple):
    """A function from images to vectors."""

    name: str  # of the file, or module:function
    sha256: str  # of the file, or of the source of the module
    encode: Encode  # from RGB images [b] to vectors [b, d]
    size: tuple[int, int] | None  # of its images; None takes them as they are


def open_encoder(
    encoder: str | os.PathLike[str],
    *,
    size: tuple[int, int] | None = None,
    sha256: str | None = None,
) -> Encoder:
    """Opens an ONNX file, or imports a function, that turns images into vectors.

    Args:
      encoder: the path of an `.onnx` file, or `module:function`. The module is searched
        in the working folder first. The function takes a list of RGB images of Pillow,
        and returns an array [b, d] of numbers.
      size: (height, width) of the images; None takes that of the ONNX file, or leaves
        the images of a function as they are.
      sha256: checksum that the file must have; nothing of another file is run.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: neither of the two, another file than the checksum's, a network that
        does not take images, or a size that it does not take.
      ImportError: ONNX Runtime or the module is missing.
    """
    text = os.fspath(encoder)
    if text.lower().endswith(".onnx"):
        path = expanded(text)
        if not path.is_file():
            raise FileNotFoundError(
                f"encoder {shown(text)}: there is no such file{near_path(text)}"
            )
        text, source = str(path.resolve()), path
    elif re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", text):
        source = module_file(text)
    else:
        raise ValueError(
            "encoder must be a file that ends in .onnx, or module:function, such as "
            f"my_encoder:embed, got {text!r}."
        )
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    if sha256 is not None and digest != sha256:
        raise ValueError(
            f"encoder {text} is not what it was in training ({source.name} has changed); "
            f"restore it, or take it as it is by --encoder {os.fspath(encoder)}."
        )
    if source.suffix.lower() == ".onnx":
        return onnx_encoder(source, text, digest, size)
    return Encoder(text, digest, imported(text), size)


def module_file(text: str) -> Path:
    """Finds the file of the module in `module:function`, in the working folder first."""
    module = text.partition(":")[0]
    # A console script does not search the working folder by itself.
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    importlib.invalidate_caches()
    try:
        found = importlib.util.find_spec(module)
    except ImportError:
        found = None
    if found is None or found.origin is None or not Path(found.origin).is_file():
        raise ImportError(
            f"encoder {text}: no module {module} in this folder ({os.getcwd()}) or among "
            "the installed packages."
        )
    return Path(found.origin)


def imported(text: str) -> Encode:
    """Imports the function of `module:function`."""
    module, _, function = text.partition(":")
    try:
        found = getattr(importlib.import_module(module), function, None)
    except Exception as error:
        # The module is the user's own, and may raise anything.
        raise ImportError(
            f"encoder {text}: importing {module} failed: {one_line(error)}"
        ) from error
    if not callable(found):
        raise ValueError(f"encoder {text}: {module} has no function {function}.")
    return found


def onnx_encoder(
    path: Path, name: str, digest: str, size: tuple[int, int] | None
) -> Encoder:
    """Opens an ONNX file whose one input is a batch of color images.

    Numbers are given to it as ImageNet networks take them: from 0 to 1, less the mean
    colors, divided by their deviations. An input of bytes is given bytes. Of an output
    that has places or tokens, the mean over these is taken.
    """
    runtime = require("onnxruntime", extra="onnx", task="running an ONNX encoder")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    # The provider of a cloud service is among those of each installation.
    found = runtime.get_available_providers()
    providers = [name for name in found if not name.startswith("Azure")]
    try:
        # Its fallback to other providers prints into the output of the run.
        session = runtime.InferenceSession(
            str(path), options, providers=providers, enable_fallback=0
        )
    except Exception as error:
        # ONNX Runtime has errors of its own for each kind of damage.
        raise ValueError(
            f"encoder {path} is no network that ONNX Runtime reads: {reason(error)}"
        ) from error
    inputs = session.get_inputs()
    shape = list(inputs[0].shape) if inputs else []
    last = len(shape) == 4 and shape[3] == 3 and shape[1] != 3
    sides = [side for side in shape if isinstance(side, int)]
    if (
        len(inputs) != 1
        or len(shape) != 4
        or inputs[0].type not in TYPES
        or min(sides, default=1) < 1
        or math.prod(sides) > MOST_NUMBERS
    ):
        got = ", ".join(f"{it.name} {it.type} {it.shape}" for it in inputs)
        raise ValueError(
            f"encoder {path} must have one input of images [b, 3, h, w] or [b, h, w, 3] of "
            f"at most {MOST_NUMBERS:,} numbers, got {got or 'none'}."
        )
    own = [shape[1], shape[2]] if last else [shape[2], shape[3]]
    fixed = all(isinstance(side, int) for side in own)
    if fixed and size is not None and list(size) != own:
        raise ValueError(
            f"encoder {path} takes images of {own[0]} x {own[1]}, got image_size of "
            f"{size[0]} x {size[1]}; leave image_size out."
        )
    height, width = own if fixed else size or (SIDE, SIDE)
    run = functools.partial(
        _run_onnx,
        session,
        dtype=TYPES[inputs[0].type],
        channels_last=last,
        batch=shape[0] if isinstance(shape[0], int) else None,
    )
    return Encoder(name, digest, run, (int(height), int(width)))


def _run_onnx(
    session: Any,
    images: list["Image.Image"],
    *,
    dtype: type,
    channels_last: bool,
    batch: int | None,
) -> np.ndarray:
    """Runs a network on images of one size, in batches of the size that it has."""
    x = np.stack([np.asarray(image) for image in images])
    if dtype is not np.uint8:
        x = ((x / np.float32(255) - MEAN) / DEVIATION).astype(dtype)
    if not channels_last:
        x = x.transpose(0, 3, 1, 2)
    at_once = batch or len(x)
    found = []
    for start in range(0, len(x), at_once):
        part = x[start : start + at_once]
        # The last batch is filled up, where the network has a fixed one.
        filled = np.concatenate(
            [part, np.repeat(part[-1:], at_once - len(part), axis=0)]
        )
        name = session.get_inputs()[0].name
        out = np.asarray(session.run(None, {name: np.ascontiguousarray(filled)})[0])
        if out.ndim == 4:
            out = out.mean(axis=(1, 2) if channels_last else (2, 3))
        elif out.ndim == 3:
            out = out.mean(axis=1)
        found.append(out[: len(part)])
    return np.concatenate(found)


def vectors_of(encoder: Encoder, images: list["Image.Image"]) -> np.ndarray:
    """Encodes a batch of images, and checks what comes back.

    Args:
      encoder: of `open_encoder`.
      images: RGB images.

    Returns:
      Vectors [b, d], float32.

    Raises:
      ValueError: the encoder failed, or did not return a vector of finite numbers for
        each image.
    """
    b = len(images)
    try:
        out = np.asarray(encoder.encode(images))
    except MemoryError:
        raise
    except Exception as error:
        # The function is the user's own, and may raise anything.
        hint = "; return z.detach().numpy()" if "requires grad" in str(error) else ""
        raise ValueError(
            f"encoder {encoder.name} failed on {b} images: {one_line(error)}{hint}"
        ) from error
    if out.ndim != 2 or len(out) != b or not out.size or out.dtype.kind not in "fiu":
        raise ValueError(
            f"encoder {encoder.name} must return numbers of shape [{b}, d], a vector for "
            f"each of {b} images, got {out.dtype} of shape {list(out.shape)}."
        )
    out = out.astype(np.float32)
    if not np.isfinite(out).all():
        raise ValueError(f"encoder {encoder.name} returned NaN or infinite numbers.")
    return out
