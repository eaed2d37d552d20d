"""Is the consensus of several seeds better than they are, and than one chosen of them?

    dec-jax cluster digits --recipe dec --seeds 5 --vectorized --out runs/digits-dec
    python -m benchmarks.consensus runs/digits-dec runs/usps-dec

Reads the labels of all seeds of each run, and prints ACC (%) of their mean, of the best and
the worst of them, of the one that is chosen without classes (`choose_run`: it agrees most
with the others), and of their consensus, by aligned votes and by the bipartite graph. The
last columns are the ACC among the most stable half of the samples and the others. The
classes only score: they choose nothing.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality import new_parser, save_rows
from dec_jax.clustering.consensus import consensus
from dec_jax.data.label_files import CLASSES, read_labels
from dec_jax.evaluation.metrics import clustering_accuracy, matched_labels
from dec_jax.evaluation.run_selection import choose_run
from dec_jax.runs.errors import UsageError, exit_status, mistakes_of_use

COLUMNS = {
    "worst": "worst",
    "mean": "mean",
    "best": "best",
    "chosen": "chosen",
    "votes": "votes",
    "graph": "graph",
    "stable": "stable half",
    "unstable": "other half",
}
PAGE = Path(__file__).parents[1] / "docs" / "which-recipe.md"
BEGIN, END = "<!-- consensus: begin -->", "<!-- consensus: end -->"
SAVED = "consensus-cpu"  # the saved results that the page shows


def read_seeds(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads the clusters of all seeds of a run, [r, n], and the classes, [n].

    Raises:
      UsageError: there are fewer than three seeds, or no classes.
    """
    paths = sorted(folder.glob("seed-*/labels.csv"))
    if len(paths) < 3:
        raise UsageError(
            f"{folder} must hold at least 3 seeds, got {len(paths)}; run dec-jax cluster "
            "with --seeds 5."
        )
    with mistakes_of_use():
        labelings = [read_labels(path).labels for path in paths]
        classes = read_labels(paths[0], usual=CLASSES[:1]).labels
    return np.stack(labelings), classes


def measure(folder: Path) -> dict[str, Any]:
    """Scores the seeds of a run, one chosen of them, and their consensus."""
    labelings, classes = read_seeds(folder)
    k = int(labelings.max()) + 1
    acc = [clustering_accuracy(classes, labels) for labels in labelings]
    found = {
        method: consensus(labelings, k, method=method) for method in ("votes", "graph")
    }
    by_votes = found["votes"]
    right = matched_labels(classes, by_votes.labels) == classes
    order = np.argsort(-by_votes.stability, kind="stable")
    half = len(order) // 2
    return {
        "dataset": folder.name,
        "n_samples": len(classes),
        "seeds": len(acc),
        "worst": min(acc),
        "mean": float(np.mean(acc)),
        "best": max(acc),
        "chosen": acc[choose_run(list(labelings)).run],
        **{
            method: clustering_accuracy(classes, one.labels)
            for method, one in found.items()
        },
        "stable": float(right[order[:half]].mean()),
        "unstable": float(right[order[half:]].mean()),
    }


def markdown(rows: list[dict[str, Any]]) -> str:
    """The rows as a table for a page, ACC in %."""
    heads = ["run", "samples", *COLUMNS.values()]
    lines = [f"| {' | '.join(heads)} |", f"| {' | '.join(['---'] * len(heads))} |"]
    for row in rows:
        numbers = " | ".join(f"{100 * row[name]:.1f}" for name in COLUMNS)
        lines.append(f"| {row['dataset']} | {row['n_samples']:,} | {numbers} |")
    return "\n".join(lines)


def summary(rows: list[dict[str, Any]]) -> str:
    """Counts the runs on which the consensus is better than the mean and the chosen seed."""
    parts = []
    for method in ("votes", "graph"):
        own = np.array([row[method] for row in rows])
        mean, chosen = (
            np.array([row[it] for row in rows]) for it in ("mean", "chosen")
        )
        parts.append(
            f"{method}: {100 * own.mean():.1f} on average, better than the mean of the "
            f"seeds ({100 * mean.mean():.1f}) on {(own > mean).sum()} of {len(rows)} runs, "
            f"better than the chosen seed ({100 * chosen.mean():.1f}) on "
            f"{(own > chosen).sum()}, worse on {(own < chosen).sum()}"
        )
    return "\n".join(parts)


def run(options: argparse.Namespace) -> None:
    """Measures, prints and saves."""
    rows = [measure(Path(folder)) for folder in options.runs]
    print(markdown(rows))
    print(summary(rows))
    if options.save:
        facts = save_rows(options.save, rows)
        if options.save == SAVED:
            text = f"On {facts['device']}:\n\n{markdown(rows)}\n\n{summary(rows)}"
            page = PAGE.read_text()
            head, tail = page.split(BEGIN)[0], page.split(END)[1]
            PAGE.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}")


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    out = new_parser("consensus", __doc__, data=False, save=True)
    what = "folder of a run of several seeds, of data with classes"
    out.add_argument("runs", metavar="RUN", nargs="+", help=what)
    options = out.parse_args(arguments)
    return exit_status(lambda: run(options), "Stopped; nothing was saved.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
