"""Measures how long few images must be pretrained.

    python -m benchmarks.few_images mnist usps fashion_mnist coil20 --save few-images

Draws some images of each data set, other ones for each seed, and clusters them with `best`
under different rules: `256` takes 2,000 steps of 256 samples, where the last batch of an epoch
may be mostly padding, `even` as many steps in batches of equal size, and `even 400` no more
than 400 epochs of these. The classes only score.
"""

import argparse
import sys
import time
from typing import Any

import jax
import numpy as np

from benchmarks.quality import datasets, new_parser, save_rows
from dec_jax.data.dataset import Dataset
from dec_jax.evaluation.metrics import clustering_accuracy
from dec_jax.parallel.hardware import device_name
from dec_jax.runs.errors import exit_status
from dec_jax.runs.experiment import take
from dec_jax.runs.fit import fit

STEPS, BATCH = 2_000, 256


def rule(n: int, most_epochs: int | None) -> tuple[int, int]:
    """Computes epochs and batch size for n samples; None is the rule `256`, 0 is `even`."""
    batches = -(-n // BATCH)
    epochs = max(50, -(-STEPS // batches))
    if most_epochs is None:
        return epochs, BATCH
    return min(epochs, most_epochs or epochs), -(-n // batches)


def measure(dataset: Dataset, n: int, most: int | None, seed: int) -> dict[str, Any]:
    """Clusters n images of a data set by a rule, and scores start and end."""
    rows = np.sort(np.random.default_rng(seed).permutation(len(dataset.x))[:n])
    few = take(dataset, rows)
    assert few.labels is not None
    began = time.perf_counter()
    epochs, batch_size = rule(n, most)
    result = fit(
        few,
        dataset.n_classes,
        recipe="best",
        seed=seed,
        epochs=epochs,
        batch_size=batch_size,
        baseline=False,
    )
    return {
        "dataset": dataset.name,
        "n": n,
        "rule": "256" if most is None else f"even {most or ''}".strip(),
        "seed": seed,
        "start": 100 * result.stages[-2]["acc"],
        "acc": 100 * clustering_accuracy(few.labels, result.labels),
        "seconds": time.perf_counter() - began,
        "intervals": len(result.history.loss),
    }


def run(options: argparse.Namespace) -> None:
    """Measures, prints and saves."""
    print(f"few images on {device_name()}, ACC in %", flush=True)
    rows = []
    sets = list(datasets(options.datasets or ["digits"]))
    for seed in range(options.seed, options.seed + options.seeds):
        for dataset in sets:
            for n in options.numbers:
                for most in [None, *options.epochs]:
                    row = measure(dataset, n, most, seed)
                    rows.append(row)
                    jax.clear_caches()
                    print(
                        f"{row['dataset']:<14}{n:>6}  {row['rule']:<11} seed {seed}  start "
                        f"{row['start']:5.1f}  end {row['acc']:5.1f}  "
                        f"{row['intervals']:>3} intervals  {row['seconds']:6.1f} s",
                        flush=True,
                    )
                    if options.save:
                        save_rows(options.save, rows)


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    out = new_parser("few_images", __doc__, save=True)
    out.add_argument("--numbers", metavar="N", nargs="+", type=int, default=[200, 600])
    out.add_argument("--epochs", metavar="E", nargs="+", type=int, default=[0, 400])
    out.add_argument("--seeds", metavar="N", type=int, default=5)
    out.add_argument("--seed", metavar="S", type=int, default=0)
    options = out.parse_args(arguments)
    return exit_status(lambda: run(options), "Stopped; what was saved is kept.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
