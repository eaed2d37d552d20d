"""Compiled programs kept on disk, so that the next run of an experiment starts sooner."""

import hashlib
import os
import platform
import sys
from importlib import metadata
from pathlib import Path

# JAX's own: who sets one of them has decided.
DECISIVE = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE")
# Before, programs for a processor with AVX-512 were refused or warned of at each load:
# github.com/jax-ml/jax/issues/38445.
OLDEST_JAXLIB = (0, 12)


def keep_programs() -> None:
    """Has JAX keep its compiled programs; call it before jax is imported.

    Only sets environment variables of JAX's. A folder that cannot be made, and a jaxlib
    that is too old, leave all as it is.
    """
    if any(name in os.environ for name in DECISIVE):
        return
    jaxlib = metadata.version("jaxlib")
    if tuple(map(int, jaxlib.split(".")[:2])) < OLDEST_JAXLIB:
        return
    folder = user_cache() / "dec_jax" / "xla" / f"{jaxlib}-{processor()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    # By default, only what took a second to compile: here, hardly any.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def user_cache() -> Path:
    """Finds the folder of this system for files that can be made again."""
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given)
    if sys.platform == "win32" and (given := os.environ.get("LOCALAPPDATA")):
        return Path(given)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path.home() / ".cache"


def processor() -> str:
    """A short name that two kinds of processor do not share.

    Programs hold instructions of the one they were compiled on, and a home may be mounted
    on several machines.
    """
    words = {platform.machine(), platform.processor()}
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        # What it can do, by the name on x86 and on ARM.
        words |= {line for line in lines if line.startswith(("flags", "Features"))}
        words |= {line for line in lines if line.startswith("model name")}
    return hashlib.sha256("\n".join(sorted(words)).encode()).hexdigest()[:12]
