"""A source as a data set: for runs that read rows as they need them."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dec_jax.data.arrays import LEAST_WHITE
from dec_jax.data.dataset import Dataset, input_scale_of
from dec_jax.streaming.read_ahead import Reading, read
from dec_jax.streaming.sources import Source
from dec_jax.validation import check_samples


class SourceRows:
    """Rows of a source, read like those of an array: by a slice or by their numbers.

    Args:
      source: the samples.
      low: [d] the least value of each column.
      high: [d] the largest one.

    Example:
      >>> from dec_jax.streaming import ArraySource
      >>> rows = SourceRows(ArraySource(np.eye(3)), np.zeros(3), np.ones(3))
      >>> len(rows), rows[1:].tolist(), float(rows.max())
      (3, [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], 1.0)
    """

    def __init__(self, source: Source, low: np.ndarray, high: np.ndarray) -> None:
        self.source, self.low, self.high = source, low, high
        self.shape, self.dtype, self.ndim = source.shape, source.dtype, 2
        self.size = source.shape[0] * source.shape[1]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        if isinstance(rows, slice):
            rows = slice(*rows.indices(len(self)))
        return read(self.source, rows)

    def min(self, axis: int | None = None) -> Any:
        """Returns the least value, or with axis 0 that of each column."""
        return self.low.min() if axis is None else self.low

    def max(self, axis: int | None = None) -> Any:
        """Returns the largest value, or with axis 0 that of each column."""
        return self.high.max() if axis is None else self.high


@dataclass(frozen=True, eq=False)
class StreamedDataset(Dataset):
    """A data set whose rows stay in their source.

    Attributes:
      x: the rows; all else is as in `Dataset`.
      checksum: SHA-256, equal to that of the same data in memory.
      stream: settings for reading the source.
    """

    x: SourceRows  # type: ignore[assignment]
    checksum: str = ""
    stream: Reading = Reading()

    def __post_init__(self) -> None:
        """Checks nothing: `stream_dataset` has looked at each row."""

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the rows, of their type, shape and bytes, in hexadecimal."""
        return self.checksum


def stream_dataset(
    source: Source,
    *,
    name: str = "",
    standardize: bool = True,
    reading: Reading = Reading(),
) -> StreamedDataset:
    """Makes a data set of a source, in one pass over its rows.

    Bytes are scaled from 0 to 255 to 0 to 1. Other numbers are taken as they are: those
    that `fit` would divide by their deviation are refused.

    Args:
      source: the samples; images if it has an `image_shape`.
      name: name of the data in results.
      standardize: False lets numbers pass that are not in the units of training.
      reading: settings for reading the source.

    Returns:
      The data set.

    Raises:
      TypeError, ValueError: a row is not finite numbers, or the numbers would have to be
        divided.

    Example:
      >>> from dec_jax.streaming import ArraySource
      >>> pixels = np.arange(250, dtype=np.uint8).reshape(50, 5)
      >>> data = stream_dataset(ArraySource(pixels))
      >>> len(data.x), data.input_scale == 1 / 255
      (50, True)
    """
    n, d = source.shape
    digest = hashlib.sha256(f"{source.dtype.str} {source.shape}".encode())
    low, high = np.full(d, np.inf), np.full(d, -np.inf)
    at_once = max(1, reading.block_bytes // (d * source.dtype.itemsize))
    for begin in range(0, n, at_once):
        x = read(source, slice(begin, min(begin + at_once, n)))
        check_samples(x, source.name)
        digest.update(np.ascontiguousarray(x).data)
        low, high = np.minimum(low, x.min(axis=0)), np.maximum(high, x.max(axis=0))
    rows = SourceRows(source, low, high)
    image_shape = getattr(source, "image_shape", None)
    is_bytes = source.dtype == np.uint8
    in_unit = is_bytes and (image_shape is not None or rows.max() >= LEAST_WHITE)
    in_unit |= image_shape is not None and max(-rows.min(), rows.max()) <= 1
    if standardize and not in_unit:
        raise ValueError(
            f"{source.name}: numbers that are read as they are needed are not divided by "
            f"their deviation, got {source.dtype} from {rows.min():g} to "
            f"{rows.max():g}; divide them in the file, and give standardize=False."
        )
    return StreamedDataset(
        name or source.name,
        rows,
        None,
        image_shape,
        source.name,
        input_scale_of(np.zeros(0, source.dtype)),
        checksum=digest.hexdigest(),
        stream=reading,
    )
