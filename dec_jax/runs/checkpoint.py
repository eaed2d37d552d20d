"""Resumable training state: Orbax for the arrays, a manifest of our own next to them.

Each checkpoint is a folder `<phase>-<step>` with the arrays as Orbax writes them and a
`manifest.json`, written last, that holds the settings of the run, its progress and the
SHA-256 of every array and of itself: Orbax loads a flipped bit without a word.
"""

import errno
import hashlib
import json
import logging
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from dec_jax.parallel.processes import (
    from_first,
    is_first_process,
    text_from_first,
    to_save,
)
from dec_jax.runs.json_files import checksum, write_json
from dec_jax.validation import one_line

ARRAYS, MANIFEST = "arrays", "manifest.json"
MARGIN = 2**20  # bytes of a checkpoint beside its arrays, at most
_NAME = re.compile(r"(?P<phase>[a-z]+[0-9]*)-(?P<step>\d{9})")


# What the system says, at the end of a message of many parts.
REASON = "|".join(
    map(
        os.strerror,
        (
            errno.ENOSPC,
            errno.EDQUOT,
            errno.EFBIG,
            errno.EACCES,
            errno.EROFS,
            errno.ENOENT,
        ),
    )
)


# The entries of a manifest; older versions wrote no "files".
ENTRIES = {
    **{"order": int, "phase": str, "step": int, "settings": dict, "progress": dict},
    **{"sha256": dict, "files": dict},
}


class CheckpointError(ValueError):
    """A checkpoint cannot be used: other settings, other data, or damaged."""


class Checkpoint(NamedTuple):
    """A restored checkpoint."""

    phase: str  # such as "train", or "pretrain0"
    step: int  # steps taken in that phase
    state: Any  # the pytree that was saved
    progress: dict[str, Any]  # whatever the run wants to find again, as JSON


def save(
    directory: str | os.PathLike[str],
    state: Any,
    *,
    phase: str,
    step: int,
    settings: Mapping[str, Any],
    progress: Mapping[str, Any],
    keep: int = 2,
) -> Path:
    """Writes a checkpoint, whole or not at all, and drops the older ones.

    Of several processes all call it at the same step; what is saved is what each of
    them has (`replicate`), in the folder that the first one says and all can see.

    Args:
      directory: folder of the checkpoints, made if it is not there.
      state: a pytree of arrays; typed random keys are welcome.
      phase: which phase the state belongs to: lower-case letters, and a number after
        them if there are several of a kind.
      step: steps taken in that phase; a later checkpoint has a larger one.
      settings: what a resumed run must agree on, as JSON values.
      progress: what a resumed run wants to find again, as JSON values.
      keep: newest checkpoints to keep, at least 1; a second one outlives damage.

    Returns:
      The folder of the checkpoint.

    Raises:
      OSError: it cannot be written.
    """
    from orbax.checkpoint import v1 as ocp

    directory = Path(directory).resolve()
    target = directory / f"{phase}-{step:09d}"
    if is_first_process():
        directory.mkdir(parents=True, exist_ok=True)
        if target.exists():
            shutil.rmtree(target)
        _reserve(directory / ".reserved", state)
    # Orbax wants all processes there, with one path, when the first of them writes.
    target = Path(text_from_first(str(target)))
    try:
        with _silent():
            ocp.save(target / ARRAYS, to_save(state))
    # Orbax answers a full disk with errors of many types.
    except Exception as error:
        reason = next(filter(None, re.findall(REASON, str(error))), one_line(error))
        raise OSError(f"{target} cannot be written: {reason}") from error
    if not is_first_process():
        return target
    earlier = _manifests(directory)[0].values()
    manifest: dict[str, Any] = {
        "order": 1 + max((entry["order"] for entry in earlier), default=0),
        "phase": phase,
        "step": step,
        "settings": settings,
        "progress": progress,
        "sha256": _digests(state),
        "files": _file_digests(target / ARRAYS),
    }
    manifest["manifest_sha256"] = checksum(manifest)
    # A folder without a manifest does not count.
    write_json(target / MANIFEST, manifest)
    for old in list(_manifests(directory)[0])[keep:]:
        shutil.rmtree(old)
    return target


def _reserve(path: Path, state: Any) -> None:
    """Raises OSError where the disk has no room: Orbax would end in many tracebacks."""
    # Windows and macOS cannot reserve.
    if hasattr(os, "posix_fallocate"):
        size = MARGIN + sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        try:
            with path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            # Some disks cannot reserve.
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise OSError(error.errno, error.strerror, str(path.parent)) from error
        finally:
            path.unlink(missing_ok=True)


def restore(
    directory: str | os.PathLike[str],
    templates: Mapping[str, Callable[[], Any]],
    *,
    settings: Mapping[str, Any],
) -> Checkpoint | None:
    """Reads the newest whole checkpoint of a run.

    A damaged one is passed over with a warning, for the one before it. Of several
    processes the first reads and hands it to the others.

    Args:
      directory: folder of the checkpoints.
      templates: by phase, a function that gives a state of the same structure,
        shapes and types as the one that was saved (its values do not matter).
      settings: the settings of the run that wants to go on.

    Returns:
      The checkpoint, or None where there is none.

    Raises:
      CheckpointError: made by a run with other settings or other data (the message
        names the first that differs), or none of the checkpoints is whole.
    """
    found, refusal = None, ""
    if is_first_process():
        try:
            found = _newest(Path(directory).resolve(), templates, settings)
        except CheckpointError as error:
            refusal = str(error)
        text_from_first("null")
    else:
        _follow(templates)
    header = [refusal, *((found.phase, found.step, found.progress) if found else ())]
    refusal, *entry = json.loads(text_from_first(json.dumps(header)))
    if refusal:
        raise CheckpointError(refusal)
    if not entry:
        return None
    phase, step, progress = entry
    state = found.state if found else templates[phase]()
    return Checkpoint(phase, step, from_first(state), progress)


