"""One seed of an experiment: pretrain, place centroids, train, report; resumable."""

import dataclasses
import json
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from dec_jax.runs import checkpoint
from dec_jax import model
from dec_jax.networks.architecture import Architecture
from dec_jax.networks.autoencoder import Params, embed, init_params
from dec_jax.data.load import Dataset
from dec_jax.clustering.kmeans import KMeansResult
from dec_jax.evaluation.label_free import cluster_sizes
from dec_jax.training.layerwise import (
    StageState,
    init_stage,
    pretrain_layerwise,
    pretraining_stages,
)
from dec_jax.clustering.spectral import cluster_means
from dec_jax.evaluation.metrics import clustering_accuracy
from dec_jax.training.pretrain import PretrainHistory
from dec_jax.recipes.recipe import clustering_start
from dec_jax.recipes.dense import Recipe
from dec_jax.parallel.sharding import any_process, from_first, shard_like, text_from_first
from dec_jax.training.cluster import train
from dec_jax.training.state import History, TrainResult, TrainState, init_state
from dec_jax.runs import provenance
from dec_jax.runs import summary as report
from dec_jax.runs import folder as run_folder
from dec_jax.runs.errors import UsageError
from dec_jax.runs.progress import Stop, Stopped, bar_of, best_k_means, labeled
from dec_jax.runs.seed_choice import seed_scores
from dec_jax.runs.health_watch import Watch

SAVE_SECONDS = 20  # between two checkpoints; what a killed run may have to do again
CHECKPOINTS = "checkpoints"
AUTOENCODER = "autoencoder.safetensors"  # after pretraining


