"""A user's own arrays, in memory or in npz and npy files."""

import math
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dec_jax.data.dataset import Dataset, image_dataset, input_scale_of, integer_labels

# Names that an npz file may give to its samples and its labels.
X_NAMES: tuple[tuple[str, ...], ...] = (("x",), ("images",), ("train_x", "test_x"))
Y_NAMES: tuple[tuple[str, ...], ...] = (("y",), ("labels",), ("train_y", "test_y"))
MAX_DENSE = 8 * 2**30  # bytes of a sparse matrix with its zeros stored
UNREADABLE = (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile, zlib.error)

MOST_UNITS = 64  # columns up to which a table may have columns of different units
SAME_UNIT = 10.0  # ratio of the columns' scales up to which they count as one unit
# Times the trimmed deviation beyond which a deviation is that of a few rows far away.
FEW_ROWS = 5.0
FAR = 100.0  # trimmed deviations


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
        numbers 0 and 1 in float32.
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
    x = np.asarray(x)
    # Booleans are numbers here, and 16 bits are too few to divide floats by a scale.
    if x.dtype == np.bool_ or x.dtype.name in ("bfloat16", "float16"):
        x = x.astype(np.float32)
    # JAX takes native byte order only; the values stay the same.
    x = x.astype(x.dtype.newbyteorder("="), copy=False)
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
        raise FileNotFoundError(f"The data file {path} does not exist.")
    if path.suffix.lower() == ".npz":
        x, labels = read_npz(path)
    else:
        x, labels = read_npy(path), None
    source = f"{path.suffix[1:].lower()} file {path}"
    return dataset_from_array(
        x, labels=labels, name=path.stem, source=source, standardize=standardize
    )


def standardized(dataset: Dataset) -> Dataset:
    """Divides x by `deviation_of` it, in float32; leaves it alone if that is 1."""
    deviation = deviation_of(dataset)
    if deviation == 1:
        return dataset
    return replace(
        dataset,
        x=(dataset.x / deviation).astype(np.float32),
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
      [d] the deviation; where that of the column without its most extreme hundredth is
      far smaller and not 0, that one. A long tail, whose rows are many, changes nothing.
    """
    low, high = np.percentile(x, [0.5, 99.5], axis=0)
    trimmed = np.clip(x, low, high).std(axis=0)
    few = (trimmed > 0) & (deviations > FEW_ROWS * trimmed)
    return np.where(few, trimmed, deviations)


def far_rows(x: np.ndarray) -> int:
    """Counts the rows of a table that lie far away from all others.

    Args:
      x: [n, d] numbers.

    Returns:
      The number of rows with a value more than `FAR` trimmed deviations from the median
      of its column, where they are fewer than a hundredth of all; else 0.

    Example:
      >>> x = np.linspace(0, 1, 500)[:, None]
      >>> far_rows(np.concatenate([x, [[1e6]]]))
      1
    """
    low, middle, high = np.percentile(x, [0.5, 50, 99.5], axis=0)
    trimmed = np.clip(x, low, high).std(axis=0)
    distance = np.abs(x - middle[None])
    far = ((distance > FAR * trimmed) & (trimmed > 0)).any(axis=1).sum()
    return int(far) if far < len(x) / 100 else 0


def read_npy(path: Path) -> np.ndarray:
    """Reads the array of an npy file; pickled objects are rejected."""
    # NumPy would report any other file as a pickle.
    with path.open("rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise ValueError(
                f"{path} is not an npy file: it does not begin as numpy.save writes it."
            )
    try:
        return np.load(path, allow_pickle=False)
    except UNREADABLE as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def read_npz(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Reads samples and labels of an npz file, the training part first."""
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"{path} is not an npz file: it is no zip archive, or it is truncated."
        )
    known = {name for names in (*X_NAMES, *Y_NAMES) for name in names}
    try:
        with np.load(path, allow_pickle=False) as file:
            present = list(file.files)
            arrays = {name: file[name] for name in present if name in known}
    except UNREADABLE as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if {"format", "shape", "data"} <= set(present):
        return read_sparse(path), None
    x_names = next((names for names in X_NAMES if names[0] in arrays), ())
    y_names = next((names for names in Y_NAMES if names[0] in arrays), ())
    fitting = not y_names or len(y_names) == len(x_names)
    if not x_names or not fitting or set(arrays) != {*x_names, *y_names}:
        raise ValueError(
            f"{path} must hold one of x, images, or train_x with test_x, and may hold "
            "one of y, labels, or train_y with test_y; "
            f"it has: {', '.join(present) or 'no arrays'}."
        )
    for x_name, y_name in zip(x_names, y_names, strict=False):
        if arrays[y_name].shape != arrays[x_name].shape[:1]:
            raise ValueError(
                f"{path}: {y_name} must hold one label for each row of {x_name}, got "
                f"shapes {arrays[y_name].shape} and {arrays[x_name].shape}."
            )
    x = joined(path, {name: arrays[name] for name in x_names})
    if not y_names:
        return x, None
    return x, joined(path, {name: arrays[name] for name in y_names})


def read_sparse(path: Path) -> np.ndarray:
    """Reads a matrix that `scipy.sparse.save_npz` wrote, and stores its zeros."""
    import scipy.sparse

    try:
        matrix = scipy.sparse.load_npz(path)
    except (*UNREADABLE, NotImplementedError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    size = math.prod(matrix.shape) * matrix.dtype.itemsize
    if size > MAX_DENSE:
        raise ValueError(
            f"{path} must take at most {MAX_DENSE >> 30} GiB with its zeros, got "
            f"{size / 2**30:.1f} GiB of shape {matrix.shape}; keep fewer columns, such as "
            "the most frequent terms."
        )
    return matrix.toarray()


def joined(path: Path, parts: dict[str, np.ndarray]) -> np.ndarray:
    """Concatenates parts, which must agree in type and in shape but for the length."""
    arrays = list(parts.values())
    # `char` is the type without the length of strings.
    if len({(array.dtype.char, array.shape[1:]) for array in arrays}) > 1:
        found = " and ".join(f"{array.dtype} {array.shape}" for array in arrays)
        raise ValueError(f"{path}: {' and '.join(parts)} must fit, got {found}.")
    return np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
