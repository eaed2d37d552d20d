import gzip
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from PIL import Image
from programs import assert_refused, interrupt_at, program, read_json

from dec_jax import k_means, model
from dec_jax.data.load import load_dataset
from dec_jax.evaluation import metrics
from experiments import latent_tutorial

# The same for all runs, so that they share what is compiled.
SHORT = ["--epochs", "3", "--cluster-epochs", "2", "--seed", "7"]
FRAMES = ["epoch-000.png", "epoch-001.png", "epoch-002.png"]


def experiment(*arguments):
    """Runs the tutorial in this process."""
    return program(latent_tutorial.main, *arguments)


def settings(*arguments):
    return vars(latent_tutorial.parser().parse_args([str(a) for a in arguments]))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An unbroken run on 350 digits."""
    out = tmp_path_factory.mktemp("latent") / "out"
    run = experiment("--dataset", "digits", "--limit", 350, "--out", out, *SHORT)
    results = read_json(out / "results.json")
    return SimpleNamespace(folder=out, results=results, **vars(run))


@pytest.fixture(scope="module")
def unlabeled(tmp_path_factory):
    """The same digits as a file without labels."""
    path = tmp_path_factory.mktemp("data") / "mine.npz"
    np.savez(path, x=load_dataset("digits").x[:350].reshape(350, 8, 8))
    return path


@pytest.fixture(scope="module")
def without_labels(unlabeled, tmp_path_factory):
    """The same run on that file."""
    out = tmp_path_factory.mktemp("without") / "out"
    run = experiment("--dataset", unlabeled, "--n-clusters", 10, "--out", out, *SHORT)
    results = read_json(out / "results.json")
    return SimpleNamespace(folder=out, results=results, **vars(run))


def write_idx(folder, name, array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    (folder / name).write_bytes(gzip.compress(header + array.tobytes(), 1))


# A run.


@pytest.mark.slow
def test_run_writes_a_frame_an_epoch_and_one_film(finished):
    assert finished.status == 0
    left = {path.name for path in finished.folder.iterdir()}
    files = {"config.json", "results.json", "model.safetensors", "latent.gif"}
    assert left == {*files, "frames"}
    frames = sorted((finished.folder / "frames").iterdir())
    assert [path.name for path in frames] == FRAMES
    sizes = set()
    for path in frames:
        with Image.open(path) as image:
            sizes.add(image.size)
    with Image.open(finished.folder / "latent.gif") as film:
        assert film.n_frames == 3
        assert sizes == {film.size}


@pytest.mark.slow
def test_frames_differ_as_the_embedding_moves(finished):
    pictures = {(finished.folder / "frames" / name).read_bytes() for name in FRAMES}
    assert len(pictures) == 3


def test_results_hold_the_ari_of_every_frame(finished):
    results = finished.results
    assert (results["recipe"], results["dataset"]) == ("latent-tutorial", "digits")
    assert {"device", "versions", "commit", "seconds"} <= set(results)
    assert len(results["pretraining_loss"]) == 3
    assert [len(results[name]) for name in ("ari", "loss", "label_change")] == [3, 2, 2]
    # The first frame is that of k-means.
    assert results["ari"][0] == results["k_means_ari_before"]


def test_last_ari_is_that_of_the_saved_model(finished):
    digits = load_dataset("digits")
    saved = model.load(finished.folder / "model.safetensors")
    labels = model.predict(saved, digits.x[:350])
    ari = metrics.adjusted_rand_index(digits.labels[:350], labels)
    assert finished.results["ari"][-1] == ari


def test_ari_after_is_that_of_fresh_k_means_on_the_last_z(finished):
    digits = load_dataset("digits")
    saved = model.load(finished.folder / "model.safetensors")
    z = model.transform(saved, digits.x[:350])
    labels = k_means(jax.random.key(7), z, 10).labels
    ari = metrics.adjusted_rand_index(digits.labels[:350], labels)
    assert finished.results["k_means_ari_after"] == ari


def test_network_is_the_tutorial_s(finished):
    saved = model.load(finished.folder / "model.safetensors")
    layers = [(layer.features, layer.activation) for layer in saved.architecture.layers]
    assert layers == [(256, "relu"), (256, "relu"), (10, "linear")]


def test_run_prints_ari_each_epoch_and_k_means_before_and_after(finished):
    lines = finished.out.splitlines()
    ari = [f"{value:.3f}" for value in finished.results["ari"]]
    assert lines[1].startswith("digits: 350 samples of 64 values")
    assert lines[3] == f"After pretraining, ARI {ari[0]}"
    for epoch in (1, 2):
        start = f"Epoch {epoch} of 2, ARI {ari[epoch]}, "
        assert lines[3 + epoch].startswith(start)
        change = finished.results["label_change"][epoch - 1]
        assert lines[3 + epoch].endswith(f", {change:.2%} of clusters changed")
    assert lines[6].startswith(f"ARI of k-means on z {ari[0]} before and ")
    assert lines[6].endswith(f" after, of DEC {ari[2]}")
    assert lines[7] == f"film: {finished.folder / 'latent.gif'}"


# The data.


def test_mnist_is_its_training_part(tmp_path):
    images = np.zeros((60_003, 1, 2), np.uint8)
    images[59_999] = 7
    classes = np.arange(60_003, dtype=np.uint8) % 10
    for part, rows in (("train", slice(60_000)), ("t10k", slice(60_000, None))):
        write_idx(tmp_path, f"{part}-images-idx3-ubyte.gz", images[rows])
        write_idx(tmp_path, f"{part}-labels-idx1-ubyte.gz", classes[rows])
    dataset = latent_tutorial.load(settings("--data-dir", tmp_path))
    assert len(dataset.x) == 60_000
    assert dataset.x[-1].tolist() == [7, 7]


def test_data_without_labels_have_no_ari(without_labels):
    assert without_labels.status == 0
    results = without_labels.results
    assert results["ari"] == []
    assert results["k_means_ari_before"] is results["k_means_ari_after"] is None
    assert "ARI" not in without_labels.out
    assert without_labels.out.splitlines()[3] == "After pretraining"


def test_data_without_labels_are_filmed(finished, without_labels):
    for name in FRAMES:
        frame = (without_labels.folder / "frames" / name).read_bytes()
        assert frame.startswith(b"\x89PNG")
        # The same points in other colors, with other words.
        assert frame != (finished.folder / "frames" / name).read_bytes()


def test_labels_choose_nothing(finished, without_labels):
    with_labels = model.load(finished.folder / "model.safetensors")
    without = model.load(without_labels.folder / "model.safetensors")
    jax.tree.map(np.testing.assert_array_equal, with_labels.params, without.params)


# Ctrl-C.


@pytest.mark.parametrize("title", ["pretraining", "clustering"])
def test_ctrl_c_ends_in_one_line_and_leaves_no_film(tmp_path, monkeypatch, title):
    interrupt_at(monkeypatch, title, 1)
    out = tmp_path / "out"
    run = experiment("--dataset", "digits", "--limit", 350, "--out", out, *SHORT)
    assert run.status == 130
    assert run.err.endswith("\nStopped before there was a film.\n")
    assert [path.name for path in out.iterdir()] == ["config.json"]


# Mistakes: one line, status 2, no folder.

MISTAKES = {
    "dataset": (["--dataset", "digit"], "did you mean 'digits'?"),
    "epochs": (["--epochs", "0"], "--epochs must be at least 1, got 0."),
    "batch": (["--batch-size", "0"], "--batch-size must be at least 1, got 0."),
    "limit": (["--limit", "1798"], "--limit must be at most 1,797, the samples"),
    "clusters": (
        ["--n-clusters", "1798"],
        " must be at most 1797, the number of samples",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_run_rejects_an_option_in_one_line(tmp_path, mistake):
    options, message = MISTAKES[mistake]
    data = [] if "--dataset" in options else ["--dataset", "digits"]
    run = experiment(*data, "--out", tmp_path / "out", *options)
    assert_refused(run, message, tmp_path / "out")


def test_run_rejects_unlabeled_data_without_a_number_of_clusters(unlabeled, tmp_path):
    run = experiment("--dataset", unlabeled, "--out", tmp_path / "out")
    message = "error: -k must be given for mine, which has no labels"
    assert run.status == 2
    assert run.err.startswith(message) and run.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_run_rejects_mp4_without_ffmpeg_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    out = tmp_path / "out"
    run = experiment("--dataset", "digits", "--format", "mp4", "--out", out)
    message = "error: --format mp4 needs the program ffmpeg; install it.\n"
    assert (run.status, run.err) == (2, message)
    assert not out.exists()
