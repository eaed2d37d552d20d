import re
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from benchmarks import tables, throughput, train_step
from benchmarks.throughput import PHASES, Program, Work
from dec_jax.runs.errors import UsageError

pytestmark = pytest.mark.usefixtures("narrow")


# The last batch of an epoch is a partial one.
@pytest.mark.parametrize(
    "phase, counts",
    [
        pytest.param(PHASES[0], [1, 2, 4], marks=pytest.mark.slow),
        (PHASES[0], [4]),
        pytest.param(PHASES[1], [4], marks=pytest.mark.slow),
    ],
)
def test_all_ways_and_devices_find_the_same_loss(phase, counts):
    work = Work(phase, 48, "float32", epochs=2)
    found = throughput.measure(work, counts, rounds=1)
    many = {1: "1 device", 2: "2 devices", 4: "4 devices"}
    assert [row["case"] for row in found] == [
        f"{phase}, {name}, batch 48, float32"
        for name in (
            "jit, 1 device",
            *(f"sharded, {many[count]}" for count in counts),
            *(f"pmap, {many[count]}" for count in counts),
        )
    ]
    losses = [row["loss"] for row in found]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-3)
    assert found[0]["times_jit"] == 1
    for row in found:
        assert row["unit"] == "samples/s" and row["limit_by"] == "product"
        assert row["memory_by"] == "compiler" and row["memory_mb"] > 0.1
        for name in ("ours", "limit_fraction", "compile_s", "times_jit"):
            assert row[name] > 0
        # Two epochs of three steps each.
        assert row["steps"] * 256 == pytest.approx(row["ours"] * 6)


def test_a_call_continues_the_last_one():
    x = train_step.images(128)
    program = throughput.by_jit(Work("pretraining", 64, "bfloat16", 1), x, None)
    losses = [program.call() for _ in range(3)]
    assert losses[0] > losses[1] > losses[2]


def test_the_limit_is_that_of_the_data_sheet_of_known_devices(monkeypatch):
    kind = jax.devices()[0].device_kind
    monkeypatch.setattr(throughput, "PEAKS", {kind: (2.0, 1.0)})
    for precision, peak in (("float32", 1e12), ("bfloat16", 2e12)):
        (row,) = throughput.measure(Work("pretraining", 64, precision, 1), [], 1)
        assert row["limit_by"] == "data sheet"
        flops = train_step.flops_per_sample("pretraining")
        assert row["limit_fraction"] == pytest.approx(row["ours"] * flops / peak)


@pytest.mark.parametrize("platform, devices", [("cpu", 1), ("gpu", 4)])
def test_the_devices_of_a_cpu_share_its_limit(platform, devices):
    four = [SimpleNamespace(platform=platform)] * 4
    program = Program("sharded, 4 devices", four, lambda: 0.0, 1.0, 1)
    row = throughput.row(Work("clustering", 64, "float32", 1), program, 1.0, 1e9)
    flops = 128 * train_step.flops_per_sample("clustering")
    assert row["limit_fraction"] == pytest.approx(flops / (devices * 1e9))


def test_memory_is_counted_by_the_device_or_else_the_compiler():
    def device(stats):
        return SimpleNamespace(memory_stats=lambda: stats)

    def found(*devices):
        return throughput.memory(Program("", devices, lambda: 0.0, 1.0, 7_000_000))

    counting = [device({"peak_bytes_in_use": size}) for size in (2_000_000, 3_000_000)]
    assert found(*counting) == {"memory_mb": 3, "memory_by": "device"}
    assert found(device(None)) == {"memory_mb": 7, "memory_by": "compiler"}
    assert found(device({})) == {"memory_mb": 7, "memory_by": "compiler"}


def test_device_counts_double_up_to_all():
    assert throughput.device_counts(None, [64]) == [1, 2, 4]
    assert throughput.device_counts([4], [64]) == [4]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("--devices 8", "--devices 8: there are only 4."),
        ("--devices 0", "--devices 0: there are only 4."),
        ("--devices 3", "3 devices cannot share 128 equally."),
        ("--batch 30", "4 devices cannot share 30 equally."),
        ("--batch 256", "--batch must be from 1 to 128, got [256]."),
        ("--batch 0", "--batch must be from 1 to 128, got [0]."),
        ("--epochs 0", "--epochs must be at least 1, got 0."),
        ("--rounds 0", "--rounds must be at least 1, got 0."),
        ("--fake-devices 0", "--fake-devices must be at least 1, got 0."),
    ],
)
def test_run_rejects_what_cannot_be_measured(arguments, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        throughput.BENCHMARK.run(arguments.split())


def test_a_run_has_a_row_for_each_case(monkeypatch, capsys):
    def measured(work, counts, rounds):
        assert counts == [2] and rounds == 1
        program = Program("pmap, 2 devices", jax.devices()[:2], lambda: 0.0, 1.0, 1)
        row = throughput.row(work, program, 0.5, 1e12)
        more = {"limit_by": "product", "times_jit": 1.0, "loss": 0.25, "compile_s": 2.0}
        return [{**row, **more, **throughput.memory(program)}]

    saved = []
    monkeypatch.setattr(throughput, "measure", measured)
    monkeypatch.setattr(tables, "save", lambda *what: saved.append(what))
    options = "--batch 64 32 --devices 2 --precision bfloat16 --rounds 1 --save"
    throughput.BENCHMARK.run(options.split())
    lines = capsys.readouterr().out.splitlines()
    cases = [
        f"{phase}, pmap, 2 devices, batch {batch}, bfloat16"
        for batch in (64, 32)
        for phase in PHASES
    ]
    for line, case in zip(lines[2:], cases, strict=True):
        assert line.startswith(case) and line.endswith("0.25000")
    ((name, rows, settings),) = saved
    assert name == "throughput" and [row["case"] for row in rows] == cases
    assert settings["devices"] == [2]
