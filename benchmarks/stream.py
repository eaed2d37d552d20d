"""Measures the cost of training from a file: `python -m benchmarks.stream`.

A file of 784-byte rows is made in a temporary folder and deleted at the end; the size that
README.md shows is `--rows 1000000 10000000` (7.8 GB). A process of its own reads it for one
epoch of pretraining and for one interval of DEC (a refresh of p, an epoch of steps, the final
pass), and reports its peak resident memory. The peer is the same work in memory, on at most
`--fits` of the rows. Both alternate; the numbers are medians of the rounds. A first turn, which
compiles, is left out; the stream has one only up to a million rows, beyond which compilation
takes too small a share of the time to matter.
"""

import multiprocessing
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.common import Benchmark, new_row
from benchmarks.tables import Row
from dec_jax import streaming
from dec_jax.networks.architecture import Architecture, dense_architecture
from dec_jax.networks.autoencoder import init_params
from dec_jax.networks.precision import PRECISIONS
from dec_jax.runs.errors import UsageError
from dec_jax.training.cluster import train
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.pretrain import PretrainConfig, pretrain_end_to_end
from dec_jax.training.state import TrainConfig, init_state

WIDTH, CLUSTERS, EMBEDDING = 784, 10, 10
CHUNK = 20_000  # rows that are written at a time
WARMED_ROWS = 1_000_000
PHASES = ("pretraining", "clustering")


