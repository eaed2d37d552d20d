"""Many runs in one program: the same samples and settings, with different seeds.

    stack, unstack   trees of single runs -> one tree with a leading axis of seeds, and back
    pretrain         keys, x -> params of all seeds, the history of each
    train            states, x -> the result of each

A seed that has ended does not change while the others continue, and values that are not
finite in one seed do not affect another. On an accelerator `jax.vmap` batches the steps of
all seeds. Batched products may be rounded differently, so that labels equal those of single
runs except for ties. On a CPU, where one seed uses all cores, the seeds take turns within the
program, and all results equal those of single runs bit for bit. `at_once` chooses between the
two. The program runs as long as its slowest seed, and holds the states of all. It uses one
device; `parallel.sharding` uses many.
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
from dec_jax.training.cluster import assign, train_interval
from dec_jax.training.loop import (
    check_pretraining,
    check_training,
    kept_rows,
    result_of,
    stop_reason,
)
from dec_jax.training.minibatches import steps_per_epoch
from dec_jax.training.pretrain import (
    PretrainConfig,
    PretrainHistory,
    PretrainState,
    final_params,
    init_pretraining,
    join_epochs,
    pretrain_epochs,
    remember,
)
from dec_jax.training.state import History, TrainConfig, TrainResult, TrainState
from dec_jax.validation import check_positive_int

Tree = TypeVar("Tree")


def stack(trees: Sequence[Tree]) -> Tree:
    """Stacks trees of single runs into one tree, with a leading axis of seeds."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def unstack(tree: Tree) -> list[Tree]:
    """Splits a stacked tree into the trees of single runs."""
    return [take(tree, index) for index in range(count(tree))]


def take(tree: Tree, seeds: int | Sequence[int]) -> Tree:
    """Takes the tree of one seed, or the stacked tree of some seeds."""
    chosen = seeds if isinstance(seeds, int) else np.asarray(seeds, np.int32)
    return jax.tree.map(lambda leaf: leaf[chosen], tree)


def count(tree: Any) -> int:
    """Counts the seeds of a stacked tree."""
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
    """Pretrains an autoencoder from each key as `pretrain_end_to_end` does, in one program.

    Each seed ends on its own: after its epochs, by its `patience`, or because its loss is
    no longer finite, which the last row of its history then shows.

    Args:
      keys: a `jax.random.key` for each seed, [s].
      x: samples, [n, d] of any numeric dtype.
      architecture: the network.
      config: epochs, batch size, optimizer, noise and loss.
      states: stacked states in which earlier runs stopped; None starts from `keys`.
      at_once: number of seeds in one batched step; the other seeds wait for their turn.
        By default all on an accelerator and 1 on a CPU.
      on_epoch: called after each epoch with the stacked states and the losses of each
        seed, None for a seed that had ended. It may save the states but not keep them.
        Returning True stops training.

    Returns:
      The stacked parameters, and the losses of each seed's epochs of this call.

    Raises:
      TypeError, ValueError: as `pretrain_end_to_end`, or `x` is on several devices.
      FloatingPointError: no loss is finite any longer; the learning rate is too large.

    Example:
      >>> from dec_jax import dense_architecture
      >>> net = dense_architecture(4, hidden=(8,), embedding_dim=2)
      >>> x = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
      >>> config = PretrainConfig(epochs=2, batch_size=10)
      >>> keys = jax.random.split(jax.random.key(0), 3)
      >>> params, histories = pretrain(keys, x, architecture=net, config=config)
      >>> count(params), len(histories)
      (3, 3)
    """
    check_pretraining(x, None, architecture, config.objective)
    x = _on_one_device(x)
    at_once = _checked(at_once, len(keys))
    settings: dict[str, Any] = {"architecture": architecture, "config": config}
    if states is None:
        states = stack(
            [init_pretraining(key, n_samples=len(x), **settings) for key in keys]
        )
    # The compiled epoch reuses its argument's memory: it gets a copy of the states.
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
            PretrainHistory(float(loss), math.nan) if is_active else None
            for loss, is_active in zip(losses, active, strict=True)
        ]
        for kept, row in zip(rows, new, strict=True):
            kept += [] if row is None else [row]
        if not finite.any():
            raise FloatingPointError(
                f"The pretraining losses of all {len(keys)} seeds are no longer finite "
                f"after epoch {max(map(len, rows))}; lower the learning rate, now "
                f"{config.optimizer.learning_rate:g}."
            )
        stopped = on_epoch is not None and bool(on_epoch(states, new))
    return final_params(states, config), [join_epochs(kept) for kept in rows]


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
    """Trains an epoch of each active seed, and returns its mean loss."""

    def epoch(state: PretrainState) -> tuple[PretrainState, Float[Array, ""]]:
        state, losses = pretrain_epochs(
            state, x, architecture=architecture, config=config, num_epochs=1
        )
        if config.patience is not None:
            state = remember(state, losses[0])
        return state, losses[0]

    def keep(state: PretrainState) -> tuple[PretrainState, Float[Array, ""]]:
        return state, jnp.full((), jnp.nan, jnp.float32)

    def one(state: PretrainState, is_active: jax.Array) -> tuple[PretrainState, Array]:
        return jax.lax.cond(is_active, epoch, keep, state)

    return _each(one, (states, active), at_once)


def _is_over(states: PretrainState, config: PretrainConfig, n: int) -> np.ndarray:
    """Tells which seeds have trained for all epochs, or have run out of patience."""
    epochs = np.asarray(states.step) // steps_per_epoch(n, config.batch_size)
    over = epochs >= config.epochs
    if config.patience is not None:
        over = over | (np.asarray(states.stale) >= config.patience)
    return over


