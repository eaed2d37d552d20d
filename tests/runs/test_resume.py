import shutil
import signal

import numpy as np
import pytest
from programs import (
    SHORT,
    assert_refused,
    blob_table,
    cluster,
    interrupt_at,
    program,
    read_csv,
    read_json,
    write_network,
)

from dec_jax.cli.main import main
from dec_jax.runs.run import SeedRun

PROGRAM = "dec-jax cluster"
BEFORE_ALL_RUNS = signal.getsignal(signal.SIGINT)


@pytest.mark.parametrize(
    ("title", "count"),
    [("pretraining", 1), ("pretraining", 2), ("clustering", 1), ("clustering", 2)],
)
def test_run_resumes_exactly(
    digits, on_digits, no_figures, tmp_path, monkeypatch, title, count
):
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        interrupt_at(patched, title, count)
        stopped = cluster("digits", "--out", out, *on_digits)
    assert stopped.status == 130
    assert stopped.err.endswith(
        f"Stopped. Resume it with:\n  {PROGRAM} --resume {out}\n"
    )
    assert (out / "checkpoints").is_dir()
    assert not (out / "results.json").exists()

    resumed = cluster("--resume", out)
    assert resumed.status == 0
    assert "resumed after " in resumed.out
    for name in ("labels.csv", "history.csv"):
        assert (out / name).read_bytes() == (digits.folder / name).read_bytes()
    before, after = (
        read_json(folder / "results.json") for folder in (digits.folder, out)
    )
    for name in ("n_iter", "stop_reason", "pretraining_loss", "cluster_sizes"):
        assert after[name] == before[name]
    for old, new in zip(before["stages"], after["stages"], strict=True):
        assert {**new, "seconds": 0} == {**old, "seconds": 0}
    before, after = ({p.name for p in f.iterdir()} for f in (digits.folder, out))
    assert after == {name for name in before if not name.endswith(".png")}


def test_digits_take_all_intervals(digits):
    # Else the test above would hold little.
    rows = read_csv(digits.folder / "history.csv")
    assert [row["phase"] for row in rows].count("clustering") == 3
    assert all(row["loss"] for row in rows)


