"""Sources of samples: arrays, and files larger than memory, read some rows at a time.

Sources keep no rows: only the arrays that `read` returns take memory.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO, Protocol, runtime_checkable

import numpy as np

from dec_jax.data.image_files import find_files
from dec_jax.data.image_pixels import MODES, Picture, read_image
from dec_jax.data.images import height_and_width
from dec_jax.data.reading import ImageReading
from dec_jax.streaming.mapped_rows import MappedRows
from dec_jax.validation import (
    check_choice,
    check_samples,
    expanded,
    near_path,
    one_line,
    require,
    shown,
)


@runtime_checkable
class Source(Protocol):
    """Samples that can be read repeatedly, in any order.

    Attributes:
      name: name of the source in messages.
      shape: (n, d), the number of samples and of the values of each.
      dtype: dtype of the arrays that `read` returns, such as uint8.
    """

    name: str
    shape: tuple[int, int]
    dtype: np.dtype

    def read(self, rows: np.ndarray | slice) -> np.ndarray:
        """Returns the samples [b, d] of these rows, in order; called by one thread."""


class ArraySource:
    """Source of samples in memory.

    Args:
      x: samples, shape [n, d].
      name: name of the source in messages.

    Raises:
      TypeError, ValueError: `x` is not finite numbers of shape [n, d].

    Example:
      >>> ArraySource(np.zeros((5, 2))).read(slice(0, 3)).shape
      (3, 2)
    """

    def __init__(self, x: np.ndarray, name: str = "x") -> None:
        check_samples(x, name)
        self._x = np.asarray(x)
        self.name, self.dtype = name, self._x.dtype
        self.shape = (self._x.shape[0], self._x.shape[1])

    def read(self, rows: np.ndarray | slice) -> np.ndarray:
        """Returns the samples of these rows."""
        return self._x[rows]


class NpySource:
    """Source of samples in an .npy file, which is memory-mapped.

    Samples of more than one axis are flattened. Floats are not scaled, whereas
    `load_dataset` divides the values of a table by the square root of its columns' mean
    variance: write values whose columns have a mean variance of about 1.

    Pages of a mapping count as resident memory once they are read. They are given back
    after each read (not on Windows), and stay in the system's file cache.

    Args:
      path: file written by `numpy.save`, of shape [n, d], or images [n, h, w(, c)].

    Attributes:
      image_shape: (height, width, channels) of images, else None.

    Raises:
      FileNotFoundError: the file does not exist.
      TypeError: the file does not hold numbers.
      ValueError: the file is not an .npy file, has only one axis, is empty, is stored by
        columns, or ends before its last row.

    Example:
      >>> import tempfile
      >>> with tempfile.NamedTemporaryFile(suffix=".npy") as file:
      ...     np.save(file.name, np.zeros((9, 4), np.float32))
      ...     NpySource(file.name).shape
      (9, 4)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        path = expanded(path)
        if not path.is_file():
            raise FileNotFoundError(
                f"The data file {path} does not exist{near_path(path)}"
            )
        self.name = str(path)
        with path.open("rb") as file:
            full_shape, dtype = read_header(file, path)
            offset = file.tell()
            n, d = full_shape[0], int(np.prod(full_shape[1:], dtype=np.int64))
            size, expected = path.stat().st_size, offset + n * d * dtype.itemsize
            if size < expected:
                raise ValueError(
                    f"{path} is truncated: {n} samples of {d} values ({dtype}) take "
                    f"{expected} bytes, got {size}; copy or write it again."
                )
            self._rows = MappedRows(file, (n, d), dtype, offset)
        self.shape, self.dtype = (n, d), dtype.newbyteorder("=")
        self.image_shape: tuple[int, int, int] | None = None
        if 3 <= len(full_shape) <= 4:
            height, width, channels = (*full_shape[1:], 1)[:3]
            self.image_shape = (height, width, channels)

    def read(self, rows: np.ndarray | slice) -> np.ndarray:
        """Returns the samples of these rows."""
        # JAX takes native byte order only; a conversion keeps the values.
        return self._rows.read(rows).astype(self.dtype, copy=False)


