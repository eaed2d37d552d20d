"""Helpers for a program around `fit`: its data, its folder, its first lines and its end."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dec_jax.data.dataset import Dataset
from dec_jax.parallel.hardware import device_name
from dec_jax.runs import folder, provenance
from dec_jax.runs.callbacks import Stopped
from dec_jax.runs.errors import RunFailed, UsageError
from dec_jax.runs.json_files import write_json
from dec_jax.runs.signals import Stop
from dec_jax.validation import shown


def take(dataset: Dataset, rows: np.ndarray | range) -> Dataset:
    """Takes some samples of a data set.

    Args:
      dataset: the samples.
      rows: the numbers of those to take, from 0.

    Returns:
      The data set of these samples, in the order of `rows`.

    Example:
      >>> from dec_jax.data.load import load_dataset
      >>> take(load_dataset("digits"), range(3)).x.shape
      (3, 64)
    """
    labels = None if dataset.labels is None else dataset.labels[rows]
    names = dataset.names and tuple(dataset.names[row] for row in rows)
    lines = dataset.lines and tuple(dataset.lines[row] for row in rows)
    small = None if dataset.thumbnails is None else dataset.thumbnails[rows]
    return dataclasses.replace(
        dataset,
        x=dataset.x[rows],
        labels=labels,
        names=names,
        lines=lines,
        thumbnails=small,
    )


def take_sample(dataset: Dataset, limit: int) -> Dataset:
    """Takes `limit` samples at random, in their order; rows without names get their number.

    Args:
      dataset: the samples.
      limit: how many; all where there are no more.

    Returns:
      The data set of these samples; a note tells how many there are in all.

    Example:
      >>> from dec_jax.data.load import load_dataset
      >>> take_sample(load_dataset("digits"), 100).x.shape
      (100, 64)
    """
    n = len(dataset.x)
    if limit >= n:
        return dataset
    if dataset.names is None:
        numbers = tuple(str(row) for row in range(n))
        dataset = dataclasses.replace(dataset, names=numbers, names_title="row")
    rows = np.sort(np.random.default_rng(0).permutation(n)[:limit])
    note = f"{limit:,} of {n:,} samples, drawn at random"
    return dataclasses.replace(take(dataset, rows), notes=(*dataset.notes, note))


def take_first(dataset: Dataset, limit: int | None) -> Dataset:
    """Takes the first `limit` samples, or all where it is None.

    Raises:
      UsageError: there are fewer; the message calls the number --limit.
    """
    available = len(dataset.x)
    limit = available if limit is None else limit
    if not 1 <= limit <= available:
        raise UsageError(
            f"--limit must be at most {available:,}, the samples there are, got {limit:,}."
        )
    return take(dataset, range(limit))


def facts(dataset: Dataset) -> dict[str, Any]:
    """Collects the entries of results.json that tell what was measured, and where.

    Args:
      dataset: the samples.

    Returns:
      JSON values: "dataset", "dataset_source", "dataset_notes", "dataset_sha256",
      "n_samples", "device", "versions" and "commit".
    """
    return {
        "dataset": dataset.name,
        "dataset_source": dataset.source,
        "dataset_notes": list(dataset.notes),
        "dataset_sha256": dataset.sha256,
        "n_samples": len(dataset.x),
        "device": device_name(),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }


def open_folder(out: str | None, default: str, config: dict[str, Any]) -> Path:
    """Makes the folder of a run, with its config.json.

    Args:
      out: the folder that the user named, which must be empty, or None.
      default: the folder otherwise; gets a number where it is not empty.
      config: the content of config.json.

    Returns:
      The folder.

    Raises:
      UsageError: it is not empty, or cannot be written to.
    """
    path = folder.prepare(Path(out or default), explicit=out is not None)
    write_json(path / "config.json", config)
    return path


def samples_line(dataset: Dataset) -> str:
    """Counts the samples of a data set, and tells where they come from."""
    return (
        f"{dataset.name}: {len(dataset.x):,} samples of {dataset.x.shape[1]} values "
        f"({dataset.source})"
    )


def print_head(
    dataset: Dataset, task: str, out: Path | None = None, precision: str = ""
) -> None:
    """Prints where a run computes, on what, and where it writes.

    Args:
      dataset: the samples.
      task: a few words on what is done with them, such as "10 clusters, recipe dec".
      out: the folder of the results.
      precision: of matrix products.
    """
    where = [device_name(), f"jax {jax.__version__}", *filter(None, [precision])]
    print(f"dec_jax on {', '.join(where)}\n{shown(samples_line(dataset))}; {task}")
    for note in dataset.notes:
        print(f"  {shown(note)}")
    if out is not None:
        print(shown(f"results: {out}"))


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Lets Ctrl-C stop a run after its step, and turns its errors into a program's.

    Raises:
      KeyboardInterrupt: a callback stopped the run.
      RunFailed: a loss or q was no longer finite.
    """
    with Stop() as stop:
        try:
            yield stop
        except Stopped:
            raise KeyboardInterrupt from None
        except FloatingPointError as error:
            raise RunFailed(str(error)) from error
