"""Training on data larger than memory: blocks are read while the device trains.

The device runs many steps on each block. The steps are those of the in-memory run, and each
epoch takes the samples in the same order:

    from dec_jax import streaming

    source = streaming.NpySource("images.npy")
    params, losses = streaming.pretrain(keys[0], source, architecture=net)
    start = streaming.k_means(keys[1], params, source, 10, architecture=net)
    state = streaming.init_state(keys[2], params, start.centroids, start.labels)
    result = streaming.train(state, source, architecture=net)

`ArrayRecordSource` and `ImageFolderSource` read other files; any object with a `name`, a
`shape`, a `dtype` and a `read` method is a source (`Source`).

At each refresh, one pass over the samples writes q to a scratch file and sums its columns.
A pass over q then writes the exact p to another scratch file, from which the steps read the
p of their batches. Recomputing p for each batch instead would cost a third of the speed of
DEC. For each sample, memory holds two or three copies of its label, 4 bytes each, and its
place in the epoch: 4 bytes, or 12 while the order is drawn. `Reading.run_length` above 1
avoids the place.
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
    check_clustering,
    check_width,
    look,
    refreshed,
)
from dec_jax.streaming.read_ahead import Reading, batches, run_blocks
from dec_jax.streaming.sources import Source, source_of
from dec_jax.streaming.targets import frozen_targets, targets
from dec_jax.training import state as train_state
from dec_jax.training.cluster import train_step
from dec_jax.training.loop import check_pretraining, result_of, stop_reason
from dec_jax.training.minibatches import steps_per_epoch
from dec_jax.training.pretrain import (
    PretrainConfig,
    PretrainHistory,
    PretrainState,
    init_pretraining,
    pretrain_step,
    run_epochs,
)
from dec_jax.training.refresh import is_frozen
from dec_jax.training.state import History, TrainConfig, TrainResult, TrainState
from dec_jax.validation import check_magnitude, check_n_clusters, check_samples


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
    """Trains all layers of the autoencoder on a source, as `pretrain_end_to_end` does.

    Args:
      key: a `jax.random.key`; the same key gives the same parameters.
      source: the samples.
      architecture: the network.
      config: epochs, batch size, optimizer, noise and loss.
      reading: settings for reading the source.
      validation: samples in memory whose loss is measured after each epoch.
      state: the state in which an earlier run stopped.
      on_epoch: called after each epoch with the state and the epoch's losses. It may save
        the state but not keep it. Returning True stops training.

    Returns:
      The parameters, and the losses of each epoch of this call.

    Raises:
      TypeError, ValueError: the samples do not fit the architecture or the objective, or
        a block of them is not finite.
      FloatingPointError: the loss is no longer finite.

    Example:
      >>> from dec_jax import dense_architecture
      >>> net = dense_architecture(4, hidden=(8,), embedding_dim=2)
      >>> x = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
      >>> config = PretrainConfig(epochs=2, batch_size=10)
      >>> params, history = pretrain(
      ...     jax.random.key(0), x, architecture=net, config=config
      ... )
      >>> history.loss.shape
      (2,)
    """
    source = source_of(source)
    check_width(source, architecture)
    check_pretraining(None, validation, architecture, config.objective)
    n = source.shape[0]
    if state is None:
        settings: Any = {"architecture": architecture, "config": config}
        state = init_pretraining(key, n_samples=n, **settings)
    # The compiled steps reuse their argument's memory: they get a copy of the state.
    state = jax.tree.map(jnp.copy, state)
    epoch_steps = steps_per_epoch(n, config.batch_size)

    def check(x: np.ndarray) -> None:
        check_pretraining(x, None, architecture, config.objective)

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
    """Builds the state before the first refresh, whose `targets` are not p.

    p is never held in memory: it is in a scratch file between two refreshes. If p is frozen
    at first, `targets` are the labels that it is made of, [n, 1]; else a row of zeros,
    because checkpoints cannot hold empty arrays.

    Args:
      key: a `jax.random.key`, for shuffling and augmentation.
      params: parameters of the pretrained autoencoder.
      centroids: initial centroids.
      labels: initial cluster of each sample, int32.
      objective: the method.
      config: the settings of the phase.

    Returns:
      The state, with copies of `params` and `centroids`.

    Raises:
      ValueError: there are more centroids than samples, or they are not finite, or so
        large that squared distances to them overflow float32.

    Example:
      >>> from dec_jax import dense_architecture, init_params
      >>> params = init_params(jax.random.key(0), dense_architecture(4, hidden=(8,)))
      >>> labels = np.zeros(20, int)
      >>> state = init_state(jax.random.key(1), params, jax.numpy.zeros((2, 10)), labels)
      >>> state.labels.shape, int(state.step)
      ((20,), 0)
    """
    k = len(centroids)
    check_n_clusters(k, len(labels))
    state = train_state.init_state(
        key, params, centroids, jnp.arange(k), objective=objective, config=config
    )
    # No program reuses the memory of labels, so that labels on the device are shared.
    kept = jnp.asarray if isinstance(labels, jax.Array) else jnp.array
    labels = kept(labels, jnp.int32)
    targets = jnp.zeros((1, k))
    if config.frozen_target_intervals:
        targets = labels[:, None]
    return state._replace(targets=targets, labels=labels)


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
    """Clusters the samples of a source, until labels stop changing.

    The same state gives the same result on the same machine, also if training is resumed.
    On data that fit into memory, the labels are those of the in-memory `train`.

    Args:
      state: from `streaming.init_state`, or the final state of an earlier run. It stays
        usable.
      source: the samples.
      architecture: the network.
      objective: the method, `DEC()`, `IDEC()` or `DCN()`.
      config: the settings of the phase. `reseed_below` and `soft_reset` must be off, because
        they need z of all samples.
      reading: settings for reading the source.
      on_interval: called after each interval with the state and the history's new row. It
        may save the state but not keep it. Returning True stops training.

    Returns:
      Labels, q and centroids of the final parameters, the history, and the reason why
      training stopped. q is a map of a scratch file, which is deleted with q.

    Raises:
      TypeError, ValueError: the samples do not fit the architecture, the state or the
        method, or are not finite, or so large that squared distances overflow float32; or
        the setting or method needs all samples in memory.
      OSError: the scratch folder has no room for q and p.

    Example:
      >>> from dec_jax import dense_architecture, init_params
      >>> from dec_jax.streaming import embed
      >>> net = dense_architecture(4, hidden=(8,), embedding_dim=2)
      >>> x = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
      >>> config = TrainConfig(update_interval=2, max_intervals=3, tolerance=0)
      >>> key = jax.random.key(0)
      >>> params = init_params(key, net)
      >>> z = embed(params, x, architecture=net)
      >>> start = jax.numpy.asarray(z[:2]), jax.numpy.zeros(20, int)
      >>> state = init_state(key, params, *start, config=config)
      >>> result = train(state, x, architecture=net, config=config)
      >>> result.labels.shape, result.stop_reason
      ((20,), 'training ended as planned, after 3 intervals')
    """
    source = source_of(source)
    check_clustering(source, len(state.labels), architecture, objective, config)
    # The compiled steps reuse their argument's memory: they get a copy of the state,
    # without the labels and targets, which they do not need.
    kept = {name: jnp.asarray(getattr(state, name)) for name in ("labels", "targets")}
    state = jax.tree.map(jnp.copy, _bare(state))._replace(**kept)
    del kept
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
        # The old q is freed before the new one is made: the disk holds one of them.
        seen = None
        seen = look_at(state.params, previous=np.asarray(state.labels))
        # The old labels are freed before the new ones are copied.
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
    return result_of(state, seen.q.x, seen.labels, rows, done)


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
    """Pretrains on one block in one compiled program."""
    settings: Any = {"architecture": architecture, "config": config}
    step = partial(pretrain_step, n_samples=n_samples, **settings)
    return _take_steps(step, state, x, weights)


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
    """Clusters one block in one compiled program."""
    settings: Any = {"architecture": architecture, "objective": objective}
    step = partial(train_step, config=config, **settings)
    return _take_steps(step, state, x, p, weights)


def _take_steps(
    step: Callable[..., tuple[Any, Any]], state: Any, *batches: Num[Array, "s b *_"]
) -> tuple[Any, tuple[Any, Float[Array, " s"]]]:
    """Takes a step on each batch of a block, of which the weights come last."""

    def one(state: Any, batch: tuple[jax.Array, ...]) -> tuple[Any, Any]:
        state, losses = step(state, *batch)
        return state, (losses, batch[-1].sum())

    return jax.lax.scan(one, state, batches)


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
    """Takes the steps of an interval, and averages each term of the loss."""

    def check(x: np.ndarray) -> None:
        check_samples(x, source.name)
        check_magnitude(x, source.name)
        objective.check(x, architecture)

    centroids = state.params["centroids"]
    if is_frozen(state, config):
        p = frozen_targets(np.asarray(state.targets)[:, 0], len(centroids), reading)
    else:
        shares = state.shares if config.keep_cluster_sizes else None
        p = targets(seen, centroids, reading, shares)
    read_ahead = batches(
        source,
        jax.random.fold_in(state.key, 0),
        int(state.step),
        config.update_interval,
        config.batch_size,
        reading=reading,
        check=check,
        alongside=p,
    )
    program = partial(
        _train_block,
        architecture=architecture,
        objective=objective,
        config=config,
    )
    # The steps change neither labels nor targets: they stay out of the programs.
    kept: dict[str, Any] = {"labels": state.labels, "targets": state.targets}
    state, (losses, weights) = run_blocks(program, _bare(state), read_ahead)
    means = [np.float32(loss.sum() / weights.sum())[None] for loss in losses]
    names = ("loss", "clustering", "reconstruction")
    return state._replace(**kept), dict(zip(names, means, strict=True))


def _bare(state: TrainState) -> TrainState:
    """Leaves out what has a row for each sample."""
    targets = jnp.zeros((0, len(state.params["centroids"])))
    return state._replace(labels=state.labels[:0], targets=targets)


def _row(state: TrainState, seen: Look) -> History:
    """Builds the history's row of an interval, whose losses are not known yet."""
    nan = np.full(1, np.nan, np.float32)
    return History(
        loss=nan,
        clustering=nan,
        reconstruction=nan,
        label_change=np.array([float(state.label_change)], np.float32),
        cluster_sizes=seen.sizes[None],
        converged=np.array([bool(state.converged)]),
        max_q=np.float32(seen.max_q)[None],
        q_entropy=np.float32(seen.q_entropy)[None],
        reseeded=np.zeros(1, np.int32),
    )
