"""A user's own arrays, in memory or in npz and npy files."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dec_jax.data.array_files import read_npy, read_npz
from dec_jax.data.dataset import (
    SAME_UNIT,
    Dataset,
    image_dataset,
    input_scale_of,
    integer_labels,
)
from dec_jax.validation import near_path

# Rows of bytes are pixels if one is as bright as this, else numbers.
LEAST_WHITE = 128
MOST_UNITS = 64  # columns up to which a table may have columns of different units
# Times the trimmed deviation beyond which a deviation is that of a few rows far away.
FEW_ROWS = 5.0
FAR = 100.0  # trimmed deviations
GAP = 5.0  # ratio of distances between rows far away and all others


def dataset_from_array(
    x: Any,
    *,
    labels: Any = None,
    image_shape: Sequence[int] | None = None,
    name: str = "array",
    source: str = "array in memory",
    standardize: bool = True,
) -> Dataset:
    """Makes a `Dataset` of an array by the rules that `load_arrays` applies to a file.

    Args:
      x: samples, a NumPy or JAX array (or nested lists) of real numbers or booleans:
        [n, d] is a table, [n, h, w] and [n, h, w, c] are images. Booleans become the
        numbers 0 and 1 in float32. Bytes are pixels, but those of a table whose largest
        is below 128 are numbers.
      labels: class of each sample, shape [n], or None. Integers that fit int32 are kept,
        all others are numbered in sorted order.
      image_shape: (height, width) or (height, width, channels) of images that are given
        as flat rows [n, d]; None is a table.
      name: name of the data in results.
      source: one line that says where the data come from; messages begin with it.
      standardize: whether numbers are divided by `deviation_of` them; bytes are not.

    Returns:
      The data set. Its `x` has shape [n, d].

    Raises:
      TypeError: `x` does not hold real numbers.
      ValueError: `x` is empty, not finite or of another rank; `labels` or `image_shape`
        do not fit it.

    Example:
      >>> table = dataset_from_array([[0.0, 0.0], [4.0, 0.0], [0.0, 8.0], [4.0, 8.0]])
      >>> round(table.deviation**2, 3)  # the mean of the columns' variances, 4 and 16
      10.0
      >>> images = dataset_from_array(np.zeros((5, 4, 3), np.uint8))
      >>> images.x.shape, images.image_shape, images.input_scale == 1 / 255
      ((5, 12), (4, 3, 1), True)
    """
    if hasattr(x, "toarray"):
        raise TypeError(
            f"{source}: x must be an array, got a sparse {type(x).__name__}; give "
            "x.toarray(), which stores its zeros."
        )
    x = np.asarray(x)
    if x.dtype.kind in "OUS":
        raise TypeError(
            f"{source}: x must be numeric, got dtype {x.dtype}; encode text and categories "
            "first, or give the DataFrame or the file itself, which are read column by "
            "column (load_table)."
        )
    # Booleans are numbers here, and 16 bits are too few to divide floats by a scale.
    if x.dtype == np.bool_ or x.dtype.name in ("bfloat16", "float16"):
        x = x.astype(np.float32)
    # JAX takes native byte order only; the values stay the same.
    x = x.astype(x.dtype.newbyteorder("="), copy=False)
    is_bytes = x.dtype == np.uint8 and x.ndim == 2 and image_shape is None and x.size
    if standardize and is_bytes and x.max() < LEAST_WHITE:
        x = x.astype(np.float32)
    if labels is not None:
        labels = integer_labels(np.asarray(labels), source)
    if image_shape is not None:
        x = images_of_rows(x, tuple(image_shape), source)
    if x.ndim not in (2, 3, 4):
        raise ValueError(
            f"{source}: x must have shape [n, d] (a table), [n, h, w] or [n, h, w, c] (images), "
            f"got {list(x.shape)}."
        )
    if x.ndim == 2:
        dataset = Dataset(name, x, labels, None, source, input_scale_of(x))
    else:
        images = x if x.ndim == 4 else x[..., None]
        dataset = image_dataset(name, images, labels, source)
    return standardized(dataset) if standardize else dataset


def images_of_rows(
    x: np.ndarray, image_shape: tuple[int, ...], source: str
) -> np.ndarray:
    """Reshapes rows to images [n, h, w, c]; images must have that shape already."""
    shape = (*image_shape, 1) if len(image_shape) == 2 else image_shape
    fits = x.ndim == 2 and math.prod(shape) == x.shape[1]
    same = x.ndim in (3, 4) and (*x.shape[1:], 1)[:3] == shape
    if len(shape) != 3 or not (fits or same):
        raise ValueError(
            f"{source}: image_shape must be (height, width) or (height, width, channels) "
            f"of the samples, got {image_shape} for x of shape {list(x.shape)}."
        )
    return x.reshape(len(x), *shape)


def load_arrays(path: Path, *, standardize: bool = True) -> Dataset:
    """Loads a table or images, and labels if there are any, from an npz or npy file.

    An npz file holds `x` or `images` (or `train_x` and `test_x`), and may hold `y` or
    `labels` (or `train_y` and `test_y`). Arrays of shape [n, d] are a table; [n, h, w]
    and [n, h, w, c] are images. A sparse matrix that `scipy.sparse.save_npz` wrote is a
    table without labels.

    Args:
      path: the file.
      standardize: whether numbers are divided by `deviation_of` them, which keeps the
        ratios of all distances; bytes are not.

    Returns:
      The data set, made by `dataset_from_array`.

    Raises:
      FileNotFoundError: the file does not exist.
      ValueError: a damaged file, other arrays than these, or values that are not finite.
      TypeError: samples that are not numbers.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder) / "points.npz"
      ...     np.savez(path, x=[[0.0, 0.0], [2.0, 2.0]], y=["a", "b"])
      ...     points = load_arrays(path)
      >>> points.x.tolist(), points.labels.tolist(), points.deviation
      ([[0.0, 0.0], [2.0, 2.0]], [0, 1], 1.0)
    """
    if not path.is_file():
        raise FileNotFoundError(f"The data file {path} does not exist{near_path(path)}")
    if path.suffix.lower() == ".npz":
        x, labels = read_npz(path)
    else:
        x, labels = read_npy(path), None
    source = f"{path.suffix[1:].lower()} file {path}"
    return dataset_from_array(
        x, labels=labels, name=path.stem, source=source, standardize=standardize
    )


def standardized(dataset: Dataset) -> Dataset:
    """Divides x by `deviation_of` it, in float32; leaves it alone if that is 1.

    Raises:
      ValueError: a row lies so far from all others that the quotient overflows.
    """
    deviation = deviation_of(dataset)
    if deviation == 1:
        return dataset
    with np.errstate(over="ignore"):
        x = (dataset.x / deviation).astype(np.float32)
    if not np.isfinite(x).all():
        row, column = np.argwhere(~np.isfinite(x))[0]
        raise ValueError(
            f"{dataset.source}: the rows must have values of like size, got "
            f"{dataset.x[row, column]:.3g} in row {row}, column {column}, which divided by "
            "the deviation of the other rows overflows float32; remove the row, or give "
            "standardize=False (--no-standardize)."
        )
    return replace(
        dataset,
        x=x,
        input_scale=1.0,
        deviation=deviation,
    )


def deviation_of(dataset: Dataset) -> float | tuple[float, ...]:
    """Computes the scale of numbers in an unknown unit.

    DEC's kernel has a unit: samples are close if their embeddings lie within 1 of each
    other. Dividing by one number keeps the ratios of all distances. That is right for
    embeddings, whose columns share a unit; the columns of a table of measurements do not,
    and the one with the largest numbers would decide alone.

    Args:
      dataset: a table or images.

    Returns:
      For a table the square root of the columns' mean variance; one scale for each column
      if there are at most `MOST_UNITS` columns, whose scales differ by more than
      `SAME_UNIT`. For images with values outside [-1, 1] the largest absolute value. 1
      for bytes, which `input_scale` scales, and for constant data.
    """
    x = dataset.x
    if x.dtype == np.uint8:
        return 1.0
    if dataset.image_shape is not None:
        return max(1.0, float(np.abs(x.astype(np.float64, copy=False)).max()))
    # In blocks of columns: one call would copy all of x to float64.
    pieces = [x[:, i : i + 64] for i in range(0, x.shape[1], 64)]
    variances = [piece.var(axis=0, dtype=np.float64) for piece in pieces]
    if 1 < x.shape[1] <= MOST_UNITS:
        scales = column_scales(x, np.sqrt(np.concatenate(variances)))
        varying = scales[scales > 0]
        if len(varying) and varying.max() > SAME_UNIT * varying.min():
            return tuple(np.where(scales > 0, scales, 1.0).tolist())
        variances = [scales**2]
    return float(np.concatenate(variances).mean()) ** 0.5 or 1.0


def column_scales(x: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """Replaces a column's deviation where a few rows set it.

    Args:
      x: [n, d] numbers.
      deviations: [d] of the columns.

    Returns:
      [d] the deviation; where that of the column without its few most extreme values is
      far smaller and not 0, that one. A long tail, whose rows are many, changes nothing.
    """
    trimmed = trimmed_deviations(x)
    few = (trimmed > 0) & (deviations > FEW_ROWS * trimmed)
    return np.where(few, trimmed, deviations)


def far_rows(x: np.ndarray) -> int:
    """Counts the rows of a table that lie far away from all others.

    Args:
      x: [n, d] numbers.

    Returns:
      The number of rows with a value more than `FAR` trimmed deviations from the median
      of its column, where they are few and all others are `GAP` times nearer; else 0.

    Example:
      >>> x = np.linspace(0, 1, 500)[:, None]
      >>> far_rows(np.concatenate([x, [[1e6]]]))
      1
    """
    trimmed = trimmed_deviations(x)
    scale = np.where(trimmed > 0, trimmed, np.inf)
    distance = (np.abs(x - np.median(x, axis=0)) / scale).max(axis=1)
    far = distance > FAR
    if not 0 < far.sum() <= few_rows(len(x)):
        return 0
    apart = distance[far].min() > GAP * distance[~far].max()
    return int(far.sum()) if apart else 0


def few_rows(n: int) -> int:
    """Returns the number of rows that count as few: one in 200, or 3 of at least 60."""
    return max(-(-n // 200), min(3, n // 20)) if n > 2 else 0


def trimmed_deviations(x: np.ndarray) -> np.ndarray:
    """Computes the deviation of each column, its few most extreme values drawn in."""
    few = few_rows(len(x))
    ordered = np.partition(x, (few, len(x) - 1 - few), axis=0)
    return np.clip(x, ordered[few], ordered[-1 - few]).std(axis=0, dtype=np.float64)
