"""What says without classes how good a seed is, and which of several to take."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dec_jax.evaluation.run_selection import choose_run
from dec_jax.evaluation.label_free import cluster_sizes, evenness, silhouette
from dec_jax.objectives import Objective
from dec_jax.training.state import TrainResult

SCORES = ("reconstruction", "clustering", "silhouette", "max_q", "evenness")
FEWEST = 3  # seeds to choose among


def seed_scores(
    z: np.ndarray,
    result: TrainResult,
    columns: Mapping[str, Sequence],
    objective: Objective,
    pretraining_loss: float | None,
) -> dict[str, float | None]:
    """What one seed can say of itself; None where it has no such number."""
    several = len(np.unique(result.labels)) > 1
    # A decoder that is dropped fits no longer: what counts is how it was pretrained.
    kept = "decoder" in objective.trained
    sizes = cluster_sizes(result.labels, result.q.shape[1])
    return {
        "reconstruction": _last(columns["reconstruction"])
        if kept
        else pretraining_loss,
        "clustering": _last(columns["clustering"]),
        "silhouette": silhouette(z, result.labels) if several else None,
        "max_q": float(result.q.max(axis=1).mean()),
        "evenness": evenness(sizes),
    }


def _last(column: Sequence[float]) -> float | None:
    """The last number of an interval that took steps."""
    numbers = [value for value in column if np.isfinite(value)]
    return numbers[-1] if numbers else None


def read_clusters(path: Path) -> np.ndarray:
    """The clusters in a run's labels.csv."""
    with path.open(newline="") as file:
        return np.array([int(row["cluster"]) for row in csv.DictReader(file)])


def choose_seed(folder: Path, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What summary.json says of the choice among the seeds in a run's folder."""
    seeds = [result["seed"] for result in results]
    labelings = [read_clusters(folder / f"seed-{seed}/labels.csv") for seed in seeds]
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
    """The chosen seed; where there are classes, how it did beside the mean."""
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
