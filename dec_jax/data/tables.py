"""Tables as samples: numeric columns standardized, categories one-hot encoded."""

import csv
import os
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from dec_jax.data.dataset import Column, Dataset, integer_labels
from dec_jax.validation import check_choice, require

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
# A text column with more distinct values is likely a name or a remark, no category.
MAX_CATEGORIES = 50


def load_table(
    path_or_dataframe: Any,
    *,
    label_column: str | int | None = None,
    standardize: bool = True,
    columns: Sequence[Column] | None = None,
    name: str | None = None,
) -> Dataset:
    """Converts a table of numbers and categories to samples; labels are optional.

    The columns keep their order. A numeric column becomes one column of x, and is
    standardized by default (mean 0 and standard deviation 1 over the rows). A column of
    text, categories or booleans is one-hot encoded: one column of 0 and 1 for each of
    its values, in the sorted order of their text. Those are not standardized, because
    standardizing would weigh a value more the rarer it is. A column with one value in
    all rows is left out, and `source` names it.

    Args:
      path_or_dataframe: a pandas DataFrame, or the path of a `.csv` file (commas), a
        `.tsv` file (tabs), both with the names of the columns in the first line, or
        a `.parquet` file. The index of a DataFrame is not used, and neither is a first
        column without a name: pandas and R save an index that way.
      label_column: the column that holds the labels, which is left out of x. Labels
        score, and never train. Integers are kept, all others are numbered in sorted
        order.
      standardize: False keeps numbers as they are.
      columns: the `Dataset.columns` of another table, to convert this table in the same
        way, with the other table's means, deviations and categories. Columns that are
        not among them are ignored.
      name: name of the table in results; None is the name of the file, or `table`.

    Returns:
      Samples float32 [n, d], and in `columns` their conversions.

    Raises:
      FileNotFoundError: the file does not exist.
      ValueError: a file that cannot be read, has another ending, or no names in its
        first line; an unknown `label_column`; a column with missing or infinite
        values, with more than 50 categories, or of another type; no column left; a
        column or category that `columns` do not have.
      TypeError: neither a path nor a DataFrame.
      ImportError: pandas is not installed, or pyarrow for parquet.

    Example:
      >>> import pandas as pd
      >>> frame = pd.DataFrame(
      ...     {"size": [1.0, 3.0], "color": ["red", "blue"], "kind": [7, 9]}
      ... )
      >>> table = load_table(frame, label_column="kind")
      >>> table.x.tolist()  # size, then one column each for blue and red
      [[-1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]
      >>> table.labels.tolist()
      [7, 9]
    """
    pd = require("pandas", extra="tables", task="reading tables")
    if isinstance(path_or_dataframe, pd.DataFrame):
        frame, name, source = path_or_dataframe, name or "table", "pandas DataFrame"
    elif isinstance(path_or_dataframe, str | os.PathLike):
        path = Path(path_or_dataframe).expanduser()
        frame, name = read_table(path), name or path.stem
        source = f"{path.suffix[1:].lower()} file {path}"
    else:
        raise TypeError(
            "A table must be a path or a pandas DataFrame, got "
            f"{type(path_or_dataframe).__name__}."
        )
    # A new frame: the names become text, and the given one must not change.
    frame = frame.set_axis([str(column) for column in frame.columns], axis=1)
    frame = frame.infer_objects()
    check_table(frame, source)
    labels = None
    if label_column is not None:
        check_choice("label_column", str(label_column), frame.columns)
        column = frame.pop(str(label_column))
        labels = integer_labels(
            np.asarray(column.tolist()), f"{source}: column {label_column!r}"
        )
    if columns is None:
        columns, constant = fitted_columns(frame, source, standardize)
        if constant:
            source += f"; left out, being constant: {listed(constant)}"
    else:
        missing = [it.title for it in columns if it.title not in frame.columns]
        if missing:
            raise ValueError(
                f"{source}: the table must have the columns of the first table, got none "
                f"named {listed(missing)}."
            )
    blocks = [
        samples_of(frame[it.title], it, f"{source}: column {it.title!r}")
        for it in columns
    ]
    x = np.concatenate(blocks, axis=1)
    return Dataset(name, x, labels, None, source, 1.0, columns=tuple(columns))


