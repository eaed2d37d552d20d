"""Does a damaged file of a run ever load wrong?

    python -m benchmarks.damage                  # 300 damages
    python -m benchmarks.damage --damages 20 --seed 1

Runs a tiny network with two seeds, to the end and, the first, stopped amid clustering. Then
it damages files of the first: flips bits, cuts them off, fills a block with zeros, removes
them, or puts another file of the run or that of the other seed in their place. They are read
as users read them, by `--resume`, `predict` and `--pretrained`. Each may be refused in one
line, a checkpoint may be passed over for the one before, and the damage may not count (a
space in a text); whatever else comes of it is wrong.
"""

import argparse
import io
import json
import shutil
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks.quality import new_parser, save_rows
from dec_jax.cli.main import main as dec_jax
from dec_jax.data.load import load_dataset
from dec_jax.model import ModelError
from dec_jax.networks.architecture_json import load_architecture
from dec_jax.runs import checkpoint
from dec_jax.runs.callbacks import Stopped
from dec_jax.runs.errors import RunFailed, UsageError, check_least, exit_status
from dec_jax.runs.fit import choose_recipe
from dec_jax.runs.folder import LABELS, MODEL
from dec_jax.runs.run import AUTOENCODER, CHECKPOINTS, RESULTS, SeedRun
from dec_jax.runs.settings import read_config
from dec_jax.runs.signals import Stop

OUTCOMES = ("refused", "fell back", "right", "wrong")
WAYS = ("flipped bits", "cut off", "zeros", "missing", "another's")
NETWORK = {
    "layers": [
        {"type": "Input", "output_shape": [64]},
        {"type": "Dense", "num_units": 8, "non_linearity": "rectify"},
        {"type": "Dense", "num_units": 3, "non_linearity": "linear"},
    ]
}


class Answer(NamedTuple):
    """Holds the exit status of a command and what it printed."""

    status: int
    out: str
    err: str

    @property
    def is_refusal(self) -> bool:
        """Tells whether the command refused in a single line."""
        one = self.err.startswith("error: ") and self.err.count("\n") == 1
        return self.status in (1, 2) and one


def command(*arguments: Any) -> Answer:
    """Runs `dec-jax` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
        status = dec_jax([str(argument) for argument in arguments])
    return Answer(status, out.getvalue(), err.getvalue())


class StopAmidClustering(Stop):
    """Asks to stop once an interval of clustering is done."""

    run: SeedRun

    def agree(self) -> None:
        """Looks at the record of the run."""
        self.asked = bool(self.run.record.history["loss"])


class Runs:
    """Two finished runs, their checkpoints, and what is read from them while they are whole.

    `folder` holds, for each seed, the folder of a finished run and that of a stopped one;
    `work` is the copy of those of seed 0 that is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.work = folder, folder / "work"
        self.network = folder / "network.json"
        self.network.write_text(json.dumps(NETWORK))
        self.seed_run = [self._make(seed) for seed in (0, 1)][0]
        self.renew()
        self.states = [self.restored()]
        shutil.rmtree(next((self.work / "stopped" / CHECKPOINTS).glob("train-*")))
        self.states.append(self.restored())
        with redirect_stdout(io.StringIO()):
            path = self.work / "run" / AUTOENCODER
            self.params = self.seed_run.load_pretrained(path)
        self.predicted = self.prediction()[1]
        self.results = _scores(self.work / "run")

    def _make(self, seed: int) -> SeedRun:
        """Runs a seed to its end, and once more until it has left its checkpoints."""
        out = self.folder / str(seed)
        options = ("--epochs", 2, "--max-intervals", 3, "--seed", seed)
        network = ("--recipe", "dec", "--architecture", self.network)
        answer = command("cluster", "digits", *network, *options, "--out", out / "run")
        if answer.status:
            raise RunFailed(answer.err)
        dataset, config = load_dataset("digits"), read_config(out / "run")
        recipe = choose_recipe(
            "dec",
            dataset,
            config["n_clusters"],
            network=load_architecture(self.network),
            epochs=2,
            max_intervals=3,
        )
        x, stop = jax.numpy.asarray(dataset.x), StopAmidClustering()
        k, stopped = config["n_clusters"], out / "stopped"
        stop.run = SeedRun(dataset, x, recipe, k, stopped, config, stop)
        with suppress(Stopped), redirect_stderr(io.StringIO()):
            stop.run.run()
        return stop.run

    def renew(self) -> None:
        """Copies the whole files to the place where they are damaged."""
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.folder / "0", self.work)

    def restored(self) -> checkpoint.Checkpoint | None:
        """Reads the checkpoints."""
        run = self.seed_run
        templates = {**run.pretraining_templates(), "train": run.phases.blank_start}
        folder = self.work / "stopped" / CHECKPOINTS
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return checkpoint.restore(folder, templates, settings=run.config)

    def prediction(self) -> tuple[Answer, bytes]:
        """Labels the data by the model."""
        out = self.folder / "predicted.csv"
        out.unlink(missing_ok=True)
        answer = command("predict", self.work / "run", "digits", "--out", out)
        return answer, out.read_bytes() if out.exists() else b""


def _scores(folder: Path) -> Any:
    """The stages of a run's results, without their seconds."""
    stages = json.loads((folder / RESULTS).read_text())["stages"]
    return [{**stage, "seconds": 0} for stage in stages]


def _same(tree: Any, other: Any) -> bool:
    """Returns True if two trees of arrays are equal bit for bit."""
    leaves = [
        [
            jax.random.key_data(leaf)
            if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            else leaf
            for leaf in jax.tree.leaves(it)
        ]
        for it in (tree, other)
    ]
    return all(map(np.array_equal, *leaves))


# Each of these reads a copy of the files, and names what came of it.