def read_header(file: IO[bytes], path: Path) -> tuple[tuple[int, ...], np.dtype]:
    """Reads shape and dtype of an open .npy file, up to the start of its first sample."""
    try:
        version = np.lib.format.read_magic(file)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, by_columns, dtype = read(file)
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"{path} is not an npy file of numbers: it does not start as numpy.save "
            "writes."
        ) from error
    if len(shape) < 2:
        raise ValueError(
            f"{path} must hold samples of shape [n, d] or images, got {list(shape)}."
        )
    if 0 in shape:
        raise ValueError(f"{path} is empty: its shape is {list(shape)}.")
    if by_columns:
        raise ValueError(
            f"{path} is stored by columns (Fortran order): no row can be read alone; "
            "save numpy.ascontiguousarray(x)."
        )
    check_samples(np.zeros((1, 1), dtype), str(path))
    return shape, dtype


class ArrayRecordSource:
    """Source of samples in array_record files, such as those of TFDS, one a record.

    Args:
      paths: a file, or several whose records follow one another.
      dtype: dtype of the values, if a record consists of their bytes.
      decode: function from a record's bytes to its values, of any shape, in place of
        `dtype`. For TFDS it is
        `lambda record: features.deserialize_example_np(record)["image"]` with
        `features = tfds.builder(name).info.features`.

    Raises:
      FileNotFoundError: a file does not exist.
      ValueError: a file is damaged or empty, or the bytes of the first record are not a
        whole number of values.
      TypeError: a record does not hold numbers.
      ImportError: array_record is not installed.
    """

    def __init__(
        self,
        paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        dtype: str | np.dtype = "uint8",
        decode: Callable[[bytes], np.ndarray] | None = None,
    ) -> None:
        array_record = require(
            "array_record.python.array_record_data_source",
            extra="data",
            task="reading array_record files",
        )
        given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
        files = [expanded(path) for path in given]
        for path in files:
            if not path.is_file():
                raise FileNotFoundError(
                    f"The data file {path} does not exist{near_path(path)}"
                )
        self.name = ", ".join(map(str, files[:1])) + (" ..." if files[1:] else "")
        self._decode = decode or partial(np.frombuffer, dtype=np.dtype(dtype))
        try:
            self._records = array_record.ArrayRecordDataSource(
                [str(path) for path in files]
            )
            n = len(self._records)
        except Exception as error:
            raise ValueError(
                f"{self.name} cannot be read: {one_line(error)}"
            ) from error
        if n == 0:
            raise ValueError(f"{self.name} is empty: it holds no records.")
        first = self._values([0])[0]
        self.shape, self.dtype = (n, first.size), first.dtype
        check_samples(first.reshape(1, -1), self.name)

    def read(self, rows: np.ndarray | slice) -> np.ndarray:
        """Returns the samples of these records."""
        n, d = self.shape
        if isinstance(rows, slice):
            rows = np.arange(n)[rows]
        out = np.empty((len(rows), d), self.dtype)
        for place, (row, values) in enumerate(
            zip(rows, self._values(rows.tolist()), strict=True)
        ):
            if values.size != d or values.dtype != self.dtype:
                raise ValueError(
                    f"{self.name}: all records must be alike, got {d} values "
                    f"({self.dtype}) in record 0 and {values.size} ({values.dtype}) in "
                    f"record {row}."
                )
            out[place] = values.reshape(-1)
        return out

    def _values(self, rows: list[int]) -> list[np.ndarray]:
        """Reads and decodes records."""
        try:
            records = self._records.__getitems__(rows)
            return [np.asarray(self._decode(record)) for record in records]
        except Exception as error:
            raise ValueError(
                f"{self.name} cannot be read: {one_line(error)}"
            ) from error


