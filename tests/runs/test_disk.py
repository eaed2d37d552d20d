"""Disks that are full, folders that are gone, and environments without a home."""

import errno
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from programs import cluster

from dec_jax.runs.run import SeedRun

resource = pytest.importorskip("resource")
ROOT = Path(__file__).parents[2]


@contextmanager
def full_disk_from(monkeypatch, name):
    """Makes the disk full once a method of a run is called."""
    method, limits = getattr(SeedRun, name), resource.getrlimit(resource.RLIMIT_FSIZE)

    def on_a_full_disk(run, *arguments):
        # The system then refuses the bytes of a file beyond these.
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        return method(run, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(SeedRun, name, on_a_full_disk)
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize(
    "method",
    ["save", "finish", pytest.param("save_autoencoder", marks=pytest.mark.slow)],
)
def test_a_full_disk_is_one_line_and_loses_nothing(
    digits, on_digits, no_figures, tmp_path, monkeypatch, capfd, method
):
    out = tmp_path / "out"
    with full_disk_from(monkeypatch, method):
        stopped = cluster("digits", "--out", out, *on_digits)
    assert stopped.status == 1
    last = stopped.err.splitlines()[-1]
    assert last.startswith("error: ") and "File too large; what was saved" in last
    assert last.endswith(f"go on by dec-jax cluster --resume {out}")
    assert "Traceback" not in stopped.err + "".join(capfd.readouterr())
    assert not (out / "results.json").exists()
    assert not list(out.glob("*.partial"))
    assert cluster("--resume", out).status == 0
    for name in ("labels.csv", "history.csv"):
        assert (out / name).read_bytes() == (digits.folder / name).read_bytes()


def test_a_disk_without_room_for_the_settings_is_one_line(
    on_digits, tmp_path, monkeypatch
):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    out = tmp_path / "out"
    monkeypatch.setattr("dec_jax.runs.seeds.write_checked", full)
    run = cluster("digits", "--out", out, *on_digits)
    assert run.status == 1
    assert run.err == (
        "error: No space left on device; free space or mend the folder, and start the "
        "run again\n"
    )


def test_a_folder_that_is_deleted_is_made_again(
    digits, on_digits, no_figures, tmp_path, monkeypatch
):
    out, save = tmp_path / "out", SeedRun.save

    def save_without_a_folder(run, step):
        shutil.rmtree(out)
        save(run, step)

    monkeypatch.setattr(SeedRun, "save", save_without_a_folder)
    assert cluster("digits", "--out", out, *on_digits).status == 0
    assert (out / "labels.csv").read_bytes() == (
        digits.folder / "labels.csv"
    ).read_bytes()
    assert cluster("--resume", out).status == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_read_only_folder_is_one_line(on_digits, tmp_path):
    tmp_path.chmod(0o500)
    run = cluster("digits", "--out", tmp_path / "out", *on_digits)
    tmp_path.chmod(0o700)
    assert run.status == 2
    assert run.err.count("\n") == 1 and "Permission denied" in run.err


@pytest.mark.parametrize("cache", [None, "file", "read-only"])
def test_a_command_needs_no_home_and_no_cache(tmp_path, cache):
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("HOME", "XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR")
    }
    if cache is not None:
        environment["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    if cache == "file":
        (tmp_path / "cache").touch()
    elif cache == "read-only":
        # An entry of /proc refuses all writing, even to root.
        environment["XDG_CACHE_HOME"] = "/proc/self"
    done = subprocess.run(
        [sys.executable, "-m", "dec_jax", "info"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
