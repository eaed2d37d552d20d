"""What DEC does to an embedding, as a film: a tutorial, one frame an epoch.

784-256-256-10 with relu between the layers, Adam 1e-3 throughout: 40 epochs of the
autoencoder in batches of 100, k-means on z, then 20 epochs of DEC (Xie, Girshick and
Farhadi, ICML 2016), each of which begins with a new p from all samples. The data are
MNIST's 60,000 training digits; no number is published for them.

    python -m experiments.latent_tutorial
    python -m experiments.latent_tutorial --dataset digits --format mp4

Prints ARI after each epoch, and draws z on the first two principal axes of the last
epoch, in the colors of the classes, which training never sees, or of the final clusters
where there are none.
"""

import argparse
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dec_jax.runs.compile_cache import keep_programs
from dec_jax.runs.errors import UsageError, check_least, exit_status

if TYPE_CHECKING:
    import jax
    import numpy as np

    from dec_jax.clustering.kmeans import KMeansResult
    from dec_jax.data.dataset import Dataset
    from dec_jax.networks.architecture import Architecture
    from dec_jax.networks.autoencoder import Params
    from dec_jax.runs.progress import Stop
    from dec_jax.training.pretrain import PretrainHistory, PretrainState
    from dec_jax.training.state import History, TrainResult, TrainState

PROGRAM = "python -m experiments.latent_tutorial"
# The training part of these comes first, and is all that is used.
TRAINING_PART = {"mnist": 60_000, "fashion_mnist": 60_000}
LEARNING_RATE = 1e-3
SECONDS_PER_FRAME = 0.5


def parser() -> argparse.ArgumentParser:
    """The options."""
    out = argparse.ArgumentParser(
        prog=PROGRAM, description="Films an embedding while DEC moves it."
    )
    add = out.add_argument
    what = "data set, file or folder of images (default mnist)"
    add("--dataset", metavar="NAME", default="mnist", help=what)
    add("--data-dir", metavar="DIR", help="of data sets (default $DEC_JAX_DATA)")
    what = "take the first N samples (default: the training part of MNIST, or all)"
    add("--limit", metavar="N", type=int, help=what)
    what = "number of clusters (default: of classes, where there are labels)"
    add("--n-clusters", metavar="K", type=int, help=what)
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
    """Films; returns the exit status: 0, 2 for a mistake, 130 for Ctrl-C."""
    settings = vars(parser().parse_args(arguments))
    return exit_status(lambda: run(settings), "Stopped before there was a film.")


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """Pretrains, clusters and films; returns what results.json holds."""
    whole_numbers = ("limit", "n_clusters", "epochs", "cluster_epochs", "batch_size")
    check_least(settings, **dict.fromkeys(whole_numbers, 1))
    # Here and below only now, because they load jax.
    import jax
    import jax.numpy as jnp

    from dec_jax import model
    from dec_jax.clustering.kmeans import k_means
    from dec_jax.networks.architecture import dense_architecture
    from dec_jax.networks.autoencoder import embed
    from dec_jax.runs import folder as run_folder
    from dec_jax.runs import provenance
    from dec_jax.runs.progress import Stop, Stopped

    dataset, n_clusters = load(settings)
    out = settings["out"] or f"runs/{dataset.name}-latent"
    folder = run_folder.prepare(Path(out), explicit=settings["out"] is not None)
    run_folder.write_json(folder / "config.json", {"command": settings})
    facts = {
        "recipe": "latent-tutorial",
        "dataset": dataset.name,
        "dataset_source": dataset.source,
        "dataset_sha256": dataset.sha256,
        "n_samples": len(dataset.x),
        "n_clusters": n_clusters,
        "seed": settings["seed"],
        "device": provenance.device(),
        "versions": provenance.versions(),
        # Asked now: the checkout may move on while the run goes on with what it loaded.
        "commit": provenance.commit(),
    }
    print(
        f"dec_jax on {facts['device']}, jax {jax.__version__}\n"
        f"{dataset.name}: {len(dataset.x):,} samples of {dataset.x.shape[1]} values "
        f"({dataset.source}); {n_clusters} cluster{'s' * (n_clusters > 1)}\n"
        f"results: {folder}"
    )
    x, film = jnp.asarray(dataset.x), Film(dataset.labels, settings["cluster_epochs"])
    network = dense_architecture(
        x.shape[1], hidden=(256, 256), input_scale=dataset.input_scale
    )
    keys = jax.random.split(jax.random.key(settings["seed"]), 4)
    pretrain_key, before_key, train_key, after_key = keys
    begin = time.monotonic()
    with Stop() as stop:
        try:
            params, losses = pretrain(pretrain_key, x, network, settings, stop)
            z = embed(params, x, architecture=network)
            before = k_means(before_key, z, n_clusters)
            film.add(z, before.labels)
            print(film.title(0))
            result = cluster(
                train_key, params, before, x, network, settings, film, stop
            )
            after = k_means(after_key, film.z[-1], n_clusters)
        except Stopped:
            raise KeyboardInterrupt from None
        except FloatingPointError as error:
            raise UsageError(str(error)) from error
    results = {
        **facts,
        "pretraining_loss": losses,
        "loss": result.history.loss.tolist(),
        "label_change": [film.label_change(i) for i in range(1, len(film.z))],
        "ari": film.ari,
        "k_means_ari_before": film.score(before.labels),
        "k_means_ari_after": film.score(after.labels),
        "seconds": time.monotonic() - begin,
    }
    run_folder.write_json(folder / "results.json", results)
    model.save(
        folder / "model.safetensors",
        result.state.params,
        architecture=network,
        metadata={**model.data_metadata(dataset), "seed": settings["seed"]},
    )
    if film.classes is not None:
        print(
            f"ARI of k-means on z {results['k_means_ari_before']:.3f} before and "
            f"{results['k_means_ari_after']:.3f} after, of DEC {film.ari[-1]:.3f}"
        )
    print(f"film: {draw(film, folder, settings['format'])}")
    return results


