"""JSON files of a run: written whole, and those that decide something with a checksum."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dec_jax.runs.errors import UsageError
from dec_jax.writing import whole_file

CHECKSUM = "sha256"  # the last entry of a file that `write_checked` wrote


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes JSON whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n")


def write_checked(path: Path, content: Mapping[str, Any]) -> None:
    """Writes JSON with a checksum of its content."""
    write_json(path, {**content, CHECKSUM: checksum(content)})


def read_checked(path: Path, fix: str) -> dict[str, Any]:
    """Reads what `write_checked` wrote.

    A flipped digit is still JSON: without the checksum it would be believed.

    Args:
      path: the file.
      fix: what to do about a damaged file, the end of the message.

    Returns:
      The content, without the checksum.

    Raises:
      UsageError: it cannot be read, or it is not as it was written.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        whole = content.pop(CHECKSUM) == checksum(content)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise UsageError(
            f"{path} must be as dec-jax wrote it, got another checksum, or none, as in older "
            f"versions; {fix}."
        )
    return content


def checksum(content: Mapping[str, Any]) -> str:
    """Computes the SHA-256 of JSON values, in one spelling."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
