"""Measures speed and memory of q and p of all samples.

    python -m benchmarks.refresh

Samples a second of the computation of q and p from z, and the memory of the compiled
program. The limit of the speed is a copy that reads and writes half as many bytes each as
z, q and p have together. The limit of the memory is those bytes, as nothing else has to be
held. Both programs alternate; the numbers are medians of the rounds.
"""

from argparse import Namespace
from collections.abc import Iterator

import jax
import jax.numpy as jnp

from benchmarks.common import (
    QUICK,
    Benchmark,
    Column,
    in_turns,
    medians,
    new_row,
    planned_bytes,
)
from benchmarks.tables import Row
from dec_jax.clustering.assignment import soft_assignment, target_distribution

WIDTH = 10
# n, k.
CASES = [(10_000, 10), (70_000, 10), (70_000, 100), (700_000, 10), (700_000, 100)]
QUICK_CASES = CASES[:2]


def q_and_p(z: jax.Array, centroids: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Computes equations 1 and 3 of Xie et al. (2016)."""
    q = soft_assignment(z, centroids)
    return q, target_distribution(q)


def measure(n: int, k: int, rounds: int) -> list[Row]:
    """A row for the speed and one for the memory."""
    z_key, centroids_key = jax.random.split(jax.random.key(0))
    z = jax.random.normal(z_key, (n, WIDTH))
    centroids = jax.random.normal(centroids_key, (k, WIDTH))
    compiled = jax.jit(q_and_p).lower(z, centroids).compile()
    needed = 4 * n * (WIDTH + 2 * k)
    block = jnp.zeros(needed // 8, jnp.float32)
    copied = jax.jit(lambda block: block + 1)
    programs = {"ours": lambda: compiled(z, centroids), "copy": lambda: copied(block)}
    in_turns(programs, 1)  # the first use of the memory
    seconds = medians(in_turns(programs, rounds))
    memory = compiled.memory_analysis()
    assert memory is not None  # as on CPU, GPU and TPU
    held = planned_bytes(compiled)
    return [
        new_row(
            f"n={n:,} k={k}",
            "samples/s",
            n / seconds["ours"],
            limit_fraction=seconds["copy"] / seconds["ours"],
            seconds=seconds["ours"],
        ),
        new_row(
            f"n={n:,} k={k}, memory",
            "MB",
            held / 1e6,
            limit_fraction=needed / held,
            temporary_bytes=memory.temp_size_in_bytes,
            z_q_p_bytes=needed,
        ),
    ]


def rows(options: Namespace) -> Iterator[Row]:
    """Two rows for each case."""
    for n, k in QUICK_CASES if options.quick else CASES:
        yield from measure(n, k, options.rounds)


BENCHMARK = Benchmark(
    "refresh",
    __doc__,
    rows,
    rounds=9,
    options={"--quick": QUICK},
    columns=[
        Column("seconds", "seconds", ".5f"),
        Column("z, q, p bytes", "z_q_p_bytes", ",d"),
        Column("temporary bytes", "temporary_bytes", ",d"),
    ],
)

if __name__ == "__main__":
    BENCHMARK.main()