def load(settings: dict[str, Any]) -> "tuple[Dataset, int]":
    """The samples to be used, and the number of clusters; raises UsageError."""
    try:
        # Needed only at the end, which is a bad time to miss them.
        import PIL  # noqa: F401
        import safetensors  # noqa: F401
        from matplotlib.animation import FFMpegWriter

        from dec_jax.data.load import load_dataset
        from dec_jax.validation import check_n_clusters

        if settings["format"] == "mp4" and not FFMpegWriter.isAvailable():
            raise UsageError("--format mp4 needs the program ffmpeg; install it.")
        dataset = load_dataset(settings["dataset"], settings["data_dir"])
        n_clusters = settings["n_clusters"] or dataset.n_classes
        available = len(dataset.x)
        limit = settings["limit"] or TRAINING_PART.get(settings["dataset"], available)
        if limit > available:
            raise UsageError(
                f"--limit must be at most {available:,}, the samples there are, got "
                f"{limit:,}."
            )
        if n_clusters is None:
            raise UsageError(
                f"{dataset.name} has no labels to count classes by; give --n-clusters."
            )
        check_n_clusters(n_clusters, limit)
    except (ValueError, TypeError, OSError, ImportError) as error:
        raise UsageError(str(error)) from error
    return first(dataset, limit), n_clusters


def first(dataset: "Dataset", limit: int) -> "Dataset":
    """The first samples."""
    labels = None if dataset.labels is None else dataset.labels[:limit]
    return replace(dataset, x=dataset.x[:limit], labels=labels, names=None)


class Film:
    """z and clusters after pretraining, and after each epoch of DEC.

    Attributes:
      classes: [n] class of each sample, or None.
      epochs: of DEC that there are to be.
      z: [n, d] in each frame.
      labels: [n] cluster of each sample in each frame.
      ari: of the clusters in each frame; empty without classes.
    """

    def __init__(self, classes: "np.ndarray | None", epochs: int) -> None:
        self.classes, self.epochs = classes, epochs
        self.z: list[np.ndarray] = []
        self.labels: list[np.ndarray] = []
        self.ari: list[float] = []

    def add(self, z: "jax.Array", labels: "jax.Array") -> None:
        """Takes one more frame."""
        import numpy as np

        self.z.append(np.asarray(z))
        self.labels.append(np.asarray(labels))
        ari = self.score(labels)
        self.ari += [] if ari is None else [ari]

    def score(self, labels: "jax.Array") -> float | None:
        """ARI of a labeling, or None without classes."""
        from dec_jax.evaluation.metrics import adjusted_rand_index

        if self.classes is None:
            return None
        return adjusted_rand_index(self.classes, labels)

    def title(self, frame: int) -> str:
        """The words above a frame."""
        name = f"Epoch {frame} of {self.epochs}" if frame else "After pretraining"
        return f"{name}, ARI {self.ari[frame]:.3f}" if self.ari else name

    def label_change(self, frame: int) -> float:
        """Share of the samples whose cluster changed in an epoch."""
        return float((self.labels[frame] != self.labels[frame - 1]).mean())


