"""Measures the share of a training step that augmentation takes: `python -m benchmarks.augment`.

Milliseconds of a step of the recipe `dec`, in pretraining and in clustering, with many
steps in one program, on augmented images. The limit is the same step on images as they
are. The augmentation alone is measured in addition. All alternate; the numbers are
medians of the rounds. The goal is that augmentation takes at most a quarter of a step.
"""

from argparse import Namespace
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp

from benchmarks import train_step
from benchmarks.common import (
    Benchmark,
    Column,
    in_turns,
    median_ratio,
    medians,
    new_row,
)
from benchmarks.tables import Row
from dec_jax.networks.autoencoder import scale_input
from dec_jax.networks.precision import PRECISIONS
from dec_jax.training.augmentation import augment
from dec_jax.training.cluster import train_step as dec_step
from dec_jax.training.state import TrainState

GOAL = 0.25  # largest share of a step


def clustering(
    x: jax.Array, batch: int, precision: str, *, augmented: bool
) -> Callable[[], object]:
    """An epoch of steps of DEC in one program, without the refresh of p."""
    state, settings = train_step.clustering_start(
        len(x), batch, precision, augmented=augmented
    )
    weights = jnp.full(batch, 1 / batch)
    p = jnp.full((len(x), train_step.CLUSTERS), 1 / train_step.CLUSTERS)
    order = jax.random.permutation(jax.random.key(3), len(x))
    plan = order[: len(x) // batch * batch].reshape(-1, batch)

    @jax.jit
    def epoch(state: TrainState, x: jax.Array, p: jax.Array) -> TrainState:
        def step(state: TrainState, rows: jax.Array) -> tuple[TrainState, None]:
            return dec_step(state, x[rows], p[rows], weights, **settings)[0], None

        return jax.lax.scan(step, state, plan)[0]

    return lambda: epoch(state, x, p)


def augmentation(x: jax.Array, batch: int, precision: str) -> Callable[[], object]:
    """An epoch of augmented minibatches and nothing else."""
    _, settings = train_step.clustering_start(len(x), batch, precision, augmented=True)
    batches = x[: len(x) // batch * batch].reshape(-1, batch, x.shape[1])

    @jax.jit
    def epoch(batches: jax.Array) -> jax.Array:
        def step(total: jax.Array, images: jax.Array) -> tuple[jax.Array, None]:
            # The key depends on the last step, so that none can be computed ahead.
            key = jax.random.fold_in(jax.random.key(0), total.astype(jnp.int32))
            images = scale_input(images, settings["architecture"])
            images = augment(key, images, settings["config"].augmentation)
            return total + images.sum(), None

        return jax.lax.scan(step, jnp.zeros(()), batches)[0]

    return lambda: epoch(batches)


def measure(batch: int, precision: str, rounds: int) -> list[Row]:
    """A row for pretraining and one for clustering."""
    x = jnp.asarray(train_step.images(train_step.SAMPLES))
    phases = {"pretraining": train_step.pretraining, "clustering": clustering}
    programs = {"augmentation": augmentation(x, batch, precision)}
    for augmented in (True, False):
        for phase, program in phases.items():
            name = f"{phase}, {augmented}"
            programs[name] = program(x, batch, precision, augmented=augmented)
    in_turns(programs, 1)  # compiles
    seconds = in_turns(programs, rounds)
    # Milliseconds of a step.
    took = {name: 1e3 * s / (len(x) // batch) for name, s in medians(seconds).items()}
    return [
        new_row(
            f"{phase}, batch {batch}, {precision}",
            "ms",
            took[f"{phase}, True"],
            limit_fraction=median_ratio(
                seconds[f"{phase}, False"], seconds[f"{phase}, True"]
            ),
            still=took[f"{phase}, False"],
            moving=took["augmentation"],
        )
        for phase in phases
    ]


def rows(options: Namespace) -> Iterator[Row]:
    """All batch sizes, in both precisions."""
    for batch in options.batch:
        for precision in PRECISIONS:
            yield from measure(batch, precision, options.rounds)


def remark(row: Row) -> str:
    """Says that a row misses the goal."""
    share = 1 - row["limit_fraction"]
    return "" if share <= GOAL else f"augmentation takes {share:.0%}, above {GOAL:.0%}"


BENCHMARK = Benchmark(
    "augment",
    __doc__,
    rows,
    rounds=7,
    options={
        "--batch": {"nargs": "+", "default": [256, 1024], "help": "images in a step"}
    },
    columns=[Column("as they are", "still", ".2f"), Column("alone", "moving", ".2f")],
    remark=remark,
)

if __name__ == "__main__":
    BENCHMARK.main()
