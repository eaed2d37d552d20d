"""Images of one size as one array, with the range of those of more than 8 bits."""

import numpy as np
from jaxtyping import Num

from dec_jax.data.image_pixels import Limits, Picture
from dec_jax.data.reading import ImageReading

# Times the range of most pixels beyond which the range of all is that of broken ones.
BROKEN = 4.0
THUMBNAIL = 64  # pixels, the longer side of small pictures
# A crop that loses more than this share of most images is told.
MUCH = 1 / 3


def stacked(
    pictures: list[Picture],
    levels: tuple[float, float] | None = None,
) -> tuple[np.ndarray, tuple[float, float] | None]:
    """Stacks images to [n, h, w, c], and scales those of more than 8 bits together.

    Args:
      pictures: of one height and width, with 1 or 3 channels, or all with the same.
      levels: values that become 0 and 1; None takes the least and the largest.

    Returns:
      The images, one channel if all are gray, and the levels, None if all have 8 bits.
    """
    if not pictures:
        # `kept_rows` reports that no file can be read.
        return np.empty((0, 0, 0, 0), np.uint8), levels
    if levels is None:
        levels = levels_of([it.limits for it in pictures if it.limits is not None])
    first = pictures[0].pixels
    channels = max((*picture.pixels.shape, 1)[2] for picture in pictures)
    dtype = np.uint8 if levels is None else np.float32
    stack = np.empty((len(pictures), *first.shape[:2], channels), dtype)
    for row, picture in enumerate(pictures):
        pixels = picture.pixels
        if levels is not None:
            low, high = (0.0, 255.0) if pixels.dtype == np.uint8 else levels
            pixels = (pixels.astype(np.float32) - low) / (high - low or 1)
            pixels = pixels.clip(0, 1)
        stack[row] = pixels if pixels.ndim == 3 else pixels[..., None]
        # Freed once it is copied, so that memory never holds all of them twice.
        pictures[row] = picture._replace(pixels=first[:0])
    return stack, levels


def levels_of(limits: list[Limits]) -> tuple[float, float] | None:
    """Finds the values that become 0 and 1: the range of all files with limits.

    Where broken pixels would set it, it is that of all others.
    """
    if not limits:
        return None
    low, high = min(it.low for it in limits), max(it.high for it in limits)
    inner = min(it.most_low for it in limits), max(it.most_high for it in limits)
    return inner if high - low > BROKEN * (inner[1] - inner[0]) > 0 else (low, high)


def notes_on(
    pictures: list[Picture],
    reading: ImageReading,
    levels: tuple[float, float] | None,
) -> list[str]:
    """Formats lines on what was changed in the images, for people."""
    notes = []
    n = len(pictures)
    cut = [picture.lost for picture in pictures if picture.lost > MUCH]
    if reading.size is not None and 2 * len(cut) > n:
        notes.append(
            f"cropping cuts off {np.median(cut):.0%} of the area of {len(cut):,} of {n:,} "
            "images; --image-fit pad or --image-fit stretch keeps all of it, and so does an "
            "--image-size HEIGHTxWIDTH of their shape"
        )
    if n_transparent := sum(picture.is_transparent for picture in pictures):
        notes.append(
            f"transparent in parts, put on white: {n_transparent:,} of {n:,} images"
        )
    if levels is not None:
        notes.append(
            f"values from {levels[0]:g} to {levels[1]:g} of files with more than 8 bits "
            "become 0 to 1"
        )
        limits = [it.limits for it in pictures if it.limits is not None]
        low = min((it.low for it in limits), default=levels[0])
        high = max((it.high for it in limits), default=levels[1])
        if low < levels[0] or high > levels[1]:
            notes[-1] += (
                f"; beyond them lie values from {low:g} to {high:g}, which count as 0 and 1"
            )
    return notes


def thumbnails(images: Num[np.ndarray, "n h w c"]) -> Num[np.ndarray, "n H W c"]:
    """Reduces images by a whole number to at most 64 pixels a side, in bytes."""
    n, height, width, channels = images.shape
    by = -(-max(height, width) // THUMBNAIL)
    cut = images[:, : height // by * by, : width // by * by]
    cells = cut.reshape(n, height // by, by, width // by, by, channels)
    small = np.empty((n, height // by, width // by, channels), np.uint8)
    for row, image in enumerate(cells):
        mean = image.mean(axis=(1, 3))
        scaled = mean if images.dtype == np.uint8 else 255 * mean
        small[row] = scaled.round().clip(0, 255)
    return small