@partial(jax.jit, static_argnames="architecture")
def _embed(params: Params, x: jax.Array, *, architecture: Architecture) -> jax.Array:
    """z of all samples, on all devices."""
    return shard_like(embed(params, x, architecture=architecture), x, axis=None)


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
        x: jax.Array,
        recipe: Recipe,
        n_clusters: int,
        folder: Path,
        config: dict[str, Any],
        stop: Stop,
        pretrained: Path | None = None,
    ) -> None:
        self.dataset, self.x = dataset, x
        self.recipe, self.n_clusters = recipe, n_clusters
        self.folder, self.config, self.stop = folder, config, stop
        self.pretrained = pretrained
        self.stages = pretraining_stages(recipe.architecture, recipe.pretrain)
        # Asked now: the checkout may move on while the run goes on with what it loaded.
        self.commit = provenance.commit()
        self.seed: int = config["command"]["seed"]
        keys = jax.random.split(jax.random.key(self.seed), 4)
        self.pixel_key, self.pretrain_key, self.z_key, self.train_key = keys
        # What is saved with the arrays, so that a resumed run reports all of the run.
        self.progress: dict[str, Any] = {
            "stages": [],
            "seconds": {},
            "pretraining_loss": {},
            "history": {name: [] for name in (*History._fields, "acc")},
        }
        # What results.json says beside, of a seed that ran at once with others.
        self.beside: dict[str, Any] = {}
        self.saved_at = self.clock = time.monotonic()

    def run(self) -> dict[str, Any]:
        """All phases; the results as they are written to results.json."""
        if (finished := self.finished_before()) is not None:
            return finished
        self.folder.mkdir(parents=True, exist_ok=True)
        templates: dict[str, Callable[[], Any]] = {
            f"pretrain{index}": partial(self.blank_stage, index)
            for index in range(len(self.stages))
        }
        saved = checkpoint.restore(
            self.folder / CHECKPOINTS,
            {**templates, "train": self.blank_training},
            settings=self.config,
        )
        if saved is not None:
            self.progress = saved.progress
            epochs = sum(map(len, self.progress["pretraining_loss"].values()))
            intervals = len(self.progress["history"]["loss"])
            print(f"resumed after {epochs} epochs, {intervals} intervals of clustering")
        if saved is not None and saved.phase == "train":
            clustering = saved.state
        else:
            if not self.progress["stages"]:
                self.baseline()
            if self.pretrained is not None:
                params = self.load_pretrained(self.pretrained)
            else:
                params = self._pretrain(saved)
            clustering = self.place_centroids(params)
        return self.finish(self._train(clustering), clustering)

    def finished_before(self) -> dict[str, Any] | None:
        """The results of an earlier run to its end, if there was one."""
        done = self.folder / "results.json"
        finished = text_from_first(done.read_text() if done.exists() else "")
        if not finished:
            return None
        print(f"finished before: {done}")
        return json.loads(finished)

    def baseline(self) -> None:
        """Scores k-means on the samples as they are."""
        start = time.monotonic()
        result = self._k_means(self.pixel_key, self.x, "k-means on pixels")
        seconds = time.monotonic() - start
        self._stage("k-means on pixels", result.labels, self.dataset.x, seconds)

    def load_pretrained(self, path: Path) -> Params:
        """The autoencoder that an earlier run left, instead of pretraining one."""
        found = model.load(path)
        wanted = self.recipe.architecture
        # Parameters are of no precision: it says how they are multiplied.
        same = dataclasses.replace(wanted, precision=found.architecture.precision)
        if same != found.architecture:
            raise UsageError(
                f"--pretrained {path}: its network is another one than that of recipe "
                f"{self.config['command']['recipe']}."
            )
        # The work was done, if not by this run: it counts in the total.
        seconds = found.metadata.get("pretraining_seconds", 0.0)
        self.progress["seconds"]["pretraining"] = seconds
        print(f"pretrained: {path}")
        return found.params

    def _pretrain(self, saved: checkpoint.Checkpoint | None) -> Params:
        losses = self.progress["pretraining_loss"]
        start = None
        if saved is not None:
            start = (int(saved.phase.removeprefix("pretrain")), saved.state)
        bar: tqdm | None = None
        self.clock = time.monotonic()

        def on_epoch(index: int, state: StageState, row: PretrainHistory) -> bool:
            nonlocal bar
            title, _, config = self.stages[index]
            done = losses.setdefault(title, [])
            if bar is None or not done:
                if bar is not None:
                    bar.close()
                bar = bar_of(title, config.epochs, len(done), "epoch")
            done.append(row.loss)
            bar.set_postfix_str(f"loss {row.loss:.5f}", refresh=False)
            bar.update()
            finished = len(done) == config.epochs
            return self._tick(
                f"pretrain{index}", state, int(state.state.step), finished=finished
            )

        try:
            params, _ = pretrain_layerwise(
                self.pretrain_key,
                self.x,
                architecture=self.recipe.architecture,
                config=self.recipe.pretrain,
                start=start,
                on_epoch=on_epoch,
            )
        finally:
            if bar is not None:
                bar.close()
        self._leave_if_asked()
        self.save_autoencoder(params)
        return params

    def save_autoencoder(self, params: Params) -> None:
        """Writes the pretrained autoencoder, for `--pretrained` of other runs."""
        model.save(
            self.folder / AUTOENCODER,
            params,
            architecture=self.recipe.architecture,
            metadata={
                **self._origin(),
                "pretraining_seconds": self.progress["seconds"]["pretraining"],
            },
        )

    def _origin(self) -> dict[str, Any]:
        """What a model file says of where it comes from."""
        return {
            **model.data_metadata(self.dataset),
            "recipe": self.config["command"]["recipe"],
            "seed": self.seed,
        }

    def place_centroids(self, params: Params) -> Clustering:
        """What clustering starts from, given the pretrained autoencoder."""
        start = time.monotonic()
        z = self._embed(params, self.recipe.architecture)
        result = self._k_means(self.z_key, z, "k-means on z", n_init=self.recipe.n_init)
        self._stage("k-means on z", result.labels, z, time.monotonic() - start)
        centroids, labels = result.centroids, result.labels
        if self.recipe.start != "k-means":
            start = self.clock = time.monotonic()
            key = jax.random.fold_in(self.z_key, 1)
            # On one device of each process, so that many find what one does.
            title, found = labeled(
                self.recipe.start, key, np.asarray(z), self.n_clusters, self.stop
            )
            labels = jnp.asarray(from_first(found))
            centroids = cluster_means(z, labels, self.n_clusters)
            self._count(title)
            self._stage(title, labels, z, time.monotonic() - start)
        start_state = init_state(
            self.train_key,
            *clustering_start(self.recipe, self.train_key, params, centroids),
            labels,
            objective=self.recipe.objective,
            config=self.recipe.train,
        )
        return Clustering(start_state, z, labels)

    def _train(self, clustering: Clustering) -> TrainResult:
        config, history = self.recipe.train, self.progress["history"]
        watch = Watch(history, self.recipe)

        def on_interval(state: TrainState, rows: History) -> bool:
            self.record(rows, np.asarray(state.labels))
            watch.look(bar)
            change = history["label_change"][-1]
            bar.set_postfix_str(f"labels changed {change:.2%}", refresh=False)
            bar.update()
            return self._tick(
                "train", clustering._replace(state=state), int(state.step)
            )

        done = int(clustering.state.step) // config.update_interval
        self.clock = time.monotonic()
        with bar_of("clustering", config.max_intervals, done, "interval") as bar:
            result = train(
                clustering.state,
                self.x,
                architecture=self.recipe.network,
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

    def record(self, rows: History, labels: np.ndarray) -> None:
        """Keeps an interval's row of the history, and the accuracy where it is known."""
        history, classes = self.progress["history"], self.dataset.labels
        for name, column in zip(History._fields, rows, strict=True):
            history[name] += np.asarray(column).tolist()
        acc = None if classes is None else clustering_accuracy(classes, labels)
        history["acc"].append(acc)

    def finish(self, result: TrainResult, clustering: Clustering) -> dict[str, Any]:
        """Scores, draws and writes all there is; the results as in results.json."""
        z = np.asarray(self._embed(result.state.params, self.recipe.network))
        name = type(self.recipe.objective).__name__
        spent = self.progress["seconds"]["clustering"]
        self._stage(name, result.labels, z, spent)
        figures = run_folder.write_clustering(
            self.folder,
            self.dataset,
            self.recipe,
            result,
            z_before=np.asarray(clustering.z_before),
            labels_before=np.asarray(clustering.labels_before),
            z_after=z,
            progress=self.progress,
            origin=self._origin(),
        )
        history = self.progress["history"]
        losses = run_folder.last_losses(self.progress["pretraining_loss"])
        pretraining_loss = losses[-1] if losses else None
        seconds = self.progress["seconds"]
        results = {
            "recipe": self.config["command"]["recipe"],
            **{name: self.config["command"].get(name) for name in report.CHANGES},
            "dataset": self.dataset.name,
            "note": self.config["note"],
            "dataset_source": self.dataset.source,
            "dataset_sha256": self.dataset.sha256,
            "n_samples": len(self.x),
            "n_clusters": self.n_clusters,
            "seed": self.seed,
            "device": provenance.device(),
            "n_devices": len(self.x.sharding.device_set),
            "n_processes": jax.process_count(),
            "versions": provenance.versions(),
            "precision": self.recipe.architecture.precision,
            "commit": self.commit,
            "seconds": {**seconds, "total": sum(seconds.values())},
            "stages": self.progress["stages"],
            "n_iter": result.n_steps,
            "stop_reason": result.stop_reason,
            "pretraining_loss": pretraining_loss,
            "pretrained": str(self.pretrained) if self.pretrained else None,
            "cluster_sizes": cluster_sizes(result.labels, self.n_clusters).tolist(),
            "health": Watch(history, self.recipe).entry(result.q),
            "label_free": seed_scores(
                z, result, history, self.recipe.objective, pretraining_loss
            ),
            "figures": figures,
            **self.beside,
        }
        run_folder.write_json(self.folder / "config.json", self.config)
        run_folder.write_json(self.folder / "results.json", results)
        shutil.rmtree(self.folder / CHECKPOINTS, ignore_errors=True)
        return results

    def _embed(self, params: Params, network: Architecture) -> jax.Array:
        return _embed(params, self.x, architecture=network)

    def _k_means(
        self, key: jax.Array, x: jax.Array, title: str, *, n_init: int = 20
    ) -> KMeansResult:
        self.clock = time.monotonic()
        best = best_k_means(
            key, x, self.n_clusters, n_init=n_init, title=title, stop=self.stop
        )
        self._count(title)
        return best

    def _stage(self, name: str, labels: Any, z: Any, seconds: float) -> None:
        scored = report.stage(
            self.dataset.labels, np.asarray(labels), z, self.n_clusters
        )
        stage = {"name": name, **scored, "seconds": seconds}
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
        self._count("clustering" if phase == "train" else "pretraining")
        self.stop.agree()
        due = any_process(time.monotonic() - self.saved_at > SAVE_SECONDS)
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

    def blank_stage(self, index: int) -> StageState:
        """A state of a stage of pretraining as checkpoints hold it, of no meaning."""
        return init_stage(
            self.pretrain_key,
            index,
            architecture=self.recipe.architecture,
            config=self.recipe.pretrain,
            n_samples=len(self.x),
        )

    def blank_training(self) -> Clustering:
        """The same of the clustering phase."""
        n = len(self.x)
        width = self.recipe.architecture.embedding_dim
        params = init_params(self.pretrain_key, self.recipe.architecture)
        centroids = jnp.zeros((self.n_clusters, width))
        state = init_state(
            self.train_key,
            *clustering_start(self.recipe, self.train_key, params, centroids),
            jnp.zeros(n, jnp.int32),
            objective=self.recipe.objective,
            config=self.recipe.train,
        )
        return Clustering(state, jnp.zeros((n, width)), jnp.zeros(n, jnp.int32))
