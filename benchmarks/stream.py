"""Training from a file beside training in memory: `python -m benchmarks.stream`.

A file of 784-byte rows is made in a temporary folder and deleted in the end; its full size
is `--rows 1000000 10000000` (7.8 GB). One epoch of pretraining, and one interval of DEC
(a refresh of p, an epoch of steps, the final pass), are read from it by a process of its
own, whose peak resident memory is told. They take turns with the same work in memory, on as
many of the rows as fit there (`--fits`). Medians over the rounds. A turn that compiles comes
first and is left out; of the stream, only up to a million rows, where it would show.
"""

import multiprocessing
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.rows import arguments, save
from dec_jax import streaming
from dec_jax.networks.architecture import Architecture, dense_architecture
from dec_jax.networks.autoencoder import init_params
from dec_jax.runs import provenance
from dec_jax.training.cluster import train
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.pretrain import PretrainConfig, pretrain_end_to_end
from dec_jax.training.state import TrainConfig, init_state

WIDTH, CLUSTERS, EMBEDDING = 784, 10, 10
CHUNK = 20_000  # rows that are made at a time
WARMED_ROWS = 1_000_000
PHASES = ("pretraining", "clustering")


@dataclass(frozen=True)
class Settings:
    """What is trained, and how it is read."""

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
        """One epoch."""
        return PretrainConfig(
            epochs=1, batch_size=self.batch, optimizer=Optimizer("adam", 1e-3)
        )

    def train(self, rows: int) -> TrainConfig:
        """One interval, of an epoch of steps."""
        return TrainConfig(
            update_interval=max(1, rows // self.batch),
            max_intervals=1,
            batch_size=self.batch,
        )


def write_rows(path: Path, rows: int) -> None:
    """Noisy copies of ten patterns; a second of work a gigabyte or so."""
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
    """The state that clustering starts from: drawn, as only the speed counts."""
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
    """Seconds of a phase on a file, and the most GB this process ever held."""
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
) -> list[dict[str, Any]]:
    """The rows of one file: the rate of each phase, and the memory of both."""
    write_rows(path, rows)
    x = jnp.asarray(streaming.NpySource(path).read(slice(0, min(rows, fits))))
    found, peak = [], 0.0
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
            found.append(
                {
                    "case": f"{phase}, {name}",
                    "ours": ours,
                    "peer": peer,
                    "ratio": ours / peer,
                    "limit_fraction": None,
                    "unit": "samples/s",
                }
            )
    found.append(
        {
            "case": f"peak resident memory, {name}",
            "ours": peak,
            "peer": None,
            "ratio": None,
            "limit_fraction": None,
            "unit": "GB",
        }
    )
    return found


def check_room(folder: Path, rows: int) -> None:
    """Ends the program where the folder has no room for the file, q and p."""
    needed = rows * (WIDTH + 8 * CLUSTERS) + 2**20
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise SystemExit(
            f"{rows:,} rows need {needed / 1e9:.1f} GB in {folder}, which has "
            f"{free / 1e9:.1f} GB; name another folder (--folder) or fewer rows (--rows)."
        )


def main() -> None:
    """Measures and prints a table."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--rows", type=int, nargs="+", default=[200_000])
    parser.add_argument("--fits", type=int, default=200_000, help="rows in memory")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--hidden", type=int, nargs="+", default=[500, 500, 2000])
    parser.add_argument("--precision", default="float32")
    parser.add_argument(
        "--run-length", type=int, default=1, help="see streaming.Reading"
    )
    parser.add_argument("--folder", type=Path, help="of the file; else a temporary one")
    options = parser.parse_args()
    # Two processes share an accelerator.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    settings = Settings(
        options.batch, tuple(options.hidden), options.precision, options.run_length
    )
    parent = options.folder or Path(tempfile.gettempdir())
    check_room(parent, max(options.rows))
    head = f"{'case':<62}{'streamed':>10}{'in memory':>11}{'ratio':>7}  unit"
    print(f"on {provenance.device()}, jax {jax.__version__}\n{head}", flush=True)
    found = []
    for rows in options.rows:
        with tempfile.TemporaryDirectory(dir=parent) as folder:
            path = Path(folder) / "rows.npy"
            counts = {"fits": options.fits, "rounds": options.rounds}
            for row in measure(path, rows, settings, **counts):
                found.append(row)
                digits = 2 if row["unit"] == "GB" else 0
                peer = "-" if row["peer"] is None else f"{row['peer']:.0f}"
                ratio = "-" if row["ratio"] is None else f"{row['ratio']:.2f}"
                print(
                    f"{row['case']:<62}{row['ours']:>10.{digits}f}{peer:>11}{ratio:>7}"
                    f"  {row['unit']}",
                    flush=True,
                )
    if options.save:
        kept = {
            name: value for name, value in vars(options).items() if name != "folder"
        }
        save("stream", found, kept)


if __name__ == "__main__":
    main()
