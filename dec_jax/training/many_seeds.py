"""Many runs in one program: the same samples and settings, another seed each.

    stack, unstack   trees of single runs -> one tree with a leading axis of seeds, back
    pretrain         keys, x -> params of all seeds, the history of each
    train            states, x -> the result of each

A seed that has ended stays as it is while the others go on, and what is not finite in
one does not reach another. On an accelerator the steps of all seeds are one, by
`jax.vmap`: batched products may round in another way than single ones, so that labels are
those of runs of their own wherever rounding does not decide. On a CPU, whose cores one
seed fills, the seeds take turns within the program, and all results are those of runs of
their own to the last bit. `at_once` chooses. The program lasts as long as its slowest
seed, and holds the states of all. One device only; for many there is `sharding`.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Num

from dec_jax.networks.autoencoder import Params
from dec_jax.networks.own import Network
from dec_jax.objectives import DEC, Objective
from dec_jax.parallel.sharding import mesh_of, replicate_like
from dec_jax.training.cluster import assign, join_history, stop_reason, train_interval
from dec_jax.training.minibatches import steps_per_epoch
from dec_jax.training.pretrain import (
    PretrainConfig,
    PretrainHistory,
    PretrainState,
    check_pretraining,
    final_params,
    init_pretraining,
    pretrain_epochs,
    remember,
)
from dec_jax.training.state import History, TrainConfig, TrainResult, TrainState
from dec_jax.validation import check_positive_int, check_samples

Tree = TypeVar("Tree")


def stack(trees: Sequence[Tree]) -> Tree:
    """Trees of single runs as one tree, each array with a leading axis of seeds."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def unstack(tree: Tree) -> list[Tree]:
    """The trees of single runs that `stack` made one of."""
    return [take(tree, index) for index in range(count(tree))]


def take(tree: Tree, seeds: int | Sequence[int]) -> Tree:
    """The tree of one seed, or the stacked tree of some of the seeds."""
    chosen = seeds if isinstance(seeds, int) else np.asarray(seeds, np.int32)
    return jax.tree.map(lambda leaf: leaf[chosen], tree)


def count(tree: Any) -> int:
    """How many seeds a stacked tree holds."""
    return len(jax.tree.leaves(tree)[0])


def pretrain(
    keys: jax.Array,
    x: Num[Array, "n d"] | np.ndarray,
    *,
    architecture: Network,
    config: PretrainConfig = PretrainConfig(),
    states: PretrainState | None = None,
    at_once: int | None = None,
    on_epoch: Callable[[PretrainState, list[PretrainHistory | None]], bool | None]
    | None = None,
) -> tuple[Params, list[PretrainHistory]]:
    """`pretrain_end_to_end` of each key, all in one program.

    A seed ends on its own: after its epochs, by its `patience`, or because its loss is
    no longer finite, which the last row of its history then shows.

    Args:
      keys: a `jax.random.key` for each seed, [s].
      x: samples, in their own type.
      architecture: the network.
      config: epochs, batch, optimizer, noise and loss.
      states: stacked, where earlier runs stopped; without them, training starts from
        `keys`.
      at_once: seeds whose steps are one batched step; the others wait for their turn.
        By default all on an accelerator and 1 on a CPU.
      on_epoch: called after each epoch with the stacked states (to save, not to keep)
        and the losses of each seed, None for one that had ended; True stops training.

    Returns:
      The parameters, stacked, and the losses of each seed's epochs run here.

    Raises:
      TypeError, ValueError: as `pretrain_end_to_end`; x is spread over several devices.
      FloatingPointError: no loss is finite any longer; the learning rate is too large.
    """
    check_pretraining(x, None, architecture, config)
    x = _on_one_device(x)
    at_once = _checked(at_once, len(keys))
    settings: dict[str, Any] = {"architecture": architecture, "config": config}
    if states is None:
        states = stack(
            [init_pretraining(key, n_samples=len(x), **settings) for key in keys]
        )
    # The compiled epoch takes over its argument's memory; the caller's stays.
    states = replicate_like(states, x)
    rows: list[list[PretrainHistory]] = [[] for _ in keys]
    finite = np.asarray(_all_finite(states.params))
    stopped = False
    while (active := finite & ~_is_over(states, config, len(x))).any() and not stopped:
        states, loss = _pretrain_epoch(
            states, jnp.asarray(active), x, at_once=at_once, **settings
        )
        losses = np.asarray(loss)
        finite = finite & (np.isfinite(losses) | ~active)
        new = [
            PretrainHistory(float(loss), math.nan) if goes_on else None
            for loss, goes_on in zip(losses, active, strict=True)
        ]
        for kept, row in zip(rows, new, strict=True):
            kept += [] if row is None else [row]
        if not finite.any():
            raise FloatingPointError(
                f"The pretraining losses of all {len(keys)} seeds are no longer finite "
                f"after epoch {max(map(len, rows))}; lower the learning rate, now "
                f"{config.optimizer.learning_rate}."
            )
        stopped = on_epoch is not None and bool(on_epoch(states, new))
    columns = [np.array(kept, np.float32).reshape(-1, 2) for kept in rows]
    histories = [PretrainHistory(both[:, 0], both[:, 1]) for both in columns]
    return final_params(states, config), histories


