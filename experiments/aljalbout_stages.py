"""The stages of Aljalbout et al. (2018): pretrain, cluster, metrics, visualize.

Each works on the files that the stages before it left in one folder; `aljalbout.py` is
their command line.
"""

import hashlib
import math
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from dec_jax import (
    Architecture,
    Dataset,
    KMeansResult,
    init_state,
    model,
    pretrain_end_to_end,
)
from dec_jax.networks.autoencoder import Params
from dec_jax.plots.embedding import PrincipalAxes, latent_scatter, principal_axes
from dec_jax.recipes.dense import DataShape, Recipe, make_recipe
from dec_jax.runs import folder as run_folder
from dec_jax.runs import provenance
from dec_jax.runs import summary as report
from dec_jax.runs.errors import UsageError
from dec_jax.runs.progress import Stop, Stopped, bar_of, best_k_means
from dec_jax.training.cluster import train
from dec_jax.training.minibatches import steps_per_epoch
from experiments.aljalbout import LOSSES, PROGRAM

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
    """What all stages share.

    Attributes:
      dataset: samples, and the classes that score them.
      architecture: the network.
      network: its name.
      batch_size: samples in a step, at least 1.
      folder: where all stages keep their files.
      seed: of weights, shuffles and k-means.
      learning_rate: in place of the recipe's, or None.
      command: what names this run on a command line.
    """

    dataset: Dataset
    architecture: Architecture
    network: str
    batch_size: int
    folder: Path
    seed: int = 0
    learning_rate: float | None = None
    command: tuple[str, ...] = tuple(PROGRAM.split())

    @property
    def classes(self) -> np.ndarray:
        """The class of each sample: scores and colors, and how many clusters."""
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

    def key(self, purpose: str) -> jax.Array:
        """The random key of "pixels", "pretrain", "z" or "train", as in other runs."""
        keys = jax.random.split(jax.random.key(self.seed), 4)
        return keys[("pixels", "pretrain", "z", "train").index(purpose)]

    def recipe(self, loss: str) -> Recipe:
        """The recipe of a loss, with this run's network."""
        shape = DataShape(
            len(self.dataset.x),
            self.dataset.x.shape[1],
            self.dataset.image_shape,
            input_scale=self.dataset.input_scale,
        )
        return make_recipe(f"{loss}-conv", shape, self.architecture)

    def settings(self, recipe: Any, **changes: Any) -> Any:
        """A recipe's settings of a phase, with this run's batches and learning rate."""
        optimizer = recipe.optimizer
        if self.learning_rate is not None:
            optimizer = replace(optimizer, learning_rate=self.learning_rate)
        changes = {"batch_size": self.batch_size, "optimizer": optimizer, **changes}
        return replace(recipe, **changes)

    def file(self, space: str) -> Path:
        """The model of a stage."""
        return self.folder / f"{space}.safetensors"

    def load(self, space: str, *options: str) -> model.Model:
        """The model of a stage, which `options` make."""
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


