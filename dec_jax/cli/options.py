"""The command line of an experiment: arguments, the lines it prints, how it ends.

Only the standard library is imported before the arguments are read, so that `--help`
and a mistyped option answer at once.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from dec_jax.runs.errors import STOPPED, UsageError, check_least, flag

# Listed here because asking dec_jax would load jax; a test holds them equal.
RECIPES = (
    "dec",
    "dec-paper",
    "dec-keras",
    "idec",
    "dcn",
    "kld-conv",
    "kmeans-conv",
    "dec-da",
    "idec-da",
    "dec-da-conv",
    "vade",
    "n2d",
    "best",
)
PRECISIONS = ("float32", "bfloat16")
STARTS = ("k-means", "spectral", "umap")
DATASETS = (
    *("mnist", "fashion_mnist", "usps", "coil20", "stl10", "reuters21578"),
    *("reuters10k", "digits"),
)
DEFAULTS: dict[str, Any] = {
    "recipe": "dec",
    "dataset": None,
    "n_clusters": None,
    "seeds": 1,
    "seed": 0,
    "vectorized": False,
    "epochs": None,
    "max_intervals": None,
    "batch_size": None,
    "architecture": None,
    "precision": "float32",
    "pretrained": None,
    "start": None,
    "normalize": False,
    "reseed_below": None,
    "image_size": None,
    "image_mode": None,
    "labels_csv": None,
    "folder_labels": False,
    "skip_unreadable": False,
    "label_column": None,
    "no_standardize": False,
}
# Settings that only say how the user's own data are read.
DATA_OPTIONS = (
    "image_size",
    "image_mode",
    "labels_csv",
    "folder_labels",
    "skip_unreadable",
    "label_column",
)


def parser(program: str) -> argparse.ArgumentParser:
    """The options; one that is not given leaves no trace, so that --resume can tell."""
    formatter = argparse.RawDescriptionHelpFormatter
    out = argparse.ArgumentParser(
        prog=program,
        description="Clusters a data set with Deep Embedded Clustering: pretrains an "
        "autoencoder,\nplaces centroids by k-means, trains both, and scores the clusters "
        "where there are labels.",
        epilog=f"recipes: {', '.join(RECIPES)}\n"
        f"data sets: {', '.join(DATASETS)};\n"
        "  or the path of a folder of images, of a .csv, .tsv or .parquet table, or of a\n"
        "  .npz or .npy file\n"
        "Ctrl-C stops a run so that --resume can go on with it.",
        formatter_class=formatter,
        argument_default=argparse.SUPPRESS,
    )
    add = out.add_argument
    add("--recipe", metavar="NAME", help="settings of a published method (default dec)")
    add(
        "--dataset",
        metavar="NAME",
        help="data set or file (default mnist, or digits where MNIST cannot be had)",
    )
    add(
        "--data-dir",
        metavar="DIR",
        help="folder with data sets (default $DEC_JAX_DATA)",
    )
    add(
        "--n-clusters",
        metavar="K",
        type=int,
        help="number of clusters (default: of classes, where there are labels)",
    )
    add("--seeds", metavar="N", type=int, help="how many seeds to run (default 1)")
    add("--seed", metavar="S", type=int, help="the first seed (default 0)")
    add(
        "--vectorized",
        action="store_true",
        help="train all seeds in one program: for an accelerator, which one seed does "
        "not fill",
    )
    add("--epochs", metavar="N", type=int, help="pretrain for N epochs")
    add(
        "--max-intervals",
        metavar="N",
        type=int,
        help="cluster for at most N intervals between target updates",
    )
    add("--batch-size", metavar="N", type=int, help="samples in a step")
    add(
        "--architecture",
        metavar="NAME",
        help="another network for the recipe: a name that python -m "
        "dec_jax.cli.architectures lists, or a JSON file",
    )
    add(
        "--precision",
        metavar="NAME",
        choices=PRECISIONS,
        help="of matrix products: float32 (default), or bfloat16, which is faster "
        "where the processor has it",
    )
    add(
        "--pretrained",
        metavar="PATH",
        help="take the autoencoder of an earlier run (its folder, or an "
        "autoencoder.safetensors) instead of pretraining one",
    )
    add(
        "--start",
        metavar="NAME",
        choices=STARTS,
        help="the labels of z that clustering starts from, instead of the recipe's own: "
        "k-means; spectral, which finds clusters in the graph of neighbors; or umap",
    )
    add(
        "--normalize",
        action="store_true",
        help="bring each sample to a mean square of 1 before the network sees it, so "
        "that brightness, or length, tells none apart",
    )
    add(
        "--reseed-below",
        metavar="SHARE",
        type=float,
        help="start a cluster again, within the largest one, where it has fewer samples "
        "than this share of the mean, 0.1 say (default: the recipe's, mostly never)",
    )
    add(
        "--out",
        metavar="DIR",
        help="folder for the results (default runs/<data set>-<recipe>)",
    )
    add("--resume", metavar="DIR", help="go on with the run in this folder")
    many = out.add_argument_group("many devices, many machines").add_argument
    many(
        "--devices",
        metavar="N",
        type=int,
        help="spread samples and batches over N devices (default: all accelerators, "
        "or one CPU device)",
    )
    many(
        "--distributed",
        action="store_true",
        help="one process of several: which one, say JAX_COORDINATOR_ADDRESS, "
        "JAX_NUM_PROCESSES and JAX_PROCESS_ID, or SLURM, or Open MPI; set, they do "
        "so without this option",
    )
    images = out.add_argument_group("a folder of images").add_argument
    images("--image-size", metavar="N", type=int, help="crop and resize to N x N")
    images(
        "--image-mode",
        metavar="MODE",
        help="gray or color (default: gray where all images are)",
    )
    images("--labels-csv", metavar="FILE", help="CSV with the columns filename,label")
    images("--folder-labels", action="store_true", help="sub-folders are classes")
    images("--skip-unreadable", action="store_true", help="leave out damaged files")
    table = out.add_argument_group("a table or an array file").add_argument
    table("--label-column", metavar="NAME", help="column with the classes, for scoring")
    table(
        "--no-standardize",
        action="store_true",
        help="take the numbers as they are, not with mean 0 and deviation 1 (those of "
        "an array file: not divided by their mean deviation)",
    )
    return out


def resolve(options: dict[str, Any]) -> dict[str, Any]:
    """The settings of the run: what was given, what a resumed run had, the defaults.

    Raises:
      UsageError: options that contradict each other or the run to be resumed.
    """
    given = {name: value for name, value in options.items() if name in DEFAULTS}
    if "resume" not in options:
        settings = {**DEFAULTS, **given}
        numbers = ("seeds", "epochs", "max_intervals", "batch_size", "n_clusters")
        check_least(settings, **dict.fromkeys(numbers, 1))
        if settings["vectorized"] and settings["seeds"] < 2:
            raise UsageError(
                f"--vectorized needs --seeds of 2 or more, got {settings['seeds']}."
            )
        return settings
    if "out" in options:
        raise UsageError("--out and --resume name two folders; give only --resume.")
    folder = Path(options["resume"])
    try:
        config = json.loads((folder / "config.json").read_text())
        stored = {name: config["command"][name] for name in DEFAULTS}
    except OSError:
        raise UsageError(
            f"--resume {folder}: there is no config.json in it, so it is not the folder "
            "of a run."
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"--resume {folder}: config.json is damaged.") from error
    for name, value in given.items():
        if value != stored[name]:
            raise UsageError(
                f"--resume {folder}: that run has {flag(name)} {stored[name]}, not "
                f"{value}; leave the option out, or start a new run."
            )
    return stored


def main(arguments: list[str], *, program: str) -> int:
    """Runs the experiment; returns the exit status: 0, 2 for a mistake, 130 for Ctrl-C."""
    options = vars(parser(program).parse_args(arguments))
    try:
        settings = resolve(options)
        # Only now, because it loads jax.
        from dec_jax.runs import runner

        return runner.run(settings, options, program=program)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped before there was anything to resume.", file=sys.stderr)
        return STOPPED
