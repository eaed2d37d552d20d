"""Files of tables: their encoding, their separator, and the names of their columns."""

import csv
import io
import re
from collections.abc import Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple

from dec_jax.validation import near_path, require

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
COMMA = re.compile(r"([^,\d]*\d+,\d+[^,\d]*)?")  # a number with a decimal comma
# Rows that decide how the columns are separated.
SAMPLE_ROWS = 100


class TableFile(NamedTuple):
    """The content of a file, and how it was read.

    Attributes:
      frame: the columns by name; those of a text file hold text, "" where it is empty.
      names: texts of a first column without a name, or None.
      separator: of the columns, or None for parquet.
      unusual: what a reader of the file could not take for granted, such as "encoding
        utf-16"; empty for UTF-8 with the separator of its ending.
      lines: the line that each row begins in, counted from 1, or None for parquet.
    """

    frame: Any
    names: tuple[str, ...] | None
    separator: str | None
    unusual: tuple[str, ...]
    lines: Sequence[int] | None = None


def read_table(
    path: Path, *, separator: str | None = None, encoding: str | None = None
) -> TableFile:
    """Reads a csv, tsv or parquet file.

    Args:
      path: the file.
      separator: of the columns, one character; None looks for it.
      encoding: of the characters, such as "latin-1"; None looks for it.

    Returns:
      The columns, and how they were read.

    Raises:
      FileNotFoundError: the file does not exist.
      ValueError: it has another ending, is damaged or has no names in its first line.
      ImportError: pyarrow, for parquet, is not installed.
    """
    import pandas as pd

    suffix = path.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise ValueError(
            f"A table must end in {', '.join(TABLE_SUFFIXES[:-1])} or "
            f"{TABLE_SUFFIXES[-1]}, got {path}."
        )
    if not path.is_file():
        raise FileNotFoundError(f"The table {path} does not exist{near_path(path)}")
    # A shell hands on a typed \t as two characters.
    separator = "\t" if separator == "\\t" else separator
    if separator is not None and len(separator) != 1:
        raise ValueError(f"separator must be one character, got {separator!r}.")
    try:
        if suffix == ".parquet":
            require("pyarrow", extra="tables", task="reading parquet")
            return TableFile(pd.read_parquet(path), None, None, ())
        text, encoding = decoded(path.read_bytes(), encoding)
        return read_text(text, suffix, separator, encoding)
    except (ValueError, LookupError, OSError, csv.Error) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ValueError(f"{path} cannot be read: {reason}.") from error


def decoded(content: bytes, encoding: str | None = None) -> tuple[str, str]:
    """Decodes the bytes of a text file, and names the encoding that was found.

    Args:
      content: all bytes of the file.
      encoding: its encoding; None looks for a mark of UTF-16 or UTF-8, then tries UTF-8,
        and takes what is neither for Windows-1252, which contains Latin-1.

    Returns:
      The text, without a mark at its start and with "\\n" at the end of each line, and the
      encoding.

    Raises:
      ValueError: the bytes are not in that encoding.
      LookupError: the encoding is unknown.

    Example:
      >>> decoded("größe".encode("latin-1"))
      ('größe', 'cp1252')
    """
    if encoding is None:
        encoding = found_encoding(content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"it is not in the encoding {encoding} (see byte {error.start}); another one is "
            "found without the option encoding"
        ) from error
    if "\0" in text[:4096]:
        raise ValueError("it holds zero bytes, so it is no text in a known encoding")
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return text, encoding


