import csv
import dataclasses
import gzip
import shutil
import statistics
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from PIL import Image
from programs import assert_refused, interrupt_at, program, read_json
from sklearn.metrics import normalized_mutual_info_score

from dec_jax import k_means, model
from dec_jax.data.dataset import Dataset
from dec_jax.data.load import load_dataset
from dec_jax.evaluation import metrics
from dec_jax.evaluation.stage_scores import class_scores
from dec_jax.runs.choices import choose_recipe
from dec_jax.runs.experiment import stoppable
from experiments import compare

# The same for all runs, so that they share what is compiled.
SHORT = ["--epochs", "1", "--max-intervals", "2", "--limit", "400"]
SEEDS = (5, 6)


def experiment(*arguments):
    """Runs the experiment in this process."""
    return program(compare.main, *arguments)


def settings(*arguments):
    return vars(compare.parser().parse_args([str(argument) for argument in arguments]))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An unbroken run of two seeds on 400 digits."""
    out = tmp_path_factory.mktemp("compare") / "out"
    run = experiment(
        *("--dataset", "digits", "--seeds", 2, "--seed", SEEDS[0], "--out", out), *SHORT
    )
    results = [read_json(out / f"seed-{seed}/results.json") for seed in SEEDS]
    return SimpleNamespace(folder=out, results=results, **vars(run))


@pytest.fixture(scope="module")
def digits():
    return compare.load(settings("--dataset", "digits", "--limit", 400))


def write_idx(folder, name, array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    (folder / name).write_bytes(gzip.compress(header + array.tobytes(), 1))


def article_files(folder, n=20):
    """PNGs of 4 x 4 pixels as the article keeps them, every gray as dark as its number."""
    (folder / "Images/train").mkdir(parents=True)
    rows = [["filename", "label"]]
    for index in range(n):
        gray = np.full((4, 4), 10 * index, np.uint8)
        opaque = np.dstack([gray, gray, gray, np.full((4, 4), 255, np.uint8)])
        Image.fromarray(opaque).save(folder / f"Images/train/{index}.png")
        rows.append([f"{index}.png", str(index % 3)])
    with (folder / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "Images/train"


# The data.


def numbered(n):
    """Samples that are their own numbers."""
    x = np.arange(n, dtype=np.float32)[:, None]
    return Dataset("numbered", x, None, None, "numbers", 1.0)


def test_split_holds_out_14700_of_the_article_s_49000():
    fitted, held_out = compare.split(numbered(49_000), 0)
    assert (len(fitted.x), len(held_out.x)) == (34_300, 14_700)
    rows = np.concatenate([fitted.x, held_out.x])[:, 0]
    np.testing.assert_array_equal(np.sort(rows), np.arange(49_000))


def test_split_is_that_of_its_seed():
    fitted, again, other = (
        compare.split(numbered(50), seed)[0].x[:, 0].tolist() for seed in (3, 3, 4)
    )
    assert fitted == again != other
    # Shuffled, as the classes of a file may come one after the other.
    assert fitted != list(range(35))


def test_mnist_is_its_first_49000_digits(tmp_path):
    images = np.arange(49_004, dtype=np.uint32).view(np.uint8).reshape(-1, 2, 2)
    classes = np.arange(49_004, dtype=np.uint8) % 10
    for part, rows in (("train", slice(49_002)), ("t10k", slice(49_002, None))):
        write_idx(tmp_path, f"{part}-images-idx3-ubyte.gz", images[rows])
        write_idx(tmp_path, f"{part}-labels-idx1-ubyte.gz", classes[rows])
    dataset = compare.load(settings("--data-dir", tmp_path))
    assert len(dataset.x) == 49_000
    np.testing.assert_array_equal(dataset.x[-1], images[48_999].ravel())


def test_limit_takes_the_first_samples():
    dataset = compare.load(settings("--dataset", "digits", "--limit", 30))
    every = load_dataset("digits")
    np.testing.assert_array_equal(dataset.x, every.x[:30])
    np.testing.assert_array_equal(dataset.labels, every.labels[:30])


@pytest.mark.parametrize("named", ["Images/train", "."])
def test_data_reads_the_article_s_files_in_gray(tmp_path, named):
    article_files(tmp_path)
    dataset = compare.load(settings("--data", tmp_path / named))
    assert dataset.image_shape == (4, 4, 1)
    assert dataset.x[:, 0].tolist() == list(range(0, 200, 10))
    assert dataset.labels.tolist() == [index % 3 for index in range(20)]


def test_data_leaves_out_images_that_the_article_s_table_lacks(tmp_path):
    images = article_files(tmp_path)
    (tmp_path / "Images/test").mkdir()
    shutil.copyfile(images / "0.png", tmp_path / "Images/test/20.png")
    dataset = compare.load(settings("--data", tmp_path))
    assert len(dataset.x) == 20
    assert "left out, having no row there: 1" in dataset.source


# A run.


@pytest.mark.slow
def test_run_leaves_its_files_and_one_model_a_seed(finished):
    assert finished.status == 0
    folders = {f"seed-{seed}" for seed in SEEDS}
    left = {path.name for path in finished.folder.iterdir()}
    assert left == {"config.json", "summary.json", *folders}
    files = {"results.json", "model.safetensors", "report.txt", "confusion.png"}
    for name in folders:
        assert {path.name for path in (finished.folder / name).iterdir()} == files


def test_scores_of_dec_are_those_of_its_file_on_the_held_out_part(finished, digits):
    for seed, results in zip(SEEDS, finished.results, strict=True):
        held_out = compare.split(digits, seed)[1]
        saved = model.load(finished.folder / f"seed-{seed}/model.safetensors")
        labels = model.predict(saved, held_out)
        stage = results["stages"][2]
        assert (stage["name"], len(labels)) == ("dec", 120)
        assert stage["acc"] == metrics.clustering_accuracy(held_out.labels, labels)
        nmi = metrics.normalized_mutual_info(held_out.labels, labels)
        assert stage["nmi"] == nmi
        assert stage["ari"] == metrics.adjusted_rand_index(held_out.labels, labels)


def test_k_means_on_pixels_sees_the_fitted_part_alone(finished, digits):
    fitted, held_out = compare.split(digits, SEEDS[0])
    key = jax.random.split(jax.random.key(SEEDS[0]), 4)[0]
    # As `fit` takes its restarts: five at a time, each part with its own key.
    parts = [
        k_means(jax.random.fold_in(key, first), fitted.x, 10, n_init=5)
        for first in (0, 5, 10, 15)
    ]
    found = min(parts, key=lambda part: float(part.inertia))
    labels = compare.nearest(held_out.x, found.centroids)
    stage = finished.results[0]["stages"][0]
    assert stage["name"] == "k-means on pixels"
    assert stage["acc"] == metrics.clustering_accuracy(held_out.labels, labels)


def test_labels_choose_nothing(finished, digits, tmp_path):
    rng = np.random.default_rng(0)
    shuffled = dataclasses.replace(digits, labels=rng.permutation(digits.labels))
    recipe = choose_recipe(
        "dec", digits, 10, n_samples=280, epochs=1, max_intervals=2, precision="float32"
    )
    with stoppable() as stop:
        compare.run_seed(shuffled, recipe, 10, SEEDS[0], tmp_path, stop)
    before = model.load(finished.folder / f"seed-{SEEDS[0]}/model.safetensors")
    after = model.load(tmp_path / "model.safetensors")
    jax.tree.map(np.testing.assert_array_equal, before.params, after.params)


def test_results_say_what_was_measured_and_where(finished):
    results = finished.results[0]
    assert (results["recipe"], results["method"]) == ("compare", "dec")
    assert (results["dataset"], results["seed"]) == ("digits", SEEDS[0])
    assert (results["n_samples"], results["n_fitted"]) == (400, 280)
    assert {"device", "versions", "commit", "n_iter", "stop_reason"} <= set(results)
    names = ["k-means on pixels", "k-means on z", "dec"]
    assert [stage["name"] for stage in results["stages"]] == names
    phases = ["k-means on pixels", "pretraining", "k-means on z", "clustering"]
    assert list(results["seconds"]) == [*phases, "total"]


def test_summary_has_lists_over_the_seeds_and_their_spread(finished):
    summary = read_json(finished.folder / "summary.json")
    assert {"dataset", "recipe", "device", "versions", "commit"} <= set(summary)
    assert (summary["recipe"], summary["seeds"]) == ("compare", list(SEEDS))
    for index, stage in enumerate(summary["stages"].values()):
        for name in ("acc", "nmi", "ari", "nmi_geometric"):
            values = [results["stages"][index][name] for results in finished.results]
            assert stage[name] == values
            assert stage["spread"][name] == {
                "mean": statistics.fmean(values),
                "sd": statistics.stdev(values),
                "min": min(values),
                "max": max(values),
            }
    assert summary["acc"] == summary["stages"]["dec"]["acc"]


def test_report_has_the_classes_of_each_method(finished):
    report = (finished.folder / f"seed-{SEEDS[0]}/report.txt").read_text()
    assert report.count("precision") == 3
    assert report.startswith("k-means on pixels\n\n")
    assert "\ndec\n\n" in report


def test_run_prints_the_parts_and_a_table(finished):
    lines = finished.out.splitlines()
    assert lines[1].startswith("digits: 400 samples of 64 values")
    assert lines[1].endswith("280 to fit to, 120 held out; 10 clusters, recipe dec")
    assert lines[-4].split() == [
        *("NMI,", "geometric", "mean", "sd", "min", "max", "article")
    ]
    # What is published is of other digits.
    assert [line.split()[-1] for line in lines[-3:]] == ["-"] * 3


def test_nmi_stands_beside_the_published_one():
    stages = [
        {"name": name, **dict.fromkeys(("acc", "nmi", "ari", "nmi_geometric"), 0.5)}
        for name in ("k-means on pixels", "k-means on z", "dec")
    ]
    facts = dict.fromkeys(
        (
            *("dataset", "recipe", "method", "device", "versions", "precision"),
            *("commit", "n_samples"),
        )
    )
    one = {**facts, "seed": 0, "stages": stages, "seconds": {"total": 1.0}}
    summary = compare.summary([one], compare.PUBLISHED_NMI)
    rows = compare.nmi_table(summary["stages"]).splitlines()[2:]
    assert [row.split()[-1] for row in rows] == ["0.498", "0.744", "0.765"]
    # One seed has a mean and no standard deviation.
    assert rows[2].split() == ["dec", "0.500", "-", "0.500", "0.500", "0.765"]


# What the numbers are made of.


def test_nearest_is_the_least_distance_of_all():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (40, 6), dtype=np.uint8)
    centroids = rng.uniform(0, 255, (5, 6)).astype(np.float32)
    expected = [
        min(range(5), key=lambda k: float(np.sum((row - centroids[k]) ** 2)))
        for row in x.astype(np.float64)
    ]
    assert compare.nearest(x, centroids).tolist() == expected


def test_scores_have_the_nmi_of_the_article_s_time():
    rng = np.random.default_rng(0)
    classes = np.arange(60) % 4
    clusters = np.where(rng.random(60) < 0.7, classes, 0)
    found = class_scores(classes, clusters, geometric=True)
    for name, average in (("nmi", "arithmetic"), ("nmi_geometric", "geometric")):
        expected = normalized_mutual_info_score(
            classes, clusters, average_method=average
        )
        np.testing.assert_allclose(found[name], expected, rtol=1e-9)
    assert found["nmi_geometric"] > found["nmi"]


# Ctrl-C.


@pytest.mark.slow
@pytest.mark.parametrize("title", ["k-means on pixels", "pretraining", "clustering"])
def test_ctrl_c_ends_in_one_line_and_leaves_no_results(tmp_path, monkeypatch, title):
    interrupt_at(monkeypatch, title, 5 if "k-means" in title else 1)
    run = experiment(
        "--dataset", "digits", "--seed", SEEDS[0], "--out", tmp_path / "out", *SHORT
    )
    assert run.status == 130
    assert run.err.endswith("\nStopped; seeds that had ended keep their results.\n")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["config.json"]


# Mistakes: one line, status 2, no folder.

MISTAKES = {
    "recipe": (["--recipe", "dec-kera"], "did you mean 'dec-keras'?"),
    "dataset": (["--dataset", "digit"], "did you mean 'digits'?"),
    "seeds": (["--seeds", "0"], "--seeds must be at least 1, got 0."),
    "epochs": (["--epochs", "-1"], "--epochs must be at least 1, got -1."),
    "limit": (["--limit", "1798"], "--limit must be at most 1,797, the samples"),
    "few": (["--limit", "9"], " must be at most 6, the number of samples, got 9"),
    "data_dir": (["--data-dir", "nowhere"], "must name an existing folder"),
    "folder": (["--data", "nowhere"], "The data folder nowhere/ does not exist."),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_run_rejects_an_option_in_one_line(tmp_path, mistake):
    options, message = MISTAKES[mistake]
    data = [] if {"--dataset", "--data"} & {*options} else ["--dataset", "digits"]
    run = experiment(*data, "--out", tmp_path / "out", *options)
    assert_refused(run, message, tmp_path / "out")


def test_run_rejects_data_without_labels(tmp_path):
    article_files(tmp_path)
    (tmp_path / "train.csv").unlink()
    run = experiment("--data", tmp_path, "--out", tmp_path / "out")
    assert run.status == 2
    assert "error: The data have no labels to score by: image folder" in run.err
    assert not (tmp_path / "out").exists()


def test_run_rejects_a_folder_that_is_not_empty(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    run = experiment("--dataset", "digits", "--out", tmp_path)
    assert run.status == 2
    assert f"--out {tmp_path} is not an empty folder" in run.err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_run_rejects_two_sources_of_data():
    run = experiment("--dataset", "digits", "--data", ".")
    assert run.status == 2
    assert "not allowed with argument --dataset" in run.err
