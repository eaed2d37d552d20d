"""Labels of image files, from a CSV file or from the names of their folders."""

import csv
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from dec_jax.data.dataset import integer_labels
from dec_jax.validation import near_path

# Files that are searched if no CSV file is given.
CSV_NAMES = ("labels.csv", "train.csv")


def find_labels(folder: Path, names: list[str]) -> tuple[list[str] | None, str | None]:
    """Finds labels in a CSV file in `folder` or the two above it, and a note on them."""
    own = folder.resolve()
    for place in (own, own.parent, own.parent.parent):
        for path in (place / csv_name for csv_name in CSV_NAMES):
            if not path.is_file():
                continue
            try:
                # A train.csv may also be a table of another kind.
                if label_columns(path) is None:
                    continue
                label_of = labels_of_csv(path, folder, names)
            except ValueError as error:
                return None, f"no labels, because {str(error).rstrip('.')}"
            without = [name for name in names if name not in label_of]
            if not without:
                return [label_of[name] for name in names], f"labels of {path}"
            return None, (
                f"no labels, because {path} has no row for {len(without)} of {len(names)} "
                f"images, such as {without[0]} (given as labels_csv, the file skips them)"
            )
    return None, None


def labels_of_csv(path: Path, folder: Path, names: list[str]) -> dict[str, str]:
    """Reads {image: label} from a CSV file; each row must name one of `names`."""
    if not path.is_file():
        raise FileNotFoundError(
            f"The labels file {path} does not exist{near_path(path)}"
        )
    columns = label_columns(path)
    if columns is None:
        raise ValueError(
            f"{path}: the first line must name the columns filename and label, with "
            "commas between columns."
        )
    called = defaultdict(list)
    for name in names:
        called[name.rpartition("/")[2]].append(name)
    bases = (folder.resolve(), path.resolve().parent)
    known = {os.path.normpath(bases[0] / name): name for name in names}
    label_of: dict[str, str] = {}
    rows = csv_rows(path)
    next(rows)
    for line, row in rows:
        file, label = (row[at].strip() if at < len(row) else "" for at in columns)
        if not file or not label:
            raise ValueError(
                f"{path}, line {line}: filename and label must not be empty, got "
                f"{','.join(row)!r}."
            )
        # The file may have been written on Windows.
        file = file.replace("\\", "/")
        ways = [os.path.normpath(os.path.join(base, file)) for base in bases]
        found = [known[way] for way in ways if way in known][:1] or called.get(file, [])
        if not found:
            raise ValueError(
                f"{path}, line {line}: {file} is not an image in {folder}."
            )
        if len(found) > 1:
            raise ValueError(
                f"{path}, line {line}: {file} may be {found[0]} or {found[1]}; write "
                "it with its folder."
            )
        if found[0] in label_of:
            raise ValueError(f"{path}, line {line}: {found[0]} has a row already.")
        label_of[found[0]] = label
    if not label_of:
        raise ValueError(f"{path} has no rows below its first line.")
    return label_of


def label_columns(path: Path) -> tuple[int, int] | None:
    """Returns the positions of the columns filename and label of a CSV file, or None."""
    titles = [title.strip() for _, row in islice(csv_rows(path), 1) for title in row]
    if "filename" in titles and "label" in titles:
        return titles.index("filename"), titles.index("label")
    return None


def csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yields (line number, cells) of each line that is not empty."""
    # Excel begins a UTF-8 file with a byte order mark, which utf-8-sig skips.
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, skipinitialspace=True)
        try:
            for row in reader:
                if row:
                    yield reader.line_num, row
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8 text: {error}") from error
        except csv.Error as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}.") from error


def labels_of_folders(folder: Path, names: list[str]) -> list[str]:
    """Returns the first sub-folder of each image."""
    outside = [name for name in names if "/" not in name]
    if outside:
        raise ValueError(
            f"{folder}: with folder_labels each image must be in the sub-folder of its "
            f"class, got {len(outside)} in none, such as {outside[0]}."
        )
    return [name.partition("/")[0] for name in names]


def numbered(labels: list[str], source: str) -> np.ndarray:
    """Converts texts to int32 labels: integers are kept, others are numbered in order."""
    # "01" is no integer here: it would become the same class as "1".
    if all(re.fullmatch("0|-?[1-9][0-9]{0,17}", label) for label in labels):
        return integer_labels(np.array([int(label) for label in labels]), source)
    return integer_labels(np.array(labels), source)
