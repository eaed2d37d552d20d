"""The program of autoencoders: a run of each kind, networks and data, mistakes."""

import dataclasses
import functools
import struct
from types import SimpleNamespace

import numpy as np
import pytest
from autoencoder_runs import FILES, OF_Z, program, read_history, with_shape
from programs import assert_refused, read_json, without_mnist

from dec_jax import model
from dec_jax.networks.architecture import Conv2D, Dense, MaxPool2D
from dec_jax.networks.architecture_json import load_architecture
from experiments import autoencoder_run
from experiments.autoencoder_run import KINDS, Settings

FIGURES = {"curves.png", "latent.png", "reconstructions.png"}
FIELDS = {
    *("kind", "dataset", "seed", "sparsity", "n_train", "n_validation", "epochs"),
    *("best_epoch", "stop_reason", "training_loss", "validation_loss"),
    *("validation_mse", "k_means", "seconds", "device", "versions", "commit"),
    *("precision", "dataset_source", "dataset_notes", "dataset_sha256", "n_samples"),
}
MORE_FIELDS = {"simple": OF_Z, "sparse": OF_Z, "denoising": {"noise_mse"}}


@functools.cache
def held_out_digits():
    task = autoencoder_run.prepared(Settings("simple", "digits"))
    return task.validation, task.classes


@pytest.fixture(scope="module", params=KINDS)
def of_kind(request, tmp_path_factory):
    """A short run of each kind on the bundled digits."""
    out = tmp_path_factory.mktemp(request.param) / "out"
    short = ("--epochs", 3, "--batch-size", 64, "--limit", 320, "--out", out)
    done = program("--kind", request.param, "--dataset", "digits", *short)
    assert done.status == 0, done.err
    results = read_json(out / "results.json")
    return SimpleNamespace(
        kind=request.param, folder=out, results=results, **vars(done)
    )


# A run of each kind.


def test_run_leaves_its_files(of_kind):
    samples = {"samples.png"} if of_kind.kind == "variational" else set()
    found = {path.name for path in of_kind.folder.iterdir()}
    assert found == FILES | FIGURES | samples


def test_results_hold_every_field(of_kind):
    assert set(of_kind.results) == FIELDS | MORE_FIELDS.get(of_kind.kind, set())
    expected = {"kind": of_kind.kind, "dataset": "digits", "n_train": 320}
    expected |= {"n_validation": 256, "epochs": 3, "stop_reason": "all epochs done"}
    assert of_kind.results.items() >= expected.items()
    assert of_kind.results["k_means"]["n_clusters"] == 10


def test_results_are_those_of_the_best_epoch(of_kind):
    history = read_history(of_kind.folder)
    best = history["validation"].index(min(history["validation"]))
    assert history["epoch"] == [1, 2, 3]
    assert of_kind.results["best_epoch"] == best + 1
    assert of_kind.results["validation_loss"] == history["validation"][best]
    assert of_kind.results["training_loss"] == history["loss"][best]


@pytest.mark.parametrize("of_kind", ["simple", "sparse", "variational"], indirect=True)
def test_model_gives_the_error_that_results_report(of_kind):
    saved = model.load(of_kind.folder / "model.safetensors")
    x, _ = held_out_digits()
    error = ((x - model.reconstruct(saved, x)) ** 2).mean()
    assert of_kind.results["validation_mse"] == pytest.approx(error, rel=1e-5)
    assert saved.metadata["kind"] == of_kind.kind
    assert saved.metadata["dataset"] == "digits"


@pytest.mark.parametrize("of_kind", ["simple", "sparse"], indirect=True)
def test_run_learns_more_than_the_mean_image(of_kind):
    x, _ = held_out_digits()
    # A network that gives every sample the same has at least this error.
    assert of_kind.results["validation_mse"] < 0.95 * x.var(axis=0).mean()


