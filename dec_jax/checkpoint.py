"""Resumable training state: Orbax for the arrays, a manifest of our own beside them.

Each checkpoint is a folder `<phase>-<step>` with the arrays as Orbax writes them and a
`manifest.json`, written last, that holds the settings of the run, its progress and the
SHA-256 of every array: Orbax loads a flipped bit without a word.
"""

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

ARRAYS, MANIFEST = "arrays", "manifest.json"
_NAME = re.compile(r"(?P<phase>[a-z]+)-(?P<step>\d{9})")


class CheckpointError(ValueError):
    """A checkpoint cannot be used: other settings, other data, or damaged."""


class Checkpoint(NamedTuple):
    """What `restore` gives back."""

    phase: str  # "pretrain" or "train"
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

    Args:
      directory: folder of the checkpoints, made if it is not there.
      state: a pytree of arrays; typed random keys are welcome.
      phase: which phase the state belongs to, in lower-case letters.
      step: steps taken in that phase; a later checkpoint has a larger one.
      settings: what a resumed run must agree on, as JSON values.
      progress: what a resumed run wants to find again, as JSON values.
      keep: newest checkpoints to keep, at least 1; a second one outlives damage.

    Returns:
      The folder of the checkpoint.
    """
    from orbax.checkpoint import v1 as ocp

    directory = Path(directory).resolve()
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / f"{phase}-{step:09d}"
    if target.exists():
        shutil.rmtree(target)
    ocp.save(target / ARRAYS, state)
    order = max((entry["order"] for entry in _manifests(directory).values()), default=0)
    manifest = {
        "order": order + 1,
        "phase": phase,
        "step": step,
        "settings": settings,
        "progress": progress,
        "sha256": _digests(state),
    }
    # A folder without a manifest does not count, and a rename is atomic.
    partial = target / f"{MANIFEST}.partial"
    partial.write_text(json.dumps(manifest, indent=1))
    os.replace(partial, target / MANIFEST)
    for old in _newest_first(directory)[keep:]:
        shutil.rmtree(old)
    return target


def restore(
    directory: str | os.PathLike[str],
    templates: Mapping[str, Callable[[], Any]],
    *,
    settings: Mapping[str, Any],
) -> Checkpoint | None:
    """Reads the newest whole checkpoint of a run.

    A damaged one is passed over with a warning, for the one before it.

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
    directory = Path(directory).resolve()
    manifests = _manifests(directory)
    reasons = []
    for folder in _newest_first(directory):
        manifest = manifests[folder]
        difference = _first_difference(manifest["settings"], _as_json(settings))
        if difference:
            raise CheckpointError(f"{folder} was made by another run: {difference}")
        try:
            state = _load(folder, manifest, templates[manifest["phase"]])
        except CheckpointError as error:
            reasons.append(str(error))
            warnings.warn(f"{error} Going back to an earlier one.", stacklevel=2)
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

    try:
        state = ocp.load(folder / ARRAYS, template())
    # Orbax answers damage with errors of many types.
    except Exception as error:
        raise CheckpointError(
            f"{folder} is damaged or incomplete ({type(error).__name__})."
        ) from error
    found = _digests(state)
    wrong = [
        name for name, digest in manifest["sha256"].items() if found[name] != digest
    ]
    if wrong:
        raise CheckpointError(
            f"{folder} is damaged: the checksum of {wrong[0]} is wrong."
        )
    return state


def _manifests(directory: Path) -> dict[Path, dict[str, Any]]:
    """The manifests of all complete checkpoints."""
    found = {}
    for folder in sorted(directory.glob("*-*")):
        if _NAME.fullmatch(folder.name) and (folder / MANIFEST).is_file():
            try:
                found[folder] = json.loads((folder / MANIFEST).read_text())
            except ValueError:
                warnings.warn(f"{folder / MANIFEST} is damaged.", stacklevel=3)
    return found


def _newest_first(directory: Path) -> list[Path]:
    manifests = _manifests(directory)
    return sorted(manifests, key=lambda folder: -manifests[folder]["order"])


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


def _as_json(settings: Mapping[str, Any]) -> Any:
    """The settings as they come back from a file: tuples as lists, and so on."""
    return json.loads(json.dumps(settings))


def _first_difference(saved: Any, wanted: Any, path: str = "") -> str:
    """Names the first setting in which two runs differ; empty if there is none."""
    if isinstance(saved, dict) and isinstance(wanted, dict):
        for name in [*saved, *(name for name in wanted if name not in saved)]:
            inner = f"{path}.{name}" if path else name
            if difference := _first_difference(
                saved.get(name), wanted.get(name), inner
            ):
                return difference
        return ""
    if saved == wanted:
        return ""
    return f"{path} was {saved!r} there and is {wanted!r} here."
