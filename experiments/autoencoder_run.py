"""One training of an autoencoder: its network, data, start, scores and pictures.

`autoencoders.py` is the command line, and says what the kinds are.
"""

import csv
import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

import dec_jax as dj
from dec_jax import model, plots
from dec_jax.data.load import ARRAY_SUFFIXES
from dec_jax.data.named import DATASETS
from dec_jax.networks.architecture import Layer
from dec_jax.networks.architecture_json import architecture_to_json
from dec_jax.networks.autoencoder import scale_input
from dec_jax.recipes.names import PRECISIONS
from dec_jax.runs.errors import UsageError, mistakes_of_use
from dec_jax.runs.experiment import facts, open_folder, print_head
from dec_jax.runs.json_files import write_json
from dec_jax.runs.progress import bar_of
from dec_jax.runs.signals import Stop
from dec_jax.training.augmentation import corrupt
from dec_jax.training.pretrain import PretrainHistory, PretrainState, init_pretraining

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("simple", "sparse", "denoising", "variational")
IN_ORDER = ("mnist", "fashion_mnist")  # whose last seventh is the published test part
NOISE = 0.2  # share of the pixels that salt and pepper hide
# The published weight, 1e-9, leaves z as it is; --sparsity-sweep shows what others do.
SPARSITY = 1e-3
WARM_UP = 5  # epochs of a sparse one without the penalty
CTRL_C = "stopped by Ctrl-C"
SAMPLES = 100  # drawn from the prior


def option(default: Any, metavar: str, text: str, kind: type = str) -> Any:
    """Makes a field of `Settings`, with what `parser` needs to know."""
    told = {"metavar": metavar, "help": text, "type": kind}
    return dataclasses.field(default=default, metadata=told)


@dataclasses.dataclass(frozen=True)
class Settings:
    """The options of the command line."""

    kind: str
    dataset: str = option("fashion_mnist", "NAME", f"{', '.join(DATASETS)}, or a file")
    data_dir: str | None = option(None, "DIR", "data sets (default $DEC_JAX_DATA)")
    architecture: str | None = option(
        None, "NAME", "shipped network or JSON file (default: the published one)"
    )
    sparsity: float | None = option(
        None,
        "W",
        f"weight of the L1 norm of z, if sparse (default {SPARSITY:g})",
        float,
    )
    epochs: int = option(500, "N", "train for at most N epochs", int)
    patience: int = option(10, "N", "stop N epochs after the lowest loss", int)
    batch_size: int = option(2048, "N", "samples in a step", int)
    learning_rate: float = option(1e-3, "R", "of Adam", float)
    precision: str = option(
        "float32", "NAME", f"of matrix products: {' or '.join(PRECISIONS)}"
    )
    seed: int = option(0, "S", "of parameters, minibatches and noise", int)
    limit: int | None = option(None, "N", "train on the first N samples only", int)
    out: str | None = option(
        None, "DIR", "results (default runs/autoencoder-<kind>-<data set>)"
    )

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(
                f"--kind must be one of {', '.join(KINDS)}, got {self.kind}."
            )
        if self.precision not in PRECISIONS:
            raise UsageError(
                f"--precision must be {' or '.join(PRECISIONS)}, got {self.precision}."
            )
        if self.sparsity is not None and self.kind != "sparse":
            raise UsageError(f"--sparsity is for --kind sparse, got {self.kind}.")


class Task(NamedTuple):
    """A run whose settings and data have been checked."""

    settings: Settings
    dataset: dj.Dataset
    x: np.ndarray  # [n, d] to train on
    validation: np.ndarray  # [m, d]
    classes: np.ndarray | None  # [m] of the validation samples
    architecture: dj.Architecture
    config: dj.PretrainConfig


class Views(NamedTuple):
    """The validation samples on their way through the network."""

    clean: np.ndarray  # [m, d] in [0, 1]
    seen: np.ndarray  # [m, d] with noise, if the kind has any
    x_hat: np.ndarray  # [m, d] made of what was seen
    z: np.ndarray  # [m, e] of the clean samples


