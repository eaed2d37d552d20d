"""Measures how training scales over devices: `python -m benchmarks.throughput`.

Samples a second of pretraining and of clustering (DEC, with its refreshes of p):

- on one device under `jit`;
- on 1, 2, 4 ... devices under `jit` with the rows sharded, as a run has them (`sharded`);
- on as many under `pmap`, where each device holds all rows and takes its part of each
  minibatch.

The batch size is that of all devices together. All three take the same minibatches from the
same start, so their losses, a column of their own, must agree. They alternate; the numbers
are medians of the rounds. The seconds of compilation are a column of their own.

The limit is the data sheet's speed of matrix products for the devices in `PEAKS`, and a
product of square matrices in the same run for all others. The devices of a CPU share one
limit. The refresh counts in the time, but not in the work, as in `benchmarks.train_step`.
Where there are no other devices, `--fake-devices 4` splits the CPU, which shows that the
programs run, not that they scale: the number of cores stays the same.
"""

import statistics
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import train_step as steps
from benchmarks.common import (
    Benchmark,
    Column,
    continued,
    in_turns,
    medians,
    new_row,
    planned_bytes,
    recorded,
    timed,
)
from benchmarks.tables import Row
from dec_jax.clustering.assignment import target_distribution
from dec_jax.networks.autoencoder import embed
from dec_jax.networks.precision import PRECISIONS
from dec_jax.parallel.sharding import data_mesh, replicate, replicate_like, shard_rows
from dec_jax.runs.errors import UsageError, check_least
from dec_jax.runs.fit import place
from dec_jax.training.cluster import _train_intervals, train_step
from dec_jax.training.minibatches import (
    minibatch_plan,
    scan_minibatches,
    steps_per_epoch,
)
from dec_jax.training.pretrain import PretrainState, _pretrain_epochs, pretrain_step
from dec_jax.training.state import TrainState

PHASES = ("pretraining", "clustering")
AXIS = "devices"  # of pmap
# Dense TFLOP/s of one device by the makers' data sheets: in bfloat16, and in JAX's default
# precision of float32 products, TF32 on these GPUs and bfloat16 on a TPU.
PEAKS = {
    "NVIDIA H100 80GB HBM3": (989, 494),
    "NVIDIA H200": (989, 494),
    "NVIDIA A100-SXM4-40GB": (312, 156),
    "NVIDIA A100-SXM4-80GB": (312, 156),
    "NVIDIA A100-PCIE-40GB": (312, 156),
    "NVIDIA A100 80GB PCIe": (312, 156),
    "TPU v4": (275, 275),
    "TPU v5 lite": (197, 197),  # v5e
    "TPU v5": (459, 459),  # v5p
    "TPU v6 lite": (918, 918),  # v6e
}


class Work(NamedTuple):
    """The work of one call."""

    phase: str  # of PHASES
    batch: int  # of all devices together
    precision: str
    epochs: int

    def steps(self) -> int:
        """Minibatches in one call."""
        return self.epochs * steps_per_epoch(steps.SAMPLES, self.batch)


class Program(NamedTuple):
    """A compiled program that does the work in one of the three ways."""

    name: str  # such as "sharded, 2 devices"
    devices: Sequence[jax.Device]
    call: Callable[[], float]  # does the work and returns its loss
    compile_s: float
    planned: int  # bytes on each device, by the compiler's count


def start(work: Work) -> tuple[Any, dict[str, Any]]:
    """The state before the first call, and the settings of all calls."""
    starts = {
        "pretraining": steps.pretraining_start,
        "clustering": steps.clustering_start,
    }
    return starts[work.phase](
        steps.SAMPLES, work.batch, work.precision, augmented=False
    )


def by_jit(work: Work, x: np.ndarray, devices: Sequence[jax.Device] | None) -> Program:
    """The program of a run, on one device or with the rows sharded over several."""
    rows = place(x, None if devices is None else data_mesh(devices))
    state, settings = start(work)
    # On the devices of the rows, as the program reuses the memory of its argument.
    state = replicate_like(state, rows)
    if work.phase == "pretraining":
        lower = partial(_pretrain_epochs.lower, num_epochs=work.epochs)
    else:
        lower = partial(_train_intervals.lower, num_intervals=work.epochs)
    name = "jit" if devices is None else "sharded"
    used = jax.devices()[:1] if devices is None else devices
    return compiled(name, used, partial(lower, **settings), state, rows)


