"""The image files of a folder: which are read, in which order, and which are not."""

import functools
import os
import re
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from dec_jax.data.image_labels import CSV_NAMES
from dec_jax.validation import near_path, require, shown

# Files with other endings are never opened, and those of `OPTIONAL` are left out where
# this installation cannot read them.
OPTIONAL = {".heic": "heic", ".heif": "heic", ".avif": "", ".jp2": "", ".j2k": ""}
IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    *(".pgm", ".ppm", *OPTIONAL),
)
# Formats by Pillow's names. Others may start a program (EPS) or are no images (MPEG).
FORMATS = (
    *("PNG", "JPEG", "MPO", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM"),
    *("AVIF", "JPEG2000", "HEIF"),
)
# Messages name this many files, and count the others.
NAMED = 5


class FolderFiles(NamedTuple):
    """The files of a folder, by paths relative to it."""

    images: list[str]
    passed_over: dict[str, str]  # path: reason, without hidden files and labels


def find_files(folder: Path) -> FolderFiles:
    """Finds all image files in a folder and its sub-folders, in natural order.

    Hidden files and folders, and links to folders, are skipped without a word.

    Raises:
      FileNotFoundError: there is no such folder.
      ValueError: it holds no images.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"The image folder {shown(str(folder))} does not exist{near_path(folder)}"
        )
    images, passed_over = [], {}
    for parent, folders, files in os.walk(folder, onerror=_raise_error):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = Path(parent).relative_to(folder)
        for file in files:
            if file.startswith("."):
                continue
            name = (inside / file).as_posix()
            reason = _why_not(Path(parent) / file)
            if reason is None:
                images.append(name)
            elif file not in CSV_NAMES:
                passed_over[name] = reason
    if not images:
        endings = ", ".join(suffix[1:] for suffix in IMAGE_SUFFIXES)
        found = f": {listed(passed_over)}" if passed_over else ""
        raise ValueError(
            f"{shown(str(folder))} holds no images: no file in it or its sub-folders that "
            f"can be read ends in {endings}; other files: {len(passed_over)}{found}."
        )
    in_order = sorted(passed_over, key=_by_kind)
    return FolderFiles(
        sorted(images, key=natural_key), {name: passed_over[name] for name in in_order}
    )


def _why_not(path: Path) -> str | None:
    """Tells why a file is passed over, in a few words; None for an image to be read."""
    suffix = path.suffix.lower()
    try:
        # A pipe would be waited for without end, and a device may have no end.
        if not stat.S_ISREG(path.stat().st_mode):
            return "no regular file"
    except OSError:
        return "a link to nothing"
    if suffix not in IMAGE_SUFFIXES:
        return ""
    if suffix not in OPTIONAL or _opens(path):
        return None
    if OPTIONAL[suffix] == "heic" and not _reads_heic():
        return 'pip install "dec_jax[heic]" reads it'
    return "not an image that Pillow reads here"


def _opens(path: Path) -> bool:
    """Returns True if Pillow knows the format of a file, of which it reads the beginning."""
    from PIL import Image

    with suppress(Exception), Image.open(path, formats=known_formats()):
        return True
    return False


@functools.cache
def known_formats() -> list[str]:
    """Lists the image formats that Pillow and its plug-ins read here."""
    from PIL import Image

    _reads_heic()
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _reads_heic() -> bool:
    """Returns True where pillow-heif is installed, and makes Pillow use it."""
    try:
        heif = require("pillow_heif", extra="heic", task="reading HEIC files")
    except ImportError:
        return False
    heif.register_heif_opener()
    return True


def listed(reasons: dict[str, str]) -> str:
    """Lists the first files with their reasons, and counts the others."""
    first = [
        f"{shown(name)} ({reason})" if reason else shown(name)
        for name, reason in list(reasons.items())[:NAMED]
    ]
    more = f" and {len(reasons) - NAMED:,} more" if len(reasons) > NAMED else ""
    return ", ".join(first) + more


def passed_over_line(passed_over: dict[str, str]) -> str | None:
    """Formats the line on the files that were passed over; None if there are none."""
    n = len(passed_over)
    if not n:
        return None
    return f"passed over {n:,} file{'s' * (n > 1)}: {listed(passed_over)}"


def _by_kind(name: str) -> tuple[bool, Sequence[object]]:
    """Key that sorts files that may be pictures before others."""
    return Path(name).suffix.lower() not in IMAGE_SUFFIXES, natural_key(name)


def natural_key(name: str) -> tuple[object, ...]:
    """Key that sorts paths folder by folder, and numbers in them by value."""
    # Text and digits alternate, text first: text is compared with text only.
    key = [
        [int(piece) if at % 2 else piece for at, piece in enumerate(pieces)]
        for pieces in (
            re.split("([0-9]+)", part.casefold()) for part in name.split("/")
        )
    ]
    return key, name


def _raise_error(error: OSError) -> None:
    """Raises the error of a folder that `os.walk` cannot read and would skip."""
    raise error
