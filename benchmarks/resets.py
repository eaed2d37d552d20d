"""Do soft resets of the network (BRB) find better clusters?

    dec-jax cluster digits --recipe dec --seeds 5 --out runs/digits-dec
    python -m benchmarks.resets runs/digits-dec

Takes the pretrained autoencoder of each seed of a run of `dec`, and trains clusters from it
by the recipes with resets, as they are and without the resets. Both have the same steps,
optimizer and augmentation, so that only the resets differ. Prints ACC (%) of each. The
classes only score: they choose nothing.
"""

import argparse
import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.quality import new_parser, save_rows
from dec_jax import model
from dec_jax.data.dataset import Dataset
from dec_jax.data.load import load_dataset
from dec_jax.evaluation.metrics import clustering_accuracy, normalized_mutual_info
from dec_jax.parallel.hardware import device_name
from dec_jax.report.run_files import read_settings
from dec_jax.runs.choices import choose_recipe, number_of_clusters
from dec_jax.runs.errors import UsageError, exit_status, mistakes_of_use
from dec_jax.runs.fit import place
from dec_jax.runs.phases import Phases
from dec_jax.runs.run import AUTOENCODER

RECIPES = ("dec-brb", "idec-brb", "dcn-brb")


def measure(
    dataset: Dataset,
    file: Path,
    recipe: str,
    seed: int,
    *,
    resets: bool,
    epochs: int | None,
) -> dict[str, Any]:
    """Trains clusters from a pretrained autoencoder, with or without resets."""
    assert dataset.labels is not None
    loaded = model.load(file)
    k = number_of_clusters(None, dataset)
    settings = choose_recipe(recipe, dataset, k, max_intervals=epochs)
    if not resets:
        train = dataclasses.replace(settings.train, soft_reset=None)
        settings = dataclasses.replace(settings, train=train)
    begin = time.perf_counter()
    phases = Phases(dataset, place(dataset.x, None), settings, k, seed)
    start = phases.start(loaded.params)
    result = phases.cluster(start)
    return {
        "dataset": dataset.name,
        "recipe": recipe,
        "resets": resets,
        "seed": seed,
        "epochs": settings.train.max_intervals,
        "start": clustering_accuracy(dataset.labels, np.asarray(start.labels)),
        "acc": clustering_accuracy(dataset.labels, result.labels),
        "nmi": normalized_mutual_info(dataset.labels, result.labels),
        "seconds": time.perf_counter() - begin,
    }


def line(row: dict[str, Any]) -> str:
    """One training as a line of the printed table."""
    how = "with resets" if row["resets"] else "without"
    return (
        f"{row['dataset']:<12}{row['recipe']:<10}{how:<13}seed {row['seed']:<3}"
        f"start {100 * row['start']:5.1f}  ACC {100 * row['acc']:5.1f}  "
        f"NMI {100 * row['nmi']:5.1f}  {row['seconds']:6.1f} s"
    )


def markdown(rows: list[dict[str, Any]]) -> str:
    """Means and deviations over the seeds as a table, ACC in %."""
    lines = [
        "| data | recipe | seeds | k-means on z | without resets | with resets |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for dataset, recipe in dict.fromkeys(
        (row["dataset"], row["recipe"]) for row in rows
    ):
        own = [
            row for row in rows if (row["dataset"], row["recipe"]) == (dataset, recipe)
        ]
        kinds = {
            resets: [row["acc"] for row in own if row["resets"] is resets]
            for resets in (False, True)
        }
        start = {row["seed"]: row["start"] for row in own}
        cells = [_mean(list(start.values())), _mean(kinds[False]), _mean(kinds[True])]
        lines.append(f"| {dataset} | `{recipe}` | {len(start)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _mean(values: list[float]) -> str:
    """Formats a mean and a standard deviation, in %."""
    if not values:
        return ""
    return f"{100 * np.mean(values):.1f} ± {100 * np.std(values):.1f}"


def run(options: argparse.Namespace) -> None:
    """Measures, prints and saves."""
    print(f"soft resets on {device_name()}, in %")
    rows = []
    for folder in map(Path, options.runs):
        files = sorted(folder.glob(f"seed-*/{AUTOENCODER}"))[: options.seeds]
        if not files:
            raise UsageError(
                f"{folder} must hold the seeds of a run of dec, got no {AUTOENCODER}."
            )
        with mistakes_of_use():
            settings = read_settings(files[0].parent)
            dataset = load_dataset(settings.dataset or "mnist", **settings.reading)
        for recipe in options.recipes:
            for file in files:
                seed = int(file.parent.name.rpartition("-")[2])
                for resets in (False, True):
                    row = measure(
                        dataset,
                        file,
                        recipe,
                        seed,
                        resets=resets,
                        epochs=options.epochs,
                    )
                    rows.append(row)
                    print(line(row), flush=True)
            jax.clear_caches()
    print(markdown(rows))
    if options.save:
        save_rows(options.save, rows)


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    out = new_parser("resets", __doc__, RECIPES, data=False)
    what = "folder of a run of dec, of data with classes"
    out.add_argument("runs", metavar="RUN", nargs="+", help=what)
    what = "take the first N seeds of each run (default 5)"
    out.add_argument("--seeds", metavar="N", type=int, default=5, help=what)
    what = "train for N epochs (default: the recipe's, 400)"
    out.add_argument("--epochs", metavar="N", type=int, help=what)
    options = out.parse_args(arguments)
    return exit_status(lambda: run(options), "Stopped; nothing was saved.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
