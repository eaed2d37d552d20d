"""Options of the program of Aljalbout et al.: its data, networks and stages."""

import gzip
import shlex
from pathlib import Path

import numpy as np
import pytest
from aljalbout_runs import network_file, opened, program

from dec_jax.networks.architecture import Conv2D
from dec_jax.runs.errors import UsageError
from experiments import aljalbout


@pytest.mark.parametrize(
    ("dataset", "index", "name", "width"),
    [
        ("mnist", "0", "mnist-conv-dense", 32),
        ("mnist", "1", "mnist-conv", 120),
        ("coil20", "0", "coil20-conv", 320),
        ("digits", "mnist-conv", "mnist-conv", 120),
    ],
)
def test_an_index_is_the_published_one(dataset, index, name, width):
    network = aljalbout.find_network(dataset, index)
    assert (network.name, network.architecture.embedding_dim) == (name, width)


def test_a_file_may_hold_a_list(tmp_path):
    path = network_file(tmp_path)
    found = [
        aljalbout.find_network("digits", f"{path}{index}") for index in ("", ":1", ":2")
    ]
    assert [network.name for network in found] == ["dense", "fc-not", "tiny"]
    assert [network.batch_size for network in found] == [None, 100, 100]


def test_layers_and_not_a_name_say_what_a_network_is(tmp_path):
    network = aljalbout.find_network("digits", f"{network_file(tmp_path)}:1")
    assert isinstance(network.architecture.layers[0], Conv2D)
    assert network.architecture.input_shape == (8, 8, 1)


@pytest.mark.parametrize(
    ("dataset", "wanted", "message"),
    [
        (
            "mnist",
            "2",
            r"-a 2 is no shipped network for mnist \(known: 0 is mnist-conv-",
        ),
        ("digits", "0", r"-a 0 is no shipped network for digits \(known: none\)"),
        ("digits", "mnist-cnv", "did you mean 'mnist-conv'"),
        ("digits", "none.json", "none.json cannot be read"),
    ],
)
def test_find_network_rejects_what_there_is_not(dataset, wanted, message):
    with pytest.raises((UsageError, ValueError), match=message):
        aljalbout.find_network(dataset, wanted)


def test_find_network_rejects_an_index_beyond_the_list(tmp_path):
    path = network_file(tmp_path)
    with pytest.raises(UsageError, match=r"tiny.json:3: .* ends with .*tiny.json:2"):
        aljalbout.find_network("digits", f"{path}:3")


@pytest.mark.parametrize("name", ["MNIST", "mnist"])
def test_mnist_is_all_of_it(tmp_path, name):
    (tmp_path / "mnist").mkdir()
    for part, n in (("train", 6), ("t10k", 4)):
        pixels = bytes([0, 0, 8, 3, *(0, 0, 0, n), *(0, 0, 0, 28), *(0, 0, 0, 28)])
        images = tmp_path / "mnist" / f"{part}-images-idx3-ubyte.gz"
        images.write_bytes(gzip.compress(pixels + bytes(range(n)) * 784))
        labels = tmp_path / "mnist" / f"{part}-labels-idx1-ubyte.gz"
        labels.write_bytes(gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, n, *range(n)])))
    run = opened("-d", name, "-a", 1, "--pretrain", 1, "--data-dir", tmp_path)
    assert len(run.dataset.x) == 10
    assert run.folder == Path("runs/aljalbout-mnist-mnist-conv")
    assert (run.network, run.batch_size) == ("mnist-conv", 100)
    assert run.architecture.batch_norm and run.architecture.input_scale == 1 / 255


def test_the_command_line_names_the_settings(few_digits, tmp_path):
    more = ("--batch-size", 7, "--seed", 3, "--learning-rate", 0.5, "--out", tmp_path)
    run = opened(*few_digits, *more, "--metrics")
    assert (run.batch_size, run.seed, run.folder) == (7, 3, tmp_path)
    settings = run.recipe("kld", 2).train
    assert (settings.batch_size, settings.optimizer.learning_rate) == (7, 0.5)


@pytest.mark.parametrize("option", ["--pretrain", "--cluster", "--batch-size"])
def test_open_run_rejects_numbers_below_1(few_digits, option):
    with pytest.raises(UsageError, match=f"{option} must be at least 1, got 0"):
        opened(*few_digits, "--metrics", option, 0)


def test_open_run_rejects_a_network_for_other_images(few_digits):
    message = r"takes samples of shape \(28, 28, 1\), and those of few have \(8, 8, 1\)"
    with pytest.raises(UsageError, match=message):
        opened(*few_digits[:2], "-a", "mnist-conv", "--metrics")


def test_main_rejects_a_call_without_a_stage(few_digits):
    answer = program(*few_digits)
    assert answer.status == 2
    assert answer.err.startswith("error: give at least one of --pretrain N, --cluster")


def test_main_rejects_data_without_labels(few_digits, tmp_path):
    np.savez(tmp_path / "unlabeled.npz", x=np.zeros((9, 8, 8), np.float32))
    answer = program("-d", tmp_path / "unlabeled.npz", *few_digits[2:], "--pretrain", 1)
    assert answer.status == 2
    assert "error: unlabeled has no labels, which count clusters" in answer.err


def test_main_rejects_a_learning_rate_of_0(few_digits, tmp_path):
    answer = program(
        *few_digits, "--out", tmp_path, *shlex.split("--pretrain 1 --learning-rate 0")
    )
    assert (answer.status, list(tmp_path.iterdir())) == (2, [])
    assert answer.err == "error: --learning-rate must be finite and above 0, got 0.0.\n"


def test_a_stage_names_the_command_of_the_one_before(few_digits, tmp_path):
    answer = program(*few_digits, "--out", tmp_path / "new", "--cluster", 1)
    assert answer.status == 2
    assert answer.err.count("\n") == 1
    path, _, command = answer.err.removeprefix("error: ").partition(
        " is missing; make it by: "
    )
    assert Path(path) == tmp_path / "new" / "autoencoder.safetensors"
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "experiments.aljalbout"]
    assert words[-2:] == ["--pretrain", "N"]
    options = vars(aljalbout.parser().parse_args([*words[3:-1], "1"]))
    given = vars(
        aljalbout.parser().parse_args(
            [*map(str, few_digits), "--out", f"{tmp_path}/new"]
        )
    )
    assert options == {**given, "pretrain": 1}


@pytest.mark.parametrize("stage", ["--metrics", "--visualize"])
def test_evaluation_names_the_command_of_pretraining(few_digits, tmp_path, stage):
    answer = program(*few_digits, "--out", tmp_path, stage)
    assert answer.status == 2
    assert "autoencoder.safetensors is missing; make it by: python -m" in answer.err
    assert list(tmp_path.iterdir()) == []
