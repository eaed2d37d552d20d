"""New data to clusters, by a model that a run has saved.

    python -m dec_jax.cli.predict runs/mnist-dec/model.safetensors --dataset mnist
    python -m dec_jax.cli.predict model.safetensors --dataset my_images --out mine.csv

Writes one line a sample, prints how large the clusters are and, where there are labels,
ACC, NMI and ARI.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dec_jax.runs.compile_cache import keep_programs
from dec_jax.runs.errors import UsageError, exit_status

if TYPE_CHECKING:
    import numpy as np

    from dec_jax.data.load import Dataset
    from dec_jax.model.inference import Model

PROGRAM = "python -m dec_jax.cli.predict"


def parser() -> argparse.ArgumentParser:
    """The options."""
    out = argparse.ArgumentParser(
        prog=PROGRAM, description="Assigns new data to the clusters of a saved model."
    )
    add = out.add_argument
    add("model", metavar="MODEL", help="model.safetensors in the folder of a run")
    add(
        "--dataset",
        metavar="NAME",
        required=True,
        help="data set, folder of images, table, or .npz or .npy file",
    )
    add(
        "--data-dir",
        metavar="DIR",
        help="folder with data sets (default $DEC_JAX_DATA)",
    )
    add(
        "--out",
        metavar="FILE",
        default="labels.csv",
        help="table to write, one that does not exist yet (default labels.csv)",
    )
    add("--labels-csv", metavar="FILE", help="of images: columns filename,label")
    add(
        "--folder-labels",
        action="store_true",
        help="of images: sub-folders are classes",
    )
    add("--skip-unreadable", action="store_true", help="leave out damaged images")
    add("--label-column", metavar="NAME", help="of a table: its classes, for scoring")
    return out


def main(arguments: list[str]) -> int:
    """Predicts; returns the exit status: 0, 2 for a mistake, 130 for Ctrl-C."""
    options = parser().parse_args(arguments)
    mistakes = UsageError, ValueError, TypeError, OSError, ImportError
    stopped = "Stopped; nothing was written."
    return exit_status(lambda: run(options), stopped, mistakes)


def run(options: argparse.Namespace) -> None:
    """Loads, predicts, writes and prints."""
    out = Path(options.out)
    check_out(out)
    # Only now, because they load jax.
    from dec_jax import model
    from dec_jax.runs import folder

    loaded = model.load(options.model)
    print(described(options.model, loaded))
    dataset = load_like_training(loaded, options)
    print(
        f"{dataset.name}: {len(dataset.x):,} samples of {dataset.x.shape[1]} values "
        f"({dataset.source})"
    )
    q = model.predict_proba(loaded, dataset)
    # What model.predict gives, without passing through the network again.
    labels = q.argmax(axis=1)
    partial = out.with_name(f"{out.name}.partial")
    try:
        folder.write_labels(partial, labels, q, dataset.labels, dataset.names)
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


def described(path: str, model: "Model") -> str:
    """One line on where a model comes from."""
    known = [
        f"{word} {model.metadata[name]}"
        for word, name in (("recipe", "recipe"), ("on", "dataset"), ("seed", "seed"))
        if name in model.metadata
    ]
    clusters = f"{model.n_clusters or 'no'} clusters"
    return f"{path}: " + ", ".join([clusters, *known])


def load_like_training(model: "Model", options: argparse.Namespace) -> "Dataset":
    """New data; images in the size and colors of training, tables in its scale."""
    from dec_jax.data.dataset import columns_from_json
    from dec_jax.data.load import DATASETS, load_dataset
    from dec_jax.data.tables import TABLE_SUFFIXES, load_table

    name = options.dataset
    path = Path(name).expanduser()
    if path.suffix.lower() in TABLE_SUFFIXES:
        columns = columns_from_json(model.metadata.get("columns"))
        if columns is None:
            raise UsageError(
                f"--dataset {name}: the model was not trained on a table that dec_jax "
                "read, so it does not know the columns; give a .npy or .npz file."
            )
        return load_table(path, label_column=options.label_column, columns=columns)
    wanted = ("labels_csv", "folder_labels", "skip_unreadable", "label_column")
    reading: dict[str, Any] = {option: getattr(options, option) for option in wanted}
    shape = model.metadata.get("image_shape")
    if name not in DATASETS and path.is_dir() and shape is not None:
        reading["image_size"] = tuple(shape[:2])
        reading["image_mode"] = "gray" if shape[2] == 1 else "color"
    return load_dataset(name, options.data_dir, **reading)


def table(labels: "np.ndarray", q: "np.ndarray") -> str:
    """Each cluster's samples, their share of all, and how sure the model is of them."""
    confidence = q.max(axis=1)
    lines = [f"{'cluster':>7}{'samples':>10}{'share':>9}{'mean q':>9}"]
    for cluster in range(q.shape[1]):
        members = labels == cluster
        size = int(members.sum())
        mean = f"{confidence[members].mean():9.3f}" if size else f"{'-':>9}"
        lines.append(f"{cluster:>7}{size:>10,}{size / len(labels):>9.1%}{mean}")
    return "\n".join(lines)


def scores(classes: "np.ndarray", labels: "np.ndarray") -> str:
    """How well clusters and classes agree."""
    from dec_jax.runs import summary as report

    found = report.scores(classes, labels)
    return ", ".join(f"{name.upper()} {value:.3f}" for name, value in found.items())


if __name__ == "__main__":
    keep_programs()
    sys.exit(main(sys.argv[1:]))
