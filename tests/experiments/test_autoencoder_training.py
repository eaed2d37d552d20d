"""Training of autoencoders by the program: start, early stopping, the sweep, Ctrl-C."""

import json
import signal
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from autoencoder_runs import FILES, OF_Z, program, read_history, with_shape
from programs import interrupt_at, read_json

from dec_jax import model
from dec_jax.networks.autoencoder import decode, init_params, reconstruct
from dec_jax.runs.errors import UsageError
from experiments import autoencoder_run, autoencoders
from experiments.autoencoder_run import Settings


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


def views_of(task):
    """The validation samples as a network that was not trained gives them back."""
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
