"""Is the default never worse than the simple methods, and does its verdict tell?

    python -m benchmarks.quality                       # the tables in $DEC_JAX_DATA/tables
    python -m benchmarks.quality digits usps           # other data sets with known classes
    python -m benchmarks.quality --recipes auto dec    # further recipes

For each data set: ACC of the simple methods that `auto` chooses among (k-means, a Gaussian
mixture, Ward linkage, a normalized cut, and the best of all of them), and ACC, NMI, ARI,
seconds and verdict of each recipe. The classes only score: they choose nothing.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.tables import RESULTS
from dec_jax.data.dataset import Dataset
from dec_jax.data.load import load_dataset
from dec_jax.evaluation.metrics import clustering_accuracy
from dec_jax.evaluation.second_opinion import DOUBTFUL, other_numbers, second_opinion
from dec_jax.evaluation.stage_scores import class_scores
from dec_jax.parallel.hardware import device_name
from dec_jax.runs import provenance
from dec_jax.runs.errors import UsageError, exit_status, mistakes_of_use
from dec_jax.runs.fit import fit
from dec_jax.runs.json_files import write_json

FOUR = {
    "k-means": "k-means",
    "mixture": "Gaussian mixture (full variance)",
    "Ward": "Ward linkage",
    "cut": "normalized cut (graph of 10 neighbors)",
}
TABLES = "quality-cpu"  # the saved results of the tables, which the page shows
PAGE = Path(__file__).parents[1] / "docs" / "which-recipe.md"
BEGIN, END = "<!-- quality: begin -->", "<!-- quality: end -->"
WITHIN = 0.02  # of the best simple method
WORSE = 0.05  # than k-means


def measure(dataset: Dataset, recipe: str, seed: int) -> dict[str, Any]:
    """Fits a recipe, and scores it and the simple methods."""
    assert dataset.labels is not None
    start = time.perf_counter()
    result = fit(dataset, recipe=recipe, seed=seed)
    seconds = time.perf_counter() - start
    choice = result.alternatives
    simple: dict[str, float] = {}
    doubts: dict[str, float] = {}
    if choice is not None:
        classes = dataset.labels[choice.rows]
        simple = {
            name: clustering_accuracy(classes, labels)
            for name, labels in zip(
                choice.judgment.names, choice.judgment.labels, strict=True
            )
        }
        # Each simple labeling as if a run had ended with it: does the verdict tell?
        numbers = other_numbers(choice.space, result.q.shape[1])
        doubts = {
            name: second_opinion(labels, choice.judgment, choice.space, numbers).doubt
            for name, labels in zip(
                choice.judgment.names, choice.judgment.labels, strict=True
            )
        }
    return {
        "dataset": dataset.name,
        "n_samples": len(dataset.x),
        "recipe": recipe,
        "seed": seed,
        **class_scores(dataset.labels, result.labels),
        "simple": simple,
        "doubts": doubts,
        "start": result.stages[-2]["name"] if len(result.stages) > 1 else "",
        "seconds": seconds,
        "verdict": result.opinion.verdict if result.opinion else "",
        "doubt": result.opinion.doubt if result.opinion else None,
    }


def line(row: dict[str, Any]) -> str:
    """One data set and recipe as a line of the printed table."""
    simple = row["simple"]
    cells = [100 * simple[name] if name in simple else np.nan for name in FOUR.values()]
    cells += [100 * max(simple.values(), default=np.nan)]
    cells += [100 * row[name] for name in ("acc", "nmi", "ari")]
    numbers = "".join(f"{cell:8.1f}" for cell in cells)
    name = f"{row['dataset']:<18}{row['recipe']:<6}"
    return f"{name}{numbers}{row['seconds']:8.1f}  {row['verdict']:<15} {row['start']}"


def markdown(rows: list[dict[str, Any]]) -> str:
    """The rows as a table for a page: ACC in %, and what the verdict was."""
    heads = ["data", "samples", *FOUR, "best of all", "`auto`", "verdict", "seconds"]
    lines = [f"| {' | '.join(heads)} |", f"| {' | '.join(['---'] * len(heads))} |"]
    for row in rows:
        simple = row["simple"]
        cells = [simple.get(name, np.nan) for name in FOUR.values()]
        cells += [max(simple.values(), default=np.nan), row["acc"]]
        numbers = " | ".join(f"{100 * cell:.1f}" for cell in cells)
        told = f"{row['verdict']} | {row['seconds']:.0f}"
        lines.append(
            f"| {row['dataset']} | {row['n_samples']:,} | {numbers} | {told} |"
        )
    return "\n".join(lines)


def summary(rows: list[dict[str, Any]]) -> str:
    """The aims: mean ACC, near the best simple method, hardly ever below k-means."""
    lines = []
    for recipe in dict.fromkeys(row["recipe"] for row in rows):
        own = [row for row in rows if row["recipe"] == recipe and row["simple"]]
        acc = np.array([row["acc"] for row in own])
        four = np.array(
            [max(row["simple"].get(name, 0) for name in FOUR.values()) for row in own]
        )
        best = np.array([max(row["simple"].values()) for row in own])
        k_means = np.array([row["simple"]["k-means"] for row in own])
        lines.append(
            f"{recipe}: mean ACC {acc.mean():.3f} over {len(own)} sets (k-means "
            f"{k_means.mean():.3f}, best of four {four.mean():.3f}, best of all "
            f"{best.mean():.3f}); within 2 points of the best of four on "
            f"{np.mean(acc >= four - WITHIN):.0%}, of all on "
            f"{np.mean(acc >= best - WITHIN):.0%}; more than 5 points below k-means on "
            f"{np.sum(acc < k_means - WORSE)}"
        )
    first = list({row["dataset"]: row for row in rows if row["doubts"]}.values())
    if first:
        lines.append(verdicts(first))
    return "\n".join(lines)


def verdicts(rows: list[dict[str, Any]]) -> str:
    """Measures how well the doubt tells labelings 5 points below the best one."""
    doubt, poor = [], []
    for row in rows:
        best = max(row["simple"].values())
        for name, acc in row["simple"].items():
            doubt.append(row["doubts"][name])
            poor.append(acc < best - WORSE)
    doubts, wrong = np.array(doubt), np.array(poor)
    limit = np.quantile(doubts[~wrong], 0.9)
    found, alarms = (np.mean(doubts[w] > DOUBTFUL) for w in (wrong, ~wrong))
    return (
        f"verdict on {len(doubts)} simple labelings, of which {wrong.sum()} are more than "
        f"5 points below the best: {np.mean(doubts[wrong] > limit):.0%} found at 10 % "
        f"false alarms (doubt {limit:.2f}); {found:.0%} and {alarms:.0%} at {DOUBTFUL}"
    )


def datasets(names: list[str]) -> Iterator[Dataset]:
    """Loads the named data sets, or all tables."""
    if not names:
        folder = Path(os.environ.get("DEC_JAX_DATA", "")) / "tables"
        names = [str(path) for path in sorted(folder.glob("*.npz"))]
        if not names:
            raise UsageError(
                "DEC_JAX_DATA must name a folder with tables/*.npz; or give data sets."
            )
    for name in names:
        with mistakes_of_use():
            dataset = load_dataset(name)
            if dataset.labels is None:
                raise UsageError(f"{name} has no classes to score by.")
        yield dataset


def run(options: argparse.Namespace) -> None:
    """Measures, prints and saves."""
    heads = [*FOUR, "best", "ACC", "NMI", "ARI", "seconds"]
    print(f"quality on {device_name()}, ACC, NMI and ARI in %")
    print(f"{'data':<18}{'recipe':<6}" + "".join(f"{head:>8}" for head in heads))
    rows = []
    for dataset in datasets(options.datasets):
        for recipe in options.recipes:
            for seed in range(options.seed, options.seed + options.seeds):
                rows.append(measure(dataset, recipe, seed))
                # Each data set has programs of its own, whose memory maps are limited.
                jax.clear_caches()
                print(line(rows[-1]), flush=True)
    print(summary(rows))
    if options.save:
        facts = save_rows(options.save, rows)
        if options.save == TABLES and not options.datasets:
            text = f"On {facts['device']}, seed {options.seed}:\n\n{markdown(rows)}"
            page = PAGE.read_text()
            head, tail = page.split(BEGIN)[0], page.split(END)[1]
            told = f"{text}\n\n{summary(rows)}".replace("; verdict", "\n\nverdict")
            PAGE.write_text(f"{head}{BEGIN}\n{told}\n{END}{tail}")


def save_rows(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Writes rows to benchmarks/results; returns the device, versions and commit."""
    facts = {
        "device": device_name(),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }
    write_json(RESULTS / f"{name}.json", {**facts, "rows": rows})
    return facts


def new_parser(
    module: str,
    text: str,
    recipes: Sequence[str] = (),
    *,
    data: bool = True,
    save: bool = False,
) -> argparse.ArgumentParser:
    """Makes the parser of a benchmark.

    Args:
      module: of this package.
      text: of the help.
      recipes: the default of `--recipes`; without them there is no such option.
      data: whether data sets can be named.
      save: whether there is `--save`, which recipes always have.
    """
    out = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{module}",
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if data:
        out.add_argument("datasets", metavar="DATA", nargs="*")
    if recipes:
        out.add_argument("--recipes", metavar="NAME", nargs="+", default=list(recipes))
    if recipes or save:
        out.add_argument(
            "--save", metavar="NAME", help="write benchmarks/results/NAME.json"
        )
    return out


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    out = new_parser("quality", __doc__, recipes=["auto"])
    out.add_argument("--seeds", metavar="N", type=int, default=1)
    out.add_argument("--seed", metavar="S", type=int, default=0)
    options = out.parse_args(arguments)
    return exit_status(lambda: run(options), "Stopped; nothing was saved.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
