"""The file of a model: float32 arrays, one JSON object, and a checksum over both.

It is a `.safetensors` file. The entry `dec_jax.model` of its header is a line of JSON with
the format version, the caller's description, and the SHA-256 of the whole file, computed
with zeros in place of the checksum itself. The checksum covers every bit of the file.
Reading a file runs no code of it.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dec_jax.validation import near_path, reason, require
from dec_jax.writing import whole_file

FORMAT = "dec_jax.model"  # the entry of the header that makes a file ours
FORMAT_VERSION = 1
# Placeholder of the checksum while it is computed.
NO_DIGEST = "0" * 64


class ModelError(ValueError):
    """A file is not a model, is damaged, or has a format that this version cannot read."""


def write_file(
    path: Path, arrays: Mapping[str, np.ndarray], description: Mapping[str, Any]
) -> None:
    """Writes arrays and a description; the same content gives the same bytes.

    The file is written as a whole: if writing fails, an existing file is unchanged.

    Args:
      path: the file. An existing file is replaced; a missing folder is created.
      arrays: float32 arrays by name.
      description: JSON values by name.

    Raises:
      ValueError: JSON would change or refuse a value.
      ImportError: safetensors is not installed.
      OSError: the file cannot be written.
    """
    safetensors = import_safetensors()
    check_json(description)
    # The checksum comes first, so that its placeholder precedes any zeros of the caller's.
    entry = {"sha256": NO_DIGEST, "format_version": FORMAT_VERSION, **description}
    # safetensors writes the memory of an array and ignores its strides.
    in_order = {
        name: np.asarray(arrays[name], "<f4", order="C") for name in sorted(arrays)
    }
    # A single entry, because safetensors writes several in varying order.
    content = safetensors.numpy.save(in_order, metadata={FORMAT: json.dumps(entry)})
    digest = hashlib.sha256(content).hexdigest()
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_bytes(content.replace(NO_DIGEST.encode(), digest.encode(), 1))


def read_file(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Reads a file that `write_file` wrote.

    Args:
      path: the file.

    Returns:
      The description and the arrays.

    Raises:
      FileNotFoundError: there is no such file.
      ModelError: the file is not a safetensors file, is truncated, was not written by
        `write_file`, or has a newer format version or a wrong checksum.
      ImportError: safetensors is not installed.
    """
    safetensors = import_safetensors()
    if not path.exists():
        raise FileNotFoundError(
            f"The model file {path} does not exist{near_path(path)}"
        )
    if not path.is_file():
        raise ModelError(f"{path} must be a model file, got a folder or device.")
    content = path.read_bytes()
    try:
        entries = safetensors.deserialize(content)
    except safetensors.SafetensorError as error:
        raise ModelError(
            f"{path} is no safetensors file, or is truncated or damaged ({reason(error)})."
        ) from error
    description = read_description(path, content)
    check_checksum(path, content, description.pop("sha256", None))
    arrays = {}
    for name, entry in entries:
        if entry["dtype"] != "F32":
            raise ModelError(f"{path}: {name} must be F32, got {entry['dtype']}.")
        arrays[name] = np.frombuffer(entry["data"], "<f4").reshape(entry["shape"])
    return description, arrays


def import_safetensors() -> Any:
    """Imports safetensors, or raises ImportError that says how to install it."""
    task = "writing and reading models"
    require("safetensors.numpy", extra="model", task=task)
    return require("safetensors", extra="model", task=task)


def check_json(values: Mapping[str, Any], name: str = "") -> None:
    """Raises ValueError for the first entry that JSON would change or refuse."""
    for key, value in values.items():
        title = f"{name}[{key!r}]" if name else key
        if isinstance(value, dict) and all(isinstance(inner, str) for inner in value):
            check_json(value, title)
            continue
        try:
            same = json.loads(json.dumps(value, allow_nan=False)) == value
        except (TypeError, ValueError):
            same = False
        if not same:
            raise ValueError(
                f"{title} must be text, a finite number, true, false, null, a list, or a "
                f"dict with keys of text, got {value!r}; JSON cannot give it back."
            )


def read_description(path: Path, content: bytes) -> dict[str, Any]:
    """Reads the entry of this library from a header that safetensors has checked."""
    size = int.from_bytes(content[:8], "little")
    entries = json.loads(content[8 : 8 + size]).get("__metadata__") or {}
    if FORMAT not in entries:
        raise ModelError(
            f"{path} is a safetensors file, but none that dec_jax wrote: its header has "
            f"no entry {FORMAT}."
        )
    try:
        description = json.loads(entries[FORMAT])
        version = description.pop("format_version")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path} is damaged: its entry {FORMAT} is wrong.") from error
    if type(version) is not int or version < 1:
        raise ModelError(f"{path} is damaged: its format version is {version!r}.")
    if version > FORMAT_VERSION:
        raise ModelError(
            f"{path} has format version {version}, and this dec_jax reads up to version "
            f"{FORMAT_VERSION}; upgrade dec_jax."
        )
    return description


def check_checksum(path: Path, content: bytes, digest: object) -> None:
    """Raises ModelError unless the file matches its checksum."""
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise ModelError(f"{path} is damaged: its checksum is {digest!r}.")
    blank = content.replace(digest.encode(), NO_DIGEST.encode(), 1)
    if hashlib.sha256(blank).hexdigest() != digest:
        raise ModelError(
            f"{path} is damaged: its content does not have its checksum; fetch or save "
            "it again."
        )
