"""Clusters a data set: pretrains an autoencoder, finds a start, and trains the clusters.

The folder of a run holds the cluster of each sample (labels.csv), a report to look at
(report.html), a line for each cluster (clusters.csv), a model that assigns new data
(model.safetensors), figures, and all numbers (results.json).
"""

import argparse
import json
import re
import time
from contextlib import suppress
from pathlib import Path

from dec_jax.cli.options import (
    add_data_options,
    add_image_options,
    add_table_options,
    typed_path,
)
from dec_jax.data.named import DATASETS
from dec_jax.recipes.names import K_SEARCHES, PRECISIONS, RECIPES, STARTS
from dec_jax.runs.compile_cache import check_programs
from dec_jax.runs.errors import UsageError

PROGRAM = "dec-jax cluster"
HELP = "find the clusters of a data set"
STOPPED_LINE = "Stopped before there was anything to resume."
EPILOG = (
    f"recipes: {', '.join(RECIPES)}\n"
    f"data sets: {', '.join(DATASETS)};\n"
    "  or the path of a folder of images or of .txt files, of a .csv, .tsv or .parquet\n"
    "  table, of a .npz, .npy or .h5ad file, or of a .txt file of one document a line\n"
    "Ctrl-C stops a run; --resume continues it."
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options; one that is not given leaves no trace, so that --resume can tell."""
    parser.argument_default = argparse.SUPPRESS
    parser.epilog = EPILOG
    parser.add_argument(
        "dataset",
        metavar="DATA",
        type=typed_path,
        nargs="?",
        default=argparse.SUPPRESS,
        help="data set, file or folder",
    )
    add_run_options(parser)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Adds all options but the data set."""
    add = parser.add_argument
    add(
        "-k",
        "--n-clusters",
        metavar="K",
        type=number_or_auto,
        help="number of clusters, or a way to look for it: auto, as dec-jax choose-k "
        "does, density (peaks on a map), or dip (tests while a network learns) (default: "
        "the number of classes, where there are labels)",
    )
    add(
        "--recipe",
        metavar="NAME",
        help="settings of a published method (default: best for images, auto for "
        "everything else); dec-jax recipes lists them",
    )
    add(
        "--limit",
        metavar="N",
        type=int,
        help="take N samples at random, for a first look",
    )
    add("--seeds", metavar="N", type=int, help="how many seeds to run (default 1)")
    add("--seed", metavar="S", type=int, help="the first seed (default 0)")
    add(
        "--out",
        metavar="DIR",
        type=typed_path,
        help="folder for the results (default runs/<data set>-<recipe>)",
    )
    add(
        "--resume",
        metavar="DIR",
        type=typed_path,
        help="continue the run in this folder",
    )
    add(
        "--memory",
        metavar="BYTES",
        type=memory,
        help="memory that the run may take, such as 4G (default: what is free); samples of "
        "an .npy file that would take more are read as they are needed",
    )
    add_data_options(parser)
    add_image_options(parser)
    add_table_options(parser)
    change = parser.add_argument_group("changes of the recipe").add_argument
    change("--epochs", metavar="N", type=int, help="pretrain for N epochs")
    change(
        "--max-intervals",
        metavar="N",
        type=int,
        help="cluster for at most N intervals between target updates",
    )
    change("--batch-size", metavar="N", type=int, help="samples in a step")
    change(
        "--learning-rate",
        metavar="RATE",
        type=float,
        help="of clustering; the rates of pretraining change by the same factor",
    )
    change(
        "--retry",
        action="store_true",
        help="start a phase again if its loss or parameters are no longer finite, at a tenth "
        "of its learning rate, at most twice",
    )
    change(
        "--precision",
        choices=PRECISIONS,
        help="of matrix products (default: the one that is faster on this machine)",
    )
    change(
        "--architecture",
        metavar="NAME",
        type=typed_path,
        help="another network: a name that dec-jax architectures lists, or a JSON file",
    )
    change(
        "--pretrained",
        metavar="PATH",
        type=typed_path,
        help="take the autoencoder of an earlier run (its folder, or an "
        "autoencoder.safetensors) instead of pretraining one",
    )
    change(
        "--start",
        choices=STARTS,
        help="the labels of z that clustering starts from: k-means; spectral, the "
        "clusters of the neighbor graph; umap, a mixture on UMAP; or judge, the labels "
        "on which simple methods agree",
    )
    change(
        "--graph-rows",
        metavar="N",
        type=int,
        help="of more than N samples, the start spectral takes the graph of a sample of N, "
        "whose clusters the others join (default 100,000)",
    )
    change(
        "--normalize",
        action="store_true",
        help="scale each sample to a mean square of 1, so that brightness, or length, "
        "does not count",
    )
    change(
        "--reseed-below",
        metavar="SHARE",
        type=float,
        help="restart a cluster, within the largest one, once it has fewer samples than "
        "this share of the mean, 0.1 for instance (default: the recipe's, mostly never)",
    )
    many = parser.add_argument_group("many devices, many seeds").add_argument
    many(
        "--devices",
        metavar="N",
        type=int,
        help="spread samples and batches over N devices (default: all accelerators, or "
        "one CPU device)",
    )
    many(
        "--distributed",
        action="store_true",
        help="this is one process of several, which JAX_COORDINATOR_ADDRESS, "
        "JAX_NUM_PROCESSES and JAX_PROCESS_ID, or SLURM or Open MPI, number; where "
        "these are set, the option is not needed",
    )
    many(
        "--vectorized",
        action="store_true",
        help="train all seeds in one program, for an accelerator that one seed does not "
        "fill",
    )


def number_or_auto(text: str) -> int | str:
    """Reads a number of clusters, or a way to look for it."""
    if text in K_SEARCHES:
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be a whole number or one of {', '.join(K_SEARCHES)}, got {text!r}"
        ) from None


