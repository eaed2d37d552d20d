"""A user's own arrays: npz and npy files."""

import math
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from dec_jax.data.dataset import Dataset, image_dataset, input_scale_of, integer_labels

# What an npz file may call its samples and its labels.
X_NAMES: tuple[tuple[str, ...], ...] = (("x",), ("images",), ("train_x", "test_x"))
Y_NAMES: tuple[tuple[str, ...], ...] = (("y",), ("labels",), ("train_y", "test_y"))
MAX_DENSE = 8 * 2**30  # bytes of a sparse matrix once its zeros are there
UNREADABLE = (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile, zlib.error)


def load_arrays(path: Path, *, standardize: bool = True) -> Dataset:
    """A table or images, and labels where there are any, from an npz or npy file.

    Args:
      path: the file.
      standardize: whether numbers are divided by their `deviation_of`; bytes are not.
    """
    if not path.is_file():
        raise FileNotFoundError(f"The data file {path} does not exist.")
    if path.suffix.lower() == ".npz":
        x, labels = read_npz(path)
    else:
        x, labels = read_npy(path), None
    # JAX takes native byte order only; the values stay the same.
    x = x.astype(x.dtype.newbyteorder("="), copy=False)
    source = f"{path.suffix[1:].lower()} file {path}"
    labels = None if labels is None else integer_labels(labels, source)
    if x.ndim not in (2, 3, 4):
        raise ValueError(
            f"{source}: x must have shape [n, d] (a table), [n, h, w] or [n, h, w, c] (images), "
            f"got {list(x.shape)}."
        )
    if x.ndim == 2:
        dataset = Dataset(path.stem, x, labels, None, source, input_scale_of(x))
    else:
        images = x if x.ndim == 4 else x[..., None]
        dataset = image_dataset(path.stem, images, labels, source)
    return standardized(dataset) if standardize else dataset


def standardized(dataset: Dataset) -> Dataset:
    """The data set with x in float32, divided by its `deviation_of`."""
    deviation = deviation_of(dataset)
    if deviation == 1:
        return dataset
    return replace(
        dataset,
        x=(dataset.x / deviation).astype(np.float32),
        input_scale=1.0,
        deviation=deviation,
    )


def deviation_of(dataset: Dataset) -> float:
    """What numbers of an unknown unit are divided by, which keeps all ratios of distances.

    The kernel of DEC has a unit: samples whose embeddings lie within 1 of each other are
    close. Of tables it is the square root of the columns' mean variance; of images that
    go beyond -1 to 1, the largest value. 1 for bytes, which have a scale of their own,
    and for constant data.
    """
    x = dataset.x
    if x.dtype == np.uint8:
        return 1.0
    if dataset.image_shape is not None:
        return max(1.0, float(np.abs(x.astype(np.float64, copy=False)).max()))
    # Some columns at a time: the variance of all would copy all in float64.
    pieces = [x[:, i : i + 64] for i in range(0, x.shape[1], 64)]
    variances = [piece.var(axis=0, dtype=np.float64) for piece in pieces]
    return float(np.concatenate(variances).mean()) ** 0.5 or 1.0


def read_npy(path: Path) -> np.ndarray:
    """The array of an npy file; pickled objects are refused."""
    # Without this NumPy takes every unknown file for a pickle and says so.
    with path.open("rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise ValueError(
                f"{path} is not an npy file: it does not start as numpy.save writes."
            )
    try:
        return np.load(path, allow_pickle=False)
    except UNREADABLE as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def read_npz(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Samples and labels of an npz file, the training part first."""
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"{path} is not an npz file: it is no zip archive, or a truncated one."
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
    """The matrix of a file that `scipy.sparse.save_npz` wrote, with all of its zeros."""
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
    """The parts one after the other; they must agree in type and in all but length."""
    arrays = list(parts.values())
    # `char` is the type without the length of the text.
    if len({(array.dtype.char, array.shape[1:]) for array in arrays}) > 1:
        found = " and ".join(f"{array.dtype} {array.shape}" for array in arrays)
        raise ValueError(f"{path}: {' and '.join(parts)} must fit, got {found}.")
    return np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
