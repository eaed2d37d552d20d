"""The stages of Aljalbout et al. (2018): pretrain, cluster, metrics, visualize.

Each works on the files that the stages before it left in one folder; `aljalbout.py` is
their command line.
"""

import hashlib
import math
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dec_jax import Architecture, Dataset, model
from dec_jax.evaluation.stage_scores import class_scores
from dec_jax.plots import PrincipalAxes, latent_scatter, principal_axes
from dec_jax.recipes.recipe import Recipe
from dec_jax.runs.callbacks import Callbacks, Step, Stopped
from dec_jax.runs.choices import choose_recipe
from dec_jax.runs.errors import UsageError
from dec_jax.runs.experiment import facts
from dec_jax.runs.fit import place
from dec_jax.runs.json_files import write_json
from dec_jax.runs.phases import Phases
from dec_jax.runs.run import BarsOnly
from dec_jax.runs.signals import Stop
from dec_jax.training.minibatches import steps_per_epoch
from dec_jax.training.pretrain import PretrainConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PROGRAM = "python -m experiments.aljalbout"
LOSSES = ("kld", "kmeans")
AUTOENCODER = "autoencoder"
SPACES = {
    "pixels": "Pixels",
    AUTOENCODER: "Autoencoder",
    "clustered-kld": "Autoencoder and KL divergence",
    "clustered-kmeans": "Autoencoder and k-means",
}
# ACC and NMI of k-means in these spaces.
PUBLISHED = {
    "mnist": ((0.542, 0.480), (0.760, 0.667), (0.859, 0.825), (0.781, 0.796)),
    "coil20": ((0.689, 0.793), (0.739, 0.828), (0.762, 0.848), (0.745, 0.846)),
}
PUBLISHED_FOR = {"mnist": "network 1 and 60,000 samples", "coil20": "network 0"}
MOST_DRAWN = 5000  # samples in a figure, as published
MOST_COLUMNS = 1000  # of samples whose covariance matrix is small enough


@dataclass(frozen=True)
class Run:
    """The settings that all stages share.

    Attributes:
      dataset: samples, and the classes that score them.
      architecture: the network.
      network: its name.
      batch_size: samples in a step, at least 1.
      folder: for the files of all stages.
      stop: asked after each step.
      seed: of weights, shuffles and k-means.
      learning_rate: in place of the recipe's, or None.
      command: the options that name this run on a command line.
    """

    dataset: Dataset
    architecture: Architecture
    network: str
    batch_size: int
    folder: Path
    stop: Stop
    seed: int = 0
    learning_rate: float | None = None
    command: tuple[str, ...] = tuple(PROGRAM.split())

    @property
    def classes(self) -> np.ndarray:
        """The class of each sample: for scores, colors, and the number of clusters."""
        if self.dataset.labels is None:
            raise UsageError(
                f"{self.dataset.name} has no labels, which count clusters and score them "
                "here; python -m experiments.mnist_dec does without."
            )
        return self.dataset.labels

    @property
    def n_clusters(self) -> int:
        """Number of clusters k: that of the classes."""
        return len(np.unique(self.classes))

    def recipe(self, loss: str, epochs: int) -> Recipe:
        """The recipe of a loss, with this run's network, batches and learning rate."""
        recipe = choose_recipe(
            f"{loss}-conv", self.dataset, self.n_clusters, network=self.architecture
        )
        assert isinstance(recipe.pretrain, PretrainConfig)
        train = replace(
            self._settings(recipe.train),
            # p is refreshed before each epoch.
            update_interval=steps_per_epoch(len(self.dataset.x), self.batch_size),
            max_intervals=epochs,
            # As many epochs as were asked for, even if no label changes any more.
            tolerance=0,
        )
        pretrain = replace(self._settings(recipe.pretrain), epochs=epochs)
        network = self.architecture
        return replace(recipe, architecture=network, pretrain=pretrain, train=train)

    def _settings(self, config: Any) -> Any:
        optimizer = config.optimizer
        if self.learning_rate is not None:
            optimizer = replace(optimizer, learning_rate=self.learning_rate)
        return replace(config, batch_size=self.batch_size, optimizer=optimizer)

    def phases(
        self, callbacks: Callbacks, loss: str = "kld", epochs: int = 1
    ) -> Phases:
        """The phases of `fit` with such a recipe."""
        x, recipe = place(self.dataset.x, None), self.recipe(loss, epochs)
        return Phases(self.dataset, x, recipe, self.n_clusters, self.seed, callbacks)

    def file(self, space: str) -> Path:
        """The model of a stage."""
        return self.folder / f"{space}.safetensors"

    def load(self, space: str, *options: str) -> model.Model:
        """Loads the model of a stage, which `options` make."""
        path = self.file(space)
        if not path.is_file():
            command = shlex.join((*self.command, *options))
            raise FileNotFoundError(f"{path} is missing; make it by: {command}")
        found = model.load(path)
        same_data = found.metadata.get("dataset_sha256") == self.dataset.sha256
        if found.architecture != self.architecture or not same_data:
            raise UsageError(
                f"{path} holds another network than {self.network}, or is of other data "
                f"than {self.dataset.name}; change -a, -d or --out."
            )
        return found


