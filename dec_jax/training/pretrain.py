"""Pretraining: the autoencoder learns to reconstruct before anything is clustered."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Num

from dec_jax.networks.autoencoder import Params, init_params, scale_input
from dec_jax.networks.own import Network, check_network
from dec_jax.objectives.base import Batch
from dec_jax.objectives.reconstruction import (
    PretrainObjective,
    Reconstruction,
    check_range,
)
from dec_jax.parallel.sharding import (
    check_batch_size,
    replicate_like,
    shard_like,
    take_rows,
)
from dec_jax.training.augmentation import Augmentation, corrupt, random_affine
from dec_jax.training.minibatches import (
    minibatch_plan,
    scan_minibatches,
    steps_per_epoch,
)
from dec_jax.training.optimizer import Optimizer
from dec_jax.validation import check_choice, check_positive_int, check_samples

# What the gradient moves; running averages of batch normalization move by rule.
TRAINED = ("encoder", "decoder")


@dataclass(frozen=True)
class PretrainConfig:
    """How the autoencoder is trained end to end.

    Attributes:
      epochs: most passes over the data, at least 1.
      batch_size: samples in a step, at least 1.
      optimizer: see `Optimizer`.
      augmentation: distortion of what the encoder sees, drawn anew in each step.
      target: what the decoder must give back: "clean", the sample before any
        distortion, so that z forgets the distortion; or "distorted", the moved image
        itself (DEC-DA). Noise (masking, salt and pepper) is always to be undone.
      objective: `Reconstruction()`, with its sparsity and dropout; of a variational
        network `Variational()`, or `MeanReconstruction()` before `VaDE()`.
      patience: epochs without a new lowest loss before training stops and goes back to
        the parameters of that loss: of the validation data where there are any, else of
        the epoch's own mean. None trains for all epochs and keeps the last parameters.
    """

    epochs: int = 30
    batch_size: int = 256
    optimizer: Optimizer = Optimizer()
    augmentation: Augmentation = Augmentation()
    target: str = "clean"
    objective: PretrainObjective = Reconstruction()
    patience: int | None = None

    def __post_init__(self) -> None:
        check_positive_int("epochs", self.epochs)
        check_positive_int("batch_size", self.batch_size)
        check_choice("target", self.target, ("clean", "distorted"))
        if self.patience is not None:
            check_positive_int("patience", self.patience)


class PretrainState(NamedTuple):
    """All that changes during pretraining; a pytree of arrays."""

    params: Params  # {"encoder", "decoder"}, "batch_stats" with batch normalization
    opt_state: optax.OptState
    step: jax.Array  # [] int32, steps taken
    key: jax.Array  # [] of the phase: shuffles and noise come from it and the step
    best_params: Params  # of the lowest loss so far; {} without patience
    best_loss: jax.Array  # [] that loss
    stale: jax.Array  # [] int32, epochs since


class PretrainHistory(NamedTuple):
    """The loss of each epoch, one number an epoch (a float each for `on_epoch`)."""

    loss: np.ndarray | float  # mean over the epoch's steps
    validation: np.ndarray | float  # after the epoch; NaN without validation data


def init_pretraining(
    key: jax.Array,
    *,
    architecture: Network,
    config: PretrainConfig,
    n_samples: int,
    params: Params | None = None,
) -> PretrainState:
    """Draws the parameters, unless they are given, and sets the optimizer to its start."""
    init_key, phase_key = jax.random.split(key)
    if params is None:
        params = init_params(init_key, architecture)
    return PretrainState(
        params=params,
        opt_state=_optimizer(config, n_samples).init(_trained(params)),
        step=jnp.zeros((), jnp.int32),
        key=phase_key,
        best_params={} if config.patience is None else jax.tree.map(jnp.copy, params),
        best_loss=jnp.full((), jnp.inf, jnp.float32),
        stale=jnp.zeros((), jnp.int32),
    )


def _trained(params: Params) -> Params:
    return {name: params[name] for name in TRAINED}


def _optimizer(config: PretrainConfig, n_samples: int) -> optax.GradientTransformation:
    num_steps = config.epochs * steps_per_epoch(n_samples, config.batch_size)
    return config.optimizer.build(num_steps)


def _seen_and_target(
    key: jax.Array,
    x: Num[Array, "b d"],
    architecture: Network,
    config: PretrainConfig,
) -> tuple[Float[Array, "b d"], Float[Array, "b d"]]:
    """What the encoder is shown, and what the decoder has to give back."""
    affine_key, noise_key = jax.random.split(key)
    clean = scale_input(x, architecture)
    settings = config.augmentation
    moved = (
        random_affine(affine_key, clean, settings) if settings.moves_pixels else clean
    )
    target = clean if config.target == "clean" else moved
    return corrupt(noise_key, moved, settings), target


def pretrain_step(
    state: PretrainState,
    x: Num[Array, "b d"],
    weights: Float[Array, " b"],
    *,
    architecture: Network,
    config: PretrainConfig,
    n_samples: int,
    axis_name: str | None = None,
) -> tuple[PretrainState, Float[Array, ""]]:
    """One gradient step on a minibatch.

    Args:
      state: where training stands.
      x: the samples of this step, in their own type.
      weights: share of each sample in the mean loss, summing to 1 for a whole batch
        (with `axis_name`: for this device's part, whose means are then averaged).
      architecture: the network.
      config: the settings of the phase.
      n_samples: samples in all of the data, which sets the length of the schedule.
      axis_name: mapped axis over which the batch is spread; gradients are averaged.

    Returns:
      The next state and the loss of the batch.
    """
    key = jax.random.fold_in(jax.random.fold_in(state.key, 1), state.step)
    if axis_name is not None:
        key = jax.random.fold_in(key, jax.lax.axis_index(axis_name))
    seen, target = _seen_and_target(key, x, architecture, config)

    def loss_of(trained: Params) -> tuple[Float[Array, ""], Params]:
        return config.objective.loss(
            {**state.params, **trained},
            Batch(seen, target, weights, jax.random.fold_in(key, 2)),
            architecture=architecture,
            axis_name=axis_name,
        )

    trained = _trained(state.params)
    (loss, moved), gradients = jax.value_and_grad(loss_of, has_aux=True)(trained)
    if axis_name is not None:
        loss, gradients = jax.lax.pmean((loss, gradients), axis_name)
    updates, opt_state = _optimizer(config, n_samples).update(
        gradients, state.opt_state, trained
    )
    params = {**state.params, **optax.apply_updates(trained, updates), **moved}
    return state._replace(params=params, opt_state=opt_state, step=state.step + 1), loss


def pretrain_epochs(
    state: PretrainState,
    x: Num[Array, "n d"],
    *,
    architecture: Network,
    config: PretrainConfig,
    num_epochs: int,
) -> tuple[PretrainState, Float[Array, " epochs"]]:
    """Some epochs; the state after them, and the mean loss of each."""
    n = len(x)
    epoch_steps = steps_per_epoch(n, config.batch_size)

    def step(
        state: PretrainState, indices: jax.Array, weights: jax.Array
    ) -> tuple[PretrainState, tuple[jax.Array, jax.Array]]:
        state, loss = pretrain_step(
            state,
            take_rows(x, indices),
            weights,
            architecture=architecture,
            config=config,
            n_samples=n,
        )
        return state, (loss, weights.sum())

    plan = minibatch_plan(
        jax.random.fold_in(state.key, 0),
        state.step,
        num_steps=num_epochs * epoch_steps,
        n_samples=n,
        batch_size=config.batch_size,
    )
    state, (losses, weights) = scan_minibatches(step, state, plan)
    losses, weights = (a.reshape(num_epochs, epoch_steps) for a in (losses, weights))
    return shard_like((state, losses.sum(axis=1) / weights.sum(axis=1)), x, axis=None)


_pretrain_epochs = jax.jit(
    pretrain_epochs,
    static_argnames=("architecture", "config", "num_epochs"),
    donate_argnames="state",
)


@partial(jax.jit, static_argnames=("architecture", "config"))
def validation_loss(
    key: jax.Array,
    params: Params,
    x: Num[Array, "n d"],
    *,
    architecture: Network,
    config: PretrainConfig,
) -> Float[Array, ""]:
    """The pretraining loss of samples that are not trained on.

    Without dropout, normalized by the running averages; with the noise of the settings,
    drawn from `key` and so the same in each epoch.

    Args:
      key: a `jax.random.key`.
      params: of the autoencoder.
      x: the samples, in their own type.
      architecture: the network.
      config: the settings of the phase.

    Returns:
      The mean over the samples.
    """
    batch_size = min(config.batch_size, len(x))
    num_batches = -(-len(x) // batch_size)
    order = jnp.arange(num_batches * batch_size).reshape(num_batches, batch_size)
    weights = jnp.where(order < len(x), 1 / len(x), 0.0)

    def batch_loss(batch: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        index, rows, weights = batch
        batch_key = jax.random.fold_in(key, index)
        seen, target = _seen_and_target(batch_key, x[rows], architecture, config)
        loss, _ = config.objective.loss(
            params,
            Batch(seen, target, weights, jax.random.fold_in(batch_key, 2)),
            architecture=architecture,
            train=False,
        )
        return loss

    rows = jnp.minimum(order, len(x) - 1)
    return jax.lax.map(batch_loss, (jnp.arange(num_batches), rows, weights)).sum()


def remember(state: PretrainState, loss: Float[Array, ""]) -> PretrainState:
    """Keeps the parameters if this is the lowest loss so far, else counts the epoch."""
    better = loss < state.best_loss
    return state._replace(
        best_params=jax.tree.map(
            partial(jnp.where, better), state.params, state.best_params
        ),
        best_loss=jnp.where(better, loss, state.best_loss),
        stale=jnp.where(better, 0, state.stale + 1),
    )


_remember = jax.jit(remember, donate_argnames="state")


def pretrain_end_to_end(
    key: jax.Array,
    x: Num[Array, "n d"] | np.ndarray,
    *,
    architecture: Network,
    config: PretrainConfig = PretrainConfig(),
    validation: Num[Array, "m d"] | np.ndarray | None = None,
    state: PretrainState | None = None,
    on_epoch: Callable[[PretrainState, PretrainHistory], bool | None] | None = None,
) -> tuple[Params, PretrainHistory]:
    """Trains all layers of the autoencoder at once.

    Each epoch is one compiled program over all of its minibatches. The same key gives
    the same parameters on the same machine, in one go or resumed.

    Args:
      key: a `jax.random.key`; what is drawn from it is said by `init_pretraining`.
      x: samples, in their own type; bytes stay bytes on the device.
      architecture: the network.
      config: epochs, batch, optimizer, noise and loss.
      validation: further samples, whose loss is measured after each epoch.
      state: where an earlier run stopped; without it, training starts from `key`.
      on_epoch: called after each epoch with the state (to save, not to keep: the next
        epoch takes its memory) and the epoch's losses; True stops training.

    Returns:
      The parameters, and the losses of each epoch run here.

    Raises:
      TypeError, ValueError: `x` is not finite numbers of shape [n, d] with the
        architecture's d, or the objective is not made for the architecture or for x.
      FloatingPointError: the loss is no longer finite; the learning rate is too large.
    """
    check_pretraining(x, validation, architecture, config)
    x = jnp.asarray(x)
    check_batch_size(config.batch_size, x)
    validation = None if validation is None else jnp.asarray(validation)
    if state is None:
        state = init_pretraining(
            key, architecture=architecture, config=config, n_samples=len(x)
        )
    # The compiled epoch takes over its argument's memory; the caller's stays.
    state = replicate_like(state, x)
    return run_epochs(
        state,
        partial(_pretrain_epochs, x=x, num_epochs=1),
        architecture=architecture,
        config=config,
        epoch_steps=steps_per_epoch(len(x), config.batch_size),
        validation=validation,
        on_epoch=on_epoch,
    )


def run_epochs(
    state: PretrainState,
    epoch: Callable[..., tuple[PretrainState, Float[Array, " 1"]]],
    *,
    architecture: Network,
    config: PretrainConfig,
    epoch_steps: int,
    validation: jax.Array | None,
    on_epoch: Callable[[PretrainState, PretrainHistory], bool | None] | None,
) -> tuple[Params, PretrainHistory]:
    """`pretrain_end_to_end` once `epoch(state, architecture, config)` is at hand."""
    done = int(state.step) // epoch_steps
    rows: list[PretrainHistory] = []
    stopped = False
    while done < config.epochs and not stopped and not _is_stale(state, config):
        state, loss = epoch(state, architecture=architecture, config=config)
        done += 1
        watched = loss[0]
        if validation is not None:
            watched = validation_loss(
                jax.random.fold_in(state.key, 2),
                state.params,
                validation,
                architecture=architecture,
                config=config,
            )
        if config.patience is not None:
            state = _remember(state, watched)
        measured = float(watched) if validation is not None else math.nan
        row = PretrainHistory(float(loss[0]), measured)
        rows.append(row)
        if not (math.isfinite(loss[0]) and math.isfinite(watched)):
            raise FloatingPointError(
                f"The pretraining loss is {row.loss} after epoch {done}; lower the "
                f"learning rate, now {config.optimizer.learning_rate}."
            )
        stopped = on_epoch is not None and bool(on_epoch(state, row))
    columns = np.array(rows, np.float32).reshape(-1, 2)
    return final_params(state, config), PretrainHistory(columns[:, 0], columns[:, 1])


def final_params(state: PretrainState, config: PretrainConfig) -> Params:
    """The parameters that pretraining ends with: the best ones where it watched."""
    return state.params if config.patience is None else state.best_params


def _is_stale(state: PretrainState, config: PretrainConfig) -> bool:
    return config.patience is not None and int(state.stale) >= config.patience


def check_pretraining(
    x: jax.Array | np.ndarray | None,
    validation: jax.Array | np.ndarray | None,
    architecture: Network,
    config: PretrainConfig,
) -> None:
    """What `pretrain_end_to_end` asks of its data; None stands for data not at hand."""
    check_network(architecture)
    config.objective.check(architecture)
    for name, samples in {"x": x, "validation": validation}.items():
        if samples is None:
            continue
        check_samples(samples, name)
        if samples.shape[1] != architecture.input_dim:
            raise ValueError(
                f"{name} must have {architecture.input_dim} columns, the architecture's "
                f"input, got shape {tuple(samples.shape)}."
            )
        bernoulli = architecture.output_activation == "sigmoid"
        if architecture.variational and bernoulli:
            check_range(samples, architecture, name)
