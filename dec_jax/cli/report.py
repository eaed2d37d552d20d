"""Writes the report of a run anew: report.html to look at, and clusters.csv.

    dec-jax report runs/digits-best
    dec-jax report runs/customers-auto --data moved/customers.csv

`dec-jax cluster` writes both at its end. The data must be those of the run.
"""

import argparse
from pathlib import Path

from dec_jax.cli.options import add_data_options, typed_path
from dec_jax.runs.compile_cache import check_programs
from dec_jax.runs.errors import UsageError, mistakes_of_use
from dec_jax.validation import shown

HELP = "write the report of a run"
STOPPED_LINE = "Stopped before the report was written."


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add = parser.add_argument
    add("run", metavar="RUN", type=typed_path, help="folder of a finished run")
    what = "the file or folder that was clustered, if it lies elsewhere now"
    add("--data", metavar="DATA", type=typed_path, help=what)
    what = "add a view of the map by UMAP, which shows neighbors (extra umap)"
    add("--umap", action="store_true", help=what)
    add_data_options(parser)


def run(options: argparse.Namespace) -> None:
    """Writes the report of each seed, and prints where it is."""
    # Only now, because they load jax.
    from dec_jax.clustering.umap_mixture import check_umap
    from dec_jax.report.run_files import read_settings, seed_folders
    from dec_jax.report.write import write_report
    from dec_jax.runs.seeds import load_data

    check_programs()
    with mistakes_of_use():
        if options.umap:
            check_umap()
    folders = seed_folders(Path(options.run))
    settings = read_settings(folders[0], options.data)
    reading = {"data_dir": options.data_dir, "resume": options.run}
    try:
        with mistakes_of_use("data_dir"):
            dataset = load_data(settings, reading)
    except UsageError as error:
        if options.data is not None:
            raise
        raise UsageError(
            f"The data of {options.run} cannot be read: {error} If they lie elsewhere "
            "now, give them by --data."
        ) from error
    for folder in folders:
        with mistakes_of_use():
            written = write_report(folder, dataset, umap=options.umap)
            print(shown(f"report: {written}"))
