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
# The recipe `best`: numbers of neighbors, polynomials that a spectrum takes, their degree,
# restarts and iterations of k-means on the eigenvectors, and numbers of these that are tried.
NEIGHBORS, ROUNDS, DEGREE = (5, 10, 20), 10, 20
RESTARTS, ITERATIONS, TRIED = 10, 30, 11
# Products of the learner's layers a sample: two convolutions of 5 x 5, two dense layers.
LEARNER_PRODUCTS = (14 * 14 * 25 * 32, 7 * 7 * 25 * 32 * 64, 3136 * 512, 512 * CLUSTERS)
LEARNER_WEIGHTS = 25 * 32 + 25 * 32 * 64 + 3136 * 512 + 512 * CLUSTERS
LEARNER_OUTPUTS = 14 * 14 * 32 + 7 * 7 * 64 + 512 + CLUSTERS


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


def nearest_nodes(n_samples: int, nodes: int) -> Cost:
    """Cost of the distances of all samples to all nodes, and of their smallest."""
    pairs = n_samples * nodes
    # Distances are written once, and read twice: by group, and by what is near.
    return Cost(2.0 * pairs * WIDTHS[-1], 3.0 * FLOAT * pairs, 0)


def graph_product(nodes: int, neighbors: int, columns: int) -> Cost:
    """Cost of a product of a graph with some columns: gathers and scatter-adds."""
    # Each edge reads a row at both of its ends, and adds to both.
    return Cost(0, 6.0 * FLOAT * nodes * neighbors * columns, 0)


def spectrum(nodes: int, neighbors: int) -> Cost:
    """Cost of the leading eigenvectors of a graph."""
    columns = 2 * CLUSTERS + 4
    product = graph_product(nodes, neighbors, columns).times(DEGREE)
    # A QR decomposition, and Rayleigh-Ritz: four products of the subspace with itself.
    small = Cost(8.0 * nodes * columns**2, 8.0 * FLOAT * nodes * columns, 0)
    return _sum([product, small]).times(ROUNDS)


def partition(nodes: int) -> Cost:
    """Cost of the partitions of a spectrum: k-means on its rows, and their refinement."""
    d = 2 * CLUSTERS
    flops = RESTARTS * 4.0 * nodes * d * CLUSTERS
    moved = nodes * FLOAT * (d + 4.0 * RESTARTS * CLUSTERS)
    k_means = Cost(flops, moved, 0).times(ITERATIONS)
    refined = graph_product(nodes, NEIGHBORS[0], CLUSTERS).times(ITERATIONS)
    return _sum([k_means, refined]).times(TRIED)


def start_of_best(n_samples: int, graph_rows: int) -> Cost:
    """Cost of the labels that `best` starts from, on one device."""
    nodes = min(n_samples, graph_rows)
    parts = [nearest_nodes(nodes, nodes)]
    parts += [spectrum(nodes, neighbors) for neighbors in NEIGHBORS]
    parts += [partition(nodes).times(len(NEIGHBORS))]
    if nodes < n_samples:
        # The nodes' means, and the votes.
        parts += [nearest_nodes(n_samples, nodes).times(2)]
    return _sum(parts)


def learner_step(batch: int, devices: int = 1) -> Cost:
    """Cost of a step of the convolutional learner of `best`, with Adam."""
    rows = batch / devices
    flops = rows * (6 * sum(LEARNER_PRODUCTS) - 2 * LEARNER_PRODUCTS[0])
    activations = rows * (WIDTHS[0] + 4 * FLOAT * LEARNER_OUTPUTS)
    moved = (2 + 1 + 7) * FLOAT * LEARNER_WEIGHTS + activations
    return Cost(flops, moved, _sent(batch, LEARNER_WEIGHTS, devices))


def learner_refresh(n_samples: int, devices: int = 1) -> Cost:
    """Cost of q and p of all samples by the learner."""
    rows = n_samples / devices
    flops = rows * 2 * sum(LEARNER_PRODUCTS)
    moved = rows * (WIDTHS[0] + 2 * FLOAT * (LEARNER_OUTPUTS + CLUSTERS))
    return Cost(flops, moved, all_reduce(FLOAT * CLUSTERS, devices))


def _sum(costs: Sequence[Cost]) -> Cost:
    return Cost(*(sum(parts) for parts in zip(*costs, strict=True)))


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
    """Predicts the cost of the parts of `dec` and `best`, as a table in Markdown."""
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
        "start of `best`, graph of 100,000, one device": start_of_best(
            n_samples, 100_000
        ),
        "refresh of p by the learner": learner_refresh(n_samples, devices),
        "epoch of the learner": learner_step(**settings).times(steps),
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
