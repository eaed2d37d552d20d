"""The optimiser of a phase, as settings that hash by value."""

import math
from dataclasses import dataclass

import optax

from dec_jax.validation import check_choice

OPTIMIZERS = ("sgd", "adam")
SCHEDULES = ("constant", "cosine", "one-cycle")


@dataclass(frozen=True)
class Optimizer:
    """Which optax optimiser, and how its learning rate moves over the steps.

    Attributes:
      name: "sgd" or "adam" (Kingma and Ba, 2015).
      learning_rate: the constant, the start of "cosine" or the peak of "one-cycle".
      momentum: of "sgd", in [0, 1); "adam" does not look at it.
      schedule: "constant"; "cosine" down to 0; or "one-cycle", up for the first
        three tenths of the steps and down to almost 0 (Smith and Topin, 2019).
    """

    name: str = "adam"
    learning_rate: float = 1e-3
    momentum: float = 0.9
    schedule: str = "constant"

    def __post_init__(self) -> None:
        check_choice("optimizer", self.name, OPTIMIZERS)
        check_choice("schedule", self.schedule, SCHEDULES)
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(
                f"learning_rate must be finite and above 0, got {self.learning_rate}."
            )
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}.")

    def build(self, num_steps: int) -> optax.GradientTransformation:
        """The optax transformation for a phase of `num_steps` steps."""
        rate: float | optax.Schedule = self.learning_rate
        if self.schedule == "cosine":
            rate = optax.cosine_decay_schedule(self.learning_rate, num_steps)
        elif self.schedule == "one-cycle":
            rate = optax.cosine_onecycle_schedule(num_steps, self.learning_rate)
        if self.name == "sgd":
            return optax.sgd(rate, momentum=self.momentum or None)
        return optax.adam(rate)
