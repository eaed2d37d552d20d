"""Pretraining: trains the autoencoder to reconstruct, before anything is clustered."""

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
from dec_jax.networks.own import Network
from dec_jax.objectives.base import Batch
from dec_jax.objectives.reconstruction import PretrainObjective, Reconstruction
from dec_jax.parallel.sharding import (
    check_batch_size,
    replicate_like,
    shard_like,
    take_rows,
)
from dec_jax.training.augmentation import Augmentation, corrupt, random_affine
from dec_jax.training.loop import check_pretraining
from dec_jax.training.minibatches import (
    minibatch_plan,
    scan_minibatches,
    steps_per_epoch,
)
from dec_jax.training.optimizer import Optimizer
from dec_jax.validation import check_choice, check_positive_int

# Parameters trained by gradients; running averages of batch normalization are not.
TRAINED = ("encoder", "decoder")


@dataclass(frozen=True)
class PretrainConfig:
    """Settings for training the autoencoder end to end.

    Attributes:
      epochs: largest number of passes over the data, at least 1.
      batch_size: samples of a step, at least 1.
      optimizer: see `Optimizer`.
      augmentation: distortion of the encoder's input, drawn anew in each step.
      target: the decoder's target: "clean", the undistorted sample, so that z becomes
        invariant to the distortion; or "distorted", the augmented image itself (DEC-DA).
        Noise (masking, salt and pepper) is never part of the target.
      objective: `Reconstruction()`, with its sparsity and dropout; for a variational
        network `Variational()`, or `MeanReconstruction()` before `VaDE()`.
      patience: number of epochs without a new lowest loss after which training stops and
        returns the parameters of the lowest loss. The loss is that of the validation data
        if there are any, else the mean of the epoch. None trains for all epochs and returns
        the last parameters.

    Example:
      >>> PretrainConfig(epochs=100, patience=5, optimizer=Optimizer("adam", 1e-3)).batch_size
      256
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
    key: jax.Array  # [] random key; with the step it gives shuffles and noise
    best_params: Params  # of the lowest loss so far; {} without patience
    best_loss: jax.Array  # [] the lowest loss so far
    stale: jax.Array  # [] int32, epochs since the lowest loss


class PretrainHistory(NamedTuple):
    """Loss of each epoch, one number an epoch (a single float each for `on_epoch`)."""

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
    """Draws the parameters, unless they are given, and initializes the optimizer."""
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
    """Computes the input of the encoder and the target of the decoder."""
    affine_key, noise_key = jax.random.split(key)
    clean = scale_input(x, architecture)
    settings = config.augmentation
    augmented = clean
    if settings.moves_pixels:
        augmented = random_affine(affine_key, clean, settings)
    target = clean if config.target == "clean" else augmented
    return corrupt(noise_key, augmented, settings), target


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
    """Takes one gradient step on a minibatch.

    Args:
      state: the training state.
      x: the samples of this step, of any numeric dtype.
      weights: share of each sample in the mean loss; they sum to 1 over a full batch
        (with `axis_name`, over this device's part, and the devices' means are averaged).
      architecture: the network.
      config: the settings of the phase.
      n_samples: number of samples of the data, which sets the length of the schedule.
      axis_name: mapped axis over which the batch is sharded; gradients are averaged.

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
    """Trains some epochs, and returns the state after them and the mean loss of each."""
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
    """Computes the pretraining loss of samples that are not trained on.

    There is no dropout, and batch normalization uses its running averages. The noise of
    the settings is drawn from `key`, so that the same key gives the same noise.

    Args:
      key: a `jax.random.key`.
      params: parameters of the autoencoder.
      x: the samples, of any numeric dtype.
      architecture: the network.
      config: the settings of the phase.

    Returns:
      The mean over the samples.
    """
    # Padding repeats the last sample with weight 0; all weights together sum to 1.
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
    """Keeps the parameters if the loss is the lowest so far, else counts a stale epoch."""
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

    Each epoch is one compiled program over all of its minibatches. The same key gives the
    same parameters on the same machine, also if training is resumed.

    Args:
      key: a `jax.random.key`, from which `init_pretraining` draws parameters and noise.
      x: samples, [n, d] of any numeric dtype; uint8 stays uint8 on the device.
      architecture: the network.
      config: epochs, batch size, optimizer, noise and loss.
      validation: further samples, whose loss is measured after each epoch.
      state: the state in which an earlier run stopped; None starts from `key`.
      on_epoch: called after each epoch with the state and the epoch's losses. It may save
        the state but not keep it, because the next epoch reuses its memory. Returning True
        stops training.

    Returns:
      The parameters, and the losses of each epoch of this call.

    Raises:
      TypeError, ValueError: `x` is not finite numbers of shape [n, d] with the
        architecture's d, or the objective does not accept the architecture or `x`.
      FloatingPointError: the loss is no longer finite; the learning rate is too large.

    Example:
      >>> from dec_jax import dense_architecture
      >>> net = dense_architecture(4, hidden=(8,), embedding_dim=2)
      >>> x = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
      >>> config = PretrainConfig(epochs=2, batch_size=10)
      >>> params, history = pretrain_end_to_end(
      ...     jax.random.key(0), x, architecture=net, config=config
      ... )
      >>> sorted(params), history.loss.shape
      (['decoder', 'encoder'], (2,))
    """
    check_pretraining(x, validation, architecture, config.objective)
    x = jnp.asarray(x)
    check_batch_size(config.batch_size, x)
    validation = None if validation is None else jnp.asarray(validation)
    if state is None:
        state = init_pretraining(
            key, architecture=architecture, config=config, n_samples=len(x)
        )
    # The compiled epoch reuses its argument's memory: it gets a copy of the state.
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
    """Runs the loop of `pretrain_end_to_end` over a given function of one epoch."""
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
                f"learning rate, now {config.optimizer.learning_rate:g}."
            )
        stopped = on_epoch is not None and bool(on_epoch(state, row))
    return final_params(state, config), join_epochs(rows)


def join_epochs(rows: list[PretrainHistory]) -> PretrainHistory:
    """Joins the rows of all epochs into one history."""
    return PretrainHistory(*np.array(rows, np.float32).reshape(-1, 2).T)


def final_params(state: PretrainState, config: PretrainConfig) -> Params:
    """Returns the parameters of the lowest loss with patience, else the last ones."""
    return state.params if config.patience is None else state.best_params


def _is_stale(state: PretrainState, config: PretrainConfig) -> bool:
    return config.patience is not None and int(state.stale) >= config.patience
