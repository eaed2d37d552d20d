"""Is a rare class found?

    python -m benchmarks.imbalance                        # digits
    python -m benchmarks.imbalance mnist --recipes best

Keeps of one class as few samples as make a given share of all, and clusters with the number
of classes. Recall is the share of the rare class in the cluster that is matched to it,
precision the share of the rare class among the samples of that cluster. The verdict is that
of the second opinion. The classes only score: they choose nothing.
"""

import argparse
import sys
from typing import Any

import numpy as np

from benchmarks.quality import datasets, new_parser, save_rows
from dec_jax.data.dataset import Dataset
from dec_jax.evaluation.metrics import clustering_accuracy, matched_labels
from dec_jax.parallel.hardware import device_name
from dec_jax.runs.errors import exit_status
from dec_jax.runs.experiment import take
from dec_jax.runs.fit import fit

RECIPES = ("dec", "idec", "dcn", "best")
SHARES = (0.02, 0.005)


def thinned(dataset: Dataset, rare: int, share: float) -> Dataset:
    """Keeps of the class `rare` the first samples, as many as are `share` of all."""
    assert dataset.labels is not None
    members = np.flatnonzero(dataset.labels == rare)
    others = np.flatnonzero(dataset.labels != rare)
    count = max(1, round(share * len(others) / (1 - share)))
    return take(dataset, np.sort(np.concatenate([others, members[:count]])))


def found_share(
    classes: np.ndarray, labels: np.ndarray, rare: int
) -> tuple[float, float]:
    """Computes recall and precision of a class in the cluster that is matched to it."""
    matched = matched_labels(classes, labels) == rare
    members = classes == rare
    both = float((matched & members).sum())
    return both / members.sum(), both / max(1, matched.sum())


def measure(dataset: Dataset, recipe: str, rare: int, share: float) -> dict[str, Any]:
    """Fits a recipe to the thinned data, and scores the rare class."""
    few = thinned(dataset, rare, share)
    assert few.labels is not None
    result = fit(few, dataset.n_classes, recipe=recipe)
    recall, precision = found_share(few.labels, result.labels, rare)
    acc = clustering_accuracy(few.labels, result.labels)
    row = {
        "dataset": dataset.name,
        "recipe": recipe,
        "rare": rare,
        "share": share,
        "n_rare": int((few.labels == rare).sum()),
        "acc": acc,
        "recall": recall,
        "precision": precision,
        "verdict": result.opinion.verdict if result.opinion else "",
    }
    print(
        f"{row['dataset']:<14}{recipe:<6}class {rare:<3}{row['n_rare']:>5} samples "
        f"({share:.1%})  ACC {100 * acc:5.1f}  recall {100 * recall:5.1f}  "
        f"precision {100 * precision:5.1f}  {row['verdict']}",
        flush=True,
    )
    return row


def run(options: argparse.Namespace) -> None:
    """Measures, prints and saves."""
    print(f"rare classes on {device_name()}, in %")
    rows = [
        measure(dataset, recipe, rare, share)
        for dataset in datasets(options.datasets or ["digits"])
        for recipe in options.recipes
        for share in options.shares
        for rare in options.classes
    ]
    if options.save:
        save_rows(options.save, rows)


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    out = new_parser("imbalance", __doc__, RECIPES)
    out.add_argument(
        "--shares", metavar="SHARE", nargs="+", type=float, default=list(SHARES)
    )
    out.add_argument("--classes", metavar="C", nargs="+", type=int, default=[0, 8])
    options = out.parse_args(arguments)
    return exit_status(lambda: run(options), "Stopped; nothing was saved.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
