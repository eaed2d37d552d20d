import numpy as np
import pytest
from programs import blob_table, interrupt_at, program, write_network

from experiments import aljalbout, autoencoders, compare, latent_tutorial, mnist_dec

PROGRAM = "python -m experiments.mnist_dec"


@pytest.mark.parametrize(
    "module", [aljalbout, autoencoders, compare, latent_tutorial, mnist_dec]
)
def test_help_names_the_program(module):
    run = program(module.main, "--help")
    assert run.status == 0
    assert run.out.startswith(f"usage: {module.PROGRAM}")


def test_the_experiment_is_the_command_with_its_data_as_an_option(
    tmp_path, monkeypatch
):
    x, y = blob_table()
    np.savez(tmp_path / "blobs.npz", x=x, y=y)
    network = write_network(tmp_path / "small.json", 36, 16, 3)
    interrupt_at(monkeypatch, "k-means on the data", 20)
    out = tmp_path / "out"
    options = ("--architecture", network, "--recipe", "dec", "--out", out)
    run = program(mnist_dec.main, "--dataset", tmp_path / "blobs.npz", *options)
    assert run.status == 130
    assert run.err.endswith(f"Stopped. Resume it with:\n  {PROGRAM} --resume {out}\n")


def test_a_mistake_ends_in_one_line(tmp_path):
    run = program(mnist_dec.main, "--dataset", "nowhere.npz", "--out", tmp_path / "out")
    message = "error: The data file nowhere.npz does not exist."
    assert (run.status, run.err.count("\n")) == (2, 1)
    assert run.err.startswith(message)
