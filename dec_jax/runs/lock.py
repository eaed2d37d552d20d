"""A lock on the folder of a run: two runs at once would mix their files."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from dec_jax.runs.errors import UsageError

LOCK = ".running"


@contextmanager
def only_run_in(folder: Path) -> Iterator[None]:
    """Keeps other processes from running in a folder, or in one that it is a seed of.

    The system takes the lock back when the process ends, in whatever way. Where there
    are no locks (Windows, some network disks, a folder that cannot be written to),
    nothing is kept from anybody.

    Args:
      folder: of the run; it exists.

    Raises:
      UsageError: another process runs in it.
    """
    with ExitStack() as stack:
        whole = folder.absolute().parent
        for place in (folder, whole):
            # A seed is part of a run, whose process may be at work on it.
            if place is folder or (
                folder.name.startswith("seed-") and (whole / "config.json").is_file()
            ):
                file = _locked(place / LOCK)
                if file is not None:
                    stack.enter_context(file)
                    # Before it is let go, so that no other process waits at it.
                    stack.callback(_remove, place / LOCK)
        yield


def _locked(path: Path) -> IO[str] | None:
    """Opens and locks a file; None where there are no locks."""
    try:
        import fcntl
    except ImportError:
        return None
    while True:
        try:
            file = path.open("a")
        except OSError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A run that ended in between has removed this file.
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
            file.close()
        except BlockingIOError:
            file.close()
            raise UsageError(
                f"{path.parent} is in use: another process runs in it; wait until it has "
                "ended, or take another folder by --out."
            ) from None
        except FileNotFoundError:
            file.close()
        except OSError:
            file.close()
            return None


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