def prepared(settings: Settings) -> Task:
    """Loads and checks everything; raises UsageError."""
    kind, sparsity = settings.kind, 0.0
    noise = NOISE if kind == "denoising" else 0.0
    if kind == "sparse":
        sparsity = SPARSITY if settings.sparsity is None else settings.sparsity
    names = (
        "epochs",
        "patience",
        "batch_size",
        "learning_rate",
        "sparsity",
        "data_dir",
    )
    with mistakes_of_use(*names):
        config = dj.PretrainConfig(
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            optimizer=dj.Optimizer("adam", settings.learning_rate),
            augmentation=dj.Augmentation(salt_and_pepper=noise),
            objective=dj.Variational()
            if kind == "variational"
            else dj.Reconstruction(sparsity=sparsity),
            patience=settings.patience,
        )
        # A sigmoid gives back numbers from 0 to 1, whatever the unit of the data.
        arrays = Path(settings.dataset).suffix.lower() in ARRAY_SUFFIXES
        dataset = dj.load_dataset(
            settings.dataset, settings.data_dir, standardize=not arrays
        )
        architecture = network(settings, dataset)
        config.objective.check(architecture)
    check_range(dataset, architecture)
    train, held_out = split(dataset, in_order=settings.dataset in IN_ORDER)
    if settings.limit is not None and not 1 <= settings.limit <= len(train):
        raise UsageError(
            f"--limit must be from 1 to {len(train)}, the samples to train on, got "
            f"{settings.limit}."
        )
    classes = None if dataset.labels is None else dataset.labels[held_out]
    x, validation = dataset.x[train[: settings.limit]], dataset.x[held_out]
    return Task(settings, dataset, x, validation, classes, architecture, config)


def network(settings: Settings, dataset: dj.Dataset) -> dj.Architecture:
    """Makes the network that was asked for, or the published one for such samples."""
    name, width = settings.architecture, dataset.x.shape[1]
    if name is not None:
        found = dj.load_architecture(name)
        if found.input_dim != width:
            raise UsageError(
                f"--architecture {name} takes {found.input_dim} values, but a sample of "
                f"{dataset.name} has {width}."
            )
        return dataclasses.replace(found, precision=settings.precision)
    shape: tuple[int, ...] = (width,)
    layers: list[Layer] = [
        dj.Dense(2000),
        dj.Dense(500),
        dj.Dense(500),
        dj.Dense(10, "sigmoid"),
    ]
    if settings.kind == "variational":
        layers = [dj.Dense(500), dj.Dense(10, "linear")]
    if settings.kind == "denoising":
        if dataset.image_shape is None:
            raise UsageError(
                f"--kind denoising takes images, and {dataset.name} is a table; give an "
                "--architecture without convolutions."
            )
        shape, layers = dataset.image_shape, []
        for features in (64, 32, 16):
            layers.append(dj.Conv2D(features, (3, 3), padding="same"))
            layers.append(dj.MaxPool2D((2, 2), "same"))
    return dj.Architecture(
        shape,
        tuple(layers),
        "sigmoid",
        input_scale=dataset.input_scale,
        variational=settings.kind == "variational",
        precision=settings.precision,
    )


def check_range(dataset: dj.Dataset, architecture: dj.Architecture) -> None:
    """Raises UsageError unless the network's input is in [0, 1]."""
    limits = np.array([[dataset.x.min(), dataset.x.max()]])
    low, high = np.asarray(scale_input(limits, architecture))[0].tolist()
    if low < 0 or high > 1 + 1e-6:
        raise UsageError(
            f"{dataset.name}: x must be in [0, 1], which is all that a sigmoid gives back, "
            f"got {low:.4g} to {high:.4g}; scale it."
        )


