"""The phases of a run: k-means on x, pretraining, the start of clustering, clustering.

`fit` calls them one after the other. Runs of many seeds call the same phases, with the
training of all seeds in one program between them.
"""

import time
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dec_jax.clustering.kmeans import KMeansResult, k_means
from dec_jax.clustering.spectral import cluster_means, spectral_clustering
from dec_jax.clustering.umap_mixture import umap_mixture
from dec_jax.data.dataset import Dataset
from dec_jax.evaluation.judge import Choice, choose_labels
from dec_jax.evaluation.second_opinion import SecondOpinion, opinion_on
from dec_jax.evaluation.stage_scores import stage_scores
from dec_jax.networks.autoencoder import Params, embed, init_params, scale_input
from dec_jax.networks.own import Network
from dec_jax.parallel.hardware import one_thread
from dec_jax.parallel.processes import from_first
from dec_jax.parallel.sharding import shard_like
from dec_jax.recipes.recipe import Recipe, clustering_start
from dec_jax.runs.callbacks import Callbacks, Phase, PhaseEvents, Record, Stage, Step
from dec_jax.training.cluster import train
from dec_jax.training.layerwise import (
    StageState,
    init_stage,
    pretrain_layerwise,
    pretraining_stages,
)
from dec_jax.training.pretrain import PretrainHistory
from dec_jax.training.state import History, TrainResult, TrainState, init_state

RESTARTS_AT_ONCE = 5  # of k-means, between two events
# The comparison with k-means on x must not cost more than a few seconds: it takes 20
# restarts where the samples have fewer values than this together, else fewer, at least 3.
BASELINE_VALUES = 150_000_000
FEWEST_FOR_OPINION = 30  # samples
SMALL = 200_000  # values of x up to which the comparison is left to scikit-learn
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
    z: jax.Array  # [n, d] of the pretrained autoencoder
    labels: jax.Array  # [n] that clustering starts from


