import re
from dataclasses import replace

import numpy as np
import pytest
from programs import (
    SHORT,
    blob_table,
    cluster,
    interrupt_at,
    program,
    read_csv,
    read_json,
    without_mnist,
)

from dec_jax.parallel.hardware import device_name
from dec_jax.recipes import dense
from dec_jax.runs import folder as run_folder
from dec_jax.runs import provenance
from dec_jax.training.optimizer import Optimizer
from experiments import mnist_dec

PICTURES = {"centroids.png", "members.png"}
FIGURES = {"latent.png", "curves.png", "confusion.png"}
TABLES = {"config.json", "results.json", "history.csv", "labels.csv", "report.txt"}
SCORED = {"report.txt", "confusion.png"}  # where there are classes
TABLES |= {"duplicates.csv", "outliers.csv", "hierarchy.json"}
MODELS = {"autoencoder.safetensors", "model.safetensors"}


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
    results = read_json(finished.inner / "results.json")
    assert results["recipe"] == "dec"
    assert results["dataset"] == "blobs"
    assert len(results["dataset_sha256"]) == 64
    assert (results["n_samples"], results["n_clusters"]) == (90, 3)
    assert results["seed"] == 3
    assert results["device"] == device_name()
    assert results["commit"] == provenance.commit()
    assert {"python", "jax", "numpy"} <= set(results["versions"])
    phases = ["k-means on the data", "pretraining", "k-means on z", "clustering"]
    assert list(results["seconds"]) == [*phases, "total"]
    assert results["n_iter"] >= 1
    assert results["stop_reason"]
    assert sum(results["cluster_sizes"]) == 90
    assert set(results["figures"]) == FIGURES


def test_results_score_every_stage(finished):
    stages = read_json(finished.inner / "results.json")["stages"]
    names = [stage["name"] for stage in stages]
    assert names == ["k-means on the data", "k-means on z", "dec"]
    for stage in stages:
        assert set(stage) == {"name", "acc", "nmi", "ari", "seconds"}
    # Three far blobs: the data alone tell them apart.
    assert [stages[0][name] for name in ("acc", "nmi", "ari")] == [1, 1, 1]


def test_config_holds_command_recipe_and_data(finished):
    config = read_json(finished.folder / "config.json")
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
    assert 0 < float(last["evenness"]) <= 1
    assert 0.1 < float(last["max_q"]) < 1
    assert 0 < float(last["q_entropy"]) < 1
    pretraining = rows[0]
    assert pretraining["max_q"] == pretraining["reseeded"] == ""


def test_results_hold_health_of_the_final_clusters(finished):
    results = read_json(finished.inner / "results.json")
    found, sizes = results["health"], results["cluster_sizes"]
    assert found["healthy"] == (not found["warnings"])
    assert found["n_empty"] == sizes.count(0)
    assert (found["smallest"], found["largest"]) == (min(sizes), max(sizes))
    q = [float(row["q"]) for row in read_csv(finished.inner / "labels.csv")]
    assert found["max_q"] == pytest.approx(np.mean(q), abs=1e-5)


def test_run_warns_once_of_each_sign_of_collapse(
    on_blobs, no_figures, tmp_path, monkeypatch
):
    published = dense.dec

    def steep(shape, architecture):
        recipe = published(shape, architecture)
        far_too_large = Optimizer("sgd", 1000.0)
        return replace(recipe, train=replace(recipe.train, optimizer=far_too_large))

    monkeypatch.setitem(dense.RECIPES, "dec", steep)
    out = tmp_path / "out"
    run = cluster(*on_blobs, "--out", out)
    assert run.status == 0
    assert run.err.count("warning: interval 2: mean max q is 0.33") == 1
    assert run.err.count("mean max q") == 1
    found = read_json(out / "results.json")["health"]
    assert not found["healthy"]
    assert any(text.startswith("mean max q is 0.33") for text in found["warnings"])


def test_labels_hold_cluster_confidence_and_class_of_each_sample(finished):
    rows = read_csv(finished.inner / "labels.csv")
    assert list(rows[0]) == ["index", "cluster", "q", "typical", "class"]
    assert [int(row["index"]) for row in rows] == list(range(90))
    assert [int(row["class"]) for row in rows] == [0, 1, 2] * 30
    sizes = read_json(finished.inner / "results.json")["cluster_sizes"]
    clusters = [int(row["cluster"]) for row in rows]
    assert np.bincount(clusters, minlength=3).tolist() == sizes
    assert all(1 / 3 <= float(row["q"]) <= 1 for row in rows)


def test_report_matches_clusters_to_classes_first(finished):
    report = (finished.inner / "report.txt").read_text()
    acc = read_json(finished.inner / "results.json")["stages"][-1]["acc"]
    (line,) = (line for line in report.splitlines() if "accuracy" in line)
    assert float(line.split()[1]) == pytest.approx(acc, abs=0.01)


