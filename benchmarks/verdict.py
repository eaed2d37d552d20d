"""Does the second opinion tell the answers that are wrong?

    python -m benchmarks.verdict                  # the tables in $DEC_JAX_DATA/tables, and noise
    python -m benchmarks.verdict --recipes dec    # of these recipes alone

Runs each recipe on each data set with the right number of clusters, and `auto` with two more
and two fewer. An answer is poor if its ACC is more than 5 points below that of the best
simple method with the right number of clusters; each answer on noise, which has no
clusters, is poor. The table shows how many of the poor answers are told, by their doubt, at
which share of false alarms. The classes only score: they choose nothing.
"""

import argparse
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.quality import WORSE, datasets, new_parser, save_rows
from dec_jax.data.arrays import dataset_from_array
from dec_jax.data.dataset import Dataset
from dec_jax.evaluation.judge import choose_labels
from dec_jax.evaluation.metrics import clustering_accuracy
from dec_jax.parallel.hardware import device_name
from dec_jax.runs.errors import exit_status
from dec_jax.runs.fit import fit

RECIPES = ("auto", "dec", "idec", "dcn", "best")
OFFSETS = (2, -2)  # from the right number of clusters, for `auto`
NOISE = ((500, 2), (1_000, 8), (2_000, 20))  # rows and columns
NOISE_CLUSTERS = 4
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
    choice = choose_labels(np.asarray(dataset.x), dataset.n_classes)
    classes = dataset.labels[choice.rows]
    return max(
        clustering_accuracy(classes, labels) for labels in choice.judgment.labels
    )


def measure(dataset: Dataset, recipe: str, k: int, best: float) -> dict[str, Any]:
    """Fits a recipe; tells its verdict, and whether its answer is poor."""
    result = fit(dataset, k, recipe=recipe)
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
        f"{dataset.name:<24}{recipe:<6}k {k:<3}ACC {shown} of {100 * best:5.1f}  "
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
    rows = []
    for dataset in datasets(options.datasets):
        best, k = reachable(dataset), dataset.n_classes
        assert k is not None
        jobs = [(recipe, k) for recipe in options.recipes]
        jobs += [("auto", k + more) for more in OFFSETS if k + more >= 2]
        rows += [measure(dataset, recipe, count, best) for recipe, count in jobs]
    for dataset in noise_sets():
        for recipe in options.recipes:
            rows.append(measure(dataset, recipe, NOISE_CLUSTERS, 0.0))
    print(roc(rows))
    if options.save:
        save_rows(options.save, rows)


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    options = new_parser("verdict", __doc__, RECIPES).parse_args(arguments)
    return exit_status(lambda: run(options), "Stopped; nothing was saved.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