def pretrain(
    key: "jax.Array",
    x: "jax.Array",
    network: "Architecture",
    settings: dict[str, Any],
    stop: "Stop",
) -> "tuple[Params, list[float]]":
    """The parameters of the autoencoder, and the loss of each epoch."""
    from dec_jax.runs.progress import Stopped, bar_of
    from dec_jax.training.optimizer import Optimizer
    from dec_jax.training.pretrain import PretrainConfig, pretrain_end_to_end

    config = PretrainConfig(
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        optimizer=Optimizer("adam", LEARNING_RATE),
    )
    losses: list[float] = []
    with bar_of("pretraining", config.epochs, 0, "epoch") as bar:

        def on_epoch(_: "PretrainState", row: "PretrainHistory") -> bool:
            losses.append(float(row.loss))
            bar.set_postfix_str(f"loss {losses[-1]:.5f}", refresh=False)
            bar.update()
            return stop.asked

        params, _ = pretrain_end_to_end(
            key, x, architecture=network, config=config, on_epoch=on_epoch
        )
    if stop.asked:
        raise Stopped
    return params, losses


def cluster(
    key: "jax.Array",
    params: "Params",
    start: "KMeansResult",
    x: "jax.Array",
    network: "Architecture",
    settings: dict[str, Any],
    film: Film,
    stop: "Stop",
) -> "TrainResult":
    """DEC for some epochs, each of which begins with a new p and ends with a frame."""
    import jax
    import numpy as np

    from dec_jax.clustering.assignment import hard_assignment, soft_assignment
    from dec_jax.networks.autoencoder import embed
    from dec_jax.objectives import DEC
    from dec_jax.runs.progress import Stopped, bar_of
    from dec_jax.training.cluster import train
    from dec_jax.training.minibatches import steps_per_epoch
    from dec_jax.training.optimizer import Optimizer
    from dec_jax.training.state import TrainConfig, init_state

    config = TrainConfig(
        update_interval=steps_per_epoch(len(x), settings["batch_size"]),
        max_intervals=film.epochs,
        batch_size=settings["batch_size"],
        # All epochs, even if no label changes any more.
        tolerance=0,
        optimizer=Optimizer("adam", LEARNING_RATE),
    )
    objective = DEC()
    state = init_state(
        key, params, start.centroids, start.labels, objective=objective, config=config
    )
    embedded = jax.jit(partial(embed, architecture=network))
    with bar_of("clustering", film.epochs, 0, "epoch") as bar:

        def on_interval(state: "TrainState", rows: "History") -> bool:
            z = embedded(state.params, x)
            q = soft_assignment(z, state.params["centroids"], alpha=objective.alpha)
            if not np.isfinite(q).all():
                raise FloatingPointError(
                    f"q is no longer finite after epoch {len(film.z)} of clustering."
                )
            film.add(z, hard_assignment(q))
            frame = len(film.z) - 1
            bar.write(
                f"{film.title(frame)}, KL {float(rows.loss[-1]):.4f}, "
                f"{film.label_change(frame):.2%} of clusters changed"
            )
            bar.update()
            return stop.asked

        result = train(
            state,
            x,
            architecture=network,
            objective=objective,
            config=config,
            on_interval=on_interval,
        )
    if stop.asked:
        raise Stopped
    return result


def draw(film: Film, folder: Path, suffix: str) -> Path:
    """Writes every frame as frames/epoch-NNN.png, and all of them as one film."""
    from dec_jax.plots.animation import latent_frames, save_animation

    titles = [film.title(frame) for frame in range(len(film.z))]
    colors = film.labels[-1] if film.classes is None else film.classes
    figures = latent_frames(film.z, colors, axes_from="last", titles=titles)
    (folder / "frames").mkdir()
    for frame, figure in enumerate(figures):
        figure.savefig(folder / "frames" / f"epoch-{frame:03}.png", dpi=100)
    path = folder / f"latent.{suffix}"
    save_animation(path, figures, seconds_per_frame=SECONDS_PER_FRAME)
    return path


if __name__ == "__main__":
    keep_programs()
    sys.exit(main(sys.argv[1:]))
