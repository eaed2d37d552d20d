"""Assigns new data to the clusters of a model that a run has saved.

Writes one line a sample, prints the size of each cluster and, where there are labels,
ACC, NMI and ARI.

    dec-jax predict runs/sales-auto may.csv                # writes may-labels.csv
    dec-jax predict model.safetensors may.csv june.csv --out summer.csv

Samples that are unlike those of training are told in a line of warning.
"""

import argparse
import csv
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dec_jax.cli.options import (
    add_data_options,
    add_image_options,
    add_table_options,
    typed_path,
)
from dec_jax.runs.compile_cache import check_programs
from dec_jax.runs.errors import MISTAKES, UsageError, mistakes_of_use
from dec_jax.validation import near_path, shown

if TYPE_CHECKING:
    from dec_jax.data.dataset import Dataset
    from dec_jax.model import Model

HELP = "assign new data to the clusters of a run"
STOPPED_LINE = "Stopped; nothing was written."


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add = parser.add_argument
    what = "folder of a run, or its model.safetensors"
    add("model", metavar="RUN", type=typed_path, help=what)
    what = "data sets, files or folders; one table tells of all"
    add("datasets", metavar="DATA", type=typed_path, nargs="+", help=what)
    add(
        "--out",
        metavar="FILE",
        type=typed_path,
        help="table to write, one that does not exist yet (default: in this folder, "
        "new-labels.csv for new.csv)",
    )
    add_data_options(parser)
    add_image_options(parser, sizes=False)
    add_table_options(parser, standardize=False)


def run(options: argparse.Namespace) -> None:
    """Loads, predicts, writes and prints."""
    names = (
        *("label_column", "id_column", "labels_csv", "data_dir", "encoder", "names"),
        *("missing", "unknown"),
    )
    with mistakes_of_use(*names):
        out = checked_out(options.out, options.datasets)
        _run(options, out)


def _run(options: argparse.Namespace, out: Path) -> None:
    # Only now, because they load jax.
    from dec_jax import model
    from dec_jax.runs import folder

    check_programs()
    last = Path(options.datasets[-1])
    if (last / folder.MODEL).is_file() and Path(options.model).is_file():
        raise UsageError(
            f"the run comes before the data: dec-jax predict {last} {options.model}"
        )
    path = folder.file_of_run(Path(options.model), folder.MODEL)
    loaded = model.load(path)
    if path.name == folder.MODEL:
        check_its_run(path, loaded)
    found = []
    for name in options.datasets:
        try:
            found.append(predicted(loaded, name, options))
        except MISTAKES as error:
            if len(options.datasets) == 1 or name in str(error):
                raise
            raise UsageError(f"{name}: {error}") from error
    write(out, found, options.datasets)
    # All that can be refused was: until here, nothing is printed.
    print(shown(model_line(path, loaded)))
    for one in found:
        one.tell()
    labels = np.concatenate([one.labels for one in found])
    print(table(labels, np.concatenate([one.q for one in found])))
    classes = [it.dataset.labels for it in found if it.dataset.labels is not None]
    if len(classes) == len(found):
        print(scores(np.concatenate(classes), labels))
    print(f"clusters of all samples: {shown(str(out))}")


def check_its_run(path: Path, model: "Model") -> None:
    """Raises UsageError if the config.json beside a model tells of another run."""
    from dec_jax.runs.json_files import read_checked

    try:
        config = read_checked(path.with_name("config.json"), "leave it out")
        its = (config["dataset"]["sha256"], config["command"]["seed"])
    # A model may lie anywhere, and be used without its run.
    except (UsageError, KeyError, TypeError):
        return
    found = tuple(model.metadata.get(name) for name in ("dataset_sha256", "seed"))
    if found != its:
        raise UsageError(
            f"{path} must be the model of the run beside it, got that of another run (its "
            f"seed is {found[1]}, that of config.json {its[1]}); give the model alone, in "
            "another folder, if it is meant."
        )


