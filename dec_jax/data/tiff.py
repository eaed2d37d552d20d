"""TIFF files of which Pillow would lose bits or channels, by tifffile."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dec_jax.validation import require

if TYPE_CHECKING:
    from PIL import Image

MOST_VALUES = 2**29  # of one image
BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Tags of the file.
ORIENTATION, SAMPLE_FORMAT, EXTRA_SAMPLES, DESCRIPTION = 274, 339, 338, 270
# Words in the description of files that may have a page for each channel.
CHANNEL_PAGES = ("channels=", "<OME", '"axes"')
UNSPECIFIED = 0  # an extra sample that is no opacity
WHITE_IS_ZERO = 0


class Samples(NamedTuple):
    """The numbers of an image file, upright and without opacity."""

    values: np.ndarray  # [h, w] or [h, w, c]


def is_tiff(path: Path) -> bool:
    """Returns True if a file begins as TIFF files do."""
    with path.open("rb") as file:
        return file.read(4) in BEGINNINGS


def loses(image: "Image.Image") -> bool:
    """Returns True if Pillow shows less of a TIFF file than it holds."""
    tags: Any = getattr(image, "tag_v2", {})
    extra = tags.get(EXTRA_SAMPLES, ())
    extra = extra if isinstance(extra, tuple) else (extra,)
    return (
        ";16" in decoder_of(image)
        or UNSPECIFIED in extra
        # Signed bytes, which Pillow would take for unsigned ones.
        or 2 in tuple(tags.get(SAMPLE_FORMAT, ()))
        or any(word in str(tags.get(DESCRIPTION, "")) for word in CHANNEL_PAGES)
    )


def decoder_of(image: "Image.Image") -> str:
    """Pillow's name for the way in which the pixels of an open file are stored."""
    tiles = getattr(image, "tile", None)
    settings = tiles[0][-1] if tiles else ""
    return str(settings[0] if isinstance(settings, tuple) else settings)


def read_tiff(path: Path) -> Samples:
    """Reads the first image of a file, with all of its channels but opacity.

    Raises:
      ImportError: tifffile or imagecodecs is needed, and is not installed.
      ValueError: there are too many values, or they are no real numbers.
    """
    tifffile = require("tifffile", extra="deep-images", task="reading such a TIFF file")
    with tifffile.TiffFile(path) as file:
        page, series = file.pages[0], file.series[0]
        # Microscopes write one page a channel.
        part = series if _has_channel_pages(series) else page
        if math.prod(part.shape) > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES:,} values; make it smaller")
        try:
            values = part.asarray()
        except ValueError as error:
            if "imagecodecs" in str(error):
                require("imagecodecs", extra="deep-images", task=f"{error}:")
            raise
        values = channels_last(values, part.axes)
        opaque = [
            at for at, kind in enumerate(page.extrasamples) if kind != UNSPECIFIED
        ]
        tag = page.tags.get(ORIENTATION)
        turned = upright(values, 1 if tag is None else int(tag.value))
        if page.photometric == WHITE_IS_ZERO and turned.dtype.kind == "u":
            turned = np.iinfo(turned.dtype).max - turned
    if turned.dtype.kind not in "biuf":
        raise ValueError(f"pixels of type {turned.dtype}, which are no real numbers")
    if opaque and turned.ndim == 3:
        first_extra = turned.shape[-1] - len(page.extrasamples)
        turned = np.delete(turned, [first_extra + at for at in opaque], axis=-1)
    return Samples(turned)


def _has_channel_pages(series: Any) -> bool:
    """Returns True for a series whose pages are the channels of one image."""
    return set(series.axes) == {"C", "Y", "X"} and series.ndim == 3


def channels_last(values: np.ndarray, axes: str) -> np.ndarray:
    """Brings an array to [h, w] or [h, w, c]; of other axes it takes the first entry."""
    kept = []
    for axis in axes:
        if axis in "YXSC":
            kept.append(axis)
        else:
            values = values.take(0, axis=len(kept))
    order = [kept.index(axis) for axis in "YXSC" if axis in kept]
    if len(order) not in (2, 3) or order[:2] != [kept.index("Y"), kept.index("X")]:
        raise ValueError(f"axes {axes}, which are no image")
    return values.transpose(order)


def upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Turns an image [h, w] or [h, w, c] by the tag of its orientation."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    return values
