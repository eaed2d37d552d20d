"""IDX, the file format of MNIST: a big-endian header, then bytes."""

import gzip
import io
import math
import zlib
from pathlib import Path

import numpy as np

from dec_jax.validation import reason

MOST_PACKED = 1032  # bytes that gzip can pack into one
IDX_KINDS = {2051: "images", 2049: "labels"}
# (part, kind, number of dimensions) of the four files, in the order of their samples.
IDX_FILES = (
    ("train", "images", 3),
    ("train", "labels", 1),
    ("t10k", "images", 3),
    ("t10k", "labels", 1),
)


def find_idx(folder: Path, part: str, kind: str, ndim: int) -> Path | None:
    """Finds the file of a part and kind, gzipped or not, in either usual spelling."""
    for separator in "-.":
        for suffix in (".gz", ""):
            path = folder / f"{part}-{kind}{separator}idx{ndim}-ubyte{suffix}"
            if path.is_file():
                return path
    return None


def read_idx_pair(
    images_path: Path, labels_path: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Reads images [n, h, w] and labels [n], uint8, from two IDX files of equal n."""
    images = read_idx(images_path, magic=2051)
    labels = read_idx(labels_path, magic=2049)
    if len(images) != len(labels):
        raise ValueError(
            f"{images_path} holds {len(images)} images and {labels_path.name} holds "
            f"{len(labels)} labels: the numbers must be equal."
        )
    return images, labels


def read_idx(path: Path, *, magic: int) -> np.ndarray:
    """Reads one IDX file of bytes, gzipped or not.

    Args:
      path: the file. Its first bytes decide whether it is gzipped, not its name,
        because browsers unpack files and keep their names.
      magic: 2051 for images [n, h, w], 2049 for labels [n].

    Raises:
      ValueError: a damaged gzip file, another magic number, or a length that differs
        from the one in the header.
    """
    # The last byte of the magic number is the number of dimensions.
    header_size = 4 + 4 * (magic & 0xFF)
    raw = path.read_bytes()
    if raw.startswith(b"\x1f\x8b"):
        try:
            with gzip.open(io.BytesIO(raw)) as file:
                packed, raw = len(raw), file.read(header_size)
                # A few bytes can unpack to more than memory holds: the header bounds them,
                # and the format bounds the header.
                sizes = (
                    np.frombuffer(raw[4:], ">u4") if len(raw) == header_size else [0]
                )
                most = min(math.prod(map(int, sizes)), MOST_PACKED * packed)
                raw += file.read(most + 1)
        except (OSError, EOFError, zlib.error, OverflowError) as error:
            raise ValueError(
                f"{path} is a damaged gzip file ({reason(error)}); download it again."
            ) from error
    found = int.from_bytes(raw[:4], "big")
    if len(raw) >= 4 and found != magic:
        found_kind = f", which marks {IDX_KINDS[found]}" if found in IDX_KINDS else ""
        raise ValueError(
            f"{path} must start with the magic number {magic} of {IDX_KINDS[magic]}, "
            f"got {found}{found_kind}; does it hold what its name says?"
        )
    if len(raw) < header_size:
        raise ValueError(
            f"{path} must have an IDX header of {header_size} bytes, got {len(raw)} "
            "bytes; it is truncated, download it again."
        )
    shape = tuple(int(size) for size in np.frombuffer(raw[4:header_size], ">u4"))
    expected = header_size + math.prod(shape)
    if len(raw) != expected:
        raise ValueError(
            f"{path} must be {expected} bytes long for its shape {shape}, got {len(raw)}; "
            "it is truncated or damaged, download it again."
        )
    return np.frombuffer(raw, np.uint8, offset=header_size).reshape(shape)
