"""Reads what a run has left in its folder."""

import csv
import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from dec_jax.clustering.hierarchy import Hierarchy
from dec_jax.evaluation.typical import typical_ranks
from dec_jax.runs.errors import UsageError
from dec_jax.runs.hierarchy_file import HIERARCHY, read_hierarchy
from dec_jax.runs.json_files import read_checked
from dec_jax.runs.plain_words import labelings_in
from dec_jax.runs.settings import Settings, settings_of
from dec_jax.validation import near_path

RESULTS = "results.json"
AGAIN = "run dec-jax cluster again in a new folder"  # what mends a damaged file
# Entries of results.json that a report needs.
NEEDED = (
    *("recipe", "n_samples", "n_clusters", "seed", "device", "versions"),
    *("seconds", "stages", "stop_reason", "health"),
)


class OtherLabels(NamedTuple):
    """Another labeling of samples of the run: of another seed, or of a simple method."""

    name: str
    rows: Int[np.ndarray, " m"]
    labels: Int[np.ndarray, " m"]


class RunFiles(NamedTuple):
    """The content of a run's folder.

    Attributes:
      folder: of the run, or of one seed of it.
      config: the content of config.json.
      results: the content of results.json.
      labels: [n] the cluster of each sample.
      q: [n] its share of that cluster.
      typical: [n] the rank of q within the cluster, from 0 to 1.
      history: the rows of history.csv, as text.
      seeds: the labels of other seeds of the run.
      alternatives: the labels of simple methods, from alternatives.csv.
      hierarchy: the tree over the clusters; None for runs of older versions.
    """

    folder: Path
    config: dict[str, Any]
    results: dict[str, Any]
    labels: Int[np.ndarray, " n"]
    q: Float[np.ndarray, " n"]
    typical: Float[np.ndarray, " n"]
    history: list[dict[str, str]]
    seeds: tuple[OtherLabels, ...]
    alternatives: tuple[OtherLabels, ...]
    hierarchy: Hierarchy | None

    @property
    def n_clusters(self) -> int:
        """Number of clusters, empty ones included."""
        return self.results["n_clusters"]


def seed_folders(folder: Path) -> list[Path]:
    """Finds the folders of finished seeds in the folder of a run.

    Args:
      folder: of a run of one seed, which is the only one then, or of several.

    Raises:
      UsageError: there is none.
    """
    if not folder.is_dir():
        raise UsageError(
            f"{folder} must be the folder of a run, got no folder{near_path(folder)}"
        )
    if (folder / RESULTS).is_file():
        return [folder]
    seeds = [path.parent for path in folder.glob(f"seed-*/{RESULTS}")]
    if seeds:
        return sorted(seeds, key=lambda path: (len(path.name), path.name))
    if (folder / "config.json").is_file():
        raise UsageError(
            f"{folder} must hold a finished run, got no {RESULTS} in it; finish it by "
            f"dec-jax cluster --resume {folder}."
        )
    raise UsageError(
        f"{folder} must be the folder of a run, got no {RESULTS} and no config.json in it."
    )


def read_run(folder: Path) -> RunFiles:
    """Reads the folder of one seed.

    Raises:
      UsageError: a file is missing or damaged.
    """
    config, results = (
        read_checked(folder / name, AGAIN) for name in ("config.json", RESULTS)
    )
    if missing := [name for name in NEEDED if name not in results]:
        raise UsageError(
            f"{folder / RESULTS} must be that of dec-jax cluster, got no entry "
            f"{missing[0]!r} in it; run dec-jax cluster again in a new folder."
        )
    path = folder / "labels.csv"
    rows = _read_csv(path)
    try:
        labels = np.array([int(row["cluster"]) for row in rows], np.int32)
        q = np.array([float(row["q"]) for row in rows])
        n, k = int(results["n_samples"]), int(results["n_clusters"])
    except (KeyError, ValueError, TypeError) as error:
        raise _damaged(path) from error
    if len(labels) != n or labels.min(initial=0) < 0 or labels.max(initial=0) >= k:
        raise _damaged(path)
    history = folder / "history.csv"
    return RunFiles(
        folder,
        config,
        {"opinion": None, **results},
        labels,
        q,
        typical_ranks(labels, q),
        _read_csv(history) if history.is_file() else [],
        _other_seeds(folder, n),
        _alternatives(folder / "alternatives.csv", n),
        _hierarchy(folder / HIERARCHY, k),
    )


def read_settings(folder: Path, data: str | None = None) -> Settings:
    """Reads the settings that a run loaded its data with.

    Args:
      folder: of the run.
      data: takes the place of the data's name.

    Raises:
      UsageError: config.json is missing or damaged.
    """
    path = folder / "config.json"
    settings = settings_of(read_checked(path, AGAIN), path)
    return dataclasses.replace(settings, dataset=data or settings.dataset)


def _other_seeds(folder: Path, n: int) -> tuple[OtherLabels, ...]:
    """Reads the labels of the finished seeds beside that of a folder."""
    if not folder.name.startswith("seed-"):
        return ()
    others = []
    for path in sorted(folder.parent.glob("seed-*/labels.csv")):
        if path.parent.name == folder.name:
            continue
        labels = _column(_read_csv(path), "cluster", path)
        # A folder may have been put there by hand.
        if len(labels) == n:
            name = path.parent.name.replace("-", " ")
            others.append(OtherLabels(name, np.arange(n), labels))
    return tuple(others)


def _alternatives(path: Path, n: int) -> tuple[OtherLabels, ...]:
    """Reads the labelings of simple methods, if the run wrote them."""
    if not path.is_file() or not (rows := _read_csv(path)):
        return ()
    index = _column(rows, "index", path)
    if index.min() < 0 or index.max() >= n:
        raise _damaged(path)
    return tuple(
        OtherLabels(name, index, _column(rows, name, path))
        for name in labelings_in(path)
    )


def _hierarchy(path: Path, n_clusters: int) -> Hierarchy | None:
    """Reads the tree over the clusters, if the run wrote it."""
    if not path.is_file():
        return None
    tree = read_hierarchy(path)
    if len(tree.sizes) != n_clusters:
        raise _damaged(path)
    return tree


def _column(rows: list[dict[str, str]], name: str, path: Path) -> np.ndarray:
    try:
        return np.array([int(row[name]) for row in rows], np.int64)
    except (KeyError, ValueError, TypeError) as error:
        raise _damaged(path) from error


def _read_csv(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            return list(csv.DictReader(file))
    except (ValueError, csv.Error) as error:
        raise _damaged(path) from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error


def _damaged(path: Path) -> UsageError:
    return UsageError(f"{path} is damaged; {AGAIN}.")
