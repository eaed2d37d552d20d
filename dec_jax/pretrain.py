"""Pretraining: the autoencoder learns to reconstruct before anything is clustered."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Num

from dec_jax.architecture import Architecture
from dec_jax.augment import Augmentation, mask_inputs, random_affine
from dec_jax.autoencoder import Params, init_params, reconstruct, scale_input
from dec_jax.loop import minibatch_plan, scan_minibatches, steps_per_epoch
from dec_jax.objectives import reconstruction_loss
from dec_jax.optimizer import Optimizer
from dec_jax.validation import check_choice, check_positive_int, check_samples


@dataclass(frozen=True)
class PretrainConfig:
    """How the autoencoder is trained end to end.

    Attributes:
      epochs: passes over the data, at least 1.
      batch_size: samples in a step, at least 1.
      optimizer: see `Optimizer`.
      augmentation: distortion of what the encoder sees, drawn anew in each step.
      target: what the decoder must give back: "clean", the sample before any
        distortion, so that z forgets the distortion; or "distorted", the moved image
        itself (DEC-DA). Masked inputs are always to be filled in.
    """

    epochs: int = 30
    batch_size: int = 256
    optimizer: Optimizer = Optimizer()
    augmentation: Augmentation = Augmentation()
    target: str = "clean"

    def __post_init__(self) -> None:
        check_positive_int("epochs", self.epochs)
        check_positive_int("batch_size", self.batch_size)
        check_choice("target", self.target, ("clean", "distorted"))


class PretrainState(NamedTuple):
    """All that changes during pretraining; a pytree of arrays."""

    params: Params  # {"encoder", "decoder"}
    opt_state: optax.OptState
    step: jax.Array  # [] int32, steps taken
    key: jax.Array  # [] of the phase: shuffles and noise come from it and the step


def init_pretraining(
    key: jax.Array,
    *,
    architecture: Architecture,
    config: PretrainConfig,
    n_samples: int,
) -> PretrainState:
    """Draws the parameters and sets the optimiser to its start."""
    init_key, phase_key = jax.random.split(key)
    params = init_params(init_key, architecture)
    opt_state = _optimizer(config, n_samples).init(params)
    return PretrainState(params, opt_state, jnp.zeros((), jnp.int32), phase_key)


def _optimizer(config: PretrainConfig, n_samples: int) -> optax.GradientTransformation:
    num_steps = config.epochs * steps_per_epoch(n_samples, config.batch_size)
    return config.optimizer.build(num_steps)


def pretrain_step(
    state: PretrainState,
    x: Num[Array, "b d"],
    weights: Float[Array, " b"],
    *,
    architecture: Architecture,
    config: PretrainConfig,
    n_samples: int,
    axis_name: str | None = None,
) -> tuple[PretrainState, Float[Array, ""]]:
    """One gradient step on the reconstruction of a minibatch.

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
    affine_key, mask_key = jax.random.split(
        jax.random.fold_in(jax.random.fold_in(state.key, 1), state.step)
    )
    if axis_name is not None:
        device = jax.lax.axis_index(axis_name)
        affine_key, mask_key = (
            jax.random.fold_in(key, device) for key in (affine_key, mask_key)
        )
    clean = scale_input(x, architecture)
    settings = config.augmentation
    moved = (
        random_affine(affine_key, clean, settings) if settings.moves_pixels else clean
    )
    seen = mask_inputs(mask_key, moved, settings.masking) if settings.masking else moved
    target = clean if config.target == "clean" else moved

    def loss_of(params: Params) -> Float[Array, ""]:
        x_hat = reconstruct(params, seen, architecture=architecture)
        return reconstruction_loss(target, x_hat, weights=weights)

    loss, gradients = jax.value_and_grad(loss_of)(state.params)
    if axis_name is not None:
        loss, gradients = jax.lax.pmean((loss, gradients), axis_name)
    updates, opt_state = _optimizer(config, n_samples).update(
        gradients, state.opt_state, state.params
    )
    params = optax.apply_updates(state.params, updates)
    return state._replace(params=params, opt_state=opt_state, step=state.step + 1), loss


@partial(
    jax.jit,
    static_argnames=("architecture", "config", "num_epochs"),
    donate_argnames="state",
)
def _pretrain_epochs(
    state: PretrainState,
    x: Num[Array, "n d"],
    *,
    architecture: Architecture,
    config: PretrainConfig,
    num_epochs: int,
) -> tuple[PretrainState, Float[Array, " epochs"]]:
    """Some epochs in one program; the mean loss of each."""
    n = len(x)
    epoch_steps = steps_per_epoch(n, config.batch_size)

    def step(
        state: PretrainState, indices: jax.Array, weights: jax.Array
    ) -> tuple[PretrainState, tuple[jax.Array, jax.Array]]:
        state, loss = pretrain_step(
            state,
            x[indices],
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
    return state, losses.sum(axis=1) / weights.sum(axis=1)


def pretrain_end_to_end(
    key: jax.Array,
    x: Num[Array, "n d"] | np.ndarray,
    *,
    architecture: Architecture,
    config: PretrainConfig = PretrainConfig(),
    state: PretrainState | None = None,
    on_epoch: Callable[[PretrainState, float], bool | None] | None = None,
) -> tuple[Params, np.ndarray]:
    """Trains all layers of the autoencoder at once on the reconstruction error.

    Each epoch is one compiled program over all of its minibatches. The same key gives
    the same parameters on the same machine, in one go or resumed.

    Args:
      key: a `jax.random.key`; what is drawn from it is said by `init_pretraining`.
      x: samples, in their own type; bytes stay bytes on the device.
      architecture: the network.
      config: epochs, batch, optimiser and noise.
      state: where an earlier run stopped; without it, training starts from `key`.
      on_epoch: called after each epoch with the state (to save, not to keep: the next
        epoch takes its memory) and the epoch's mean loss; True stops training.

    Returns:
      The parameters, and the mean loss of each epoch run here.

    Raises:
      TypeError, ValueError: `x` is not finite numbers of shape [n, d] with the
        architecture's d.
      FloatingPointError: the loss is no longer finite; the learning rate is too large.
    """
    check_samples(x)
    if x.shape[1] != architecture.input_dim:
        raise ValueError(
            f"x must have {architecture.input_dim} columns, the architecture's input, "
            f"got shape {tuple(x.shape)}."
        )
    x = jnp.asarray(x)
    if state is None:
        state = init_pretraining(
            key, architecture=architecture, config=config, n_samples=len(x)
        )
    else:
        # The compiled epoch takes over its argument's memory; the caller's stays.
        state = jax.tree.map(jnp.copy, state)
    done = int(state.step) // steps_per_epoch(len(x), config.batch_size)
    losses = []
    for _ in range(done, config.epochs):
        state, loss = _pretrain_epochs(
            state, x, architecture=architecture, config=config, num_epochs=1
        )
        losses.append(float(loss[0]))
        if not np.isfinite(losses[-1]):
            raise FloatingPointError(
                f"The pretraining loss is {losses[-1]} after epoch {done + len(losses)}; "
                f"lower the learning rate, now {config.optimizer.learning_rate}."
            )
        if on_epoch is not None and on_epoch(state, losses[-1]):
            break
    return state.params, np.asarray(losses, np.float32)