def split(dataset: dj.Dataset, *, in_order: bool) -> tuple[np.ndarray, np.ndarray]:
    """Finds the rows to train on, and the seventh to validate with."""
    n = len(dataset.x)
    if n < 7:
        raise UsageError(f"{dataset.name} must hold at least 7 samples, got {n}.")
    # The same shuffle for every --seed, so that seeds compare.
    order = np.arange(n) if in_order else np.random.default_rng(0).permutation(n)
    return order[: n - n // 7], order[n - n // 7 :]


def new_folder(task: Task, suffix: str = "") -> Path:
    """Makes the empty folder for the results; prints its name, and what is trained."""
    dataset = task.dataset
    default = f"runs/autoencoder-{task.settings.kind}-{dataset.name}{suffix}"
    folder = open_folder(task.settings.out, default, configuration(task))
    parts = f"{len(task.x):,} to train on, {len(task.validation):,} to validate with"
    print_head(dataset, parts, folder, task.architecture.precision)
    return folder


def trained(task: Task, folder: Path, stop: Stop) -> dict[str, Any]:
    """Trains, scores and writes; returns the content of results.json."""
    settings, config, dataset = task.settings, task.config, task.dataset
    known = {
        "kind": settings.kind,
        **facts(dataset),
        "seed": settings.seed,
        "sparsity": getattr(config.objective, "sparsity", None),
        "n_train": len(task.x),
        "n_validation": len(task.validation),
        "precision": task.architecture.precision,
    }
    pretrain_key, score_key = jax.random.split(jax.random.key(settings.seed))
    begun = time.monotonic()
    with bar_of(settings.kind, config.epochs, 0, "epoch") as bar:

        def on_epoch(_: PretrainState, row: PretrainHistory) -> bool:
            losses = f"loss {row.loss:.5g}, validation {row.validation:.5g}"
            bar.set_postfix_str(losses, refresh=False)
            bar.update()
            return stop.asked

        params, history = dj.pretrain_end_to_end(
            pretrain_key,
            task.x,
            architecture=task.architecture,
            config=config,
            validation=task.validation,
            state=start(task, pretrain_key, stop),
            on_epoch=on_epoch,
        )
    seconds = time.monotonic() - begun
    network = model.Model(params, task.architecture)
    losses = np.stack(history, axis=1).tolist()
    best_epoch = int(np.argmin(history.validation)) + 1
    views = validation_views(task, network, jax.random.fold_in(score_key, 0))
    results = {
        **known,
        "epochs": len(losses),
        "best_epoch": best_epoch,
        "stop_reason": stop_reason(config, len(losses), best_epoch),
        "training_loss": losses[best_epoch - 1][0],
        "validation_loss": losses[best_epoch - 1][1],
        **scores(task, views, jax.random.fold_in(score_key, 1)),
        "seconds": round(seconds, 1),
    }
    origin = {**model.data_metadata(dataset), "kind": settings.kind}
    model.save(
        folder / "model.safetensors",
        params,
        architecture=task.architecture,
        metadata={**origin, "seed": settings.seed},
    )
    with (folder / "history.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", "loss", "validation"])
        writer.writerows([epoch, *row] for epoch, row in enumerate(losses, start=1))
    write_json(folder / "results.json", results)
    figures = drawn(task, network, views, jax.random.fold_in(score_key, 2))
    columns = np.array(losses).T
    figures["curves.png"] = plots.loss_curves(
        columns[0], columns[1], best_epoch, title=f"{settings.kind} autoencoder"
    )
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=120)
    return results


def configuration(task: Task) -> dict[str, Any]:
    """Makes the content of config.json: the command, and all settings."""
    pretrain = dataclasses.asdict(task.config)
    pretrain["objective"]["name"] = type(task.config.objective).__name__
    return {
        "command": dataclasses.asdict(task.settings),
        "dataset": {"name": task.dataset.name, "sha256": task.dataset.sha256},
        "architecture": architecture_to_json(task.architecture),
        "pretrain": pretrain,
        "warm_up": WARM_UP if task.settings.kind == "sparse" else 0,
    }


