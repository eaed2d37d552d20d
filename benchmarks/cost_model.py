"""Does a model of FLOPs and bytes predict the speed? `python -m benchmarks.cost_model`.

The model counts the FLOPs of each part of a run, the bytes that it moves in memory, and the
bytes that it sends between devices, as functions of n, d, k, the batch size and the number
of devices. Seconds follow from three rates: of matrix products, of memory and of the
network. The first two are measured here, and so are training steps and refreshes, which the
model's prediction ("peer") is compared with. `--plan` prints instead the prediction for a
billion samples on 64 accelerators. SCALING.md explains the model.
"""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from benchmarks import train_step
from benchmarks.common import Benchmark, in_turns, medians, new_row
from benchmarks.tables import Row

WIDTHS = (784, 500, 500, 2000, 10)  # of the encoder; the decoder mirrors it
CLUSTERS = 10
FLOAT = 4  # bytes


class Cost(NamedTuple):
    """The work of one device."""

    flops: float  # of matrix products
    moved: float  # bytes read and written in its memory
    sent: float  # bytes that it sends

    def times(self, count: float) -> "Cost":
        """The cost of so many repetitions."""
        return Cost(*(count * value for value in self))


class Machine(NamedTuple):
    """The rates of one device."""

    flops: float  # a second, of matrix products
    moved: float  # bytes a second, memory
    sent: float  # bytes a second, to other devices
    overlaps: bool  # whether the three take place at the same time


# Half of the dense bfloat16 peak of 989 TFLOP/s, HBM of 3.35 TB/s (data sheet of the
# H100 SXM), and one 400 Gbit/s network adapter a device.
H100 = Machine(0.5 * 989e12, 3.35e12, 50e9, overlaps=True)


def seconds(cost: Cost, machine: Machine) -> float:
    """Seconds of the three parts: their sum, or the longest where they overlap."""
    parts = [
        cost.flops / machine.flops,
        cost.moved / machine.moved,
        cost.sent / machine.sent,
    ]
    return max(parts) if machine.overlaps else sum(parts)


def weights(widths: Sequence[int] = WIDTHS) -> int:
    """Number of weights of the encoder, without its few biases."""
    return sum(a * b for a, b in zip(widths, widths[1:], strict=False))


def all_reduce(size: float, devices: int) -> float:
    """Bytes that each device sends to sum arrays of `size` bytes in a ring."""
    return 2 * (devices - 1) / devices * size


def pretraining_step(batch: int, devices: int = 1, *, own_rows: bool = False) -> Cost:
    """Cost of a step of encoder and decoder, forward and backward, with Adam.

    Args:
      batch: samples of all devices together.
      devices: number of devices.
      own_rows: whether each device draws from the rows that it holds. Else samples are drawn
        from all rows and sent to the devices that need them.
    """
    parameters, rows = 2 * weights(), batch / devices
    # 2 flops a weight and sample forward, 4 backward, without the gradient by the pixels.
    flops = rows * (6 * parameters - 2 * WIDTHS[0] * WIDTHS[1])
    # Weights are read twice; gradients written; Adam reads four arrays, writes three.
    moved = (2 + 1 + 7) * FLOAT * parameters + _activations(rows, both=True)
    return Cost(flops, moved, _sent(0 if own_rows else batch, parameters, devices))


def clustering_step(batch: int, devices: int = 1, *, own_rows: bool = False) -> Cost:
    """Cost of a step of encoder and soft assignment, with SGD and momentum."""
    parameters, rows = weights(), batch / devices
    flops = rows * (6 * parameters - 2 * WIDTHS[0] * WIDTHS[1])
    flops += rows * 6 * WIDTHS[-1] * CLUSTERS
    moved = (2 + 1 + 5) * FLOAT * parameters + _activations(rows, both=False)
    return Cost(flops, moved, _sent(0 if own_rows else batch, parameters, devices))


