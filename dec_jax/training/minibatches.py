"""Plans minibatches and scans over them."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

State = TypeVar("State")


def steps_per_epoch(n_samples: int, batch_size: int) -> int:
    """Counts the minibatches of one pass over the data, including a partial one."""
    return -(-n_samples // min(batch_size, n_samples))


def even_batch_size(n_samples: int, most: int = 256) -> int:
    """Chooses a batch size that wastes no fifth of the steps on padding.

    The last batch of an epoch is filled up with samples of weight 0. Where they would be a
    fifth of all or more, as with 300 samples in batches of 256, the batches share the
    samples evenly, in multiples of 8.

    Example:
      >>> even_batch_size(70_000), even_batch_size(1_797), even_batch_size(300)
      (256, 256, 152)
    """
    batches = steps_per_epoch(n_samples, most)
    if batches == 1 or n_samples > 0.8 * batches * most:
        return most
    return 8 * -(-n_samples // (8 * batches))


def epoch_order(
    key: jax.Array, epoch: Int[Array, ""] | int, n_samples: int
) -> Int[Array, " n"]:
    """Draws the order in which the steps of an epoch take all samples."""
    return jax.random.permutation(jax.random.fold_in(key, epoch), n_samples)


def minibatch_plan(
    key: jax.Array,
    first_step: Int[Array, ""] | int,
    *,
    num_steps: int,
    n_samples: int,
    batch_size: int,
) -> tuple[Int[Array, "steps b"], Float[Array, "steps b"]]:
    """Plans the samples of the next steps, as a pure function of the key and the step.

    Each epoch is a new shuffle of all samples, drawn from `key` and the epoch's number.
    Nothing is carried from step to step: training can start at any step, and n intervals
    in one program equal n programs of one interval.

    Args:
      key: a `jax.random.key`, the same for the whole phase.
      first_step: number of steps taken before.
      num_steps: length of the plan.
      n_samples: number of samples of the data.
      batch_size: samples of a step; data smaller than this are one batch.

    Returns:
      Indices of the samples of each step, and their weights in the step's mean: 1 / b, or
      0 for the padding of an epoch's last batch. All samples weigh the same in an epoch.

    Example:
      >>> indices, weights = minibatch_plan(
      ...     jax.random.key(0), 0, num_steps=2, n_samples=3, batch_size=2
      ... )
      >>> indices.shape, weights.tolist()
      ((2, 2), [[0.5, 0.5], [0.5, 0.0]])
    """
    batch_size = min(batch_size, n_samples)
    epoch_steps = steps_per_epoch(n_samples, batch_size)
    first_epoch, offset = jnp.divmod(jnp.asarray(first_step, jnp.int32), epoch_steps)
    # The largest number of epochs that num_steps steps touch, from the worst offset.
    epochs = first_epoch + jnp.arange((num_steps + epoch_steps - 2) // epoch_steps + 1)

    def shuffled(epoch: Int[Array, ""]) -> Int[Array, " padded"]:
        order = epoch_order(key, epoch, n_samples)
        return jnp.pad(order, (0, epoch_steps * batch_size - n_samples))

    indices = jax.vmap(shuffled)(epochs).reshape(-1, batch_size)
    position = jnp.arange(epoch_steps * batch_size).reshape(epoch_steps, batch_size)
    weights = jnp.where(position < n_samples, 1 / batch_size, 0.0)
    weights = jnp.tile(weights, (len(epochs), 1))
    slices = [
        jax.lax.dynamic_slice_in_dim(rows, offset, num_steps)
        for rows in (indices, weights)
    ]
    return slices[0], slices[1]


def scan_minibatches(
    step: Callable[[State, Int[Array, " b"], Float[Array, " b"]], tuple[State, Any]],
    state: State,
    plan: tuple[Int[Array, "steps b"], Float[Array, "steps b"]],
) -> tuple[State, Any]:
    """Runs `step(state, indices, weights)` over a plan in one scan."""

    def body(state: State, batch: tuple[jax.Array, jax.Array]) -> tuple[State, Any]:
        return step(state, *batch)

    return jax.lax.scan(body, state, plan)
