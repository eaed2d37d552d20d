"""What every loader returns: samples, and what is known of them."""

import hashlib
import math
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np

from dec_jax.validation import check_samples


@dataclass(frozen=True)
class Column:
    """How one column of a table became columns of x, for new data to become the same.

    Attributes:
      title: its name.
      mean: what is subtracted from a number.
      deviation: what a number is then divided by, above 0.
      categories: the texts that have a column of 0 and 1 each, or None for numbers.
    """

    title: str
    mean: float = 0.0
    deviation: float = 1.0
    categories: tuple[str, ...] | None = None


def columns_to_json(columns: tuple[Column, ...] | None) -> list[dict] | None:
    """The columns as JSON values, for a file to remember."""
    if columns is None:
        return None
    # JSON has lists for tuples.
    return [
        asdict(it) | {"categories": it.categories and list(it.categories)}
        for it in columns
    ]


def columns_from_json(stored: list[dict] | None) -> tuple[Column, ...] | None:
    """What `columns_to_json` was made of."""
    if stored is None:
        return None
    return tuple(
        Column(**it | {"categories": it["categories"] and tuple(it["categories"])})
        for it in stored
    )


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples, their labels where there are any, and where they came from.

    Attributes:
      name: what results call it, such as "mnist".
      x: samples, shape [n, d], in their own type: pixels that are bytes stay bytes.
      labels: classes, shape [n], int32, or None. They score; they never train.
      image_shape: (height, width, channels), or None for a table.
      source: one line for people, such as "scikit-learn (embedded)".
      input_scale: the factor that turns `x` into network input: 1/255 for
        bytes, 1.0 for numbers that are already in the range to be used.
      names: the file of each row, relative to the folder it was read from, or
        None where rows are no files.
      columns: of the table that x was made of, or None.
      deviation: what the file's numbers were divided by to make `x`.

    Raises:
      TypeError: `x` is not an array of real numbers.
      ValueError: `x` is not [n, d], is empty or not finite; `labels`, `names` or
        `image_shape` do not fit it.
    """

    name: str
    x: np.ndarray
    labels: np.ndarray | None
    image_shape: tuple[int, int, int] | None
    source: str
    input_scale: float
    names: tuple[str, ...] | None = None
    columns: tuple[Column, ...] | None = None
    deviation: float = 1.0

    def __post_init__(self) -> None:
        check_samples(self.x, f"{self.source}: x")
        n, d = self.x.shape
        if self.image_shape is not None and math.prod(self.image_shape) != d:
            raise ValueError(
                f"{self.source}: image_shape must multiply to the {d} columns of x, "
                f"got {self.image_shape}."
            )
        if self.names is not None and len(self.names) != n:
            raise ValueError(
                f"{self.source}: names must hold one for each of the {n} samples, got "
                f"{len(self.names)}."
            )
        if self.labels is None:
            return
        if self.labels.shape != (n,) or self.labels.dtype != np.int32:
            raise ValueError(
                f"{self.source}: labels must be int32 of shape ({n},), one for each "
                f"sample, got {self.labels.dtype} of shape {self.labels.shape}."
            )

    @property
    def n_classes(self) -> int | None:
        """The number of distinct labels, or None without labels."""
        return None if self.labels is None else len(np.unique(self.labels))

    @cached_property
    def sha256(self) -> str:
        """Fingerprint of `x` and `labels`: their types, shapes and bytes, in hexadecimal."""
        digest = hashlib.sha256()
        for array in (self.x, self.labels):
            if array is not None:
                digest.update(f"{array.dtype.str} {array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def image_dataset(
    name: str,
    images: np.ndarray,
    labels: np.ndarray | None,
    source: str,
    names: tuple[str, ...] | None = None,
) -> Dataset:
    """A `Dataset` of images [n, h, w, c]."""
    _, height, width, channels = images.shape
    return Dataset(
        name=name,
        x=images.reshape(len(images), height * width * channels),
        labels=labels,
        image_shape=(height, width, channels),
        source=source,
        input_scale=input_scale_of(images),
        names=names,
    )


def input_scale_of(x: np.ndarray) -> float:
    """1/255 for bytes; every other type is taken as it is."""
    return 1 / 255 if x.dtype == np.uint8 else 1.0


def integer_labels(labels: np.ndarray, source: str) -> np.ndarray:
    """int32 labels: integers as they are, all else numbered in sorted order."""
    kind = labels.dtype.kind
    if kind not in "biufUS" or (kind == "f" and not np.isfinite(labels).all()):
        raise ValueError(
            f"{source}: labels must be integers, text or finite floats, got "
            f"{labels.dtype}{' with NaN or infinity' if kind == 'f' else ''}."
        )
    if kind in "biu" and labels.size:
        limits = np.iinfo(np.int32)
        if limits.min <= int(labels.min()) and int(labels.max()) <= limits.max:
            return labels.astype(np.int32)
    return np.unique(labels, return_inverse=True)[1].astype(np.int32)
