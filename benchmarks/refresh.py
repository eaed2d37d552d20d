"""q and p of all samples, what a refresh does to z: `python -m benchmarks.refresh`.

Samples a second, and the memory of the compiled program. The limits: as many bytes as z,
q and p have, half of them read and half of them written; and those bytes themselves, as
nothing else has to be held. Both programs take turns, several rounds; medians.
"""

import statistics
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.rows import arguments, in_turns, save
from dec_jax.clustering.assignment import soft_assignment, target_distribution
from dec_jax.runs import provenance

WIDTH = 10
# n, k.
CASES = [(10_000, 10), (70_000, 10), (70_000, 100), (700_000, 10), (700_000, 100)]
QUICK_CASES = CASES[:2]


def q_and_p(z: jax.Array, centroids: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Equations 1 and 3."""
    q = soft_assignment(z, centroids)
    return q, target_distribution(q)


def measure(n: int, k: int, rounds: int) -> list[dict[str, Any]]:
    """A row of speed and one of memory."""
    z_key, centroids_key = jax.random.split(jax.random.key(0))
    z = jax.random.normal(z_key, (n, WIDTH))
    centroids = jax.random.normal(centroids_key, (k, WIDTH))
    compiled = jax.jit(q_and_p).lower(z, centroids).compile()
    needed = 4 * n * (WIDTH + 2 * k)
    block = jnp.zeros(needed // 8, jnp.float32)
    copied = jax.jit(lambda block: block + 1)
    programs = {
        "ours": lambda: jax.block_until_ready(compiled(z, centroids)),
        "copy": lambda: jax.block_until_ready(copied(block)),
    }
    in_turns(programs, 1)  # the first touch of memory
    seconds = {
        name: statistics.median(found)
        for name, found in in_turns(programs, rounds).items()
    }
    memory = compiled.memory_analysis()
    assert memory is not None  # as on CPU, GPU and TPU
    held = (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
    )
    case = f"n={n:,} k={k}"
    return [
        {
            "case": case,
            "ours": n / seconds["ours"],
            "peer": None,
            "ratio": None,
            "limit_fraction": seconds["copy"] / seconds["ours"],
            "unit": "samples/s",
            "seconds": seconds["ours"],
        },
        {
            "case": f"{case}, memory",
            "ours": held / 1e6,
            "peer": None,
            "ratio": None,
            "limit_fraction": needed / held,
            "unit": "MB",
            "temporary_bytes": memory.temp_size_in_bytes,
            "z_q_p_bytes": needed,
        },
    ]


def main() -> None:
    """Measures and prints a table."""
    parser = arguments(__doc__, rounds=9)
    parser.add_argument("--quick", action="store_true", help="two cases")
    options = parser.parse_args()
    print(f"q and p on {provenance.device()}, jax {jax.__version__}")
    print(
        f"{'case':<18}{'seconds':>10}{'samples/s':>13}{'of copy':>9}{'z, q, p MB':>12}"
        f"{'held MB':>9}{'temporary':>11}"
    )
    rows = []
    for n, k in QUICK_CASES if options.quick else CASES:
        speed, memory = measure(n, k, options.rounds)
        rows += [speed, memory]
        print(
            f"{speed['case']:<18}{speed['seconds']:>10.5f}{speed['ours']:>13,.0f}"
            f"{speed['limit_fraction']:>9.0%}{memory['z_q_p_bytes'] / 1e6:>12.1f}"
            f"{memory['ours']:>9.1f}{memory['temporary_bytes'] / 1e6:>11.1f}",
            flush=True,
        )
    if options.save:
        save("refresh", rows, vars(options))


if __name__ == "__main__":
    main()
