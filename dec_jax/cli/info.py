"""Shows versions, devices, and where data sets are looked for."""

import argparse
import os

HELP = "show versions, devices and folders"
STOPPED_LINE = "Stopped."


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds no options."""


def run(options: argparse.Namespace) -> None:
    """Prints one line for each fact."""
    # Only now, because they load jax.
    from dec_jax.parallel.hardware import device_name, faster_precision
    from dec_jax.runs import provenance

    versions = provenance.versions()
    lines = {
        "versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
        "commit": provenance.commit() or "not in a git checkout",
        "devices": device_name(),
        "precision": f"{faster_precision()} is the faster one here",
        "data sets": os.environ.get("DEC_JAX_DATA") or "DEC_JAX_DATA is not set",
        "programs": os.environ.get("JAX_COMPILATION_CACHE_DIR", "not kept"),
    }
    for name, text in lines.items():
        print(f"{name:<10} {text}")
