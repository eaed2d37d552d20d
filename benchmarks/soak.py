"""Does a run that is killed again and again end as one that never was?

    python -m benchmarks.soak                        # 500 kills, on the digits
    python -m benchmarks.soak mnist --kills 50 --option=--recipe=best

Runs `dec-jax cluster` to its end; then starts it anew, kills it at random moments by SIGKILL,
also amid a save, between two phases and while results are written, resumes it after each, and
lets it end after five kills. A checkpoint is written after every step, so that kills meet many.
labels.csv, model.safetensors and the scores must be equal bit for bit.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.quality import new_parser, save_rows
from dec_jax.runs.errors import RunFailed, check_least, exit_status

AT_MOST = 5  # kills of one run
# The command with a checkpoint after every step.
PROGRAM = """
import sys
from dec_jax.cli.main import main
from dec_jax.runs import run
run.SAVE_SECONDS = -1
sys.exit(main(["cluster", *sys.argv[1:]]))
"""


class Whole(NamedTuple):
    """The run that was never killed."""

    folder: Path
    begin: float  # seconds until it had a folder
    seconds: float  # until it ended


def started(errors: Path, *arguments: Any) -> subprocess.Popen[bytes]:
    """Starts the command, whose errors go into a file."""
    words = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    with errors.open("ab") as file:
        # Paths in the folder of the caller mean the same there.
        return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=file)


def run_whole(out: Path, options: list[str]) -> Whole:
    """Runs the command to its end."""
    errors, start = out.with_suffix(".txt"), time.perf_counter()
    process, begin = started(errors, *options, "--out", out), None
    while process.poll() is None:
        if begin is None and (out / "config.json").exists():
            begin = time.perf_counter() - start
        time.sleep(0.01)
    if process.returncode or begin is None:
        raise RunFailed(errors.read_text().strip().splitlines()[-1])
    return Whole(out, begin, time.perf_counter() - start)


def run_killed(
    rng: np.random.Generator, whole: Whole, folder: Path, options: list[str], kills: int
) -> int:
    """Runs, kills and resumes the command until it ends; returns the kills.

    Args:
      rng: the source of randomness.
      whole: the run that was never killed.
      folder: where the run and its errors are written.
      options: of the command.
      kills: the most there may be.
    """
    out, errors, done = folder / "out", folder / "out.txt", 0
    while True:
        resumed = (out / "config.json").exists()
        if not resumed:
            shutil.rmtree(out, ignore_errors=True)
        start = ["--resume", out] if resumed else [*options, "--out", out]
        process = started(errors, *start)
        if done < kills:
            # Rather early: a resumed run has less to do.
            longest = rng.uniform(whole.begin, whole.seconds)
            wait = rng.uniform(0.9 * whole.begin, longest)
            try:
                process.wait(wait)
            except subprocess.TimeoutExpired:
                process.kill()
                done += 1
        if process.wait() >= 0:
            break
    if process.returncode:
        raise RunFailed(errors.read_text().strip().splitlines()[-1])
    return done


def scores_of(folder: Path) -> Any:
    """Reads results.json, without the entries that differ between equal runs."""
    results = json.loads((folder / "results.json").read_text())
    for name in ("seconds", "commit", "sha256"):
        del results[name]
    stages = [{**stage, "seconds": 0} for stage in results["stages"]]
    return {**results, "stages": stages}


def differences(folder: Path, whole: Path) -> list[str]:
    """Names the files in which two runs differ."""
    # That of the autoencoder holds seconds.
    found = [
        name
        for name in ("labels.csv", "model.safetensors")
        if (folder / name).read_bytes() != (whole / name).read_bytes()
    ]
    return found + ["results.json"] * (scores_of(folder) != scores_of(whole))


def soak(
    folder: Path, options: list[str], kills: int, seed: int
) -> list[dict[str, Any]]:
    """Kills runs until there were enough kills; returns a row for each run."""
    # Only the second one finds its programs compiled, as those that are killed do.
    run_whole(folder / "first", options)
    rng, whole = np.random.default_rng(seed), run_whole(folder / "whole", options)
    rows: list[dict[str, Any]] = []
    while (left := kills - sum(row["kills"] for row in rows)) > 0:
        here = folder / str(len(rows))
        here.mkdir()
        done = run_killed(rng, whole, here, options, min(left, AT_MOST))
        told = (here / "out.txt").read_text()
        found = differences(here / "out", whole.folder)
        found += ["a traceback"] * ("Traceback" in told)
        rows.append({"kills": done, "different": found})
        total = sum(row["kills"] for row in rows)
        equal = f"different: {', '.join(found)}" if found else "equal"
        print(f"run {len(rows)}: {done} kills, {total} in all, {equal}", flush=True)
        shutil.rmtree(here)
    return rows


def run(options: argparse.Namespace) -> None:
    """Runs, kills, compares, prints and saves."""
    check_least(vars(options), kills=1, seed=0)
    words = [*(options.datasets[:1] or ["digits"]), *options.option]
    with tempfile.TemporaryDirectory(prefix="dec_jax-") as folder:
        rows = soak(Path(folder), words, options.kills, options.seed)
    kills = sum(row["kills"] for row in rows)
    lost = sum(bool(row["different"]) for row in rows)
    print(
        f"{kills} kills in {len(rows)} runs: {lost} runs differ from the unbroken one"
    )
    if options.save:
        save_rows(options.save, rows)
    if lost:
        raise RunFailed(f"{lost} of {len(rows)} runs were not resumed exactly.")


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    out = new_parser("soak", __doc__, save=True)
    out.add_argument("--kills", metavar="N", type=int, default=500)
    out.add_argument("--seed", metavar="S", type=int, default=0)
    out.add_argument(
        "--option",
        metavar="WORD",
        action="append",
        default=[],
        help="of dec-jax cluster, such as --option=--epochs=3; may be repeated",
    )
    options = out.parse_args(arguments)
    return exit_status(lambda: run(options), "Stopped; nothing was saved.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
