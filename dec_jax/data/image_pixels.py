"""Pixels of one image file: its modes, depths, channels, orientation and size."""

from contextlib import AbstractContextManager, nullcontext
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dec_jax.data.image_files import known_formats
from dec_jax.data.reading import ImageReading
from dec_jax.data.tiff import (
    ORIENTATION,
    Samples,
    decoder_of,
    is_tiff,
    loses,
    read_tiff,
    upright,
)
from dec_jax.validation import one_line, require

if TYPE_CHECKING:
    from PIL import Image

MODES = ("gray", "color")
FITS = ("crop", "pad", "stretch")
GRAY_MODES = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N")
DEEP_COLORS = ("LA;16B", "RGB;16B", "RGBA;16B")  # of PNG files, by Pillow's names
FEW = 0.0005  # share of the numbers of a file that may be those of broken pixels
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue


class Limits(NamedTuple):
    """The range of the numbers of a file, and that of all but the `FEW` at each end."""

    low: float
    high: float
    most_low: float
    most_high: float


class Picture(NamedTuple):
    """The pixels of a file, and what a reader should know of them."""

    pixels: np.ndarray  # [h, w] or [h, w, c]: uint8, or float32 in the file's own units
    limits: Limits | None  # of the whole file, unless it has bytes
    lost: float  # share of the area that cropping cut off
    is_transparent: bool


def read_image(path: Path, *, reading: ImageReading) -> Picture | str:
    """Reads the pixels of a file, or returns one line on why it cannot.

    Args:
      path: a regular file.
      reading: the size, the mode and the fit.

    Returns:
      Pixels of [h, w], or [h, w, c] with 2 or more channels: bytes of files with 8 bits a
      value or less, else numbers in the units of the file.
    """
    try:
        with opened(path) as image:
            samples = samples_of(path, image)
            if samples is not None:
                return picture_of_samples(samples, reading)
            assert image is not None  # it would have samples
            least = 2 * max(reading.size) if reading.size else None
            flat, is_transparent = flattened(image, reading.mode, least)
        lost = lost_by_cropping(flat.size, reading)
        if reading.size is not None:
            flat = fitted(flat, reading.size, reading.fit)
        return Picture(np.asarray(flat), None, lost, is_transparent)
    except MemoryError:
        raise
    except Exception as error:
        # Damaged bytes make decoders raise nearly anything: struct.error, EOFError ...
        return reason_of(error)


def read_colors(path: Path, *, least: int) -> "Image.Image | str":
    """Reads a file as an upright RGB image of 8 bits, or returns why it cannot.

    Args:
      path: a regular file. Of more than 8 bits, its own range becomes 0 to 255.
      least: pixels that the shorter side may be reduced to, and not below.

    Returns:
      The image; its shorter side has at most `least` pixels.
    """
    from PIL import Image

    try:
        with opened(path) as image:
            samples = samples_of(path, image)
            if samples is None:
                assert image is not None  # it would have samples
                flat, _ = flattened(image, "color", least)
            else:
                values = in_mode(finite(samples.values.astype(np.float32)), "color")
                low, high = float(values.min()), float(values.max())
                scaled = (values - low) * (255 / max(high - low, 1e-30))
                flat = Image.fromarray(scaled.round().astype(np.uint8))
        shorter = min(flat.size)
        if shorter > least:
            to = [max(1, round(side * least / shorter)) for side in flat.size]
            flat = flat.resize((to[0], to[1]), Image.Resampling.LANCZOS)
        return flat
    except MemoryError:
        raise
    except Exception as error:
        return reason_of(error)


def opened(path: Path) -> AbstractContextManager["Image.Image | None"]:
    """Opens an image of a known format; gives None for a TIFF file unknown to Pillow."""
    from PIL import Image, UnidentifiedImageError

    try:
        # Of a file in memory, a decoder cannot ask for more bytes than it has: of a file
        # on disk, Pillow allocates what the header of a PNG chunk claims, up to 4 GiB.
        return Image.open(BytesIO(path.read_bytes()), formats=known_formats())
    except UnidentifiedImageError:
        if is_tiff(path):
            return nullcontext()
        raise