def test_config_holds_the_command_and_the_network(of_kind):
    config = read_json(of_kind.folder / "config.json")
    assert config["command"]["kind"] == of_kind.kind
    assert config["command"]["epochs"] == config["pretrain"]["epochs"] == 3
    assert config["pretrain"]["patience"] == 10
    objective = "Variational" if of_kind.kind == "variational" else "Reconstruction"
    assert config["pretrain"]["objective"]["name"] == objective
    noise = 0.2 if of_kind.kind == "denoising" else 0
    assert config["pretrain"]["augmentation"]["salt_and_pepper"] == noise
    assert config["warm_up"] == (5 if of_kind.kind == "sparse" else 0)


def test_run_prints_what_it_found(of_kind):
    lines = of_kind.out.splitlines()
    assert lines[0].startswith("dec_jax on ")
    assert lines[1].endswith("; 320 to train on, 256 to validate with")
    assert lines[2] == f"results: {of_kind.folder}"
    assert lines[3].startswith("all epochs done: 3 epochs in ")
    assert f"{of_kind.results['validation_mse']:.5f}" in lines[4]
    assert lines[-1].startswith("k-means on z of the validation samples: ACC 0.")
    assert "validation 0." in of_kind.err or of_kind.kind == "variational"


# Networks and data.


def test_network_for_denoising_is_the_shipped_one_for_mnist():
    images = with_shape(np.zeros((7, 784), np.float32), (28, 28, 1))
    images = dataclasses.replace(images, input_scale=1 / 255)
    found = autoencoder_run.network(Settings("denoising"), images)
    assert found == load_architecture("denoising-conv")


def test_network_for_denoising_halves_odd_images_three_times():
    images = with_shape(np.zeros((7, 270), np.float32), (9, 10, 3))
    found = autoencoder_run.network(Settings("denoising"), images)
    assert found.shapes[-1] == (2, 2, 16)
    assert [type(layer) for layer in found.layers] == [Conv2D, MaxPool2D] * 3


@pytest.mark.parametrize(
    ("kind", "layers", "variational"),
    [
        ("simple", (Dense(2000), Dense(500), Dense(500), Dense(10, "sigmoid")), False),
        ("sparse", (Dense(2000), Dense(500), Dense(500), Dense(10, "sigmoid")), False),
        ("variational", (Dense(500), Dense(10, "linear")), True),
    ],
)
def test_network_is_the_published_one(kind, layers, variational):
    found = autoencoder_run.network(Settings(kind), with_shape(np.zeros((7, 784))))
    assert (found.input_shape, found.layers) == ((784,), layers)
    assert (found.output_activation, found.variational) == ("sigmoid", variational)


def test_split_of_mnist_holds_out_the_published_test_part():
    mnist = with_shape(np.zeros((70_000, 1), np.uint8))
    train, held_out = autoencoder_run.split(mnist, in_order=True)
    np.testing.assert_array_equal(train, np.arange(60_000))
    np.testing.assert_array_equal(held_out, np.arange(60_000, 70_000))


def test_split_of_others_holds_out_a_shuffled_seventh():
    train, held_out = autoencoder_run.split(
        with_shape(np.zeros((50, 1))), in_order=False
    )
    assert len(held_out) == 7
    assert sorted([*train, *held_out]) == list(range(50))
    assert held_out.tolist() != list(range(43, 50))


def write_idx(folder, part, images):
    head = struct.pack(">BBBB3I", 0, 0, 8, 3, *images.shape)
    (folder / f"{part}-images-idx3-ubyte").write_bytes(head + images.tobytes())
    head = struct.pack(">BBBBI", 0, 0, 8, 1, len(images))
    (folder / f"{part}-labels-idx1-ubyte").write_bytes(head + bytes(len(images)))


