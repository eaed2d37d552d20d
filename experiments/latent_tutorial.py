"""Films an embedding while DEC trains it: a tutorial, one frame an epoch.

784-256-256-10 with relu between the layers, Adam 1e-3 throughout: 40 epochs of the
autoencoder in batches of 100, k-means on z, then 20 epochs of DEC (Xie, Girshick and
Farhadi, ICML 2016), each of which begins with a new p from all samples. The data are
MNIST's 60,000 training digits; no number is published for them.

    python -m experiments.latent_tutorial
    python -m experiments.latent_tutorial --dataset digits --format mp4

Prints ARI after each epoch, and draws z on the first two principal axes of the last
epoch, in the colors of the classes, which training never sees, or of the final clusters
where there are no classes.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.animation import FFMpegWriter

import dec_jax as dj
from dec_jax import model, plots
from dec_jax.recipes.recipe import Recipe
from dec_jax.runs.callbacks import Stage, Step
from dec_jax.runs.choices import number_of_clusters
from dec_jax.runs.errors import UsageError, check_least, exit_status, mistakes_of_use
from dec_jax.runs.experiment import (
    facts,
    open_folder,
    print_head,
    stoppable,
    take_first,
)
from dec_jax.runs.fit import fit
from dec_jax.runs.json_files import write_json
from dec_jax.runs.run import BarsOnly
from dec_jax.runs.signals import Stop
from dec_jax.training.minibatches import steps_per_epoch

PROGRAM = "python -m experiments.latent_tutorial"
# The training part of these comes first, and is all that is used.
TRAINING_PART = {"mnist": 60_000, "fashion_mnist": 60_000}
SECONDS_PER_FRAME = 0.5


def parser() -> argparse.ArgumentParser:
    """Makes the parser of the options."""
    out = argparse.ArgumentParser(
        prog=PROGRAM, description="Films an embedding while DEC trains it."
    )
    add = out.add_argument
    what = "data set, file or folder of images (default mnist)"
    add("--dataset", metavar="NAME", default="mnist", help=what)
    add("--data-dir", metavar="DIR", help="of data sets (default $DEC_JAX_DATA)")
    what = "take the first N samples (default: the training part of MNIST, or all)"
    add("--limit", metavar="N", type=int, help=what)
    what = "number of clusters (default: of classes, where there are labels)"
    add("-k", "--n-clusters", metavar="K", type=int, help=what)
    what = "of the autoencoder (default 40)"
    add("--epochs", metavar="N", type=int, default=40, help=what)
    what = "of DEC (default 20)"
    add("--cluster-epochs", metavar="N", type=int, default=20, help=what)
    what = "samples in a step (default 100)"
    add("--batch-size", metavar="N", type=int, default=100, help=what)
    what = "of weights, k-means and shuffles (default 0)"
    add("--seed", metavar="S", type=int, default=0, help=what)
    what = "of the film (default gif; mp4 needs the program ffmpeg)"
    add("--format", choices=("gif", "mp4"), default="gif", help=what)
    add("--out", metavar="DIR", help="folder (default runs/<data set>-latent)")
    return out


def main(arguments: list[str]) -> int:
    """Films; returns the exit status."""
    settings = vars(parser().parse_args(arguments))
    return exit_status(lambda: run(settings), "Stopped before there was a film.")


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """Pretrains, clusters and films; returns the content of results.json."""
    whole_numbers = ("limit", "n_clusters", "epochs", "cluster_epochs", "batch_size")
    check_least(settings, **dict.fromkeys(whole_numbers, 1))
    if settings["format"] == "mp4" and not FFMpegWriter.isAvailable():
        raise UsageError("--format mp4 needs the program ffmpeg; install it.")
    seed, epochs = settings["seed"], settings["cluster_epochs"]
    with mistakes_of_use("n_clusters", "data_dir"):
        dataset = load(settings)
        k = number_of_clusters(settings["n_clusters"], dataset)
    known = {"recipe": "latent-tutorial", **facts(dataset), "n_clusters": k}
    default = f"runs/{dataset.name}-latent"
    folder = open_folder(settings["out"], default, {"command": settings})
    print_head(dataset, f"{k} clusters", folder)

    recipe = tutorial_recipe(
        dataset, settings["epochs"], epochs, settings["batch_size"]
    )
    with stoppable() as stop:
        film = Film(dataset, recipe, stop)
        result = fit(
            dataset, k, recipe=recipe, seed=seed, baseline=False, callbacks=film
        )
    # How far clusters are apart in the final z, whatever DEC made of them.
    after = dj.k_means(jax.random.key(seed), result.z, k)
    results = {
        **known,
        "seed": seed,
        "pretraining_loss": result.pretraining_loss,
        "loss": result.history.loss.tolist(),
        "label_change": [film.label_change(i) for i in range(1, len(film.z))],
        "ari": film.ari,
        "k_means_ari_before": film.score(film.labels[0]),
        "k_means_ari_after": film.score(after.labels),
        "seconds": sum(result.seconds.values()),
    }
    write_json(folder / "results.json", results)
    model.save(
        folder / "model.safetensors",
        result.model.params,
        architecture=result.model.architecture,
        metadata={**result.model.metadata, "seed": seed},
    )
    if film.ari:
        print(
            f"ARI of k-means on z {results['k_means_ari_before']:.3f} before and "
            f"{results['k_means_ari_after']:.3f} after, of DEC {film.ari[-1]:.3f}"
        )
    print(f"film: {draw(film, folder, settings['format'])}")
    return results


def load(settings: dict[str, Any]) -> dj.Dataset:
    """Loads the samples to be used."""
    dataset = dj.load_dataset(settings["dataset"], settings["data_dir"])
    part = TRAINING_PART.get(settings["dataset"])
    return take_first(dataset, settings["limit"] or part)


def tutorial_recipe(
    dataset: dj.Dataset, epochs: int, cluster_epochs: int, batch_size: int
) -> Recipe:
    """Makes the settings: a small network, Adam in both phases, p once an epoch."""
    adam = dj.Optimizer("adam", 1e-3)
    return Recipe(
        source="this tutorial, after Xie, Girshick and Farhadi (2016)",
        expected="no number is published",
        architecture=dj.dense_architecture(
            dataset.x.shape[1], hidden=(256, 256), input_scale=dataset.input_scale
        ),
        pretrain=dj.PretrainConfig(
            epochs=epochs, batch_size=batch_size, optimizer=adam
        ),
        n_init=20,
        objective=dj.DEC(),
        train=dj.TrainConfig(
            update_interval=steps_per_epoch(len(dataset.x), batch_size),
            max_intervals=cluster_epochs,
            batch_size=batch_size,
            # All epochs, even if no label changes any more.
            tolerance=0,
            optimizer=adam,
        ),
    )


class Film(BarsOnly):
    """Keeps z and the clusters after pretraining, and after each epoch of DEC.

    Attributes:
      z: [n, d] in each frame.
      labels: [n] the cluster of each sample in each frame.
      ari: of the clusters in each frame; empty without classes.
    """

    def __init__(self, dataset: dj.Dataset, recipe: Recipe, stop: Stop) -> None:
        super().__init__(stop)
        self.dataset, self.recipe = dataset, recipe
        self.z: list[np.ndarray] = []
        self.labels: list[np.ndarray] = []
        self.ari: list[float] = []

    def on_pretrained(self, params: Any) -> None:
        """Embeds the samples for the first frame."""
        self.z.append(self.embed(params))

    def on_stage(self, stage: Stage) -> None:
        """Takes the clusters of the first frame: those of k-means."""
        if stage.name == "k-means on z":
            self.add(stage.labels)
            print(self.title(0))

    def on_step(self, step: Step) -> bool:
        """Takes a frame after each epoch of DEC."""
        if step.name == "train" and self.bar is not None:
            params = step.state.state.params
            self.z.append(self.embed(params))
            q = dj.soft_assignment(jnp.asarray(self.z[-1]), params["centroids"])
            self.add(dj.hard_assignment(q))
            frame = len(self.z) - 1
            change = f"{self.label_change(frame):.2%} of clusters changed"
            self.bar.write(f"{self.title(frame)}, {change}")
        return super().on_step(step)

    def embed(self, params: Any) -> np.ndarray:
        """Embeds all samples."""
        network = model.Model(params, self.recipe.architecture)
        return model.transform(network, self.dataset)

    def add(self, labels: Any) -> None:
        """Adds the clusters of a frame."""
        self.labels.append(np.asarray(labels))
        ari = self.score(labels)
        self.ari += [] if ari is None else [ari]

    def score(self, labels: Any) -> float | None:
        """ARI of a labeling, or None without classes."""
        classes = self.dataset.labels
        if classes is None:
            return None
        return dj.adjusted_rand_index(classes, np.asarray(labels))

    def title(self, frame: int) -> str:
        """Names a frame."""
        of = self.recipe.train.max_intervals
        name = f"Epoch {frame} of {of}" if frame else "After pretraining"
        return f"{name}, ARI {self.ari[frame]:.3f}" if self.ari else name

    def label_change(self, frame: int) -> float:
        """Share of the samples whose cluster changed in an epoch."""
        return float((self.labels[frame] != self.labels[frame - 1]).mean())


def draw(film: Film, folder: Path, suffix: str) -> Path:
    """Writes every frame as frames/epoch-NNN.png, and all of them as one film."""
    titles = [film.title(frame) for frame in range(len(film.z))]
    classes = film.dataset.labels
    colors = film.labels[-1] if classes is None else classes
    figures = plots.latent_frames(film.z, colors, axes_from="last", titles=titles)
    (folder / "frames").mkdir()
    for frame, figure in enumerate(figures):
        figure.savefig(folder / "frames" / f"epoch-{frame:03}.png", dpi=100)
    path = folder / f"latent.{suffix}"
    plots.save_animation(path, figures, seconds_per_frame=SECONDS_PER_FRAME)
    return path


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
