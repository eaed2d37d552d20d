"""The phases of a run: k-means on x, pretraining, the start of clustering, clustering.

`fit` calls them one after the other. Runs of many seeds call the same phases, with the
training of all seeds in one program between them.
"""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dec_jax.evaluation.judge import Choice
from dec_jax.evaluation.second_opinion import SecondOpinion, opinion_on
from dec_jax.networks.autoencoder import Params, init_params
from dec_jax.parallel.hardware import one_thread
from dec_jax.runs.callbacks import Phase, Record, Step
from dec_jax.runs.phase_start import Start, StartPhase
from dec_jax.training.cluster import train
from dec_jax.training.layerwise import StageState, init_stage, pretrain_layerwise
from dec_jax.training.loop import STOPPED
from dec_jax.training.pretrain import PretrainHistory
from dec_jax.training.state import History, TrainResult, TrainState, reorder_clusters

# The comparison with k-means on x must not cost more than a few seconds: it takes 20
# restarts where the samples have fewer values than this together, else fewer, at least 3.
BASELINE_VALUES = 150_000_000
FEWEST_FOR_OPINION = 30  # samples
SMALL = 200_000  # values of x up to which the comparison is left to scikit-learn


def not_finite(record: Record, rate: float) -> str:
    """One line on a clustering phase that diverged at a learning rate."""
    return (
        f"Clustering diverged: q is no longer finite after interval "
        f"{len(record.history['loss'])}; lower the learning rate, now {rate:g}."
    )


class Phases(StartPhase):
    """One seed's phases, which share data, recipe, random keys, callbacks and record."""

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

        Raises:
          FloatingPointError: the loss or the parameters are no longer finite.
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
            params = self._pretrain(resumed, on_epoch)
        finally:
            self.callbacks.on_phase_end()
        self._leave_if_stopped()
        # The last step of all may leave what no loss has shown.
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params)):
            raise FloatingPointError(
                "The parameters are no longer finite after the last epoch of pretraining; "
                f"lower the learning rate, now {self.rate('pretraining'):g}."
            )
        self.callbacks.on_pretrained(params)
        return params

    def _pretrain(
        self, resumed: tuple[int, StageState] | None, on_epoch: Any
    ) -> Params:
        return pretrain_layerwise(
            self.pretrain_key,
            self.x,
            architecture=self.recipe.architecture,
            config=self.attempt.pretrain,
            start=resumed,
            on_epoch=on_epoch,
        )[0]

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
            result = self._train(start.state, on_interval)
        self._count("clustering")
        if result.stop_reason == STOPPED:
            self._leave_if_stopped()
        if not np.isfinite(result.q).all():
            raise FloatingPointError(not_finite(self.record, self.rate("clustering")))
        return result

    def _train(self, state: TrainState, on_interval: Any) -> TrainResult:
        return train(
            state,
            self.x,
            architecture=self.recipe.network,
            objective=self.recipe.objective,
            config=self.attempt.train,
            on_interval=on_interval,
        )

    def reordered(self, trained: TrainResult, order: np.ndarray) -> TrainResult:
        """Numbers the clusters anew; `order` holds the old numbers."""
        return reorder_clusters(trained, order)

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
        n, k = len(self.dataset.x), self.n_clusters
        if k == 1 or n < max(FEWEST_FOR_OPINION, 2 * k):
            return None
        title = "second opinion"
        self.clock = time.monotonic()
        if self.choice is None:
            # Not self.x, of which each of several processes has a part.
            images = self.dataset.image_shape is not None
            space = start.z if images else self.dataset.x
            with self._phase(Phase(title, "step", 1)):
                self.choice = self._other_labels(space)
                self._step(title, Step("", last=True))
        found = opinion_on(result.labels, self.choice, seed=self.seed)
        self._count(title)
        return found

    def blank_pretraining(self, index: int) -> StageState:
        """A state of a pretraining stage with the shapes of a real one."""
        return init_stage(
            self.pretrain_key,
            index,
            architecture=self.recipe.architecture,
            config=self.recipe.pretrain,
            n_samples=len(self.dataset.x),
        )

    def blank_start(self) -> Start:
        """A start of clustering with the shapes of a real one."""
        n, network = len(self.dataset.x), self.recipe.architecture
        width = network.embedding_dim if self.stages else network.input_dim
        params = init_params(self.pretrain_key, network) if self.stages else {}
        z, labels = jnp.zeros((n, width)), jnp.zeros(n, jnp.int32)
        state = self._first_state(params, z[: self.n_clusters], labels)
        return Start(state, z, labels, state if self.retry else None)

    def _other_labels(self, space: Any) -> Choice:
        return self._choose_labels(np.asarray(space, np.float32), self.seed)
