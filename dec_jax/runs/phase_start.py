"""The start of clustering: z, its labels, and the state before the first refresh."""

import time
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dec_jax.clustering.graph_sample import spectral_labels
from dec_jax.clustering.kmeans import KMeansResult, k_means
from dec_jax.clustering.spectral import cluster_means
from dec_jax.clustering.umap_mixture import umap_mixture
from dec_jax.data.dataset import Dataset
from dec_jax.evaluation.judge import Choice, choose_labels
from dec_jax.evaluation.stage_scores import stage_scores
from dec_jax.networks.autoencoder import Params, embed, scale_input
from dec_jax.networks.own import Network
from dec_jax.parallel.processes import from_first
from dec_jax.parallel.sharding import shard_like
from dec_jax.recipes.adjust import slowed
from dec_jax.recipes.recipe import Recipe, clustering_start
from dec_jax.runs.callbacks import Callbacks, Phase, PhaseEvents, Record, Stage, Step
from dec_jax.streaming import Source
from dec_jax.training.layerwise import pretraining_stages
from dec_jax.training.state import AnyArray, TrainState, init_state
from dec_jax.validation import check_magnitude, check_samples

RETRIES = 2  # of a phase that diverges, each at a tenth of the learning rate before
RESTARTS_AT_ONCE = 5  # of k-means, between two events
START_TITLES = {
    "spectral": "spectral on z",
    "umap": "UMAP, mixture",
    "judge": "simple methods",
}


@partial(jax.jit, static_argnames="architecture")
def _embed(params: Params, x: jax.Array, *, architecture: Network) -> jax.Array:
    """Embeds all samples; every device gets all of z."""
    return shard_like(embed(params, x, architecture=architecture), x, axis=None)


class Start(NamedTuple):
    """The start of the clustering phase, which a checkpoint of that phase holds as well."""

    state: TrainState
    z: AnyArray  # [n, d] of the pretrained autoencoder
    labels: jax.Array  # [n] that clustering starts from
    first: TrainState | None = None  # where retries begin; None without them


