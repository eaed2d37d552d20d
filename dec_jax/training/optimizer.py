"""Settings of a phase's optimizer, which hash by value."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool

from dec_jax.validation import check_choice, check_positive_int

OPTIMIZERS = ("sgd", "nesterov", "adam")
SCHEDULES = ("constant", "cosine", "one-cycle", "step")


@dataclass(frozen=True)
class Optimizer:
    """Settings of an optax optimizer and of the schedule of its learning rate.

    Attributes:
      name: "sgd", "nesterov" (sgd with Nesterov's momentum) or "adam" (Kingma and Ba,
        2015).
      learning_rate: the constant rate, the first rate of "cosine" and "step", or the peak
        of "one-cycle"; finite and above 0.
      momentum: momentum of "sgd" and "nesterov", in [0, 1); "adam" ignores it.
      schedule: "constant"; "cosine", which falls to 0; "one-cycle", which rises for the
        first 30 % of the steps and then falls to almost 0 (Smith and Topin, 2019); or
        "step", which is multiplied by `decay_rate` every `decay_every` steps.
      decay_every: steps between two drops of "step", at least 1.
      decay_rate: factor of "step", in (0, 1]; 0.1 divides by 10.
      least_rate: lower bound of "step", from 0 to `learning_rate`.
      epsilon: constant added to the denominator of "adam", above 0.
      weight_decay: L2 penalty: this multiple of each kernel is added to its gradient; at
        least 0. Biases, normalization and centroids have no penalty.

    Example:
      >>> Optimizer("sgd", 0.1, momentum=0.5).schedule
      'constant'
    """

    name: str = "adam"
    learning_rate: float = 1e-3
    momentum: float = 0.9
    schedule: str = "constant"
    decay_every: int = 20_000
    decay_rate: float = 0.1
    least_rate: float = 0.0
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        check_choice("optimizer", self.name, OPTIMIZERS)
        check_choice("schedule", self.schedule, SCHEDULES)
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(
                f"learning_rate must be finite and above 0, got {self.learning_rate}."
            )
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}.")
        check_positive_int("decay_every", self.decay_every)
        if not 0 < self.decay_rate <= 1:
            raise ValueError(f"decay_rate must be in (0, 1], got {self.decay_rate}.")
        if not 0 <= self.least_rate <= self.learning_rate:
            raise ValueError(
                f"least_rate must be from 0 to learning_rate = {self.learning_rate}, got "
                f"{self.least_rate}."
            )
        if not 0 < self.epsilon < math.inf:
            raise ValueError(f"epsilon must be finite and above 0, got {self.epsilon}.")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(
                f"weight_decay must be finite and at least 0, got {self.weight_decay}."
            )

    def build(self, num_steps: int) -> optax.GradientTransformation:
        """Builds the optax transformation of a phase of `num_steps` steps."""
        rate: float | optax.Schedule = self.learning_rate
        if self.schedule == "cosine":
            rate = optax.cosine_decay_schedule(self.learning_rate, num_steps)
        elif self.schedule == "one-cycle":
            rate = optax.cosine_onecycle_schedule(num_steps, self.learning_rate)
        elif self.schedule == "step":
            rate = optax.exponential_decay(
                self.learning_rate,
                self.decay_every,
                self.decay_rate,
                staircase=True,
                end_value=self.least_rate,
            )
        if self.name == "adam":
            method = optax.adam(rate, eps=self.epsilon)
        else:
            nesterov = self.name == "nesterov"
            method = optax.sgd(rate, momentum=self.momentum or None, nesterov=nesterov)
        if not self.weight_decay:
            return method
        decay = optax.add_decayed_weights(self.weight_decay, mask=_kernels)
        return optax.chain(decay, method)


def _kernels(params: Any) -> Any:
    """Marks the kernels of a tree of parameters by True."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: getattr(path[-1], "key", None) == "kernel", params
    )


def without_moments(
    opt_state: optax.OptState, moved: Bool[Array, " k"], names: tuple[str, ...]
) -> optax.OptState:
    """Sets the optimizer's moments of the moved clusters to 0."""

    def cleared(path: tuple, leaf: jax.Array) -> jax.Array:
        # Optax keeps momentum and Adam's moments in trees with the parameters' names.
        if getattr(path[-1], "key", None) not in names:
            return leaf
        return where_moved(moved, jnp.zeros_like(leaf), leaf)

    return jax.tree_util.tree_map_with_path(cleared, opt_state)


def where_moved(moved: Bool[Array, " k"], new: jax.Array, old: jax.Array) -> jax.Array:
    """Takes rows of `new` for the moved clusters, and of `old` for the others."""
    return jnp.where(moved.reshape(-1, *[1] * (old.ndim - 1)), new, old)
