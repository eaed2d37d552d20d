"""The `Dataset` that every loader returns: samples, labels and their origin."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np

from dec_jax.data.reading import ImageReading
from dec_jax.data.text_space import TextSpace
from dec_jax.validation import check_samples

OTHER = "(other)"  # the category of all rare ones
MISSING = "(missing)"  # the category of rows without one
SAME_UNIT = 10.0  # ratio of the columns' scales up to which they count as one unit


@dataclass(frozen=True)
class Column:
    """Conversion of one column of a table to columns of x, to apply to new data too.

    Attributes:
      title: name of the column.
      mean: subtracted from each number.
      deviation: divisor of each number after that, above 0.
      categories: values that are one-hot encoded, or None for a numeric column; among
        them `OTHER` stands for all rare ones, and `MISSING` for a missing one.
      kind: "number", "date" (in days since 1970), "yes/no" or "category".
      weight: what the column of a category holds where a row has it, else 0.
      reading: how texts become numbers: a decimal mark, the format of dates, or "".
      unit: text around each number, such as "$", or "".
      fill: what takes the place of a missing number; None where none may be missing.
      marked: whether a further column is 1 where the number was missing, else 0.
      limit: the largest distance from the mean, in deviations; None is no limit.
      missing: values that stand for a missing one.
    """

    title: str
    mean: float = 0.0
    deviation: float = 1.0
    categories: tuple[str, ...] | None = None
    kind: str = "number"
    weight: float = 1.0
    reading: str = ""
    unit: str = ""
    fill: float | None = None
    marked: bool = False
    limit: float | None = None
    missing: tuple[str, ...] = ()

    @property
    def titles(self) -> tuple[str, ...]:
        """Names of the columns of x that it becomes."""
        if self.categories is not None:
            return tuple(f"{self.title} = {category}" for category in self.categories)
        return (self.title, f"{self.title} missing")[: 1 + self.marked]


def columns_to_json(columns: tuple[Column, ...] | None) -> list[dict] | None:
    """Converts columns to JSON values, to store in a file."""
    if columns is None:
        return None
    # JSON has lists, no tuples.
    return [
        asdict(it)
        | {
            "categories": it.categories and list(it.categories),
            "missing": list(it.missing),
        }
        for it in columns
    ]


def columns_from_json(stored: list[dict] | None) -> tuple[Column, ...] | None:
    """Converts the JSON values of `columns_to_json` back to columns."""
    if stored is None:
        return None
    return tuple(
        Column(
            **it
            | {
                "categories": it["categories"] and tuple(it["categories"]),
                "missing": tuple(it.get("missing", ())),
            }
        )
        for it in stored
    )


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples, optional labels, and their origin.

    Attributes:
      name: name in results, such as "mnist".
      x: samples, shape [n, d], in their own type: pixels that are bytes stay uint8.
      labels: classes, shape [n], int32, or None. They score, and never train.
      image_shape: (height, width, channels), or None for a table.
      source: one line that says where the data come from, such as
        "scikit-learn (embedded)".
      input_scale: factor that turns `x` into network input: 1/255 for bytes, 1.0 for
        numbers that need no scaling.
      names: name of each row, such as its file, relative to the folder that was read, or
        its id in a table; None if the rows have none.
      columns: conversions of the columns of a table, or None.
      deviation: number that the values of the file were divided by to give `x`, or one
        number for each column.
      names_title: what the names are, such as "file" or the title of a column.
      notes: lines that say how the data were understood.
      reading: the way from images to `x`, or None if the data are no images.
      thumbnails: small pictures of the samples, uint8 [n, h, w, c], where `x` holds
        features of images in place of pixels; else None.
      text_space: conversion of texts, or None.
      lines: the line of its file in which each row of a table begins, counted from 1, or
        None.

    Raises:
      TypeError: `x` is not an array of real numbers.
      ValueError: `x` is not [n, d], is empty or not finite; `labels`, `names` or
        `image_shape` do not fit it.

    Example:
      >>> x = np.arange(6, dtype=np.float32).reshape(3, 2)
      >>> labels = np.array([0, 1, 1], np.int32)
      >>> Dataset("pairs", x, labels, None, "made by hand", 1.0).n_classes
      2
    """

    name: str
    x: np.ndarray
    labels: np.ndarray | None
    image_shape: tuple[int, int, int] | None
    source: str
    input_scale: float
    names: tuple[str, ...] | None = None
    columns: tuple[Column, ...] | None = None
    deviation: float | tuple[float, ...] = 1.0
    names_title: str = "file"
    notes: tuple[str, ...] = ()
    reading: ImageReading | None = None
    thumbnails: np.ndarray | None = None
    text_space: TextSpace | None = None
    lines: Sequence[int] | None = None

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
        """Number of distinct labels, or None without labels."""
        return None if self.labels is None else len(np.unique(self.labels))

    @property
    def by_direction(self) -> bool:
        """True where many columns have one unit, so that rows count by their direction.

        Embeddings and weights of terms do. Columns of several kinds, units or scales, and
        categories beside numbers, do not.
        """
        if self.columns is None:
            return not isinstance(self.deviation, tuple)
        kinds = {(it.categories is None, it.kind, it.unit) for it in self.columns}
        scales = [it.deviation for it in self.columns]
        return len(kinds) == 1 and max(scales) <= SAME_UNIT * min(scales)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of `x` and `labels`, of their types, shapes and bytes, in hexadecimal."""
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
    """Makes a `Dataset` of images [n, h, w, c]."""
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
    """Returns 1/255 for bytes, which it scales to [0, 1], and 1 for any other type."""
    return 1 / 255 if x.dtype == np.uint8 else 1.0


def integer_labels(labels: np.ndarray, source: str) -> np.ndarray:
    """Converts labels to int32: integers are kept, others are numbered in sorted order."""
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
