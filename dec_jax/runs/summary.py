"""The lines that a run ends with, and the numbers of several seeds together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dec_jax.evaluation.health import verdict
from dec_jax.runs.plain_words import glossary_line, next_lines
from dec_jax.validation import shown

SCORES = ("acc", "nmi", "ari")
# Options that make a recipe another one: its results are kept apart.
CHANGES = ("start", "graph_rows", "normalize", "reseed_below")


def table(results: dict[str, Any], run: Path = Path()) -> str:
    """The stages of one seed, how its training ended, and what to do next.

    Args:
      results: the content of results.json.
      run: the folder of the seed.
    """
    labeled = "acc" in results["stages"][0]
    names = SCORES if labeled else ("smallest", "largest", "evenness", "silhouette")
    titles = [name.upper() if labeled else name for name in names]
    wide = max(18, *(len(stage["name"]) + 1 for stage in results["stages"]))
    cell = 8 if labeled else 12
    lines = [" " * wide + "".join(f"{title:>{cell}}" for title in (*titles, "seconds"))]
    for stage in results["stages"]:
        cells = [_number(stage[name], cell) for name in names]
        seconds = f"{stage['seconds']:{cell}.1f}"
        lines.append(f"{stage['name']:<{wide}}" + "".join(cells) + seconds)
    lines.append(glossary_line(" ".join(titles)))
    pretraining = results["seconds"].get("pretraining", 0)
    took = f"pretraining took {pretraining:.0f} s" if pretraining else "no pretraining"
    lines.append(f"{took}; {results['stop_reason']}")
    # Runs of other experiments, and older ones, do not say.
    if "health" in results:
        lines.append(_health(results["health"]))
    if opinion := results.get("opinion"):
        lines.append(f"second opinion: {opinion['text']}")
        explained = glossary_line(opinion["text"])
        lines += [explained] * (bool(explained) and explained not in lines)
        lines += next_lines(opinion, results["n_clusters"], run / "alternatives.csv")
    return shown_lines(lines)


def shown_lines(lines: Sequence[str]) -> str:
    """Joins lines, on which no name of a user's file may command a terminal."""
    return "\n".join(map(shown, lines))


def _health(found: dict[str, Any]) -> str:
    """Formats the stability of training, measured without labels."""
    numbers = ("smallest", "largest", "evenness", "max_q")
    return verdict(found["warnings"], **{name: found[name] for name in numbers})


def _number(value: float | int | None, width: int) -> str:
    if value is None:
        return f"{'-':>{width}}"
    return f"{value:>{width}}" if isinstance(value, int) else f"{value:{width}.3f}"


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """All seeds of a run, in the form in which results are committed."""
    last = [result["stages"][-1] for result in results]
    summary = {
        name: results[0][name]
        for name in (
            *("dataset", "recipe", "device", "versions", "precision", "commit"),
            "n_samples",
        )
    }
    # Only what was put in place of the recipe's own.
    summary |= {name: results[0][name] for name in CHANGES if results[0].get(name)}
    summary["seeds"] = [result["seed"] for result in results]
    for name in SCORES:
        summary[name] = [stage.get(name) for stage in last]
    summary["seconds"] = [result["seconds"]["total"] for result in results]
    summary["stages"] = {
        stage["name"]: {
            name: [result["stages"][index].get(name) for result in results]
            for name in SCORES
        }
        for index, stage in enumerate(results[0]["stages"])
    }
    return summary


def over_seeds(results: list[dict[str, Any]]) -> str:
    """Tables mean, standard deviation, least and most of each stage over the seeds."""
    lines = [f"\n{len(results)} seeds{'':<20}{'mean':>8}{'sd':>8}{'min':>8}{'max':>8}"]
    for index, stage in enumerate(results[0]["stages"]):
        for name in SCORES:
            if name in stage:
                values = [result["stages"][index][name] for result in results]
                lines.append(
                    f"{stage['name']:<18} {name.upper():<6} {np.mean(values):8.3f}"
                    f"{np.std(values, ddof=1):8.3f}{min(values):8.3f}{max(values):8.3f}"
                )
    seconds = [result["seconds"]["total"] for result in results]
    lines.append(
        f"{'seconds a seed':<25} {np.mean(seconds):8.0f}{np.std(seconds, ddof=1):8.0f}"
        f"{min(seconds):8.0f}{max(seconds):8.0f}"
    )
    return "\n".join(lines)
