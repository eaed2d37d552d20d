"""`fit`: from samples to clusters, with a verdict, in one call."""

import os
import warnings
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Num

from dec_jax import model as models
from dec_jax.data.arrays import dataset_from_array
from dec_jax.data.dataset import Dataset, columns_from_json
from dec_jax.data.load import Frame, load_as_in_training, load_dataset
from dec_jax.data.reading import reading_from_json
from dec_jax.data.tables import load_table
from dec_jax.data.text_space import text_space_from_json
from dec_jax.data.texts import dataset_from_texts
from dec_jax.evaluation.health import Health, health
from dec_jax.evaluation.judge import Choice
from dec_jax.evaluation.n_clusters import Recommendation
from dec_jax.evaluation.second_opinion import SecondOpinion, with_open_number
from dec_jax.networks.own import Network
from dec_jax.objectives import AEC, DCN, DEN, ACeDeC
from dec_jax.parallel.sharding import check_divides, replicate, shard_rows
from dec_jax.recipes.recipe import Recipe
from dec_jax.runs.callbacks import Callbacks, Record
from dec_jax.runs.choices import choose_recipe
from dec_jax.runs.errors import diverged
from dec_jax.runs.k_search import resolve_n_clusters
from dec_jax.runs.phase_start import Start
from dec_jax.runs.phases import Phases
from dec_jax.runs.streamed import check_streamed, phases_of, streamed_dataset
from dec_jax.streaming import Source
from dec_jax.streaming.dataset import SourceRows
from dec_jax.training.layerwise import StageState, pretraining_stages
from dec_jax.training.state import History, TrainResult
from dec_jax.validation import check_seed

Samples = (
    Dataset
    | Num[Array | np.ndarray, "n ..."]
    | Bool[Array | np.ndarray, "n ..."]
    | str
    | os.PathLike[str]
    | Frame
    | list[str]
    | Source
)


@dataclass(frozen=True, eq=False, repr=False)
class FitResult:
    """The clusters that `fit` found; all arrays belong to the same parameters.

    Attributes:
      labels: [n] int32, the cluster of each sample, from 0, the largest, to k - 1.
      q: [n, k] float32, the soft assignment of each sample; rows sum to 1.
      z: [n, e] float32, the embedding of each sample.
      centroids: [k, e] in the space of z.
      stages: the scores of each labeling on the way, such as k-means on z: "name",
        "seconds", and "acc", "nmi" and "ari" where there are classes, else "smallest",
        "largest", "evenness" and "silhouette".
      health: whether training was stable, and the numbers that this rests on.
      opinion: whether the clusters can be trusted, by simple methods; None without
        `baseline`, for one cluster, or for few samples.
      alternatives: the labelings of the simple methods; None where there is no opinion.
      history: one row an interval of clustering.
      pretraining_loss: the loss of each epoch.
      seconds: by phase.
      n_steps: gradient steps of clustering.
      stop_reason: the reason why training ended, in words.
      retries: one entry for each new attempt of a phase that diverged: the "phase", the
        "learning_rate" of the new attempt, and the "reason". Empty without retries.
      recipe: the settings.
      model: what `dec_jax.model.save` writes, and `predict` uses.
      start: what clustering started from: its state, z and labels.
      recommendation: of the search for the number of clusters, if there was one.
    """

    labels: Int[np.ndarray, " n"]
    q: Float[np.ndarray, "n k"]
    z: Float[np.ndarray, "n e"]
    centroids: Float[np.ndarray, "k e"]
    stages: list[dict[str, Any]]
    health: Health
    opinion: SecondOpinion | None
    alternatives: Choice | None
    history: History
    pretraining_loss: list[float]
    seconds: dict[str, float]
    n_steps: int
    stop_reason: str
    retries: list[dict[str, Any]]
    recipe: Recipe
    model: models.Model
    start: Start
    recommendation: Recommendation | None = None

    def __repr__(self) -> str:
        sizes = np.bincount(self.labels, minlength=len(self.centroids))
        opinion = self.opinion.verdict if self.opinion else "none"
        return (
            f"FitResult of recipe {self.recipe.name}: {len(self.labels):,} samples in "
            f"{len(sizes)} clusters of {sizes.min():,} to {sizes.max():,}; training "
            f"{'stable' if self.health.healthy else 'not stable'}; second opinion: {opinion}"
        )

    def predict(self, x: Samples) -> Int[np.ndarray, " m"]:
        """Assigns new samples, in the units of those of `fit`, to the clusters."""
        return models.predict(self.model, _new_samples(self.model, x))

    def predict_proba(self, x: Samples) -> Float[np.ndarray, "m k"]:
        """Computes q of new samples, in the units of those of `fit`."""
        return models.predict_proba(self.model, _new_samples(self.model, x))

    def transform(self, x: Samples) -> Float[np.ndarray, "m e"]:
        """Embeds new samples, in the units of those of `fit`."""
        return models.transform(self.model, _new_samples(self.model, x))


