"""Does a run that is killed again and again end as one that never was?

    python -m benchmarks.soak                        # 500 kills, on the digits
    python -m benchmarks.soak mnist --kills 50 --option=--recipe=best

Runs `dec-jax cluster` to its end; then starts it anew, kills it at random moments by SIGKILL,
resumes it after each, and lets it end after ten kills. Two of three kills wait for the next
write, so that many fall inside a save and inside the writing of results. A checkpoint is
written after every step. labels.csv, model.safetensors and the scores must be equal bit for
bit. Each process is forked from one that has imported the libraries, which saves half of the
time, and moments are counted in its CPU seconds, so that other work on the machine does not
shift them. It needs Linux.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.quality import new_parser, save_rows
from dec_jax.runs.checkpoint import MANIFEST
from dec_jax.runs.compile_cache import keep_programs
from dec_jax.runs.errors import RunFailed, check_least, exit_status
from dec_jax.runs.folder import MODEL
from dec_jax.runs.run import AUTOENCODER, CHECKPOINTS, RESULTS

AT_MOST = 10  # kills of one run
AIMED = 2 / 3  # share of kills that wait for the next write
PRELOADED = [
    *("dec_jax.cli.main", "dec_jax.runs.seeds", "dec_jax.report.write"),
    *("orbax.checkpoint", "sklearn.cluster", "matplotlib.pyplot", "bokeh.plotting"),
]
PLACES = (
    "before it wrote anything",
    "in pretraining",
    "inside a save",
    "between pretraining and clustering",
    "in clustering, or between it and results",
    "while results were written",
    "while figures were drawn",
    "while the report was written",
)
(NOTHING, PRETRAINING, SAVE, BETWEEN, CLUSTERING, WRITING, FIGURES, REPORT) = PLACES


class Whole(NamedTuple):
    """The run that was never killed."""

    folder: Path
    begin: float  # CPU seconds until it had a folder
    seconds: float  # until it ended


def command(errors: Path, arguments: list[str]) -> None:
    """Runs `dec-jax cluster` in this process, with a checkpoint after every step."""
    with errors.open("ab") as file, open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 1)
        os.dup2(file.fileno(), 2)
    from dec_jax.cli.main import main as dec_jax
    from dec_jax.runs import run as seed_run

    seed_run.SAVE_SECONDS = -1
    sys.exit(dec_jax(["cluster", *arguments]))


def started(errors: Path, *arguments: Any) -> ForkServerProcess:
    """Starts the command, whose errors go into a file."""
    words = list(map(str, arguments))
    process = multiprocessing.get_context("forkserver").Process(
        target=command, args=(errors, words), daemon=True
    )
    process.start()
    return process


def cpu_seconds(process: ForkServerProcess) -> float:
    """Reads the CPU seconds of a process; those of one that has ended are infinite."""
    try:
        text = Path(f"/proc/{process.pid}/stat").read_text()
    except OSError:
        return float("inf")
    ticks = map(int, text.rpartition(")")[2].split()[11:13])
    return sum(ticks) / os.sysconf("SC_CLK_TCK")


def last_line(errors: Path) -> str:
    """The last line of what a process told."""
    return (errors.read_text().strip() or "it told nothing").splitlines()[-1]


def run_whole(out: Path, options: list[str]) -> Whole:
    """Runs the command to its end."""
    errors, begin, seconds = out.with_suffix(".txt"), 0.0, 0.0
    process = started(errors, *options, "--out", out)
    while process.exitcode is None:
        now = cpu_seconds(process)
        seconds = seconds if now == float("inf") else now
        if not begin and (out / "config.json").exists():
            begin = seconds
        time.sleep(0.01)
    if process.exitcode:
        raise RunFailed(last_line(errors))
    return Whole(out, begin, seconds)


def place_of(out: Path, since: int) -> str:
    """Names what a run was doing when it ended, by the files that it wrote.

    Args:
      out: the folder of the run.
      since: nanoseconds of the clock when its last process started.
    """

    def is_fresh(path: Path) -> bool:
        try:
            return path.stat().st_mtime_ns >= since
        except OSError:
            return False

    saves = sorted(filter(is_fresh, (out / CHECKPOINTS).glob("*")))
    whole = [path for path in saves if is_fresh(path / MANIFEST)]
    if is_fresh(out / RESULTS):
        return FIGURES if (out / CHECKPOINTS).exists() else REPORT
    if any(map(is_fresh, [out / MODEL, *out.glob(f"{MODEL}*.partial")])):
        return WRITING
    if len(saves) > len(whole):
        return SAVE
    if any(path.name.startswith("train") for path in whole):
        return CLUSTERING
    if is_fresh(out / AUTOENCODER):
        return BETWEEN
    return PRETRAINING if whole else NOTHING


def kill(
    rng: np.random.Generator, whole: Whole, process: ForkServerProcess, out: Path
) -> str | None:
    """Kills a process at a random moment; returns the place, None if it ended before."""
    since = time.time_ns() - 10**7
    # Rather early: a resumed run has less to do.
    longest = rng.uniform(whole.begin, whole.seconds)
    aimed = rng.random() < AIMED
    moment = rng.uniform(0.5 * whole.begin if aimed else whole.begin, longest)
    while process.exitcode is None:
        if cpu_seconds(process) >= moment:
            if not aimed or any(out.glob("*.partial")):
                break
            if place_of(out, since) == SAVE:
                break
            time.sleep(0.001)
        else:
            time.sleep(0.01)
    process.kill()
    process.join()
    return place_of(out, since) if process.exitcode == -9 else None


def run_killed(
    rng: np.random.Generator, whole: Whole, folder: Path, options: list[str], kills: int
) -> list[str]:
    """Runs, kills and resumes the command until it ends; returns where the kills fell.

    Args:
      rng: the source of randomness.
      whole: the run that was never killed.
      folder: where the run and its errors are written.
      options: of the command.
      kills: the most there may be.
    """
    out, errors = folder / "out", folder / "out.txt"
    places: list[str] = []
    while True:
        resumed = (out / "config.json").exists()
        if not resumed:
            shutil.rmtree(out, ignore_errors=True)
        start = ["--resume", out] if resumed else [*options, "--out", out]
        process = started(errors, *start)
        if len(places) < kills:
            place = kill(rng, whole, process, out)
            if place is not None:
                places.append(place)
                continue
        process.join()
        break
    if process.exitcode:
        raise RunFailed(last_line(errors))
    return places


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
) -> Iterator[tuple[list[str], list[str]]]:
    """Kills runs until there were enough kills.

    Yields:
      Where the kills of a run fell, and in what it differs from the unbroken one.
    """
    keep_programs()
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)
    # Only the second one finds its programs compiled, as those that are killed do.
    run_whole(folder / "first", options)
    rng, whole = np.random.default_rng(seed), run_whole(folder / "whole", options)
    number, total = 0, 0
    while total < kills:
        here = folder / str(number)
        here.mkdir()
        places = run_killed(rng, whole, here, options, min(kills - total, AT_MOST))
        different = differences(here / "out", whole.folder)
        different += ["a traceback"] * ("Traceback" in (here / "out.txt").read_text())
        number, total = number + 1, total + len(places)
        equal = f"different: {', '.join(different)}" if different else "equal"
        print(f"run {number}: {len(places)} kills, {total} in all, {equal}", flush=True)
        shutil.rmtree(here)
        yield places, different


def run(options: argparse.Namespace) -> None:
    """Runs, kills, compares, prints and saves."""
    check_least(vars(options), kills=1, seed=0)
    words = [*(options.datasets[:1] or ["digits"]), *options.option]
    counts, runs, lost = Counter[str](), 0, 0
    with tempfile.TemporaryDirectory(prefix="dec_jax-") as folder:
        for places, different in soak(Path(folder), words, options.kills, options.seed):
            counts.update(places)
            runs, lost = runs + 1, lost + bool(different)
            rows = [{"killed": place, "kills": counts[place]} for place in PLACES]
            total = {"kills": counts.total(), "runs": runs, "runs that differ": lost}
            # After each, so that what was done is there if the soak is stopped.
            if options.save:
                save_rows(options.save, [*rows, {"killed": "all", **total}])
    for place in PLACES:
        print(f"{counts[place]:>5} {place}")
    print(
        f"{counts.total()} kills in {runs} runs: {lost} runs differ from the unbroken one"
    )
    if lost:
        raise RunFailed(f"{lost} of {runs} runs were not resumed exactly.")


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
    return exit_status(
        lambda: run(options), "Stopped; --save kept the runs that ended."
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