def memory(text: str) -> str:
    """Checks a number of bytes such as 4G."""
    # As `runs.streamed.parse_bytes`, which loads jax.
    if not re.fullmatch(r"\s*[0-9]{1,15}(\.[0-9]+)?\s*[kKmMgGtT]?(i?[bB])?\s*", text):
        raise argparse.ArgumentTypeError(
            f"must be bytes such as 4G or 500M, got {text!r}"
        )
    return text


def run(options: argparse.Namespace, *, program: str = PROGRAM) -> None:
    """Runs or resumes.

    Args:
      options: only those that were given.
      program: the command as it is typed, for the line that resumes a run.
    """
    # Only now, because they load jax.
    from dec_jax.report.write import try_reports
    from dec_jax.runs import seeds, settings

    begin, given = time.monotonic(), vars(options)
    if program == PROGRAM and not {"dataset", "resume"} & set(given):
        raise UsageError(
            "DATA must be named: a file, a folder of images, or a data set such as digits, "
            "as in dec-jax cluster digits."
        )
    check_programs()
    finished = seeds.run(settings.resolve(given), given, program=program)
    if finished is None:
        return
    if finished.dataset is not None:
        try_reports(finished.folder, finished.dataset)
    seconds = time.monotonic() - begin
    add_seconds(finished.folder, seconds)
    print(f"done in {duration(seconds)}")


def duration(seconds: float) -> str:
    """Formats seconds, from two minutes on with minutes.

    Example:
      >>> duration(74.8), duration(1409)
      ('75 s', '23 min 29 s')
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes >= 2 else f"{round(seconds)} s"


def add_seconds(folder: Path, seconds: float) -> None:
    """Adds the seconds of the whole command to the numbers of a run.

    They are "run" in "seconds" of results.json, and "run_seconds" in the summary.json of
    several seeds. The run is done: where they cannot be written, they are left out.
    """
    from dec_jax.runs.json_files import read_checked, write_checked, write_json

    path, summary = folder / "results.json", folder / "summary.json"
    with suppress(OSError, UsageError, ValueError):
        if path.is_file():
            results = read_checked(path, "run again")
            results["seconds"]["run"] = seconds
            write_checked(path, results)
        elif summary.is_file():
            numbers = json.loads(summary.read_text(encoding="utf-8"))
            write_json(summary, numbers | {"run_seconds": seconds})