def test_run_stops_in_k_means_and_begins_again(
    digits, on_digits, no_figures, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        interrupt_at(patched, "k-means on pixels", 20)
        stopped = cluster("digits", "--out", out, *on_digits)
    assert stopped.status == 130
    assert "pretraining" not in stopped.err
    with monkeypatch.context() as patched:
        interrupt_at(patched, "k-means on z", 10)
        stopped = cluster("--resume", out)
    assert stopped.status == 130
    assert cluster("--resume", out).status == 0
    for name in ("labels.csv", "history.csv"):
        assert (out / name).read_bytes() == (digits.folder / name).read_bytes()


def test_second_interrupt_leaves_at_once(on_blobs, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        interrupt_at(patched, "pretraining", 1, 1)
        stopped = cluster(*on_blobs, "--out", tmp_path / "out")
    assert stopped.status == 130
    assert f"--resume {tmp_path / 'out'}" in stopped.err


@pytest.mark.slow
def test_interrupt_is_as_it_was_again_after_a_run(finished):
    assert signal.getsignal(signal.SIGINT) is BEFORE_ALL_RUNS
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_system_that_ends_a_run_is_as_ctrl_c(on_blobs, tmp_path, monkeypatch, name):
    out, number = tmp_path / "out", getattr(signal, name)
    # Under nohup, SIGHUP is ignored, and a run leaves it so.
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with monkeypatch.context() as patched:
            interrupt_at(patched, "pretraining", 1, signal_number=number)
            stopped = cluster(*on_blobs, "--out", out)
    finally:
        signal.signal(number, before)
    assert stopped.status == 130
    assert stopped.err.endswith(f"Resume it with:\n  {PROGRAM} --resume {out}\n")
    assert len(list((out / "checkpoints").glob("pretrain0-*/manifest.json"))) == 1


@pytest.mark.parametrize("content", ["", '{"stages": [', "{}", "[]", "null", "3"])
def test_resume_rejects_results_that_are_damaged(digits, tmp_path, content):
    out = tmp_path / "out"
    shutil.copytree(digits.folder, out)
    (out / "results.json").write_text(content)
    message = f"{out}/results.json must be as dec-jax wrote it, got another checksum"
    assert_refused(cluster("--resume", out), message)
    (out / "config.json").write_text(content)
    message = f"{out}/config.json must be as dec-jax wrote it, got another checksum"
    assert_refused(cluster("--resume", out), message)


def test_resume_rejects_the_results_of_another_run(finished, tmp_path):
    shutil.copytree(finished.inner, tmp_path / "seed-3")
    shutil.copy(finished.folder / "seed-4" / "results.json", tmp_path / "seed-3")
    message = "results.json must be of this run, got that of another; remove it, and"
    assert_refused(cluster("--resume", tmp_path / "seed-3"), message)


def test_predict_rejects_the_model_of_another_run(finished, labeled, tmp_path):
    out, new = tmp_path / "seed-3", tmp_path / "new.csv"
    shutil.copytree(finished.inner, out)
    shutil.copy(finished.folder / "seed-4" / "model.safetensors", out)
    run = program(main, "predict", out, labeled, "--out", new)
    message = "got that of another run (its seed is 4, that of config.json 3); give the"
    assert_refused(run, message, new)
    (out / "config.json").unlink()
    assert program(main, "predict", out, labeled, "--out", new).status == 0


def test_pretrained_rejects_a_model_with_clusters(finished, on_blobs, tmp_path):
    model = finished.inner / "model.safetensors"
    run = cluster(*on_blobs, "--pretrained", model, "--out", tmp_path / "out")
    assert run.status == 2
    message = f"error: --pretrained {model}: must be an autoencoder, got a model with"
    assert run.err.startswith(message) and run.err.count("\n") == 1
    assert run.out == "" and not (tmp_path / "out").exists()


def test_resume_keeps_the_seed_that_was_finished(
    finished, on_blobs, no_figures, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        interrupt_at(patched, "k-means on the data", 20, nth=2)
        stopped = cluster(*on_blobs, "--seeds", 2, "--seed", 3, "--out", out)
    assert stopped.status == 130
    first = (out / "seed-3/results.json").read_bytes()
    resumed = cluster("--resume", out)
    assert resumed.status == 0
    assert f"\nseed 3\nfinished before, in {out / 'seed-3'}\n" in resumed.out
    assert (out / "seed-3/results.json").read_bytes() == first
    for seed in (3, 4):
        labels = (out / f"seed-{seed}/labels.csv").read_bytes()
        assert labels == (finished.folder / f"seed-{seed}/labels.csv").read_bytes()
    summary = read_json(out / "summary.json")
    assert summary["seeds"] == [3, 4]


def test_resume_of_a_finished_run_tells_in_two_lines_what_can_follow(digits):
    (digits.folder / "report.html").touch()  # no run in tests writes one
    before = {path: path.stat().st_mtime_ns for path in digits.folder.iterdir()}
    run = cluster("--resume", digits.folder)
    assert run.status == 0
    where, on = run.out.splitlines()
    assert where.startswith(f"{digits.folder} is finished; its results lie there")
    assert f"dec-jax report {digits.folder} writes" in on and "--pretrained" in on
    assert before == {path: path.stat().st_mtime_ns for path in digits.folder.iterdir()}


def test_resume_of_one_seed_of_several_says_that_it_is_finished(finished, tmp_path):
    shutil.copytree(finished.inner, tmp_path / "seed-3")
    run = cluster("--resume", tmp_path / "seed-3")
    assert run.status == 0
    assert "finished before, in " in run.out
    assert run.out.count("\nseed ") == 1


@pytest.mark.parametrize("title", ["k-means on the data", "pretraining"])
def test_resume_rejects_other_data(small, tmp_path, monkeypatch, title):
    x, y = blob_table()
    data, out = tmp_path / "blobs.npz", tmp_path / "out"
    np.savez(data, x=x, y=y)
    with monkeypatch.context() as patched:
        interrupt_at(patched, title, 20 if title != "pretraining" else 1)
        cluster(data, "--recipe", "dec", "--architecture", small, *SHORT, "--out", out)
    np.savez(data, x=1 - x, y=y)
    run = cluster("--resume", out)
    assert run.status == 2
    last = run.err.splitlines()[-1]
    assert last.startswith(
        f"error: --resume {out}: that is another run: dataset.sha256"
    )


def test_resume_command_names_the_folder_of_data(on_digits, tmp_path, monkeypatch):
    out = tmp_path / "two words"
    interrupt_at(monkeypatch, "k-means on pixels", 20)
    stopped = cluster("digits", "--data-dir", tmp_path, "--out", out, *on_digits)
    command = f"  {PROGRAM} --resume '{out}' --data-dir {tmp_path}\n"
    assert stopped.err.endswith(command)


@pytest.mark.slow
def test_layerwise_pretraining_runs_and_resumes_exactly(
    labeled, no_figures, tmp_path, monkeypatch
):
    arguments = (labeled, "--recipe", "dec-paper", *SHORT)
    arguments += ("--architecture", write_network(tmp_path / "deep.json", 36, 16, 8, 3))
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert cluster(*arguments, "--out", whole).status == 0
    for title in ("layer 2 of 3", "fine-tuning"):
        with monkeypatch.context() as patched:
            interrupt_at(patched, title, 1)
            start = ("--resume", out) if out.exists() else (*arguments, "--out", out)
            assert cluster(*start).status == 130
    resumed = cluster("--resume", out)
    assert resumed.status == 0, resumed.err
    for name in ("labels.csv", "history.csv", "model.safetensors"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    phases = {row["phase"] for row in read_csv(out / "history.csv")}
    layers = {f"layer {index} of 3" for index in (1, 2, 3)}
    assert phases == {*layers, "fine-tuning", "clustering"}


def test_a_killed_run_resumes_from_its_last_checkpoint(
    digits, on_digits, no_figures, tmp_path, monkeypatch
):
    class Killed(BaseException):
        """Ends the process's work at once, as a signal that nothing catches."""

    save = SeedRun.save

    def save_and_die(run, step):
        save(run, step)
        if step.name == "pretrain0":
            raise Killed

    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(SeedRun, "save", save_and_die)
        with pytest.raises(Killed):
            cluster("digits", "--out", out, *on_digits)
    assert cluster("--resume", out).status == 0
    for name in ("labels.csv", "history.csv"):
        assert (out / name).read_bytes() == (digits.folder / name).read_bytes()