def test_fashion_mnist_is_the_default_and_validates_with_its_test_part(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (14, 3, 3), np.uint8)
    (tmp_path / "fashion_mnist").mkdir()
    write_idx(tmp_path / "fashion_mnist", "train", images[:12])
    write_idx(tmp_path / "fashion_mnist", "t10k", images[12:])
    task = autoencoder_run.prepared(Settings("simple", data_dir=str(tmp_path), limit=5))
    np.testing.assert_array_equal(task.x, images[:5].reshape(5, 9))
    np.testing.assert_array_equal(task.validation, images[12:].reshape(2, 9))


# Mistakes: one line, status 2, no folder.


MISTAKES = {
    "kind": (
        ["--kind", "spars"],
        "--kind must be one of simple, sparse, denoising, variational, got spars.",
    ),
    "precision": (
        ["--precision", "float16"],
        "--precision must be float32 or bfloat16, got float16.",
    ),
    "sparsity": (
        ["--sparsity", "0.1"],
        "--sparsity is for --kind sparse, got simple.",
    ),
    "weight": (
        ["--kind", "sparse", "--sparsity", "-1"],
        "sparsity must be finite and at least 0, got -1.0.",
    ),
    "sweep": (
        ["--sparsity-sweep"],
        "--sparsity-sweep is for --kind sparse without --sparsity.",
    ),
    "epochs": (["--epochs", "0"], "epochs must be at least 1, got 0."),
    "patience": (["--patience", "0"], "patience must be at least 1, got 0."),
    "batch": (["--batch-size", "0"], "--batch-size must be at least 1, got 0."),
    "rate": (["--learning-rate", "0"], "--learning-rate must be finite and above 0"),
    "limit": (
        ["--limit", "1542"],
        "--limit must be from 1 to 1541, the samples to train on, got 1542.",
    ),
    "dataset": (["--dataset", "fashion"], "did you mean 'fashion_mnist'?"),
    "file": (["--dataset", "no.npz"], "The data file no.npz does not exist."),
    "architecture": (["--architecture", "denoising"], "did you mean 'denoising-conv'?"),
    "width": (
        ["--architecture", "denoising-conv"],
        "--architecture denoising-conv takes 784 values, but a sample of digits has 64.",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_main_rejects_an_option_in_one_line(tmp_path, mistake):
    options, message = MISTAKES[mistake]
    out = tmp_path / "out"
    done = program("--kind", "simple", "--dataset", "digits", "--out", out, *options)
    assert_refused(done, message, out)


@pytest.mark.parametrize(
    ("kind", "x", "message"),
    [
        ("simple", np.eye(9) * 255, "table: x must be in [0, 1], which is all that"),
        ("simple", np.eye(9) - 1, "got -1 to 0; scale it."),
        ("simple", np.eye(6), "table must hold at least 7 samples, got 6."),
        ("denoising", np.eye(9), "--kind denoising takes images, and table is a table"),
        ("simple", np.full((9, 2), np.nan), "x must be finite: column 0"),
    ],
    ids=["range", "negative", "few", "table", "nan"],
)
def test_main_rejects_data_that_do_not_fit(tmp_path, kind, x, message):
    np.save(tmp_path / "table.npy", x)
    out = tmp_path / "out"
    done = program(*("--kind", kind, "--dataset", tmp_path / "table.npy", "--out", out))
    assert_refused(done, message, out)


def test_main_rejects_a_missing_fashion_mnist_and_says_how_to_get_it(
    tmp_path, monkeypatch
):
    without_mnist(monkeypatch, tmp_path)
    done = program("--kind", "simple", "--out", tmp_path / "out")
    assert done.status == 2
    assert done.err.startswith(
        "error: fashion_mnist was not found: no folder was given"
    )
    assert "DEC_JAX_DATA=<folder>" in done.err
    assert "--dataset digits" in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_main_rejects_a_folder_that_is_not_empty(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    done = program("--kind", "simple", "--dataset", "digits", "--out", tmp_path)
    assert done.status == 2
    assert (
        done.err == f"error: --out {tmp_path} is not an empty folder; take another.\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
