"""The versions and the commit that a number was measured with."""

import functools
import platform
import subprocess
from importlib import metadata
from pathlib import Path

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy", "scikit-learn")


def versions() -> dict[str, str]:
    """Finds the versions of Python, dec_jax and the packages that decide a result."""
    found = {"python": platform.python_version()}
    for package in ("dec_jax", *PACKAGES):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def commit() -> str | None:
    """Finds the commit of this checkout, with "-dirty" if files differ; None outside git."""
    root = Path(__file__).resolve().parents[2]
    # An installed copy may lie below some other project's repository.
    if not (root / ".git").exists():
        return None
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
