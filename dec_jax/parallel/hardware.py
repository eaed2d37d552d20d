"""The hardware that jax computes on: names, cores, and the faster precision."""

import os
import platform
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import jax
from threadpoolctl import threadpool_limits

P = ParamSpec("P")
R = TypeVar("R")

# The instructions for products, widest first; speed differs several times between them.
INSTRUCTIONS = {
    "amx_bf16": "AMX",
    "avx512_bf16": "AVX-512 with bfloat16",
    "avx512f": "AVX-512",
    "avx2": "AVX2",
}
BFLOAT16_FLAGS = {"amx_bf16", "avx512_bf16"}
CPUINFO = Path("/proc/cpuinfo")  # on Linux


def device_name() -> str:
    """Names the devices that jax computes on.

    Returns:
      Such as "2 CPU cores (AMD EPYC, AVX2)" or "4 x NVIDIA H200".
    """
    devices = jax.devices()
    if devices[0].platform != "cpu":
        return f"{len(devices)} x {devices[0].device_kind}"
    model, flags = _cpu()
    widest = [name for flag, name in INSTRUCTIONS.items() if flag in flags]
    count = cores()
    return f"{count} CPU core{'s' if count > 1 else ''} ({', '.join([model, *widest[:1]])})"


def cores() -> int:
    """Counts the CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def one_thread(function: Callable[P, R]) -> Callable[P, R]:
    """Decorates a function so that NumPy, SciPy and scikit-learn take one thread in it.

    The simple methods work on a few thousand rows, in which more threads save little. On a
    machine that is busy with something else, threads that wait for each other take up to
    twenty times as long as one alone.
    """

    @wraps(function)
    def limited(*arguments: P.args, **options: P.kwargs) -> R:
        # Only threads of libraries that are loaded already can be limited.
        import sklearn.cluster  # noqa: F401

        with threadpool_limits(limits=1):
            return function(*arguments, **options)

    return limited


def faster_precision() -> str:
    """Chooses the precision of matrix products in which the devices are faster.

    A CPU with bfloat16 instructions, a TPU and a GPU from NVIDIA's compute capability 8
    on multiply several times as fast in bfloat16.

    Returns:
      "bfloat16" or "float32".
    """
    device = jax.devices()[0]
    if device.platform == "cpu":
        return "bfloat16" if _cpu()[1] & BFLOAT16_FLAGS else "float32"
    if device.platform == "tpu":
        return "bfloat16"
    capability = str(getattr(device, "compute_capability", "0")).split(".")[0]
    return "bfloat16" if capability.isdecimal() and int(capability) >= 8 else "float32"


@cache
def _cpu() -> tuple[str, frozenset[str]]:
    """Reads the CPU's model and what it can do; other systems than Linux do not tell."""
    model = platform.processor() or platform.machine()
    if not CPUINFO.exists():
        return model, frozenset()
    lines = CPUINFO.read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    flags = {flag for line in lines if line[:5] == "flags" for flag in line.split()}
    return names[0] if names else model, frozenset(flags)
