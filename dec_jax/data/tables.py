"""Tables as samples: numbers standardized, categories one-hot encoded, ids left out."""

import os
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from dec_jax.data.cells import written_numbers
from dec_jax.data.columns import cells_of, converted, fitted, left_out, texts_of
from dec_jax.data.dataset import Column, Dataset, integer_labels
from dec_jax.data.sentinels import typed
from dec_jax.data.table_files import TableFile, read_table
from dec_jax.data.table_notes import (
    FIRST,
    INDEX,
    Read,
    no_column,
    notes_of,
    refusals,
    told,
    warnings_of,
)
from dec_jax.validation import (
    check_choice,
    expanded,
    nearest,
    require,
    shortened,
)

# Headings of labels.csv, which the names of rows cannot have too.
HEADINGS = ("index", "cluster", "q", "class")


def load_table(
    path_or_dataframe: Any,
    *,
    label_column: str | int | None = None,
    standardize: bool = True,
    columns: Sequence[Column] | None = None,
    name: str | None = None,
    drop: Sequence[str] = (),
    keep: Sequence[str] = (),
    id_column: str | None = None,
    separator: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    missing: str = "impute",
    missing_value: Sequence[str | float] = (),
    unknown: str = "warn",
) -> Dataset:
    """Converts a table of numbers, dates and categories to samples; labels are optional.

    The columns keep their order, and `notes` says how each was understood. Numbers are
    standardized (mean 0 and standard deviation 1 over the rows), also those with a
    currency, a unit or thousands; where a few rows lie so far away that they would set
    the deviation, it is that of the others, and these rows count as 10 deviations. Dates
    are numbers of days. Yes and no, and two numbers that differ by 1, are 0 and 1. Text
    is one-hot encoded: a column for each value, in the order of letters, of 0 and
    sqrt(1/2), so that two rows of different categories lie at a distance of 1. Values in
    less than a hundredth of the rows, or beyond the 20 commonest, are one category.

    A missing number is the median of the column, and a further column is 1 where it was
    missing; a missing text is a category of its own. Columns that are constant or empty,
    number the rows, or hold a text that differs in most rows are left out. A number that
    may stand for a missing value, such as -999 in every tenth row, stays one; a note names
    it.

    Args:
      path_or_dataframe: a pandas DataFrame, or the path of a `.csv` or `.tsv` file with
        the names of the columns in the first line, or of a `.parquet` file. The index of
        a DataFrame, unless it counts the rows, and a first column without a name are the
        names of the rows.
      label_column: the column that holds the labels, which is left out of x. Labels
        score, and never train. Integers are kept, all others are numbered in sorted
        order.
      standardize: False keeps numbers as they are.
      columns: the `Dataset.columns` of another table, to convert this table in the same
        way, with the other table's means, deviations and categories, and its values that
        stand for missing ones. Columns are found by name; those that are not among them
        are ignored. A category that the other table had not is the category of rare ones,
        where there is one, else 0 in all columns of its column, and a warning tells its
        rows.
      name: name of the table in results; None is the name of the file, or `table`.
      drop: columns to leave out.
      keep: columns that are used although they seem to be ids or names.
      id_column: the column that names the rows; by default one that was left out because
        it differs in all rows.
      separator: of the columns of a text file; None finds it.
      decimal: "." or ","; None finds it for each column.
      encoding: of a text file; None finds it.
      missing: "impute" fills missing values; "error" refuses them, with `columns` only
        where the other table missed none.
      missing_value: numbers and texts that stand for a missing value, in all columns.
      unknown: "warn", or "error", which refuses a category that the other table had not.

    Returns:
      Samples float32 [n, d], and in `columns` their conversions.

    Raises:
      FileNotFoundError: the file does not exist.
      ValueError: a file that cannot be read, has another ending, or no names in its
        first line; an unknown column, or two of one name; a column of lists, complex or
        infinite numbers; a missing label; no column left; a column of `columns` that is
        missing or holds something else. One message tells all that is wrong with the
        columns.
      TypeError: neither a path nor a DataFrame.
      ImportError: pandas is not installed, or pyarrow for parquet.

    Example:
      >>> import pandas as pd
      >>> frame = pd.DataFrame(
      ...     {"size": ["1 m", "3 m"], "member": ["yes", "no"], "kind": [7, 9]}
      ... )
      >>> table = load_table(frame, label_column="kind")
      >>> table.x.tolist()
      [[-1.0, 1.0], [1.0, 0.0]]
      >>> print(*table.notes)
      columns: size (number, m); member (yes/no)
    """
    pd = require("pandas", extra="tables", task="reading tables")
    check_choice("missing", missing, ("impute", "error"))
    check_choice("unknown", unknown, ("warn", "error"))
    if decimal not in (None, ".", ","):
        raise ValueError(f'decimal must be "." or ",", got {decimal!r}.')
    if isinstance(path_or_dataframe, pd.DataFrame):
        table, source = of_frame(path_or_dataframe), "pandas DataFrame"
        name = name or "table"
    elif isinstance(path_or_dataframe, str | os.PathLike):
        path = expanded(path_or_dataframe)
        table = read_table(path, separator=separator, encoding=encoding)
        name, source = name or path.stem, f"{path.suffix[1:].lower()} file {path}"
    else:
        raise TypeError(
            "A table must be a path or a pandas DataFrame, got "
            f"{type(path_or_dataframe).__name__}."
        )
    # A new frame: the names become text, and the given one must not change.
    titles = [str(column) for column in table.frame.columns]
    frame = table.frame.set_axis(titles, axis=1).infer_objects()
    if not len(frame):
        raise ValueError(f"{source}: the table must have rows, got none.")
    is_new = columns is not None
    label, id_title = (
        None if it is None else str(it) for it in (label_column, id_column)
    )
    dropped = [str(title) for title in drop]
    kept = [str(title) for title in keep]
    strangers = unknown_columns(titles, dropped, kept, label, id_title)
    left = [title not in dropped or title in (label, id_title) for title in titles]
    frame = frame.loc[:, left]
    twice = {
        title: f"is the name of {count} columns"
        for title, count in Counter(frame.columns).items()
        if count > 1
    }
    # New data may have whatever columns more.
    needed = {label, id_title, *(it.title for it in columns or ())}
    problems = {t: rule for t, rule in twice.items() if t in needed or not is_new}
    frame = frame.loc[:, ~frame.columns.isin(list(twice))]
    names, names_title = table.names, INDEX if table.separator is None else FIRST
    if id_title is not None and id_title in frame:
        names, names_title = names_of(frame[id_title], problems), id_title
    labels = labels_of(frame[label], problems) if label in frame else None
    frame = frame.drop(columns=[it for it in {label, id_title} if it in frame])
    mark = decimal or found_decimal(frame, table.separator)
    if columns is None:
        absent = tuple(typed(value) for value in missing_value)
        read = read_columns(frame, kept, mark, standardize, absent, problems)
    else:
        read = read_like(frame, columns, mark, problems)
    refused = (missing == "error", unknown == "error")
    problems |= refusals(read, table.lines, *refused, is_new=is_new)
    if problems or strangers:
        text = told(problems, strangers, read, label, is_new=is_new)
        raise ValueError(f"{source}: {text}")
    if names is None:
        names, names_title = found_names(frame, read, is_new)
    if not read.columns:
        reasons = "; ".join(f"{title} ({why})" for title, why in read.left_out.items())
        raise ValueError(
            f"{source}: at least one column other than the labels must vary, and none is "
            f"left: {shortened(reasons)}. Take one nevertheless by keep=[...] (--keep COLUMN)."
        )
    x = np.concatenate([it.x for it in read.converted], axis=1)
    if columns is None:
        notes = notes_of(table, read, names_title if names else None)
    else:
        notes = ()
        for line in warnings_of(read, table.lines):
            warnings.warn(f"{source}: {line}", stacklevel=2)
    return Dataset(
        name,
        x,
        labels,
        None,
        source,
        1.0,
        names=names,
        names_title="name" if names_title in (FIRST, INDEX, *HEADINGS) else names_title,
        columns=tuple(read.columns),
        notes=notes,
        lines=table.lines,
    )


