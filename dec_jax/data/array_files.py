"""Arrays in npz and npy files: read as far as their headers say, and no further."""

import math
import os
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from dec_jax.validation import reason, shortened

# Names that an npz file may give to its samples and its labels.
X_NAMES: tuple[tuple[str, ...], ...] = (("x",), ("images",), ("train_x", "test_x"))
Y_NAMES: tuple[tuple[str, ...], ...] = (("y",), ("labels",), ("train_y", "test_y"))
SPARSE = {"format", "shape", "data"}
MAX_DENSE = 8 * 2**30  # bytes of a sparse matrix with its zeros stored
# A member of more bytes than this may not be packed more tightly than by this ratio.
MAX_PACKED, MAX_RATIO = 2**30, 200
UNREADABLE = (
    *(ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile, zlib.error),
    *(NotImplementedError, RuntimeError, OverflowError),
)


def read_npy(path: Path) -> np.ndarray:
    """Reads the array of an npy file; pickled objects are rejected."""
    # NumPy would report any other file as a pickle.
    with path.open("rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise ValueError(
                f"{path} is not an npy file: it does not begin as numpy.save writes it."
            )
        file.seek(0)
        try:
            check_header(file, os.fstat(file.fileno()).st_size)
            file.seek(0)
            return np.lib.format.read_array(file, allow_pickle=False)
        except UNREADABLE as error:
            raise ValueError(f"{path} cannot be read: {reason(error)}") from error


def check_header(file: IO[bytes] | zipfile.ZipExtFile, size: int) -> None:
    """Raises ValueError unless a header of npy describes so many bytes with itself."""
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            read = np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    # A damaged header is no Python literal; NumPy lets errors of Python's parser through.
    except Exception as error:
        raise ValueError("its header is damaged.") from error
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded, because they run code.")
    expected = file.tell() + math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or size < expected:
        raise ValueError(
            f"its header describes {expected:,} bytes, an array {list(shape)} of {dtype}, "
            f"and it has {size:,}; it is truncated or damaged."
        )


def read_npz(path: Path) -> tuple[Any, np.ndarray | None]:
    """Reads samples and labels of an npz file, the training part first."""
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"{path} is not an npz file: it is no zip archive, or it is truncated."
        )
    known = {name for names in (*X_NAMES, *Y_NAMES) for name in names}
    try:
        with zipfile.ZipFile(path) as archive:
            members = {
                info.filename.removesuffix(".npy"): info for info in archive.infolist()
            }
            if set(members) >= SPARSE:
                for info in members.values():
                    check_member(archive, info)
                return read_sparse(path), None
            arrays = {
                name: read_member(archive, info)
                for name, info in members.items()
                if name in known
            }
    except UNREADABLE as error:
        raise ValueError(f"{path} cannot be read: {reason(error)}") from error
    x_names = next((names for names in X_NAMES if names[0] in arrays), ())
    y_names = next((names for names in Y_NAMES if names[0] in arrays), ())
    fitting = not y_names or len(y_names) == len(x_names)
    if not x_names or not fitting or set(arrays) != {*x_names, *y_names}:
        raise ValueError(
            f"{path} must hold one of x, images, or train_x with test_x, and may hold "
            "one of y, labels, or train_y with test_y; "
            f"it has: {shortened(', '.join(members)) or 'no arrays'}."
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


def check_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    """Raises ValueError if a member is no array, or unpacks to what no data are."""
    size, packed = info.file_size, max(1, info.compress_size)
    if size > MAX_PACKED and size > MAX_RATIO * packed:
        raise ValueError(
            f"{info.filename} would unpack to {size / 2**30:.1f} GiB, {size // packed} "
            "times its size in the file; save it by numpy.savez if it is meant."
        )
    with archive.open(info) as file:
        if file.read(6) != b"\x93NUMPY":
            raise ValueError(f"{info.filename} is no array.")
        file.seek(0)
        check_header(file, size)


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """Reads one array of an npz file."""
    check_member(archive, info)
    with archive.open(info) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def read_sparse(path: Path) -> np.ndarray:
    """Reads a matrix that `scipy.sparse.save_npz` wrote, and stores its zeros."""
    import scipy.sparse

    matrix = scipy.sparse.load_npz(path)
    # SciPy writes to the places that the indices name, wherever in memory they are.
    if matrix.format in ("csr", "csc", "bsr"):
        try:
            matrix.check_format(full_check=True)
        except ValueError as error:
            raise ValueError(
                f"its indices do not fit its shape {matrix.shape}: {error}."
            ) from error
    size = math.prod(matrix.shape) * matrix.dtype.itemsize
    if size > MAX_DENSE:
        raise ValueError(
            f"it must take at most {MAX_DENSE >> 30} GiB with its zeros, got "
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
