import contextlib
import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import dec_jax.data.load
import dec_jax.recipes.dense
from dec_jax import model
from dec_jax.cli import options as cli
from dec_jax.cli import predict
from dec_jax.data.load import load_dataset
from dec_jax.runs import folder as run_folder
from dec_jax.runs import progress as interrupt
from dec_jax.runs import provenance
from dec_jax.runs import run as seed_run
from dec_jax.training.optimizer import Optimizer
from experiments import collect_results as kept_results

ROOT = Path(__file__).parents[2]
PROGRAM = "python -m experiments.mnist_dec"
# The same for all runs, so that they share what is compiled.
SHORT = ["--epochs", "2", "--max-intervals", "3"]
BEFORE_ALL_RUNS = signal.getsignal(signal.SIGINT)
PICTURES = {"centroids.png", "members.png"}
FIGURES = {"latent.png", "curves.png", "confusion.png"}
TABLES = {"config.json", "results.json", "history.csv", "labels.csv", "report.txt"}
SCORED = {"report.txt", "confusion.png"}  # where there are labels
MODELS = {"autoencoder.safetensors", "model.safetensors"}


def experiment(*arguments):
    """The experiment in this process: its exit status and what it printed."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.main([str(argument) for argument in arguments], program=PROGRAM)
    return SimpleNamespace(status=status, out=out.getvalue(), err=err.getvalue())


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def without_mnist(monkeypatch, folder):
    """No folder, no TFDS cache, and a proxy that refuses every connection."""
    monkeypatch.delenv("DEC_JAX_DATA", raising=False)
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder / "tfds"))
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for variable in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)


def blob_table():
    """90 rows of 36 numbers: the first, the second or every other half is large."""
    centers = np.zeros((3, 36), np.float32)
    centers[0, :18] = centers[1, 18:] = centers[2, ::2] = 0.8
    classes = np.arange(90) % 3
    noise = np.random.default_rng(0).normal(0, 0.1, (90, 36))
    return (centers[classes] + noise).astype(np.float32), classes


@pytest.fixture
def labeled(tmp_path):
    x, y = blob_table()
    np.savez(tmp_path / "blobs.npz", x=x, y=y)
    return tmp_path / "blobs.npz"


@pytest.fixture
def unlabeled(tmp_path):
    np.savez(tmp_path / "blobs.npz", x=blob_table()[0])
    return tmp_path / "blobs.npz"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An unbroken run of two seeds on a labeled table."""
    folder = tmp_path_factory.mktemp("finished")
    x, y = blob_table()
    np.savez(folder / "blobs.npz", x=x, y=y)
    out = folder / "out"
    run = experiment(
        *("--dataset", folder / "blobs.npz", "--seeds", 2, "--seed", 3, "--out", out),
        *SHORT,
    )
    return SimpleNamespace(folder=out, inner=out / "seed-3", **vars(run))


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """An unbroken run of the default data set where no MNIST can be had."""
    folder = tmp_path_factory.mktemp("digits")
    with pytest.MonkeyPatch.context() as monkeypatch:
        without_mnist(monkeypatch, folder)
        run = experiment("--out", folder / "out", *SHORT)
    return SimpleNamespace(folder=folder / "out", **vars(run))


def interrupt_at(monkeypatch, title, count, seed=None):
    """Sends Ctrl-C's signal once the bar of a phase has come to `count`."""
    bar_of, first_bars = interrupt.bar_of, []

    def watched(name, *arguments):
        bar = bar_of(name, *arguments)
        update = bar.update
        first_bars.append(name == "k-means on pixels")
        in_seed = seed is None or sum(first_bars) == seed

        def update_and_signal(steps=1):
            update(steps)
            if in_seed and name == title and bar.n == count:
                os.kill(os.getpid(), signal.SIGINT)

        bar.update = update_and_signal
        return bar

    for module in (interrupt, seed_run):
        monkeypatch.setattr(module, "bar_of", watched)


# The command line.


def test_cli_lists_the_recipes_of_the_library():
    assert tuple(dec_jax.recipes.dense.RECIPES) == cli.RECIPES
    assert dec_jax.networks.precision.PRECISIONS == cli.PRECISIONS
    assert ("k-means", *interrupt.TITLES) == cli.STARTS


def test_cli_lists_the_data_sets_of_the_library():
    assert dec_jax.data.load.DATASETS == cli.DATASETS


