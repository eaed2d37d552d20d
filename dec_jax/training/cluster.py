"""The clustering phase: refresh the target p, train towards it for an interval, repeat.

Section 3 of Xie, Girshick and Farhadi, `Unsupervised Deep Embedding for Clustering
Analysis <https://arxiv.org/abs/1511.06335>`_, ICML 2016:

    refresh           x -> z -> q -> p, labels, label_change   (all samples; `refresh.py`)
    train_step        p[batch], q -> loss -> gradients -> params    (one minibatch)
    train_interval    one refresh, then `update_interval` steps
    train             intervals, until labels stop changing
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Num

from dec_jax.clustering.assignment import hard_assignment
from dec_jax.networks.autoencoder import Params, embed, scale_input
from dec_jax.networks.own import Network
from dec_jax.objectives import DEC, Batch, Losses, Objective
from dec_jax.parallel.sharding import (
    check_batch_size,
    replicate_like,
    shard_like,
    take_rows,
)
from dec_jax.training.augmentation import augment
from dec_jax.training.loop import check_training, kept_rows, result_of, stop_reason
from dec_jax.training.minibatches import minibatch_plan, scan_minibatches
from dec_jax.training.refresh import Refresh, refresh
from dec_jax.training.state import (
    History,
    TrainConfig,
    TrainResult,
    TrainState,
    optimizer_of,
)
from dec_jax.validation import check_positive_int


def assign(
    params: Params,
    x: Num[Array | np.ndarray, "n d"],
    *,
    architecture: Network,
    objective: Objective = DEC(),
) -> tuple[Float[Array, "n k"], Int[Array, " n"]]:
    """Computes q and the hard labels of all samples, embedding a block at a time.

    Args:
      params: parameters with entries "encoder", "centroids" and those of the method.
      x: samples, [n, d] of any numeric dtype.
      architecture: the network.
      objective: the method, which computes q from z.

    Returns:
      q, [n, k] float32, and the labels, [n] int32.

    Example:
      >>> from dec_jax import dense_architecture, init_params
      >>> net = dense_architecture(4, hidden=(8,), embedding_dim=2)
      >>> params = {**init_params(jax.random.key(0), net), "centroids": jnp.eye(2)}
      >>> q, labels = assign(params, np.zeros((3, 4), "float32"), architecture=net)
      >>> q.shape, labels.shape
      ((3, 2), (3,))
    """
    z = embed(params, x, architecture=architecture)
    q = objective.assignment(params, z)
    return shard_like((q, hard_assignment(q)), x, axis=None)


def train_step(
    state: TrainState,
    x: Num[Array, "b d"],
    p: Float[Array, "b k"],
    weights: Float[Array, " b"],
    *,
    architecture: Network,
    objective: Objective,
    config: TrainConfig,
    axis_name: str | None = None,
) -> tuple[TrainState, Losses]:
    """Takes one gradient step of network and centroids on a minibatch.

    Args:
      state: the training state.
      x: the samples of this step, of any numeric dtype.
      p: their targets.
      weights: share of each sample in the mean loss; they sum to 1 over a full batch
        (with `axis_name`, over this device's part, and the devices' means are averaged).
      architecture: the network.
      objective: the method.
      config: the settings of the phase.
      axis_name: mapped axis over which the batch is sharded; gradients are averaged.

    Returns:
      The next state and the terms of the loss.

    Example:
      >>> from dec_jax import dense_architecture, init_params, init_state
      >>> net = dense_architecture(4, hidden=(8,), embedding_dim=2)
      >>> x = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
      >>> config = TrainConfig(update_interval=2, max_intervals=3, tolerance=0)
      >>> key = jax.random.key(0)
      >>> params = init_params(key, net)
      >>> z = embed(params, x, architecture=net)
      >>> state = init_state(key, params, z[:2], np.zeros(20, int), config=config)
      >>> settings = dict(architecture=net, objective=DEC(), config=config)
      >>> p, weights = jnp.full((10, 2), 0.5), jnp.full(10, 0.1)
      >>> state, losses = train_step(state, jnp.asarray(x[:10]), p, weights, **settings)
      >>> int(state.step), losses.total.shape
      (1, ())
    """
    key = jax.random.fold_in(jax.random.fold_in(state.key, 1), state.step)
    if axis_name is not None:
        key = jax.random.fold_in(key, jax.lax.axis_index(axis_name))
    clean = scale_input(x, architecture)
    seen = augment(key, clean, config.augmentation)
    trained = {name: state.params[name] for name in objective.trained}

    def loss_of(trained: Params) -> tuple[jax.Array, tuple[Losses, Params]]:
        losses, moved = objective.loss(
            {**state.params, **trained},
            Batch(seen, p, weights, jax.random.fold_in(key, 2), clean),
            architecture=architecture,
            axis_name=axis_name,
        )
        return losses.total, (losses, moved)

    gradients, (losses, moved) = jax.grad(loss_of, has_aux=True)(trained)
    if axis_name is not None:
        gradients, losses = jax.lax.pmean((gradients, losses), axis_name)
    updates, opt_state = optimizer_of(config).update(
        gradients, state.opt_state, trained
    )
    params = {**state.params, **optax.apply_updates(trained, updates), **moved}
    return (
        state._replace(params=params, opt_state=opt_state, step=state.step + 1),
        losses,
    )


def train_interval(
    state: TrainState,
    x: Num[Array, "n d"],
    *,
    architecture: Network,
    objective: Objective,
    config: TrainConfig,
) -> tuple[TrainState, History]:
    """Refreshes p, then takes `update_interval` steps; does neither once converged.

    Args:
      state: the training state.
      x: all samples, of any numeric dtype.
      architecture: the network.
      objective: the method.
      config: the settings of the phase.

    Returns:
      The next state, and this interval's row of the history.
    """

    def step(
        state: TrainState, indices: jax.Array, weights: jax.Array
    ) -> tuple[TrainState, tuple[Losses, jax.Array]]:
        state, losses = train_step(
            state,
            take_rows(x, indices),
            state.targets[indices],
            weights,
            architecture=architecture,
            objective=objective,
            config=config,
        )
        return state, (losses, weights.sum())

    def run(state: TrainState) -> tuple[TrainState, Losses]:
        plan = minibatch_plan(
            jax.random.fold_in(state.key, 0),
            state.step,
            num_steps=config.update_interval,
            n_samples=len(x),
            batch_size=config.batch_size,
        )
        state, (losses, weights) = scan_minibatches(step, state, plan)
        return state, Losses(*(loss.sum() / weights.sum() for loss in losses))

    def skip(state: TrainState) -> tuple[TrainState, Losses]:
        return state, Losses(*(jnp.full((), jnp.nan, jnp.float32) for _ in range(3)))

    def keep(state: TrainState) -> tuple[TrainState, Refresh]:
        nan = jnp.full((), jnp.nan, jnp.float32)
        return state, Refresh(nan, nan, jnp.zeros((), jnp.int32))

    look = partial(
        refresh, x=x, architecture=architecture, objective=objective, config=config
    )
    # A further refresh would overwrite the label change that ended training by 0.
    state, measured = jax.lax.cond(state.converged, keep, look, state)
    change, converged = state.label_change, state.converged
    sizes = jnp.bincount(state.labels, length=state.targets.shape[1])
    state, losses = jax.lax.cond(converged, skip, run, state)
    history = History(
        loss=losses.total,
        clustering=losses.clustering,
        reconstruction=losses.reconstruction,
        label_change=change,
        cluster_sizes=sizes,
        converged=converged,
        **measured._asdict(),
    )
    return shard_like((state, history), x, axis=None)


@partial(
    jax.jit,
    static_argnames=("architecture", "objective", "config", "num_intervals"),
    donate_argnames="state",
)
def _train_intervals(
    state: TrainState,
    x: Num[Array, "n d"],
    *,
    architecture: Network,
    objective: Objective,
    config: TrainConfig,
    num_intervals: int,
) -> tuple[TrainState, History]:
    """Trains `num_intervals` intervals in one compiled program."""

    def interval(state: TrainState, _: None) -> tuple[TrainState, History]:
        return train_interval(
            state, x, architecture=architecture, objective=objective, config=config
        )

    return shard_like(jax.lax.scan(interval, state, length=num_intervals), x, axis=None)


@partial(jax.jit, static_argnames=("architecture", "objective"))
def _assign(
    params: Params,
    x: Num[Array, "n d"],
    *,
    architecture: Network,
    objective: Objective,
) -> tuple[Float[Array, "n k"], Int[Array, " n"]]:
    return assign(params, x, architecture=architecture, objective=objective)


def train(
    state: TrainState,
    x: Num[Array, "n d"] | np.ndarray,
    *,
    architecture: Network,
    objective: Objective = DEC(),
    config: TrainConfig = TrainConfig(),
    intervals_per_call: int = 1,
    on_interval: Callable[[TrainState, History], bool | None] | None = None,
) -> TrainResult:
    """Clusters samples by intervals of refresh and steps, until labels stop changing.

    The same state gives the same result on the same machine, whatever
    `intervals_per_call`, and if training is resumed from a state of `on_interval`.

    Args:
      state: from `init_state`, or the final state of an earlier run. It stays usable.
      x: all samples, [n, d] of any numeric dtype; uint8 stays uint8 on the device.
      architecture: the network.
      objective: the method, such as `DEC()`, `IDEC()`, `DCN()` or `VaDE()`.
      config: the settings of the phase.
      intervals_per_call: number of intervals in one compiled program, at least 1. More
        save round trips to the host; fewer call `on_interval` more often.
      on_interval: called after each program with the state and the history's new rows.
        It may save the state but not keep it, because the next program reuses its memory.
        Returning True stops training.

    Returns:
      Labels, q and centroids of the final parameters, the history, and the reason why
      training stopped.

    Raises:
      TypeError: `x` is not an array of numbers.
      ValueError: `x` is not finite, of shape [n, d], or so large that squared distances
        overflow float32; it does not fit the architecture, the state or the method; or
        `intervals_per_call` is below 1.

    Example:
      >>> from dec_jax import dense_architecture, init_params, init_state
      >>> net = dense_architecture(4, hidden=(8,), embedding_dim=2)
      >>> x = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
      >>> config = TrainConfig(update_interval=2, max_intervals=3, tolerance=0)
      >>> key = jax.random.key(0)
      >>> params = init_params(key, net)
      >>> z = embed(params, x, architecture=net)
      >>> state = init_state(key, params, z[:2], np.zeros(20, int), config=config)
      >>> result = train(state, x, architecture=net, config=config)
      >>> result.labels.shape, result.stop_reason
      ((20,), 'training ended as planned, after 3 intervals')
    """
    check_positive_int("intervals_per_call", intervals_per_call)
    check_training(x, len(state.labels), architecture, objective)
    x = jnp.asarray(x)
    check_batch_size(config.batch_size, x)
    # The compiled program reuses its argument's memory: it gets a copy of the state.
    state = replicate_like(state, x)
    settings = {"architecture": architecture, "objective": objective, "config": config}
    rows: list[History] = []
    stopped = False
    while not (done := stop_reason(state, config)) and not stopped:
        left = config.max_intervals - int(state.step) // config.update_interval
        count = min(intervals_per_call, left)
        state, new = _train_intervals(state, x, num_intervals=count, **settings)
        # Copied: on a CPU, a view would keep the buffers of every interval alive.
        rows.append(kept_rows(jax.tree.map(np.array, new), count))
        stopped = on_interval is not None and bool(on_interval(state, rows[-1]))
    q, labels = _assign(state.params, x, architecture=architecture, objective=objective)
    return result_of(state, q, labels, rows, done)
