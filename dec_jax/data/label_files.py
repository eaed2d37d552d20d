"""Labels of samples from files: csv, tsv, parquet, npy, npz, or one label a line."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dec_jax.data.array_files import read_npy, read_npz
from dec_jax.data.table_files import TABLE_SUFFIXES, decoded, listed, read_table
from dec_jax.validation import did_you_mean, expanded, near_path, shown

SUFFIXES = (*TABLE_SUFFIXES, ".npy", ".npz", ".txt")
ROW = "row"  # column of a run with --limit: the row in the whole data
# Columns of labels.csv that number or describe samples, and are no labels.
INDEX, DESCRIBING = "index", ("q", "typical")
CLUSTERS = ("cluster", "label", "labels")
CLASSES = ("class", "label", "labels", "target", "y")


class LabelFile(NamedTuple):
    """The labels of a file.

    Attributes:
      labels: [n] numbers or text.
      column: the column that they come from; "" for a file of labels alone.
      others: the other columns as text, by name; one of them may name the samples.
    """

    labels: np.ndarray
    column: str
    others: dict[str, np.ndarray]

    def order(self) -> np.ndarray:
        """The rows in the order of the data, which the numbers of `index` tell."""
        n = len(self.labels)
        numbers = self.others.get(INDEX)
        # As text, "10" is before "2".
        if numbers is None or not np.array_equal(
            np.unique(numbers), np.unique(np.arange(n).astype(str))
        ):
            return np.arange(n)
        return np.argsort(numbers.astype(np.int64))


class Matched(NamedTuple):
    """Two labelings of the same samples.

    Attributes:
      truth: [n] labels of the second file.
      labels: [n] labels of the first file, in its order.
      by: the column that names the samples in both; "" if they are in one order.
      unused: samples of the second file that the first one has not.
      unmatched: where samples are matched by their order, a column of one file that could
        name them, and that the other file lacks; else "".
    """

    truth: np.ndarray
    labels: np.ndarray
    by: str
    unused: int
    unmatched: str = ""


def read_labels(
    path: str | Path,
    *,
    column: str | None = None,
    usual: Sequence[str] = CLUSTERS,
) -> LabelFile:
    """Reads the label of each sample.

    Args:
      path: a table; an array of shape [n] or [n, 1]; a .npz file with labels; or a text
        file of one label a line.
      column: of a table, the one with the labels; None takes the first of `usual` that the
        table has, or the only column in which some texts are equal.
      usual: names of columns of labels.

    Returns:
      The labels, and the other columns.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: another ending, a damaged file, an unknown column, or missing labels.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder) / "labels.csv"
      ...     _ = path.write_text("file,cluster\\na.png,3\\nb.png,0\\n")
      ...     read_labels(path).labels.tolist()
      [3, 0]
    """
    path = expanded(path)
    suffix, name = path.suffix.lower(), shown(str(path))
    if suffix not in SUFFIXES:
        raise ValueError(
            f"Labels must be in a file that ends in {', '.join(SUFFIXES[:-1])} or "
            f"{SUFFIXES[-1]}, got {name}."
        )
    if not path.is_file():
        raise FileNotFoundError(
            f"The file of labels {name} does not exist{near_path(path)}"
        )
    if suffix in TABLE_SUFFIXES:
        return _from_table(path, column, usual)
    if column is not None:
        raise ValueError(
            f"column {column!r} must be left out for {name}, which has no named columns."
        )
    if suffix == ".txt":
        text, _ = decoded(path.read_bytes())
        lines = text.removesuffix("\n").split("\n")
        return LabelFile(_typed(np.array(lines, np.str_), name), "", {})
    labels = read_npy(path) if suffix == ".npy" else read_npz(path)[1]
    if labels is None:
        raise ValueError(f"{name} holds no labels; it must have an array y or labels.")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or not len(labels):
        raise ValueError(
            f"{name} must hold one label a sample, shape [n], got shape {labels.shape}."
        )
    return LabelFile(labels, "", {})


def _from_table(path: Path, column: str | None, usual: Sequence[str]) -> LabelFile:
    frame, names, *_ = read_table(path)
    columns = {
        str(title): np.array(frame[title].astype(str), np.str_)
        for title in frame.columns
    }
    if names is not None:
        columns.setdefault(INDEX, np.array(names, np.str_))
    name = shown(str(path))
    if not len(frame):
        raise ValueError(f"{name} holds no rows.")
    if column is None:
        found = [title for title in usual if title in columns]
        repeated = [title for title in columns if not _all_differ(columns[title])]
        found = found or (list(columns) if len(columns) == 1 else repeated)
        if len(found) != 1 and not set(found) & set(usual):
            raise ValueError(
                f"{name} has no column {' or '.join(usual[:2])}; name the one with the labels, "
                f"such as column={list(columns)[-1]!r} (--column {list(columns)[-1]}), of "
                f"{listed(list(map(shown, columns)))}."
            )
        column = found[0]
    if column not in columns:
        raise ValueError(
            f"{name} has no column {column!r}{did_you_mean(column, columns)} It has "
            f"{listed(list(map(shown, columns)))}."
        )
    labels = _typed(columns.pop(column), name)
    return LabelFile(labels, column, columns)


def _typed(texts: np.ndarray, name: str) -> np.ndarray:
    """Turns texts into whole numbers where all are; refuses empty ones."""
    texts = np.char.strip(texts)
    empty = np.flatnonzero(np.isin(texts, ("", "nan", "NaN", "<NA>", "None")))
    if len(empty):
        raise ValueError(
            f"{name} must have a label in each row, got none in row {empty[0] + 1}"
            f"{f' and {len(empty) - 1:,} more' if len(empty) > 1 else ''}."
        )
    try:
        return texts.astype(np.int64)
    except (ValueError, OverflowError):
        return texts


def match_labels(first: LabelFile, second: LabelFile) -> Matched:
    """Finds the labels of two files that belong to the same samples.

    A column that both files have, and whose texts differ in all rows of each, names the
    samples; a number of rows (`index`) counts only where there is no other. The `row` of
    a run with --limit is a row of a second file that has more. Without such a column, the
    rows of both files must be in one order.

    Args:
      first: its samples are all used.
      second: it may have more samples, which are left out.

    Returns:
      The labels of both, in the order of the first file.

    Raises:
      ValueError: samples of the first file are not in the second one, or the rows are
        without a name and of different number.

    Example:
      >>> one = LabelFile(np.array([0, 1]), "cluster", {"id": np.array(["b", "a"])})
      >>> two = LabelFile(np.array(["x", "y"]), "class", {"id": np.array(["a", "b"])})
      >>> match_labels(one, two).truth.tolist()
      ['y', 'x']
    """
    first, second = _by_file_name(first), _by_file_name(second)
    n, m = len(first.labels), len(second.labels)
    if ROW in first.others and ROW not in second.others and m > n:
        rows = second.others.get(INDEX, np.arange(m).astype(str))
        second = second._replace(others={**second.others, ROW: rows})
    by = _shared_name(first, second)
    if not by:
        if n != m:
            raise ValueError(
                "labels and truth must have as many rows, or a column that names the "
                f"samples in both, got {n:,} and {m:,} rows."
            )
        return Matched(second.labels, first.labels, "", 0, _name_of_one(first, second))
    names, known = first.others[by], second.others[by]
    order = np.argsort(known, kind="stable")
    place = np.minimum(np.searchsorted(known[order], names), m - 1)
    found = order[place]
    absent = np.flatnonzero(known[found] != names)
    if len(absent):
        raise ValueError(
            f"truth must have each sample of labels, got no {shown(by)} "
            f"{shown(str(names[absent[0]]))!r} ({len(absent):,} of {n:,} are missing)."
        )
    return Matched(second.labels[found], first.labels, by, m - n)


def _by_file_name(found: LabelFile) -> LabelFile:
    """Calls the column `filename`, which --labels-csv reads, `file`, which runs write."""
    if "filename" not in found.others or "file" in found.others:
        return found
    others = dict(found.others)
    others["file"] = others.pop("filename")
    return found._replace(others=others)


def _all_differ(texts: np.ndarray) -> bool:
    return len(np.unique(texts)) == len(texts)


def _name_of_one(first: LabelFile, second: LabelFile) -> str:
    """Names a column of one file that could name its samples, and is not in the other."""
    names = [
        title
        for one, other in ((second, first), (first, second))
        for title, texts in one.others.items()
        if title not in (INDEX, *DESCRIBING, *other.others) and _all_differ(texts)
    ]
    return next(iter(names), "")


def _shared_name(first: LabelFile, second: LabelFile) -> str:
    """Names the column that names the samples in both files, or ""."""
    shared = [
        title
        for title in first.others
        if title in second.others
        and title not in (*DESCRIBING, *CLUSTERS, *CLASSES)
        and all(
            len(np.unique(one.others[title])) == len(one.labels)
            for one in (first, second)
        )
    ]
    # Numbers of rows name samples only within one file.
    return min(shared, key=lambda title: title == INDEX, default="")
