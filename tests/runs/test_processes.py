"""Several processes of one program, started on this machine: all of it takes minutes."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from programs import write_network

from dec_jax.runs import devices
from experiments import two_processes

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def by_hand(number, count, port):
    """The variables of this library, which docs/many-machines.md sets for JobSet too."""
    return {
        "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
        "JAX_NUM_PROCESSES": str(count),
        "JAX_PROCESS_ID": str(number),
    }


def by_slurm(number, count, port):
    """The variables that srun sets, as far as jax and this library read them."""
    return {
        # jax makes its port of the last digits of the job.
        "SLURM_JOB_ID": str(port),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_NUM_NODES": "1",
        "SLURM_STEP_NUM_TASKS": str(count),
        "SLURM_NTASKS": str(count),
        "SLURM_PROCID": str(number),
        "SLURM_LOCALID": str(number),
    }


def start(arguments, number, count, port, launcher=by_hand):
    """One process of several, with the variables that say so."""
    variables = launcher(number, count, port)
    return subprocess.Popen(
        [sys.executable, "-m", "dec_jax.cli.main", "cluster", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **variables},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def start_two(arguments, launcher=by_hand):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    return [start(arguments, number, 2, port, launcher) for number in (0, 1)]


def clusters(folder):
    with (folder / "labels.csv").open() as file:
        return [int(row["cluster"]) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def options(tmp_path_factory, blobs):
    """Arguments of a run of seconds, on 200 samples without classes."""
    folder = tmp_path_factory.mktemp("data")
    np.save(folder / "blobs.npy", blobs[0])
    write_network(folder / "small.json", 8, 16, 3)
    return (
        *(folder / "blobs.npy", "--architecture", folder / "small.json"),
        *("--n-clusters", 4, "--epochs", 5, "--batch-size", 64, "--max-intervals", 3),
    )


@pytest.fixture(scope="module")
def alone(options, tmp_path_factory):
    """The clusters that one process finds."""
    out = tmp_path_factory.mktemp("alone") / "run"
    process = start((*options, "--out", out), 0, 1, 1)
    complained = process.communicate()[1]
    assert process.returncode == 0, complained
    return clusters(out)


def test_two_processes_with_half_of_the_rows_each_find_the_labels_of_one(capfd):
    assert two_processes.main([]) == 0
    printed = capfd.readouterr().out
    assert "first     898 rows on its device" in printed
    assert "DEC: 0 and 0 of 1,796 labels differ" in printed


@pytest.mark.parametrize("launcher", [by_hand, by_slurm])
def test_two_processes_run_as_one_and_the_second_is_quiet(
    launcher, options, alone, tmp_path
):
    both = start_two((*options, "--out", tmp_path / "run"), launcher)
    (said, complained), (second, silent) = (one.communicate() for one in both)
    assert [one.returncode for one in both] == [0, 0], complained + silent
    assert "2 devices of 2 processes, 100 rows on each" in said
    assert (second, silent) == ("", "")
    assert clusters(tmp_path / "run") == alone
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert (results["n_devices"], results["n_processes"]) == (2, 2)


@pytest.mark.parametrize("recipe", ["dec", "auto"])
def test_two_processes_ask_the_simple_methods_about_all_rows(recipe, options, tmp_path):
    # Without the network, `auto` pretrains nothing, and takes the samples as they are.
    short = ("--n-clusters", 4, "--batch-size", 64, "--max-intervals", 3)
    given = options if recipe == "dec" else (options[0], *short)
    command = (*given, "--recipe", recipe)
    both = start_two((*command, "--out", tmp_path / "run"))
    (_, complained), (_, silent) = (one.communicate() for one in both)
    assert [one.returncode for one in both] == [0, 0], complained + silent
    one = start((*command, "--out", tmp_path / "one"), 0, 1, 1)
    one.communicate()
    assert one.returncode == 0
    assert clusters(tmp_path / "run") == clusters(tmp_path / "one")
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    assert found["opinion"]["verdict"] in ("confident", "several answers")


def test_a_peer_that_dies_ends_the_run_which_then_resumes(options, alone, tmp_path):
    out = tmp_path / "run"
    both = start_two((*options, "--out", out))
    # The end of pretraining, before that, is saved whatever the time.
    shown = ""
    while "clustering" not in shown and (letter := both[0].stderr.read(1)):
        shown += letter
    both[1].send_signal(signal.SIGKILL)
    complained = both[0].communicate()[1]
    both[1].communicate()
    # Whichever sees it first: the sum over both that fails, or jax's own watch.
    assert both[0].returncode in (devices.PEER_ENDED, -signal.SIGABRT), complained
    assert "another process of this run has ended" in complained or (
        "another task died" in complained
    )
    assert not (out / "results.json").exists()

    again = start_two(("--resume", out))
    (said, complained), (_, silent) = (one.communicate() for one in again)
    assert [one.returncode for one in again] == [0, 0], complained + silent
    assert "resumed after 5 epochs" in said
    assert clusters(out) == alone
