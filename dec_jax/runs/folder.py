"""What a run leaves behind: config.json, results.json, tables of numbers, figures, model."""

import csv
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from dec_jax.plots import curves
from dec_jax.plots import images as image_plots
from dec_jax import model
from dec_jax.plots import embedding as plots
from dec_jax.networks.autoencoder import decode
from dec_jax.data.load import Dataset
from dec_jax.evaluation.label_free import evenness
from dec_jax.evaluation.metrics import classification_report
from dec_jax.recipes.dense import Recipe
from dec_jax.training.state import TrainResult
from dec_jax.runs.errors import UsageError

MODEL = "model.safetensors"  # after clustering


def prepare(out: Path, *, explicit: bool, resumable: bool = False) -> Path:
    """Makes a new folder for results; never one that holds something already.

    Args:
      out: the folder that is wanted.
      explicit: the user named it, so that no other may stand in for it.
      resumable: a run that stands in it can be gone on with.

    Raises:
      UsageError: it cannot be written to, or is not empty.
    """
    folder, number = out, 1
    try:
        while folder.exists() and any(
            folder.iterdir() if folder.is_dir() else [folder]
        ):
            if explicit:
                other = f", or go on with the run in it by --resume {out}"
                raise UsageError(
                    f"--out {out} is not an empty folder; take another"
                    f"{other if resumable else ''}."
                )
            number += 1
            folder = out.with_name(f"{out.name}-{number}")
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"--out {folder} cannot be written to: {error.strerror}."
        ) from error
    return folder


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes JSON whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(partial, path)


def write_history(
    path: Path, pretraining: Mapping[str, Sequence[float]], rows: Mapping
) -> None:
    """One line an epoch of each stage of pretraining, and an interval of clustering."""
    names = ["loss", "clustering", "reconstruction", "label_change", "acc"]
    sizes_of = ["largest_cluster", "smallest_cluster", "empty_clusters", "evenness"]
    q_of = ["max_q", "q_entropy", "reseeded"]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["phase", "number", *names, *sizes_of, *q_of])
        for title, losses in pretraining.items():
            for epoch, loss in enumerate(losses, start=1):
                blank = [""] * (2 + len(sizes_of) + len(q_of))
                writer.writerow([title, epoch, loss, "", loss, *blank])
        for index, sizes in enumerate(rows.get("cluster_sizes", [])):
            # An interval that only found convergence has no loss.
            cells = [_cell(rows[name][index]) for name in names]
            cells += [max(sizes), min(sizes), sizes.count(0)]
            cells += [evenness(np.asarray(sizes))]
            cells += [_cell(rows[name][index]) for name in q_of]
            writer.writerow(["clustering", index + 1, *cells])


def _cell(value: float | None) -> float | str:
    return "" if value is None or np.isnan(value) else value


def write_labels(
    path: Path,
    labels: np.ndarray,
    q: np.ndarray,
    classes: np.ndarray | None,
    names: Sequence[str] | None = None,
) -> None:
    """One line a sample: row, file if it has one, cluster, its q, class if known."""
    columns: dict[str, Sequence[Any]] = {"index": range(len(labels))}
    if names is not None:
        columns["file"] = names
    columns["cluster"] = labels.tolist()
    columns["q"] = [f"{share:.6f}" for share in q.max(axis=1)]
    if classes is not None:
        columns["class"] = classes.tolist()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def write_clustering(
    folder: Path,
    dataset: Dataset,
    recipe: Recipe,
    result: TrainResult,
    *,
    z_before: np.ndarray,
    labels_before: np.ndarray,
    z_after: np.ndarray,
    progress: Mapping[str, Any],
    origin: Mapping[str, Any],
) -> list[str]:
    """Writes figures, tables and the model; returns the names of the figures.

    Args:
      folder: of the run.
      dataset: what was clustered.
      recipe: the settings.
      result: of training.
      z_before, labels_before: what training started from.
      z_after: the embeddings of its end.
      progress: "pretraining_loss" of each epoch by stage, and "history", its columns.
      origin: what the model's file says of where it comes from.
    """
    params, centroids = result.state.params, jnp.asarray(result.centroids)
    if "decoder" in params:
        decoded = decode(params, centroids, architecture=recipe.network)
        typical = np.asarray(decoded)
    else:
        typical = _mean_samples(dataset.x, result.labels, len(centroids))
    losses, history = progress["pretraining_loss"], progress["history"]
    figures = write_figures(
        folder,
        dataset,
        z_before=z_before,
        labels_before=labels_before,
        z_after=z_after,
        labels=result.labels,
        q=result.q,
        typical=typical,
        pretraining=last_losses(losses),
        rows=history,
        tolerance=recipe.train.tolerance,
    )
    write_history(folder / "history.csv", losses, history)
    write_labels(
        folder / "labels.csv", result.labels, result.q, dataset.labels, dataset.names
    )
    if dataset.labels is not None:
        text = classification_report(dataset.labels, result.labels)
        (folder / "report.txt").write_text(f"{text}\n")
    model.save(
        folder / MODEL,
        params,
        architecture=recipe.network,
        alpha=recipe.objective.alpha,
        metadata=origin,
    )
    return figures


def _mean_samples(x: np.ndarray, labels: np.ndarray, n_clusters: int) -> np.ndarray:
    """The mean sample of each cluster; 0 for an empty one. A cluster at a time in floats."""
    means = np.zeros((n_clusters, x.shape[1]), np.float32)
    for cluster in np.unique(labels):
        means[cluster] = x[labels == cluster].mean(axis=0, dtype=np.float32)
    return means


def last_losses(pretraining: dict[str, list[float]]) -> list[float]:
    """The losses of the network that was clustered, not of a layer on its own."""
    return next(reversed(pretraining.values()), [])


def write_figures(
    folder: Path,
    dataset: Dataset,
    *,
    z_before: np.ndarray,
    labels_before: np.ndarray,
    z_after: np.ndarray,
    labels: np.ndarray,
    q: np.ndarray,
    typical: np.ndarray,
    pretraining: Sequence[float],
    rows: Mapping[str, Sequence],
    tolerance: float,
) -> list[str]:
    """Draws what can be drawn for the data; returns the names of the files."""
    known = dataset.labels is not None
    colors = dataset.labels if dataset.labels is not None else None
    figures = {
        "latent.png": plots.latent_before_after(
            z_before,
            labels_before if colors is None else colors,
            z_after,
            labels if colors is None else colors,
            titles=(
                f"After pretraining, by {'class' if known else 'cluster'}",
                f"After clustering, by {'class' if known else 'cluster'}",
            ),
        ),
        "curves.png": curves.training_curves(
            pretraining,
            rows["loss"],
            rows["label_change"],
            tolerance=tolerance,
            accuracy=rows["acc"] if known else None,
        ),
    }
    if dataset.labels is not None:
        figures["confusion.png"] = plots.confusion_matrix(dataset.labels, labels)
    if dataset.image_shape is not None:
        sizes = np.bincount(labels, minlength=q.shape[1])
        figures["centroids.png"] = image_plots.decoded_centroids(
            typical.reshape(-1, *dataset.image_shape), sizes
        )
        figures["members.png"] = image_plots.cluster_members(
            dataset.x, q, labels, dataset.image_shape
        )
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=120)
    return list(figures)
