"""Where a number was measured: device, versions, commit."""

import functools
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import jax

# What products are computed with, widest first: it decides the speed several times over.
INSTRUCTIONS = {
    "amx_bf16": "AMX",
    "avx512_bf16": "AVX-512 with bfloat16",
    "avx512f": "AVX-512",
    "avx2": "AVX2",
}
CPUINFO = Path("/proc/cpuinfo")  # on Linux
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy", "scikit-learn")


def device() -> str:
    """The devices that jax computes on, such as "2 CPU cores (AMD EPYC, AVX2)"."""
    devices = jax.devices()
    kind = devices[0].device_kind
    if devices[0].platform != "cpu":
        return f"{len(devices)} x {kind}"
    model = platform.processor() or platform.machine()
    if CPUINFO.exists():
        lines = CPUINFO.read_text().splitlines()
        names = [line.split(":")[1].strip() for line in lines if "model name" in line]
        model = names[0] if names else model
        flags = {flag for line in lines if line[:5] == "flags" for flag in line.split()}
        widest = [name for flag, name in INSTRUCTIONS.items() if flag in flags]
        model = ", ".join([model, *widest[:1]])
    count = cores()
    return f"{count} CPU core{'s' if count > 1 else ''} ({model})"


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Versions of Python, dec_jax and the packages that decide a result."""
    found = {"python": platform.python_version()}
    for package in ("dec_jax", *PACKAGES):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def commit() -> str | None:
    """The commit of this checkout, with "-dirty" if files differ; None outside git."""
    root = Path(__file__).resolve().parent.parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--exclude=*"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip() or None