def found_encoding(content: bytes) -> str:
    """Finds the encoding of a text file."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    # Latin letters in UTF-16 have a zero in every other byte.
    start = content[:4096]
    if len(start) >= 4 and start.count(0) >= 0.4 * len(start):
        return (
            "utf-16-le" if start[1::2].count(0) > start[::2].count(0) else "utf-16-be"
        )
    for encoding in ("utf-8", "cp1252"):
        try:
            content.decode(encoding)
        except UnicodeDecodeError:
            continue
        return encoding
    return "latin-1"


def read_text(
    text: str, suffix: str, separator: str | None, encoding: str
) -> TableFile:
    """Reads the text of a csv or tsv file; all cells stay text."""
    import pandas as pd

    usual, above = "," if suffix == ".csv" else "\t", 0
    unusual = []
    if encoding != "utf-8":
        shown = "Windows-1252 (Latin-1)" if encoding == "cp1252" else encoding
        unusual.append(f"encoding {shown}")
    if text[:5].lower().startswith("sep=") and separator is None:
        # The line by which Excel is told the separator.
        first, _, text = text.partition("\n")
        separator, above = first[4:].strip("\r") or None, 1
    if separator is None:
        separator = found_separator(text, usual)
        if separator != usual:
            unusual.append(f"columns separated by {SEPARATORS[separator]}")
    rows = list(islice(rows_of(text, separator), SAMPLE_ROWS))
    titles, has_index = titles_of(rows, separator)
    frame = pd.read_csv(
        io.StringIO(text),
        sep=separator,
        # By number, because two may have one name.
        names=range(len(titles)),
        header=0,
        index_col=False,
        dtype=str,
        keep_default_na=False,
        skipinitialspace=True,
        low_memory=False,
    )
    # A row with too few cells has none there.
    frame = frame.fillna("")
    names = tuple(frame.pop(0)) if has_index else None
    frame = frame.set_axis(titles[has_index:], axis=1)
    lines = lines_of(text, separator, len(frame), above)
    return TableFile(frame, names, separator, tuple(unusual), lines)


def rows_of(text: str, separator: str) -> Any:
    """Iterates over the rows that are not empty."""
    reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
    return (row for row in reader if len(row) > 1 or "".join(row).strip())


def lines_of(text: str, separator: str, n: int, above: int) -> Sequence[int] | None:
    """Finds the line that each of the n rows begins in, below `above` lines more."""
    content = text.rstrip("\n")
    if content.count("\n") == n and "\n\n" not in f"\n{content}":
        return range(above + 2, above + 2 + n)
    # Cells may hold line breaks, and empty lines are no rows.
    reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
    lines, last = [], above
    try:
        for row in reader:
            if len(row) > 1 or "".join(row).strip():
                lines.append(last + 1)
            last = above + reader.line_num
    except csv.Error:
        return None
    return tuple(lines[1:]) if len(lines) == n + 1 else None


def found_separator(text: str, usual: str) -> str:
    """Finds the separator by which most rows have as many cells as the first line.

    Of several such separators the one with the most columns is taken; the usual one, if
    there is none.
    """
    most, found = 1, usual
    for separator in (usual, *(other for other in SEPARATORS if other != usual)):
        try:
            rows = list(islice(rows_of(text, separator), SAMPLE_ROWS))
        except csv.Error:
            continue
        if not rows:
            continue
        n, widths = len(rows[0]), [len(row) for row in rows[1:]]
        # R leaves out the name of the row names.
        fits = sum(width in (n, n + 1) for width in widths)
        if n > most and fits > 0.5 * len(widths):
            most, found = n, separator
    if most == 1 and is_column_of_commas(text):
        return ";"
    return found


def is_column_of_commas(text: str) -> bool:
    """Returns True for a single column of numbers with decimal commas, below its name."""
    lines = [line.strip() for line in text[:10_000].splitlines()[:SAMPLE_ROWS]]
    return "," not in "".join(lines[:1]) and all(map(COMMA.fullmatch, lines[1:]))


def titles_of(rows: list[list[str]], separator: str) -> tuple[list[str], bool]:
    """Returns the names of the columns, and whether the first ones are row names."""
    if not rows:
        raise ValueError("it is empty")
    titles = [title.strip() for title in rows[0]]
    if are_values(titles):
        raise ValueError(
            f"its first line must name the columns, got values: {listed(titles)}; put a "
            "line of names above it"
        )
    widths = {len(row) for row in rows[1:]}
    has_last = all(row[-1] for row in rows[1:])
    if widths == {len(titles) + 1} and len(titles) > 1 and has_last:
        # As R writes row names.
        titles = ["", *titles]
    if widths and max(widths) > len(titles):
        if any(any(row[len(titles) :]) for row in rows[1:]):
            raise ValueError(
                f"its first line must name all columns, got {len(titles)} names above "
                f"{max(widths)} values; columns were taken to be separated by "
                f"{SEPARATORS.get(separator, repr(separator))}"
            )
        titles += [""] * (max(widths) - len(titles))
    has_index = titles[0] == "" and len(titles) > 1
    for number, title in enumerate(titles):
        if not title:
            titles[number] = f"column {number + 1}"
    return titles, has_index


def are_values(titles: list[str]) -> bool:
    """Returns True if a first line looks like a row of values, not of names."""
    numbers = [float(title) for title in titles if is_number(title)]
    if not numbers or 2 * len(numbers) < len(titles):
        return False
    # Years, wavelengths and 0, 1, 2 ... are names: they increase.
    counts_up = all(one < other for one, other in pairwise(numbers))
    is_long = len(numbers) >= 4 or len(numbers) < len(titles)
    return not (counts_up and (is_long or numbers == list(range(len(titles)))))


def is_number(text: str) -> bool:
    """Returns True if `float` accepts the text, with a decimal comma or point."""
    try:
        float(text.replace(",", ".", 1))
    except ValueError:
        return False
    return True


def listed(names: list[str], most: int = 5) -> str:
    """Lists the first names, and counts the others."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
