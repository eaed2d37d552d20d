import os
import re
import shutil
import signal
from types import SimpleNamespace

import numpy as np
import pytest
from programs import assert_refused, cluster, interrupt_at, read_json

from dec_jax.data.load import load_dataset
from dec_jax.networks.architecture import (
    Architecture,
    Conv2D,
    Dense,
    dense_architecture,
)
from dec_jax.recipes import dense
from dec_jax.runs import run as seed_run
from dec_jax.training import many_seeds

PROGRAM = "dec-jax cluster"
SEEDS = (3, 4)
# Of a seed, those that hold no times.
SAME = ("labels.csv", "history.csv", "model.safetensors")


@pytest.fixture(scope="module")
def command(on_blobs):
    """Two seeds of a small network."""
    return (*on_blobs, "--seeds", len(SEEDS), "--seed", SEEDS[0])


@pytest.fixture(scope="module")
def apart(command, tmp_path_factory):
    """The run of one seed after the other."""
    folder = tmp_path_factory.mktemp("apart") / "out"
    return SimpleNamespace(folder=folder, **vars(cluster(*command, "--out", folder)))


@pytest.fixture(scope="module")
def at_once(command, tmp_path_factory):
    """The run of both seeds in one program."""
    folder = tmp_path_factory.mktemp("at_once") / "out"
    run = cluster(*command, "--vectorized", "--out", folder)
    return SimpleNamespace(folder=folder, **vars(run))


def results_of(folder, seed):
    return read_json(folder / f"seed-{seed}/results.json")


def assert_same_seeds(folder, expected):
    for seed in SEEDS:
        for name in SAME:
            found = (folder / f"seed-{seed}" / name).read_bytes()
            assert found == (expected / f"seed-{seed}" / name).read_bytes(), name


# What it leaves behind.


@pytest.mark.slow
def test_seeds_at_once_end_as_they_do_one_after_the_other(apart, at_once):
    assert (apart.status, at_once.status) == (0, 0), at_once.err
    assert_same_seeds(at_once.folder, apart.folder)
    for seed in SEEDS:
        before, after = (results_of(run.folder, seed) for run in (apart, at_once))
        for name in ("n_iter", "stop_reason", "pretraining_loss", "health", "figures"):
            assert after[name] == before[name]
        for old, new in zip(before["stages"], after["stages"], strict=True):
            assert {**new, "seconds": 0} == {**old, "seconds": 0}


@pytest.mark.slow
def test_learners_at_once_end_as_they_do_one_after_the_other(
    no_figures, tmp_path, monkeypatch
):
    # Of the layers of both networks, one of each kind: what takes time is compiling them.
    autoencoder = dense_architecture(64, hidden=(16,), embedding_dim=4)
    learner = Architecture((8, 8, 1), (Conv2D(2, (3, 3)), Dense(10, "linear")))
    monkeypatch.setattr(dense, "FEWEST_TO_LEARN", 100)
    monkeypatch.setattr(dense, "network_of", lambda *_: autoencoder)
    monkeypatch.setattr(dense, "learner_network", lambda *_: learner)
    digits = load_dataset("digits")
    images = digits.x[:300].reshape(-1, 8, 8).astype(np.float32) / 16
    np.savez(tmp_path / "some.npz", x=images, y=digits.labels[:300])
    learn = (tmp_path / "some.npz", "--recipe", "best", "--epochs", 2)
    learn += ("--max-intervals", 5, "--batch-size", 100, "--seeds", 2, "--seed", 3)
    for name, options in (("apart", ()), ("at_once", ("--vectorized",))):
        run = cluster(*learn, *options, "--out", tmp_path / name)
        assert run.status == 0, run.err
    assert_same_seeds(tmp_path / "at_once", tmp_path / "apart")


def test_seeds_at_once_leave_the_same_files(apart, at_once):
    found, expected = (
        {path.relative_to(run.folder) for path in run.folder.rglob("*")}
        for run in (at_once, apart)
    )
    assert found == expected


def test_summary_is_that_of_one_seed_after_the_other(apart, at_once):
    found, expected = (
        read_json(run.folder / "summary.json") for run in (at_once, apart)
    )
    assert found.keys() == expected.keys()
    for name in ("seeds", "acc", "nmi", "ari", "stages"):
        assert found[name] == expected[name]


def test_results_share_the_seconds_and_say_so(apart, at_once):
    first, second = (results_of(at_once.folder, seed) for seed in SEEDS)
    assert first["vectorized"] == second["vectorized"] == 2
    for phase in ("pretraining", "clustering"):
        assert first["seconds"][phase] == second["seconds"][phase] > 0
    assert list(first["seconds"]) == list(results_of(apart.folder, 3)["seconds"])
    assert "vectorized" not in results_of(apart.folder, 3)


def test_config_of_the_run_holds_the_setting_and_that_of_a_seed_is_its_own(at_once):
    command, own = (
        read_json(folder / "config.json")["command"]
        for folder in (at_once.folder, at_once.folder / "seed-4")
    )
    assert (command["vectorized"], command["seeds"]) == (True, 2)
    assert (own["vectorized"], own["seeds"], own["seed"]) == (False, 1, 4)


def test_bars_are_those_of_all_seeds(at_once):
    assert "\nseeds 3, 4 at once\n" in at_once.out
    for title in ("pretraining", "clustering"):
        assert f"\r{title:<17}   0% |" in at_once.err
    for title in ("k-means on the data", "k-means on z"):
        assert at_once.err.count(f"\r{title:<17}   0% |") == len(SEEDS)
    assert re.search(r", mean loss \d", at_once.err)
    for seed in SEEDS:
        assert at_once.out.count(f"\nseed {seed}\n") == 1