def unknown_columns(
    titles: list[str],
    dropped: list[str],
    kept: list[str],
    label: str | None,
    id_title: str | None,
) -> list[str]:
    """Says of each column that was named, and that the table has not, that it is unknown."""
    named = [("column to drop", title) for title in dropped]
    named += [("column to keep", title) for title in kept]
    named += [("label_column", label)] if label is not None else []
    named += [("id_column", id_title)] if id_title is not None else []
    return [
        no_column(option, title, titles)
        for option, title in named
        if title not in titles
    ]


def of_frame(frame: Any) -> TableFile:
    """Takes a DataFrame as a table; its index names the rows unless it counts them."""
    import pandas as pd

    counts = isinstance(frame.index, pd.RangeIndex) or frame.index.nlevels > 1
    counts = counts or pd.api.types.is_integer_dtype(frame.index.dtype)
    names = None if counts else row_names(frame.index.to_series())
    return TableFile(frame, names, None, ())


def row_names(column: Any) -> tuple[str, ...]:
    """Returns the name of each row, "" where it is missing."""
    return tuple("" if text is None else text for text in texts_of(column))


def names_of(column: Any, problems: dict[str, str]) -> tuple[str, ...] | None:
    """Reads the column that was named to name the rows."""
    try:
        return row_names(column)
    except ValueError as error:
        problems[str(column.name)] = str(error)
        return None