def reason_of(error: Exception) -> str:
    """One line on why a file cannot be read."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not an image that Pillow knows, or damaged at its beginning"
    if isinstance(error, Image.DecompressionBombError):
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        return f"more than {most:,} pixels; make it smaller"
    if isinstance(error, ImportError):
        return str(error)
    return one_line(error)


def flattened(
    image: "Image.Image", mode: str | None, least: int | None
) -> tuple["Image.Image", bool]:
    """Decodes an image to 8 bits: upright, gray or RGB, on white where it is transparent.

    Args:
      image: an open file.
      mode: `gray`, `color`, or None for that of the file.
      least: pixels that the sides of a JPEG file may be reduced to, and not below.

    Returns:
      The image, and whether parts of it were transparent.
    """
    from PIL import Image, ImageOps

    if least is not None:
        # JPEG decodes at 1/2, 1/4 or 1/8 of its size in a fraction of the time.
        image.draft(None, (least, least))
    ImageOps.exif_transpose(image, in_place=True)
    gray = mode == "gray" or (mode is None and is_gray(image))
    is_transparent = False
    if image.has_transparency_data:
        image = image.convert("RGBA")
        is_transparent = bool(np.asarray(image.getchannel("A")).min() < 255)
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if gray else "RGB"), is_transparent


def is_gray(image: "Image.Image") -> bool:
    """Returns True if the file is stored in gray, as is or by a palette of grays."""
    if image.mode not in ("P", "PA"):
        return image.mode in GRAY_MODES
    palette = np.reshape(image.getpalette() or [], (-1, 3))
    return bool((palette == palette[:, :1]).all())


def samples_of(path: Path, image: "Image.Image | None") -> Samples | None:
    """Reads a file of more than 8 bits a value, or of channels that are no colors.

    Args:
      path: the file.
      image: as `opened` gives it.

    Returns:
      Its numbers; None for the usual picture, which Pillow reads as it is.
    """
    from PIL import ImageOps

    if image is None:
        return read_tiff(path)
    is_deep = image.mode.startswith("I") or image.mode == "F"
    if image.format == "TIFF" and (is_deep or loses(image)):
        try:
            return read_tiff(path)
        except ImportError:
            # Pillow reads gray of any depth without loss.
            if not is_deep:
                raise
    if image.format == "PNG" and decoder_of(image) in DEEP_COLORS:
        # Pillow would keep the upper 8 of the 16 bits of a color.
        task = "reading colors of 16 bits"
        codecs = require("imagecodecs", extra="deep-images", task=task)
        values = codecs.png_decode(path.read_bytes())
        opaque = values[..., : 1 if values.shape[-1] == 2 else 3]
        return Samples(upright(opaque, image.getexif().get(ORIENTATION, 1)))
    if not is_deep:
        return None
    ImageOps.exif_transpose(image, in_place=True)
    return Samples(np.asarray(image))


def picture_of_samples(samples: Samples, reading: ImageReading) -> Picture:
    """Converts numbers of any type to a picture of the wanted mode and size."""
    from PIL import Image

    values = samples.values
    if values.dtype != np.uint8:
        values = finite(values.astype(np.float32))
    values = in_mode(values, reading.mode)
    low, high = float(values.min()), float(values.max())
    limits = None
    if values.dtype != np.uint8:
        inner = np.quantile(values, [FEW, 1 - FEW], method="nearest")
        limits = Limits(low, high, float(inner[0]), float(inner[1]))
    lost = 0.0
    if reading.size is not None:
        lost = lost_by_cropping(values.shape[1::-1], reading)
        channels = [
            np.asarray(fitted(Image.fromarray(channel), reading.size, reading.fit, low))
            for channel in np.moveaxis(np.atleast_3d(values), -1, 0)
        ]
        values = np.stack(channels, axis=-1).reshape(*reading.size, *values.shape[2:])
        # Lanczos overshoots beside an edge.
        values = values.clip(low, high).astype(values.dtype)
    return Picture(values, limits, lost, is_transparent=False)


def finite(values: np.ndarray) -> np.ndarray:
    """Returns numbers as they are; raises ValueError for NaN and infinity."""
    if not np.isfinite(values).all():
        raise ValueError("NaN or infinite pixels; replace them by numbers")
    return values


def in_mode(values: np.ndarray, mode: str | None) -> np.ndarray:
    """Brings channels to gray [h, w] or color [h, w, 3]; without a mode, none is lost."""
    if values.ndim == 3 and values.shape[-1] == 1:
        values = values[..., 0]
    channels = 1 if values.ndim == 2 else values.shape[-1]
    if mode is not None and channels not in (1, 3):
        raise ValueError(
            f"{channels} channels, which are neither gray nor red, green and blue"
        )
    if mode == "gray" and channels == 3:
        gray = values @ LUMA
        return gray.round().astype(np.uint8) if values.dtype == np.uint8 else gray
    if mode == "color" and channels == 1:
        return np.repeat(values[..., None], 3, axis=-1)
    return values


def lost_by_cropping(size: tuple[int, ...], reading: ImageReading) -> float:
    """Computes the share of an image's area that is cut off, from (width, height)."""
    if reading.fit != "crop" or reading.size is None:
        return 0.0
    ratio = (size[0] / size[1]) / (reading.size[1] / reading.size[0])
    return 1 - min(ratio, 1 / ratio)


def fitted(
    image: "Image.Image", size: tuple[int, int], fit: str, ground: float = 0.0
) -> "Image.Image":
    """Resizes an image to (height, width) by Lanczos antialiasing.

    Args:
      image: of 8 bits, or of floats with one channel.
      size: (height, width).
      fit: `crop` cuts off what is too long, `pad` fills up what is too short, `stretch`
        changes the shape of what is shown.
      ground: value that `pad` fills with.

    Returns:
      The image.
    """
    from PIL import Image, ImageOps

    lanczos = Image.Resampling.LANCZOS
    to = size[::-1]
    if fit == "stretch":
        return image.resize(to, lanczos)
    if fit == "pad":
        scale = min(to[0] / image.width, to[1] / image.height)
        inner = [max(1, round(side * scale)) for side in image.size]
        small = image.resize((inner[0], inner[1]), lanczos)
        bands = len(image.getbands())
        color = ground if image.mode == "F" else (int(ground),) * bands
        padded = Image.new(image.mode, to, color)
        padded.paste(small, ((to[0] - inner[0]) // 2, (to[1] - inner[1]) // 2))
        return padded
    return ImageOps.fit(image, to, lanczos)