# Stop and resume.


@pytest.mark.parametrize(
    ("title", "count"),
    [
        pytest.param("pretraining", 1, marks=pytest.mark.slow),
        ("k-means on z", 10),
        ("clustering", 1),
    ],
)
def test_run_resumes_exactly(
    no_figures, command, at_once, tmp_path, monkeypatch, title, count
):
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        interrupt_at(patched, title, count)
        stopped = cluster(*command, "--vectorized", "--out", out)
    assert stopped.status == 130
    assert stopped.err.endswith(
        f"Stopped. Resume it with:\n  {PROGRAM} --resume {out}\n"
    )
    assert not list(out.glob("*/results.json"))

    resumed = cluster("--resume", out)
    assert resumed.status == 0, resumed.err
    assert "resumed after " in resumed.out
    assert_same_seeds(out, at_once.folder)
    assert not (out / "checkpoints").exists()


@pytest.mark.slow
def test_resume_keeps_the_seed_that_was_finished(
    no_figures, command, at_once, tmp_path, monkeypatch
):
    out, finish = tmp_path / "out", seed_run.SeedRun.finish

    def finish_and_signal(run, *arguments):
        results = finish(run, *arguments)
        os.kill(os.getpid(), signal.SIGINT)
        return results

    with monkeypatch.context() as patched:
        patched.setattr(seed_run.SeedRun, "finish", finish_and_signal)
        stopped = cluster(*command, "--vectorized", "--out", out)
    assert stopped.status == 130
    first = (out / "seed-3/results.json").read_bytes()
    resumed = cluster("--resume", out)
    assert resumed.status == 0, resumed.err
    assert f"seed 3: finished before, in {out / 'seed-3'}\n" in resumed.out
    assert "\nseeds 4 at once\n" in resumed.out
    assert (out / "seed-3/results.json").read_bytes() == first
    assert results_of(out, 4)["vectorized"] == 1
    assert_same_seeds(out, at_once.folder)
    assert read_json(out / "summary.json")["seeds"] == [3, 4]


def test_resume_of_a_finished_run_says_so(at_once, tmp_path):
    shutil.copytree(at_once.folder, tmp_path / "out")
    run = cluster("--resume", tmp_path / "out")
    assert run.status == 0
    assert run.out.count("finished before, in ") == len(SEEDS)
    alone = cluster("--resume", tmp_path / "out/seed-3")
    assert alone.status == 0
    assert alone.out.count("finished before, in ") == 1
    # With the reports, that no run in tests writes, nothing is left to do.
    for seed in SEEDS:
        (tmp_path / f"out/seed-{seed}/report.html").touch()
    whole = cluster("--resume", tmp_path / "out")
    assert whole.out.startswith(
        f"{tmp_path / 'out'} is finished; its results lie there"
    )
    assert whole.out.count("\n") == 2


@pytest.mark.slow
def test_resume_runs_a_seed_again_whose_results_are_gone(no_figures, at_once, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(at_once.folder, out)
    (out / "seed-4/results.json").unlink()
    run = cluster("--resume", out)
    assert run.status == 0, run.err
    assert_same_seeds(out, at_once.folder)


# Where something is wrong with one of them.


def test_a_seed_that_diverges_leaves_the_other_alone(
    no_figures, command, at_once, tmp_path, monkeypatch
):
    out, init, keys = tmp_path / "out", many_seeds.init_pretraining, []

    def init_with_bad_luck(key, **options):
        state = init(key, **options)
        keys.append(key)
        if len(keys) == len(SEEDS):
            layer = state.params["encoder"]["dense_0"]
            layer["bias"] = layer["bias"] + np.float32(1e38)
        return state

    with monkeypatch.context() as patched:
        patched.setattr(many_seeds, "init_pretraining", init_with_bad_luck)
        run = cluster(*command, "--vectorized", "--out", out)
    assert run.status == 1
    last = run.err.splitlines()[-1]
    assert last.startswith("error: seed 4: The pretraining loss is ")
    assert "after epoch 1; lower the learning rate" in last
    labels = (out / "seed-3/labels.csv").read_bytes()
    assert labels == (at_once.folder / "seed-3/labels.csv").read_bytes()
    assert not (out / "seed-4/results.json").exists()
    # What is known is not done again.
    again = cluster("--resume", out)
    assert (again.status, again.err.splitlines()[-1]) == (1, last)


def test_pretrained_takes_the_autoencoders_of_an_earlier_run(
    no_figures, command, at_once, tmp_path
):
    out = tmp_path / "out"
    run = cluster(
        *(*command, "--recipe", "dec", "--pretrained", at_once.folder),
        *("--vectorized", "--out", out),
    )
    assert run.status == 0, run.err
    for seed in SEEDS:
        file = at_once.folder / f"seed-{seed}" / "autoencoder.safetensors"
        assert results_of(out, seed)["pretrained"] == str(file)
        labels = (out / f"seed-{seed}/labels.csv").read_bytes()
        assert labels == (at_once.folder / f"seed-{seed}/labels.csv").read_bytes()


# Mistakes: one line, status 2, no folder.


MISTAKES = {
    "seeds": (["--seeds", 1], "--vectorized needs --seeds of 2 or more, got 1."),
    "devices": (
        ["--devices", 2],
        "--vectorized needs one device, got 2; give --devices",
    ),
    "layers": (["--recipe", "dec-paper"], "recipe dec-paper pretrains layer by layer"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_run_rejects_what_cannot_run_at_once(command, tmp_path, mistake):
    options, message = MISTAKES[mistake]
    out = tmp_path / "out"
    run = cluster(*command, "--vectorized", "--out", out, *options)
    assert_refused(run, message, out)
