"""duplicates.csv and outliers.csv: the odd rows of a run's data."""

import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dec_jax.data.dataset import Dataset
from dec_jax.evaluation.odd_rows import OddRows, odd_rows
from dec_jax.runs.fit import FitResult
from dec_jax.validation import one_line
from dec_jax.writing import whole_file

DUPLICATES, OUTLIERS = "duplicates.csv", "outliers.csv"


def try_odd_rows(folder: Path, dataset: Dataset, result: FitResult) -> None:
    """Writes the odd rows of a run, and prints a line on them; a failure costs one.

    Args:
      folder: of the run.
      dataset: what was clustered.
      result: of `fit`; images are compared in the embedding that clustering started from,
        other data as they are.
    """
    space = dataset.x if dataset.image_shape is None else np.asarray(result.start.z)
    try:
        odd = odd_rows(dataset.x, space, by_direction=dataset.by_direction)
        line = write_odd_rows(folder, odd, dataset)
        print(line, end="\n" if line else "")
    # The run is done and saved: whatever this raises must not take it back.
    except Exception as error:
        line = f"warning: {DUPLICATES} was not written: {one_line(error)}"
        print(line, file=sys.stderr)


def write_odd_rows(folder: Path, odd: OddRows, dataset: Dataset) -> str:
    """Writes duplicates.csv and outliers.csv; returns a line if any row is in them.

    Args:
      folder: of the run.
      odd: the rows.
      dataset: all rows, with their names if they have any.
    """
    copies: dict[str, Sequence[Any]] = {
        "group": odd.groups.tolist(),
        **_named(odd.copies, dataset),
    }
    copies["equal"] = ["yes" if equal else "nearly" for equal in odd.equal]
    far = _named(odd.outliers, dataset)
    far["distance"] = [f"{distance:.6g}" for distance in odd.distances]
    _write(folder / DUPLICATES, copies)
    _write(folder / OUTLIERS, far)
    n_groups = len(set(copies["group"]))
    told = []
    if len(odd.copies):
        told.append(
            f"{len(odd.copies):,} samples have copies, equal or nearly so, in "
            f"{n_groups:,} group{'s' * (n_groups != 1)} ({DUPLICATES})"
        )
    if len(odd.outliers):
        told.append(
            f"{len(odd.outliers):,} of {odd.n_compared:,} samples "
            f"lie{'s' * (len(odd.outliers) == 1)} far from all others ({OUTLIERS})"
        )
    return "; ".join(told)


def _named(rows: np.ndarray, dataset: Dataset) -> dict[str, Sequence[Any]]:
    """Columns with number and, where there are any, name of each row."""
    columns: dict[str, Sequence[Any]] = {"index": rows.tolist()}
    if (names := dataset.names) is not None:
        columns[dataset.names_title] = [names[row] for row in rows]
    return columns


def _write(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Writes a table."""
    with whole_file(path) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