def fitted_columns(
    frame: Any, source: str, standardize: bool
) -> tuple[list[Column], list[str]]:
    """Fits the conversion of each column, and names the columns that never vary."""
    columns, constant = [], []
    for title in frame.columns:
        name = f"{source}: column {title!r}"
        column = fitted_column(frame[title], name, standardize)
        block = samples_of(frame[title], column, name)
        if (block == block[:1]).all():
            constant.append(title)
        else:
            columns.append(column)
    if not columns:
        raise ValueError(
            f"{source}: at least one column other than the labels must vary, got "
            f"{len(constant)}, each with one value in all {len(frame)} rows."
        )
    return columns, constant


def read_table(path: Path) -> Any:
    """Reads a csv, tsv or parquet file into a DataFrame."""
    import pandas as pd

    suffix = path.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise ValueError(
            f"A table must end in {', '.join(TABLE_SUFFIXES[:-1])} or "
            f"{TABLE_SUFFIXES[-1]}, got {path}."
        )
    if not path.is_file():
        raise FileNotFoundError(f"The table {path} does not exist.")
    try:
        if suffix == ".parquet":
            require("pyarrow", extra="tables", task="reading parquet")
            return pd.read_parquet(path)
        separator = "," if suffix == ".csv" else "\t"
        has_index = first_line_has_index(path, separator)
        return pd.read_csv(
            path,
            sep=separator,
            index_col=0 if has_index else None,
            # The type of a column must come from all its rows, not from a block of them.
            low_memory=False,
            encoding="utf-8-sig",
        )
    except (ValueError, OSError, csv.Error) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ValueError(f"{path} cannot be read: {reason}.") from error


def first_line_has_index(path: Path, separator: str) -> bool:
    """Returns True if the first column has no name; checks the names of the others."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = (row for row in csv.reader(file, delimiter=separator) if row)
        titles, values = next(rows, []), next(rows, [])
    if not titles:
        raise ValueError("it is empty")
    if len(titles) == 1 and any(mark in titles[0] for mark in ",;\t"):
        raise ValueError(
            f"its columns must be separated by {'commas' if separator == ',' else 'tabs'}, "
            f"got the first line {titles[0]!r}"
        )
    if are_values(titles):
        raise ValueError(
            f"its first line must name the columns, got values: {listed(titles)}; put a "
            "line of names above it"
        )
    if len(values) > len(titles):
        raise ValueError(
            f"its first line must name all columns, got {len(titles)} names above "
            f"{len(values)} values"
        )
    has_index = titles[0] == ""
    for number, title in enumerate(titles[has_index:], 1 + has_index):
        if not title:
            raise ValueError(f"column {number} has no name")
    check_unique(titles, "it")
    return has_index


def are_values(titles: list[str]) -> bool:
    """Returns True if a first line looks like a row of values, not of names."""
    numbers = [float(title) for title in titles if is_number(title)]
    if 2 * len(numbers) < len(titles):
        return False
    # Years, wavelengths and 0, 1, 2 ... are names: they increase.
    counts_up = all(one < other for one, other in pairwise(numbers))
    is_long = len(numbers) >= 4 or len(numbers) < len(titles)
    return not (counts_up and (is_long or numbers == list(range(len(titles)))))


def is_number(text: str) -> bool:
    """Returns True if `float` accepts the text."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def check_unique(titles: list[str], name: str) -> None:
    """Raises ValueError if two columns have the same name."""
    twice = [title for title, count in Counter(titles).items() if count > 1]
    if twice:
        raise ValueError(
            f"{name} must have columns of different names, got more than one {listed(twice)}."
        )


