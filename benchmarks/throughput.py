"""Samples a second on whatever devices are here: `python -m benchmarks.throughput`.

Steps of pretraining and of clustering (DEC, with its refreshes of p), on one device under
`jit`; on 1, 2, 4 ... devices under `jit` with the rows spread over them, as the experiments
run them (`sharded`); and on as many under `pmap`, in which each device holds all rows and
takes its part of each minibatch. A batch is that of all devices together. All three take
the same minibatches from the same start, so the losses beside the times must agree. They
take turns, several rounds; medians. Compiling is measured apart.

The limit is what the data sheet says of matrix products, where `PEAKS` has the device, else
a square product in the same run; a CPU's devices share one. The refresh counts as time, not
as work, as in `benchmarks.train_step`. Without other devices, `--fake-devices 4` splits the
CPU, to see that the programs run: it has no more cores for that.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import train_step as steps
from benchmarks.rows import arguments, in_turns, save
from dec_jax.clustering.assignment import target_distribution
from dec_jax.networks.autoencoder import embed
from dec_jax.networks.precision import PRECISIONS
from dec_jax.parallel.sharding import data_mesh, replicate, replicate_like, shard_rows
from dec_jax.recipes.dense import DataShape, make_recipe
from dec_jax.runs import provenance
from dec_jax.runs.devices import place
from dec_jax.training.augmentation import Augmentation
from dec_jax.training.cluster import _train_intervals, train_step
from dec_jax.training.minibatches import (
    minibatch_plan,
    scan_minibatches,
    steps_per_epoch,
)
from dec_jax.training.pretrain import (
    PretrainConfig,
    PretrainState,
    _pretrain_epochs,
    init_pretraining,
    pretrain_step,
)
from dec_jax.training.state import TrainState

PHASES = ("pretraining", "clustering")
AXIS = "devices"  # of pmap
# Dense TFLOP/s of one device by the makers' data sheets, in bfloat16, and in what JAX takes
# for float32 by default: TF32 on these GPUs, bfloat16 on a TPU.
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
    """What is computed in one call."""

    phase: str  # of PHASES
    batch: int  # of all devices together
    precision: str
    epochs: int

    def steps(self) -> int:
        """Minibatches in one call."""
        return self.epochs * steps_per_epoch(steps.SAMPLES, self.batch)


class Program(NamedTuple):
    """One way to do the work, compiled."""

    name: str  # such as "sharded, 2 devices"
    devices: Sequence[jax.Device]
    call: Callable[[], float]  # does the work, and gives its loss
    compile_s: float
    planned: int  # bytes on each device, says the compiler


def start(work: Work) -> tuple[Any, dict[str, Any]]:
    """What the first call starts from, and the settings of all."""
    state, settings = steps.clustering_start(work.batch, work.precision, moved=False)
    if work.phase == "clustering":
        # The partial batch of an epoch too.
        whole = steps_per_epoch(steps.SAMPLES, work.batch)
        config = replace(settings["config"], update_interval=whole)
        return state, {**settings, "config": config}
    shape = DataShape(steps.SAMPLES, steps.WIDTH, (steps.SIDE, steps.SIDE, 1))
    recipe = make_recipe("dec", shape)
    assert isinstance(recipe.pretrain, PretrainConfig)
    still = replace(recipe.pretrain, batch_size=work.batch, augmentation=Augmentation())
    settings = {"architecture": settings["architecture"], "config": still}
    key = jax.random.key(0)
    return init_pretraining(key, n_samples=steps.SAMPLES, **settings), settings


def by_jit(work: Work, x: np.ndarray, devices: Sequence[jax.Device] | None) -> Program:
    """The program of the experiments, on one device or with rows spread over several."""
    rows = place(x, None if devices is None else data_mesh(devices))
    state, settings = start(work)
    # Where the rows are: the program takes over the memory of its argument.
    state = replicate_like(state, rows)
    if work.phase == "pretraining":
        lower = partial(_pretrain_epochs.lower, num_epochs=work.epochs)
    else:
        lower = partial(_train_intervals.lower, num_intervals=work.epochs)
    name = "jit" if devices is None else "sharded"
    used = jax.devices()[:1] if devices is None else devices
    return compiled(name, used, partial(lower, **settings), state, rows)


def by_pmap(work: Work, x: np.ndarray, devices: Sequence[jax.Device]) -> Program:
    """The pure steps on each device's part of a minibatch; gradients are averaged."""
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
    """A program of (state, data) to (state, losses), that goes on where it ended."""
    began = time.perf_counter()
    program = lower(state, data).compile()
    compile_s = time.perf_counter() - began

    def call() -> float:
        nonlocal state
        state, losses = program(state, data)
        # Sums over devices that nobody waits for can block one another on a CPU.
        jax.block_until_ready((state, losses))
        return float(getattr(losses, "loss", losses)[-1])

    plan = program.memory_analysis()
    planned = (
        plan.argument_size_in_bytes
        + plan.output_size_in_bytes
        + plan.temp_size_in_bytes
        - plan.alias_size_in_bytes
    )
    many = "device" if len(devices) == 1 else "devices"
    name = f"{mode}, {len(devices)} {many}"
    return Program(name, devices, call, compile_s, planned)


# One device's part of the work under `pmap`.


def scan_part(
    step: Callable[..., tuple[Any, jax.Array]], state: Any, x: jax.Array, config: Any
) -> tuple[Any, jax.Array]:
    """An epoch of `step`, of this device's part of each minibatch, and its mean loss."""
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
    """Epochs of pretraining."""
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
    """Intervals of DEC of an epoch each: p of the device's own rows goes to all, then steps."""
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


# What is measured.