def test_run_says_where_it_computes_and_on_what(finished):
    first, second, third = finished.out.splitlines()[:3]
    assert first.startswith(f"dec_jax on {device_name()}, jax ")
    assert second.startswith("blobs: 90 samples of 36 values (npz file ")
    assert second.endswith("; 3 clusters, recipe dec")
    assert third == f"results: {finished.folder}"


def test_run_prints_a_table_of_the_stages(finished):
    lines = finished.out.splitlines()
    header = next(index for index, line in enumerate(lines) if "ACC" in line)
    assert lines[header].split() == ["ACC", "NMI", "ARI", "seconds"]
    assert re.match("k-means on the data +1.000   1.000   1.000", lines[header + 1])
    assert lines[header + 2].startswith("k-means on z ")
    assert lines[header + 3].startswith("dec ")
    assert lines[header + 4].startswith("(ACC, NMI, ARI: how well clusters agree with ")
    assert "; training ended " in lines[header + 5]
    assert "clusters of " in lines[header + 6]


def test_run_shows_a_bar_for_each_phase(finished):
    for title in ("k-means on the data", "pretraining", "k-means on z", "clustering"):
        assert f"\r{title:<17}   0% |" in finished.err
    assert "\rpretraining       100% |" in finished.err


def test_unlabeled_data_are_scored_without_classes(unlabeled, small, tmp_path):
    small_run = ("--recipe", "dec", "--n-clusters", 3, "--architecture", small, *SHORT)
    out = tmp_path / "out"
    run = cluster(unlabeled, *small_run, "--out", out)
    assert run.status == 0
    left = {path.name for path in out.iterdir()}
    assert left == (TABLES | MODELS | FIGURES) - SCORED
    header = next(line for line in run.out.splitlines() if "silhouette" in line)
    scores = ["smallest", "largest", "evenness", "silhouette"]
    assert header.split() == [*scores, "seconds"]
    for stage in read_json(out / "results.json")["stages"]:
        assert set(stage) == {"name", "seconds", *scores}
    assert list(read_csv(out / "labels.csv")[0]) == ["index", "cluster", "q", "typical"]
    assert read_csv(out / "history.csv")[-1]["acc"] == ""


def test_mean_samples_are_those_of_each_cluster():
    x = np.array([[0, 4], [2, 8], [250, 251]], np.uint8)
    means = run_folder.mean_samples(x, np.array([2, 2, 0]), 3)
    np.testing.assert_array_equal(means, [[250, 251], [0, 0], [1, 6]])


def test_digits_stand_in_for_mnist_and_the_first_line_says_so(
    on_digits, tmp_path, monkeypatch
):
    without_mnist(monkeypatch, tmp_path)
    interrupt_at(monkeypatch, "k-means on pixels", 20)
    out = tmp_path / "out"
    run = program(mnist_dec.main, "--out", out, *on_digits)
    assert run.status == 130
    first, second, third = run.out.splitlines()[:3]
    assert first.startswith("digits (embedded) stand in for MNIST: mnist was not found")
    assert second.startswith("dec_jax on ")
    assert third.startswith("digits: 1,797 samples of 64 values")
    # A resumed run has the same data, and tells the reason.
    config = read_json(out / "config.json")
    assert config["command"]["dataset"] == "digits"
    assert config["note"] == first


def test_prepare_numbers_a_folder_that_nobody_named(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "old").touch()
    assert run_folder.prepare(tmp_path / "run", explicit=False) == tmp_path / "run-2"
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["old"]


# Figures.


def test_a_figure_that_fails_costs_one_line(on_blobs, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise ValueError("no ink")

    monkeypatch.setattr(run_folder.plots, "training_curves", broken)
    out = tmp_path / "out"
    run = cluster(*on_blobs, "--out", out)
    assert run.status == 0
    assert run.err.count("warning: curves.png was not drawn: ValueError: no ink\n") == 1
    left = {path.name for path in out.iterdir()}
    assert left == (TABLES | MODELS | FIGURES) - {"curves.png"}
    drawn = read_json(out / "results.json")["figures"]
    assert set(drawn) == FIGURES - {"curves.png"}


@pytest.mark.slow
def test_images_of_six_channels_end_with_their_labels(small, tmp_path):
    rng = np.random.default_rng(0)
    means = blob_table()[0].reshape(90, 2, 3, 6)
    x = 0.1 * rng.random(means.shape) + means
    np.savez(tmp_path / "channels.npz", x=x.astype(np.float32))
    small_run = ("--n-clusters", 3, "--recipe", "dec", "--architecture", small)
    out = tmp_path / "out"
    run = cluster(tmp_path / "channels.npz", *small_run, *SHORT, "--out", out)
    assert run.status == 0, run.err
    assert len(read_csv(out / "labels.csv")) == 90
    left = {path.name for path in out.iterdir()}
    assert left >= MODELS | {"results.json", "latent.png", "curves.png"} | {*PICTURES}
    assert "was not drawn" not in run.err
    assert "figures show the first 3 channels of 6" in run.out