class StartPhase(PhaseEvents):
    """Holds what all phases of a seed share, and finds the clusters that training starts from.

    Attributes:
      dataset: the samples and what is known of them.
      x: [n, d] the samples on the device or devices.
      recipe: the settings.
      n_clusters: k.
      seed: from which all random keys come.
      retry: whether a phase that diverges starts again at a lower learning rate.
    """

    def __init__(
        self,
        dataset: Dataset,
        x: jax.Array | Source,
        recipe: Recipe,
        n_clusters: int,
        seed: int = 0,
        callbacks: Callbacks | None = None,
        record: Record | None = None,
        *,
        retry: bool = False,
    ) -> None:
        super().__init__(callbacks, record)
        self.dataset, self.recipe = dataset, recipe
        self.x: Any = x
        self.n_clusters, self.seed, self.retry = n_clusters, seed, retry
        keys = jax.random.split(jax.random.key(seed), 4)
        self.baseline_key, self.pretrain_key, self.z_key, self.train_key = keys
        self.stages = pretraining_stages(recipe.architecture, recipe.pretrain)
        self.choice: Choice | None = None  # of the simple methods, once they were asked

    @property
    def attempt(self) -> Recipe:
        """The recipe with the learning rates of the current attempt of each phase."""
        # From the record, so that a resumed run has the rates at which it stopped.
        tried = [entry["phase"] for entry in self.record.retries]
        factors = {phase: 10.0 ** -tried.count(phase) for phase in set(tried)}
        return slowed(self.recipe, **factors) if factors else self.recipe

    def rate(self, phase: str) -> float:
        """The learning rate of the current attempt; of layers, that of fine-tuning."""
        attempt = self.attempt
        if phase == "clustering":
            return attempt.train.optimizer.learning_rate
        stages = pretraining_stages(attempt.architecture, attempt.pretrain)
        return stages[-1].config.optimizer.learning_rate

    def slow_down(self, phase: str, error: FloatingPointError) -> None:
        """Lowers the learning rate of a phase that diverged.

        Args:
          phase: "pretraining" or "clustering".
          error: what ended the phase; it is raised again where no retry is left.
        """
        number = 1 + sum(entry["phase"] == phase for entry in self.record.retries)
        if not self.retry or number > RETRIES:
            raise error
        entry: dict[str, Any] = {"phase": phase, "reason": str(error)}
        self.record.retries.append(entry)
        entry["learning_rate"] = rate = self.rate(phase)
        self.callbacks.on_retry(
            f"retry {number} of {RETRIES}: {phase} starts again with a learning rate of "
            f"{rate:g}: {error}"
        )

    def start(self, params: Params | None) -> Start:
        """Finds the clusters that training starts from.

        Args:
          params: of the pretrained autoencoder; None if the recipe has no pretraining.

        Returns:
          The state before the first refresh, z, and its labels.

        Raises:
          FloatingPointError: z is not finite, or too large.
        """
        if params is None:
            # In the units that the network sees.
            z: Any = jnp.asarray(scale_input(self.dataset.x, self.recipe.architecture))
            if self.recipe.start == "k-means":
                labels, centroids = self._first_clusters(z, "k-means on x")
            else:
                labels, centroids = self._labeled(z)
            return self._start_of({}, z, centroids, labels)
        z = self.embed(params, self.recipe.architecture)
        try:
            check_samples(z, "z")
            check_magnitude(z, "z")
        except ValueError as error:
            rate = f", now {self.rate('pretraining'):g}" * bool(self.stages)
            raise FloatingPointError(
                "The embedding of the pretrained network is too large for float32; lower "
                f"the learning rate{rate}, or scale the samples down."
            ) from error
        labels, centroids = self._first_clusters(z, "k-means on z")
        if self.recipe.start != "k-means":
            labels, centroids = self._labeled(z)
        return self._start_of(params, z, centroids, labels)

    def _first_clusters(self, z: AnyArray, title: str) -> tuple[jax.Array, jax.Array]:
        """Clusters z by k-means; returns labels and centroids."""
        begin = time.monotonic()
        found = self.k_means(self.z_key, z, title, n_init=self.recipe.n_init)
        labels, centroids = found.labels, found.centroids
        self._stage(title, labels, centroids, z, time.monotonic() - begin)
        return labels, centroids

    def _labeled(self, z: AnyArray) -> tuple[jax.Array, jax.Array]:
        """Labels z by the recipe's start; returns the labels and the clusters' means."""
        begin = self.clock = time.monotonic()
        title, labels = self._start_labels(z)
        centroids = self._means(z, labels)
        self._count(START_TITLES[self.recipe.start])
        self._stage(title, labels, centroids, z, time.monotonic() - begin)
        return labels, centroids

    def _means(self, z: AnyArray, labels: jax.Array) -> jax.Array:
        return cluster_means(z, labels, self.n_clusters)

    def _start_of(
        self, params: Params, z: AnyArray, centroids: jax.Array, labels: jax.Array
    ) -> Start:
        """Joins what clustering starts from."""
        state = self._first_state(params, centroids, labels)
        # A run that is resumed after many intervals may have to go back to the first.
        return Start(state, z, labels, state if self.retry else None)

    def _first_state(
        self, params: Params, centroids: jax.Array, labels: jax.Array
    ) -> TrainState:
        """Makes the state before the first refresh."""
        return init_state(
            self.train_key,
            *clustering_start(self.recipe, self.train_key, params, centroids),
            labels,
            objective=self.recipe.objective,
            config=self.recipe.train,
        )

    def embed(self, params: Params, network: Network) -> AnyArray:
        """Embeds all samples."""
        return _embed(params, self.x, architecture=network)

    def k_means(
        self, key: jax.Array, x: jax.Array | np.ndarray, title: str, *, n_init: int
    ) -> KMeansResult:
        """Runs k-means, a few restarts at a time, with an event after each.

        Args:
          key: random key.
          x: [n, d] the samples, or an embedding of them.
          title: of the phase.
          n_init: restarts.

        Returns:
          The best of all restarts by inertia.
        """
        self.clock, found = time.monotonic(), []
        with self._phase(Phase(title, "restart", n_init)):
            for first in range(0, n_init, RESTARTS_AT_ONCE):
                count = min(RESTARTS_AT_ONCE, n_init - first)
                part = jax.random.fold_in(key, first)
                found.append(k_means(part, x, self.n_clusters, n_init=count))
                best = min(found, key=lambda result: float(result.inertia))
                text = f"inertia {float(best.inertia):.4g}"
                self._step(title, Step(text, count, last=first + count == n_init))
                self._leave_if_stopped()
        return best

    def _start_labels(self, z: AnyArray) -> tuple[str, jax.Array]:
        """Labels z by the recipe's start, on one device; returns the method's name too."""
        key = jax.random.fold_in(self.z_key, 1)
        # On one device of each process, so that many find what one does.
        alone, start, k = np.asarray(z), self.recipe.start, self.n_clusters
        title = name = START_TITLES[start]
        with self._phase(Phase(title, "step", 3 if start == "spectral" else 1)):

            def step() -> None:
                self._step(title, Step("", last=start != "spectral"))
                self._leave_if_stopped()

            if start == "spectral":
                labels = spectral_labels(
                    key,
                    alone.__getitem__,
                    len(alone),
                    k,
                    graph_rows=self.recipe.graph_rows,
                    on_step=step,
                )
                return title, jnp.asarray(from_first(labels))
            seed = int(jax.random.randint(key, (), 0, 2**31 - 1))
            if start == "umap":
                labels = umap_mixture(alone, k, seed=seed)
            else:
                self.choice = self._choose_labels(alone, seed)
                labels = self.choice.labels
                name = f"start: {self.choice.judgment.names[0]}"
            step()
        return name, jnp.asarray(from_first(labels))

    def _choose_labels(self, samples: np.ndarray, seed: int) -> Choice:
        """Asks the simple methods."""
        by_direction = self.dataset.by_direction
        return choose_labels(
            samples, self.n_clusters, seed=seed, by_direction=by_direction
        )

    def _stage(
        self, name: str, labels: Any, centroids: Any, z: Any, seconds: float
    ) -> None:
        """Scores a labeling, and tells of it."""
        labels = np.asarray(labels)
        scored = stage_scores(self.dataset.labels, labels, z, self.n_clusters)
        self.record.stages.append({"name": name, **scored, "seconds": seconds})
        self.callbacks.on_stage(Stage(name, labels, np.asarray(centroids), seconds))
