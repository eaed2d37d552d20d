"""What a step costs, on paper and measured: `python -m benchmarks.cost_model`.

Flops, bytes moved in memory and bytes sent between devices, of each part of a run, as
functions of n, d, k, the batch and the devices. Seconds follow from three rates: of
matrix products, of memory, of the network. Here the first two are measured, and so are
the seconds of a step and of a refresh, beside what the model says of them. `--plan`
prints instead what a billion samples on 64 accelerators would take. SCALING.md explains.
"""

import statistics
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from benchmarks.rows import arguments, in_turns, save
from benchmarks.train_step import clustering, images, limit, pretraining
from dec_jax.runs import provenance

WIDTHS = (784, 500, 500, 2000, 10)  # of the encoder; the decoder is its mirror
CLUSTERS = 10
FLOAT = 4  # bytes


class Cost(NamedTuple):
    """Of one device."""

    flops: float  # of matrix products
    moved: float  # bytes read and written in its memory
    sent: float  # bytes that it sends

    def times(self, count: float) -> "Cost":
        """So often."""
        return Cost(*(count * value for value in self))


class Machine(NamedTuple):
    """What one device can do."""

    flops: float  # a second, of matrix products
    moved: float  # bytes a second, memory
    sent: float  # bytes a second, to other devices
    overlaps: bool  # the three go on at the same time


# Half of the dense bfloat16 peak of 989 TFLOP/s, HBM of 3.35 TB/s (data sheet of the
# H100 SXM), and one 400 Gbit/s network adapter a device.
H100 = Machine(0.5 * 989e12, 3.35e12, 50e9, overlaps=True)


def seconds(cost: Cost, machine: Machine) -> float:
    """The sum of the three parts, or the longest where they overlap."""
    parts = [
        cost.flops / machine.flops,
        cost.moved / machine.moved,
        cost.sent / machine.sent,
    ]
    return max(parts) if machine.overlaps else sum(parts)


def weights(widths: Sequence[int] = WIDTHS) -> int:
    """Of the encoder's products; biases are few."""
    return sum(a * b for a, b in zip(widths, widths[1:], strict=False))


def all_reduce(size: float, devices: int) -> float:
    """Bytes that each device sends in a ring, for a sum of `size` bytes."""
    return 2 * (devices - 1) / devices * size


def pretraining_step(batch: int, devices: int = 1, *, own_rows: bool = False) -> Cost:
    """Encoder and decoder forward and backward, Adam; the batch is that of all devices.

    Its samples are drawn from all rows and brought to where they are needed; `own_rows`:
    as if each device drew from the rows that it holds.
    """
    parameters, rows = 2 * weights(), batch / devices
    # 2 flops a weight and sample forward, 4 backward, but for the gradient by the pixels.
    flops = rows * (6 * parameters - 2 * WIDTHS[0] * WIDTHS[1])
    # Weights are read twice; gradients written; Adam reads four arrays, writes three.
    moved = (2 + 1 + 7) * FLOAT * parameters + _activations(rows, both=True)
    return Cost(flops, moved, _sent(0 if own_rows else batch, parameters, devices))


def clustering_step(batch: int, devices: int = 1, *, own_rows: bool = False) -> Cost:
    """Encoder and soft assignment, forward and backward, SGD with momentum."""
    parameters, rows = weights(), batch / devices
    flops = rows * (6 * parameters - 2 * WIDTHS[0] * WIDTHS[1])
    flops += rows * 6 * WIDTHS[-1] * CLUSTERS
    moved = (2 + 1 + 5) * FLOAT * parameters + _activations(rows, both=False)
    return Cost(flops, moved, _sent(0 if own_rows else batch, parameters, devices))


def refresh(n_samples: int, devices: int = 1) -> Cost:
    """z, q and p of all samples: one pass forward, and k sums over the devices."""
    rows = n_samples / devices
    flops = rows * 2 * (weights() + WIDTHS[-1] * CLUSTERS)
    # Each layer is written and read; q is read and p written.
    moved = rows * (WIDTHS[0] + 2 * FLOAT * (sum(WIDTHS[1:]) + CLUSTERS))
    return Cost(flops, moved, all_reduce(FLOAT * CLUSTERS, devices))