def by_pmap(work: Work, x: np.ndarray, devices: Sequence[jax.Device]) -> Program:
    """The pure steps on each device's part of a minibatch, with averaged gradients."""
    state, settings = start(work)
    part = pretraining_part if work.phase == "pretraining" else clustering_part
    mapped = jax.pmap(
        partial(part, epochs=work.epochs, settings=settings),
        AXIS,
        in_axes=(None, (None, 0)),
        out_axes=None,
        devices=devices,
        donate_argnums=(0,),
    )
    mesh = data_mesh(devices)
    mine = np.arange(len(x)).reshape(len(devices), -1)
    data = replicate(jnp.asarray(x), mesh), shard_rows(mine, mesh)
    return compiled("pmap", devices, mapped.lower, replicate(state, mesh), data)


def compiled(
    mode: str,
    devices: Sequence[jax.Device],
    lower: Callable[..., Any],
    state: Any,
    data: Any,
) -> Program:
    """Compiles a program of (state, data) to (state, losses)."""
    compile_s, program = timed(lambda: lower(state, data).compile())
    many = "device" if len(devices) == 1 else "devices"
    return Program(
        f"{mode}, {len(devices)} {many}",
        devices,
        continued(lambda state: program(state, data), state),
        compile_s,
        planned_bytes(program),
    )


# One device's part of the work under `pmap`.


def scan_part(
    step: Callable[..., tuple[Any, jax.Array]], state: Any, x: jax.Array, config: Any
) -> tuple[Any, jax.Array]:
    """Takes an epoch of steps on this device's part of each minibatch.

    Returns:
      The state, and the mean loss of the epoch.
    """
    indices, weights = minibatch_plan(
        jax.random.fold_in(state.key, 0),
        state.step,
        num_steps=steps_per_epoch(len(x), config.batch_size),
        n_samples=len(x),
        batch_size=config.batch_size,
    )
    devices = jax.lax.axis_size(AXIS)
    size = indices.shape[1] // devices
    first = jax.lax.axis_index(AXIS) * size
    mine, shares = (
        jax.lax.dynamic_slice_in_dim(a, first, size, 1) for a in (indices, weights)
    )
    # The means of the devices are averaged: the weights sum to 1 on each.
    state, losses = scan_minibatches(step, state, (mine, shares * devices))
    return state, losses.sum() / weights.sum()


def pretraining_part(
    state: PretrainState, data: Any, *, epochs: int, settings: dict[str, Any]
) -> tuple[PretrainState, jax.Array]:
    """Epochs of pretraining on one device."""
    x, _ = data

    def step(
        state: PretrainState, indices: jax.Array, weights: jax.Array
    ) -> tuple[PretrainState, jax.Array]:
        return pretrain_step(
            state, x[indices], weights, n_samples=len(x), axis_name=AXIS, **settings
        )

    def epoch(state: PretrainState, _: None) -> tuple[PretrainState, jax.Array]:
        return scan_part(step, state, x, settings["config"])

    return jax.lax.scan(epoch, state, length=epochs)


def clustering_part(
    state: TrainState, data: Any, *, epochs: int, settings: dict[str, Any]
) -> tuple[TrainState, jax.Array]:
    """Intervals of DEC on one device: it shares p of its own rows, then trains an epoch."""
    x, mine = data

    def step(
        state: TrainState, indices: jax.Array, weights: jax.Array
    ) -> tuple[TrainState, jax.Array]:
        p = state.targets[indices]
        state, losses = train_step(
            state, x[indices], p, weights, axis_name=AXIS, **settings
        )
        return state, losses.total

    def interval(state: TrainState, _: None) -> tuple[TrainState, jax.Array]:
        z = embed(state.params, x[mine], architecture=settings["architecture"])
        q = settings["objective"].assignment(state.params, z)
        p = target_distribution(q, axis_name=AXIS)
        state = state._replace(targets=jax.lax.all_gather(p, AXIS, tiled=True))
        return scan_part(step, state, x, settings["config"])

    return jax.lax.scan(interval, state, length=epochs)


def memory(program: Program) -> dict[str, Any]:
    """Megabytes of the device that holds most, and whether device or compiler counts them.

    A device counts the most that it has held since this process began, in all programs. So
    the first row's number says more than the last one's.
    """
    stats = [device.memory_stats() or {} for device in program.devices]
    if all("peak_bytes_in_use" in one for one in stats):
        most = max(one["peak_bytes_in_use"] for one in stats)
        return {"memory_mb": most / 1e6, "memory_by": "device"}
    return {"memory_mb": program.planned / 1e6, "memory_by": "compiler"}


def programs_of(work: Work, counts: Sequence[int]) -> list[Program]:
    """The program under `jit`, then those of each number of devices in both other ways."""
    x, every = steps.images(steps.SAMPLES), jax.devices()
    found = [by_jit(work, x, None)]
    found += [by_jit(work, x, every[:count]) for count in counts]
    return found + [by_pmap(work, x, every[:count]) for count in counts]