def _newest(
    directory: Path,
    templates: Mapping[str, Callable[[], Any]],
    settings: Mapping[str, Any],
) -> Checkpoint | None:
    """`restore` in one process."""
    manifests, reasons = _manifests(directory)
    for reason in reasons:
        warnings.warn(reason, stacklevel=3)
    for folder, manifest in manifests.items():
        difference = first_difference(manifest["settings"], settings)
        if difference:
            raise CheckpointError(f"{folder} was made by another run: {difference}")
        if (phase := manifest["phase"]) not in templates:
            raise CheckpointError(
                f"{folder} was made by another run: its phase {phase!r} is none of "
                f"{', '.join(templates)}."
            )
        try:
            state = _load(folder, manifest, templates[manifest["phase"]])
        except CheckpointError as error:
            reasons.append(str(error))
            warnings.warn(f"{error} Going back to an earlier one.", stacklevel=3)
            continue
        return Checkpoint(
            manifest["phase"], manifest["step"], state, manifest["progress"]
        )
    if reasons:
        raise CheckpointError(f"No whole checkpoint in {directory}: {reasons[0]}")
    return None


def _load(folder: Path, manifest: dict[str, Any], template: Callable[[], Any]) -> Any:
    """The arrays of one checkpoint, checked against the manifest's fingerprints."""
    from orbax.checkpoint import v1 as ocp

    # Orbax answers damaged files with many tracebacks of its threads.
    found = _file_digests(folder / ARRAYS)
    # Older versions wrote none.
    whole = manifest.get("files", found)
    for name in sorted({*found, *whole}):
        if found.get(name) != whole.get(name):
            raise CheckpointError(
                f"{folder} is damaged or incomplete: {ARRAYS}/{name} is not as it was "
                "written."
            )
    text_from_first(json.dumps([str(folder / ARRAYS), manifest["phase"]]))
    try:
        with _alone(), _silent():
            state = ocp.load(folder / ARRAYS, template())
    # Orbax answers damage with errors of many types.
    except Exception as error:
        raise CheckpointError(
            f"{folder} is damaged or incomplete ({type(error).__name__})."
        ) from error
    found = _digests(state)
    wrong = [
        name for name, digest in manifest["sha256"].items() if found.get(name) != digest
    ]
    if wrong:
        raise CheckpointError(
            f"{folder} is damaged: the checksum of {wrong[0]} is wrong."
        )
    return state


def _follow(templates: Mapping[str, Callable[[], Any]]) -> None:
    """Loads what the first process loads, as Orbax counts the steps of all of them."""
    from orbax.checkpoint import v1 as ocp

    while asked := json.loads(text_from_first("null")):
        arrays, phase = asked
        # What is wrong with it, the first one says.
        with suppress(Exception), _alone():
            ocp.load(arrays, templates[phase]())


@contextmanager
def _silent() -> Iterator[None]:
    """Orbax without the tracebacks of its threads, whose errors it raises as well."""
    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _alone() -> AbstractContextManager:
    """Orbax without the other processes, which it would wait for."""
    from orbax.checkpoint import v1 as ocp

    if jax.process_count() == 1:
        return nullcontext()
    context = ocp.Context()
    context.multiprocessing.primary_host = jax.process_index()
    context.multiprocessing.active_processes = {jax.process_index()}
    return context


def _manifests(directory: Path) -> tuple[dict[Path, dict[str, Any]], list[str]]:
    """The manifests of all complete checkpoints, newest first, and what is damaged."""
    found, damaged = {}, []
    for folder in sorted(directory.glob("*-*")):
        if _NAME.fullmatch(folder.name) and (folder / MANIFEST).is_file():
            try:
                manifest = json.loads((folder / MANIFEST).read_text())
                whole = manifest.pop("manifest_sha256") == checksum(manifest)
                entries = {"files": {}, **manifest}
                whole &= all(
                    isinstance(entries[name], ENTRIES[name]) for name in ENTRIES
                )
            except (ValueError, KeyError, TypeError, AttributeError):
                whole = False
            if whole:
                found[folder] = manifest
            else:
                damaged.append(f"{folder / MANIFEST} is damaged.")
    newest_first = sorted(found, key=lambda folder: -found[folder]["order"])
    return {folder: found[folder] for folder in newest_first}, damaged


def _digests(state: Any) -> dict[str, str]:
    """SHA-256 of each leaf, type and shape included, by its path in the tree."""
    digests = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        array = np.asarray(leaf)
        digest = hashlib.sha256(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
        digests[jax.tree_util.keystr(path)] = digest.hexdigest()
    return digests


def _file_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file in a folder, by its path in it."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def first_difference(saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Names the first setting in which two runs differ; empty if there is none.

    Args:
      saved: settings as they were read from a file.
      wanted: settings of the run that wants to go on; tuples equal lists.

    Returns:
      One sentence with the setting and both values.
    """
    return _difference(saved, json.loads(json.dumps(wanted)))


def _difference(saved: Any, wanted: Any, path: str = "") -> str:
    if isinstance(saved, dict) and isinstance(wanted, dict):
        for name in [*saved, *(name for name in wanted if name not in saved)]:
            inner = f"{path}.{name}" if path else name
            if difference := _difference(saved.get(name), wanted.get(name), inner):
                return difference
        return ""
    if saved == wanted:
        return ""
    return f"{path} was {saved!r} there and is {wanted!r} here."
