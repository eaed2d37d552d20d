"""One seed of an experiment: pretrain, place centroids, train, report; resumable."""

import json
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from dec_jax import checkpoint
from dec_jax.autoencoder import decode, encode
from dec_jax.data import Dataset
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
from dec_jax.recipes import Recipe
from dec_jax.train import train
from dec_jax.train_state import History, TrainResult, TrainState, init_state
from experiments import environment, run_folder

SAVE_SECONDS = 20  # between two checkpoints; what a killed run may have to do again
RESTARTS_AT_ONCE = 5  # of k-means, between two ticks of its bar
CHECKPOINTS = "checkpoints"


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


class Clustering(NamedTuple):
    """What a checkpoint of the clustering phase holds."""

    state: TrainState
    z_before: jax.Array  # [n, d] after pretraining, for the figure
    labels_before: jax.Array  # [n] of k-means on it


class SeedRun:
    """One seed, from pixels to a report, resumable between any two steps."""

    def __init__(
        self,
        dataset: Dataset,
        recipe: Recipe,
        n_clusters: int,
        folder: Path,
        config: dict[str, Any],
        stop: Stop,
    ) -> None:
        self.dataset, self.recipe, self.n_clusters = dataset, recipe, n_clusters
        self.folder, self.config, self.stop = folder, config, stop
        self.x = jnp.asarray(dataset.x)
        # Asked now: the checkout may move on while the run goes on with what it loaded.
        self.commit = environment.commit()
        keys = jax.random.split(jax.random.key(config["command"]["seed"]), 4)
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
            settings=self.config,
        )
        if saved is not None:
            self.progress = saved.progress
            epochs = len(self.progress["pretraining_loss"])
            intervals = len(self.progress["history"]["loss"])
            print(f"resumed after {epochs} epochs, {intervals} intervals of clustering")
        if saved is None or saved.phase == "pretrain":
            if not self.progress["stages"]:
                self._baseline()
            state = self._pretrain(None if saved is None else saved.state)
            clustering = self._place_centroids(state)
        else:
            clustering = saved.state
        return self._finish(self._train(clustering), clustering)

    def _baseline(self) -> None:
        start = time.monotonic()
        result = self._k_means(self.pixel_key, self.x, "k-means on pixels")
        seconds = time.monotonic() - start
        self._stage("k-means on pixels", result.labels, self.x, seconds)

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

    def _place_centroids(self, state: PretrainState) -> Clustering:
        start = time.monotonic()
        z = self._embed(state.params)
        result = self._k_means(self.z_key, z, "k-means on z", n_init=self.recipe.n_init)
        self._stage("k-means on z", result.labels, z, time.monotonic() - start)
        start_state = init_state(
            self.train_key,
            state.params,
            result.centroids,
            result.labels,
            objective=self.recipe.objective,
            config=self.recipe.train,
        )
        return Clustering(start_state, z, result.labels)

    def _train(self, clustering: Clustering) -> TrainResult:
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
            return self._tick(
                "train", clustering._replace(state=state), int(state.step)
            )

        done = int(clustering.state.step) // config.update_interval
        self.clock = time.monotonic()
        with _bar("clustering", config.max_intervals, done, "interval") as bar:
            result = train(
                clustering.state,
                self.x,
                architecture=self.recipe.architecture,
                objective=self.recipe.objective,
                config=config,
                on_interval=on_interval,
            )
        self._count("clustering")
        if result.stop_reason.startswith("stopped"):
            self._leave_if_asked()
        if not np.isfinite(result.q).all():
            raise FloatingPointError(f"Clustering failed: {result.stop_reason}.")
        return result

    def _finish(self, result: TrainResult, clustering: Clustering) -> dict[str, Any]:
        z = np.asarray(self._embed(result.state.params))
        name = type(self.recipe.objective).__name__
        spent = self.progress["seconds"]["clustering"]
        self._stage(name, result.labels, z, spent)
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
            z_before=np.asarray(clustering.z_before),
            labels_before=np.asarray(clustering.labels_before),
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
            "recipe": self.config["command"]["recipe"],
            "dataset": self.dataset.name,
            "note": self.config["note"],
            "dataset_source": self.dataset.source,
            "dataset_sha256": self.dataset.sha256,
            "n_samples": len(self.x),
            "n_clusters": self.n_clusters,
            "seed": self.config["command"]["seed"],
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
        run_folder.write_json(self.folder / "config.json", self.config)
        run_folder.write_json(self.folder / "results.json", results)
        shutil.rmtree(self.folder / CHECKPOINTS, ignore_errors=True)
        return results

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

    def _stage(self, name: str, labels: Any, z: Any, seconds: float) -> None:
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
        stage["seconds"] = seconds
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
                settings=self.config,
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

    def _blank_training(self) -> Clustering:
        n = len(self.x)
        width = self.recipe.architecture.embedding_dim
        state = init_state(
            self.train_key,
            self._new_pretraining().params,
            jnp.zeros((self.n_clusters, width)),
            jnp.zeros(n, jnp.int32),
            objective=self.recipe.objective,
            config=self.recipe.train,
        )
        return Clustering(state, jnp.zeros((n, width)), jnp.zeros(n, jnp.int32))


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
