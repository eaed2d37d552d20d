import csv
import dataclasses
import functools
import json
import signal
import struct
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from programs import interrupt_at, read_json, without_mnist
from programs import program as run_program

from dec_jax import model
from dec_jax.data.dataset import Dataset
from dec_jax.networks.architecture import Conv2D, Dense, MaxPool2D
from dec_jax.networks.architecture_json import load_architecture
from dec_jax.networks.autoencoder import decode, init_params, reconstruct
from dec_jax.runs.errors import UsageError
from experiments import autoencoder_run, autoencoders
from experiments.autoencoder_run import KINDS, Settings

FILES = {"config.json", "results.json", "history.csv", "model.safetensors"}
FIGURES = {"curves.png", "latent.png", "reconstructions.png"}
FIELDS = {
    *("kind", "dataset", "seed", "sparsity", "n_train", "n_validation", "epochs"),
    *("best_epoch", "stop_reason", "training_loss", "validation_loss"),
    *("validation_mse", "k_means", "seconds", "device", "versions", "commit"),
    *("precision", "dataset_source", "dataset_notes", "dataset_sha256", "n_samples"),
}
OF_Z = {"active_fraction", "above_hundredth", "mean_z"}
MORE_FIELDS = {"simple": OF_Z, "sparse": OF_Z, "denoising": {"noise_mse"}}


def program(*arguments):
    """Runs the program in this process."""
    return run_program(autoencoders.main, *arguments)