def fit(
    x: Samples,
    n_clusters: int | str | None = None,
    *,
    recipe: str | Recipe | None = None,
    network: Network | None = None,
    seed: int = 0,
    epochs: int | None = None,
    max_intervals: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    precision: str | None = None,
    retry: bool = False,
    standardize: bool = True,
    baseline: bool = True,
    mesh: Mesh | None = None,
    memory: int | None = None,
    callbacks: Callbacks | None = None,
) -> FitResult:
    """Clusters samples: pretrains an autoencoder, finds a start, and trains the clusters.

    Writes no file and prints nothing. The same arguments give the same result on the
    same machine, equal to a run of the `dec-jax cluster` command with the same seed.

    Args:
      x: the samples: an array [n, d], [n, h, w] or [n, h, w, c] of finite numbers, a
        pandas DataFrame (see `load_table`), a list of texts (`dataset_from_texts`), a
        `Dataset`, the name or path that `load_dataset` takes, or a source of
        `dec_jax.streaming`, whose rows are read as they are needed. Images of type uint8
        are scaled from 0 to 255 to 0 to 1; numbers of a table are divided by the root of
        their columns' mean variance, or each column by a scale of its own where there are
        at most 64 and their scales differ more than tenfold.
      n_clusters: k, at least 1, which is warned of; "auto", "density" or "dip" looks for it
        (see `find_n_clusters`); None counts the classes of a data set that has labels.
      recipe: a name of `dec_jax.recipes.names.RECIPES`, or settings. None takes `best`
        for images and `auto` for everything else.
      network: takes the place of the recipe's own network.
      seed: decides all random numbers, from 0 to 2^32 - 1.
      epochs: of pretraining, in place of the recipe's own.
      max_intervals: the most intervals of clustering, in place of the recipe's own.
      batch_size: samples in a step, in place of the recipe's own.
      learning_rate: of clustering, in place of the recipe's own; the rates of pretraining
        change by the same factor.
      precision: "float32" or "bfloat16", of matrix products; None takes the one that
        these devices are faster in.
      retry: starts a phase again if its loss or parameters are no longer finite, at a tenth
        of its learning rate, at most twice.
      standardize: False leaves the numbers of an array as they are.
      baseline: also clusters x by k-means, for comparison, and asks simple methods for a
        second opinion.
      mesh: devices over which the rows are spread (`parallel.sharding.data_mesh`);
        None computes on one device.
      memory: bytes that a run may take; None takes those that are free. Rows of an .npy
        file that would take more are read as they are needed (`dec_jax.streaming`); q and
        z of the result are then maps of scratch files, and there is no baseline.
      callbacks: told of each event, for a progress bar or a checkpoint.

    Returns:
      The clusters, and functions that assign new samples to them.

    Raises:
      TypeError, ValueError: an argument is out of its range, in one line.
      FloatingPointError: a loss, or what is trained, is no longer finite.
      Stopped: a callback stopped the run.

    Example:
      >>> import numpy as np
      >>> from dec_jax import dense_architecture, fit
      >>> rng = np.random.default_rng(0)
      >>> x = np.concatenate([rng.normal(0, 1, (50, 4)), rng.normal(9, 1, (50, 4))])
      >>> small = dense_architecture(4, hidden=(16,), embedding_dim=2)
      >>> result = fit(x, 2, recipe="dec", network=small, epochs=2, max_intervals=2)
      >>> sorted(np.bincount(result.labels).tolist())
      [50, 50]
      >>> result.predict(x[:3]).shape
      (3,)
    """
    check_seed(seed)
    k_if_given = None if isinstance(n_clusters, str) else n_clusters
    streamed = streamed_dataset(x, k_if_given, memory, standardize=standardize)
    dataset = streamed or as_dataset(x, standardize=standardize)
    k, found = resolve_n_clusters(
        n_clusters, dataset, network=network, epochs=epochs, precision=precision
    )
    if k == 1:
        text = "n_clusters=1 puts all samples into one cluster; give 2 or more."
        warnings.warn(text, stacklevel=2)
    settings = choose_recipe(
        recipe,
        dataset,
        k,
        network=network,
        epochs=epochs,
        max_intervals=max_intervals,
        batch_size=batch_size,
        learning_rate=learning_rate,
        precision=precision,
    )
    if mesh is not None:
        check_batches(settings, len(dataset.x), mesh)
    check_streamed(dataset, settings, mesh)
    phases = phases_of(dataset)(
        dataset, place(dataset.x, mesh), settings, k, seed, callbacks, retry=retry
    )
    try:
        result = run_phases(phases, baseline=baseline)
    except FloatingPointError as error:
        line = diverged(
            *(error, settings.train.optimizer.learning_rate),
            learning_rate="learning_rate",
            retry="retry=True",
            retried=retry,
        )
        raise FloatingPointError(line) from error
    opinion = result.opinion
    if opinion is not None and found is not None:
        opinion = with_open_number(opinion, found.others)
    return replace(result, recommendation=found, opinion=opinion)


