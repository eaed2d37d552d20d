"""Mistakes in a command: one line, status 2, no folder."""

import sys

import numpy as np
import pytest
from programs import SHORT, assert_refused, blob_table, cluster, without_mnist

MISTAKES = {
    "recipe": (["--recipe", "dec-kera"], "did you mean 'dec-keras'?"),
    "clusters": (
        ["--n-clusters", "91"],
        "-k must be at most 90, the number of samples, got 91.",
    ),
    "one cluster": (["-k", "1"], "-k must be at least 2, got 1."),
    "epochs": (["--epochs", "0"], "--epochs must be at least 1, got 0."),
    "reseed": (["--reseed-below", "1"], "--reseed-below must be in [0, 1), a share of"),
    "data_dir": (["--data-dir", "."], "--data-dir must not be given with a file"),
    "intervals": (
        ["--recipe", "best", "--max-intervals", "3"],
        "--max-intervals must be at least 5 here, got 3: the recipe spends the first 4 "
        "intervals on the labels that it starts from.",
    ),
    "seed": (
        ["--seed", str(2**63)],
        "--seed must be below 2^32, got 9223372036854775808",
    ),
    "devices": (["--devices", "1000000"], "--devices must be at most 512, got 1000000"),
    "resume": (["--resume", "."], "--out and --resume name two folders"),
}


def test_mnist_by_name_is_an_error_where_it_cannot_be_had(tmp_path, monkeypatch):
    without_mnist(monkeypatch, tmp_path)
    run = cluster("mnist", "--out", tmp_path / "out")
    assert run.status == 2
    assert run.err.startswith("error: mnist was not found: no folder was given; TFDS")
    assert run.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_unlabeled_data_need_a_number_of_clusters(unlabeled, tmp_path):
    run = cluster(unlabeled, "--out", tmp_path / "out")
    assert run.status == 2
    message = "error: -k must be given for blobs, which has no labels to count "
    assert run.err.startswith(message) and run.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [("--recipe", "n2d"), ("--start", "umap")])
def test_run_misses_umap_before_it_trains(labeled, tmp_path, monkeypatch, options):
    monkeypatch.setitem(sys.modules, "umap", None)
    out = tmp_path / "out"
    run = cluster(labeled, *options, "--out", out)
    assert_refused(run, "the UMAP of embeddings needs umap-learn: pip install ", out)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_run_rejects_an_option_in_one_line(labeled, tmp_path, mistake):
    options, message = MISTAKES[mistake]
    out = tmp_path / "out"
    run = cluster(labeled, "--out", out, *options)
    assert_refused(run, message, out)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("fashion-mnist", "did you mean 'fashion_mnist'?"),
        ("nowhere.npz", "The data file nowhere.npz does not exist."),
        ("photos.zip", ".tsv, .parquet or .txt, got photos.zip"),
    ],
)
def test_run_rejects_a_data_set_in_one_line(tmp_path, dataset, message):
    run = cluster(dataset, "--out", tmp_path / "out")
    assert_refused(run, message, tmp_path / "out")


def test_run_without_data_is_refused(tmp_path):
    assert_refused(
        cluster("-k", 3), "DATA must be named: a file, a folder", tmp_path / "x"
    )


def test_run_rejects_a_missing_folder_of_data(tmp_path):
    nowhere = tmp_path / "nowhere"
    run = cluster("mnist", "--data-dir", nowhere, "--out", tmp_path / "out")
    message = f"error: --data-dir must name an existing folder, got '{nowhere}'.\n"
    assert (run.status, run.err) == (2, message)
    assert not (tmp_path / "out").exists()


def test_run_rejects_nan_and_names_the_column(tmp_path):
    x, _ = blob_table()
    x[5, 7] = np.nan
    np.savez(tmp_path / "nan.npz", x=x)
    run = cluster(
        *(tmp_path / "nan.npz", "--n-clusters", 3),
        *("--out", tmp_path / "out"),
    )
    assert_refused(run, "x must be finite: column 7 holds NaN", tmp_path / "out")


def test_run_rejects_data_of_one_class_without_a_number(tmp_path):
    np.savez(tmp_path / "one.npz", x=blob_table()[0], y=np.zeros(90, int))
    run = cluster(tmp_path / "one.npz", "--out", tmp_path / "out")
    assert (run.status, run.err) == (
        2,
        "error: -k must be at least 2, got 1, the number of classes; one cluster would "
        "hold all samples.\n",
    )
    assert not (tmp_path / "out").exists()


def test_run_rejects_a_folder_that_is_not_empty(labeled, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    run = cluster(labeled, "--out", out)
    assert run.status == 2
    assert f"--out {out} is not an empty folder; take another" in run.err
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("name", ["file", "file/inside"])
def test_run_rejects_a_folder_that_cannot_be_made(labeled, tmp_path, name):
    (tmp_path / "file").write_text("in the way")
    run = cluster(labeled, "--out", tmp_path / name)
    assert run.status == 2
    assert run.err.startswith(f"error: --out {tmp_path / name} ")
    assert run.err.count("\n") == 1
    assert (tmp_path / "file").read_text() == "in the way"


def test_pretraining_that_diverges_ends_in_one_line(tmp_path):
    x = 1e9 * np.random.default_rng(0).random((90, 36), np.float32)
    np.savez(tmp_path / "far.npz", x=x, y=np.arange(90) % 3)
    run = cluster(
        *(tmp_path / "far.npz", "--recipe", "dec-keras"),
        *("--no-standardize", "--out", tmp_path / "out"),
        *SHORT,
    )
    assert run.status == 1
    last = run.err.splitlines()[-1]
    assert last.startswith("error: The pretraining loss is ")
    assert "lower the learning rate" in last


def test_pretrained_rejects_a_folder_without_an_autoencoder(labeled, tmp_path):
    run = cluster(labeled, "--pretrained", tmp_path, "--out", tmp_path / "out")
    assert run.status == 2
    message = f"--pretrained {tmp_path}: no autoencoder.safetensors there for seed 0"
    assert message in run.err


def test_architecture_rejects_a_network_for_other_samples(labeled, tmp_path):
    run = cluster(labeled, "--architecture", "dense", "--out", tmp_path / "out")
    assert run.status == 2
    assert "architecture must take 36 values, as the samples have" in run.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("digits", "-k", "three"),
            "must be a whole number or one of auto, density, dip, got 'three'",
        ),
        (("digits", "--colour", "red"), "there is no option --colour (see dec-jax"),
    ],
)
def test_a_mistake_of_typing_is_one_line(arguments, message):
    run = cluster(*arguments)
    assert_refused(run, message)