def lloyd_iteration(n_samples: int, restarts: int = 20, devices: int = 1) -> Cost:
    """k-means on z: distances, and the sums of the samples of each cluster."""
    rows, d = n_samples / devices, WIDTHS[-1]
    flops = restarts * rows * 4 * d * CLUSTERS
    # Of each block of samples, the scores of all restarts are written and read twice.
    moved = rows * FLOAT * (d + 4 * restarts * CLUSTERS)
    sums = FLOAT * restarts * CLUSTERS * (d + 1)
    return Cost(flops, moved, all_reduce(sums, devices))


def _activations(rows: float, *, both: bool) -> float:
    """Bytes of a step beside its weights: each layer's output and gradient, in and out."""
    layers = sum(WIDTHS[1:]) + (sum(WIDTHS[:-1]) if both else 0)
    return rows * (WIDTHS[0] + 4 * FLOAT * layers)


def _sent(batch: int, parameters: int, devices: int) -> float:
    """Gradients in float32, the bytes of the batch, and its rows of p."""
    picked = batch * (WIDTHS[0] + FLOAT * CLUSTERS)
    return all_reduce(FLOAT * parameters, devices) + all_reduce(picked, devices)


def memory_rate() -> float:
    """Bytes a second of adding two arrays far larger than any cache, now."""
    a = jnp.ones(2**26)
    add = jax.jit(lambda a, b: a + b)
    add(a, a).block_until_ready()
    found = []
    for _ in range(3):
        start = time.perf_counter()
        add(a, a).block_until_ready()
        found.append(2 * a.nbytes / (time.perf_counter() - start))
    return statistics.median(found)


def measure(batch: int, rounds: int) -> list[dict[str, Any]]:
    """Samples a second of both kinds of steps, measured and as the model has them."""
    data = images()
    x = jnp.asarray(data)
    programs = {
        "pretraining": pretraining(x, batch, "float32", moved=False),
        "clustering": clustering(x, batch, "float32"),
    }
    for program in programs.values():
        program()
    took = in_turns(programs, rounds)
    here = Machine(1e9 * limit("float32")(), memory_rate(), 1.0, overlaps=False)
    steps = len(data) // batch
    costs = {
        "pretraining": [pretraining_step(batch).times(steps)],
        "clustering": [clustering_step(batch).times(steps), refresh(len(data))],
    }
    rows = []
    for name, parts in costs.items():
        rate = len(data) / statistics.median(took[name])
        modeled = len(data) / sum(seconds(cost, here) for cost in parts)
        rows.append(
            {
                "case": f"{name}, batch {batch}",
                "ours": rate,
                "peer": modeled,
                "ratio": rate / modeled,
                "limit_fraction": None,
                "unit": "samples/s",
            }
        )
    return rows


def plan(
    n_samples: int = 10**9,
    devices: int = 64,
    *,
    batch_of_device: int = 4096,
    machine: Machine = H100,
) -> str:
    """What each part of the recipe `dec` would take, as a table."""
    batch = batch_of_device * devices
    steps = -(-n_samples // batch)
    settings: dict[str, Any] = {"batch": batch, "devices": devices}
    parts = {
        "epoch of pretraining": pretraining_step(**settings).times(steps),
        "epoch of pretraining, own rows": pretraining_step(
            **settings, own_rows=True
        ).times(steps),
        "20 restarts of k-means, 50 iterations": lloyd_iteration(
            n_samples, devices=devices
        ).times(50),
        "refresh of p": refresh(n_samples, devices),
        "epoch of DEC": clustering_step(**settings).times(steps),
        "epoch of DEC, own rows": clustering_step(**settings, own_rows=True).times(
            steps
        ),
    }
    lines = [
        "| part | PFLOP a device | TB moved a device | TB sent a device | seconds |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, cost in parts.items():
        numbers = (cost.flops / 1e15, cost.moved / 1e12, cost.sent / 1e12)
        cells = [f"{number:.3g}" for number in (*numbers, seconds(cost, machine))]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measures and prints a table, or the plan."""
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--batch", type=int, nargs="+", default=[256, 1024, 4096])
    what = "a billion samples on 64 accelerators, on paper"
    parser.add_argument("--plan", action="store_true", help=what)
    options = parser.parse_args()
    if options.plan:
        print(plan())
        return
    print(f"samples/s on {provenance.device()}, float32\n{'case':<26}measured   model")
    rows = []
    for batch in options.batch:
        for row in measure(batch, options.rounds):
            rows.append(row)
            print(
                f"{row['case']:<26}{row['ours']:>8.0f}{row['peer']:>8.0f}", flush=True
            )
    if options.save:
        save("cost_model", rows, vars(options))


if __name__ == "__main__":
    main()
