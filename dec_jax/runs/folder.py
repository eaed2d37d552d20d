"""The files of a run: config.json, results.json, tables of numbers, figures, model."""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from dec_jax import model, plots
from dec_jax.data.dataset import Dataset
from dec_jax.evaluation.judge import Choice
from dec_jax.evaluation.label_free import evenness
from dec_jax.evaluation.metrics import adjusted_rand_index, classification_report
from dec_jax.evaluation.typical import typical_ranks
from dec_jax.networks.autoencoder import decode
from dec_jax.runs.callbacks import Record
from dec_jax.runs.errors import UsageError
from dec_jax.runs.fit import FitResult
from dec_jax.runs.streamed import is_streamed
from dec_jax.validation import near_path, one_line
from dec_jax.writing import whole_file

if TYPE_CHECKING:
    import matplotlib.figure

SAME = 0.9  # adjusted Rand index from which two labelings count as one
MOST_ALTERNATIVES = 3
MODEL = "model.safetensors"  # after clustering
LABELS = "labels.csv"


def prepare(out: Path, *, explicit: bool, resumable: bool = False) -> Path:
    """Makes a new folder for results; never one that holds something already.

    Args:
      out: the folder that is wanted.
      explicit: the user named it, so that no other may stand in for it.
      resumable: the folder may hold a run that can be resumed.

    Raises:
      UsageError: it cannot be written to, or is not empty.
    """
    folder, number = out, 1
    try:
        if explicit:
            check_empty(out, resumable=resumable)
        while holds_something(folder):
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


def check_empty(out: Path, *, resumable: bool = False) -> None:
    """Raises UsageError if the folder that the user named holds something already."""
    if holds_something(out):
        other = f", or resume the run in it by --resume {out}" * resumable
        raise UsageError(f"--out {out} is not an empty folder; take another{other}.")


def holds_something(folder: Path) -> bool:
    """Returns True for a folder that is not empty, and for a file."""
    return folder.exists() and any(folder.iterdir() if folder.is_dir() else [folder])


def file_of_run(run: Path, name: str) -> Path:
    """Finds a file of a run: in its folder, or in that of the seed that was chosen.

    Args:
      run: the folder, or the file itself.
      name: of the file, such as `MODEL`.

    Returns:
      The file.

    Raises:
      UsageError: the folder has no such file, or seeds of which none was chosen.
    """
    if not run.exists():
        raise UsageError(f"There is no run or model {run}{near_path(run)}")
    if not run.is_dir() or (run / name).is_file():
        return run / name if run.is_dir() else run
    seeds = sorted(run.glob(f"seed-*/{name}"))
    if not seeds:
        raise UsageError(
            f"{run} holds no {name}; give the folder of a run that came to its end."
        )
    try:
        chosen = json.loads((run / "summary.json").read_text()).get("chosen_seed")
    except (OSError, ValueError, AttributeError, RecursionError):
        chosen = None
    file = run / f"seed-{chosen}" / name
    if file not in seeds:
        raise UsageError(
            f"{run} holds {len(seeds)} seeds, of which none was chosen; give the folder of "
            f"one, such as {seeds[0].parent}."
        )
    return file


