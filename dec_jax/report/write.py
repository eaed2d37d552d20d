"""Writes clusters.csv and report.html into the folder of a run."""

import sys
from pathlib import Path

from dec_jax.data.dataset import Dataset
from dec_jax.report.cards import cards, write_clusters
from dec_jax.report.clusters import cluster_numbers
from dec_jax.report.content import readable_columns, terms_of
from dec_jax.report.page import page
from dec_jax.report.run_files import RunFiles, read_run, seed_folders
from dec_jax.runs.errors import UsageError
from dec_jax.validation import one_line, shown
from dec_jax.writing import whole_file

CLUSTERS = "clusters.csv"
REPORT = "report.html"


def write_report(folder: Path, dataset: Dataset, *, umap: bool = False) -> Path:
    """Writes the report of one seed anew.

    Args:
      folder: of the seed.
      dataset: what it clustered.
      umap: whether the map has a view by UMAP too, which takes up to a minute.

    Returns:
      The path of report.html.

    Raises:
      UsageError: the folder is not that of a finished run, or the data are others.
      ImportError: bokeh, Jinja2 or another package is not installed.
      OSError: a file cannot be written.
    """
    run = read_run(folder)
    check_same_data(run, dataset)
    by_direction = dataset.by_direction
    numbers = cluster_numbers(run, dataset.x, by_direction=by_direction)
    found = cards(run, dataset, numbers, readable_columns(dataset), terms_of(dataset))
    write_clusters(folder / CLUSTERS, found)
    html = page(run, dataset, found, numbers.compared_with, umap=umap)
    path = folder / REPORT
    with whole_file(path) as partial:
        partial.write_text(html, encoding="utf-8")
    return path


def try_reports(folder: Path, dataset: Dataset) -> None:
    """Writes the report of each seed of a finished run, and prints where they are.

    The run is done and saved: a report that cannot be written costs one line of warning.

    Raises:
      KeyboardInterrupt: Ctrl-C; its text names the command that writes the report.
    """
    for seed in seed_folders(folder):
        try:
            print(shown(f"report: {write_report(seed, dataset)}"))
        except KeyboardInterrupt:
            again = f"dec-jax report {folder}"
            text = f"Stopped; the run is complete, and {again} writes its report."
            raise KeyboardInterrupt(text) from None
        except Exception as error:
            reason = str(error) if isinstance(error, UsageError) else one_line(error)
            path = seed / REPORT
            line = f"warning: {path} was not written: {reason}"
            print(shown(line), file=sys.stderr)


def check_same_data(run: RunFiles, dataset: Dataset) -> None:
    """Raises UsageError unless the samples are those that the run clustered."""
    known = run.results.get("dataset_sha256")
    if len(dataset.x) == len(run.labels) and known in (None, dataset.sha256):
        return
    raise UsageError(
        f"{dataset.source}: the data must be those that the run in {run.folder} "
        f"clustered, got {len(dataset.x):,} samples of other content; give the same file "
        "or folder by --data."
    )
