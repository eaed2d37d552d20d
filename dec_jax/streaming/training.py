"""Data larger than the device, or than memory: read in blocks, the next while this one trains.

The steps are those of `pretrain.py` and `train.py`, the device runs many of them on each
block, and each epoch takes the samples in the order of the in-memory run:

    from dec_jax import streaming

    source = streaming.NpySource("images.npy")
    params, losses = streaming.pretrain(keys[0], source, architecture=net)
    start = streaming.k_means(keys[1], params, source, 10, architecture=net)
    state = streaming.init_state(keys[2], params, start.centroids, start.labels)
    result = streaming.train(state, source, architecture=net)

`ArrayRecordSource` and `ImageFolderSource` read other files; anything with a `name`, a
`shape`, a `dtype` and a `read` is a source (`Source`).

At each refresh one pass over the samples writes q to a scratch file and sums its columns; a
pass over q writes p, exact, from which the steps read theirs. In memory p would outgrow all
else; made anew of each batch it would cost a third of the speed of DEC. What is held of each
sample is its label, 4 bytes, two or three times, and unless runs are shuffled
(`Reading.run_length`) its place in the epoch, 4 bytes, 12 while that is drawn.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from dec_jax.networks.autoencoder import Params
from dec_jax.networks.own import Network
from dec_jax.objectives import DEC, Losses, Objective
from dec_jax.streaming.passes import (
    Look,
    assign,
    check_clustering,
    check_width,
    embed,
    k_means,
    look,
    refreshed,
    targets,
)
from dec_jax.streaming.read_ahead import Reading, batches, run_blocks
from dec_jax.streaming.sources import (
    ArrayRecordSource,
    ArraySource,
    ImageFolderSource,
    NpySource,
    Source,
    source_of,
    write_npy,
)
from dec_jax.training import state as train_state
from dec_jax.training.cluster import join_history, stop_reason, train_step
from dec_jax.training.minibatches import steps_per_epoch
from dec_jax.training.pretrain import (
    PretrainConfig,
    PretrainHistory,
    PretrainState,
    check_pretraining,
    init_pretraining,
    pretrain_step,
    run_epochs,
)
from dec_jax.training.state import History, TrainConfig, TrainResult, TrainState
from dec_jax.validation import check_n_clusters, check_samples

__all__ = [
    "ArrayRecordSource",
    "ArraySource",
    "ImageFolderSource",
    "NpySource",
    "Reading",
    "Source",
    "assign",
    "embed",
    "init_state",
    "k_means",
    "pretrain",
    "train",
    "write_npy",
]


def pretrain(
    key: jax.Array,
    source: Source | np.ndarray,
    *,
    architecture: Network,
    config: PretrainConfig = PretrainConfig(),
    reading: Reading = Reading(),
    validation: Num[Array, "m d"] | np.ndarray | None = None,
    state: PretrainState | None = None,
    on_epoch: Callable[[PretrainState, PretrainHistory], bool | None] | None = None,
) -> tuple[Params, PretrainHistory]:
    """`pretrain_end_to_end` of a source; the same key gives the same parameters.

    Args:
      key: a `jax.random.key`.
      source: the samples.
      architecture: the network.
      config: epochs, batch, optimizer, noise and loss.
      reading: how the source is read.
      validation: further samples, in memory.
      state: where an earlier run stopped.
      on_epoch: called after each epoch with the state (to save, not to keep) and the
        epoch's losses; True stops training.

    Returns:
      The parameters, and the losses of each epoch run here.

    Raises:
      TypeError, ValueError: the samples do not fit the architecture or the objective, or
        a block of them is not finite.
      FloatingPointError: the loss is no longer finite.
    """
    source = source_of(source)
    check_width(source, architecture)
    check_pretraining(None, validation, architecture, config)
    n = source.shape[0]
    if state is None:
        settings: Any = {"architecture": architecture, "config": config}
        state = init_pretraining(key, n_samples=n, **settings)
    # The compiled steps take over their argument's memory; the caller's stays.
    state = jax.tree.map(jnp.copy, state)
    epoch_steps = steps_per_epoch(n, config.batch_size)

    def check(x: np.ndarray) -> None:
        check_pretraining(x, None, architecture, config)

    def epoch(state: PretrainState, **settings: Any) -> tuple[PretrainState, Array]:
        key, first = jax.random.fold_in(state.key, 0), int(state.step)
        steps = (key, first, epoch_steps - first % epoch_steps, config.batch_size)
        state, (losses, weights) = run_blocks(
            partial(_pretrain_block, n_samples=n, **settings),
            state,
            batches(source, *steps, reading=reading, check=check),
        )
        mean = jnp.asarray(losses).sum() / jnp.asarray(weights).sum()
        return state, mean[None]

    return run_epochs(
        state,
        epoch,
        architecture=architecture,
        config=config,
        epoch_steps=epoch_steps,
        validation=None if validation is None else jnp.asarray(validation),
        on_epoch=on_epoch,
    )


def init_state(
    key: jax.Array,
    params: Params,
    centroids: Float[Array, "k d"],
    labels: Int[Array | np.ndarray, " n"],
    *,
    objective: Objective = DEC(),
    config: TrainConfig = TrainConfig(),
) -> TrainState:
    """The state before the first refresh; `targets` is empty, as p is never held.

    Args:
      key: a `jax.random.key`, for shuffling and augmentation.
      params: of the pretrained autoencoder.
      centroids: where the clusters start.
      labels: the clusters that the samples start in, int32.
      objective: the method.
      config: the settings of the phase.

    Returns:
      The state; `params` and `centroids` are copied into it.

    Raises:
      ValueError: more centroids than samples.
    """
    k = len(centroids)
    check_n_clusters(k, len(labels))
    state = train_state.init_state(
        *(key, params, centroids, jnp.arange(k)), objective=objective, config=config
    )
    # Nothing takes over the memory of labels: those on the device can be shared.
    kept = jnp.asarray if isinstance(labels, jax.Array) else jnp.array
    return state._replace(targets=jnp.zeros((0, k)), labels=kept(labels, jnp.int32))


def train(
    state: TrainState,
    source: Source | np.ndarray,
    *,
    architecture: Network,
    objective: Objective = DEC(),
    config: TrainConfig = TrainConfig(),
    reading: Reading = Reading(),
    on_interval: Callable[[TrainState, History], bool | None] | None = None,
) -> TrainResult:
    """`train` of a source: intervals of refresh and steps until labels stop changing.

    The same state gives the same result on the same machine, unbroken or resumed; on
    data that fits, the labels of the in-memory run.

    Args:
      state: from `streaming.init_state`, or where an earlier run stopped. It stays usable.
      source: the samples.
      architecture: the network.
      objective: the method, `DEC()`, `IDEC()` or `DCN()`.
      config: the settings of the phase. `frozen_target_intervals`, `reseed_below` and
        `keep_cluster_sizes` need p and z of all samples in memory, and are not for a stream.
      reading: how the source is read.
      on_interval: called after each interval with the state (to save, not to keep) and
        the history's new row; True stops.

    Returns:
      Labels, q and centroids of the final parameters, history, and why it stopped; q is
      a map of a scratch file that is gone with it.

    Raises:
      TypeError, ValueError: the samples do not fit the architecture, the state or the
        method, or are not finite; a setting or method that a stream does not have.
      OSError: the scratch folder has no room for q and p.
    """
    source = source_of(source)
    check_clustering(source, len(state.labels), architecture, objective, config)
    # The compiled steps take over their argument's memory; the caller's stays. Labels
    # stay out of the steps.
    labels = jnp.asarray(state.labels)
    bare = state._replace(targets=state.targets[:0], labels=labels[:0])
    state = jax.tree.map(jnp.copy, bare)._replace(labels=labels)
    del labels
    settings: Any = {"architecture": architecture, "objective": objective}
    look_at = partial(
        look,
        source=source,
        architecture=architecture,
        objective=objective,
        reading=reading,
    )
    rows: list[History] = []
    stopped, seen = False, None
    while not (done := stop_reason(state, config)) and not stopped:
        # The old q goes before the new one comes: disk for one of them is enough.
        seen = None
        seen = look_at(state.params, previous=np.asarray(state.labels))
        # The old labels go before the new ones are copied.
        state = state._replace(labels=state.labels[:0])
        state, seen = refreshed(state, seen, config)
        row = _row(state, seen)
        if not state.converged:
            state, losses = _interval(
                state, source, seen, reading, config=config, **settings
            )
            row, seen = row._replace(**losses), None
        rows.append(row)
        if on_interval is not None:
            stopped = bool(on_interval(state, row))
    if seen is None:
        seen = look_at(state.params)
    return TrainResult(
        state=state,
        labels=seen.labels,
        q=seen.q.x,
        centroids=np.asarray(state.params["centroids"]),
        history=join_history(rows, n_clusters=seen.q.x.shape[1]),
        n_steps=int(state.step),
        stop_reason=done or "stopped by the caller",
    )


@partial(
    jax.jit,
    static_argnames=("architecture", "config", "n_samples"),
    donate_argnames="state",
)
def _pretrain_block(
    state: PretrainState,
    x: Num[Array, "s b d"],
    weights: Float[Array, "s b"],
    *,
    architecture: Network,
    config: PretrainConfig,
    n_samples: int,
) -> tuple[PretrainState, tuple[Float[Array, " s"], Float[Array, " s"]]]:
    """The steps of one block in one program."""

    def step(
        state: PretrainState, batch: tuple[jax.Array, jax.Array]
    ) -> tuple[PretrainState, tuple[jax.Array, jax.Array]]:
        x, weights = batch
        state, loss = pretrain_step(
            state,
            x,
            weights,
            architecture=architecture,
            config=config,
            n_samples=n_samples,
        )
        return state, (loss, weights.sum())

    return jax.lax.scan(step, state, (x, weights))


@partial(
    jax.jit,
    static_argnames=("architecture", "objective", "config"),
    donate_argnames="state",
)
def _train_block(
    state: TrainState,
    x: Num[Array, "s b d"],
    weights: Float[Array, "s b"],
    p: Float[Array, "s b k"],
    *,
    architecture: Network,
    objective: Objective,
    config: TrainConfig,
) -> tuple[TrainState, tuple[Losses, Float[Array, " s"]]]:
    """The steps of one block in one program."""

    def step(
        state: TrainState, batch: tuple[jax.Array, jax.Array, jax.Array]
    ) -> tuple[TrainState, tuple[Losses, jax.Array]]:
        x, weights, p = batch
        state, losses = train_step(
            state,
            x,
            p,
            weights,
            architecture=architecture,
            objective=objective,
            config=config,
        )
        return state, (losses, weights.sum())

    return jax.lax.scan(step, state, (x, weights, p))


def _interval(
    state: TrainState,
    source: Source,
    seen: Look,
    reading: Reading,
    *,
    architecture: Network,
    objective: Objective,
    config: TrainConfig,
) -> tuple[TrainState, dict[str, np.ndarray]]:
    """The steps of an interval, and the mean of each term of the loss."""

    def check(x: np.ndarray) -> None:
        check_samples(x, source.name)
        objective.check(x, architecture)

    read_ahead = batches(
        source,
        jax.random.fold_in(state.key, 0),
        int(state.step),
        config.update_interval,
        config.batch_size,
        reading=reading,
        check=check,
        beside=targets(seen, state.params["centroids"], reading),
    )
    program = partial(
        _train_block,
        architecture=architecture,
        objective=objective,
        config=config,
    )
    # What no step changes stays out of the programs.
    labels = state.labels
    state, (losses, weights) = run_blocks(
        program, state._replace(labels=labels[:0]), read_ahead
    )
    means = [np.float32(loss.sum() / weights.sum())[None] for loss in losses]
    names = ("loss", "clustering", "reconstruction")
    return state._replace(labels=labels), dict(zip(names, means, strict=True))


def _row(state: TrainState, seen: Look) -> History:
    """A row of the history, before the interval's steps."""
    nan = np.full(1, np.nan, np.float32)
    return History(
        *(nan, nan, nan),
        label_change=np.array([float(state.label_change)], np.float32),
        cluster_sizes=seen.sizes[None],
        converged=np.array([bool(state.converged)]),
        max_q=np.float32(seen.max_q)[None],
        q_entropy=np.float32(seen.q_entropy)[None],
        reseeded=np.zeros(1, np.int32),
    )