class Epochs(BarsOnly):
    """Saves the network after each epoch, and z of all samples at the end."""

    def __init__(
        self, run: Run, space: str, loss: str, epochs: int, **origin: Any
    ) -> None:
        super().__init__(run.stop)
        self.run, self.space, self.epochs = run, space, epochs
        self.phases = run.phases(self, loss, epochs)
        self.metadata = {
            **model.data_metadata(run.dataset),
            "network": run.network,
            "seed": run.seed,
            **origin,
        }
        self.losses: list[float] = []

    def on_step(self, step: Step) -> bool:
        """Saves the network after an epoch of training."""
        if step.name:
            record = self.phases.record
            training = record.network_losses, record.history["loss"]
            self.save(step.state.state.params, training[step.name == "train"][-1])
        return super().on_step(step)

    def save(self, params: Any, loss: float) -> None:
        """Saves the network, unless its loss is no longer finite."""
        self.losses.append(loss)
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"The loss is {loss} after epoch {len(self.losses)} of {self.space}; "
                "give a lower --learning-rate."
            )
        # Until the end there is no z of this network, nor one of an earlier.
        (self.run.folder / f"z-{self.space}.npy").unlink(missing_ok=True)
        model.save(
            self.run.file(self.space),
            params,
            architecture=self.run.architecture,
            metadata={**self.metadata, "loss": self.losses},
        )

    def train(self, phase: Callable[[], object]) -> Path:
        """Runs a phase of training and writes z of all samples; returns the model."""
        try:
            phase()
        except Stopped:
            done = f"holds epoch {len(self.losses)} of {self.epochs}."
            raise KeyboardInterrupt(f"Stopped; {self._write_z()} {done}") from None
        path = self._write_z()
        print(f"{path}: {len(self.losses)} epochs, loss {self.losses[-1]:.5f}")
        return path

    def _write_z(self) -> Path:
        path = self.run.file(self.space)
        z = model.transform(model.load(path), self.run.dataset)
        np.save(self.run.folder / f"z-{self.space}.npy", z)
        return path


def pretrain(run: Run, epochs: int) -> Path:
    """Trains an autoencoder and saves it after each epoch; returns its file."""
    training = Epochs(run, AUTOENCODER, "kld", epochs)
    return training.train(training.phases.pretrain)


def cluster(run: Run, epochs: int, loss: str) -> Path:
    """Trains the saved autoencoder on with a clustering loss; returns the new file.

    Centroids start as those of k-means on z and are trained in every step.
    """
    autoencoder = run.load(AUTOENCODER, "--pretrain", "N")
    origin = {"recipe": f"{loss}-conv", "autoencoder": fingerprint(run)}
    training = Epochs(run, f"clustered-{loss}", loss, epochs, **origin)
    start = training.phases.start(autoencoder.params)
    return training.train(lambda: training.phases.cluster(start))


def metrics(run: Run) -> list[dict[str, Any]]:
    """Scores k-means in each space, and q of each clustered network that there is.

    Prints the rows as a table, and writes them to metrics.json: `space`, `labels`
    ("k-means" or "argmax q"), `acc`, `nmi`, `ari`, `nmi_geometric` (as published) and
    `published` (ACC and NMI, or None).
    """
    models = saved_models(run)
    known = dict(zip(SPACES, PUBLISHED.get(run.dataset.name, ()), strict=False))
    rows = []
    for space in ("pixels", *models):
        x, labels = run.dataset.x, {}
        if space in models:
            x = model.transform(models[space], run.dataset)
            if models[space].n_clusters is not None:
                labels["argmax q"] = model.predict(models[space], run.dataset)
        labels["k-means"] = k_means_labels(run, space, x)
        for kind, found in sorted(labels.items(), reverse=True):
            row: dict[str, Any] = {"space": space, "labels": kind}
            row |= class_scores(run.classes, found, geometric=True)
            row["published"] = known.get(space) if kind == "k-means" else None
            rows.append(row)
    content = {
        **facts(run.dataset),
        "network": run.network,
        "seed": run.seed,
        "epochs": {
            space: len(it.metadata.get("loss", ())) for space, it in models.items()
        },
        "rows": rows,
    }
    write_json(run.folder / "metrics.json", content)
    print(table(run, rows))
    return rows