class ImageFolderSource:
    """Source of the images of a folder, which are decoded each time they are read.

    If training makes many passes, `write_npy` decodes the images once. The files are
    those that `load_image_folder` finds.

    Args:
      folder: the folder.
      size: (height, width) in pixels, or one number for both.
      mode: `gray` (1 channel) or `color` (3 channels). It has no default, because finding
        the mode of all files would take a pass.
      levels: values of files with more than 8 bits that become 0 and 255. Without them,
        such files are refused, because finding their range would take a pass.

    Attributes:
      names: the paths relative to `folder`, in the order of the rows.
      image_shape: (height, width, channels).

    Raises:
      FileNotFoundError: `folder` does not exist.
      ValueError: `folder` holds no images, or an option is out of range.
      TypeError: `size` does not consist of integers.
      ImportError: Pillow is not installed.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        size: int | Sequence[int],
        mode: str,
        levels: tuple[float, float] | None = None,
    ) -> None:
        require("PIL", extra="images", task="reading images")
        check_choice("mode", mode, MODES)
        height, width = height_and_width(size)
        self._folder = expanded(folder)
        self._levels = levels
        self._read = partial(
            read_image, reading=ImageReading((height, width), mode, levels=levels)
        )
        self.names = tuple(find_files(self._folder).images)
        self.image_shape = (height, width, 1 if mode == "gray" else 3)
        self.name = f"image folder {self._folder}"
        self.shape = (len(self.names), int(np.prod(self.image_shape)))
        self.dtype = np.dtype(np.uint8)

    def read(self, rows: np.ndarray | slice) -> np.ndarray:
        """Returns the pixels of these images; raises ValueError for one that is unreadable."""
        if isinstance(rows, slice):
            rows = np.arange(len(self.names))[rows]
        names = [self.names[row] for row in rows]
        out = np.empty((len(names), self.shape[1]), np.uint8)
        # Pillow decodes and resizes without Python's global lock, so that threads help.
        pool = ThreadPoolExecutor()
        try:
            pictures = pool.map(self._read, [self._folder / name for name in names])
            for place, (name, picture) in enumerate(zip(names, pictures, strict=True)):
                if isinstance(picture, str):
                    raise ValueError(
                        f"{self.name}: {shown(name)} cannot be read: {picture}; repair or "
                        "delete it."
                    )
                out[place] = self._bytes(name, picture).reshape(-1)
        finally:
            pool.shutdown(cancel_futures=True)
        return out

    def _bytes(self, name: str, picture: Picture) -> np.ndarray:
        """Scales the pixels of more than 8 bits by the levels."""
        if picture.limits is None:
            return picture.pixels
        if self._levels is None:
            raise ValueError(
                f"{self.name}: {shown(name)} has more than 8 bits a value, from "
                f"{picture.limits[0]:g} to {picture.limits[1]:g}; give levels=(low, high)."
            )
        low, high = self._levels
        scaled = (picture.pixels - low) * (255 / (high - low))
        return scaled.round().clip(0, 255).astype(np.uint8)


def source_of(x: Source | np.ndarray) -> Source:
    """Wraps an array in an `ArraySource`; returns a source as it is."""
    return x if isinstance(x, Source) else ArraySource(x)


def write_npy(
    path: str | os.PathLike[str],
    source: Source | np.ndarray,
    *,
    rows_at_once: int = 4096,
) -> None:
    """Writes a source to an .npy file, some rows at a time, for `NpySource` to read.

    Args:
      path: the file to write; an existing file is replaced.
      source: the samples.
      rows_at_once: number of samples in memory at a time.
    """
    source = source_of(source)
    header = {
        "descr": np.lib.format.dtype_to_descr(source.dtype),
        "fortran_order": False,
        "shape": source.shape,
    }
    with expanded(path).open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, source.shape[0], rows_at_once):
            file.write(source.read(slice(start, start + rows_at_once)).tobytes())