def start(task: Task, key: jax.Array, stop: Stop) -> PretrainState:
    """Makes the start of training: parameters as drawn, but for two things.

    The last bias gives the mean image. From 0, all layers would first work together to
    make every image darker, which drives a sigmoid z to its flat ends, in about 20 steps
    and for good: the loss stays that of the mean image. And a sparse one begins without
    its penalty, which would do the same before z says anything.
    """

    network, config = task.architecture, task.config
    shared: dict[str, Any] = {"architecture": network, "n_samples": len(task.x)}
    state = init_pretraining(key, config=config, **shared)
    decoder = dict(state.params["decoder"])
    last = f"dense_{len(network.decoder_steps()) - 1}"
    if last in decoder and network.output_activation == "sigmoid":
        mean = scale_input(task.x, network).mean(axis=0).clip(0.01, 0.99)
        decoder[last] = {**decoder[last], "bias": jax.scipy.special.logit(mean)}
    state = state._replace(params={**state.params, "decoder": decoder})
    if task.settings.kind != "sparse":
        return state
    warm_up = dataclasses.replace(
        config, epochs=WARM_UP, objective=dj.Reconstruction(), patience=None
    )
    params, _ = dj.pretrain_end_to_end(
        key,
        task.x,
        architecture=network,
        config=warm_up,
        state=state,
        on_epoch=lambda *_: stop.asked,
    )
    return init_pretraining(key, config=config, params=params, **shared)


def stop_reason(config: dj.PretrainConfig, epochs: int, best_epoch: int) -> str:
    """Names the reason why training ended after so many epochs."""
    assert config.patience is not None  # held by Settings
    if epochs - best_epoch >= config.patience:
        return f"no lower validation loss in {config.patience} epochs"
    if epochs == config.epochs:
        return "all epochs done"
    return f"{CTRL_C} after epoch {epochs}"


def validation_views(task: Task, network: model.Model, key: jax.Array) -> Views:
    """Embeds, corrupts and reconstructs the validation samples."""
    clean = scale_input(task.validation, task.architecture)
    seen = corrupt(key, clean, task.config.augmentation)
    return Views(
        np.asarray(clean),
        np.asarray(seen),
        model.reconstruct(network, seen),
        model.transform(network, clean),
    )


def scores(task: Task, views: Views, key: jax.Array) -> dict[str, Any]:
    """Scores the reconstructions of the validation samples, and their z."""
    out: dict[str, Any] = {
        "validation_mse": float(((views.x_hat - views.clean) ** 2).mean())
    }
    if task.settings.kind == "denoising":
        out["noise_mse"] = float(((views.seen - views.clean) ** 2).mean())
    if task.settings.kind in ("simple", "sparse"):
        size = np.abs(views.z)
        out["active_fraction"] = float((size > size.max() / 10).mean())
        out["above_hundredth"] = float((size > 0.01).mean())
        out["mean_z"] = float(size.mean())
    n_classes = task.dataset.n_classes or 0
    if task.classes is not None and n_classes <= len(views.z):
        labels = np.asarray(dj.k_means(key, views.z, n_classes).labels)
        out["k_means"] = {
            "n_clusters": n_classes,
            "acc": dj.clustering_accuracy(task.classes, labels),
            "nmi": dj.normalized_mutual_info(task.classes, labels),
        }
    return out


def drawn(
    task: Task, network: model.Model, views: Views, key: jax.Array
) -> dict[str, "Figure"]:
    """Draws what can be drawn for these data, by the name of the file."""
    kind, shape = task.settings.kind, task.dataset.image_shape
    figures = {}
    if task.classes is not None:
        title = "z of the validation samples, by class"
        figures["latent.png"] = plots.latent_scatter(views.z, task.classes, title=title)
    if shape is not None and shape[2] in (1, 3):
        figures["reconstructions.png"] = plots.reconstructions(
            views.clean,
            views.seen if kind == "denoising" else None,
            views.x_hat,
            shape,
            value_range=(0, 1),
        )
        if kind == "variational":
            new = dj.sample_vae(
                key, network.params, SAMPLES, architecture=network.architecture
            )
            figures["samples.png"] = plots.samples_grid(new, shape, value_range=(0, 1))
    return figures