def test_help_lists_recipes_and_data_sets_without_loading_jax():
    script = (
        "import runpy, sys\n"
        "sys.argv = ['mnist_dec', '--help']\n"
        "try: runpy.run_module('experiments.mnist_dec', run_name='__main__')\n"
        "finally: print('loaded:', sorted({'jax', 'numpy', 'dec_jax'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "recipes: dec, dec-paper, dec-keras" in done.stdout
    assert "data sets: mnist, fashion_mnist, usps, coil20, stl10," in done.stdout
    assert done.stdout.endswith("loaded: []\n")


def test_module_answers_help():
    done = subprocess.run(
        [sys.executable, "-m", "experiments.mnist_dec", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {PROGRAM}")


def test_main_rejects_an_unknown_option(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--epoch-count", "3"], program=PROGRAM)
    assert ended.value.code == 2
    assert "unrecognized arguments: --epoch-count" in capsys.readouterr().err


def test_resolve_fills_in_the_defaults():
    assert cli.resolve({"epochs": 3, "out": "x"}) == {**cli.DEFAULTS, "epochs": 3}


@pytest.mark.parametrize(
    "name", ["seeds", "epochs", "max_intervals", "batch_size", "n_clusters"]
)
def test_resolve_rejects_numbers_below_1(name):
    with pytest.raises(cli.UsageError, match=f"{cli.flag(name)} must be at least 1"):
        cli.resolve({name: 0})


def write_config(folder, **command):
    content = {"command": {**cli.DEFAULTS, **command}}
    (folder / "config.json").write_text(json.dumps(content))


def test_resolve_takes_the_settings_of_the_run_to_be_resumed(tmp_path):
    write_config(tmp_path, dataset="digits", seeds=3)
    settings = cli.resolve({"resume": str(tmp_path), "seeds": 3})
    assert settings == {**cli.DEFAULTS, "dataset": "digits", "seeds": 3}


def test_resolve_rejects_a_setting_that_the_run_did_not_have(tmp_path):
    write_config(tmp_path, batch_size=64)
    message = "that run has --batch-size 64, not 32; leave the option out"
    with pytest.raises(cli.UsageError, match=message):
        cli.resolve({"resume": str(tmp_path), "batch_size": 32})


def test_resolve_rejects_out_together_with_resume(tmp_path):
    with pytest.raises(cli.UsageError, match="--out and --resume name two folders"):
        cli.resolve({"resume": str(tmp_path), "out": str(tmp_path)})


def test_resolve_rejects_a_folder_without_a_run(tmp_path):
    with pytest.raises(cli.UsageError, match="there is no config.json in it"):
        cli.resolve({"resume": str(tmp_path)})


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"command": 3}', '{"command": {"seed": 0}}']
)
def test_resolve_rejects_a_damaged_config(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(cli.UsageError, match="config.json is damaged"):
        cli.resolve({"resume": str(tmp_path)})


# What a run leaves behind.


def test_a_table_has_no_pictures_of_samples(finished):
    assert {path.name for path in finished.inner.glob("*.png")} == FIGURES


def test_run_ends_well_and_leaves_nothing_but_its_files(finished):
    assert finished.status == 0
    left = {path.name for path in finished.folder.iterdir()}
    assert left == {"config.json", "summary.json", "seed-3", "seed-4"}
    assert {path.name for path in finished.inner.iterdir()} == FIGURES | TABLES | MODELS


def test_figures_are_png_files(digits):
    for name in FIGURES | PICTURES:
        assert (digits.folder / name).read_bytes().startswith(b"\x89PNG\r\n")


def test_results_say_what_was_measured_and_where(finished):
    results = json.loads((finished.inner / "results.json").read_text())
    assert results["recipe"] == "dec"
    assert results["dataset"] == "blobs"
    assert len(results["dataset_sha256"]) == 64
    assert (results["n_samples"], results["n_clusters"]) == (90, 3)
    assert results["seed"] == 3
    assert results["device"] == provenance.device()
    assert results["commit"] == provenance.commit()
    assert {"python", "jax", "numpy"} <= set(results["versions"])
    phases = ["k-means on pixels", "pretraining", "k-means on z", "clustering"]
    assert list(results["seconds"]) == [*phases, "total"]
    assert results["n_iter"] >= 1
    assert results["stop_reason"]
    assert sum(results["cluster_sizes"]) == 90
    assert set(results["figures"]) == FIGURES


def test_results_score_every_stage(finished):
    stages = json.loads((finished.inner / "results.json").read_text())["stages"]
    names = [stage["name"] for stage in stages]
    assert names == ["k-means on pixels", "k-means on z", "DEC"]
    for stage in stages:
        assert set(stage) == {"name", "acc", "nmi", "ari", "seconds"}
    # Three far blobs: pixels alone tell them apart.
    assert [stages[0][name] for name in ("acc", "nmi", "ari")] == [1, 1, 1]


def test_config_holds_command_recipe_and_data(finished):
    config = json.loads((finished.folder / "config.json").read_text())
    assert config["command"]["seeds"] == 2
    assert config["recipe"]["pretrain"]["epochs"] == 2
    assert config["recipe"]["objective"]["name"] == "DEC"
    assert config["dataset"]["name"] == "blobs"


def test_history_has_a_row_for_each_epoch_and_interval(finished):
    rows = read_csv(finished.inner / "history.csv")
    pretraining = [row for row in rows if row["phase"] == "pretraining"]
    intervals = [row for row in rows if row["phase"] == "clustering"]
    assert [row["number"] for row in pretraining] == ["1", "2"]
    assert 1 <= len(intervals) <= 3
    assert len(rows) == len(pretraining) + len(intervals)
    assert float(pretraining[0]["loss"]) > float(pretraining[1]["loss"])
    largest, smallest = (
        intervals[0]["largest_cluster"],
        intervals[0]["smallest_cluster"],
    )
    assert 90 >= int(largest) >= int(smallest) >= 0


def test_history_says_how_sizes_and_q_were(digits):
    rows = read_csv(digits.folder / "history.csv")
    last = [row for row in rows if row["phase"] == "clustering"][-1]
    assert last["empty_clusters"] == last["reseeded"] == "0"
    assert 0.9 < float(last["evenness"]) <= 1
    assert 0.1 < float(last["max_q"]) < 1
    assert 0 < float(last["q_entropy"]) < 1
    pretraining = rows[0]
    assert pretraining["max_q"] == pretraining["reseeded"] == ""


def test_results_hold_health_of_the_final_clusters(finished):
    results = json.loads((finished.inner / "results.json").read_text())
    found, sizes = results["health"], results["cluster_sizes"]
    assert found["healthy"] == (not found["warnings"])
    assert found["n_empty"] == sizes.count(0)
    assert (found["smallest"], found["largest"]) == (min(sizes), max(sizes))
    q = [float(row["q"]) for row in read_csv(finished.inner / "labels.csv")]
    assert found["max_q"] == pytest.approx(np.mean(q), abs=1e-5)


def test_run_warns_once_of_each_sign_of_collapse(labeled, tmp_path, monkeypatch):
    published = dec_jax.recipes.dense.dec

    def steep(shape, architecture):
        recipe = published(shape, architecture)
        far_too_large = Optimizer("sgd", 1000.0)
        return replace(recipe, train=replace(recipe.train, optimizer=far_too_large))

    monkeypatch.setitem(dec_jax.recipes.dense.RECIPES, "dec", steep)
    out = tmp_path / "out"
    run = experiment("--dataset", labeled, "--out", out, *SHORT)
    assert run.status == 0
    assert run.err.count("warning: interval 2: mean max q is ") == 1
    assert run.err.count("of a uniform q: lower") == 1
    assert "training was unstable: " in run.out.splitlines()[-1]
    found = json.loads((out / "results.json").read_text())["health"]
    assert not found["healthy"]
    assert any("of a uniform q" in text for text in found["warnings"])


def test_labels_hold_cluster_confidence_and_class_of_each_sample(finished):
    rows = read_csv(finished.inner / "labels.csv")
    assert list(rows[0]) == ["index", "cluster", "q", "class"]
    assert [int(row["index"]) for row in rows] == list(range(90))
    assert [int(row["class"]) for row in rows] == [0, 1, 2] * 30
    sizes = json.loads((finished.inner / "results.json").read_text())["cluster_sizes"]
    clusters = [int(row["cluster"]) for row in rows]
    assert np.bincount(clusters, minlength=3).tolist() == sizes
    assert all(1 / 3 <= float(row["q"]) <= 1 for row in rows)


def test_report_matches_clusters_to_classes_first(finished):
    report = (finished.inner / "report.txt").read_text()
    acc = json.loads((finished.inner / "results.json").read_text())["stages"][-1]["acc"]
    (line,) = (line for line in report.splitlines() if "accuracy" in line)
    assert float(line.split()[1]) == pytest.approx(acc, abs=0.01)


def test_run_says_where_it_computes_and_on_what(finished):
    first, second, third = finished.out.splitlines()[:3]
    assert first.startswith(f"dec_jax on {provenance.device()}, jax ")
    assert second.startswith("blobs: 90 samples of 36 values (npz file ")
    assert second.endswith("; 3 clusters, recipe dec")
    assert third == f"results: {finished.folder}"


def test_run_prints_a_table_of_the_stages(finished):
    lines = finished.out.splitlines()
    header = next(index for index, line in enumerate(lines) if "ACC" in line)
    assert lines[header].split() == ["ACC", "NMI", "ARI", "seconds"]
    assert lines[header + 1].startswith("k-means on pixels    1.000   1.000   1.000")
    assert lines[header + 2].startswith("k-means on z ")
    assert lines[header + 3].startswith("DEC ")
    assert "; ended because " in lines[header + 4]
    assert lines[header + 5].startswith("training was stable: clusters of ")


def test_run_shows_a_bar_for_each_phase(finished):
    for title in ("k-means on pixels", "pretraining", "k-means on z", "clustering"):
        assert f"\r{title:<17}   0% |" in finished.err
    assert "\rpretraining       100% |" in finished.err


def test_two_seeds_are_summed_up(finished):
    summary = json.loads((finished.folder / "summary.json").read_text())
    assert summary["seeds"] == [3, 4]
    inner = [
        json.loads((finished.folder / f"seed-{seed}/results.json").read_text())
        for seed in (3, 4)
    ]
    assert summary["acc"] == [one["stages"][-1]["acc"] for one in inner]
    assert summary["seconds"] == [one["seconds"]["total"] for one in inner]
    assert {"dataset", "recipe", "device", "versions", "commit"} <= set(summary)


def test_two_seeds_print_mean_sd_least_and_most(finished):
    lines = finished.out.splitlines()
    header = lines.index(next(line for line in lines if line.startswith("2 seeds")))
    assert lines[header].split()[2:] == ["mean", "sd", "min", "max"]
    pixels = lines[header + 1].split()
    assert pixels == [
        "k-means",
        "on",
        "pixels",
        "ACC",
        "1.000",
        "0.000",
        "1.000",
        "1.000",
    ]
    assert lines[-1].startswith("seconds a seed ")


def test_three_seeds_are_chosen_among_without_labels(labeled, tmp_path):
    out = tmp_path / "out"
    run = experiment("--dataset", labeled, "--seeds", 3, "--out", out, *SHORT)
    summary = json.loads((out / "summary.json").read_text())
    chosen = summary["chosen_seed"]
    scores = summary["label_free"]
    assert scores["stability"][chosen] == max(scores["stability"])
    inner = json.loads((out / f"seed-{chosen}/results.json").read_text())
    for name, value in inner["label_free"].items():
        assert scores[name][chosen] == value
    last = run.out.splitlines()[-1]
    assert last.startswith(f"chosen without labels: seed {chosen}, which agrees most ")
    acc = summary["acc"]
    assert last.endswith(f"ACC {acc[chosen]:.3f}, mean {np.mean(acc):.3f}")


def test_two_seeds_leave_no_choice(finished):
    summary = json.loads((finished.folder / "summary.json").read_text())
    assert not {"label_free", "chosen_seed"} & set(summary)


def test_unlabeled_data_need_a_number_of_clusters(unlabeled, tmp_path):
    run = experiment("--dataset", unlabeled, "--out", tmp_path / "out")
    assert run.status == 2
    message = "error: blobs has no labels to count classes by; give --n-clusters.\n"
    assert run.err == message
    assert not (tmp_path / "out").exists()


def test_unlabeled_data_are_scored_without_classes(unlabeled, tmp_path):
    out = tmp_path / "out"
    run = experiment("--dataset", unlabeled, "--n-clusters", 3, "--out", out, *SHORT)
    assert run.status == 0
    left = {path.name for path in out.iterdir()}
    assert left == (TABLES | MODELS | FIGURES) - SCORED
    header = next(line for line in run.out.splitlines() if "silhouette" in line)
    scores = ["smallest", "largest", "evenness", "silhouette"]
    assert header.split() == [*scores, "seconds"]
    for stage in json.loads((out / "results.json").read_text())["stages"]:
        assert set(stage) == {"name", "seconds", *scores}
    assert list(read_csv(out / "labels.csv")[0]) == ["index", "cluster", "q"]
    assert read_csv(out / "history.csv")[-1]["acc"] == ""


# Another start than the recipe's.


def test_run_starts_from_the_labels_that_are_asked_for(labeled, tmp_path, monkeypatch):
    before = ("--dataset", labeled, "--start", "spectral")
    assert experiment(*before, "--out", tmp_path / "out", *SHORT).status == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    names = ["k-means on pixels", "k-means on z", "spectral on z", "DEC"]
    assert [stage["name"] for stage in results["stages"]] == names
    assert (results["recipe"], results["start"]) == ("dec", "spectral")
    # And is not mixed up with the recipe as it is published.
    monkeypatch.setattr(kept_results, "KEPT", tmp_path)
    target = kept_results.keep(tmp_path / "out")
    assert target.name == f"{results['dataset']}-dec-spectral.json"
    assert "| `dec --start spectral` |" in kept_results.recipes_table()
    assert "| `dec --start spectral` |" in kept_results.starts_table()
    # The other way about, a recipe that has a graph goes without.
    plain = ("--dataset", labeled, "--recipe", "best", "--start", "k-means")
    five = ("--epochs", 2, "--max-intervals", 5)
    assert experiment(*plain, "--out", tmp_path / "plain", *five).status == 0
    stages = json.loads((tmp_path / "plain/results.json").read_text())["stages"]
    assert [stage["name"] for stage in stages] == [*names[:2], "IDEC"]


def test_normalized_samples_have_no_brightness(tmp_path):
    images = np.random.default_rng(0).random((90, 6, 6), np.float32)
    images[-1] = images[0]
    kept = []
    for brightness in (1.0, 0.5 ** (np.arange(90).reshape(90, 1, 1) % 16)):
        np.save(tmp_path / "x.npy", images * brightness)
        out = tmp_path / f"out{len(kept)}"
        options = ("--dataset", tmp_path / "x.npy", "--n-clusters", 3, "--normalize")
        assert experiment(*options, "--out", out, *SHORT).status == 0
        results = json.loads((out / "results.json").read_text())
        assert (results["recipe"], results["normalize"]) == ("dec", True)
        kept.append((out / "labels.csv").read_text())
    assert kept[0] == kept[1]
    # A saved model normalizes new samples as well.
    saved = model.load(out / "model.safetensors")
    x = images[:9].reshape(9, 36)
    np.testing.assert_array_equal(
        model.predict_proba(saved, x), model.predict_proba(saved, x / 16)
    )


def test_clusters_below_a_share_start_again(labeled, tmp_path):
    out = tmp_path / "out"
    options = ("--dataset", labeled, "--n-clusters", 7, "--reseed-below", 0.9)
    assert experiment(*options, "--out", out, *SHORT).status == 0
    results = json.loads((out / "results.json").read_text())
    assert results["reseed_below"] == 0.9
    rows = [r for r in read_csv(out / "history.csv") if r["phase"] == "clustering"]
    assert any(int(row["reseeded"]) > 0 for row in rows)


@pytest.mark.parametrize("options", [("--recipe", "n2d"), ("--start", "umap")])
def test_run_misses_umap_before_it_trains(labeled, tmp_path, monkeypatch, options):
    monkeypatch.setitem(sys.modules, "umap", None)
    out = tmp_path / "out"
    run = experiment("--dataset", labeled, *options, "--out", out)
    assert run.status == 2
    assert run.err.startswith("error: umap_mixture needs umap-learn: pip install ")
    assert run.err.count("\n") == 1
    assert not out.exists()


# A network that learns the labels of another.


LEARN = ("--dataset", "digits", "--recipe", "best", "--epochs", 20)
LEARN += ("--max-intervals", 6)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """An unbroken run in which a second network learns what the graph of z says."""
    folder = tmp_path_factory.mktemp("learned")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(dec_jax.recipes.dense, "FEWEST_TO_LEARN", 1_000)
        run = experiment(*LEARN, "--out", folder / "out")
    return SimpleNamespace(folder=folder / "out", **vars(run))


def test_a_learner_ends_near_the_labels_that_it_was_given(learned):
    assert learned.status == 0, learned.err
    results = json.loads((learned.folder / "results.json").read_text())
    names = ["k-means on pixels", "k-means on z", "spectral on z", "DEC"]
    assert [stage["name"] for stage in results["stages"]] == names
    given, found = (stage["acc"] for stage in results["stages"][2:])
    assert found > given - 0.05
    # At first it knew nothing: that is no sign of collapse.
    history = read_csv(learned.folder / "history.csv")
    first = next(row for row in history if row["phase"] == "clustering")
    assert float(first["acc"]) < 0.5
    assert "of a uniform q" not in learned.err


def test_a_learner_leaves_a_model_of_itself_and_the_autoencoder(learned):
    data = load_dataset("digits")
    one = model.load(learned.folder / "model.safetensors")
    labels = [int(row["cluster"]) for row in read_csv(learned.folder / "labels.csv")]
    np.testing.assert_array_equal(model.predict(one, data), labels)
    assert type(one.architecture.layers[0]).__name__ == "Conv2D"
    assert "decoder" not in one.params
    assert "decoder" in model.load(learned.folder / "autoencoder.safetensors").params
    assert (learned.folder / "centroids.png").exists()


def test_a_learner_resumes_exactly(learned, tmp_path, monkeypatch):
    monkeypatch.setattr(dec_jax.recipes.dense, "FEWEST_TO_LEARN", 1_000)
    interrupt_at(monkeypatch, "clustering", 3)
    out = tmp_path / "out"
    before = ("--pretrained", learned.folder)
    stopped = experiment(*LEARN, *before, "--out", out)
    assert stopped.status == cli.STOPPED
    monkeypatch.undo()
    monkeypatch.setattr(dec_jax.recipes.dense, "FEWEST_TO_LEARN", 1_000)
    assert experiment("--resume", out).status == 0
    for name in ("labels.csv", "model.safetensors"):
        assert (out / name).read_bytes() == (learned.folder / name).read_bytes(), name


def test_mean_samples_are_those_of_each_cluster():
    x = np.array([[0, 4], [2, 8], [250, 251]], np.uint8)
    means = run_folder._mean_samples(x, np.array([2, 2, 0]), 3)
    np.testing.assert_array_equal(means, [[250, 251], [0, 0], [1, 6]])


# Where no MNIST can be had.


def test_digits_stand_in_for_mnist_and_the_first_line_says_so(digits):
    assert digits.status == 0
    first, second, third = digits.out.splitlines()[:3]
    assert first.startswith("digits (embedded) stand in for MNIST: mnist was not found")
    assert second.startswith("dec_jax on ")
    assert third.startswith("digits: 1,797 samples of 64 values")


def test_digits_that_stood_in_stand_in_the_results(digits):
    results = json.loads((digits.folder / "results.json").read_text())
    assert results["dataset"] == "digits"
    config = json.loads((digits.folder / "config.json").read_text())
    assert config["command"]["dataset"] == "digits"
    assert results["note"] == digits.out.splitlines()[0]


def test_mnist_by_name_is_an_error_where_it_cannot_be_had(tmp_path, monkeypatch):
    without_mnist(monkeypatch, tmp_path)
    run = experiment("--dataset", "mnist", "--out", tmp_path / "out")
    assert run.status == 2
    assert run.err.startswith("error: mnist was not found: no folder was given; TFDS")
    assert run.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


# Mistakes: one line, status 2, no folder.


def with_nan(path):
    x, _ = blob_table()
    x[5, 7] = np.nan
    np.savez(path, x=x)


MISTAKES = {
    "recipe": (["--recipe", "dec-kera"], "did you mean 'dec-keras'?"),
    "clusters": (["--n-clusters", "91"], "Cannot place 91 centroids on 90 samples"),
    "epochs": (["--epochs", "0"], "--epochs must be at least 1, got 0."),
    "reseed": (["--reseed-below", "1"], "reseed_below must be in [0, 1), a share of"),
    "data_dir": (["--data-dir", "."], "data_dir must not be given with a file"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_run_rejects_an_option_in_one_line(labeled, tmp_path, mistake):
    options, message = MISTAKES[mistake]
    out = tmp_path / "out"
    run = experiment("--dataset", labeled, "--out", out, *options)
    assert run.status == 2
    assert run.err.startswith("error: ") and message in run.err
    assert run.err.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("fashion-mnist", "did you mean 'fashion_mnist'?"),
        ("nowhere.npz", "The data file nowhere.npz does not exist."),
        ("photos.zip", ".csv, .tsv or .parquet, got photos.zip"),
    ],
)
def test_run_rejects_a_data_set_in_one_line(tmp_path, dataset, message):
    run = experiment("--dataset", dataset, "--out", tmp_path / "out")
    assert run.status == 2
    assert run.err.startswith("error: ") and message in run.err
    assert run.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_run_rejects_a_missing_folder_of_data(tmp_path):
    nowhere = tmp_path / "nowhere"
    run = experiment("--data-dir", nowhere, "--out", tmp_path / "out")
    message = f"error: data_dir must name an existing folder, got '{nowhere}'.\n"
    assert (run.status, run.err) == (2, message)
    assert not (tmp_path / "out").exists()


def test_run_rejects_nan_and_names_the_column(tmp_path):
    with_nan(tmp_path / "nan.npz")
    run = experiment(
        *("--dataset", tmp_path / "nan.npz", "--n-clusters", 3),
        *("--out", tmp_path / "out"),
    )
    assert run.status == 2
    assert "x must be finite: column 7 holds NaN" in run.err
    assert run.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_run_rejects_a_folder_that_is_not_empty(labeled, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    run = experiment("--dataset", labeled, "--out", out)
    assert run.status == 2
    assert f"--out {out} is not an empty folder; take another" in run.err
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("name", ["file", "file/inside"])
def test_run_rejects_a_folder_that_cannot_be_made(labeled, tmp_path, name):
    (tmp_path / "file").write_text("in the way")
    run = experiment("--dataset", labeled, "--out", tmp_path / name)
    assert run.status == 2
    assert run.err.startswith(f"error: --out {tmp_path / name} ")
    assert run.err.count("\n") == 1
    assert (tmp_path / "file").read_text() == "in the way"


def test_prepare_numbers_a_folder_that_nobody_named(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "old").touch()
    assert run_folder.prepare(tmp_path / "run", explicit=False) == tmp_path / "run-2"
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["old"]


def test_pretraining_that_diverges_ends_in_one_line(tmp_path):
    x = 1e9 * np.random.default_rng(0).random((90, 36), np.float32)
    np.savez(tmp_path / "far.npz", x=x, y=np.arange(90) % 3)
    run = experiment(
        *("--dataset", tmp_path / "far.npz", "--recipe", "dec-keras"),
        *("--no-standardize", "--out", tmp_path / "out"),
        *SHORT,
    )
    assert run.status == 2
    last = run.err.splitlines()[-1]
    assert last.startswith("error: The pretraining loss is ")
    assert "lower the learning rate" in last


def test_numbers_of_any_unit_give_the_same_clusters(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels = []
    for unit in (1.0, 2.0**-20):
        x = unit * np.random.default_rng(0).normal(size=(90, 36)).astype(np.float32)
        np.save(tmp_path / "x.npy", x)
        deviation = np.mean(x.var(axis=0)) ** 0.5
        out = tmp_path / f"{unit}"
        run = experiment("--dataset", "x.npy", "--n-clusters", 3, "--out", out, *SHORT)
        assert run.status == 0
        line = f"numbers are divided by {deviation:.4g} (see --no-standardize)"
        assert line in run.out.splitlines()
        labels.append((out / "labels.csv").read_text())
    assert labels[0] == labels[1]
    # Predicted in the file's own unit: each as in training.
    assert predict.main([f"{out}/model.safetensors", "--dataset", "x.npy"]) == 0
    assert Path("labels.csv").read_text() == labels[1]


# Stop and resume.


@pytest.mark.parametrize(
    ("title", "count"),
    [("pretraining", 1), ("pretraining", 2), ("clustering", 1), ("clustering", 2)],
)
def test_run_resumes_exactly(digits, tmp_path, monkeypatch, title, count):
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        interrupt_at(patched, title, count)
        stopped = experiment("--dataset", "digits", "--out", out, *SHORT)
    assert stopped.status == 130
    assert stopped.err.endswith(f"Stopped. Go on with:\n  {PROGRAM} --resume {out}\n")
    assert (out / "checkpoints").is_dir()
    assert not (out / "results.json").exists()

    resumed = experiment("--resume", out)
    assert resumed.status == 0
    assert "resumed after " in resumed.out
    for name in ("labels.csv", "history.csv"):
        assert (out / name).read_bytes() == (digits.folder / name).read_bytes()
    before, after = (
        json.loads((folder / "results.json").read_text())
        for folder in (digits.folder, out)
    )
    for name in ("n_iter", "stop_reason", "pretraining_loss", "cluster_sizes"):
        assert after[name] == before[name]
    for old, new in zip(before["stages"], after["stages"], strict=True):
        assert {**new, "seconds": 0} == {**old, "seconds": 0}
    assert {path.name for path in out.iterdir()} == TABLES | MODELS | FIGURES | PICTURES


def test_digits_take_all_intervals(digits):
    # Else the test above would hold little.
    rows = read_csv(digits.folder / "history.csv")
    assert [row["phase"] for row in rows].count("clustering") == 3
    assert all(row["loss"] for row in rows)


def test_run_stops_in_k_means_and_begins_again(digits, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        interrupt_at(patched, "k-means on pixels", 10)
        stopped = experiment("--dataset", "digits", "--out", out, *SHORT)
    assert stopped.status == 130
    assert stopped.err.count("20/20") == 0
    with monkeypatch.context() as patched:
        interrupt_at(patched, "k-means on z", 10)
        stopped = experiment("--resume", out)
    assert stopped.status == 130
    assert experiment("--resume", out).status == 0
    for name in ("labels.csv", "history.csv"):
        assert (out / name).read_bytes() == (digits.folder / name).read_bytes()


def test_second_interrupt_leaves_at_once(labeled, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        interrupt_at(patched, "pretraining", 1)
        interrupt_at(patched, "pretraining", 1)
        stopped = experiment("--dataset", labeled, "--out", tmp_path / "out", *SHORT)
    assert stopped.status == 130
    assert f"--resume {tmp_path / 'out'}" in stopped.err


def test_interrupt_is_as_it_was_again_after_a_run(finished):
    assert signal.getsignal(signal.SIGINT) is BEFORE_ALL_RUNS


def test_resume_keeps_the_seed_that_was_finished(
    finished, labeled, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        interrupt_at(patched, "k-means on pixels", 10, seed=2)
        stopped = experiment(
            *("--dataset", labeled, "--seeds", 2, "--seed", 3, "--out", out), *SHORT
        )
    assert stopped.status == 130
    first = (out / "seed-3/results.json").read_bytes()
    resumed = experiment("--resume", out)
    assert resumed.status == 0
    assert f"finished before: {out / 'seed-3/results.json'}" in resumed.out
    assert (out / "seed-3/results.json").read_bytes() == first
    for seed in (3, 4):
        labels = (out / f"seed-{seed}/labels.csv").read_bytes()
        assert labels == (finished.folder / f"seed-{seed}/labels.csv").read_bytes()
    summary = json.loads((out / "summary.json").read_text())
    assert summary["seeds"] == [3, 4]


def test_resume_of_a_finished_run_says_so(digits):
    before = {path: path.stat().st_mtime_ns for path in digits.folder.iterdir()}
    run = experiment("--resume", digits.folder)
    assert run.status == 0
    assert f"finished before: {digits.folder / 'results.json'}" in run.out
    assert before == {path: path.stat().st_mtime_ns for path in digits.folder.iterdir()}


def test_resume_of_one_seed_of_several_says_that_it_is_finished(finished, tmp_path):
    shutil.copytree(finished.inner, tmp_path / "seed-3")
    run = experiment("--resume", tmp_path / "seed-3")
    assert run.status == 0
    assert "finished before" in run.out
    assert run.out.count("\nseed ") == 1


@pytest.mark.parametrize("title", ["k-means on pixels", "pretraining"])
def test_resume_rejects_other_data(labeled, tmp_path, monkeypatch, title):
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        interrupt_at(patched, title, 10 if title != "pretraining" else 1)
        experiment("--dataset", labeled, "--out", out, *SHORT)
    x, y = blob_table()
    np.savez(labeled, x=1 - x, y=y)
    run = experiment("--resume", out)
    assert run.status == 2
    last = run.err.splitlines()[-1]
    assert last.startswith(
        f"error: --resume {out}: that is another run: dataset.sha256"
    )


def test_resume_command_names_the_folder_of_data(digits, tmp_path, monkeypatch):
    out = tmp_path / "two words"
    interrupt_at(monkeypatch, "k-means on pixels", 5)
    stopped = experiment(
        "--dataset", "digits", "--data-dir", tmp_path, "--out", out, *SHORT
    )
    command = f"  {PROGRAM} --resume '{out}' --data-dir {tmp_path}\n"
    assert stopped.err.endswith(command)


# Recipes, networks and data beside the default.


def test_devices_share_the_work_and_find_the_same_clusters(finished, tmp_path):
    run = experiment(
        *("--dataset", finished.folder.parent / "blobs.npz", "--seed", 3, *SHORT),
        *("--devices", 2, "--out", tmp_path / "out"),
    )
    assert run.status == 0, run.err
    assert "2 devices, " in run.out
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (results["n_devices"], results["n_processes"]) == (2, 1)
    spread, one = (
        [row["cluster"] for row in read_csv(folder / "labels.csv")]
        for folder in (tmp_path / "out", finished.inner)
    )
    assert spread == one


def test_layerwise_pretraining_runs_and_resumes_exactly(labeled, tmp_path, monkeypatch):
    units = [(16, "rectify"), (8, "rectify"), (3, "linear")]
    layers = [
        {"type": "Dense", "num_units": width, "non_linearity": activation}
        for width, activation in units
    ]
    network = {
        "output_non_linearity": "linear",
        "layers": [{"type": "Input", "output_shape": [36]}, *layers],
    }
    (tmp_path / "small.json").write_text(json.dumps(network))
    arguments = ("--dataset", labeled, "--recipe", "dec-paper", *SHORT)
    arguments += ("--architecture", tmp_path / "small.json")
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert experiment(*arguments, "--out", whole).status == 0
    for title in ("layer 2 of 3", "fine-tuning"):
        with monkeypatch.context() as patched:
            interrupt_at(patched, title, 1)
            start = ("--resume", out) if out.exists() else (*arguments, "--out", out)
            assert experiment(*start).status == 130
    resumed = experiment("--resume", out)
    assert resumed.status == 0, resumed.err
    for name in ("labels.csv", "history.csv", "model.safetensors"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    phases = {row["phase"] for row in read_csv(out / "history.csv")}
    layers = {f"layer {index} of 3" for index in (1, 2, 3)}
    assert phases == {*layers, "fine-tuning", "clustering"}


def test_pretrained_takes_the_autoencoders_of_an_earlier_run(finished, tmp_path):
    run = experiment(
        *("--dataset", finished.folder.parent / "blobs.npz", "--recipe", "dcn"),
        *("--pretrained", finished.folder, "--seeds", 2, "--seed", 3),
        *("--out", tmp_path / "out", *SHORT),
    )
    assert run.status == 0, run.err
    for seed in (3, 4):
        results, earlier = (
            json.loads((folder / f"seed-{seed}" / "results.json").read_text())
            for folder in (tmp_path / "out", finished.folder)
        )
        file = finished.folder / f"seed-{seed}" / "autoencoder.safetensors"
        assert results["pretrained"] == str(file)
        # The same network, the same seed: the same start. Its time counts.
        start, same = (r["stages"][1] | {"seconds": 0} for r in (results, earlier))
        assert start == same
        assert results["seconds"]["pretraining"] == earlier["seconds"]["pretraining"]
        assert results["stages"][2]["name"] == "DCN"


def test_pretrained_rejects_a_folder_without_an_autoencoder(labeled, tmp_path):
    run = experiment(
        "--dataset", labeled, "--pretrained", tmp_path, "--out", tmp_path / "out"
    )
    assert run.status == 2
    message = f"--pretrained {tmp_path}: no autoencoder.safetensors there for seed 0"
    assert message in run.err


def test_pretrained_rejects_another_network(finished, digits, tmp_path):
    file = digits.folder / "autoencoder.safetensors"
    run = experiment(
        *("--dataset", finished.folder.parent / "blobs.npz", "--pretrained", file),
        *("--out", tmp_path / "out", *SHORT),
    )
    assert run.status == 2
    assert "its network is another one than that of recipe dec" in run.err


def test_architecture_puts_another_network_in(tmp_path):
    network = {
        "use_batch_norm": True,
        "output_non_linearity": "linear",
        "layers": [
            {"type": "Input", "output_shape": [1, 8, 8]},
            {
                "type": "Conv2D",
                "num_filters": 3,
                "filter_size": [3, 3],
                "non_linearity": "rectify",
            },
            {"type": "Dense", "num_units": 4, "non_linearity": "linear"},
        ],
    }
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(network))
    out = tmp_path / "out"
    run = experiment(
        *("--dataset", "digits", "--recipe", "kld-conv", "--architecture", file),
        *("--out", out, *SHORT),
    )
    assert run.status == 0, run.err
    stages = json.loads((out / "results.json").read_text())["stages"]
    assert [stage["name"] for stage in stages][-1] == "IDEC"


def test_architecture_rejects_a_network_for_other_samples(labeled, tmp_path):
    run = experiment(
        "--dataset", labeled, "--architecture", "dense", "--out", tmp_path / "out"
    )
    assert run.status == 2
    assert "architecture must take 36 values, as the samples have" in run.err


def test_a_folder_of_images_gives_the_cluster_of_each_file(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for index in range(24):
        pixels = rng.integers(0, 60, (9, 12)).astype(np.uint8)
        pixels[:, : 6 if index % 2 else 12] += 150
        Image.fromarray(pixels).save(photos / f"{index}.png")
    (photos / "broken.png").write_bytes(b"no image")
    arguments = ("--dataset", photos, "--n-clusters", 2, "--image-size", 8, *SHORT)
    refused = experiment(*arguments, "--out", tmp_path / "refused")
    assert refused.status == 2
    assert "broken.png" in refused.err and "skip_unreadable" in refused.err
    out = tmp_path / "out"
    run = experiment(*arguments, "--skip-unreadable", "--out", out)
    assert run.status == 0, run.err
    rows = read_csv(out / "labels.csv")
    assert [row["file"] for row in rows] == [f"{index}.png" for index in range(24)]
    assert "reading images" in run.err


def test_a_table_is_clustered_without_its_label_column(tmp_path):
    x, y = blob_table()
    lines = [",".join([*(f"c{i}" for i in range(36)), "kind"])]
    lines += [
        ",".join([*map(str, row), f"k{label}"]) for row, label in zip(x, y, strict=True)
    ]
    (tmp_path / "blobs.csv").write_text("\n".join(lines))
    out = tmp_path / "out"
    run = experiment(
        *("--dataset", tmp_path / "blobs.csv", "--label-column", "kind"),
        *("--out", out, *SHORT),
    )
    assert run.status == 0, run.err
    results = json.loads((out / "results.json").read_text())
    assert results["n_clusters"] == 3
    assert results["stages"][0]["acc"] == 1


# Where it was measured.


@pytest.mark.parametrize(
    ("cores", "words"), [(1, "1 CPU core ("), (2, "2 CPU cores (")]
)
def test_device_counts_the_cores_of_a_cpu(monkeypatch, cores, words):
    assert 1 <= provenance.cores() <= (os.cpu_count() or 1)
    monkeypatch.setattr(provenance, "cores", lambda: cores)
    assert provenance.device().startswith(words)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("avx2 avx512f avx512_bf16", "2 CPU cores (Some CPU, AVX-512 with bfloat16)"),
        ("avx2 avx512f", "2 CPU cores (Some CPU, AVX-512)"),
        ("sse2 avx avx2", "2 CPU cores (Some CPU, AVX2)"),
        ("sse2 avx", "2 CPU cores (Some CPU)"),
    ],
)
def test_device_names_the_widest_instructions(monkeypatch, tmp_path, flags, words):
    cpuinfo = tmp_path / "cpuinfo"
    core = f"model name\t: Some CPU\nflags\t\t: fpu {flags} sme\n"
    cpuinfo.write_text(f"{core}\n{core}")
    monkeypatch.setattr(provenance, "CPUINFO", cpuinfo)
    monkeypatch.setattr(provenance, "cores", lambda: 2)
    assert provenance.device() == words


def test_versions_hold_what_decides_a_result():
    import jax

    assert provenance.versions()["jax"] == jax.__version__


def test_commit_is_that_of_the_checkout():
    described = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if described.returncode:
        pytest.skip("not a git checkout")
    provenance.commit.cache_clear()
    assert provenance.commit().removesuffix("-dirty") == described.stdout.strip()