def visualize(run: Run, *, tsne: bool = False) -> list[Path]:
    """Draws pixels and each z, colored by class: <space>.png, by t-SNE <space>-tsne.png."""
    models = saved_models(run)
    n = len(run.dataset.x)
    drawn = np.sort(np.random.default_rng(0).permutation(n)[:MOST_DRAWN])
    classes, paths = run.classes[drawn], []
    for space in ("pixels", *models):
        x, centroids = run.dataset.x[drawn], None
        if space in models:
            x = model.transform(models[space], x)
            centroids = models[space].params.get("centroids")
        title = SPACES[space]
        if len(drawn) < n:
            title += f"\n{len(drawn):,} of {n:,} samples"
        if tsne:
            figure = tsne_scatter(x, classes, title)
        else:
            axes = wide_axes(x) if x.shape[1] > MOST_COLUMNS else principal_axes(x)
            settings: dict[str, Any] = {"centroids": centroids, "axes": axes}
            figure = latent_scatter(x, classes, title=title, **settings)
        paths.append(run.folder / f"{space}{'-tsne' * tsne}.png")
        figure.savefig(paths[-1], dpi=120)
        print(f"figure: {paths[-1]}")
    return paths


def k_means_labels(run: Run, space: str, x: np.ndarray) -> np.ndarray:
    """Clusters a space by k-means: the best of the recipe's restarts."""
    phases = run.phases(BarsOnly(run.stop))
    key = phases.baseline_key if space == "pixels" else phases.z_key
    title, restarts = f"k-means on {space}", phases.recipe.n_init
    return np.asarray(phases.k_means(key, x, title, n_init=restarts).labels)


def fingerprint(run: Run) -> str:
    """SHA-256 of the autoencoder's file, from which a clustered network started."""
    return hashlib.sha256(run.file(AUTOENCODER).read_bytes()).hexdigest()


def saved_models(run: Run) -> dict[str, model.Model]:
    """Loads the autoencoder, and the clustered networks that there are."""
    models = {AUTOENCODER: run.load(AUTOENCODER, "--pretrain", "N")}
    for loss in LOSSES:
        space, options = f"clustered-{loss}", ("--cluster", "N", "--loss", loss)
        try:
            models[space] = run.load(space, *options)
        except FileNotFoundError as error:
            print(error)
            continue
        if models[space].metadata.get("autoencoder") != fingerprint(run):
            print(f"note: {run.file(space)} started from an earlier autoencoder.")
    return models


def table(run: Run, rows: list[dict[str, Any]]) -> str:
    """Tables the rows of `metrics`, the published numbers next to them."""
    known = PUBLISHED_FOR.get(run.dataset.name)
    head = f"{'space':<18}{'labels':<10}    ACC    NMI    ARI"
    lines = [head + "   published: ACC    NMI" * (known is not None)]
    for row in rows:
        line = f"{row['space']:<18}{row['labels']:<10}"
        line += "".join(f"{row[name]:7.3f}" for name in ("acc", "nmi", "ari"))
        line += " " * 11 * (row["published"] is not None)
        lines.append(line + "".join(f"{it:7.3f}" for it in row["published"] or ()))
    if known is not None:
        lines.append(
            f"published for {known}, with the geometric mean in NMI: compare "
            "nmi_geometric of metrics.json"
        )
    return "\n".join(lines)


def wide_axes(x: np.ndarray) -> PrincipalAxes:
    """Finds the axes of `principal_axes` for many columns, without a covariance matrix."""
    from scipy.sparse.linalg import svds

    mean = x.mean(axis=0, dtype=np.float64)
    centered = x - mean
    _, sizes, rows = svds(centered, k=2, v0=np.ones(min(x.shape)))
    sizes, rows = sizes[::-1], rows[::-1]
    largest = np.abs(rows).argmax(axis=1)
    rows = rows * np.sign(rows[np.arange(2), largest])[:, None]
    return PrincipalAxes(mean, rows, sizes**2 / (centered**2).sum())


def tsne_scatter(x: np.ndarray, classes: np.ndarray, title: str) -> "Figure":
    """Draws samples in the plane of t-SNE."""
    from sklearn.manifold import TSNE

    # 30 by default; it must be below the number of samples.
    perplexity = min(30, (len(x) - 1) / 3)
    tsne = TSNE(2, init="pca", random_state=0, perplexity=perplexity)
    unchanged = PrincipalAxes(np.zeros(2), np.eye(2), np.zeros(2))
    plane = tsne.fit_transform(x.astype(np.float32))
    figure = latent_scatter(plane, classes, title=title, axes=unchanged)
    figure.axes[0].set(xlabel="t-SNE, first axis", ylabel="t-SNE, second axis")
    return figure