@partial(
    jax.jit,
    static_argnames=("architecture", "config", "at_once"),
    donate_argnames="states",
)
def _pretrain_epoch(
    states: PretrainState,
    active: Bool[Array, " s"],
    x: Num[Array, "n d"],
    *,
    architecture: Network,
    config: PretrainConfig,
    at_once: int,
) -> tuple[PretrainState, Float[Array, " s"]]:
    """An epoch of each seed that goes on, and its mean loss."""

    def epoch(state: PretrainState) -> tuple[PretrainState, Float[Array, ""]]:
        state, losses = pretrain_epochs(
            state, x, architecture=architecture, config=config, num_epochs=1
        )
        if config.patience is not None:
            state = remember(state, losses[0])
        return state, losses[0]

    def keep(state: PretrainState) -> tuple[PretrainState, Float[Array, ""]]:
        return state, jnp.full((), jnp.nan, jnp.float32)

    def one(state: PretrainState, goes_on: jax.Array) -> tuple[PretrainState, Array]:
        return jax.lax.cond(goes_on, epoch, keep, state)

    return _each(one, (states, active), at_once)


def _is_over(states: PretrainState, config: PretrainConfig, n: int) -> np.ndarray:
    """Which seeds have had all of their epochs, or enough without a better loss."""
    epochs = np.asarray(states.step) // steps_per_epoch(n, config.batch_size)
    over = epochs >= config.epochs
    if config.patience is not None:
        over = over | (np.asarray(states.stale) >= config.patience)
    return over


@jax.jit
def _all_finite(params: Params) -> Bool[Array, " s"]:
    """Which seeds have finite parameters."""

    def one(params: Params) -> jax.Array:
        leaves = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params)]
        return jnp.stack(leaves).all()

    return jax.vmap(one)(params)


def train(
    states: TrainState,
    x: Num[Array, "n d"] | np.ndarray,
    *,
    architecture: Network,
    objective: Objective = DEC(),
    config: TrainConfig = TrainConfig(),
    intervals_per_call: int = 1,
    at_once: int | None = None,
    on_interval: Callable[[TrainState, list[History | None]], bool | None]
    | None = None,
) -> list[TrainResult]:
    """`dec_jax.train` from each state, all in one program, until the last one is done.

    Args:
      states: stacked, from `init_state`, or where earlier runs stopped. They stay usable.
      x: all samples, in their own type.
      architecture: the network.
      objective: the method.
      config: the settings of the phase.
      intervals_per_call: intervals in one compiled program.
      at_once: seeds whose steps are one batched step; the others wait for their turn.
        By default all on an accelerator and 1 on a CPU.
      on_interval: called after each program with the stacked states (to save, not to
        keep) and the history's new rows of each seed, None for one that had ended
        before; True stops.

    Returns:
      The result of each seed, with a history and a reason of its own.

    Raises:
      TypeError, ValueError: as `dec_jax.train`; the states are not stacked, or x is
        spread over several devices.
    """
    check_samples(x)
    check_positive_int("intervals_per_call", intervals_per_call)
    if states.labels.ndim != 2:
        raise ValueError(
            "states must have a leading axis of seeds, as many.stack gives them, got "
            f"labels of shape {states.labels.shape}."
        )
    n_seeds, n = states.labels.shape
    if x.shape != (n, architecture.input_dim):
        raise ValueError(
            f"x must have shape {(n, architecture.input_dim)}, the states' samples and "
            f"the architecture's input, got {tuple(x.shape)}."
        )
    objective.check(x, architecture)
    x = _on_one_device(x)
    at_once = _checked(at_once, n_seeds)
    # The compiled program takes over its argument's memory; the caller's stays.
    states = replicate_like(states, x)
    settings = {"architecture": architecture, "objective": objective}
    rows: list[list[History]] = [[] for _ in range(n_seeds)]
    stopped = False
    while not all(done := _stop_reasons(states, config)) and not stopped:
        active = np.array([not reason for reason in done])
        left = config.max_intervals - np.asarray(states.step) // config.update_interval
        states, history = _train_intervals(
            states,
            jnp.asarray(active),
            x,
            num_intervals=min(intervals_per_call, int(left[active].max())),
            config=config,
            at_once=at_once,
            **settings,
        )
        history = jax.tree.map(np.asarray, history)
        new = [
            _kept(take(history, seed), int(left[seed])) if active[seed] else None
            for seed in range(n_seeds)
        ]
        for kept, part in zip(rows, new, strict=True):
            kept += [] if part is None else [part]
        stopped = on_interval is not None and bool(on_interval(states, new))
    q, labels = _assign(states.params, x, at_once=at_once, **settings)
    return [
        TrainResult(
            state=state,
            labels=np.asarray(labels[seed]),
            q=np.asarray(q[seed]),
            centroids=np.asarray(state.params["centroids"]),
            history=join_history(rows[seed], n_clusters=q.shape[2]),
            n_steps=int(state.step),
            stop_reason=done[seed] or "stopped by the caller",
        )
        for seed, state in enumerate(unstack(states))
    ]