def memory(program: Program) -> dict[str, Any]:
    """Megabytes of the device that has most of them, and who says so.

    A device that keeps count tells the most that it ever held since this process began,
    all programs in it together: of the first rows this says more than of the last.
    """
    stats = [device.memory_stats() or {} for device in program.devices]
    if all("peak_bytes_in_use" in one for one in stats):
        most = max(one["peak_bytes_in_use"] for one in stats)
        return {"memory_mb": most / 1e6, "memory_by": "device"}
    return {"memory_mb": program.planned / 1e6, "memory_by": "compiler"}


def programs_of(work: Work, counts: Sequence[int]) -> list[Program]:
    """One device under `jit` first, then each number of devices in both other ways."""
    x, every = steps.images(), jax.devices()
    found = [by_jit(work, x, None)]
    found += [by_jit(work, x, every[:count]) for count in counts]
    return found + [by_pmap(work, x, every[:count]) for count in counts]


def measure(work: Work, counts: Sequence[int], rounds: int) -> list[dict[str, Any]]:
    """The rows of one kind of work, `jit` on one device first."""
    programs = programs_of(work, counts)
    extra = []
    for program in programs:
        program.call()  # the first touch of its memory
        extra.append({"compile_s": program.compile_s, **memory(program)})
    found: dict[str, list[float]] = {program.name: [] for program in programs}
    turns = {one.name: partial(_keep, one.call, found[one.name]) for one in programs}
    peaks = PEAKS.get(jax.devices()[0].device_kind)
    if peaks is None:
        found["limit"] = []
        turns["limit"] = partial(_keep, steps.limit(work.precision), found["limit"])
    seconds = in_turns(turns, rounds)
    took = {name: statistics.median(times) for name, times in seconds.items()}
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


def _keep(call: Callable[[], float], found: list[float]) -> None:
    found.append(call())


def row(work: Work, program: Program, seconds: float, limit: float) -> dict[str, Any]:
    """What follows from the seconds of a call, and the FLOP/s that one device may reach."""
    rate = steps.SAMPLES * work.epochs / seconds
    # The devices that a CPU is split into share its cores.
    shared = program.devices[0].platform == "cpu"
    most = limit * (1 if shared else len(program.devices))
    return {
        "case": f"{work.phase}, {program.name}, batch {work.batch}, {work.precision}",
        "ours": rate,
        "peer": None,
        "ratio": None,
        "limit_fraction": rate * steps.flops_per_sample(work.phase) / most,
        "unit": "samples/s",
        "steps": work.steps() / seconds,
    }


# The command line.


def parser() -> argparse.ArgumentParser:
    """The options."""
    out = arguments(__doc__, rounds=5)
    batch = "of all devices together (default 256 4096)"
    out.add_argument("--batch", type=int, nargs="+", default=[256, 4096], help=batch)
    out.add_argument(
        "--precision", nargs="+", choices=PRECISIONS, default=list(PRECISIONS)
    )
    which = "how many, each in its own row (default 1 2 4 ... to all of them)"
    out.add_argument("--devices", metavar="N", type=int, nargs="+", help=which)
    epochs = "passes in one call; more where a call is too short (default 1)"
    out.add_argument("--epochs", metavar="N", type=int, default=1, help=epochs)
    fake = "split the CPU into so many devices, instead of what else is here"
    out.add_argument("--fake-devices", metavar="N", type=int, help=fake)
    return out


def device_counts(asked: list[int] | None, batches: list[int]) -> list[int]:
    """Numbers of devices to run on: those asked for, else powers of two up to all.

    Raises:
      ValueError: there are not so many, or they cannot share images or batch equally.
    """
    present = len(jax.devices())
    counts = asked or [2**i for i in range(present.bit_length())]
    for count in counts:
        if not 1 <= count <= present:
            raise ValueError(f"--devices {count}: there are only {present}.")
        for shared in (steps.SAMPLES, *batches):
            if shared % count:
                raise ValueError(f"{count} devices cannot share {shared:,} equally.")
    if not 1 <= min(batches) <= max(batches) <= steps.SAMPLES:
        raise ValueError(f"--batch must be from 1 to {steps.SAMPLES:,}, got {batches}.")
    return counts


def main() -> None:
    """Measures and prints a table."""
    options = parser().parse_args()
    for name in ("rounds", "epochs", "fake_devices"):
        value = getattr(options, name)
        if value is not None and value < 1:
            option = name.replace("_", "-")
            raise SystemExit(f"--{option} must be at least 1, got {value}.")
    if options.fake_devices is not None:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", options.fake_devices)
    try:
        counts = device_counts(options.devices, options.batch)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    print(f"on {provenance.device()}, jax {jax.__version__}; devices: {counts}")
    print(
        f"{'case':<54}{'samples/s':>11}{'steps/s':>9}{'x jit':>7}{'of limit':>10} "
        f"{'by':<10}{'MB':>7} {'by':<8}{'compile s':>10}{'loss':>9}"
    )
    rows = []
    for batch in options.batch:
        for precision in options.precision:
            for phase in PHASES:
                work = Work(phase, batch, precision, options.epochs)
                found = measure(work, counts, options.rounds)
                rows += found
                print("\n".join(map(line, found)), flush=True)
    if options.save:
        save("throughput", rows, vars(options))


def line(row: dict[str, Any]) -> str:
    """A row as it is printed."""
    return (
        f"{row['case']:<54}{row['ours']:>11,.0f}{row['steps']:>9.1f}"
        f"{row['times_jit']:>7.2f}{row['limit_fraction']:>10.0%} {row['limit_by']:<10}"
        f"{row['memory_mb']:>7.0f} {row['memory_by']:<8}{row['compile_s']:>10.1f}"
        f"{row['loss']:>9.5f}"
    )


if __name__ == "__main__":
    main()
