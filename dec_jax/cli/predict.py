"""Assigns new data to the clusters of a model that a run has saved.

Writes one line a sample, prints the size of each cluster and, where there are labels,
ACC, NMI and ARI.

    dec-jax predict runs/mnist-best mnist
    dec-jax predict model.safetensors my_images --out mine.csv
"""

import argparse
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dec_jax.cli.options import add_data_options, add_image_options, add_table_options
from dec_jax.runs.errors import UsageError, mistakes_of_use

if TYPE_CHECKING:
    import numpy as np

    from dec_jax.data.dataset import Dataset
    from dec_jax.model import Model

HELP = "assign new data to the clusters of a run"
STOPPED_LINE = "Stopped; nothing was written."


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add = parser.add_argument
    add("model", metavar="RUN", help="folder of a run, or its model.safetensors")
    add("dataset", metavar="DATA", help="data set, file or folder")
    add(
        "--out",
        metavar="FILE",
        default="labels.csv",
        help="table to write, one that does not exist yet (default labels.csv)",
    )
    add_data_options(parser)
    add_image_options(parser, sizes=False)
    add_table_options(parser, standardize=False)


def run(options: argparse.Namespace) -> None:
    """Loads, predicts, writes and prints."""
    out = Path(options.out)
    check_out(out)
    names = ("label_column", "id_column", "labels_csv", "data_dir")
    with mistakes_of_use(*names):
        _run(options, out)


def _run(options: argparse.Namespace, out: Path) -> None:
    # Only now, because they load jax.
    from dec_jax import model
    from dec_jax.runs import folder

    path = Path(options.model)
    path = path / folder.MODEL if path.is_dir() else path
    loaded = model.load(path)
    print(model_line(path, loaded))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        dataset = load_like_training(loaded, options)
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr)
    print(
        f"{dataset.name}: {len(dataset.x):,} samples of {dataset.x.shape[1]} values "
        f"({dataset.source})"
    )
    q = model.predict_proba(loaded, dataset)
    # The labels of model.predict, without a second pass through the network.
    labels = q.argmax(axis=1)
    partial = out.with_name(f"{out.name}.partial")
    try:
        folder.write_labels(
            partial, labels, q, dataset.labels, dataset.names, dataset.names_title
        )
        os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)
    print(table(labels, q))
    if dataset.labels is not None:
        print(scores(dataset.labels, labels))
    print(f"clusters of all samples: {out}")


def check_out(out: Path) -> None:
    """Raises UsageError unless `out` can become a new file."""
    if out.exists():
        raise UsageError(f"--out {out} exists already; name another file.")
    if not out.parent.is_dir():
        raise UsageError(f"--out {out}: the folder {out.parent} does not exist.")


def model_line(path: Path, model: "Model") -> str:
    """One line on the origin of a model."""
    known = [
        f"{word} {model.metadata[name]}"
        for word, name in (("recipe", "recipe"), ("on", "dataset"), ("seed", "seed"))
        if name in model.metadata
    ]
    clusters = f"{model.n_clusters or 'no'} clusters"
    return f"{path}: " + ", ".join([clusters, *known])


def load_like_training(model: "Model", options: argparse.Namespace) -> "Dataset":
    """Loads new data: images in the size and colors of training, tables in its scale."""
    from dec_jax.data.dataset import columns_from_json
    from dec_jax.data.load import DATASETS, load_as_in_training, load_dataset
    from dec_jax.data.text_space import text_space_from_json

    name = options.dataset
    path = Path(name).expanduser()
    known = (
        *("label_column", "id_column", "separator", "decimal", "encoding"),
        *("folder_labels", "labels_csv", "skip_unreadable", "data_dir"),
    )
    found = load_as_in_training(
        name,
        columns_from_json(model.metadata.get("columns")),
        text_space_from_json(model.metadata.get("text_space")),
        **{option: getattr(options, option) for option in known},
    )
    if found is not None:
        return found
    wanted = (
        *("labels_csv", "folder_labels", "skip_unreadable", "label_column"),
        *("id_column", "separator", "decimal", "encoding"),
    )
    reading: dict[str, Any] = {option: getattr(options, option) for option in wanted}
    shape = model.metadata.get("image_shape")
    if name not in DATASETS and path.is_dir() and shape is not None:
        reading["image_size"] = tuple(shape[:2])
        reading["image_mode"] = "gray" if shape[2] == 1 else "color"
    return load_dataset(name, options.data_dir, **reading)


def table(labels: "np.ndarray", q: "np.ndarray") -> str:
    """Tables each cluster's samples, their share of all, and their mean largest q."""
    confidence = q.max(axis=1)
    lines = [f"{'cluster':>7}{'samples':>10}{'share':>9}{'mean q':>9}"]
    for cluster in range(q.shape[1]):
        members = labels == cluster
        size = int(members.sum())
        mean = f"{confidence[members].mean():9.3f}" if size else f"{'-':>9}"
        lines.append(f"{cluster:>7}{size:>10,}{size / len(labels):>9.1%}{mean}")
    return "\n".join(lines)


def scores(classes: "np.ndarray", labels: "np.ndarray") -> str:
    """Scores the agreement of clusters with classes, on one line."""
    from dec_jax.evaluation.stage_scores import class_scores

    found = class_scores(classes, labels)
    return ", ".join(f"{name.upper()} {value:.3f}" for name, value in found.items())