def read_history(folder):
    with (folder / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


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


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A file with 64-24-10, a sigmoid on both ends."""
    path = tmp_path_factory.mktemp("architecture") / "small.json"
    layers = [
        {"type": "Input", "output_shape": [64]},
        {"type": "Dense", "num_units": 24, "non_linearity": "rectify"},
        {"type": "Dense", "num_units": 10, "non_linearity": "sigmoid"},
    ]
    path.write_text(json.dumps({"output_non_linearity": "sigmoid", "layers": layers}))
    return path


@pytest.fixture
def on_digits(small, tmp_path, monkeypatch):
    """Runs the program with a small network on digits, fast: short, without pictures."""
    monkeypatch.setattr(autoencoder_run, "drawn", lambda *_: {})

    def run(*options, kind="simple", out=tmp_path / "out"):
        # The same for all runs, so that they share what is compiled.
        short = ("--architecture", small, "--epochs", 3, "--batch-size", 64)
        digits = ("--kind", kind, "--dataset", "digits", "--out", out)
        return program(*digits, *short, *options)

    return run


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


def with_shape(x, image_shape=None, name="mine"):
    return Dataset(name, x, None, image_shape, name, 1.0)


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


def views_of(task):
    """What a network that was not trained makes of the validation samples."""
    params = init_params(jax.random.key(0), task.architecture)
    network = model.Model(params, task.architecture)
    return network, autoencoder_run.validation_views(task, network, jax.random.key(1))


def test_table_without_labels_is_neither_drawn_nor_clustered(small, tmp_path):
    rows = np.random.default_rng(0).random((70, 64), np.float32)
    np.save(tmp_path / "table.npy", rows)
    task = autoencoder_run.prepared(
        Settings("simple", str(tmp_path / "table.npy"), architecture=str(small))
    )
    network, views = views_of(task)
    assert autoencoder_run.drawn(task, network, views, jax.random.key(2)) == {}
    found = autoencoder_run.scores(task, views, jax.random.key(2))
    assert set(found) == {"validation_mse", *OF_Z}


# Training.


def start_of(kind, architecture):
    settings = Settings(kind, "digits", architecture=architecture, batch_size=256)
    task = autoencoder_run.prepared(settings)
    stop = SimpleNamespace(asked=False)
    return task, autoencoder_run.start(task, jax.random.key(0), stop).params


def test_start_gives_the_mean_image(small):
    task, params = start_of("simple", str(small))
    bias = params["decoder"]["dense_1"]["bias"]
    mean = task.x.mean(axis=0)
    np.testing.assert_allclose(
        1 / (1 + np.exp(-bias)), np.clip(mean, 0.01, 0.99), atol=1e-6
    )
    assert mean.min() == 0 < mean.max() < 0.99


def test_start_of_a_sparse_one_has_learned_without_the_penalty(small):
    task, before = start_of("simple", str(small))
    _, after = start_of("sparse", str(small))
    errors = [
        ((task.x - reconstruct(params, task.x, architecture=task.architecture)) ** 2)
        for params in (before, after)
    ]
    assert errors[1].mean() < 0.98 * errors[0].mean()


def test_run_stops_early_and_keeps_the_best_epoch(on_digits, tmp_path):
    # Twenty samples are soon learned by heart.
    done = on_digits(
        *("--epochs", 400, "--patience", 2, "--limit", 20, "--learning-rate", 0.05)
    )
    results = read_json(tmp_path / "out/results.json")
    validation = read_history(tmp_path / "out")["validation"]
    best = results["best_epoch"]
    assert results["n_train"] == 20
    assert results["epochs"] == best + 2 < 400
    assert results["stop_reason"] == "no lower validation loss in 2 epochs"
    assert results["stop_reason"] in done.out
    assert min(validation[best:]) > validation[best - 1]
    # Measured once more on the parameters that were kept.
    assert results["validation_mse"] == pytest.approx(validation[best - 1], rel=1e-5)


def test_run_repeats_exactly_by_its_seed(on_digits, tmp_path):
    for name, seed in {"first": 3, "second": 3, "other": 4}.items():
        on_digits("--seed", seed, out=tmp_path / name)
    first, second, other = (
        (tmp_path / name / "history.csv").read_bytes()
        for name in ("first", "second", "other")
    )
    assert first == second != other


def test_denoising_hides_a_fifth_of_the_pixels_behind_salt_and_pepper(small):
    settings = Settings("denoising", "digits", architecture=str(small))
    task = autoencoder_run.prepared(settings)
    network, views = views_of(task)
    np.testing.assert_array_equal(views.clean, task.validation)
    changed = views.seen != views.clean
    assert set(np.unique(views.seen[changed])) == {0, 1}
    x = views.clean
    found = autoencoder_run.scores(task, views, jax.random.key(2))["noise_mse"]
    expected = 0.2 * (0.5 * x**2 + 0.5 * (1 - x) ** 2).mean()
    assert found == pytest.approx(expected, rel=0.05)
    np.testing.assert_array_equal(views.z, model.transform(network, x))
    np.testing.assert_array_equal(views.x_hat, model.reconstruct(network, views.seen))


def test_activity_counts_against_the_largest_value():
    z = np.array([[0.5, 0.04, 0.06], [0.0, 0.005, 0.3]], np.float32)
    x = np.zeros((2, 4), np.float32)
    task = SimpleNamespace(
        settings=Settings("simple"), dataset=with_shape(x), classes=None
    )
    views = autoencoder_run.Views(x, x, x + 0.5, z)
    found = autoencoder_run.scores(task, views, jax.random.key(0))
    assert found["active_fraction"] == pytest.approx(3 / 6)  # above 0.05
    assert found["above_hundredth"] == pytest.approx(4 / 6)
    assert found["mean_z"] == pytest.approx(z.mean())
    assert found["validation_mse"] == 0.25


def test_samples_are_decoded_from_the_prior(monkeypatch):
    task = autoencoder_run.prepared(Settings("variational", "digits"))
    network, views = views_of(task)
    drawn = {}
    monkeypatch.setattr(
        "dec_jax.plots.samples_grid",
        lambda images, shape, **_: drawn.update(images=np.asarray(images)),
    )
    assert "samples.png" in autoencoder_run.drawn(
        task, network, views, jax.random.key(2)
    )
    z = jax.random.normal(jax.random.key(2), (100, 10))
    expected = decode(network.params, z, architecture=network.architecture)
    np.testing.assert_allclose(drawn["images"], expected, rtol=1e-5)


# The sweep.


@pytest.fixture(scope="module")
def swept(small, tmp_path_factory):
    """A sweep of a weight that does nothing and a heavy one."""
    out = tmp_path_factory.mktemp("sweep") / "out"
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(autoencoder_run, "drawn", lambda *_: {})
        monkeypatch.setattr(autoencoders, "SWEEP", (1e-9, 1e-2))
        done = program(
            *("--kind", "sparse", "--sparsity-sweep", "--dataset", "digits"),
            *("--architecture", small, "--epochs", 12, "--batch-size", 64),
            *("--out", out),
        )
    rows = read_json(out / "sweep.json")["rows"]
    return SimpleNamespace(folder=out, rows=rows, **vars(done))


def test_sweep_trains_one_for_each_weight(swept):
    assert swept.status == 0
    assert [row["sparsity"] for row in swept.rows] == [1e-9, 1e-2]
    inner = swept.folder / "sparsity-1e-02"
    results = read_json(inner / "results.json")
    assert swept.rows[1].items() <= results.items()
    config = read_json(inner / "config.json")
    assert config["command"]["sparsity"] == 1e-2
    assert config["pretrain"]["objective"]["sparsity"] == 1e-2


def test_sweep_ends_with_its_table(swept):
    table = swept.out.splitlines()[-5:]
    assert table[0].split()[0] == "weight"
    error = f"{swept.rows[1]['validation_mse']:.5f}"
    assert table[2].split()[:2] == ["1e-02", error]
    assert table[3].startswith("sparsest with at most 1.25 times the least error: ")
    assert table[4] == f"sweep: {swept.folder / 'sweep.json'}"


def test_sparsity_switches_values_of_z_off(swept):
    free, sparse = swept.rows
    assert sparse["active_fraction"] < 0.8 * free["active_fraction"]
    assert sparse["above_hundredth"] < free["above_hundredth"]
    assert sparse["mean_z"] < 0.5 * free["mean_z"]


def test_validation_loss_of_a_sparse_one_holds_the_penalty(swept):
    inner = swept.folder / "sparsity-1e-02"
    results = read_json(inner / "results.json")
    # The L1 norm of z is ten times the mean of its ten values.
    expected = results["validation_mse"] + 1e-2 * 10 * results["mean_z"]
    assert results["validation_loss"] == pytest.approx(expected, rel=1e-4)


def test_sparsest_pays_at_most_a_quarter_more():
    names = ("sparsity", "validation_mse", "active_fraction")
    numbers = [(1e-9, 0.020, 0.9), (1e-3, 0.024, 0.4), (1e-2, 0.026, 0.1)]
    rows = [dict(zip(names, row, strict=True)) for row in numbers]
    assert autoencoders.sparsest(rows)["sparsity"] == 1e-3


# Ctrl-C.


def test_ctrl_c_ends_after_the_epoch_and_keeps_the_results(
    on_digits, tmp_path, monkeypatch
):
    before = signal.getsignal(signal.SIGINT)
    interrupt_at(monkeypatch, "simple", 2, modules=[autoencoder_run])
    done = on_digits()
    assert done.status == 130
    assert "stopped by Ctrl-C after epoch 2: 2 epochs in " in done.out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *FILES,
        "curves.png",
    }
    results = read_json(tmp_path / "out/results.json")
    assert results["stop_reason"] == "stopped by Ctrl-C after epoch 2"
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_ends_a_sweep_with_the_table_so_far(on_digits, tmp_path, monkeypatch):
    interrupt_at(monkeypatch, "sparse", 1, modules=[autoencoder_run])
    # As long as the sweep above, for what is compiled.
    done = on_digits("--sparsity-sweep", "--epochs", 12, kind="sparse")
    assert done.status == 130
    assert len(read_json(tmp_path / "out/sweep.json")["rows"]) == 1
    assert done.out.splitlines()[-3].split()[0] == "1e-09"


def test_second_ctrl_c_ends_at_once(on_digits, tmp_path, monkeypatch):
    interrupt_at(monkeypatch, "simple", 1, 1, modules=[autoencoder_run])
    done = on_digits()
    assert done.status == 130
    assert done.err.endswith("Stopped at once, without results.\n")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["config.json"]


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
    assert done.status == 2
    assert done.err.startswith("error: ") and message in done.err
    assert done.err.count("\n") == 1
    assert not out.exists()


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
    assert done.status == 2
    assert message in done.err
    assert done.err.count("\n") == 1
    assert not out.exists()


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


@pytest.mark.parametrize("kind", ["simple", "variational"])
def test_prepared_rejects_a_network_of_another_kind(small, tmp_path, kind):
    path = tmp_path / "other.json"
    other = {**json.loads(small.read_text()), "variational": kind == "simple"}
    path.write_text(json.dumps(other))
    with pytest.raises(UsageError, match="needs an architecture with variational="):
        autoencoder_run.prepared(Settings(kind, "digits", architecture=str(path)))


def test_loss_that_diverges_ends_in_one_line(on_digits):
    done = on_digits("--learning-rate", "1e38")
    assert done.status == 1
    assert "error: The pretraining loss is " in done.err
    assert "lower the learning rate" in done.err
