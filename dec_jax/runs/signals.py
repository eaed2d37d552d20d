"""Ctrl-C during a run, and the signals of a system that ends it."""

import signal
import sys
from contextlib import suppress

import jax

from dec_jax.parallel.processes import any_process

# A closed terminal sends SIGHUP, where there is one; a queue of jobs and a shutdown SIGTERM.
SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)
]


class Stop:
    """Turns signals into a question of the loops: finish the step, save, then leave."""

    def __init__(self) -> None:
        self.pressed = self.asked = False

    def __enter__(self) -> "Stop":
        self.previous = {
            number: signal.signal(number, self._ask)
            for number in SIGNALS
            # What is ignored, as SIGHUP is under nohup, stays so.
            if number == signal.SIGINT
            or signal.getsignal(number) not in (signal.SIG_IGN, None)
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

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
        # A closed terminal shows nothing.
        with suppress(OSError):
            line = "\nStopping after this step (Ctrl-C again: at once) ..."
            print(line, file=sys.stderr)
