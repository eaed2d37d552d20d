"""Compiled programs kept on disk, so that the next run of an experiment starts sooner."""

import hashlib
import os
import platform
import sys
from importlib import metadata
from pathlib import Path

from dec_jax.writing import whole_file

# JAX's own: who sets one of them has decided.
DECISIVE = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE")
# Before, programs for a processor with AVX-512 were refused or warned of at each load:
# github.com/jax-ml/jax/issues/38445.
OLDEST_JAXLIB = (0, 12)
SUM = "-sha256"  # ending of the file with the checksum of a program


def keep_programs() -> None:
    """Has JAX keep its compiled programs; call it before jax is imported.

    Only sets environment variables of JAX's. A folder that cannot be made or written to,
    and a jaxlib that is too old, leave all as it is.
    """
    if any(name in os.environ for name in DECISIVE):
        return
    jaxlib = metadata.version("jaxlib")
    if tuple(map(int, jaxlib.split(".")[:2])) < OLDEST_JAXLIB:
        return
    try:
        folder = user_cache() / "dec_jax" / "xla" / f"{jaxlib}-{processor()}"
        folder.mkdir(parents=True, exist_ok=True)
    # Without a home, Python raises a RuntimeError.
    except (OSError, RuntimeError):
        return
    if not os.access(folder, os.W_OK):
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    # By default, only what took a second to compile: here, hardly any.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def check_programs() -> None:
    """Has JAX compile again what is damaged, or another program, in its folder.

    JAX reads the files as they are: half of one, where the disk was full, and one that
    stands under the name of another. From now on each has a checksum of its name and
    content beside it. Files without one, which JAX wrote alone, are read as before.
    """
    try:
        # Not public: where JAX does this in another way, it does it alone.
        from jax._src.lru_cache import LRUCache

        read, write = LRUCache.get, LRUCache.put
    except (ImportError, AttributeError):
        return
    if read.__name__ == "get_checked":
        return

    def get_checked(self: LRUCache, key: str) -> bytes | None:
        content, kept = read(self, key), Path(self.path, f"{key}{SUM}")
        if (
            content is None
            or not kept.exists()
            or kept.read_text() == _sum(key, content)
        ):
            return content
        return None

    def put_checked(self: LRUCache, key: str, value: bytes) -> None:
        if self.eviction_enabled:
            return write(self, key, value)
        for path, written in (
            (Path(self.path, f"{key}{SUM}"), _sum(key, value).encode()),
            (Path(self.path, f"{key}-cache"), value),
        ):
            # Other processes may write the same file.
            with whole_file(path, f".{os.getpid()}.partial") as partial:
                partial.write_bytes(written)

    LRUCache.get = get_checked  # type: ignore[method-assign]
    LRUCache.put = put_checked  # type: ignore[method-assign]


def _sum(key: str, content: bytes) -> str:
    return hashlib.sha256(key.encode() + content).hexdigest()


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