def write_history(
    path: Path, pretraining: Mapping[str, Sequence[float]], rows: Mapping
) -> None:
    """One line an epoch of each stage of pretraining, and an interval of clustering."""
    names = ["loss", "clustering", "reconstruction", "label_change", "acc"]
    sizes_of = ["largest_cluster", "smallest_cluster", "empty_clusters", "evenness"]
    q_of = ["max_q", "q_entropy", "reseeded"]
    with whole_file(path) as partial, partial.open("w", newline="") as file:
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
    names_title: str = "file",
    typical: np.ndarray | None = None,
) -> None:
    """One line a sample: row, name if any, cluster, its q, rank and class if known."""
    columns: dict[str, Iterable[Any]] = {"index": range(len(labels))}
    if names is not None:
        columns[names_title] = names
    columns["cluster"] = map(int, labels)
    # Written as they are made: a list of millions would take more memory than the run.
    columns["q"] = (f"{share:.6f}" for share in q.max(axis=1))
    if typical is not None:
        columns["typical"] = (f"{rank:.4f}" for rank in typical)
    if classes is not None:
        columns["class"] = classes.tolist()
    with (
        whole_file(path) as partial,
        partial.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def write_alternatives(
    path: Path,
    choice: Choice,
    own: np.ndarray,
    names: Sequence[str] | None = None,
    names_title: str = "file",
) -> None:
    """Writes the best labelings of simple methods that differ from the run and each other.

    Args:
      path: the file; one line for each sample that the methods saw.
      choice: of `choose_labels`.
      own: [n] the labels of the run.
      names: of all samples, or None.
      names_title: what the names are.
    """
    kept: dict[str, np.ndarray] = {}
    seen = own[choice.rows]
    for name, labels in zip(choice.judgment.names, choice.judgment.labels, strict=True):
        others = [seen, *kept.values()]
        if all(adjusted_rand_index(labels, other) < SAME for other in others):
            kept[name] = labels
        if len(kept) == MOST_ALTERNATIVES:
            break
    rows = choice.rows.tolist()
    # The first columns are those of labels.csv.
    columns: dict[str, Sequence[Any]] = {"index": rows}
    if names is not None:
        columns[names_title] = [names[row] for row in rows]
    columns |= {name: labels.tolist() for name, labels in kept.items()}
    with (
        whole_file(path) as partial,
        partial.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def write_tables(
    folder: Path,
    dataset: Dataset,
    result: FitResult,
    record: Record,
    origin: Mapping[str, Any],
) -> None:
    """Writes the model, the labels, the history, and the report where there are classes.

    Args:
      folder: of the run.
      dataset: what was clustered.
      result: of `fit`.
      record: the numbers of the run.
      origin: entries of the model file that tell where it comes from.
    """
    model.save(folder / MODEL, result.model, metadata=origin)
    write_labels(
        folder / LABELS,
        result.labels,
        result.q,
        dataset.labels,
        dataset.names,
        dataset.names_title,
        typical_ranks(result.labels, result.q.max(axis=1)),
    )
    if result.opinion is not None and result.alternatives is not None:
        path = folder / "alternatives.csv"
        names = (dataset.names, dataset.names_title)
        write_alternatives(path, result.alternatives, result.labels, *names)
    write_history(folder / "history.csv", record.pretraining_loss, record.history)
    if dataset.labels is not None:
        text = classification_report(dataset.labels, result.labels)
        with whole_file(folder / "report.txt") as partial:
            partial.write_text(f"{text}\n")


def write_figures(
    folder: Path, dataset: Dataset, result: FitResult, record: Record
) -> list[str]:
    """Draws what can be drawn for the data; a figure that fails costs one line.

    Args:
      folder: of the run.
      dataset: what was clustered.
      result: of `fit`.
      record: the numbers of the run.

    Returns:
      The names of the files.
    """
    drawn = []
    pictures, shape = pictures_of(dataset), dataset.image_shape
    if pictures is not None and shape is not None and shape[2] > pictures.shape[3]:
        n_seen = pictures.shape[3]
        first = "channel" if n_seen == 1 else f"{n_seen} channels"
        print(f"figures show the first {first} of {shape[2]}")
    for name, draw in figures_of(dataset, result, record).items():
        try:
            with whole_file(folder / name) as partial:
                draw().savefig(partial, dpi=120, format="png")
        # The run is done and saved: whatever a drawing raises must not take it back.
        except Exception as error:
            print(f"warning: {name} was not drawn: {one_line(error)}", file=sys.stderr)
            continue
        drawn.append(name)
    return drawn


def figures_of(
    dataset: Dataset, result: FitResult, record: Record
) -> dict[str, Callable[[], "matplotlib.figure.Figure"]]:
    """Names the figures for these data, with a function that draws each."""
    known = dataset.labels is not None
    before = (
        np.asarray(result.start.labels) if dataset.labels is None else dataset.labels
    )
    after = result.labels if dataset.labels is None else dataset.labels
    kind = "class" if known else "cluster"
    pretrained = result.recipe.pretrain is not None
    first = "After pretraining" if pretrained else "The samples themselves"
    figures: dict[str, Callable[[], Any]] = {
        "latent.png": lambda: plots.latent_before_after(
            np.asarray(result.start.z),
            before,
            result.z,
            after,
            titles=(f"{first}, by {kind}", f"After clustering, by {kind}"),
        ),
        "curves.png": lambda: plots.training_curves(
            record.network_losses,
            record.history["loss"],
            record.history["label_change"],
            tolerance=result.recipe.train.tolerance,
            accuracy=record.history["acc"] if known else None,
        ),
    }
    if dataset.labels is not None:
        classes = dataset.labels
        figures["confusion.png"] = lambda: plots.confusion_matrix(
            classes, result.labels
        )
    pictures = pictures_of(dataset)
    if (shape := dataset.image_shape) is not None and pictures is not None:
        sizes = np.bincount(result.labels, minlength=result.q.shape[1])
        seen = pictures.shape[-1]
        figures["centroids.png"] = lambda: plots.decoded_centroids(
            typical_samples(dataset.x, result).reshape(-1, *shape)[..., :seen], sizes
        )
    if pictures is not None:
        figures["members.png"] = lambda: plots.cluster_members(
            pictures, result.q, result.labels, pictures.shape[1:]
        )
    return figures


def pictures_of(dataset: Dataset) -> np.ndarray | None:
    """Finds the pictures of the samples: their pixels, or the thumbnails of features.

    Returns:
      [n, h, w, c], of 2 channels the first one, and of more the first three; None for
      samples without pictures, and for those that stay in their file.
    """
    if is_streamed(dataset):
        # The figures of samples need them all.
        return None
    if dataset.thumbnails is not None:
        pixels = dataset.thumbnails
    elif dataset.image_shape is not None:
        pixels = dataset.x.reshape(-1, *dataset.image_shape)
    else:
        return None
    return pixels[..., : 1 if pixels.shape[-1] < 3 else 3]


def typical_samples(x: np.ndarray, result: FitResult) -> np.ndarray:
    """Decodes the centroids; without a decoder, averages each cluster's samples."""
    network = result.model
    if "decoder" in network.params:
        centroids = jnp.asarray(result.centroids)
        return np.asarray(
            decode(network.params, centroids, architecture=network.architecture)
        )
    return mean_samples(x, result.labels, len(result.centroids))


def mean_samples(x: np.ndarray, labels: np.ndarray, n_clusters: int) -> np.ndarray:
    """The mean sample of each cluster; 0 for an empty one. A cluster at a time in floats."""
    means = np.zeros((n_clusters, x.shape[1]), np.float32)
    for cluster in np.unique(labels):
        means[cluster] = x[labels == cluster].mean(axis=0, dtype=np.float32)
    return means