def check_table(frame: Any, source: str) -> None:
    """Raises ValueError for equal names, no rows, or missing values."""
    check_unique(list(frame.columns), source)
    if not len(frame):
        raise ValueError(f"{source}: the table must have rows, got none.")
    missing = frame.isna().sum()
    missing = missing[missing > 0]
    if len(missing):
        others = f" and {len(missing) - 1} more columns" if len(missing) > 1 else ""
        raise ValueError(
            f"{source}: no value may be missing, got {missing.iloc[0]} of {len(frame)} "
            f"missing in column {missing.index[0]!r}{others}; fill them or drop those "
            "rows or columns."
        )


def fitted_column(column: Any, name: str, standardize: bool) -> Column:
    """Fits the conversion of a column: its mean and deviation, or its categories."""
    title = str(column.name)
    if is_numbers(column):
        values = numbers(column, name)
        if not standardize or (values == values[0]).all():
            return Column(title)
        # In float64: a large offset would leave float32 too few digits.
        return Column(title, float(values.mean()), float(values.std()))
    words = texts(column, name)
    categories = tuple(sorted(set(words)))
    if len(categories) > MAX_CATEGORIES:
        raise ValueError(
            f"{name} holds {len(categories)} different texts, such as {words[0]!r}, and "
            f"may hold {MAX_CATEGORIES}; drop it, or turn it into numbers."
        )
    return Column(title, categories=categories)


def samples_of(column: Any, made: Column, name: str) -> np.ndarray:
    """Converts one column of a table to columns of x, float32 [n, ...]."""
    if made.categories is None:
        if not is_numbers(column):
            raise ValueError(f"{name} must hold numbers as before, got {column.dtype}.")
        values = (numbers(column, name) - made.mean) / made.deviation
        return values.astype(np.float32)[:, None]
    place = {category: index for index, category in enumerate(made.categories)}
    words = texts(column, name)
    unknown = [word for word in words if word not in place]
    if unknown:
        raise ValueError(
            f"{name} must hold one of {listed(list(made.categories))} as before, got "
            f"{unknown[0]!r}."
        )
    rows = np.array([place[word] for word in words])
    return np.eye(len(made.categories), dtype=np.float32)[rows]


def is_numbers(column: Any) -> bool:
    """Returns True for a numeric column, False for one of categories."""
    import pandas as pd

    kinds = pd.api.types
    return bool(
        kinds.is_numeric_dtype(column)
        and not kinds.is_bool_dtype(column)
        and not isinstance(column.dtype, pd.CategoricalDtype)
    )


def numbers(column: Any, name: str) -> np.ndarray:
    """Returns the numbers of a column, float64 [n], checked to be real and finite."""
    import pandas as pd

    if pd.api.types.is_complex_dtype(column):
        raise ValueError(f"{name} must hold real numbers, got {column.dtype}.")
    values = column.to_numpy(np.float64)
    with np.errstate(over="ignore"):
        infinite = np.isinf(values.astype(np.float32)).sum()
    if infinite:
        raise ValueError(
            f"{name} must be finite, got {infinite} of {len(values)} values that are "
            "infinite or beyond 3.4e38."
        )
    return values


def texts(column: Any, name: str) -> list[str]:
    """Returns the category of each row of a column, as text."""
    import pandas as pd

    values = column.tolist()
    is_categories = pd.api.types.is_bool_dtype(column) or isinstance(
        column.dtype, pd.CategoricalDtype
    )
    if not is_categories and not all(isinstance(value, str) for value in values):
        raise ValueError(
            f"{name} must hold numbers, text, categories or booleans, got {column.dtype} "
            f"with values such as {values[0]!r}; turn it into numbers or drop it."
        )
    return [str(value) for value in values]


def listed(names: list[str]) -> str:
    """Lists the first five names, and counts the others."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
