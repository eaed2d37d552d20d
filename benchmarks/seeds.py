"""Measures the gain of several seeds in one program: `python -m benchmarks.seeds`.

Seconds in which N seeds of the recipe `dec` take an epoch of pretraining, and an interval of
clustering (a refresh of p, then an epoch of steps), on random images. Ours is one program of
`dec_jax.training.many_seeds`; the peer runs the programs of a single seed N times. The limit
is a single seed. All alternate; the numbers are medians of the rounds. The goal is 5 seeds
on a GPU in less than twice the time of one.
"""

from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import train_step
from benchmarks.common import (
    Benchmark,
    continued,
    in_turns,
    median_ratio,
    medians,
    new_row,
)
from benchmarks.tables import Row
from dec_jax.networks.precision import PRECISIONS
from dec_jax.training import many_seeds
from dec_jax.training.cluster import _train_intervals
from dec_jax.training.pretrain import _pretrain_epochs

GOAL = 2.0  # times the seconds of one seed, for 5 of them on a GPU
# Of each phase: the start of a seed, the program of one seed, that of many.
PHASES: dict[str, tuple[Callable[..., Any], ...]] = {
    "pretraining": (
        train_step.pretraining_start,
        partial(_pretrain_epochs, num_epochs=1),
        many_seeds._pretrain_epoch,
    ),
    "clustering": (
        train_step.clustering_start,
        partial(_train_intervals, num_intervals=1),
        partial(many_seeds._train_intervals, num_intervals=1),
    ),
}


def programs_of(
    phase: str, x: jax.Array, batch: int, precision: str, n_seeds: int, at_once: int
) -> dict[str, Callable[[], object]]:
    """An epoch or interval of all seeds together, of one after another, and of one alone."""
    start, single, many = PHASES[phase]

    def start_of(seed: int) -> tuple:
        return start(len(x), batch, precision, augmented=True, seed=seed)

    def alone(seed: int) -> Callable[[], float]:
        state, settings = start_of(seed)
        return continued(lambda state: single(state, x, **settings), state)

    _, settings = start_of(0)
    stacked = many_seeds.stack([start_of(seed)[0] for seed in range(n_seeds)])
    active = jnp.ones(n_seeds, bool)
    together = continued(
        lambda states: many(states, active, x, at_once=at_once, **settings), stacked
    )
    every = [alone(seed) for seed in range(n_seeds)]
    return {
        "together": together,
        "apart": lambda: [program() for program in every],
        "one": alone(0),
    }


def measure(
    x: jax.Array,
    n_seeds: int,
    batch: int,
    precision: str,
    rounds: int,
    at_once: int | None = None,
) -> list[Row]:
    """A row for each phase."""
    width = at_once or many_seeds.default_at_once(n_seeds)
    rows = []
    for phase in PHASES:
        programs = programs_of(phase, x, batch, precision, n_seeds, width)
        in_turns(programs, 1)  # compiles
        seconds = in_turns(programs, rounds)
        took = medians(seconds)
        shared = f", {width} at once" if width < n_seeds else ""
        row = new_row(
            f"{phase}, {n_seeds} seeds{shared}, batch {batch}, {precision}",
            "s",
            took["together"],
            took["apart"],
            ratio=median_ratio(seconds["apart"], seconds["together"]),
            limit_fraction=median_ratio(seconds["one"], seconds["together"]),
            one=took["one"],
            n_seeds=n_seeds,
            at_once=width,
        )
        rows.append(row)
    return rows


def rows(options: Namespace) -> Iterator[Row]:
    """All numbers of seeds."""
    x = jnp.asarray(train_step.images(options.samples))
    settings = (options.batch, options.precision, options.rounds)
    for n_seeds in options.seeds:
        yield from measure(x, n_seeds, *settings, at_once=options.at_once)


def remark(row: Row) -> str:
    """Says that a row misses the goal."""
    times = 1 / row["limit_fraction"]
    if jax.default_backend() == "cpu" or row["n_seeds"] != 5 or times <= GOAL:
        return ""
    return f"{times:.2g} times one seed, above {GOAL:g}"


BENCHMARK = Benchmark(
    "seeds",
    __doc__,
    rows,
    rounds=5,
    options={
        "--seeds": {"nargs": "+", "default": [1, 2, 5], "help": "numbers of seeds"},
        "--at-once": {
            "type": int,
            "help": "seeds that share a step (default: all; 1 on a CPU)",
        },
        "--batch": {"default": 256, "help": "samples in a step"},
        "--precision": {
            "choices": PRECISIONS,
            "default": "float32",
            "help": "of matrix products",
        },
        "--samples": {"default": train_step.SAMPLES, "help": "number of images"},
    },
    remark=remark,
)

if __name__ == "__main__":
    BENCHMARK.main()
