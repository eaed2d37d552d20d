"""The devices and processes of a run: finds them, and lets only the first process print."""

import contextlib
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from dec_jax.parallel import processes, sharding
from dec_jax.runs.errors import FAILED, WRONG_USE, RunFailed, UsageError
from dec_jax.validation import shown

# A run of several processes, started by hand, by SLURM or by Open MPI.
COUNTS = (processes.COUNT, "SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
MOST = 512  # devices of one process; JAX would begin to make any number of a CPU's
PEER_ENDED = 3  # the exit status of a process whose peer is gone
# What the errors of sums over processes speak of; they come in several types.
TRANSPORTS = ("Gloo", "NCCL", "coordination service", "distributed service")


class Here(NamedTuple):
    """The devices of this process, and its folder."""

    mesh: Mesh | None  # None is the default device alone
    scratch: Path | None  # thrown away at the end; None in the process that speaks


@contextlib.contextmanager
def joined(options: Mapping[str, Any]) -> Iterator[Here]:
    """The devices of a run, and its processes.

    With several processes only process 0 prints. One that fails reports why and
    leaves at once, which ends the others: waiting for them would last for ever.

    Raises:
      UsageError: devices that do not exist, processes that do not find one another.
    """
    several = options.get("distributed") or any(
        int(os.environ.get(name, 1)) > 1 for name in COUNTS
    )
    if not several:
        yield Here(_mesh(options.get("devices")), None)
        return
    if "devices" in options:
        raise UsageError("--devices: a run of several processes takes all devices.")
    try:
        processes.initialize_distributed()
    except ValueError as error:
        raise UsageError(f"--distributed: {error}") from error
    mesh = sharding.data_mesh()
    try:
        if processes.is_first_process():
            yield Here(mesh, None)
        else:
            with _silence(), tempfile.TemporaryDirectory(prefix="dec_jax-") as scratch:
                yield Here(mesh, Path(scratch))
    except BaseException as error:
        _leave(error)


def _mesh(count: int | None) -> Mesh | None:
    if count is not None:
        if count < 1:
            raise UsageError(f"--devices must be at least 1, got {count}.")
        if count > MOST:
            raise UsageError(f"--devices must be at most {MOST}, got {count}.")
        # Of a CPU there are as many as are asked for, if nothing has run yet.
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", count)
    every = jax.devices()
    if count is None:
        count = 1 if every[0].platform == "cpu" else len(every)
    if count > len(every):
        raise UsageError(f"--devices {count}: there are only {len(every)}.")
    return sharding.data_mesh(every[:count]) if count > 1 else None


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    with (
        open(os.devnull, "w") as nothing,
        contextlib.redirect_stdout(nothing),
        contextlib.redirect_stderr(nothing),
    ):
        # The compiler's own library speaks past Python.
        os.dup2(nothing.fileno(), 1)
        yield


def _leave(error: BaseException) -> None:
    """Ends a process of several, without waiting for the others as an exit would."""
    number, status = jax.process_index(), 1
    if any(name in str(error) for name in TRANSPORTS):
        status = PEER_ENDED
        reason = str(error).splitlines()[0]
        print(
            f"error: process {number} cannot continue: another process of this run has "
            f"ended ({reason}).\nStart all of them again with --resume: they continue "
            "from the last checkpoint.",
            file=sys.stderr,
        )
    elif isinstance(error, UsageError | RunFailed):
        status = WRONG_USE if isinstance(error, UsageError) else FAILED
        print(f"error: process {number}: {shown(str(error))}", file=sys.stderr)
    else:
        traceback.print_exception(error)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def rows_on_devices(n_samples: int, mesh: Mesh) -> str:
    """One line on the devices, and the rows that each has."""
    processes = jax.process_count()
    which = f" of {processes} processes" if processes > 1 else ""
    rows = f"{n_samples // mesh.size:,} rows on each"
    if n_samples % mesh.size:
        rows = "all rows on each, as they do not divide them"
    return f"{mesh.size} devices{which}, {rows}"