@partial(
    jax.jit,
    static_argnames=(
        *("architecture", "objective", "config", "num_intervals", "at_once"),
    ),
    donate_argnames="states",
)
def _train_intervals(
    states: TrainState,
    active: Bool[Array, " s"],
    x: Num[Array, "n d"],
    *,
    architecture: Network,
    objective: Objective,
    config: TrainConfig,
    num_intervals: int,
    at_once: int,
) -> tuple[TrainState, History]:
    """Some intervals of each seed that goes on; the rows of the others mean nothing."""
    num_steps = config.max_intervals * config.update_interval

    def one(state: TrainState, goes_on: jax.Array) -> tuple[TrainState, History]:
        def interval(state: TrainState, _: None) -> tuple[TrainState, History]:
            new, row = train_interval(
                state, x, architecture=architecture, objective=objective, config=config
            )
            moves = goes_on & (state.step < num_steps)
            return jax.tree.map(partial(jnp.where, moves), new, state), row

        return jax.lax.scan(interval, state, length=num_intervals)

    return _each(one, (states, active), at_once)


@partial(jax.jit, static_argnames=("architecture", "objective", "at_once"))
def _assign(
    params: Params,
    x: Num[Array, "n d"],
    *,
    architecture: Network,
    objective: Objective,
    at_once: int,
) -> tuple[Float[Array, "s n k"], Array]:
    """q and the labels of each seed."""

    def one(params: Params) -> tuple[jax.Array, jax.Array]:
        return assign(params, x, architecture=architecture, objective=objective)

    return _each(one, (params,), at_once)


def _stop_reasons(states: TrainState, config: TrainConfig) -> list[str]:
    """Why each seed is over, empty for those that are not."""
    seen = jax.device_get(
        (
            states.params["centroids"],
            *(states.converged, states.label_change, states.step),
        )
    )
    reasons = []
    for centroids, converged, change, step in zip(*seen, strict=True):
        one = states._replace(
            params={"centroids": centroids},
            converged=converged,
            label_change=change,
            step=step,
        )
        reasons.append(stop_reason(one, config))
    return reasons


def _kept(rows: History, left: int) -> History:
    """A seed's rows without those after the end of its training."""
    last = int(rows.converged.argmax()) + 1 if rows.converged.any() else left
    return jax.tree.map(lambda column: column[: min(last, left)], rows)


def _each(function: Callable[..., Any], stacked: tuple[Any, ...], at_once: int) -> Any:
    """What a function gives for each seed, stacked; `at_once` of them as one batch."""
    if at_once == 1:
        return jax.lax.map(lambda each: function(*each), stacked)
    if at_once >= count(stacked):
        return jax.vmap(function)(*stacked)
    return jax.lax.map(lambda each: function(*each), stacked, batch_size=at_once)


def default_at_once(n_seeds: int) -> int:
    """How many of the seeds share a step if nobody says: all, on a CPU one."""
    # One seed fills the cores of a CPU (benchmarks/seeds.py), and one after the other each
    # is rounded as in a run of its own.
    return 1 if jax.default_backend() == "cpu" else n_seeds


def _checked(at_once: int | None, n_seeds: int) -> int:
    if at_once is None:
        return default_at_once(n_seeds)
    check_positive_int("at_once", at_once)
    return at_once


def _on_one_device(x: Num[Array, "n d"] | np.ndarray) -> Num[Array, "n d"]:
    """The samples on a device; raises ValueError where they are on several."""
    x = jnp.asarray(x)
    mesh = mesh_of(x)
    if mesh is not None and mesh.size > 1:
        raise ValueError(
            f"Many seeds in one program need x on one device, got it on {mesh.size}; "
            "place it on one of them, or run the seeds one after another."
        )
    return x
