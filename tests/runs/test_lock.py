"""Two runs on one folder."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from programs import assert_refused, cluster

from dec_jax.runs.errors import UsageError
from dec_jax.runs.lock import LOCK, only_run_in

pytest.importorskip("fcntl")
ROOT = Path(__file__).parents[2]
HOLD = """
import sys
from pathlib import Path
from dec_jax.runs.lock import only_run_in
with only_run_in(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that runs in the folder."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_folder_is_free_again_after_a_run(tmp_path):
    for _ in range(2):
        with only_run_in(tmp_path):
            assert (tmp_path / LOCK).exists()
        assert list(tmp_path.iterdir()) == []


def test_only_run_in_rejects_a_second_run(tmp_path, holder):
    message = f"{tmp_path} is in use: another process runs in it; wait until it has"
    with pytest.raises(UsageError, match=message), only_run_in(tmp_path):
        pass
    # The first one still holds it.
    with pytest.raises(UsageError, match=message), only_run_in(tmp_path):
        pass


def test_a_killed_process_keeps_nothing(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (tmp_path / LOCK).exists()
    with only_run_in(tmp_path):
        pass


def test_only_run_in_rejects_a_seed_of_a_run_at_work(tmp_path, holder):
    (tmp_path / "config.json").touch()
    (tmp_path / "seed-3").mkdir()
    with pytest.raises(UsageError, match="in use"), only_run_in(tmp_path / "seed-3"):
        pass


def test_a_folder_beside_one_in_use_is_free(tmp_path, holder):
    (tmp_path / "other").mkdir()
    with only_run_in(tmp_path / "other"):
        pass


def test_a_folder_that_cannot_be_written_to_has_no_lock(tmp_path):
    (tmp_path / LOCK).mkdir()
    with only_run_in(tmp_path):
        pass


def test_resume_of_a_run_at_work_is_refused(digits, on_digits):
    with only_run_in(digits.folder):
        run = cluster("--resume", digits.folder)
    assert_refused(run, f"{digits.folder} is in use: another process runs in it")
    assert cluster("--resume", digits.folder).status == 0
