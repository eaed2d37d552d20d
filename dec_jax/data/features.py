"""Features of photographs that need no training: gradients and colors.

Those of STL-10 in Xie et al. (2016): histograms of oriented gradients, and a color map of
8 x 8 pixels, in the weights of the code that they published.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Num

from dec_jax.data.arrays import standardized
from dec_jax.data.dataset import Dataset
from dec_jax.data.image_stack import thumbnails
from dec_jax.data.photographs import PHOTOGRAPHS
from dec_jax.data.reading import ImageReading
from dec_jax.validation import check_choice, require

FEATURES = ("hog",)
SIDE = 96  # pixels of the images of STL-10, unless a size is given
CELL = 8  # pixels of a cell of the histograms
SIDES = (2 * CELL, 256)
# The published weights: histograms vary by about 0.1, colors by about 10 of 255.
HOG_MEAN, HOG_SCALE = 0.2, 0.1
COLOR_MEAN, COLOR_SCALE = 128.0, 10.0
# Red and blue less brightness, of red, green and blue (ITU-R BT.601).
CHROMA = np.array([[0.5, -0.4187, -0.0813], [-0.1687, -0.3313, 0.5]], np.float32)


def with_features(
    dataset: Dataset,
    features: str,
    *,
    standardize: bool = True,
    progress: Callable[[int, int], object] | None = None,
) -> Dataset:
    """Replaces the pixels of images by features of them.

    Args:
      dataset: images of 1 or 3 channels, with sides of 16 to 256 pixels.
      features: `hog`.
      standardize: whether all are divided by one number (see `load_arrays`).
      progress: called with (images done, number of images) after each image.

    Returns:
      A table of features, with thumbnails of the images.

    Raises:
      ValueError: other features, no images, or images of another size.
      ImportError: scikit-image is not installed.

    Example:
      >>> from dec_jax.data.dataset import image_dataset
      >>> images = np.zeros((2, 32, 32, 3), np.uint8)
      >>> images[1, :, 16:] = 255
      >>> table = with_features(image_dataset("two", images, None, "made"), "hog")
      >>> table.x.shape, table.image_shape, table.thumbnails.shape
      ((2, 452), None, (2, 32, 32, 3))
    """
    check_choice("features", features, FEATURES)
    if dataset.image_shape is None:
        raise ValueError(
            f"features is for images, got features={features!r} with {dataset.name}, whose "
            f"samples are {dataset.x.shape[1]} values."
        )
    height, width, channels = dataset.image_shape
    check_sides(features, height, width)
    if channels not in (1, 3):
        raise ValueError(
            f"features {features} needs images of 1 or 3 channels, got {channels}."
        )
    require("skimage", extra="features", task="histograms of oriented gradients")
    images = dataset.x.reshape(-1, *dataset.image_shape)
    rows = []
    for done, image in enumerate(images, start=1):
        values = image.astype(np.float32)
        rows.append(hog_and_colors(values / 255 if image.dtype == np.uint8 else values))
        if progress is not None:
            progress(done, len(images))
    reading = dataset.reading or ImageReading(size=(height, width))
    table = replace(
        dataset,
        x=np.stack(rows),
        image_shape=None,
        input_scale=1.0,
        deviation=1.0,
        source=f"{dataset.source}; features {features}",
        reading=replace(reading, features=features),
        thumbnails=thumbnails(images),
        notes=tuple(note for note in dataset.notes if note != PHOTOGRAPHS),
    )
    return standardized(table) if standardize else table


def check_sides(features: str, height: int, width: int) -> None:
    """Raises ValueError unless images of this size have such features."""
    low, high = SIDES
    if not (low <= height <= high and low <= width <= high):
        raise ValueError(
            f"features {features} needs images of {low} to {high} pixels a side, got "
            f"{height} x {width}; give another size, such as image_size={SIDE} "
            f"(--image-size {SIDE})."
        )


def hog_and_colors(image: Num[np.ndarray, "h w c"]) -> Float[np.ndarray, " d"]:
    """Computes the gradients of an image, and its colors on a grid of 8 x 8.

    Args:
      image: values from 0 to 1, of 1 or 3 channels.

    Returns:
      Histograms of 9 orientations in cells of 8 x 8 pixels, normalized in blocks of 2 x 2
      cells; for 3 channels also 128 values of color.
    """
    from skimage.feature import hog

    gradients = hog(
        image,
        orientations=9,
        pixels_per_cell=(CELL, CELL),
        cells_per_block=(2, 2),
        channel_axis=-1,
    )
    parts = [(gradients - HOG_MEAN) / HOG_SCALE]
    if image.shape[-1] == 3:
        # In values from 0 to 255 around 128, from which the published mean is subtracted.
        chroma = 255 * cell_means(image, 8) @ CHROMA.T
        parts.append((chroma / COLOR_SCALE).ravel())
    return np.concatenate(parts).astype(np.float32)


def cell_means(image: Num[np.ndarray, "h w c"], n: int) -> Num[np.ndarray, "n n c"]:
    """Averages an image over a grid of n x n cells."""
    rows, columns = (
        np.linspace(0, side, n, endpoint=False).astype(int) for side in image.shape[:2]
    )
    sums = np.add.reduceat(np.add.reduceat(image, rows, axis=0), columns, axis=1)
    heights = np.diff([*rows, image.shape[0]])
    widths = np.diff([*columns, image.shape[1]])
    return sums / (heights[:, None, None] * widths[:, None])
