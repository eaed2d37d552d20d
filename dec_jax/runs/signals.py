"""Ctrl-C during a run."""

import signal
import sys

import jax

from dec_jax.parallel.processes import any_process


class Stop:
    """Turns Ctrl-C into a question of the loops: finish the step, save, then leave."""

    def __init__(self) -> None:
        self.pressed = self.asked = False

    def __enter__(self) -> "Stop":
        self.previous = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self.previous)

    def agree(self) -> None:
        """Lets all processes stop at the same step."""
        if jax.process_count() > 1:
            self.asked = any_process(self.pressed)

    def _ask(self, *_: object) -> None:
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True
        # Several processes must stop at the same step.
        self.asked = jax.process_count() == 1
        print("\nStopping after this step (Ctrl-C again: at once) ...", file=sys.stderr)
