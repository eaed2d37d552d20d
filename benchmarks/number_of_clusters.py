"""Does choose-k find the number of clusters, and does it know when it does not?

    python -m benchmarks.number_of_clusters          # the tables in $DEC_JAX_DATA/tables
    python -m benchmarks.number_of_clusters usps     # other data with known classes, as they are
    python -m benchmarks.number_of_clusters --method density

Compares the recommended number with the number of classes, for the sets that decide it and
for the others, and adds noise, which must decide nothing.
"""

import argparse
import sys

import jax

from benchmarks.quality import datasets, new_parser
from benchmarks.verdict import noise_sets
from dec_jax.evaluation.n_clusters import (
    listed_numbers,
    recommend,
    sweep_n_clusters,
)
from dec_jax.parallel.hardware import device_name
from dec_jax.recipes.names import K_SEARCHES
from dec_jax.runs.errors import exit_status
from dec_jax.runs.k_search import find_n_clusters, recommended

MOST = 25


def run_other(options: argparse.Namespace) -> None:
    """Measures and prints a method that gives one number and decides nothing."""
    print(f"number of clusters by {options.method} on {device_name()}")
    right, near, count = 0, 0, 0
    for dataset in datasets(options.datasets):
        try:
            found = find_n_clusters(dataset, method=options.method).n_clusters
        except ValueError:
            found = 1
        classes = dataset.n_classes
        assert classes is not None
        right, near = right + (found == classes), near + (abs(found - classes) == 1)
        count += 1
        print(f"{dataset.name:<18}{classes:>3} classes, found {found:>3}", flush=True)
        jax.clear_caches()
    print(f"right on {right} of {count} sets, one more or less on {near}")


def run(options: argparse.Namespace) -> None:
    """Measures and prints."""
    if options.method != "auto":
        return run_other(options)
    print(f"number of clusters on {device_name()}, from 2 to {MOST}")
    found: list[tuple[bool, bool]] = []
    named = 0
    for dataset in datasets(options.datasets):
        got = recommended(sweep_n_clusters(dataset.x, range(2, MOST + 1)))
        assert dataset.n_classes is not None
        found.append((got.decided, got.n_clusters == dataset.n_classes))
        named += not got.decided and dataset.n_classes in (got.n_clusters, *got.others)
        told = "decided" if got.decided else f"or {listed_numbers(got.others)}"
        print(
            f"{dataset.name:<18}{dataset.n_classes:>3} classes, recommended "
            f"{got.n_clusters:>3} {told}",
            flush=True,
        )
    noise = [
        recommend(sweep_n_clusters(dataset.x, range(2, MOST + 1))).decided
        for dataset in noise_sets()
    ]
    right = [right for decided, right in found if decided]
    guessed = [right for decided, right in found if not decided]
    print(
        f"decided on {len(right)} of {len(found)} sets, right on {sum(right)} of these; "
        f"right on {sum(guessed)} of the other {len(guessed)}, and on {named} with the "
        f"numbers that are worth a try; decided on {sum(noise)} of "
        f"{len(noise)} sets of noise"
    )


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    out = new_parser("number_of_clusters", __doc__)
    what = "the way to look for it (default auto)"
    out.add_argument("--method", choices=K_SEARCHES, default="auto", help=what)
    options = out.parse_args(arguments)
    return exit_status(lambda: run(options), "Stopped.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