class Epochs:
    """The epochs of a training: bar and file after each, and the end by Ctrl-C."""

    def __init__(self, run: Run, space: str, epochs: int, stop: Stop, **origin: Any):
        self.run, self.space, self.epochs, self.stop = run, space, epochs, stop
        self.metadata = {
            **model.data_metadata(run.dataset),
            "network": run.network,
            "seed": run.seed,
            **origin,
        }
        self.losses: list[float] = []
        self.bar = bar_of(space, epochs, 0, "epoch")

    def finished(self, params: Params, loss: float, more: str = "") -> bool:
        """Saves the network after an epoch; True if that was to be the last."""
        self.losses.append(float(loss))
        if not math.isfinite(loss):
            raise ValueError(
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
        self.bar.set_postfix_str(f"loss {loss:.5f}{more}", refresh=False)
        self.bar.update()
        return self.stop.asked

    def end(self) -> Path:
        """Writes z of all samples; raises Stopped if there were to be more epochs."""
        self.bar.close()
        path, done = self.run.file(self.space), len(self.losses)
        z = model.transform(model.load(path), self.run.dataset)
        np.save(self.run.folder / f"z-{self.space}.npy", z)
        if done < self.epochs:
            raise Stopped(f"Stopped; {path} holds epoch {done} of {self.epochs}.")
        print(f"{path}: {done} epochs, loss {self.losses[-1]:.5f}")
        return path


# The stages.


def pretrain(run: Run, epochs: int, stop: Stop) -> Path:
    """Trains an autoencoder and saves it after each epoch; returns its file."""
    config = run.settings(run.recipe("kld").pretrain, epochs=epochs)
    training = Epochs(run, AUTOENCODER, epochs, stop)
    pretrain_end_to_end(
        run.key("pretrain"),
        run.dataset.x,
        architecture=run.architecture,
        config=config,
        on_epoch=lambda state, row: training.finished(state.params, float(row.loss)),
    )
    return training.end()


def cluster(run: Run, epochs: int, loss: str, stop: Stop) -> Path:
    """Trains the saved autoencoder on with a clustering loss; returns the new file.

    Centroids start as those of k-means on z and move in every step. With "kld", p is
    refreshed before each epoch.
    """
    autoencoder = run.load(AUTOENCODER, "--pretrain", "N")
    recipe, x = run.recipe(loss), run.dataset.x
    config = run.settings(
        recipe.train,
        update_interval=steps_per_epoch(len(x), run.batch_size),
        max_intervals=epochs,
        # As many epochs as were asked for, even if no label changes any more.
        tolerance=0,
    )
    z = model.transform(autoencoder, run.dataset)
    start = clusters_of(run, AUTOENCODER, z, stop)
    state = init_state(
        run.key("train"),
        autoencoder.params,
        start.centroids,
        start.labels,
        objective=recipe.objective,
        config=config,
    )
    space = f"clustered-{loss}"
    origin = {"recipe": f"{loss}-conv", "autoencoder": fingerprint(run)}
    training = Epochs(run, space, epochs, stop, **origin)
    train(
        state,
        x,
        architecture=run.architecture,
        objective=recipe.objective,
        config=config,
        on_interval=lambda state, row: training.finished(
            state.params,
            float(row.loss[0]),
            f", {float(row.label_change[0]):.2%} of labels changed",
        ),
    )
    return training.end()


def metrics(run: Run, stop: Stop) -> list[dict[str, Any]]:
    """Scores k-means in each space, and q of each clustered network there is.

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
        labels["k-means"] = np.asarray(clusters_of(run, space, x, stop).labels)
        for kind, found in sorted(labels.items(), reverse=True):
            row: dict[str, Any] = {"space": space, "labels": kind}
            row |= report.scores(run.classes, found, geometric=True)
            row["published"] = known.get(space) if kind == "k-means" else None
            rows.append(row)
    content = {
        "dataset": run.dataset.name,
        "dataset_sha256": run.dataset.sha256,
        "n_samples": len(run.dataset.x),
        "network": run.network,
        "seed": run.seed,
        "epochs": {
            space: len(it.metadata.get("loss", ())) for space, it in models.items()
        },
        "rows": rows,
        "device": provenance.device(),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }
    run_folder.write_json(run.folder / "metrics.json", content)
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


def clusters_of(run: Run, space: str, x: np.ndarray, stop: Stop) -> KMeansResult:
    """k-means on a space, the best of the recipe's restarts."""
    return best_k_means(
        run.key("pixels" if space == "pixels" else "z"),
        x,
        run.n_clusters,
        n_init=run.recipe("kld").n_init,
        title=f"k-means on {space}",
        stop=stop,
    )


def fingerprint(run: Run) -> str:
    """SHA-256 of the autoencoder's file: what a clustered network grew from."""
    return hashlib.sha256(run.file(AUTOENCODER).read_bytes()).hexdigest()


def saved_models(run: Run) -> dict[str, model.Model]:
    """The autoencoder, and the clustered networks that there are."""
    models = {AUTOENCODER: run.load(AUTOENCODER, "--pretrain", "N")}
    for loss in LOSSES:
        space, options = f"clustered-{loss}", ("--cluster", "N", "--loss", loss)
        try:
            models[space] = run.load(space, *options)
        except FileNotFoundError as error:
            print(error)
            continue
        if models[space].metadata.get("autoencoder") != fingerprint(run):
            print(f"note: {run.file(space)} grew from an earlier autoencoder.")
    return models


def table(run: Run, rows: list[dict[str, Any]]) -> str:
    """The rows of `metrics`, the published numbers beside them."""
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
    """`principal_axes` of many columns, without their covariance matrix."""
    from scipy.sparse.linalg import svds

    mean = x.mean(axis=0, dtype=np.float64)
    centered = x - mean
    _, sizes, rows = svds(centered, k=2, v0=np.ones(min(x.shape)))
    sizes, rows = sizes[::-1], rows[::-1]
    largest = np.abs(rows).argmax(axis=1)
    rows = rows * np.sign(rows[np.arange(2), largest])[:, None]
    return PrincipalAxes(mean, rows, sizes**2 / (centered**2).sum())


def tsne_scatter(x: np.ndarray, classes: np.ndarray, title: str) -> "Figure":
    """Samples in the plane of t-SNE."""
    from sklearn.manifold import TSNE

    # 30 by default; it must be below the number of samples.
    perplexity = min(30, (len(x) - 1) / 3)
    tsne = TSNE(2, init="pca", random_state=0, perplexity=perplexity)
    as_it_is = PrincipalAxes(np.zeros(2), np.eye(2), np.zeros(2))
    plane = tsne.fit_transform(x.astype(np.float32))
    figure = latent_scatter(plane, classes, title=title, axes=as_it_is)
    figure.axes[0].set(xlabel="t-SNE, first axis", ylabel="t-SNE, second axis")
    return figure
