"""Scores seeds without classes, and chooses one of several."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dec_jax.evaluation.label_free import cluster_sizes, evenness, silhouette
from dec_jax.evaluation.run_selection import choose_run
from dec_jax.objectives import Objective
from dec_jax.runs.errors import UsageError
from dec_jax.runs.fit import FitResult

SCORES = ("reconstruction", "clustering", "silhouette", "max_q", "evenness")
FEWEST = 3  # seeds to choose among


def seed_scores(
    result: FitResult, objective: Objective, pretraining_loss: float | None
) -> dict[str, float | None]:
    """Scores a seed without classes; None where it has no such number.

    Args:
      result: of `fit`.
      objective: the method.
      pretraining_loss: of the last epoch.

    Returns:
      The entries named by `SCORES`.
    """
    several = 1 < len(np.unique(result.labels)) < len(result.labels)
    # A dropped decoder no longer fits the encoder: its pretraining counts.
    kept = "decoder" in objective.trained
    sizes = cluster_sizes(result.labels, result.q.shape[1])
    return {
        "reconstruction": _last(result.history.reconstruction)
        if kept
        else pretraining_loss,
        "clustering": _last(result.history.clustering),
        "silhouette": silhouette(result.z, result.labels) if several else None,
        "max_q": float(result.q.max(axis=1).mean()),
        "evenness": evenness(sizes),
    }


def _last(column: Any) -> float | None:
    """Takes the last number of an interval that took steps."""
    numbers = [float(value) for value in column if np.isfinite(value)]
    return numbers[-1] if numbers else None


def read_clusters(path: Path, n_samples: int | None = None) -> np.ndarray:
    """Reads the clusters of a run's labels.csv.

    Raises:
      UsageError: it is missing or damaged.
    """
    try:
        with path.open(newline="") as file:
            found = np.array([int(row["cluster"]) for row in csv.DictReader(file)])
        if len(found) != (n_samples or len(found)):
            raise ValueError(f"it has {len(found)} rows, not {n_samples}")
        return found
    except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise UsageError(
            f"{path} is missing or damaged; remove the results.json beside it, and resume "
            "the run, which then makes both again."
        ) from error


def choose_seed(folder: Path, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Chooses among the seeds in a run's folder, as summary.json reports it."""
    seeds = [result["seed"] for result in results]
    labelings = [
        read_clusters(folder / f"seed-{one['seed']}/labels.csv", one.get("n_samples"))
        for one in results
    ]
    # A seed of an older version was finished without them.
    found = [result.get("label_free", {}) for result in results]
    scores = {name: [one.get(name) for one in found] for name in SCORES}
    choice = choose_run(labelings, scores)
    return {
        "label_free": {
            name: [None if np.isnan(value) else value for value in values]
            for name, values in choice.scores.items()
        },
        "chosen_seed": seeds[choice.run],
    }


def choice_line(summary: Mapping[str, Any]) -> str:
    """Names the chosen seed and, where there are classes, its ACC next to the mean."""
    seeds = summary["seeds"]
    run = seeds.index(summary["chosen_seed"])
    agrees = summary["label_free"]["stability"][run]
    line = (
        f"chosen without labels: seed {seeds[run]}, which agrees most with the others "
        f"(mean ARI {agrees:.3f})"
    )
    accuracies = summary["acc"]
    if accuracies[run] is None:
        return line
    return f"{line}; its ACC {accuracies[run]:.3f}, mean {np.mean(accuracies):.3f}"