def read_checkpoints(runs: Runs) -> str:
    """Restores the newest checkpoint that is whole."""
    try:
        found = runs.restored()
    except checkpoint.CheckpointError as error:
        return "refused" if "\n" not in str(error) else "wrong"
    if found is None:
        # All manifests are gone: the run begins anew.
        return "fell back"
    for state, outcome in zip(runs.states, ("right", "fell back"), strict=True):
        assert state is not None
        its = (state.phase, state.step, state.progress)
        if its == (found.phase, found.step, found.progress):
            return outcome if _same(state.state, found.state) else "wrong"
    return "wrong"


def read_model(runs: Runs) -> str:
    """Predicts."""
    answer, labels = runs.prediction()
    if answer.is_refusal and not labels:
        return "refused"
    return "right" if answer.status == 0 and labels == runs.predicted else "wrong"


def read_autoencoder(runs: Runs) -> str:
    """Loads the parameters, as `--pretrained` does."""
    try:
        with redirect_stdout(io.StringIO()):
            params = runs.seed_run.load_pretrained(runs.work / "run" / AUTOENCODER)
    except (ModelError, UsageError, FileNotFoundError) as error:
        return "refused" if "\n" not in str(error) else "wrong"
    return "right" if _same(params, runs.params) else "wrong"


def read_run(runs: Runs) -> str:
    """Resumes the run that came to its end."""
    folder = runs.work / "run"
    answer = command("cluster", "--resume", folder)
    if answer.is_refusal:
        return "refused"
    same = (folder / LABELS).read_bytes() == (
        runs.folder / "0" / "run" / LABELS
    ).read_bytes()
    if answer.status or not same or _scores(folder) != runs.results:
        return "wrong"
    # Without its results, it was run once more.
    return "right" if "finished before" in answer.out else "fell back"


READERS: dict[str, Callable[[Runs], str]] = {
    CHECKPOINTS: read_checkpoints,
    MODEL: read_model,
    AUTOENCODER: read_autoencoder,
    RESULTS: read_run,
    "config.json": read_run,
}


def damage(rng: np.random.Generator, path: Path, others: list[Path]) -> str:
    """Damages a file in a random way; returns the way.

    Args:
      rng: the source of randomness.
      path: the file.
      others: files that may take its place.
    """
    way, content = str(rng.choice(WAYS)), bytearray(path.read_bytes())
    n = len(content)
    if way == "missing" or not n:
        path.unlink()
        return "missing"
    if way == "flipped bits":
        for place in rng.integers(0, 8 * n, rng.integers(1, 9)):
            content[place // 8] ^= 1 << place % 8
    elif way == "cut off":
        del content[rng.integers(0, n) :]
    elif way == "zeros":
        start = int(rng.integers(0, n))
        stop = min(n, start + int(rng.integers(1, 513)))
        content[start:stop] = bytes(stop - start)
    else:
        content = bytearray(others[rng.integers(len(others))].read_bytes())
    path.write_bytes(content)
    return way


def damage_kind(rng: np.random.Generator, runs: Runs, kind: str) -> str:
    """Damages one file of a kind, or up to three of the checkpoints; returns the ways."""
    part = "stopped" if kind == CHECKPOINTS else "run"
    base, foreign = runs.work / part, runs.folder / "1" / part
    if kind != CHECKPOINTS:
        names = (MODEL, AUTOENCODER, RESULTS, "config.json")
        others = [base / name for name in names if name != kind]
        # An autoencoder of another run is what --pretrained is for.
        others += [foreign / kind] * (kind != AUTOENCODER)
        return damage(rng, base / kind, others)
    files = sorted(path for path in (base / kind).rglob("*") if path.is_file())
    chosen = rng.choice(len(files), rng.integers(1, 4), replace=False)
    ways = []
    for path in (files[place] for place in chosen):
        same = foreign / path.relative_to(base)
        ways.append(damage(rng, path, [*filter(Path.is_file, [same, *files])]))
    return ", ".join(ways)


def measure(runs: Runs, damages: int, seed: int) -> list[dict[str, Any]]:
    """Damages and reads; returns a row for each kind of file."""
    rng = np.random.default_rng(seed)
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in READERS}
    for turn in range(damages):
        kind = list(READERS)[turn % len(READERS)]
        runs.renew()
        way = damage_kind(rng, runs, kind)
        try:
            outcome = READERS[kind](runs)
        # Whatever it is, it would have been a traceback.
        except Exception as error:
            outcome, way = "wrong", f"{way}: {type(error).__name__}: {error}"
        counts[kind][outcome] += 1
        if outcome == "wrong":
            print(f"damage {turn} of {kind}: {way}", flush=True)
    return [
        {"file": kind, **{name: found[name] for name in OUTCOMES}}
        for kind, found in counts.items()
    ]


def run(options: argparse.Namespace) -> None:
    """Measures, prints and saves."""
    check_least(vars(options), damages=1, seed=0)
    print(f"{'file':<26}" + "".join(f"{name:>11}" for name in OUTCOMES))
    with tempfile.TemporaryDirectory(prefix="dec_jax-") as folder:
        rows = measure(Runs(Path(folder)), options.damages, options.seed)
    total = {name: sum(row[name] for row in rows) for name in OUTCOMES}
    for row in [*rows, {"file": "all", **total}]:
        print(f"{row['file']:<26}" + "".join(f"{row[name]:>11}" for name in OUTCOMES))
    if options.save:
        save_rows(options.save, rows)


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    out = new_parser("damage", __doc__, data=False, save=True)
    out.add_argument("--damages", metavar="N", type=int, default=300)
    out.add_argument("--seed", metavar="S", type=int, default=0)
    options = out.parse_args(arguments)
    return exit_status(lambda: run(options), "Stopped; nothing was saved.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