class Phases(PhaseEvents):
    """One seed's phases, which share data, recipe, random keys, callbacks and record.

    Attributes:
      dataset: the samples and what is known of them.
      x: [n, d] the samples on the device or devices.
      recipe: the settings.
      n_clusters: k.
      seed: from which all random keys come.
    """

    def __init__(
        self,
        dataset: Dataset,
        x: jax.Array,
        recipe: Recipe,
        n_clusters: int,
        seed: int = 0,
        callbacks: Callbacks | None = None,
        record: Record | None = None,
    ) -> None:
        super().__init__(callbacks, record)
        self.dataset, self.x, self.recipe = dataset, x, recipe
        self.n_clusters, self.seed = n_clusters, seed
        keys = jax.random.split(jax.random.key(seed), 4)
        self.baseline_key, self.pretrain_key, self.z_key, self.train_key = keys
        self.stages = pretraining_stages(recipe.architecture, recipe.pretrain)
        self.choice: Choice | None = None  # of the simple methods, once they were asked

    @property
    def baseline_title(self) -> str:
        """The name of the comparison: k-means on the samples as they are."""
        images = self.dataset.image_shape is not None
        return "k-means on pixels" if images else "k-means on the data"

    def baseline(self, restarts: int | None = None) -> None:
        """Clusters the samples as they are by k-means, for comparison only.

        Args:
          restarts: of k-means; None takes as many as cost little, 3 to 20, and leaves
            small data to scikit-learn.
        """
        start, title = time.monotonic(), self.baseline_title
        small_enough = restarts is None and self.x.size <= SMALL
        restarts = restarts or max(3, min(20, BASELINE_VALUES // self.x.size))
        if small_enough:
            # Compiling our own k-means takes longer than all restarts of this one.
            from sklearn.cluster import KMeans

            self.clock = start
            small = KMeans(self.n_clusters, n_init=restarts, random_state=self.seed)
            with self._phase(Phase(title, "restart", restarts)):
                one_thread(small.fit)(self.dataset.x)
                text = f"inertia {small.inertia_:.4g}"
                self._step(title, Step(text, restarts, last=True))
                self._leave_if_stopped()
            labels, centroids = small.labels_, small.cluster_centers_
        else:
            found = self.k_means(self.baseline_key, self.x, title, n_init=restarts)
            labels, centroids = found.labels, found.centroids
        seconds = time.monotonic() - start
        self._stage(title, labels, centroids, self.dataset.x, seconds)

    def pretrain(self, resumed: tuple[int, StageState] | None = None) -> Params:
        """Pretrains the autoencoder, end to end or layer by layer.

        Args:
          resumed: the number of a stage and the state in it, from a checkpoint.

        Returns:
          The parameters.
        """
        losses, current = self.record.pretraining_loss, None
        self.clock = time.monotonic()

        def on_epoch(index: int, state: StageState, row: PretrainHistory) -> bool:
            nonlocal current
            title, _, config = self.stages[index]
            done = losses.setdefault(title, [])
            if current != index:
                if current is not None:
                    self.callbacks.on_phase_end()
                current = index
                self.callbacks.on_phase(Phase(title, "epoch", config.epochs, len(done)))
            done.append(float(row.loss))
            step = Step(
                f"loss {row.loss:.5f}",
                name=f"pretrain{index}",
                state=state,
                number=int(state.state.step),
                last=len(done) == config.epochs,
            )
            return self._step("pretraining", step)

        self.stopped = False
        try:
            params, _ = pretrain_layerwise(
                self.pretrain_key,
                self.x,
                architecture=self.recipe.architecture,
                config=self.recipe.pretrain,
                start=resumed,
                on_epoch=on_epoch,
            )
        finally:
            self.callbacks.on_phase_end()
        self._leave_if_stopped()
        self.callbacks.on_pretrained(params)
        return params

    def start(self, params: Params | None) -> Start:
        """Finds the clusters that training starts from.

        Args:
          params: of the pretrained autoencoder; None if the recipe has no pretraining.

        Returns:
          The state before the first refresh, z, and its labels.
        """
        if params is None:
            # In the units that the network sees.
            z = jnp.asarray(scale_input(self.dataset.x, self.recipe.architecture))
            if self.recipe.start == "k-means":
                labels, centroids = self._first_clusters(z, "k-means on x")
            else:
                labels, centroids = self._labeled(z)
            return Start(self._first_state({}, centroids, labels), z, labels)
        z = self.embed(params, self.recipe.architecture)
        labels, centroids = self._first_clusters(z, "k-means on z")
        if self.recipe.start != "k-means":
            labels, centroids = self._labeled(z)
        return Start(self._first_state(params, centroids, labels), z, labels)

    def _first_clusters(self, z: jax.Array, title: str) -> tuple[jax.Array, jax.Array]:
        """Clusters z by k-means; returns labels and centroids."""
        begin = time.monotonic()
        found = self.k_means(self.z_key, z, title, n_init=self.recipe.n_init)
        labels, centroids = found.labels, found.centroids
        self._stage(title, labels, centroids, z, time.monotonic() - begin)
        return labels, centroids

    def _labeled(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Labels z by the recipe's start; returns the labels and the clusters' means."""
        begin = self.clock = time.monotonic()
        title, labels = self._start_labels(z)
        centroids = cluster_means(z, labels, self.n_clusters)
        self._count(START_TITLES[self.recipe.start])
        self._stage(title, labels, centroids, z, time.monotonic() - begin)
        return labels, centroids

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

    def cluster(self, start: Start) -> TrainResult:
        """Trains network and clusters until labels stop changing.

        Args:
          start: from `start`, or from a checkpoint.

        Returns:
          The result of `dec_jax.train`.

        Raises:
          FloatingPointError: q is no longer finite.
        """
        config = self.recipe.train

        def on_interval(state: TrainState, rows: History) -> bool:
            self.record.add_interval(rows, state.labels, self.dataset.labels)
            text = f"labels changed {rows.label_change[-1]:.2%}"
            saved = start._replace(state=state)
            step = Step(text, name="train", state=saved, number=int(state.step))
            return self._step("clustering", step)

        self.stopped = False
        self.clock = time.monotonic()
        done = int(start.state.step) // config.update_interval
        with self._phase(Phase("clustering", "interval", config.max_intervals, done)):
            result = train(
                start.state,
                self.x,
                architecture=self.recipe.network,
                objective=self.recipe.objective,
                config=config,
                on_interval=on_interval,
            )
        self._count("clustering")
        if result.stop_reason.startswith("stopped"):
            self._leave_if_stopped()
        if not np.isfinite(result.q).all():
            raise FloatingPointError(f"Clustering failed: {result.stop_reason}.")
        return result

    def add_result(self, result: TrainResult, start: Start) -> np.ndarray:
        """Scores the labels of the end, and embeds the samples.

        Without classes, clusters are compared in the space that clustering started from:
        training pulls them apart in its own, whether they are right or wrong.

        Args:
          result: of the clustering phase.
          start: of the clustering phase.

        Returns:
          z, [n, e], of the final parameters.
        """
        z = np.asarray(self.embed(result.state.params, self.recipe.network))
        seconds = self.record.seconds.get("clustering", 0.0)
        self._stage(self.recipe.name, result.labels, result.centroids, start.z, seconds)
        return z

    def second_opinion(self, start: Start, result: TrainResult) -> SecondOpinion | None:
        """Asks simple methods about the labels of the end; they see no trained space.

        They label the pretrained z of images, whose pixels are far from any cluster, and
        other samples as they are.

        Returns:
          The opinion; None for one cluster, or for few samples.
        """
        n, k = len(self.x), self.n_clusters
        if k == 1 or n < max(FEWEST_FOR_OPINION, 2 * k):
            return None
        title = "second opinion"
        self.clock = time.monotonic()
        if self.choice is None:
            # Not self.x, of which each of several processes has a part.
            images = self.dataset.image_shape is not None
            space = start.z if images else self.dataset.x
            with self._phase(Phase(title, "step", 1)):
                alone = np.asarray(space, np.float32)
                self.choice = self._choose_labels(alone, self.seed)
                self._step(title, Step("", last=True))
        found = opinion_on(result.labels, self.choice, seed=self.seed)
        self._count(title)
        return found

    def embed(self, params: Params, network: Network) -> jax.Array:
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

    def blank_pretraining(self, index: int) -> StageState:
        """A state of a pretraining stage with the shapes of a real one."""
        return init_stage(
            self.pretrain_key,
            index,
            architecture=self.recipe.architecture,
            config=self.recipe.pretrain,
            n_samples=len(self.x),
        )

    def blank_start(self) -> Start:
        """A start of clustering with the shapes of a real one."""
        n, network = len(self.x), self.recipe.architecture
        width = network.embedding_dim if self.stages else network.input_dim
        params = init_params(self.pretrain_key, network) if self.stages else {}
        z, labels = jnp.zeros((n, width)), jnp.zeros(n, jnp.int32)
        state = self._first_state(params, z[: self.n_clusters], labels)
        return Start(state, z, labels)

    def _start_labels(self, z: jax.Array) -> tuple[str, jax.Array]:
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
                labels = spectral_clustering(key, alone, k, on_step=step).labels
                return title, jnp.asarray(from_first(labels))
            seed = int(jax.random.randint(key, (), 0, 2**31 - 1))
            if start == "umap":
                labels = umap_mixture(alone, k, seed=seed)
            else:
                self.choice = self._choose_labels(alone, seed)
                labels, name = self.choice.labels, self.choice.judgment.names[0]
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
