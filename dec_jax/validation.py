"""Checks of arguments before anything is compiled, and imports of optional packages.

jax is imported only where an array is checked, so that names and options can be read
without it.
"""

import difflib
import importlib
import itertools
import math
import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

MOST_NAMES = 10_000  # in a folder, among which one like a missing one is looked for
MOST_REASON = 200  # characters of what another library says

# Packages whose name on PyPI differs from the module that is imported.
_PYPI_NAMES = {
    "PIL": "Pillow",
    "pillow_heif": "pillow-heif",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "tensorflow_datasets": "tensorflow-datasets",
    "umap": "umap-learn",
}


def require(module: str, *, extra: str, task: str) -> Any:
    """Imports an optional package, or explains how to install it.

    Args:
      module: name of the module, such as "PIL" or "sklearn.datasets".
      extra: the extra of dec_jax that installs the package, such as "images".
      task: a phrase that names what needs the package, such as "reading images".

    Returns:
      The module.

    Raises:
      ImportError: the package is not installed, or cannot be imported.

    Example:
      >>> require("json", extra="data", task="reading settings").dumps([1])
      '[1]'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        top = module.partition(".")[0]
        package = _PYPI_NAMES.get(top, top)
        is_missing = isinstance(error, ModuleNotFoundError) and (
            (error.name or top).partition(".")[0] == top
        )
        reason = "" if is_missing else f", which fails to import ({one_line(error)})"
        raise ImportError(
            f'{task} needs {package}{reason}: pip install "dec_jax[{extra}]"'
        ) from error


def one_line(error: BaseException) -> str:
    """Formats an error as its type and its message, on one line."""
    return shown(" ".join(f"{type(error).__name__}: {error}".split()))


def reason(error: BaseException) -> str:
    r"""Formats what another library says of a file: on one line, not too long, escaped.

    Example:
      >>> reason(ValueError("the header\n is\x00bad"))
      'the header is\\x00bad'
    """
    return shortened(str(error))


def shortened(text: str) -> str:
    """Puts a text from outside on one line, escaped, of at most about 200 characters."""
    text = shown(" ".join(text.split()))
    return text if len(text) <= MOST_REASON else f"{text[:MOST_REASON]} ..."


def shown(text: str) -> str:
    r"""Escapes what a terminal, a table or a page must not see raw, as in names of files.

    Args:
      text: as Python decodes it; bytes that are no UTF-8 are surrogates in it.

    Returns:
      The text; with its control characters, the marks that turn the direction of writing,
      and surrogates written as escapes.

    Example:
      >>> print(shown("gr\udcfcn\x1b[31m.png"), shown("Größe 4.png"))
      gr\udcfcn\x1b[31m.png Größe 4.png
    """
    return "".join(
        ascii(character)[1:-1] if _is_unsafe(character) else character
        for character in text
    )


def _is_unsafe(character: str) -> bool:
    """Returns True for a character that could command a terminal or hide a text."""
    # Others of the kind Cf are meant, such as those in Persian words.
    turns = character in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    return turns or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")


def expanded(path: str | os.PathLike[str]) -> Path:
    """Expands the ~ that a path may begin with.

    Raises:
      ValueError: it names no home folder.

    Example:
      >>> str(expanded("data/new.csv")), expanded("~/new.csv") == Path.home() / "new.csv"
      ('data/new.csv', True)
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        text = os.fspath(path)
        raise ValueError(
            f"{text} begins with {text.partition('/')[0]}, which names no home folder here; "
            f"write ./{text} for a file or folder of that name."
        ) from None


def is_traced(x: object) -> bool:
    """Returns True inside `jit`, `vmap` or `grad`, where values are unknown."""
    import jax

    return isinstance(x, jax.core.Tracer)


def check_samples(x: Any, name: str = "x") -> None:
    """Checks that `x` is a numeric, finite, non-empty array of rows.

    Args:
      x: samples, a NumPy or JAX array of shape [n, d].
      name: name of the argument in messages.

    Raises:
      TypeError: `x` is not an array of numbers.
      ValueError: `x` is not of rank 2, is empty, or holds NaN or infinity; the
        message names the first such column.
    """
    import jax
    import jax.numpy as jnp

    if not hasattr(x, "dtype") or not hasattr(x, "shape"):
        raise TypeError(
            f"{name} must be an array, got {type(x).__name__}; use numpy.asarray({name})."
        )
    dtype = np.dtype(x.dtype)
    # jnp.issubdtype, as NumPy's own does not know that bfloat16 is a number.
    if dtype == np.bool_:
        raise TypeError(
            f"{name} must be numeric, got bool; use {name}.astype('float32')."
        )
    if not jnp.issubdtype(dtype, jnp.number):
        raise TypeError(
            f"{name} must be numeric, got dtype {dtype}; encode text and categories first."
        )
    if jnp.issubdtype(dtype, jnp.complexfloating):
        raise TypeError(f"{name} must be real, got dtype {dtype}.")
    if x.ndim != 2:
        raise ValueError(
            f"{name} must have shape [n, d], got shape {tuple(x.shape)}; "
            f"flatten each sample with {name}.reshape(len({name}), -1)."
        )
    if 0 in x.shape:
        raise ValueError(f"{name} is empty: its shape is {tuple(x.shape)}.")
    if is_traced(x):
        return
    if not jnp.issubdtype(dtype, jnp.inexact):
        if dtype.itemsize > 4 and np.abs(np.asarray(x, np.float64)).max() >= 2**31:
            raise ValueError(
                f"{name} must fit 32-bit integers, got values of 2**31 or more; use "
                f"{name}.astype('float32')."
            )
        return
    # Values that overflow float32 count as infinite: all is computed in float32.
    if isinstance(x, jax.Array):
        finite = np.asarray(jnp.isfinite(x.astype(jnp.float32)).all(axis=0))
    else:
        with np.errstate(over="ignore"):
            rows_finite = np.isfinite(x.astype(np.float32, copy=False))
        finite = np.asarray(rows_finite.all(axis=0))
    if not finite.all():
        columns = np.flatnonzero(~finite)
        with np.errstate(over="ignore"):
            column = np.asarray(x[:, columns[0]]).astype(np.float32)
        count = int((~np.isfinite(column)).sum())
        others = f" and {len(columns) - 1} more columns" if len(columns) > 1 else ""
        raise ValueError(
            f"{name} must be finite: column {columns[0]}{others} "
            f"holds NaN or infinity ({count} of {len(x)} rows in column {columns[0]})."
        )


# A squared distance is at most 4 times the largest squared norm; its terms are of that size.
LARGEST_SUM = float(np.finfo(np.float32).max) / 16


def check_magnitude(x: Any, name: str = "x") -> None:
    """Checks that sums of squared distances between the rows of `x` fit float32.

    Larger distances would be infinite, q, which is computed from them, NaN, and labels 0.

    Args:
      x: rows that `check_samples` accepts.
      name: what the message calls it.

    Raises:
      ValueError: the norm of a row is too large; the message names the first such row.
    """
    import jax.numpy as jnp

    if is_traced(x) or not jnp.issubdtype(x.dtype, jnp.inexact):
        return
    n, d = x.shape
    # Two reductions settle usual values; others take an array of the size of x.
    largest = max(float(x.max()), -float(x.min()))
    if n * d * largest**2 <= LARGEST_SUM:
        return
    norms = np.linalg.norm(np.asarray(x, np.float64), axis=1)
    limit = math.sqrt(LARGEST_SUM / n)
    if norms.max() > limit:
        row = int((norms > limit).argmax())
        raise ValueError(
            f"{name} must have rows of a norm of at most {limit:.1e}, so that sums of their "
            f"squared distances fit float32, got {norms[row]:.1e} in row {row}; scale "
            f"{name} down, such as by {name} / abs({name}).max()."
        )


def check_n_clusters(n_clusters: int, n_samples: int) -> None:
    """Raises ValueError unless 1 <= `n_clusters` <= `n_samples`."""
    check_positive_int("n_clusters", n_clusters)
    if n_clusters > n_samples:
        raise ValueError(
            f"Cannot place {n_clusters} centroids on {n_samples} samples: "
            "n_clusters must be <= the number of samples."
        )


def check_positive_int(name: str, value: int) -> None:
    """Raises unless `value` is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an integer, got {value!r}.")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}.")


def check_seed(seed: int, name: str = "seed") -> None:
    """Raises unless `seed` is an integer that all generators of random numbers take."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise TypeError(f"{name} must be an integer, got {seed!r}.")
    if not 0 <= seed < 2**32:
        raise ValueError(f"{name} must be from 0 to 2^32 - 1, got {seed}.")


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Raises ValueError, with the nearest name, unless `value` is one of `choices`."""
    choices = list(choices)
    if value not in choices:
        hint = did_you_mean(value, choices)
        raise ValueError(f"Unknown {name} {value!r}{hint} Known: {', '.join(choices)}.")


def did_you_mean(value: str, choices: Iterable[str]) -> str:
    """Ends a sentence on an unknown name with the one that it resembles, if any does.

    Example:
      >>> did_you_mean("colour", ["color", "size"]), did_you_mean("x", ["color", "size"])
      ("; did you mean 'color'?", '.')
    """
    near = nearest(value, choices)
    return "." if near is None else f"; did you mean {near!r}?"


def nearest(value: str, choices: Iterable[str]) -> str | None:
    """Finds the name that an unknown one resembles most, if any does."""
    near = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.6)
    return near[0] if near else None


def near_path(path: str | os.PathLike[str]) -> str:
    """Ends a sentence on a path that does not exist with one that it resembles, if any does.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     (Path(folder) / "customers.csv").touch()
      ...     near_path(f"{folder}/custmers.csv").endswith("customers.csv'?")
      True
    """
    given, found = Path(path), Path(Path(path).anchor)
    for part in given.parts[len(found.parts) :]:
        if part != ".." and not (found / part).exists():
            near = _nearest_name(part, _names_in(found))
            if near is None:
                return "."
            part = near
        found /= part
    # What is there, but of another kind, is no slip of typing.
    if found == given or not found.exists():
        return "."
    return f"; did you mean {shown(str(found))!r}?"


def _nearest_name(name: str, names: Iterable[str]) -> str | None:
    """Finds the name of a file or folder that resembles another, apart from its ending."""
    for near in difflib.get_close_matches(name, names, n=3, cutoff=0.6):
        a, b = (Path(one).stem.lower() for one in (name, near))
        if difflib.SequenceMatcher(None, a, b).ratio() >= 0.6:
            return near
    return None


def _names_in(folder: Path) -> list[str]:
    """Names the files and folders in a folder, the first thousands of them."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in itertools.islice(entries, MOST_NAMES)]
    except OSError:
        return []
