"""Measures the recipe `best` on a file: `python -m benchmarks.large`.

A file of images of 28 x 28 bytes, noisy copies of ten patterns, is made in a temporary
folder and deleted at the end. A process of its own reads the rows as it needs them, and
reports the seconds of each phase and its peak resident memory. The phases are those of the
recipe, shortened: one epoch of pretraining, the graph of a sample, and two intervals of
`--steps` steps of the learner, with three passes over all rows. Compiling is part of the
seconds.
"""

import multiprocessing
import resource
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.common import Benchmark, new_row
from benchmarks.stream import CHUNK, CLUSTERS, check_room
from benchmarks.tables import Row
from dec_jax import streaming
from dec_jax.evaluation.metrics import clustering_accuracy
from dec_jax.networks.precision import PRECISIONS
from dec_jax.recipes.adjust import adjust_recipe
from dec_jax.recipes.dense import make_recipe
from dec_jax.recipes.recipe import DataShape, Recipe
from dec_jax.runs.fit import fit

SIDE = 28


def write_images(path: Path, rows: int) -> np.ndarray:
    """Writes noisy copies of ten patterns as an .npy file; returns the pattern of each."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 128, (CLUSTERS, SIDE, SIDE), dtype=np.uint8)
    header = {"descr": "|u1", "fortran_order": False, "shape": (rows, SIDE, SIDE)}
    classes = rng.integers(0, CLUSTERS, rows)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, rows, CHUNK):
            own = classes[start : start + CHUNK]
            noise = rng.integers(0, 128, (len(own), SIDE, SIDE), dtype=np.uint8)
            file.write((noise + patterns[own]).tobytes())
    return classes


def recipe_of(rows: int, *, steps: int, batch: int, graph: int) -> Recipe:
    """Makes the recipe, shortened."""
    shape = DataShape(rows, SIDE * SIDE, (SIDE, SIDE, 1), n_clusters=CLUSTERS)
    full = make_recipe("best", shape)
    train = replace(
        full.train,
        update_interval=steps,
        max_intervals=2,
        frozen_target_intervals=1,
        patience=None,
    )
    full = replace(full, train=train)
    return adjust_recipe(full, epochs=1, batch_size=batch, graph_rows=graph)


def streamed(
    path: str, recipe: Recipe
) -> tuple[dict[str, float], np.ndarray, float, float]:
    """Returns seconds by phase, labels of the start, and peak GB before and after it."""
    reading = streaming.Reading(run_length=256, scratch=str(Path(path).parent))
    source = streaming.NpySource(path)
    dataset = streaming.stream_dataset(source, reading=reading)
    before = peak()
    result = fit(dataset, CLUSTERS, recipe=recipe, baseline=False)
    return result.seconds, np.asarray(result.start.labels), before, peak()


def peak() -> float:
    """Returns the peak resident memory of this process in GB."""
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found * (1 if sys.platform == "darwin" else 1024) / 1e9


def measure(path: Path, rows: int, recipe: Recipe) -> Iterator[Row]:
    """Rows of one file: rate or seconds of each phase, agreement, and memory."""
    classes = write_images(path, rows)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as other:
        turn = other.submit(streamed, str(path), recipe)
        seconds, labels, before, after = turn.result()
    name = f"{rows:,} rows, {recipe.architecture.precision}"
    graph = min(rows, recipe.graph_rows)
    yield new_row(f"pretraining, {name}", "samples/s", rows / seconds["pretraining"])
    spectral = f"labels by the graph of {graph:,}, {name}"
    yield new_row(spectral, "samples/s", rows / seconds["spectral on z"])
    accuracy = clustering_accuracy(classes, labels)
    yield new_row(f"accuracy of these labels, {name}", "ACC", accuracy)
    yield new_row(f"2 intervals, 3 passes, {name}", "s", seconds["clustering"])
    yield new_row(f"all phases, {name}", "s", sum(seconds.values()))
    yield new_row(f"peak resident memory before the run, {name}", "GB", before)
    yield new_row(f"peak resident memory, {name}", "GB", after)


def prepare(options: Namespace) -> None:
    """Checks the disk before anything is written."""
    options.folder = options.folder or Path(tempfile.gettempdir())
    check_room(options.folder, max(options.rows))


def rows(options: Namespace) -> Iterator[Row]:
    """The rows of each file."""
    for count in options.rows:
        recipe = recipe_of(
            count, steps=options.steps, batch=options.batch, graph=options.graph_rows
        )
        recipe = adjust_recipe(recipe, precision=options.precision)
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            yield from measure(Path(folder) / "images.npy", count, recipe)


BENCHMARK = Benchmark(
    "large",
    __doc__,
    rows,
    rounds=1,
    options={
        "--rows": {"nargs": "+", "default": [100_000], "help": "rows of each file"},
        "--graph-rows": {"default": 20_000, "help": "nodes of the graph"},
        "--steps": {"default": 100, "help": "steps of an interval"},
        "--batch": {"default": 256, "help": "samples in a step"},
        "--precision": {
            "choices": PRECISIONS,
            "default": "float32",
            "help": "of matrix products",
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
