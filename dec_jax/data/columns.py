"""Columns of a table as columns of x: what they hold, and how that becomes numbers."""

import math
import numbers
import re
from collections import Counter
from dataclasses import replace
from datetime import date, time
from typing import Any, NamedTuple

import numpy as np

from dec_jax.data.arrays import column_scales
from dec_jax.data.cells import ISO, NO_NUMBER, YES_NO, are_dates, numbers_of_texts
from dec_jax.data.cells import MISSING as NO_TEXT
from dec_jax.data.dataset import MISSING, OTHER, Column
from dec_jax.data.sentinels import without
from dec_jax.data.table_files import listed

# Two rows of different categories, or of yes and no, lie at a distance of 1; two numbers
# drawn at random lie at one of 1.4. At full variance, categories that have nothing to do
# with each other hide clusters of numbers.
CATEGORY_WEIGHT = math.sqrt(0.5)
MOST_CATEGORIES = 20
RARE = 0.01  # share of the rows below which a category joins the other rare ones
FREE_TEXT = 5  # words of a text from which it is no name
MANY_ROWS = 20  # rows from which all different texts are names
FEWEST_COUNTED = 10  # rows from which numbers that count up are an id
# A table of different integers by chance is as unlikely as exp(-14), one in a million.
UNLIKELY = 14.0
WORDS = r"[\W\d_]+|(?<=[a-z])(?=[A-Z])"
IDS = ("id", "uuid", "guid", "rowid")
NUMBERS = (["number"], ["no"], ["nr"], ["account"], ["key"])
PLURALS = {"number": "numbers", "date": "dates", YES_NO: "yes or no"}
LIMIT = 10.0  # deviations up to which rows far away count


class Cells(NamedTuple):
    """The content of a column.

    Attributes:
      kind: "number", "date", "yes/no" or "category".
      numbers: [n] float64, NaN where one is missing; None for categories.
      texts: [n] text, None where it is missing; None for numbers.
      unit: text around each number, or "".
      reading: how texts became numbers, or "".
      strange: texts that are taken as missing, because the others are numbers.
    """

    kind: str
    numbers: np.ndarray | None
    texts: list[str | None] | None
    unit: str = ""
    reading: str = ""
    strange: tuple[str, ...] = ()


def cells_of(
    column: Any,
    *,
    decimal: str = ".",
    like: Column | None = None,
    missing: tuple[str, ...] = (),
) -> Cells:
    """Finds out what a column of a DataFrame holds.

    Args:
      column: a pandas Series.
      decimal: the mark that decides where a text is a number by both, as "1,234" is.
      like: the column of training that this one is to be read as.
      missing: numbers and texts that stand for a missing value.

    Raises:
      ValueError: values that are neither numbers nor text; not those of training. The
        message begins with the rule, without the name of the column.
    """
    cells = read_cells(column, decimal, like, missing)
    if missing and cells.numbers is not None and cells.kind == "number":
        cells = cells._replace(numbers=without(cells.numbers, missing))
    return cells


def read_cells(
    column: Any, decimal: str, like: Column | None, missing: tuple[str, ...]
) -> Cells:
    """Reads a column as numbers or as texts; arguments of `cells_of`."""
    import pandas as pd

    kinds = pd.api.types
    if kinds.is_complex_dtype(column):
        raise ValueError(f"must hold real numbers, got {column.dtype}")
    is_category = isinstance(column.dtype, pd.CategoricalDtype)
    if like is not None and like.categories is not None:
        return Cells("category", None, texts_of(column, missing))
    if kinds.is_bool_dtype(column) and not is_category:
        return Cells(YES_NO, finite(column.astype("Float64")), None)
    if kinds.is_numeric_dtype(column) and not is_category:
        if like is not None and like.kind == "date":
            raise ValueError("must hold dates as before, got numbers")
        return Cells("number", finite(column), None)
    if isinstance(column.dtype, pd.PeriodDtype):
        column = column.dt.to_timestamp()
    if kinds.is_datetime64_any_dtype(column):
        days = pd.to_datetime(column, utc=True) - pd.Timestamp(0, tz="UTC")
        return Cells("date", days_of(days), None)
    if kinds.is_timedelta64_dtype(column):
        return Cells("number", days_of(column), None, "day")
    texts = texts_of(column, missing)
    if is_category and like is None:
        return Cells("category", None, texts)
    return read_texts(texts, decimal, like)


def days_of(column: Any) -> np.ndarray:
    """Converts spans of time to days, NaN where one is missing."""
    import pandas as pd

    return np.asarray(column / pd.Timedelta(days=1), np.float64)


