"""Runs that came to their end: their results, and what can follow them."""

import shlex
from pathlib import Path
from typing import Any

import jax

from dec_jax.data.dataset import Dataset
from dec_jax.runs.errors import UsageError
from dec_jax.runs.json_files import read_checked
from dec_jax.runs.settings import Settings
from dec_jax.runs.streamed import is_streamed
from dec_jax.validation import near_path, shown

CHECKPOINTS = "checkpoints"
AUTOENCODER = "autoencoder.safetensors"  # after pretraining
RESULTS = "results.json"


def is_finished(run: Path, settings: Settings, dataset: Dataset) -> bool:
    """Tells in two lines of a run that has come to its end, and what can follow.

    Returns:
      True if nothing is left to do in its folder, where several processes may be at work
      only as long as something is.
    """
    if jax.process_count() > 1:
        return False
    numbers = range(settings.seed, settings.seed + settings.seeds)
    many = len(numbers) > 1
    folders = [run / f"seed-{seed}" if many else run for seed in numbers]
    done = [
        finished_results(folder, seed, dataset.sha256)
        for folder, seed in zip(folders, numbers, strict=True)
    ]
    files = [*(run / name for name in ["summary.json"] * many)]
    if not is_streamed(dataset):
        files += [folder / "report.html" for folder in folders]
    if not (all(done) and all(path.is_file() for path in files)):
        return False
    look = folders[0] / ("labels.csv" if is_streamed(dataset) else "report.html")
    print(
        shown(f"{run} is finished; its results lie there: look at {look}, for instance")
    )
    again = f"dec-jax report {shlex.quote(str(run))} writes its report anew"
    if any((folder / AUTOENCODER).is_file() for folder in folders):
        again += (
            ", and --pretrained in a new run takes its autoencoder, to cluster for longer "
            "or otherwise"
        )
    print(shown(f"to go on: {again}"))
    return True


def finished_results(
    folder: Path, seed: int, dataset_sha256: str
) -> dict[str, Any] | None:
    """Reads the results of a seed that came to its end; None if it has not.

    Raises:
      UsageError: they are damaged, or those of another run.
    """
    done = folder / RESULTS
    # The checkpoints go last: with them there, figures may be missing.
    if not done.exists() or (folder / CHECKPOINTS).exists():
        return None
    fix = "remove it, and resume the run, which then starts from its beginning"
    finished = read_checked(done, fix)
    its = (finished.get("seed"), finished.get("dataset_sha256"))
    if its != (seed, dataset_sha256):
        raise UsageError(f"{done} must be of this run, got that of another; {fix}.")
    return finished


def autoencoder_file(path: str | None, seed: int) -> Path | None:
    """Finds the file that --pretrained means: itself, or that of a seed in a run's folder.

    Raises:
      UsageError: there is none.
    """
    if path is None:
        return None
    given = Path(path)
    if not given.exists():
        raise UsageError(f"--pretrained {path}: there is no such run{near_path(path)}")
    tried = [given, given / f"seed-{seed}" / AUTOENCODER, given / AUTOENCODER]
    for file in tried:
        if file.is_file():
            return file
    raise UsageError(
        f"--pretrained {path}: no {AUTOENCODER} there for seed {seed}; give that file, "
        "or the folder of a run that wrote one."
    )
