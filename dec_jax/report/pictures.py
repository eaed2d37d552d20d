"""Small pictures of samples that are images, as data URIs."""

import base64
import io
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Int, Num, UInt8

from dec_jax.data.dataset import Dataset
from dec_jax.validation import require

if TYPE_CHECKING:
    from PIL.Image import Image

CARD_SIDE = 64  # pixels of the longer side in cards, at most
HOVER_SIDE = 32  # the same in the map
SMALL = 32  # sides up to which pixels are shown as squares
LOSSLESS = 16  # sides of tiles up to which sheets are not compressed
BLOCK = (
    16  # pixels that compression mixes; a tile must not share them with its neighbor
)
SHEET_COLUMNS = 50
SHEET_ROWS = 50


class Pictures:
    """The images of a data set as pixels for people.

    Attributes:
      x: [n, d] the samples.
      shape: height, width and channels of each.
      low, high: the values shown as black and white.
    """

    def __init__(self, x: Num[np.ndarray, "n d"], shape: tuple[int, int, int]) -> None:
        self.x, self.shape = x, shape
        is_bytes = x.dtype == np.uint8
        self.low = 0.0 if is_bytes else float(x.min())
        self.high = 255.0 if is_bytes else float(x.max())

    def of(self, x: np.ndarray, side: int) -> list["Image"]:
        """Makes pictures of samples.

        Args:
          x: [m, d] samples.
          side: pixels of the longer side, at most.

        Returns:
          Gray or color pictures. Of two channels the first is shown, of four and more
          the first three.
        """
        task = "showing images in the report"
        pil = require("PIL.Image", extra="plots", task=task)
        height, width, channels = self.shape
        pixels = x.reshape(-1, height, width, channels)
        pixels = pixels[..., 0] if channels < 3 else pixels[..., :3]
        pictures = [pil.fromarray(image) for image in self._bytes(pixels)]
        size = self.size(side)
        if size != (width, height):
            pictures = [one.resize(size, pil.Resampling.BOX) for one in pictures]
        return pictures

    def rows(self, rows: Int[np.ndarray, " m"], side: int) -> list["Image"]:
        """Makes pictures of the samples of some rows."""
        return self.of(self.x[rows], side)

    def size(self, side: int) -> tuple[int, int]:
        """Finds the width and height of a picture whose sides are at most `side`."""
        height, width, _ = self.shape
        factor = min(1.0, side / max(height, width))
        return max(1, round(width * factor)), max(1, round(height * factor))

    def _bytes(self, pixels: np.ndarray) -> UInt8[np.ndarray, "..."]:
        if self.x.dtype == np.uint8 and pixels.dtype == np.uint8:
            return np.ascontiguousarray(pixels)
        span = max(self.high - self.low, 1e-12)
        shares = (pixels.astype(np.float32) - self.low) / span
        return np.round(255 * np.clip(shares, 0, 1)).astype(np.uint8)


def pictures_of(dataset: Dataset) -> Pictures | None:
    """Finds the pictures of a data set: its images, or those that features stand for.

    Returns:
      The pictures, or None where there are none.
    """
    if dataset.image_shape is not None:
        return Pictures(dataset.x, dataset.image_shape)
    # Only data sets of features of images have them.
    small = getattr(dataset, "thumbnails", None)
    if small is None:
        return None
    return Pictures(small.reshape(len(small), -1), small.shape[1:])


class Sheets(NamedTuple):
    """Pictures of many samples, in a few files of many tiles.

    Attributes:
      uris: the files.
      tile: width and height of a tile, in pixels.
      cell: width and height of the cell, in whose upper left corner it lies.
      columns: number of tiles in a row.
      at_once: number of tiles in a file.
    """

    uris: list[str]
    tile: tuple[int, int]
    cell: tuple[int, int]
    columns: int
    at_once: int


def sheets(pictures: Pictures, rows: Int[np.ndarray, " m"]) -> Sheets:
    """Puts pictures of the samples of some rows into sheets, in their order."""
    pil = require("PIL.Image", extra="plots", task="showing images in the report")
    at_once = SHEET_COLUMNS * SHEET_ROWS
    tile = pictures.size(HOVER_SIDE)
    lossless = max(tile) <= LOSSLESS
    cell = tile if lossless else (_whole_blocks(tile[0]), _whole_blocks(tile[1]))
    uris = []
    for first in range(0, len(rows), at_once):
        tiles = pictures.rows(rows[first : first + at_once], HOVER_SIDE)
        pixels = np.stack([np.asarray(one) for one in tiles])
        lines = -(-len(tiles) // SHEET_COLUMNS)
        colors = [(0, 0)] * (pixels.ndim - 3)
        more = [(0, cell[1] - tile[1]), (0, cell[0] - tile[0])]
        pixels = np.pad(pixels, [(0, 0), *more, *colors], mode="edge")
        empty = [(0, lines * SHEET_COLUMNS - len(tiles)), (0, 0), (0, 0)]
        pixels = np.pad(pixels, [*empty, *colors])
        pixels = pixels.reshape(lines, SHEET_COLUMNS, *pixels.shape[1:])
        # Lines of cells become lines of pixels.
        pixels = pixels.swapaxes(1, 2)
        height, width = lines * cell[1], SHEET_COLUMNS * cell[0]
        sheet = pil.fromarray(pixels.reshape(height, width, *pixels.shape[4:]))
        uris.append(data_uri(sheet, lossless=lossless))
    return Sheets(uris, tile, cell, SHEET_COLUMNS, at_once)


def _whole_blocks(side: int) -> int:
    return -(-side // BLOCK) * BLOCK


def data_uri(picture: "Image", *, lossless: bool = True) -> str:
    """Encodes a picture as text that stands in a page in place of a file's address."""
    content = io.BytesIO()
    if lossless:
        picture.save(content, "PNG", optimize=picture.width <= CARD_SIDE)
        kind = "png"
    else:
        picture.save(content, "WEBP", quality=60, method=2)
        kind = "webp"
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"


def small_uri(picture: "Image") -> str:
    """Encodes one picture: small and gray ones exactly, others as compressed ones."""
    return data_uri(
        picture, lossless=picture.mode == "L" and max(picture.size) <= SMALL
    )
