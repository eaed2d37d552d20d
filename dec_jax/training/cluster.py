"""The clustering phase: refresh the target p, pull q to it for a while, look again.

Section 3 of Xie, Girshick and Farhadi, `Unsupervised Deep Embedding for Clustering
Analysis <https://arxiv.org/abs/1511.06335>`_, ICML 2016:

    refresh_targets   x -> z -> q -> p, labels, label_change   (all samples)
    train_step        p[batch], q -> loss -> gradients -> params    (one minibatch)
    train_interval    one refresh, then `update_interval` steps
    train             intervals, until labels stop changing
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Num

from dec_jax.clustering.assignment import (
    confidence,
    hard_assignment,
    label_change,
    match_cluster_sizes,
    shares_of,
    target_distribution,
)
from dec_jax.networks.autoencoder import Params, embed, scale_input
from dec_jax.networks.own import Network, check_network
from dec_jax.objectives import DEC, Batch, Losses, Objective
from dec_jax.parallel.sharding import (
    check_batch_size,
    replicate_like,
    shard_like,
    take_rows,
)
from dec_jax.training.augmentation import augment
from dec_jax.training.minibatches import minibatch_plan, scan_minibatches
from dec_jax.training.refresh import fit_clusters, reseed_clusters
from dec_jax.training.state import (
    History,
    TrainConfig,
    TrainResult,
    TrainState,
    optimizer_of,
)
from dec_jax.validation import check_positive_int, check_samples


def assign(
    params: Params,
    x: Num[Array | np.ndarray, "n d"],
    *,
    architecture: Network,
    objective: Objective = DEC(),
) -> tuple[Float[Array, "n k"], Int[Array, " n"]]:
    """q and the hard labels of all samples, embedded a block at a time.

    Args:
      params: parameters with entries "encoder", "centroids" and those of the method.
      x: samples, in their own type.
      architecture: the network.
      objective: the method, which says how q comes from z.

    Returns:
      q and the labels.
    """
    z = embed(params, x, architecture=architecture)
    q = objective.assignment(params, z)
    return shard_like((q, hard_assignment(q)), x, axis=None)


def refresh_targets(
    state: TrainState,
    x: Num[Array, "n d"],
    *,
    architecture: Network,
    objective: Objective,
    config: TrainConfig,
) -> TrainState:
    """Computes p and the labels of all samples, and whether labels stopped changing.

    The very first refresh never stops training: its labels are those it starts from.
    Nor does one at which p is still held fixed (`frozen_target_intervals`), or one that moved a
    cluster (`reseed_below`), as p has just changed there.
    """
    return _refresh(
        state, x, architecture=architecture, objective=objective, config=config
    )[0]


class _Look(NamedTuple):
    """What a refresh saw beside p; each a scalar."""

    max_q: jax.Array
    q_entropy: jax.Array
    reseeded: jax.Array


def _refresh(
    state: TrainState,
    x: Num[Array, "n d"],
    *,
    architecture: Network,
    objective: Objective,
    config: TrainConfig,
) -> tuple[TrainState, _Look]:
    """`refresh_targets`, and how sure q was."""
    z = embed(state.params, x, architecture=architecture)
    if objective.fitted:
        state = fit_clusters(state, z, objective=objective)
    q = objective.assignment(state.params, z)
    labels = hard_assignment(q)
    reseeded = jnp.zeros((), jnp.int32)
    fixed = state.step < config.frozen_target_intervals * config.update_interval
    if config.reseed_below:
        # The fixed p already says which samples a cluster is to win back.
        below = jnp.where(fixed, 0.0, config.reseed_below)
        state, reseeded = reseed_clusters(
            state, z, labels, below=below, objective=objective
        )
        # z is at hand: only its distances to the moved centroids are new.
        q = objective.assignment(state.params, z)
        labels = hard_assignment(q)
    change = label_change(labels, state.labels)
    targets = target_distribution(q)
    if config.keep_cluster_sizes:
        # Until p is first made of q, they are still to be found.
        first = state.step <= config.frozen_target_intervals * config.update_interval
        shares = jnp.where(first, shares_of(labels, q.shape[1]), state.shares)
        targets = match_cluster_sizes(targets, shares)
        state = state._replace(shares=shares)
    still = (state.step > 0) & (change < config.tolerance) & (reseeded == 0)
    state = state._replace(
        targets=jnp.where(fixed, state.targets, targets),
        labels=labels,
        label_change=change,
        converged=still & ~fixed,
    )
    return state, _Look(*confidence(q), reseeded)


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
    """One gradient step of network and centroids on a minibatch.

    Args:
      state: where training stands.
      x: the samples of this step, in their own type.
      p: their targets.
      weights: share of each sample in the mean loss, summing to 1 for a whole batch
        (with `axis_name`: for this device's part, whose means are then averaged).
      architecture: the network.
      objective: the method.
      config: the settings of the phase.
      axis_name: mapped axis over which the batch is spread; gradients are averaged.

    Returns:
      The next state and the terms of the loss.
    """
    key = jax.random.fold_in(jax.random.fold_in(state.key, 1), state.step)
    if axis_name is not None:
        key = jax.random.fold_in(key, jax.lax.axis_index(axis_name))
    seen = augment(key, scale_input(x, architecture), config.augmentation)
    trained = {name: state.params[name] for name in objective.trained}

    def loss_of(trained: Params) -> tuple[jax.Array, tuple[Losses, Params]]:
        losses, moved = objective.loss(
            {**state.params, **trained},
            Batch(seen, p, weights, jax.random.fold_in(key, 2)),
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
    """One refresh of p, then `update_interval` steps; neither once converged.

    Args:
      state: where training stands.
      x: all samples, in their own type.
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

    def keep(state: TrainState) -> tuple[TrainState, _Look]:
        nan = jnp.full((), jnp.nan, jnp.float32)
        return state, _Look(nan, nan, jnp.zeros((), jnp.int32))

    refresh = partial(
        _refresh, x=x, architecture=architecture, objective=objective, config=config
    )
    # A second look at labels that cannot change would overwrite what ended training.
    state, look = jax.lax.cond(state.converged, keep, refresh, state)
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
        **look._asdict(),
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
    """Some intervals in one program."""

    def interval(state: TrainState, _: None) -> tuple[TrainState, History]:
        return train_interval(
            state, x, architecture=architecture, objective=objective, config=config
        )

    return shard_like(jax.lax.scan(interval, state, length=num_intervals), x, axis=None)


_assign = jax.jit(assign, static_argnames=("architecture", "objective"))


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
    """Clusters: intervals of refresh and steps until labels stop changing.

    The same state gives the same result on the same machine: in one program or in
    many, unbroken or resumed from any state that `on_interval` has seen.

    Args:
      state: from `init_state`, or where an earlier run stopped. It stays usable.
      x: all samples, in their own type; bytes stay bytes on the device.
      architecture: the network.
      objective: the method, `DEC()`, `IDEC()`, `DCN()` or `VaDE()`.
      config: the settings of the phase.
      intervals_per_call: intervals in one compiled program; more of them save host
        round trips, fewer let `on_interval` see more.
      on_interval: called after each program with the state (to save, not to keep: the
        next program takes its memory) and the history's new rows; True stops.

    Returns:
      Labels, q and centroids of the final parameters, history, and why it stopped.

    Raises:
      TypeError, ValueError: `x` is not finite numbers of shape [n, d], or does not fit
        the architecture, the state or the method; `intervals_per_call` is below 1.
    """
    check_network(architecture)
    check_samples(x)
    check_positive_int("intervals_per_call", intervals_per_call)
    if x.shape != (len(state.labels), architecture.input_dim):
        raise ValueError(
            f"x must have shape {(len(state.labels), architecture.input_dim)}, the "
            f"state's samples and the architecture's input, got {tuple(x.shape)}."
        )
    objective.check(x, architecture)
    x = jnp.asarray(x)
    check_batch_size(config.batch_size, x)
    # The compiled program takes over its argument's memory; the caller's stays.
    state = replicate_like(state, x)
    settings = {"architecture": architecture, "objective": objective, "config": config}
    rows: list[History] = []
    stopped = False
    while not (done := stop_reason(state, config)) and not stopped:
        left = config.max_intervals - int(state.step) // config.update_interval
        count = min(intervals_per_call, left)
        state, new = _train_intervals(state, x, num_intervals=count, **settings)
        # Copied: on a CPU, a view would keep the buffers of every interval alive.
        new = jax.tree.map(np.array, new)
        # Intervals after the one that found convergence did nothing.
        kept = count if not new.converged.any() else int(new.converged.argmax()) + 1
        rows.append(jax.tree.map(lambda column, kept=kept: column[:kept], new))
        if on_interval is not None:
            stopped = bool(on_interval(state, rows[-1]))
    q, labels = _assign(state.params, x, architecture=architecture, objective=objective)
    return TrainResult(
        state=state,
        labels=np.asarray(labels),
        q=np.asarray(q),
        centroids=np.asarray(state.params["centroids"]),
        history=join_history(rows, n_clusters=q.shape[1]),
        n_steps=int(state.step),
        stop_reason=done or "stopped by the caller",
    )


def stop_reason(state: TrainState, config: TrainConfig) -> str:
    """Why training is over, or an empty string if it is not."""
    # NaN gives every sample the same label: it would look like convergence.
    if not math.isfinite(float(jnp.sum(state.params["centroids"]))):
        return "the centroids are no longer finite; lower the learning rate"
    if bool(state.converged):
        return (
            f"{float(state.label_change):.4%} of labels changed between two refreshes, "
            f"below the tolerance of {config.tolerance:.4%}"
        )
    intervals = int(state.step) // config.update_interval
    if intervals >= config.max_intervals:
        return f"max_intervals = {config.max_intervals} reached"
    return ""


def join_history(rows: list[History], n_clusters: int) -> History:
    """The rows of all calls as one history; none at all gives empty columns."""
    if not rows:
        empty = np.zeros(0, np.float32)
        sizes = np.zeros((0, n_clusters), np.int32)
        return History(
            *(empty, empty, empty, empty, sizes, np.zeros(0, bool)),
            *(empty, empty, np.zeros(0, np.int32)),
        )
    return jax.tree.map(lambda *columns: np.concatenate(columns), *rows)