@jax.jit
def _all_finite(params: Params) -> Bool[Array, " s"]:
    """Tells which seeds have finite parameters."""

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
    """Clusters from each state as `dec_jax.train` does, in one program for all seeds.

    Args:
      states: stacked states from `init_state`, or the final states of earlier runs. They
        stay usable.
      x: all samples, [n, d] of any numeric dtype.
      architecture: the network.
      objective: the method.
      config: the settings of the phase.
      intervals_per_call: number of intervals in one compiled program, at least 1.
      at_once: number of seeds in one batched step; the other seeds wait for their turn.
        By default all on an accelerator and 1 on a CPU.
      on_interval: called after each program with the stacked states and the history's new
        rows of each seed, None for a seed that had ended. It may save the states but not
        keep them. Returning True stops training.

    Returns:
      The result of each seed, with its own history and reason to stop.

    Raises:
      TypeError, ValueError: as `dec_jax.train`, or the states are not stacked, or `x` is
        on several devices.

    Example:
      >>> from dec_jax import dense_architecture, embed, init_params, init_state
      >>> net = dense_architecture(4, hidden=(8,), embedding_dim=2)
      >>> x = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
      >>> config = TrainConfig(update_interval=2, max_intervals=3, tolerance=0)
      >>> params = init_params(jax.random.key(0), net)
      >>> centroids = embed(params, x, architecture=net)[:2]
      >>> labels = np.zeros(20, int)
      >>> states = stack(
      ...     [
      ...         init_state(key, params, centroids, labels, config=config)
      ...         for key in jax.random.split(jax.random.key(1), 2)
      ...     ]
      ... )
      >>> results = train(states, x, architecture=net, config=config)
      >>> [result.n_steps for result in results]
      [6, 6]
    """
    check_positive_int("intervals_per_call", intervals_per_call)
    if states.labels.ndim != 2:
        raise ValueError(
            "states must have a leading axis of seeds, got labels of shape "
            f"{states.labels.shape}; use many_seeds.stack([state, ...])."
        )
    n_seeds, n = states.labels.shape
    check_training(x, n, architecture, objective)
    x = _on_one_device(x)
    at_once = _checked(at_once, n_seeds)
    # The compiled program reuses its argument's memory: it gets a copy of the states.
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
            kept_rows(take(history, seed), int(left[seed])) if active[seed] else None
            for seed in range(n_seeds)
        ]
        for kept, part in zip(rows, new, strict=True):
            kept += [] if part is None else [part]
        stopped = on_interval is not None and bool(on_interval(states, new))
    q, labels = _assign(states.params, x, at_once=at_once, **settings)
    ends = zip(unstack(states), q, labels, rows, done, strict=True)
    return [result_of(*end) for end in ends]


@partial(
    jax.jit,
    static_argnames=(
        "architecture",
        "objective",
        "config",
        "num_intervals",
        "at_once",
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
    """Trains intervals of each active seed; the rows of other seeds are meaningless."""
    num_steps = config.max_intervals * config.update_interval

    def one(state: TrainState, is_active: jax.Array) -> tuple[TrainState, History]:
        def interval(state: TrainState, _: None) -> tuple[TrainState, History]:
            new, row = train_interval(
                state, x, architecture=architecture, objective=objective, config=config
            )
            moves = is_active & (state.step < num_steps)
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
    """Computes q and the labels of each seed."""

    def one(params: Params) -> tuple[jax.Array, jax.Array]:
        return assign(params, x, architecture=architecture, objective=objective)

    return _each(one, (params,), at_once)


def _stop_reasons(states: TrainState, config: TrainConfig) -> list[str]:
    """Says why each seed has ended; an empty string for those that have not."""
    # One transfer for all seeds, of the few fields that decide.
    seen = jax.device_get(
        {
            "params": {"centroids": states.params["centroids"]},
            "converged": states.converged,
            "label_change": states.label_change,
            "settled": states.settled,
            "step": states.step,
        }
    )
    return [stop_reason(states._replace(**one), config) for one in unstack(seen)]


def _each(function: Callable[..., Any], stacked: tuple[Any, ...], at_once: int) -> Any:
    """Applies a function to each seed, `at_once` of them as one batch."""
    if at_once == 1:
        return jax.lax.map(lambda each: function(*each), stacked)
    if at_once >= count(stacked):
        return jax.vmap(function)(*stacked)
    return jax.lax.map(lambda each: function(*each), stacked, batch_size=at_once)


def default_at_once(n_seeds: int) -> int:
    """Returns the default of `at_once`: all seeds, or 1 on a CPU."""
    # One seed uses all cores of a CPU (benchmarks/seeds.py), and seeds that take turns are
    # rounded as in single runs.
    return 1 if jax.default_backend() == "cpu" else n_seeds


def _checked(at_once: int | None, n_seeds: int) -> int:
    if at_once is None:
        return default_at_once(n_seeds)
    check_positive_int("at_once", at_once)
    return at_once


def _on_one_device(x: Num[Array, "n d"] | np.ndarray) -> Num[Array, "n d"]:
    """Puts the samples on a device; raises ValueError if they are on several."""
    x = jnp.asarray(x)
    mesh = mesh_of(x)
    if mesh is not None and mesh.size > 1:
        raise ValueError(
            f"x must be on one device for many seeds in one program, got {mesh.size} "
            "devices; place it on one of them, or run the seeds one after another."
        )
    return x