def finite(column: Any) -> np.ndarray:
    """Returns numbers as float64 with NaN for missing ones, and rejects infinity."""
    values = column.to_numpy(np.float64, na_value=np.nan)
    with np.errstate(over="ignore"):
        infinite = int(np.isinf(values.astype(np.float32)).sum())
    if infinite:
        raise ValueError(
            f"must be finite, got {infinite} of {len(values)} values that are infinite or "
            "beyond 3.4e38"
        )
    return values


def texts_of(column: Any, missing: tuple[str, ...] = ()) -> list[str | None]:
    """Returns the texts of a column, stripped, and None for missing ones."""
    import pandas as pd

    empty = column.isna().to_numpy()
    values = column.tolist()
    present = [v for v, none in zip(values, empty, strict=True) if not none]
    # The first value of each type.
    kinds = {type(value): value for value in reversed(present)}
    is_category = isinstance(column.dtype, pd.CategoricalDtype)
    for value in () if is_category else kinds.values():
        if not isinstance(value, numbers.Number | str | date | time):
            raise ValueError(
                "must hold numbers, text, dates, categories or booleans, got values such "
                f"as {value!r}"
            )
    if pd.api.types.is_float_dtype(column):
        # A whole number that a missing neighbor has made a float.
        values = [int(v) if v == v and v == int(v) else v for v in values]
    texts = [
        "" if none else str(v).strip() for v, none in zip(values, empty, strict=True)
    ]
    return [
        None if text.lower() in NO_TEXT or text in missing else text for text in texts
    ]


def read_texts(texts: list[str | None], decimal: str, like: Column | None) -> Cells:
    """Reads texts as numbers where they are numbers, else as categories."""
    different = sorted(
        {t for t in texts if t is not None and t.lower() not in NO_NUMBER}
    )
    reading = ""
    if like is not None:
        reading = like.reading or {"date": ISO, YES_NO: YES_NO}.get(like.kind, ".")
    found = numbers_of_texts(different, decimal=decimal, reading=reading)
    if like is not None and different:
        # Yes and no may have become numbers since, but no other kind another one.
        kinds = (like.kind, "number") if like.kind == YES_NO else (like.kind,)
        if found is None or found.kind not in kinds:
            raise ValueError(
                f"must hold {PLURALS[like.kind]} as before, got {different[0]!r}"
            )
    if found is None:
        if like is None:
            return Cells("category", None, texts)
        return Cells(like.kind, np.full(len(texts), np.nan), None)
    if np.isinf(found.values).any():
        infinite = [repr(different[i]) for i in np.flatnonzero(np.isinf(found.values))]
        raise ValueError(f"must be finite, got {listed(infinite)}")
    place = dict(zip(different, found.values.tolist(), strict=True))
    values = np.array([place.get(text or "", math.nan) for text in texts])
    strange = tuple(t for t in different if math.isnan(place[t]))
    return Cells(found.kind, values, None, found.unit, found.reading, strange)


def left_out(title: str, cells: Cells) -> str | None:
    """Returns the reason why a column says nothing about clusters, or None."""
    if cells.numbers is not None:
        present = cells.numbers[~np.isnan(cells.numbers)]
        if not len(present):
            return "empty"
        if len(present) == len(cells.numbers) and (present == present[0]).all():
            return "constant"
        return (
            "an id" if cells.kind == "number" and is_id(title, cells.numbers) else None
        )
    assert cells.texts is not None
    words = [text for text in cells.texts if text is not None]
    different = len(set(words))
    if not words:
        return "empty"
    if different == 1 and len(words) == len(cells.texts):
        return "constant"
    many = different > max(MOST_CATEGORIES, len(words) / 2)
    if many and sum(len(text.split()) for text in words) >= FREE_TEXT * len(words):
        return "free text: cluster it as a .txt file"
    if many and are_dates(sorted(set(words))):
        return "dates in several forms: write them as YYYY-MM-DD"
    if different == len(words) >= MANY_ROWS:
        return "all texts differ"
    if many:
        return f"{different:,} different texts"
    return None


def is_id(title: str, values: np.ndarray) -> bool:
    """Returns True for integers that number the rows: all different, and too dense."""
    n = len(values)
    if np.isnan(values).any() or (values != np.floor(values)).any():
        return False
    different = len(np.unique(values))
    words = [word.lower() for word in re.split(WORDS, title) if word]
    named = any(word in IDS for word in words) or words[-1:] in NUMBERS
    # Integers of so many digits are no measurements: float64 does not hold them all.
    named = named or bool(2**53 <= np.abs(values).max() < 1e20)
    if different < n:
        return named and n >= MANY_ROWS and different > n / 2
    if n < FEWEST_COUNTED:
        return False
    if n < MANY_ROWS:
        return bool((np.diff(values) == 1).all())
    steps = np.diff(np.sort(values))
    span = values.max() - values.min() + 1
    dense = n * (n - 1) / (2 * span) > UNLIKELY
    return bool(named or dense or (steps == steps[0]).all())


