"""Does the second opinion tell the answers that are wrong?

    python -m benchmarks.verdict                  # noise, and the tables in $DEC_JAX_DATA/tables
    python -m benchmarks.verdict --recipes dec    # of these recipes alone
    python -m benchmarks.verdict --save verdict-cpu --resume   # goes on after a stop

Runs each recipe on each data set with the right number of clusters, `auto` with two more
and two fewer, and on every third set `dec` with a hundredfold learning rate, which ruins
its clusters. An answer is poor if its ACC is more than 5 points below that of the best
simple method with the right number of clusters; each answer on noise, which has no
clusters, is poor. The table shows how many of the poor answers are told, by their doubt, at
which share of false alarms. The classes only score: they choose nothing.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from benchmarks.quality import WORSE, datasets, new_parser, save_rows
from benchmarks.tables import RESULTS
from dec_jax.data.arrays import dataset_from_array
from dec_jax.data.dataset import Dataset
from dec_jax.evaluation.judge import choose_labels
from dec_jax.evaluation.metrics import clustering_accuracy
from dec_jax.parallel.hardware import device_name
from dec_jax.recipes.recipe import Recipe
from dec_jax.runs.choices import choose_recipe
from dec_jax.runs.errors import exit_status
from dec_jax.runs.fit import fit

RECIPES = ("auto", "dec", "idec", "dcn", "best")
OFFSETS = (2, -2)  # from the right number of clusters, for `auto`
NOISE = ((500, 2), (1_000, 8), (2_000, 20))  # rows and columns
NOISE_CLUSTERS = 4
RUINED, EVERY = "dec, rate x 100", 3
ALARMS = (0.05, 0.1, 0.2, 0.3)


def noise_sets() -> Iterator[Dataset]:
    """Draws data without clusters, from normal and uniform distributions."""
    rng = np.random.default_rng(0)
    for n, d in NOISE:
        for draw in (rng.normal, rng.uniform):
            x = draw(size=(n, d)).astype(np.float32)
            yield dataset_from_array(x, name=f"{draw.__name__} noise {n} x {d}")


def reachable(dataset: Dataset) -> float:
    """The ACC of the best simple method with the right number of clusters."""
    assert dataset.labels is not None and dataset.n_classes is not None
    choice = choose_labels(
        np.asarray(dataset.x), dataset.n_classes, by_direction=dataset.by_direction
    )
    classes = dataset.labels[choice.rows]
    return max(
        clustering_accuracy(classes, labels) for labels in choice.judgment.labels
    )


def settings_of(recipe: str, dataset: Dataset, k: int) -> str | Recipe:
    """Names a recipe, or makes the settings that ruin the clusters of `dec`."""
    if recipe != RUINED:
        return recipe
    settings = choose_recipe("dec", dataset, k)
    optimizer = settings.train.optimizer
    fast = replace(optimizer, learning_rate=100 * optimizer.learning_rate)
    return replace(settings, train=replace(settings.train, optimizer=fast))


def measure(dataset: Dataset, recipe: str, k: int, best: float) -> dict[str, Any]:
    """Fits a recipe; tells its verdict, and whether its answer is poor."""
    result = fit(dataset, k, recipe=settings_of(recipe, dataset, k))
    assert result.opinion is not None
    acc = None
    if dataset.labels is not None:
        acc = clustering_accuracy(dataset.labels, result.labels)
    row = {
        "dataset": dataset.name,
        "recipe": recipe,
        "n_clusters": k,
        "acc": acc,
        "reachable": best,
        "poor": acc is None or acc < best - WORSE,
        **result.opinion.as_json(),
    }
    shown = "    -" if acc is None else f"{100 * acc:5.1f}"
    print(
        f"{dataset.name:<24}{recipe:<16}k {k:<3}ACC {shown} of {100 * best:5.1f}  "
        f"doubt {row['doubt']:.2f} {row['verdict']:<16}{'poor' if row['poor'] else ''}",
        flush=True,
    )
    return row


def roc(rows: list[dict[str, Any]]) -> str:
    """The share of poor answers that are told, at several shares of false alarms."""
    doubt = np.array([row["doubt"] for row in rows])
    poor = np.array([row["poor"] for row in rows])
    lines = [f"{len(rows)} answers, of which {poor.sum()} are poor"]
    if 0 < poor.sum() < len(rows):
        for share in ALARMS:
            limit = np.quantile(doubt[~poor], 1 - share)
            found = np.mean(doubt[poor] > limit)
            lines.append(
                f"{share:.0%} false alarms (doubt above {limit:.2f}): {found:.0%} found"
            )
        told = np.array([row["verdict"] != "confident" for row in rows])
        lines.append(
            f"the verdict itself: {told[poor].mean():.0%} found, "
            f"{told[~poor].mean():.0%} false alarms"
        )
    return "\n".join(lines)


def run(options: argparse.Namespace) -> None:
    """Measures, prints and saves."""
    print(f"verdict on {device_name()}")
    rows: list[dict[str, Any]] = []
    if options.resume:
        rows += json.loads((RESULTS / f"{options.save}.json").read_text())["rows"]
    done = {(row["dataset"], row["recipe"], row["n_clusters"]) for row in rows}

    def add(dataset: Dataset, recipe: str, k: int, best: float) -> None:
        if (dataset.name, recipe, k) in done:
            return
        rows.append(measure(dataset, recipe, k, best))
        # Each data set has programs of its own, whose memory maps are limited.
        jax.clear_caches()
        if options.save:
            # Now and not at the end: all of it takes an hour.
            save_rows(options.save, rows)

    for dataset in noise_sets():
        for recipe in options.recipes:
            add(dataset, recipe, NOISE_CLUSTERS, 0.0)
    for number, dataset in enumerate(datasets(options.datasets)):
        best, k = reachable(dataset), dataset.n_classes
        assert k is not None
        for recipe in options.recipes:
            add(dataset, recipe, k, best)
        for count in (k + more for more in OFFSETS if k + more >= 2):
            add(dataset, "auto", count, best)
        if number % EVERY == 0:
            add(dataset, RUINED, k, best)
    print(roc(rows))


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    out = new_parser("verdict", __doc__, RECIPES)
    out.add_argument(
        "--resume", action="store_true", help="keep the rows that --save has already"
    )
    options = out.parse_args(arguments)
    if options.resume and not options.save:
        out.error("--resume needs --save NAME.")
    return exit_status(lambda: run(options), "Stopped.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