class Predicted(NamedTuple):
    """Samples with their soft assignment, their labels, and what is told of them."""

    dataset: "Dataset"
    q: np.ndarray
    labels: np.ndarray
    lines: list[str]
    warnings: list[str]

    def tell(self) -> None:
        """Prints what the samples are, and where they are unlike those of training."""
        print("\n".join(map(shown, self.lines)))
        for line in self.warnings:
            print(shown(line), file=sys.stderr)


def predicted(model: "Model", name: str, options: argparse.Namespace) -> Predicted:
    """Loads new data and assigns them; lines of warning tell where they are unlike."""
    from dec_jax.model import predict_proba
    from dec_jax.runs.experiment import samples_line

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        dataset = load_like_training(model, name, options)
        q = predict_proba(model, dataset)
    # The run has decided how images are fitted; no option changes it here.
    notes = [f"  {note.partition('; --image-fit')[0]}" for note in dataset.notes]
    # The library names the file, as what was typed does.
    texts = [
        str(one.message).removeprefix(f"{dataset.source}: ")
        for one in caught
        if issubclass(one.category, UserWarning)
    ]
    told = [f"warning: {name}: {text}" for text in texts]
    # The labels of model.predict, without a second pass through the network.
    return Predicted(
        dataset, q, q.argmax(axis=1), [samples_line(dataset), *notes], told
    )


def write(out: Path, found: Sequence[Predicted], data: Sequence[str]) -> None:
    """Writes a line for each sample, all of them or none."""
    from dec_jax.runs.folder import write_labels

    partials = [out.with_name(f"{out.name}.{i}.partial") for i in range(len(found))]
    try:
        for partial, one in zip(partials, found, strict=True):
            dataset, q, labels, *_ = one
            names, title = dataset.names, dataset.names_title
            write_labels(partial, labels, q, dataset.labels, names, title)
        if len(found) > 1:
            join_tables(partials, data)
        os.replace(partials[0], out)
    finally:
        for partial in partials:
            partial.unlink(missing_ok=True)


def join_tables(paths: Sequence[Path], names: Sequence[str]) -> None:
    """Joins tables into the first file, with a first column that names their data."""
    rows = []
    for path, name in zip(paths, names, strict=True):
        with path.open(newline="") as file:
            rows += [{"data": name, **row} for row in csv.DictReader(file)]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with paths[0].open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def checked_out(given: str | None, data: Sequence[str]) -> Path:
    """Returns the path of the table; raises UsageError unless it can become a new file."""
    if given is None:
        out = Path(default_out(data))
        if out.exists():
            raise UsageError(f"{out} exists already; name another file by --out.")
        return out
    out = Path(given)
    if out.exists():
        raise UsageError(f"--out {out} exists already; name another file.")
    if not out.parent.is_dir():
        raise UsageError(
            f"--out {out}: the folder {out.parent} does not exist{near_path(out.parent)}"
        )
    return out


def default_out(data: Sequence[str]) -> str:
    """Names the table after the first of the data.

    Example:
      >>> default_out(["sales/may.csv"]), default_out(["may.csv", "june.csv"])
      ('may-labels.csv', 'may-and-1-more-labels.csv')
    """
    # "." and ".." have names too.
    first = Path(os.path.abspath(data[0]))
    name = first.name if first.is_dir() else first.stem
    more = f"-and-{len(data) - 1}-more" if len(data) > 1 else ""
    return f"{name}{more}-labels.csv"


def model_line(path: Path, model: "Model") -> str:
    """One line on the origin of a model."""
    known = [
        f"{word} {model.metadata[name]}"
        for word, name in (("recipe", "recipe"), ("on", "dataset"), ("seed", "seed"))
        if name in model.metadata
    ]
    clusters = f"{model.n_clusters or 'no'} clusters"
    return f"{path}: " + ", ".join([clusters, *known])