def fitted(
    title: str, cells: Cells, standardize: bool, missing: tuple[str, ...] = ()
) -> Column:
    """Fits the conversion of a column: its mean and deviation, or its categories."""
    if cells.numbers is None:
        assert cells.texts is not None
        return Column(
            title,
            categories=categories_of(cells.texts),
            kind="category",
            weight=CATEGORY_WEIGHT,
            missing=missing,
        )
    present = cells.numbers[~np.isnan(cells.numbers)]
    low, high = float(present.min()), float(present.max())
    made = Column(
        title,
        kind=cells.kind,
        reading=cells.reading,
        unit=cells.unit,
        fill=float(np.median(present)),
        marked=len(present) < len(cells.numbers),
        missing=missing,
    )
    if low == high:
        return replace(made, mean=low)
    if not standardize:
        return made
    if low.is_integer() and high == low + 1 and np.isin(present, (low, high)).all():
        # Yes and no, whatever their numbers are: a mean of the two is no answer.
        often = high if present.mean() > low + 0.5 else low
        return replace(made, kind=YES_NO, mean=low, fill=often)
    return replace(made, **moments(present))


def moments(present: np.ndarray) -> dict[str, Any]:
    """Computes mean, deviation and, where a few rows set them, those of the others."""
    # In float64: a large offset would leave float32 too few digits.
    of_all = float(present.std())
    scale = float(column_scales(present[:, None], np.array([of_all]))[0])
    if scale == of_all:
        return {"mean": float(present.mean()), "deviation": scale}
    near = present[np.abs(present - np.median(present)) <= LIMIT * scale]
    deviation = float(near.std()) or scale
    return {"mean": float(near.mean()), "deviation": deviation, "limit": LIMIT}


def categories_of(texts: list[str | None]) -> tuple[str, ...]:
    """Chooses the categories of a column; rare ones are one category together."""
    counts = Counter(text for text in texts if text is not None)
    # Those of equal number are taken in the order of letters.
    order = sorted(counts, key=lambda text: (-counts[text], text))
    common = [text for text in order if counts[text] >= RARE * len(texts)]
    common = common[:MOST_CATEGORIES]
    if len(order) - len(common) == 1:
        common = order
    categories = sorted(common)
    if len(common) < len(order):
        categories.append(OTHER)
    if None in texts:
        categories.append(MISSING)
    return tuple(dict.fromkeys(categories))


class Converted(NamedTuple):
    """Columns of x, and the rows in which they say less than they should.

    Attributes:
      x: float32 [n, ...].
      filled: rows whose value was missing.
      unseen: rows with a category that training had not.
      limited: rows whose number lies beyond the limit.
    """

    x: np.ndarray
    filled: np.ndarray
    unseen: np.ndarray
    limited: np.ndarray


def converted(cells: Cells, made: Column) -> Converted:
    """Converts the content of a column to columns of x.

    Raises:
      ValueError: numbers are missing, and the column knows no value for them.
    """
    none = np.zeros(0, np.intp)
    if made.categories is None:
        assert cells.numbers is not None
        missing = np.isnan(cells.numbers)
        filled = np.flatnonzero(missing)
        if len(filled) and made.fill is None:
            raise ValueError(f"misses {len(filled)} values, and training knew of none")
        values = np.where(missing, made.fill or 0.0, cells.numbers)
        values = (values - made.mean) / made.deviation
        limited = none
        if made.limit is not None:
            limited = np.flatnonzero(np.abs(values) > made.limit)
            values = np.clip(values, -made.limit, made.limit)
        parts = [values, missing] if made.marked else [values]
        return Converted(np.stack(parts, 1).astype(np.float32), filled, none, limited)
    assert cells.texts is not None
    place = {category: index for index, category in enumerate(made.categories)}
    other = place.get(OTHER, -1)
    rows = np.array(
        [
            place.get(MISSING, -2) if text is None else place.get(text, other)
            for text in cells.texts
        ]
    )
    x = np.zeros((len(rows), len(place)), np.float32)
    known = rows >= 0
    x[known, rows[known]] = made.weight
    missing = np.array([text is None for text in cells.texts])
    return Converted(x, np.flatnonzero(missing), np.flatnonzero(rows == -1), none)
