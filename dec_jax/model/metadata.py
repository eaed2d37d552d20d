"""Metadata of a model on its training data: units, ranges and columns, and their check."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Array, Float, Num

from dec_jax.data.dataset import Dataset, columns_from_json, columns_to_json
from dec_jax.data.reading import reading_from_json, reading_to_json
from dec_jax.data.text_space import text_space_from_json, text_space_to_json

# Columns up to which a table's model keeps the range of each.
MOST_RANGES = 1_000
LARGEST = float(np.finfo(np.float32).max)
FEWEST = 10  # new samples whose mean q is compared
# Values of an image up to which new images are brought to the size in a file.
MOST_VALUES = 2**24


def data_metadata(
    dataset: Dataset, q: Float[np.ndarray, "n k"] | None = None
) -> dict[str, Any]:
    """Metadata of the training data that new data are checked against.

    Args:
      dataset: the training data.
      q: their soft assignment at the end of training.

    Returns:
      `dataset` (its name), `dataset_sha256`, `n_samples`, `input_dtype`, `input_range`
      (least and largest value), `column_ranges` (the same for each column of a table of at
      most 1,000 columns, else None), `image_shape` (None for a table), `columns` (of a table
      that `load_table` read, else None), `text_space` (of texts, else None), `deviation`
      (by which the numbers of a file were divided), `reading` (the way from image files to
      samples, else None) and, with `q`, `mean_q` (mean of the largest q), as JSON values.
    """
    shape, x = dataset.image_shape, dataset.x
    ranges = None
    if shape is None and x.shape[1] <= MOST_RANGES:
        ends = np.stack([x.min(axis=0), x.max(axis=0)], axis=1)
        ranges = ends.astype(np.float64).tolist()
    found = {
        "dataset": dataset.name,
        "dataset_sha256": dataset.sha256,
        "n_samples": len(x),
        "input_dtype": str(x.dtype),
        "input_range": [float(x.min()), float(x.max())],
        "column_ranges": ranges,
        "image_shape": None if shape is None else list(shape),
        "columns": columns_to_json(dataset.columns),
        "text_space": text_space_to_json(dataset.text_space),
        "deviation": np.asarray(dataset.deviation).tolist(),
        "reading": reading_to_json(dataset.reading),
    }
    if q is not None:
        found["mean_q"] = float(q.max(axis=1).mean())
    return found


def check_metadata(metadata: Mapping[str, Any], input_dim: int) -> None:
    """Checks the entries that `data_metadata` makes, where they are there.

    A file may come from anywhere: none of its numbers must divide by 0 or fill the memory.

    Args:
      metadata: of a model; other entries than these are not looked at.
      input_dim: number of values that the network takes.

    Raises:
      ValueError: an entry is not as `data_metadata` makes it, or does not fit the network.
    """
    width = input_dim
    rules = {
        "input_dtype": ("the name of a type", lambda it: isinstance(it, str)),
        "image_shape": (
            f"a height, a width and channels that make {width:,} values, and at most "
            f"{MOST_VALUES:,}",
            lambda it: is_image_shape(it) and math.prod(it) == width <= MOST_VALUES,
        ),
        "deviation": (
            f"a finite number above 0, or {width:,} of them",
            lambda it: (
                is_positive(it) or (is_list(it, width) and all(map(is_positive, it)))
            ),
        ),
        "input_range": ("two finite numbers, the least first", is_range),
        "column_ranges": (
            f"the least and the largest value of {width:,} columns",
            lambda it: is_list(it, width) and all(map(is_range, it)),
        ),
        "mean_q": (
            "a number above 0, at most 1",
            lambda it: is_positive(it) and it <= 1,
        ),
        "columns": (
            f"columns of a table that become {width:,}",
            lambda it: are_columns(it, width),
        ),
        "text_space": (
            f"a conversion of texts to {width:,} numbers",
            lambda it: is_text_space(it, width),
        ),
        "reading": ("a way of reading images", is_reading),
    }
    for name, (rule, fits) in rules.items():
        value = metadata.get(name)
        if value is not None and not fits(value):
            text = repr(value)
            short = text if len(text) <= 60 else f"{text[:60]} ..."
            raise ValueError(f"metadata[{name!r}] must be {rule}, got {short}.")


def is_number(value: Any) -> bool:
    """Returns True for a finite number."""
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return is_real and -LARGEST <= value <= LARGEST


def is_positive(value: Any) -> bool:
    """Returns True for a finite number above 0."""
    return is_number(value) and value > 0


def is_list(value: Any, length: int) -> bool:
    """Returns True for a list, or tuple, of this length."""
    return isinstance(value, list | tuple) and len(value) == length


def is_range(value: Any) -> bool:
    """Returns True for two finite numbers in order."""
    return is_list(value, 2) and all(map(is_number, value)) and value[0] <= value[1]


def is_image_shape(value: Any) -> bool:
    """Returns True for three integers of at least 1."""
    return is_list(value, 3) and all(type(it) is int and it >= 1 for it in value)


def are_columns(value: Any, width: int) -> bool:
    """Returns True for what `columns_to_json` makes, with numbers that can divide."""
    try:
        columns = columns_from_json(value) or ()
        return sum(len(it.titles) for it in columns) == width and all(
            all(
                isinstance(text, str)
                for text in (it.title, it.kind, it.reading, it.unit)
            )
            and all(isinstance(text, str) for text in it.categories or ())
            and all(isinstance(text, str) for text in it.missing)
            and all(map(is_number, (it.mean, it.weight, it.fill or 0, it.limit or 0)))
            and is_positive(it.deviation)
            for it in columns
        )
    # Whatever a forged entry raises, it is no column.
    except Exception:
        return False


def is_text_space(value: Any, width: int) -> bool:
    """Returns True for what `text_space_to_json` makes."""
    try:
        space = text_space_from_json(value)
        assert space is not None
        return (
            space.directions.shape == (width, len(space.terms))
            and len(space.idf) == len(space.terms)
            and all(isinstance(term, str) for term in space.terms)
        )
    except Exception:
        return False


def is_reading(value: Any) -> bool:
    """Returns True for what `reading_to_json` makes."""
    try:
        reading = reading_from_json(value)
    # Whatever a forged entry raises, it is no way of reading.
    except Exception:
        return False
    if reading is None:
        return False
    texts = [reading.mode, reading.fit, reading.features]
    texts += [reading.encoder, reading.encoder_sha256]
    size = reading.size
    return (
        all(it is None or isinstance(it, str) for it in texts)
        and (size is None or is_image_shape([*size, 1]))
        and (reading.levels is None or is_range(reading.levels))
    )


def outside_training(
    metadata: Mapping[str, Any],
    x: Num[Array | np.ndarray, "n d"],
    input_scale: float = 1.0,
    lines: Sequence[int] | None = None,
) -> str | None:
    """Describes values that lie far outside the range of training.

    A value counts where it is further from the range than half the width of the range.

    Args:
      metadata: of the model.
      x: new samples in the units of training.
      input_scale: factor of the network, by which integers are multiplied.
      lines: the line of its file that each row stands in, or None.

    Returns:
      One line, with the first such value in the units of the user, or None.
    """
    ranges = metadata.get("column_ranges") or [metadata.get("input_range")]
    # The directions of texts have no units, and a new text fills others than those before.
    untold = ranges == [None] or metadata.get("text_space") is not None
    if untold or metadata.get("input_dtype") == "uint8":
        return None
    low, high = np.asarray(ranges, np.float64).T
    # A column that was constant in training has no width of its own.
    width = np.where(high > low, high - low, max((high - low).max(), 1.0))
    x = np.asarray(x) * (input_scale if x.dtype.kind in "iu" else 1.0)
    far = (x < (low - width / 2)[None]) | (x > (high + width / 2)[None])
    if not far.any():
        return None
    row, column = (int(place[0]) for place in np.nonzero(far))
    at = column if len(low) > 1 else 0
    name, scale, shift = column_units(metadata, column)
    given, *trained = (
        float(it) * scale + shift for it in (x[row, column], low[at], high[at])
    )
    rows = int(far.any(axis=1).sum())
    place = f"row {row}" if lines is None else f"line {lines[row]}"
    return (
        f"{rows:,} of {len(x):,} rows {'has' if rows == 1 else 'have'} values far outside "
        f"the range of training, such as {given:.6g} in {name} of {place}, where training "
        f"had {trained[0]:.6g} to {trained[1]:.6g}; the clusters of such rows mean little"
    )


def column_units(metadata: Mapping[str, Any], column: int) -> tuple[str, float, float]:
    """Finds name, scale and shift that turn a column of x into what the user gave."""
    deviation = metadata.get("deviation") or 1.0
    scale = deviation[column] if isinstance(deviation, list | tuple) else deviation
    titles = []
    for it in columns_from_json(metadata.get("columns")) or ():
        is_numeric = it.categories is None
        units = (scale * it.deviation, it.mean) if is_numeric else (scale, 0.0)
        titles += [(f"column {title!r}", *units) for title in it.titles[:1]]
        titles += [(f"column {title!r}", scale, 0.0) for title in it.titles[1:]]
    return titles[column] if titles else (f"column {column}", scale, 0.0)


def unsure(metadata: Mapping[str, Any], q: Float[np.ndarray, "n k"]) -> str | None:
    """Describes a q that is far less sure than that of training.

    Args:
      metadata: of the model.
      q: soft assignment of at least `FEWEST` new samples; fewer tell too little.

    Returns:
      One line where less than half is left of what the mean largest q of training had
      above 1 / k, else None.
    """
    trained, (n, k) = metadata.get("mean_q"), q.shape
    if trained is None or n < FEWEST:
        return None
    found = float(q.max(axis=1).mean())
    if found - 1 / k >= (trained - 1 / k) / 2:
        return None
    return (
        f"the mean q of the own cluster is {found:.2f} of 1, and was {trained:.2f} in "
        "training: these samples are unlike those of training, and their clusters mean "
        "little"
    )