def load_like_training(
    model: "Model", name: str, options: argparse.Namespace
) -> "Dataset":
    """Loads new data: images in the size and colors of training, tables in its scale."""
    from dec_jax.data.dataset import columns_from_json
    from dec_jax.data.load import (
        DATASETS,
        check_not_given,
        load_as_in_training,
        load_dataset,
    )
    from dec_jax.data.reading import reading_from_json
    from dec_jax.data.text_space import text_space_from_json
    from dec_jax.runs.progress import image_bars

    path = Path(name)
    known = (
        *("label_column", "id_column", "separator", "decimal", "encoding"),
        *("folder_labels", "labels_csv", "skip_unreadable", "data_dir"),
        *("missing", "unknown"),
    )
    found = load_as_in_training(
        name,
        columns_from_json(model.metadata.get("columns")),
        text_space_from_json(model.metadata.get("text_space")),
        **{option: getattr(options, option) for option in known},
    )
    if found is not None:
        return found
    check_not_given(name, "a table", {"unknown": options.unknown}, {"unknown": None})
    wanted = (
        *("labels_csv", "folder_labels", "skip_unreadable", "label_column", "names"),
        *("id_column", "separator", "decimal", "encoding", "missing"),
    )
    reading: dict[str, Any] = {option: getattr(options, option) for option in wanted}
    shape = model.metadata.get("image_shape")
    stored = reading_from_json(model.metadata.get("reading"))
    trained_on = None if stored is None else stored.encoder_sha256
    named = None if stored is None else stored.encoder
    if options.encoder is None and named and not named.lower().endswith(".onnx"):
        raise UsageError(
            f"--encoder must be given: the model was trained on vectors of {named}, which "
            "is code, and a model file could name any; if you trust it, give --encoder "
            f"{named}."
        )
    if options.encoder is not None:
        if stored is None or stored.encoder is None:
            raise UsageError(
                f"--encoder {options.encoder}: the model was not trained on the vectors of "
                "an encoder; leave the option out."
            )
        stored = replace(
            stored, encoder=options.encoder, encoder_sha256=None, mode=None
        )
    if stored is not None:
        reading["reading"] = stored
        reading["encoder_cache"] = Path(options.model).parent / "encoded"
    elif name not in DATASETS and path.is_dir() and shape is not None:
        reading["image_size"] = tuple(shape[:2])
        reading["image_mode"] = "gray" if shape[2] == 1 else "color"
    is_slow = stored is not None and (stored.encoder or stored.features)
    with image_bars(stored and stored.encoder) as progress:
        dataset = load_dataset(
            name,
            options.data_dir,
            **reading,
            progress=progress if is_slow else None,
        )
    used = dataset.reading and dataset.reading.encoder_sha256
    if options.encoder is not None and trained_on not in (None, used):
        warnings.warn(
            f"encoder {options.encoder} is not what it was in training, and may give other "
            "vectors",
            stacklevel=2,
        )
    return dataset


def table(labels: np.ndarray, q: np.ndarray) -> str:
    """Tables each cluster's samples, their share of all, and their mean largest q."""
    confidence = q.max(axis=1)
    lines = [f"{'cluster':>7}{'samples':>10}{'share':>9}{'sure':>9}"]
    for cluster in range(q.shape[1]):
        members = labels == cluster
        size = int(members.sum())
        mean = f"{confidence[members].mean():9.3f}" if size else f"{'-':>9}"
        lines.append(f"{cluster:>7}{size:>10,}{size / len(labels):>9.1%}{mean}")
    lines.append("(sure: mean share q of the samples in their cluster, 1 at most)")
    return "\n".join(lines)


def scores(classes: np.ndarray, labels: np.ndarray) -> str:
    """Scores the agreement of clusters with classes, on one line."""
    from dec_jax.evaluation.stage_scores import class_scores

    found = class_scores(classes, labels)
    return ", ".join(f"{name.upper()} {value:.3f}" for name, value in found.items())
