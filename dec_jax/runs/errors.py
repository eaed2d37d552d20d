"""Reports mistakes in one line, and ends a program with the right status."""

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from dec_jax.validation import one_line, shown

FAILED = 1  # the exit status of a run that could not come to its end
WRONG_USE = 2  # that of a mistake in what was asked for
LONGEST_CAUSE = 200  # characters of what a library says
STOPPED = 130  # that which a shell reports for a program ended by Ctrl-C
# Errors of the library that a user's data or options cause.
MISTAKES = (ValueError, TypeError, OSError, ImportError)


class UsageError(Exception):
    """A mistake in what was asked for, in one line for people."""


class RunFailed(Exception):
    """A run that could not come to its end, such as one that diverged."""


def flag(name: str) -> str:
    """Spells a setting as the option that sets it."""
    return "-k" if name == "n_clusters" else "--" + name.replace("_", "-")


def check_least(settings: Mapping[str, Any], **least: int) -> None:
    """Raises UsageError if an option that was given is below what it must at least be."""
    for name, lowest in least.items():
        given = settings.get(name)
        if given is not None and given < lowest:
            raise UsageError(f"{flag(name)} must be at least {lowest}, got {given}.")


def diverged(
    reason: object, rate: float, *, learning_rate: str, retry: str, retried: bool
) -> str:
    """Joins the reason why a run diverged, and what to try, to one line.

    Args:
      reason: one sentence or more, with the rate of the phase.
      rate: the recipe's learning rate of clustering.
      learning_rate: the user's word for it.
      retry: the user's word for retries.
      retried: whether a tenth and a hundredth of the rate were tried.
    """
    lower = f"try {rate / 10:g}, or give {retry}, which tries lower rates by itself"
    if retried:
        lower = f"retries were in vain: try {rate / 1000:g}"
    return (
        f"{reason} {learning_rate} is that of clustering, {rate:g} here, and pretraining "
        f"changes by the same factor; {lower}."
    )


@contextmanager
def mistakes_of_use(*names: str) -> Iterator[None]:
    """Turns errors of the library into a `UsageError`.

    Args:
      *names: settings whose names in a message become those of their options; a name of
        one word, which a sentence may hold too, only where the message begins with it.
    """
    try:
        yield
    except BrokenPipeError:
        # No mistake: `exit_status` ends quietly.
        raise
    except MISTAKES as error:
        text = " ".join(str(error).split())
        for name in names:
            begin = r"(?<![-\w.])" if "_" in name else "^"
            text = re.sub(rf"{begin}{name}\b(?!=)", flag(name), text)
        raise UsageError(text) from error


def is_memory_full(error: Exception) -> bool:
    """True if a host or a device had no memory left, as numpy and jax tell it."""
    if isinstance(error, MemoryError):
        return True
    is_jax = type(error).__name__ in ("JaxRuntimeError", "XlaRuntimeError")
    return is_jax and "RESOURCE_EXHAUSTED" in str(error)


def memory_is_full(error: Exception) -> str:
    """Says in one line that the memory is full, and what to try."""
    cause = shown(" ".join(str(error).split()))[:LONGEST_CAUSE].rstrip(".")
    return (
        f"The memory is full{f' ({cause})' if cause else ''}. Try fewer samples or smaller "
        "batches: `dec-jax cluster` takes --limit, --batch-size, and --memory, with which "
        "it reads rows from the file as they are needed."
    )


def exit_status(run: Callable[[], object], stopped: str) -> int:
    """Runs a program and reports how it ended.

    Args:
      run: the program.
      stopped: the line for Ctrl-C.

    Returns:
      The exit status: 0, 1 for a run that failed, 2 for a mistake, 130 for Ctrl-C.
    """
    try:
        run()
    except UsageError as error:
        print(f"error: {shown(' '.join(str(error).split()))}", file=sys.stderr)
        return WRONG_USE
    except RunFailed as error:
        print(f"error: {shown(' '.join(str(error).split()))}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        # The reader of the output has what it wanted, as in `dec-jax recipes | head`.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    # Such as that of a full disk.
    except OSError as error:
        print(f"error: {shown(one_line(error))}", file=sys.stderr)
        return FAILED
    except Exception as error:
        if not is_memory_full(error):
            raise
        print(f"error: {memory_is_full(error)}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt as error:
        # An interrupted run that can be resumed says how.
        print(f"\n{error if error.args else stopped}", file=sys.stderr)
        return STOPPED
    return 0