def labels_of(column: Any, problems: dict[str, str]) -> np.ndarray | None:
    """Converts the column of labels to int32."""
    try:
        cells = cells_of(column)
        values: Any = cells.texts
        if cells.numbers is not None:
            numbers = cells.numbers
            values = [None if value != value else value for value in numbers.tolist()]
            if (numbers == np.floor(numbers)).all():
                values = numbers.astype(np.int64).tolist()
        missing = sum(value is None for value in values)
        if missing:
            raise ValueError(
                f"holds the labels, and {missing} of {len(values)} are missing"
            )
        return integer_labels(np.asarray(values), f"column {column.name!r}")
    except ValueError as error:
        problems[str(column.name)] = str(error)
        return None


def found_decimal(frame: Any, separator: str | None) -> str:
    """Finds the decimal mark of the texts of a table, for those that fit both.

    A column whose numbers fit one mark alone decides for the others; without one, a
    file of semicolons has commas.
    """
    for title in frame.columns:
        column = frame[title].head(2000)
        if getattr(column.dtype, "kind", "O") not in "OT":
            continue
        some = {str(text) for text in column.dropna() if {",", "."} & set(str(text))}
        marks = {
            found.reading if found and not np.isnan(found.values).any() else ""
            for found in (written_numbers(sorted(some), mark) for mark in ",.")
        }
        if marks in ({","}, {"."}):
            return marks.pop()
    return "," if separator == ";" else "."


def read_columns(
    frame: Any,
    keep: list[str],
    decimal: str,
    standardize: bool,
    missing: tuple[str, ...],
    problems: dict[str, str],
) -> Read:
    """Fits and converts the columns of a table that trains a model."""
    read = Read([], [], [], {})
    for title in frame.columns:
        try:
            cells = cells_of(frame[title], decimal=decimal, missing=missing)
            reason = left_out(title, cells)
            if reason in ("constant", "empty") or (reason and title not in keep):
                read.left_out[title] = reason
                continue
            column = fitted(title, cells, standardize, missing)
            block = converted(cells, column)
        except ValueError as error:
            problems[title] = str(error)
            continue
        if (block.x == block.x[:1]).all():
            read.left_out[title] = "no text is frequent"
            continue
        read.columns.append(column)
        read.cells.append(cells)
        read.converted.append(block)
    return read


def read_like(
    frame: Any, columns: Sequence[Column], decimal: str, problems: dict[str, str]
) -> Read:
    """Converts the columns of new data as those of training."""
    read = Read([], [], [], {})
    for it in columns:
        if it.title in problems:
            continue
        if it.title not in frame.columns:
            rule = "missing, though the table of training had it"
            if (near := nearest(it.title, map(str, frame.columns))) is not None:
                rule += f" (is it {near!r} now?)"
            problems[it.title] = rule
            continue
        try:
            cells = cells_of(
                frame[it.title], decimal=decimal, like=it, missing=it.missing
            )
            block = converted(cells, it)
        except ValueError as error:
            problems[it.title] = str(error)
            continue
        read.columns.append(it)
        read.cells.append(cells)
        read.converted.append(block)
    return read


def found_names(
    frame: Any, read: Read, is_new: bool
) -> tuple[tuple[str, ...] | None, str]:
    """Names the rows by a column that is not used and differs in all rows."""
    used = {it.title for it in read.columns}
    candidates = [title for title in frame.columns if title not in used]
    if not is_new:
        candidates = [
            title
            for reason in ("an id", "all texts differ")
            for title, why in read.left_out.items()
            if why == reason
        ]
    for title in candidates:
        try:
            names = row_names(frame[title])
        except ValueError:
            continue
        if len(set(names)) == len(names):
            return names, title
    return None, FIRST
