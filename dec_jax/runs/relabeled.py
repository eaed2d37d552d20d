"""Tables like labels.csv of a run, with other clusters: of a cut, or of a consensus."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dec_jax.clustering.consensus import consensus
from dec_jax.evaluation.metrics import clustering_accuracy
from dec_jax.runs.errors import UsageError
from dec_jax.writing import whole_file

CONSENSUS = "consensus.csv"
OWN = ("q", "typical")  # columns that belong to the clusters of the run
AGAIN = "run dec-jax cluster again in a new folder"


def read_rows(path: Path, n_clusters: int | None = None) -> list[dict[str, str]]:
    """Reads the rows of labels.csv of a run.

    Args:
      path: the file.
      n_clusters: k, which all clusters must be below; None takes any.

    Raises:
      UsageError: it is missing or damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = list(csv.DictReader(file))
        clusters = [int(row["cluster"]) for row in rows]
        whole = min(clusters) >= 0
        whole &= n_clusters is None or max(clusters) < n_clusters
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    except (KeyError, TypeError, ValueError, csv.Error):
        whole = False
    if not whole:
        raise UsageError(f"{path} is damaged; {AGAIN}.")
    return rows


def write_relabeled(
    path: Path, rows: Sequence[Mapping[str, str]], columns: Mapping[str, Sequence[Any]]
) -> None:
    """Writes rows of labels.csv with other columns in the place of the clusters.

    Args:
      path: the table to write.
      rows: from `read_rows`; what belongs to their clusters is left out.
      columns: of as many values as there are rows.
    """
    titles: list[str] = []
    for title in (title for title in rows[0] if title not in OWN):
        titles += columns if title == "cluster" else [title]
    with (
        whole_file(path) as partial,
        partial.open(
            "w", newline="", encoding="utf-8", errors="surrogateescape"
        ) as file,
    ):
        writer = csv.DictWriter(file, titles, extrasaction="ignore")
        writer.writeheader()
        for row, values in zip(rows, zip(*columns.values(), strict=True), strict=True):
            writer.writerow({**row, **dict(zip(columns, values, strict=True))})


def write_consensus(folder: Path, seeds: Sequence[int], n_clusters: int) -> str:
    """Writes the consensus of several seeds, and returns a line on it.

    Args:
      folder: of the run, with a folder for each seed.
      seeds: at least two.
      n_clusters: k.

    Raises:
      UsageError: labels.csv of a seed is missing or damaged.
    """
    tables = [
        read_rows(folder / f"seed-{seed}" / "labels.csv", n_clusters) for seed in seeds
    ]
    labelings = [np.array([int(row["cluster"]) for row in rows]) for rows in tables]
    found = consensus(labelings, n_clusters)
    columns = {
        "cluster": found.labels.tolist(),
        "stability": [f"{share:.4f}" for share in found.stability],
    }
    write_relabeled(folder / CONSENSUS, tables[0], columns)
    line = (
        f"consensus of the seeds ({CONSENSUS}): {np.mean(found.stability == 1):.0%} of "
        "the samples are in the same cluster in all of them"
    )
    classes = [row["class"] for row in tables[0] if "class" in row]
    if len(classes) < len(found.labels):
        return line
    return f"{line}; its ACC {clustering_accuracy(classes, found.labels):.3f}"