def run_phases(
    phases: Phases,
    *,
    baseline: bool = True,
    params: Any = None,
    resumed: tuple[int, StageState] | Start | None = None,
) -> FitResult:
    """Calls the phases one after the other, from the first or from a checkpoint.

    Args:
      phases: of a seed; its record holds what was done before a checkpoint.
      baseline: also clusters x by k-means, unless the record has it.
      params: of an autoencoder that was pretrained before, instead of pretraining one.
      resumed: a stage of pretraining and the state in it, or a start of clustering.

    Returns:
      The result.
    """
    if isinstance(resumed, Start):
        start = resumed
    else:
        if baseline and not phases.record.stages:
            phases.baseline()
        start = _started(phases, params, resumed)
    return result_of(phases, start, _clustered(phases, start), opinion=baseline)


def _started(
    phases: Phases, params: Any, resumed: tuple[int, StageState] | None
) -> Start:
    """Pretrains, unless parameters are given, and finds the start of clustering."""
    if params is not None or not phases.stages:
        return phases.start(params)
    while True:
        try:
            return phases.start(phases.pretrain(resumed))
        except FloatingPointError as error:
            phases.slow_down("pretraining", error)
            phases.record.pretraining_loss.clear()
            resumed = None


def _clustered(phases: Phases, start: Start) -> TrainResult:
    """Trains network and clusters, from their start again where they diverge."""
    while True:
        try:
            return phases.cluster(start)
        except FloatingPointError as error:
            phases.slow_down("clustering", error)
            phases.record.history = Record().history
            assert start.first is not None
            start = start._replace(state=start.first)


def result_of(
    phases: Phases, start: Start, trained: TrainResult, *, opinion: bool = True
) -> FitResult:
    """Numbers the clusters by size, scores the end of a run, and joins all it found."""
    sizes = np.bincount(trained.labels, minlength=phases.n_clusters)
    order = np.argsort(-sizes, kind="stable")
    trained = phases.reordered(trained, order)
    labels = jnp.argsort(jnp.asarray(order))[start.labels]
    start = start._replace(labels=labels, first=None)
    phases.record.reorder_clusters(order)
    z, recipe, record = phases.add_result(trained, start), phases.recipe, phases.record
    found = phases.second_opinion(start, trained) if opinion else None
    return FitResult(
        labels=trained.labels,
        q=trained.q,
        z=z,
        centroids=trained.centroids,
        stages=record.stages,
        health=run_health(record, recipe, final_q=trained.q),
        opinion=found,
        alternatives=phases.choice,
        history=record.joined_history(),
        pretraining_loss=record.network_losses,
        seconds=record.seconds,
        n_steps=trained.n_steps,
        stop_reason=trained.stop_reason,
        retries=record.retries,
        recipe=recipe,
        model=models.Model(
            trained.state.params,
            recipe.network,
            recipe.objective.alpha,
            models.data_metadata(phases.dataset, trained.q),
        ),
        start=start,
    )


def run_health(record: Record, recipe: Recipe, **options: Any) -> Health:
    """Judges the stability of a recipe's training so far."""
    return health(
        record.joined_history(),
        # A learner has learned nothing before the first interval.
        first=0 if recipe.learner is None else 1,
        trained_by_q=not isinstance(recipe.objective, DCN | AEC | ACeDeC | DEN),
        **options,
    )


def as_dataset(x: Samples, *, standardize: bool = True) -> Dataset:
    """Makes a `Dataset` of samples, or loads the one of that name."""
    if isinstance(x, Dataset):
        return x
    if isinstance(x, str | os.PathLike):
        return load_dataset(x)
    if isinstance(x, Frame):
        return load_table(x, standardize=standardize)
    if isinstance(x, list) and isinstance(next(iter(x), None), str):
        return dataset_from_texts(x)
    return dataset_from_array(x, standardize=standardize)


def place(x: Any, mesh: Mesh | None) -> Any:
    """Puts the samples on the device, or spreads their rows over those of a mesh.

    Every device gets all rows where the devices do not divide them. Rows that are read as
    they are needed stay in their source.
    """
    if isinstance(x, SourceRows):
        return x.source
    if mesh is None:
        return jnp.asarray(x)
    if len(x) % mesh.size:
        return replicate(jnp.asarray(x), mesh)
    return shard_rows(x, mesh)


def check_batches(recipe: Recipe, n_samples: int, mesh: Mesh) -> None:
    """Raises ValueError unless the devices can share each batch of the recipe."""
    stages = pretraining_stages(recipe.architecture, recipe.pretrain)
    sizes = [stage.config.batch_size for stage in stages]
    for batch_size in (*sizes, recipe.train.batch_size):
        check_divides("batch_size", min(batch_size, n_samples), mesh)


def _new_samples(model: models.Model, x: Samples) -> Dataset:
    """New samples as a `Dataset`: files as in training, others in their units."""
    found = load_as_in_training(
        x,
        columns_from_json(model.metadata.get("columns")),
        text_space_from_json(model.metadata.get("text_space")),
    )
    if found is not None:
        return found
    if isinstance(x, str | os.PathLike):
        reading = reading_from_json(model.metadata.get("reading"))
        return load_dataset(x, reading=reading)
    return as_dataset(x, standardize=False)