def refresh(n_samples: int, devices: int = 1) -> Cost:
    """Cost of z, q and p of all samples: one forward pass, and k sums over the devices."""
    rows = n_samples / devices
    flops = rows * 2 * (weights() + WIDTHS[-1] * CLUSTERS)
    # Each layer is written and read; q is read and p written.
    moved = rows * (WIDTHS[0] + 2 * FLOAT * (sum(WIDTHS[1:]) + CLUSTERS))
    return Cost(flops, moved, all_reduce(FLOAT * CLUSTERS, devices))


def lloyd_iteration(n_samples: int, restarts: int = 20, devices: int = 1) -> Cost:
    """Cost of an iteration of k-means on z: distances, and the sums of each cluster."""
    rows, d = n_samples / devices, WIDTHS[-1]
    flops = restarts * rows * 4 * d * CLUSTERS
    # Of each block of samples, the scores of all restarts are written and read twice.
    moved = rows * FLOAT * (d + 4 * restarts * CLUSTERS)
    sums = FLOAT * restarts * CLUSTERS * (d + 1)
    return Cost(flops, moved, all_reduce(sums, devices))


def _activations(rows: float, *, both: bool) -> float:
    """Bytes of each layer's output and gradient, written and read, and of the samples."""
    layers = sum(WIDTHS[1:]) + (sum(WIDTHS[:-1]) if both else 0)
    return rows * (WIDTHS[0] + 4 * FLOAT * layers)


def _sent(batch: int, parameters: int, devices: int) -> float:
    """Bytes sent in a step: gradients in float32, the samples, and their rows of p."""
    picked = batch * (WIDTHS[0] + FLOAT * CLUSTERS)
    return all_reduce(FLOAT * parameters, devices) + all_reduce(picked, devices)


def memory_rate() -> float:
    """Measures the bytes a second of a sum of two arrays far larger than any cache."""
    a = jnp.ones(2**26)
    add = jax.jit(lambda a, b: a + b)
    program = {"add": lambda: add(a, a)}
    in_turns(program, 1)  # compiles
    return 2 * a.nbytes / medians(in_turns(program, 3))["add"]


def measure(batch: int, rounds: int) -> list[Row]:
    """Samples a second of pretraining and clustering, measured and predicted."""
    x = jnp.asarray(train_step.images(train_step.SAMPLES))
    programs = {
        "pretraining": train_step.pretraining(x, batch, "float32", augmented=False),
        "clustering": train_step.clustering(x, batch, "float32"),
    }
    in_turns(programs, 1)  # compiles
    took = medians(in_turns(programs, rounds))
    flops = 1e9 * train_step.limit("float32")()
    here = Machine(flops, memory_rate(), 1.0, overlaps=False)
    steps = len(x) // batch
    costs = {
        "pretraining": [pretraining_step(batch).times(steps)],
        "clustering": [clustering_step(batch).times(steps), refresh(len(x))],
    }
    return [
        new_row(
            f"{name}, batch {batch}",
            "samples/s",
            len(x) / took[name],
            len(x) / sum(seconds(cost, here) for cost in parts),
        )
        for name, parts in costs.items()
    ]


def plan(
    n_samples: int = 10**9,
    devices: int = 64,
    *,
    batch_of_device: int = 4096,
    machine: Machine = H100,
) -> str:
    """Predicts the cost of each part of the recipe `dec`, as a table in Markdown."""
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


def prepare(options: Namespace) -> None:
    """Prints the plan in place of a measurement."""
    if options.plan:
        print(plan())
        raise SystemExit


def rows(options: Namespace) -> Iterator[Row]:
    """All batch sizes."""
    for batch in options.batch:
        yield from measure(batch, options.rounds)


BENCHMARK = Benchmark(
    "cost_model",
    __doc__,
    rows,
    rounds=5,
    options={
        "--batch": {
            "nargs": "+",
            "default": [256, 1024, 4096],
            "help": "samples in a step",
        },
        "--plan": {
            "action": "store_true",
            "help": "print the estimate for a billion samples on 64 accelerators instead",
        },
    },
    prepare=prepare,
)

if __name__ == "__main__":
    BENCHMARK.main()
