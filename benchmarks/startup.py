"""Seconds until something happens, in fresh processes: `python -m benchmarks.startup`.

The import of dec_jax, beside that of jax, which is its limit; a first step of training;
and a whole short run on digits. Ours is a run that finds its programs compiled, the peer
the same run without JAX's persistent compilation cache. All take turns, several rounds;
medians. The cache lies in a folder of its own, which the first run fills.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FIRST_STEP = "from benchmarks.startup import first_step; first_step()"
DIGITS = "digits, 2 epochs and 2 intervals"


def first_step() -> None:
    """One step of DEC of the recipe `dec`, on 256 samples of 784 bytes."""
    # Only now: the import is part of what is measured.
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
    """Runs Python to its end, with this folder of compiled programs, or none."""
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
    """A whole run, from the data to the figures."""
    shutil.rmtree(folder, ignore_errors=True)
    options = ["--dataset", "digits", "--epochs", "2", "--max-intervals", "2"]
    program = ["-m", "experiments.mnist_dec", *options, "--out", str(folder)]
    fresh(*program, cache=cache)


def measure(rounds: int, *, quick: bool) -> list[dict[str, Any]]:
    """The rows; without the whole run if `quick`."""
    # Loads jax, which a fresh process that imports this module is to do itself.
    from benchmarks.rows import in_turns

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
    seconds = {name: statistics.median(one) for name, one in found.items()}
    rows = [
        {
            "case": "import dec_jax",
            "ours": seconds["import dec_jax"],
            "peer": None,
            "ratio": None,
            "limit_fraction": seconds["import jax"] / seconds["import dec_jax"],
            "unit": "s",
        }
    ]
    for name in ("first step",) if quick else ("first step", DIGITS):
        ours, peer = seconds[f"{name}, kept"], seconds[f"{name}, compiled"]
        rows.append(
            {
                "case": name,
                "ours": ours,
                "peer": peer,
                "ratio": peer / ours,
                "limit_fraction": None,
                "unit": "s",
                "filling": filling[f"{name}, kept"][0],
            }
        )
    return rows


def main() -> None:
    """Measures and prints a table."""
    from benchmarks.rows import arguments, save
    from dec_jax.runs import provenance

    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--quick", action="store_true", help="without the whole run")
    options = parser.parse_args()
    print(f"seconds on {provenance.device()}")
    print(f"{'case':<36}{'kept':>8}{'compiled':>10}{'ratio':>7}{'filling':>9}")
    rows = measure(options.rounds, quick=options.quick)
    for row in rows:
        cells = [row["peer"], row["ratio"], row.get("filling")]
        peer, ratio, filling = (
            "-" if cell is None else f"{cell:.2f}" for cell in cells
        )
        print(f"{row['case']:<36}{row['ours']:>8.2f}{peer:>10}{ratio:>7}{filling:>9}")
    if options.save:
        save("startup", rows, vars(options))


if __name__ == "__main__":
    main()
