"""The hardware, the versions and the commit that a number was measured with."""

import os
import subprocess
from pathlib import Path

import jax
import pytest

from dec_jax.parallel import hardware
from dec_jax.runs import provenance

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("cores", "words"), [(1, "1 CPU core ("), (2, "2 CPU cores (")]
)
def test_device_counts_the_cores_of_a_cpu(monkeypatch, cores, words):
    assert 1 <= hardware.cores() <= (os.cpu_count() or 1)
    monkeypatch.setattr(hardware, "cores", lambda: cores)
    assert hardware.device_name().startswith(words)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("avx2 avx512f avx512_bf16", "2 CPU cores (Some CPU, AVX-512 with bfloat16)"),
        ("avx2 avx512f", "2 CPU cores (Some CPU, AVX-512)"),
        ("sse2 avx avx2", "2 CPU cores (Some CPU, AVX2)"),
        ("sse2 avx", "2 CPU cores (Some CPU)"),
    ],
)
def test_device_names_the_widest_instructions(monkeypatch, tmp_path, flags, words):
    hardware._cpu.cache_clear()
    cpuinfo = tmp_path / "cpuinfo"
    core = f"model name\t: Some CPU\nflags\t\t: fpu {flags} sme\n"
    cpuinfo.write_text(f"{core}\n{core}")
    monkeypatch.setattr(hardware, "CPUINFO", cpuinfo)
    monkeypatch.setattr(hardware, "cores", lambda: 2)
    assert hardware.device_name() == words
    hardware._cpu.cache_clear()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("avx512f avx512_bf16", "bfloat16"),
        ("amx_bf16", "bfloat16"),
        ("avx512f", "float32"),
    ],
)
def test_faster_precision_of_a_cpu_is_that_of_its_instructions(
    monkeypatch, tmp_path, flags, expected
):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"model name\t: Some CPU\nflags\t\t: fpu {flags}\n")
    monkeypatch.setattr(hardware, "CPUINFO", cpuinfo)
    hardware._cpu.cache_clear()
    assert hardware.faster_precision() == expected
    hardware._cpu.cache_clear()


def test_versions_hold_what_decides_a_result():
    assert provenance.versions()["jax"] == jax.__version__


def test_commit_is_that_of_the_checkout():
    described = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if described.returncode:
        pytest.skip("not a git checkout")
    provenance.commit.cache_clear()
    assert provenance.commit().removesuffix("-dirty") == described.stdout.strip()
