"""Times the start of a fresh process: `python -m benchmarks.startup`.

Seconds of the import of dec_jax, whose limit is the import of jax; of a first step of
training; and of a whole short run on digits. Of the last two, ours finds its compiled programs
in JAX's persistent compilation cache, and the peer has no cache. All alternate; the numbers
are medians of the rounds. The cache is in a folder of its own, which a first run fills.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.common import Benchmark, Column, in_turns, medians, new_row
from benchmarks.tables import Row

ROOT = Path(__file__).parents[1]
FIRST_STEP = "from benchmarks.startup import first_step; first_step()"
DIGITS = "digits, 2 epochs and 2 intervals"


def first_step() -> None:
    """Takes a step of DEC with the recipe `dec`, on 256 samples of 784 bytes."""
    # Not at the top, so that `--help` is fast.
    import jax
    import numpy as np

    from dec_jax import DEC, init_params, init_state, train_step
    from dec_jax.recipes.dense import DataShape, make_recipe

    recipe = make_recipe("dec", DataShape(256, 784, (28, 28, 1)))
    settings: dict[str, Any] = {"objective": DEC(), "config": recipe.train}
    x = np.random.default_rng(0).integers(0, 256, (256, 784), dtype=np.uint8)
    centroids = np.random.default_rng(1).normal(size=(10, 10)).astype(np.float32)
    state = init_state(
        jax.random.key(1),
        init_params(jax.random.key(0), recipe.architecture),
        jax.numpy.asarray(centroids),
        jax.numpy.arange(256) % 10,
        **settings,
    )
    names = ("architecture", *settings)
    step = jax.jit(train_step, static_argnames=names)
    p, weights = np.full((256, 10), 0.1, np.float32), np.full(256, 1 / 256, np.float32)
    done = step(state, x, p, weights, architecture=recipe.architecture, **settings)
    jax.block_until_ready(done)


def fresh(*arguments: str, cache: Path | None = None) -> None:
    """Runs Python with these arguments, and with this compilation cache or none."""
    variables = {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    if cache is not None:
        variables = {
            "JAX_ENABLE_COMPILATION_CACHE": "true",
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
    subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=True,
    )


def digits(folder: Path, cache: Path | None) -> None:
    """Runs the command on digits, from the data to the figures."""
    shutil.rmtree(folder, ignore_errors=True)
    options = ["--dataset", "digits", "--epochs", "2", "--max-intervals", "2"]
    program = ["-m", "experiments.mnist_dec", *options, "--out", str(folder)]
    fresh(*program, cache=cache)


def measure(rounds: int, *, quick: bool) -> list[Row]:
    """The rows; without the whole run if `quick`."""
    with tempfile.TemporaryDirectory() as name:
        cache, out = Path(name, "cache"), Path(name, "out")
        programs: dict[str, Callable[[], object]] = {
            "import jax": lambda: fresh("-c", "import jax"),
            "import dec_jax": lambda: fresh("-c", "import dec_jax"),
            "first step, compiled": lambda: fresh("-c", FIRST_STEP),
            "first step, kept": lambda: fresh("-c", FIRST_STEP, cache=cache),
        }
        if not quick:
            programs[f"{DIGITS}, compiled"] = lambda: digits(out, None)
            programs[f"{DIGITS}, kept"] = lambda: digits(out, cache)
        filling = in_turns(programs, 1)
        found = in_turns(programs, rounds)
    took = medians(found)
    rows = [
        new_row(
            "import dec_jax",
            "s",
            took["import dec_jax"],
            limit_fraction=took["import jax"] / took["import dec_jax"],
        )
    ]
    for name in ("first step",) if quick else ("first step", DIGITS):
        row = new_row(
            name,
            "s",
            took[f"{name}, kept"],
            took[f"{name}, compiled"],
            filling=filling[f"{name}, kept"][0],
        )
        rows.append(row)
    return rows


BENCHMARK = Benchmark(
    "startup",
    __doc__,
    lambda options: measure(options.rounds, quick=options.quick),
    rounds=3,
    options={"--quick": {"action": "store_true", "help": "without the whole run"}},
    columns=[Column("filling the cache", "filling", ".2f")],
)

if __name__ == "__main__":
    BENCHMARK.main()
