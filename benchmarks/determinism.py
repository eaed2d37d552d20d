"""Does the same seed give the same bits, whatever else the machine does?

    python -m benchmarks.determinism                      # digits, the recipes dec, best, auto
    python -m benchmarks.determinism wine.csv --option=-k --option=3 --recipes auto

Runs `dec-jax cluster` in one process after the other: again, on one core, with one thread for
each library, beside a program that keeps all cores busy, with memory filled by other data, with
another order of hashes, and with programs compiled anew. labels.csv and the parameters of the
model are compared bit for bit with those of the first run.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks.quality import new_parser, save_rows
from dec_jax.model import load
from dec_jax.parallel.hardware import device_name
from dec_jax.runs.errors import RunFailed, exit_status

BUSY = "while True: pass"
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}


class Way(NamedTuple):
    """A circumstance that must not change a result."""

    name: str
    environment: dict[str, str] = {}
    cores: Sequence[int] = ()  # that the run may use; all if there are none
    busy: bool = False


WAYS = (
    Way("again"),
    Way("on one core", cores=CORES[:1]),
    # XLA shares out products by the number of cores, which this variable replaces.
    Way("on one core, NPROC that of all", {"NPROC": str(len(CORES))}, CORES[:1]),
    Way("one thread for each library", ONE_THREAD),
    Way("beside other work", busy=True),
    # glibc fills what is allocated and what is freed with this byte.
    Way("memory filled by 0xAA", {"MALLOC_PERTURB_": "170"}),
    Way("another order of hashes", {"PYTHONHASHSEED": "7"}),
    Way("compiled anew", {"JAX_ENABLE_COMPILATION_CACHE": "false"}),
)


@contextmanager
def busy_cores(wanted: bool) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Keeps every core busy with a program of its own; yields these."""
    count = max(1, len(CORES)) if wanted else 0
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield others
    finally:
        for other in others:
            other.kill()
            other.wait()


def command(way: Way, words: list[str]) -> list[str]:
    """Makes the command of a run, on some of the cores if the way says so."""
    program = (
        "import sys; from dec_jax.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    if way.cores:
        program = f"import os; os.sched_setaffinity(0, {set(way.cores)}); {program}"
    return [sys.executable, "-c", program, *words]


def result(folder: Path) -> dict[str, bytes]:
    """Reads the labels and the parameters of a run, as bytes."""
    model = load(folder / "model.safetensors")
    found = {"labels": (folder / "labels.csv").read_bytes()}
    for path, leaf in jax.tree.leaves_with_path(model.params):
        found[jax.tree_util.keystr(path)] = np.asarray(leaf).tobytes()
    return found


def run_once(way: Way, words: list[str], out: Path) -> dict[str, bytes]:
    """Runs the command in its way."""
    with busy_cores(way.busy):
        done = subprocess.run(
            command(way, ["cluster", *words, "--out", str(out)]),
            env={**os.environ, **way.environment},
            capture_output=True,
            text=True,
        )
    if done.returncode:
        raise RunFailed(f"{way.name}: {done.stderr.splitlines()[-1]}")
    return result(out)


def measure(words: list[str], folder: Path) -> Iterator[dict[str, Any]]:
    """Compares each way with the first run; yields a row for each."""
    first = run_once(Way("first"), words, folder / "first")
    for number, way in enumerate(WAYS):
        found = run_once(way, words, folder / str(number))
        differing = [name for name in first if found.get(name) != first[name]]
        yield {
            "way": way.name,
            "labels equal": "labels" not in differing,
            "arrays": len(first) - 1,
            "arrays equal": len(first) - 1 - len(set(differing) - {"labels"}),
        }


def run(options: argparse.Namespace) -> None:
    """Measures, prints and saves."""
    rows: list[dict[str, Any]] = []
    print(device_name())
    for data in options.datasets or ["digits"]:
        for recipe in options.recipes:
            words = [data, "--recipe", recipe, *options.option]
            with tempfile.TemporaryDirectory(prefix="dec_jax-") as folder:
                for row in measure(words, Path(folder)):
                    rows.append({"data": Path(data).name, "recipe": recipe, **row})
                    labels = "equal" if row["labels equal"] else "DIFFER"
                    print(
                        f"{Path(data).name:<12}{recipe:<8}{row['way']:<30}labels {labels}, "
                        f"{row['arrays equal']} of {row['arrays']} arrays equal",
                        flush=True,
                    )
                    if options.save:
                        save_rows(options.save, rows)


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    out = new_parser("determinism", __doc__, recipes=["dec", "best", "auto"])
    out.add_argument(
        "--option", metavar="WORD", action="append", default=[], help="of the command"
    )
    options = out.parse_args(arguments)
    return exit_status(
        lambda: run(options), "Stopped; --save kept the runs that ended."
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