def measure(work: Work, counts: Sequence[int], rounds: int) -> list[Row]:
    """The rows of one kind of work, with `jit` on one device first."""
    programs = programs_of(work, counts)
    extra = []
    for program in programs:
        program.call()  # the first use of its memory
        extra.append({"compile_s": program.compile_s, **memory(program)})
    found: dict[str, list[float]] = {program.name: [] for program in programs}
    turns = {one.name: recorded(one.call, found[one.name]) for one in programs}
    peaks = PEAKS.get(jax.devices()[0].device_kind)
    if peaks is None:
        found["limit"] = []
        turns["limit"] = recorded(steps.limit(work.precision), found["limit"])
    took = medians(in_turns(turns, rounds))
    if peaks is None:
        limit = 1e9 * statistics.median(found["limit"])
    else:
        limit = 1e12 * peaks[work.precision == "float32"]
    return [
        {
            **row(work, program, took[program.name], limit),
            "limit_by": "product" if peaks is None else "data sheet",
            "times_jit": took[programs[0].name] / took[program.name],
            "loss": found[program.name][-1],
            **more,
        }
        for program, more in zip(programs, extra, strict=True)
    ]


def row(work: Work, program: Program, seconds: float, limit: float) -> Row:
    """The row of a program.

    Args:
      work: of one call.
      program: that does it.
      seconds: of one call.
      limit: FLOP/s that one device could reach.
    """
    rate = steps.SAMPLES * work.epochs / seconds
    # The devices that a CPU is split into share its cores.
    shared = program.devices[0].platform == "cpu"
    most = limit * (1 if shared else len(program.devices))
    return new_row(
        f"{work.phase}, {program.name}, batch {work.batch}, {work.precision}",
        "samples/s",
        rate,
        limit_fraction=rate * steps.flops_per_sample(work.phase) / most,
        steps=work.steps() / seconds,
    )


def device_counts(asked: list[int] | None, batches: list[int]) -> list[int]:
    """Numbers of devices to run on: those asked for, or the powers of two up to all.

    Raises:
      UsageError: there are not so many, or they cannot share images or batch equally.
    """
    present = len(jax.devices())
    counts = asked or [2**i for i in range(present.bit_length())]
    for count in counts:
        if not 1 <= count <= present:
            raise UsageError(f"--devices {count}: there are only {present}.")
        for shared in (steps.SAMPLES, *batches):
            if shared % count:
                raise UsageError(f"{count} devices cannot share {shared:,} equally.")
    if not 1 <= min(batches) <= max(batches) <= steps.SAMPLES:
        raise UsageError(f"--batch must be from 1 to {steps.SAMPLES:,}, got {batches}.")
    return counts


def prepare(options: Namespace) -> None:
    """Checks the options, and splits the CPU if asked to."""
    check_least(vars(options), epochs=1, fake_devices=1)
    if options.fake_devices is not None:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", options.fake_devices)
    device_counts(options.devices, options.batch)


def rows(options: Namespace) -> Iterator[Row]:
    """All batch sizes, precisions and phases."""
    counts = device_counts(options.devices, options.batch)
    for batch in options.batch:
        for precision in options.precision:
            for phase in PHASES:
                work = Work(phase, batch, precision, options.epochs)
                yield from measure(work, counts, options.rounds)


BENCHMARK = Benchmark(
    "throughput",
    __doc__,
    rows,
    rounds=5,
    options={
        "--batch": {
            "nargs": "+",
            "default": [256, 4096],
            "help": "samples in a step of all devices together",
        },
        "--precision": {
            "nargs": "+",
            "choices": PRECISIONS,
            "default": list(PRECISIONS),
            "help": "of matrix products",
        },
        "--devices": {
            "nargs": "+",
            "type": int,
            "help": "numbers of devices (default: 1 2 4 ... to all)",
        },
        "--epochs": {"default": 1, "help": "epochs in one call; more for short ones"},
        "--fake-devices": {
            "type": int,
            "help": "split the CPU into N devices, and use no others",
        },
    },
    columns=[
        Column("steps/s", "steps", ".1f"),
        Column("times jit", "times_jit", ".2f"),
        Column("limit by", "limit_by", ""),
        Column("MB", "memory_mb", ".0f"),
        Column("MB by", "memory_by", ""),
        Column("compile s", "compile_s", ".1f"),
        Column("loss", "loss", ".5f"),
    ],
    prepare=prepare,
)

if __name__ == "__main__":
    BENCHMARK.main()
