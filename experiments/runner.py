"""A run: load, pretrain, place centroids, train, report; each seed after the other."""

import dataclasses
import json
import shlex
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from dec_jax import checkpoint
from dec_jax.autoencoder import decode, encode
from dec_jax.data import Dataset, load_dataset, load_default_dataset
from dec_jax.kmeans import KMeansResult, k_means
from dec_jax.loop import map_blocks, steps_per_epoch
from dec_jax.metrics import (
    adjusted_rand_index,
    cluster_sizes,
    clustering_accuracy,
    normalized_mutual_info,
    silhouette,
    size_entropy,
)
from dec_jax.pretrain import PretrainState, init_pretraining, pretrain_end_to_end
from dec_jax.recipes import DataShape, Recipe, make_recipe
from dec_jax.train import train
from dec_jax.train_state import History, TrainState, init_state
from dec_jax.validation import check_n_clusters
from experiments import environment, run_folder
from experiments.cli import STOPPED, UsageError

SAVE_SECONDS = 20  # between two checkpoints; what a killed run may have to do again
RESTARTS_AT_ONCE = 5  # of k-means, between two ticks of its bar
CHECKPOINTS = "checkpoints"
SCORES = ("acc", "nmi", "ari")


class Stop:
    """Ctrl-C as a question that the loops ask: finish the step, save, then leave."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> "Stop":
        self.previous = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self.previous)

    def _ask(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        print("\nStopping after this step (Ctrl-C again: at once) ...", file=sys.stderr)


class Stopped(Exception):
    """The run was left in the middle, and can be resumed."""


def run(settings: dict[str, Any], options: dict[str, Any], *, program: str) -> int:
    """Runs all seeds; returns the exit status."""
    folder = Path(options["resume"]) if "resume" in options else None
    try:
        dataset, reason = _load(settings, options, folder)
        n_clusters = _n_clusters(settings["n_clusters"], dataset)
        recipe = _recipe(settings, dataset)
    except (ValueError, TypeError, OSError, ImportError) as error:
        raise UsageError(str(error)) from error
    identity = _identity(recipe, dataset, n_clusters)
    if folder is not None:
        _check_same_run(folder, identity)
    if reason:
        print(reason)
    if folder is None:
        out = options.get("out", f"runs/{dataset.name}-{settings['recipe']}")
        folder = run_folder.prepare(Path(out), explicit="out" in options)
        # The data set that stood in for a missing one is the one to resume with.
        settings = {**settings, "dataset": settings["dataset"] or dataset.name}
        run_folder.write_json(
            folder / "config.json",
            {"command": settings, **identity},
        )
    print(
        f"dec_jax on {environment.device()}, jax {jax.__version__}\n"
        f"{dataset.name}: {len(dataset.x):,} samples of {dataset.x.shape[1]} values "
        f"({dataset.source}); {n_clusters} clusters, recipe {settings['recipe']}\n"
        f"results: {folder}"
    )
    seeds = range(settings["seed"], settings["seed"] + settings["seeds"])
    results = []
    with Stop() as stop:
        try:
            for seed in seeds:
                inner = folder if len(seeds) == 1 else folder / f"seed-{seed}"
                print(f"\nseed {seed}")
                one = SeedRun(dataset, recipe, n_clusters, seed, inner, settings, stop)
                results.append(one.run())
                print(_table(results[-1]))
        except (Stopped, KeyboardInterrupt):
            again = ["--resume", str(folder)]
            if "data_dir" in options:
                again += ["--data-dir", options["data_dir"]]
            print(
                f"\nStopped. Go on with:\n  {program} {shlex.join(again)}",
                file=sys.stderr,
            )
            return STOPPED
        except (checkpoint.CheckpointError, FloatingPointError) as error:
            raise UsageError(str(error)) from error
    if len(seeds) > 1:
        summary = _summary(results)
        run_folder.write_json(folder / "summary.json", summary)
        print(_spread(results))
    return 0


class SeedRun:
    """One seed, from pixels to a report, resumable between any two steps."""

    def __init__(
        self,
        dataset: Dataset,
        recipe: Recipe,
        n_clusters: int,
        seed: int,
        folder: Path,
        settings: dict[str, Any],
        stop: Stop,
    ) -> None:
        self.dataset, self.recipe, self.n_clusters = dataset, recipe, n_clusters
        self.seed, self.folder, self.command, self.stop = seed, folder, settings, stop
        self.x = jnp.asarray(dataset.x)
        # Asked now: the checkout may move on while the run goes on with what it loaded.
        self.commit = environment.commit()
        self.identity = {"seed": seed, **_identity(recipe, dataset, n_clusters)}
        keys = jax.random.split(jax.random.key(seed), 4)
        self.pixel_key, self.pretrain_key, self.z_key, self.train_key = keys
        # What is saved with the arrays, so that a resumed run reports all of the run.
        self.progress: dict[str, Any] = {
            "stages": [],
            "seconds": {},
            "pretraining_loss": [],
            "history": {name: [] for name in (*History._fields, "acc")},
        }
        self.saved_at = self.clock = time.monotonic()

    def run(self) -> dict[str, Any]:
        """All phases; the results as they are written to results.json."""
        done = self.folder / "results.json"
        if done.exists():
            print(f"finished before: {done}")
            return json.loads(done.read_text())
        self.folder.mkdir(parents=True, exist_ok=True)
        saved = checkpoint.restore(
            self.folder / CHECKPOINTS,
            {"pretrain": self._new_pretraining, "train": self._blank_training},
            settings=self.identity,
        )
        if saved is not None:
            self.progress = saved.progress
            print(f"resumed in phase {saved.phase} after {saved.step} steps")
        if saved is None or saved.phase == "pretrain":
            if not self.progress["stages"]:
                self._baseline()
            state = self._pretrain(None if saved is None else saved.state)
            training = self._place_centroids(state)
        else:
            training = saved.state
        return self._finish(*self._train(training))

    def _baseline(self) -> None:
        start = time.monotonic()
        result = self._k_means(self.pixel_key, self.x, "k-means on pixels")
        self._stage("k-means on pixels", result.labels, self.x, start)

    def _pretrain(self, state: PretrainState | None) -> PretrainState:
        config = self.recipe.pretrain
        epoch_steps = steps_per_epoch(len(self.x), config.batch_size)
        latest = state

        def on_epoch(state: PretrainState, loss: float) -> bool:
            nonlocal latest
            latest = state
            self.progress["pretraining_loss"].append(loss)
            bar.set_postfix_str(f"loss {loss:.5f}", refresh=False)
            bar.update()
            step = int(state.step)
            finished = step == config.epochs * epoch_steps
            return self._tick("pretrain", state, step, finished=finished)

        done = len(self.progress["pretraining_loss"])
        self.clock = time.monotonic()
        with _bar("pretraining", config.epochs, done, "epoch") as bar:
            pretrain_end_to_end(
                self.pretrain_key,
                self.x,
                architecture=self.recipe.architecture,
                config=config,
                state=state,
                on_epoch=on_epoch,
            )
        self._leave_if_asked()
        assert latest is not None  # at least one epoch, here or before
        return latest

    def _place_centroids(self, state: PretrainState) -> TrainState:
        start = time.monotonic()
        z = self._embed(state.params)
        result = self._k_means(self.z_key, z, "k-means on z", n_init=self.recipe.n_init)
        self._stage("k-means on z", result.labels, z, start)
        np.savez(self._before, z=np.asarray(z), labels=np.asarray(result.labels))
        return init_state(
            self.train_key,
            state.params,
            result.centroids,
            result.labels,
            objective=self.recipe.objective,
            config=self.recipe.train,
        )

    def _train(self, state: TrainState) -> tuple[Any, np.ndarray]:
        config, history = self.recipe.train, self.progress["history"]
        classes = self.dataset.labels

        def on_interval(state: TrainState, rows: History) -> bool:
            for name, column in zip(History._fields, rows, strict=True):
                history[name] += np.asarray(column).tolist()
            acc = None
            if classes is not None:
                acc = clustering_accuracy(classes, np.asarray(state.labels))
            history["acc"].append(acc)
            change = history["label_change"][-1]
            bar.set_postfix_str(f"labels changed {change:.2%}", refresh=False)
            bar.update()
            return self._tick("train", state, int(state.step))

        done = int(state.step) // config.update_interval
        self.clock = time.monotonic()
        with _bar("clustering", config.max_intervals, done, "interval") as bar:
            result = train(
                state,
                self.x,
                architecture=self.recipe.architecture,
                objective=self.recipe.objective,
                config=config,
                on_interval=on_interval,
            )
        self._count("clustering")
        if not bool(result.state.converged) and result.stop_reason.startswith(
            "stopped"
        ):
            self._leave_if_asked()
        z = self._embed(result.state.params)
        self._stage("DEC", result.labels, z, None)
        stage = self.progress["stages"][-1]
        stage["name"] = type(self.recipe.objective).__name__
        stage["seconds"] = self.progress["seconds"]["clustering"]
        return result, np.asarray(z)

    def _finish(self, result: Any, z: np.ndarray) -> dict[str, Any]:
        with np.load(self._before) as before:
            z_before, labels_before = before["z"], before["labels"]
        decoded = decode(
            result.state.params,
            jnp.asarray(result.centroids),
            architecture=self.recipe.architecture,
        )
        history = self.progress["history"]
        losses = self.progress["pretraining_loss"]
        figures = run_folder.write_figures(
            self.folder,
            self.dataset,
            z_before=z_before,
            labels_before=labels_before,
            z_after=z,
            labels=result.labels,
            q=result.q,
            decoded=np.asarray(decoded),
            pretraining=losses,
            rows=history,
            tolerance=self.recipe.train.tolerance,
        )
        run_folder.write_history(self.folder / "history.csv", losses, history)
        run_folder.write_labels(
            self.folder / "labels.csv", result.labels, result.q, self.dataset.labels
        )
        seconds = self.progress["seconds"]
        results = {
            "recipe": self.command["recipe"],
            "dataset": self.dataset.name,
            "dataset_source": self.dataset.source,
            "dataset_sha256": self.dataset.sha256,
            "n_samples": len(self.x),
            "n_clusters": self.n_clusters,
            "seed": self.seed,
            "device": environment.device(),
            "versions": environment.versions(),
            "commit": self.commit,
            "seconds": {**seconds, "total": sum(seconds.values())},
            "stages": self.progress["stages"],
            "n_iter": result.n_steps,
            "stop_reason": result.stop_reason,
            "pretraining_loss": losses[-1],
            "cluster_sizes": cluster_sizes(result.labels, self.n_clusters).tolist(),
            "figures": figures,
        }
        if self.folder.joinpath("config.json").exists() is False:
            command = {**self.command, "seeds": 1, "seed": self.seed}
            run_folder.write_json(
                self.folder / "config.json", {"command": command, **self.identity}
            )
        run_folder.write_json(self.folder / "results.json", results)
        shutil.rmtree(self.folder / CHECKPOINTS, ignore_errors=True)
        return results

    @property
    def _before(self) -> Path:
        """Where z and the labels of k-means wait for the report."""
        return self.folder / CHECKPOINTS / "before.npz"

    def _embed(self, params: Any) -> jax.Array:
        architecture = self.recipe.architecture
        return map_blocks(
            lambda x: encode(params, x, architecture=architecture), self.x
        )

    def _k_means(
        self, key: jax.Array, x: jax.Array, title: str, *, n_init: int = 20
    ) -> KMeansResult:
        """The best of `n_init` restarts by inertia, some at a time for the bar."""
        self.clock = time.monotonic()
        best: KMeansResult | None = None
        with _bar(title, n_init, 0, "restart") as bar:
            for first in range(0, n_init, RESTARTS_AT_ONCE):
                count = min(RESTARTS_AT_ONCE, n_init - first)
                found = k_means(
                    jax.random.fold_in(key, first), x, self.n_clusters, n_init=count
                )
                if best is None or float(found.inertia) < float(best.inertia):
                    best = found
                bar.set_postfix_str(f"inertia {float(best.inertia):.4g}", refresh=False)
                bar.update(count)
                self._leave_if_asked()
        self._count(title)
        assert best is not None  # n_init is at least 1
        return best

    def _stage(self, name: str, labels: Any, z: Any, start: float | None) -> None:
        """Scores a labelling: against the classes, or without them."""
        labels = np.asarray(labels)
        stage: dict[str, Any] = {"name": name}
        classes = self.dataset.labels
        if classes is not None:
            stage["acc"] = clustering_accuracy(classes, labels)
            stage["nmi"] = normalized_mutual_info(classes, labels)
            stage["ari"] = adjusted_rand_index(classes, labels)
        else:
            sizes = cluster_sizes(labels, self.n_clusters)
            stage["smallest"], stage["largest"] = int(sizes.min()), int(sizes.max())
            stage["size_entropy"] = size_entropy(labels, self.n_clusters)
            several = len(np.unique(labels)) > 1
            stage["silhouette"] = (
                silhouette(np.asarray(z, np.float32), labels) if several else None
            )
        if start is not None:
            stage["seconds"] = time.monotonic() - start
        self.progress["stages"].append(stage)

    def _count(self, phase: str) -> None:
        """Adds the time since the phase began, or was last counted."""
        now = time.monotonic()
        seconds = self.progress["seconds"]
        seconds[phase] = seconds.get(phase, 0.0) + now - self.clock
        self.clock = now

    def _tick(
        self, phase: str, state: Any, step: int, *, finished: bool = False
    ) -> bool:
        """Between two epochs or intervals: saves now and then; True if asked to stop."""
        name = {"pretrain": "pretraining", "train": "clustering"}[phase]
        self._count(name)
        due = time.monotonic() - self.saved_at > SAVE_SECONDS
        if due or finished or self.stop.asked:
            checkpoint.save(
                self.folder / CHECKPOINTS,
                state,
                phase=phase,
                step=step,
                settings=self.identity,
                progress=self.progress,
            )
            # Saving is not part of the method: it is not counted.
            self.saved_at = self.clock = time.monotonic()
        return self.stop.asked

    def _leave_if_asked(self) -> None:
        if self.stop.asked:
            raise Stopped

    def _new_pretraining(self) -> PretrainState:
        return init_pretraining(
            self.pretrain_key,
            architecture=self.recipe.architecture,
            config=self.recipe.pretrain,
            n_samples=len(self.x),
        )

    def _blank_training(self) -> TrainState:
        width = self.recipe.architecture.embedding_dim
        return init_state(
            self.train_key,
            self._new_pretraining().params,
            jnp.zeros((self.n_clusters, width)),
            jnp.zeros(len(self.x), jnp.int32),
            objective=self.recipe.objective,
            config=self.recipe.train,
        )


def _load(
    settings: dict[str, Any], options: dict[str, Any], folder: Path | None
) -> tuple[Dataset, str | None]:
    """The data set, and why it is not MNIST if nobody asked for another."""
    data_dir = options.get("data_dir")
    if settings["dataset"] is None:
        return load_default_dataset(data_dir)
    return load_dataset(settings["dataset"], data_dir), None


def _n_clusters(wanted: int | None, dataset: Dataset) -> int:
    n_clusters = wanted if wanted is not None else dataset.n_classes
    if n_clusters is None:
        raise UsageError(
            f"{dataset.name} has no labels to count classes by; give --n-clusters."
        )
    check_n_clusters(n_clusters, len(dataset.x))
    return n_clusters


def _recipe(settings: dict[str, Any], dataset: Dataset) -> Recipe:
    """The named recipe for these data, with what the command line changes in it."""
    shape = DataShape(
        n_samples=len(dataset.x),
        input_dim=dataset.x.shape[1],
        image_shape=dataset.image_shape,
        input_scale=dataset.input_scale,
        name=dataset.name,
    )
    recipe = make_recipe(settings["recipe"], shape)
    pretrain = {"epochs": settings["epochs"], "batch_size": settings["batch_size"]}
    clustering = {
        "max_intervals": settings["max_intervals"],
        "batch_size": settings["batch_size"],
    }
    return dataclasses.replace(
        recipe,
        pretrain=dataclasses.replace(recipe.pretrain, **_given(pretrain)),
        train=dataclasses.replace(recipe.train, **_given(clustering)),
    )


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}


def _identity(recipe: Recipe, dataset: Dataset, n_clusters: int) -> dict[str, Any]:
    """What two runs must share for one to go on where the other stopped."""
    return {
        "n_clusters": n_clusters,
        "dataset": {"name": dataset.name, "sha256": dataset.sha256},
        "recipe": {
            **dataclasses.asdict(recipe),
            "objective": {
                "name": type(recipe.objective).__name__,
                **dataclasses.asdict(recipe.objective),  # type: ignore[call-overload]
            },
        },
    }


def _check_same_run(folder: Path, identity: dict[str, Any]) -> None:
    """Raises UsageError unless the run in the folder had these data and settings."""
    stored = json.loads((folder / "config.json").read_text())
    # The command was compared when it was read, the seed stands in it.
    found = {name: stored.get(name) for name in identity}
    if difference := checkpoint.first_difference(found, identity):
        raise UsageError(f"--resume {folder}: that is another run: {difference}")


def _bar(title: str, total: int, done: int, unit: str) -> tqdm:
    """A progress bar; in a log file a line now and then instead of many a second."""
    return tqdm(
        desc=f"{title:<17}",
        total=total,
        initial=done,
        unit=unit,
        mininterval=0.2 if sys.stderr.isatty() else 30,
        bar_format="{desc} {percentage:3.0f}% |{bar:20}| {n_fmt}/{total_fmt} "
        "[{elapsed}<{remaining}{postfix}]",
    )


def _table(results: dict[str, Any]) -> str:
    """The stages of one seed."""
    labelled = "acc" in results["stages"][0]
    names = (
        SCORES if labelled else ("smallest", "largest", "size_entropy", "silhouette")
    )
    lines = [" " * 18 + "".join(f"{name:>13}" for name in (*names, "seconds"))]
    if labelled:
        lines = [
            " " * 18 + "".join(f"{n:>8}" for n in ("ACC", "NMI", "ARI", "seconds"))
        ]
    for stage in results["stages"]:
        cells = [_number(stage[name], 8 if labelled else 13) for name in names]
        seconds = f"{stage['seconds']:{8 if labelled else 13}.1f}"
        lines.append(f"{stage['name']:<18}" + "".join(cells) + seconds)
    seconds = results["seconds"]
    lines.append(
        f"pretraining took {seconds['pretraining']:.0f} s, all of it {seconds['total']:.0f} s; "
        f"ended because {results['stop_reason']}"
    )
    return "\n".join(lines)


def _number(value: float | int | None, width: int) -> str:
    if value is None:
        return f"{'-':>{width}}"
    return f"{value:>{width}}" if isinstance(value, int) else f"{value:{width}.3f}"


def _summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """All seeds of a run, in the form in which results are committed."""
    last = [result["stages"][-1] for result in results]
    summary = {
        name: results[0][name]
        for name in ("dataset", "recipe", "device", "versions", "commit", "n_samples")
    }
    summary["seeds"] = [result["seed"] for result in results]
    for name in SCORES:
        summary[name] = [stage.get(name) for stage in last]
    summary["seconds"] = [result["seconds"]["total"] for result in results]
    summary["stages"] = {
        stage["name"]: {
            name: [result["stages"][index].get(name) for result in results]
            for name in SCORES
        }
        for index, stage in enumerate(results[0]["stages"])
    }
    return summary


def _spread(results: list[dict[str, Any]]) -> str:
    """Mean, standard deviation, least and most of each stage over the seeds."""
    lines = [f"\n{len(results)} seeds{'':<20}{'mean':>8}{'sd':>8}{'min':>8}{'max':>8}"]
    for index, stage in enumerate(results[0]["stages"]):
        for name in SCORES:
            if name in stage:
                values = [result["stages"][index][name] for result in results]
                lines.append(
                    f"{stage['name']:<18} {name.upper():<6} {np.mean(values):8.3f}"
                    f"{np.std(values, ddof=1):8.3f}{min(values):8.3f}{max(values):8.3f}"
                )
    seconds = [result["seconds"]["total"] for result in results]
    lines.append(
        f"{'seconds a seed':<25} {np.mean(seconds):8.0f}{np.std(seconds, ddof=1):8.0f}"
        f"{min(seconds):8.0f}{max(seconds):8.0f}"
    )
    return "\n".join(lines)
