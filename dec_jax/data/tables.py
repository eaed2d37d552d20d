"""Tables as samples: numbers standardized, categories one-hot encoded, ids left out."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dec_jax.data.cells import numbers_of_texts
from dec_jax.data.columns import (
    LIMIT,
    Cells,
    Converted,
    cells_of,
    converted,
    fitted,
    left_out,
    texts_of,
)
from dec_jax.data.dataset import MISSING, Column, Dataset, integer_labels
from dec_jax.data.table_files import TableFile, check_unique, listed, read_table
from dec_jax.validation import check_choice, require

# Headings of labels.csv, which the names of rows cannot have too.
HEADINGS = ("index", "cluster", "q", "class")
FIRST = "the first column, which has no name"


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
    number the rows, or hold a text that differs in most rows are left out.

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
        way, with the other table's means, deviations and categories. Columns are found
        by name; those that are not among them are ignored. A category that the other
        table had not is 0 in all columns of its column, or the category of rare ones,
        and a warning tells its rows.
      name: name of the table in results; None is the name of the file, or `table`.
      drop: columns to leave out.
      keep: columns that are used although they seem to be ids or names.
      id_column: the column that names the rows; by default one that was left out because
        it differs in all rows.
      separator: of the columns of a text file; None finds it.
      decimal: "." or ","; None finds it for each column.
      encoding: of a text file; None finds it.

    Returns:
      Samples float32 [n, d], and in `columns` their conversions.

    Raises:
      FileNotFoundError: the file does not exist.
      ValueError: a file that cannot be read, has another ending, or no names in its
        first line; an unknown column; a column of lists, complex or infinite numbers; a
        missing label; no column left; a column of `columns` that is missing or holds
        something else. One message tells all that is wrong with the columns.
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
    if decimal not in (None, ".", ","):
        raise ValueError(f'decimal must be "." or ",", got {decimal!r}.')
    if isinstance(path_or_dataframe, pd.DataFrame):
        table, name, source = (
            of_frame(path_or_dataframe),
            name or "table",
            "pandas DataFrame",
        )
    elif isinstance(path_or_dataframe, str | os.PathLike):
        path = Path(path_or_dataframe).expanduser()
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
    check_unique(titles, source)
    if not len(frame):
        raise ValueError(f"{source}: the table must have rows, got none.")
    for option, wanted in (("drop", drop), ("keep", keep)):
        for title in wanted:
            check_choice(option, str(title), titles)
    problems: list[str] = []
    labels = None
    if label_column is not None:
        check_choice("label_column", str(label_column), titles)
        labels = labels_of(frame.pop(str(label_column)), problems)
    names, names_title = table.names, FIRST
    if id_column is not None:
        check_choice("id_column", str(id_column), list(frame.columns))
        names, names_title = row_names(frame.pop(str(id_column))), str(id_column)
    frame = frame.drop(columns=[str(title) for title in drop if str(title) in frame])
    mark = decimal or found_decimal(frame, table.separator)
    if columns is None:
        kept = [str(title) for title in keep]
        read = read_columns(frame, kept, mark, standardize, problems)
    else:
        read = read_like(frame, columns, mark, problems)
    if problems:
        bad = [problem.split("'")[1] for problem in problems]
        options = " ".join(f"--drop {title}" for title in dict.fromkeys(bad))
        raise ValueError(
            f"{source}: {'; '.join(problems)}. Mend the table"
            + (
                f", or leave them out by drop={bad} ({options})."
                if columns is None
                else "."
            )
        )
    if names is None:
        names, names_title = found_names(frame, read, columns is not None)
    if not read.columns:
        reasons = "; ".join(f"{title} ({why})" for title, why in read.left_out.items())
        raise ValueError(
            f"{source}: at least one column other than the labels must vary, and none is "
            f"left: {reasons}. Take one nevertheless by keep=[...] (--keep COLUMN)."
        )
    x = np.concatenate([it.x for it in read.converted], axis=1)
    if columns is None:
        notes = notes_of(table, read, names_title if names else None)
    else:
        notes = ()
        for line in warnings_of(read):
            warnings.warn(f"{source}: {line}", stacklevel=2)
    return Dataset(
        name,
        x,
        labels,
        None,
        source,
        1.0,
        names=names,
        names_title="name" if names_title in (FIRST, *HEADINGS) else names_title,
        columns=tuple(read.columns),
        notes=notes,
    )


class Read(NamedTuple):
    """The columns that are used, their content, and the reasons why others are not."""

    columns: list[Column]
    cells: list[Cells]
    converted: list[Converted]
    left_out: dict[str, str]


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


def labels_of(column: Any, problems: list[str]) -> np.ndarray | None:
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
        problems.append(f"column {column.name!r} {error}")
        return None


def found_decimal(frame: Any, separator: str | None) -> str:
    """Finds the decimal mark of the texts of a table, for those that fit both.

    A column whose numbers fit one mark alone decides for the others; without one, a
    file of semicolons has commas.
    """
    for title in frame.columns:
        column = frame[title]
        if getattr(column.dtype, "kind", "O") not in "OT":
            continue
        try:
            some = [text for text in texts_of(column.iloc[:2000]) if text is not None]
        except ValueError:
            continue
        for text_mark, other in ((",", "."), (".", ",")):
            by_mark = numbers_of_texts(sorted(set(some)), decimal=text_mark)
            by_other = numbers_of_texts(sorted(set(some)), decimal=other)
            if by_mark is None or by_other is None or by_mark.kind != "number":
                break
            if by_mark.reading == by_other.reading == text_mark:
                return text_mark
    return "," if separator == ";" else "."


def read_columns(
    frame: Any, keep: list[str], decimal: str, standardize: bool, problems: list[str]
) -> Read:
    """Fits and converts the columns of a table that trains a model."""
    read = Read([], [], [], {})
    for title in frame.columns:
        try:
            cells = cells_of(frame[title], decimal=decimal)
            reason = left_out(title, cells)
            if reason in ("constant", "empty") or (reason and title not in keep):
                read.left_out[title] = reason
                continue
            column = fitted(title, cells, standardize)
            block = converted(cells, column)
        except ValueError as error:
            problems.append(f"column {title!r} {error}")
            continue
        if (block.x == block.x[:1]).all():
            read.left_out[title] = "no text is frequent"
            continue
        read.columns.append(column)
        read.cells.append(cells)
        read.converted.append(block)
    return read


def read_like(
    frame: Any, columns: Sequence[Column], decimal: str, problems: list[str]
) -> Read:
    """Converts the columns of new data as those of training."""
    read = Read(list(columns), [], [], {})
    absent = [it.title for it in columns if it.title not in frame.columns]
    if absent:
        problems.append(
            f"no column is called {listed([repr(title) for title in absent])}, and the "
            f"first table had {'it' if len(absent) == 1 else 'them'}"
        )
    for it in columns:
        if it.title in absent:
            continue
        try:
            cells = cells_of(frame[it.title], decimal=decimal, like=it)
            read.converted.append(converted(cells, it))
            read.cells.append(cells)
        except ValueError as error:
            problems.append(f"column {it.title!r} {error}")
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


def notes_of(table: TableFile, read: Read, names_title: str | None) -> tuple[str, ...]:
    """Says in a few lines how a table was understood."""
    notes = []
    unusual = list(table.unusual)
    if any(cells.reading == "," for cells in read.cells):
        unusual.append("decimal commas")
    if unusual:
        notes.append(
            f"read with {', '.join(unusual)}; if that is wrong: --encoding, --separator, "
            "--decimal"
        )
    notes.append("columns: " + "; ".join(understood(read.columns)))
    rules = {
        True: "is filled by the median, and marked in a further column",
        False: f"is a category of its own, {MISSING}",
    }
    for is_number, rule in rules.items():
        filled = [
            f"{it.title} (in {len(block.filled):,} rows)"
            for it, block in zip(read.columns, read.converted, strict=True)
            if len(block.filled) and (it.categories is None) == is_number
        ]
        if filled:
            notes.append(f"missing: {listed(filled)}; what is missing {rule}")
    strange = [
        f"{it.title} ({listed([repr(text) for text in cells.strange])})"
        for it, cells in zip(read.columns, read.cells, strict=True)
        if cells.strange
    ]
    if strange:
        notes.append(f"texts among numbers, taken as missing: {listed(strange)}")
    limited = [
        it.title
        for it, block in zip(read.columns, read.converted, strict=True)
        if len(block.limited)
    ]
    if limited:
        rows = np.unique(np.concatenate([block.limited for block in read.converted]))
        shown = listed([str(row) for row in rows])
        notes.append(
            f"far away from all others: {len(rows)} row{'s' * (len(rows) > 1)} ({shown}) in "
            f"{listed(limited)}; the others set the scale, and these count as {LIMIT:g} "
            "deviations"
        )
    if read.left_out:
        reasons = [
            f"{title} ({why}{'; names the rows' * (title == names_title)})"
            for title, why in read.left_out.items()
        ]
        never = ("constant", "empty", "no text is frequent")
        hint = any(why not in never for why in read.left_out.values())
        notes.append(
            f"left out: {', '.join(reasons)}" + "; --keep COLUMN takes one in" * hint
        )
    if names_title is not None and names_title not in read.left_out:
        notes.append(f"rows are named by {names_title}")
    return tuple(notes)


def understood(columns: Sequence[Column]) -> list[str]:
    """Names the columns by kind, those of one kind next to each other."""
    kinds: dict[str, list[str]] = {}
    for it in columns:
        kind = it.kind
        if it.categories is not None:
            kind = f"{len(it.categories)} categories"
        elif it.kind == "date":
            form = it.reading if it.reading[:3] in ("%m/", "%d/", "%m-", "%d-") else ""
            kind = f"date{form and ' ' + form}, in days"
        elif it.unit:
            kind = f"number, {it.unit}"
        kinds.setdefault(kind, []).append(it.title)
    return [f"{listed(titles)} ({kind})" for kind, titles in kinds.items()]


def warnings_of(read: Read) -> list[str]:
    """Says in which rows new data lack what training had."""
    lines = []
    for it, cells, block in zip(read.columns, read.cells, read.converted, strict=True):
        if len(block.unseen):
            assert cells.texts is not None
            words = sorted({repr(cells.texts[row]) for row in block.unseen})
            lines.append(
                f"{rows_of(block.unseen)} a category of {it.title!r} that training had not "
                f"({listed(words)}); it counts as none"
            )
        marked = it.marked or (it.categories is not None and MISSING in it.categories)
        if len(block.filled) and not marked:
            how = "the median of training takes its place"
            if it.categories is not None:
                how = "it counts as none"
            lines.append(
                f"{rows_of(block.filled)} no {it.title!r}, which training had in all rows; "
                f"{how}"
            )
    return lines


def rows_of(rows: np.ndarray) -> str:
    """Counts rows and lists the first five."""
    shown = listed([str(row) for row in rows])
    if len(rows) == 1:
        return f"1 row has (row {shown})"
    return f"{len(rows):,} rows have (rows {shown})"