@dataclass(frozen=True)
class Settings:
    """The training, and the order of reading."""

    batch: int = 256
    hidden: tuple[int, ...] = (500, 500, 2000)
    precision: str = "float32"
    run_length: int = 1

    def architecture(self) -> Architecture:
        """The network."""
        network = dense_architecture(
            WIDTH, hidden=self.hidden, embedding_dim=EMBEDDING, input_scale=1 / 255
        )
        return replace(network, precision=self.precision)

    def pretrain(self) -> PretrainConfig:
        """The settings of one epoch of pretraining."""
        return PretrainConfig(
            epochs=1, batch_size=self.batch, optimizer=Optimizer("adam", 1e-3)
        )

    def train(self, rows: int) -> TrainConfig:
        """The settings of one interval, of an epoch of steps."""
        return TrainConfig(
            update_interval=max(1, rows // self.batch),
            max_intervals=1,
            batch_size=self.batch,
        )


def write_rows(path: Path, rows: int) -> None:
    """Writes noisy copies of ten patterns as an .npy file, chunk by chunk."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 128, (CLUSTERS, WIDTH), dtype=np.uint8)
    header = {"descr": "|u1", "fortran_order": False, "shape": (rows, WIDTH)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, rows, CHUNK):
            count = min(CHUNK, rows - start)
            chunk = rng.integers(0, 128, (count, WIDTH), dtype=np.uint8)
            chunk += patterns[rng.integers(0, CLUSTERS, count)]
            file.write(chunk.tobytes())


def start_of(rows: int, settings: Settings, begin: Any) -> Any:
    """A random state before clustering, made by `begin`: only the speed counts."""
    centroids = jax.random.normal(jax.random.key(1), (CLUSTERS, EMBEDDING))
    return begin(
        jax.random.key(2),
        init_params(jax.random.key(0), settings.architecture()),
        centroids,
        jnp.zeros(rows, jnp.int32),
        config=settings.train(rows),
    )


def in_memory(x: jax.Array, phase: str, settings: Settings) -> float:
    """Seconds of a phase on an array."""
    network = settings.architecture()
    start = time.perf_counter()
    if phase == "pretraining":
        params, _ = pretrain_end_to_end(
            jax.random.key(0), x, architecture=network, config=settings.pretrain()
        )
        jax.block_until_ready(params)
    else:
        config = settings.train(len(x))
        state = start_of(len(x), settings, init_state)
        train(state, x, architecture=network, config=config)
    return time.perf_counter() - start


def streamed(path: str, phase: str, settings: Settings) -> tuple[float, float]:
    """Seconds of a phase on a file, and the peak resident memory of this process in GB."""
    source = streaming.NpySource(path)
    reading = streaming.Reading(
        run_length=settings.run_length, scratch=str(Path(path).parent)
    )
    common: dict[str, Any] = {
        "architecture": settings.architecture(),
        "reading": reading,
    }
    start = time.perf_counter()
    if phase == "pretraining":
        params, _ = streaming.pretrain(
            jax.random.key(0), source, config=settings.pretrain(), **common
        )
        jax.block_until_ready(params)
    else:
        rows = source.shape[0]
        state = start_of(rows, settings, streaming.init_state)
        streaming.train(state, source, config=settings.train(rows), **common)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return seconds, peak * (1 if sys.platform == "darwin" else 1024) / 1e9


def measure(
    path: Path, rows: int, settings: Settings, *, fits: int, rounds: int
) -> Iterator[Row]:
    """Rows of one file: the rate of each phase, then the peak memory of both."""
    write_rows(path, rows)
    x = jnp.asarray(streaming.NpySource(path).read(slice(0, min(rows, fits))))
    peak = 0.0
    name = (
        f"{rows:,} rows, {'-'.join(map(str, settings.hidden))}, batch {settings.batch}"
    )
    if settings.precision != "float32":
        name += f", {settings.precision}"
    if settings.run_length > 1:
        name += f", runs of {settings.run_length}"
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as other:
        for phase in PHASES:
            rates: tuple[list[float], list[float]] = ([], [])
            in_memory(x, phase, settings)
            if rows <= WARMED_ROWS:
                other.submit(streamed, str(path), phase, settings).result()
            for _ in range(rounds):
                rates[1].append(len(x) / in_memory(x, phase, settings))
                turn = other.submit(streamed, str(path), phase, settings)
                seconds, peak = turn.result()
                rates[0].append(rows / seconds)
            ours, peer = map(statistics.median, rates)
            yield new_row(f"{phase}, {name}", "samples/s", ours, peer)
    yield new_row(f"peak resident memory, {name}", "GB", peak)


def check_room(folder: Path, rows: int) -> None:
    """Raises UsageError where the folder has no room for the file, q and p."""
    needed = rows * (WIDTH + 8 * CLUSTERS) + 2**20
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UsageError(
            f"{rows:,} rows need {needed / 1e9:.1f} GB in {folder}, which has "
            f"{free / 1e9:.1f} GB; name another folder (--folder) or fewer rows (--rows)."
        )


def prepare(options: Namespace) -> None:
    """Checks the disk before anything is written."""
    # Two processes share an accelerator.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    options.folder = options.folder or Path(tempfile.gettempdir())
    check_room(options.folder, max(options.rows))


def rows(options: Namespace) -> Iterator[Row]:
    """The rows of each file."""
    settings = Settings(
        options.batch, tuple(options.hidden), options.precision, options.run_length
    )
    for count in options.rows:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            path = Path(folder) / "rows.npy"
            yield from measure(
                path, count, settings, fits=options.fits, rounds=options.rounds
            )


BENCHMARK = Benchmark(
    "stream",
    __doc__,
    rows,
    rounds=3,
    options={
        "--rows": {"nargs": "+", "default": [200_000], "help": "rows of each file"},
        "--fits": {"default": 200_000, "help": "most rows in memory"},
        "--batch": {"default": 256, "help": "samples in a step"},
        "--hidden": {
            "nargs": "+",
            "default": [500, 500, 2000],
            "help": "widths of the hidden layers",
        },
        "--precision": {
            "choices": PRECISIONS,
            "default": "float32",
            "help": "of matrix products",
        },
        "--run-length": {
            "default": 1,
            "help": "neighboring rows read together, see `streaming.Reading`",
        },
        "--folder": {
            "type": Path,
            "metavar": "DIR",
            "help": "place of the file (default: the temporary folder)",
        },
    },
    prepare=prepare,
)

if __name__ == "__main__":
    BENCHMARK.main()
