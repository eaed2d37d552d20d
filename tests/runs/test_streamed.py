"""Runs whose samples stay in their file find the clusters of runs in memory."""

from dataclasses import replace

import numpy as np
import pytest
from programs import (
    SHORT,
    assert_refused,
    cluster,
    interrupt_at,
    read_csv,
    read_json,
)

from dec_jax import fit, streaming
from dec_jax.evaluation.metrics import clustering_accuracy
from dec_jax.networks.architecture import Architecture, Dense, dense_architecture
from dec_jax.recipes.dense import make_recipe
from dec_jax.recipes.recipe import DataShape
from dec_jax.runs import streamed
from dec_jax.runs.streamed import bytes_in_memory, parse_bytes, too_large
from dec_jax.training.augmentation import Augmentation
from dec_jax.training.optimizer import Optimizer

pytestmark = pytest.mark.usefixtures("no_figures")

N = 240


def images():
    """Images of 6 x 6 bytes in three groups: the left, the upper or every other half."""
    rng = np.random.default_rng(0)
    patterns = np.zeros((3, 6, 6))
    patterns[0, :, :3] = patterns[1, :3] = patterns[2, ::2] = 160
    x = patterns[np.arange(N) % 3] + rng.integers(0, 60, (N, 6, 6))
    return x.astype(np.uint8)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("streamed") / "images.npy"
    np.save(path, images())
    return path


NETWORK = dense_architecture(36, hidden=(16,), embedding_dim=3, input_scale=1 / 255)
TABLE = replace(NETWORK, input_scale=1.0)
SETTINGS = {"n_clusters": 3, "epochs": 2, "precision": "float32", "baseline": False}


def both(file, **settings):
    """A run in memory, and one of the file."""
    settings = {**SETTINGS, **settings}
    return fit(images(), **settings), fit(file, memory=1000, **settings)


def assert_same(found, expected):
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.q, expected.q, atol=1e-5)
    np.testing.assert_allclose(found.z, expected.z, atol=1e-4)
    np.testing.assert_allclose(found.centroids, expected.centroids, atol=1e-4)
    assert found.stop_reason == expected.stop_reason
    assert [one["name"] for one in found.stages] == [
        one["name"] for one in expected.stages
    ]
    for one, other in zip(found.stages, expected.stages, strict=True):
        assert (one["smallest"], one["largest"]) == (
            other["smallest"],
            other["largest"],
        )


@pytest.mark.parametrize(
    "recipe",
    ["dec", *(pytest.param(name, marks=pytest.mark.slow) for name in ("idec", "dcn"))],
)
def test_methods_find_the_clusters_of_a_run_in_memory(recipe, file):
    expected, found = both(file, recipe=recipe, network=NETWORK, max_intervals=3)
    assert_same(found, expected)
    new = images()[:9]
    np.testing.assert_array_equal(found.predict(new), expected.labels[:9])


@pytest.mark.slow
def test_best_finds_the_clusters_of_a_run_in_memory(file):
    expected, found = both(file, recipe="best", network=NETWORK, max_intervals=6)
    assert [one["name"] for one in found.stages][1] == "spectral on z"
    assert_same(found, expected)


@pytest.mark.slow
def test_best_with_a_learner_and_a_sample_of_the_graph(file):
    """The learner learns the labels of a graph of half of the rows, and labels the rest."""
    shape = DataShape(N, 36, (6, 6, 1), n_clusters=3)
    recipe = make_recipe("best", shape, NETWORK)
    learner = Architecture((6, 6, 1), (Dense(16), Dense(3, "linear")))
    recipe = replace(
        recipe,
        learner=replace(learner, input_scale=1 / 255),
        objective=make_recipe("dec", shape, NETWORK).objective,
        pretrain=replace(recipe.pretrain, epochs=30, augmentation=Augmentation()),
        train=replace(
            recipe.train,
            max_intervals=6,
            update_interval=40,
            augmentation=Augmentation(),
            optimizer=Optimizer("adam", 1e-2),
        ),
    )
    settings = {"recipe": recipe, "n_clusters": 3, "baseline": False}
    exact = fit(images(), **settings)
    sampled = fit(images(), **{**settings, "recipe": replace(recipe, graph_rows=120)})
    stream = fit(
        streaming.NpySource(file),
        **{**settings, "recipe": replace(recipe, graph_rows=120)},
    )
    assert clustering_accuracy(exact.labels, sampled.labels) >= 0.99
    assert clustering_accuracy(np.arange(N) % 3, sampled.labels) >= 0.99
    np.testing.assert_array_equal(stream.labels, sampled.labels)


def test_second_opinion_is_that_of_a_run_in_memory(file, with_opinion):
    expected, found = both(
        file, recipe="dec", network=NETWORK, max_intervals=3, baseline=True
    )
    assert found.opinion == expected.opinion
    # Only the comparison with k-means on all pixels is left out.
    assert found.stages[0]["name"] == expected.stages[1]["name"]


def test_samples_are_read_a_block_at_a_time(file):
    class Watched(streaming.NpySource):
        most = 0

        def read(self, rows):
            x = super().read(rows)
            self.most = max(self.most, len(x))
            return x

    source = Watched(file)
    data = streaming.stream_dataset(source, reading=streaming.Reading(block_bytes=2048))
    fit(data, recipe="dec", network=NETWORK, max_intervals=2, **SETTINGS)
    # A step has 256 rows, or all there are.
    assert source.most <= N


def run_in(out, file, *options):
    options = ("-k", 3, "--precision", "float32", *SHORT, *options)
    return cluster(file, "--recipe", "dec", *options, "--out", out)


def test_command_tells_of_its_choice_and_finds_the_same(file, small, tmp_path):
    network = ("--architecture", small)
    whole = run_in(tmp_path / "whole", file, *network)
    assert whole.status == 0 and "read from the file" not in whole.out, whole.err
    part = run_in(tmp_path / "part", file, *network, "--memory", "1M")
    assert part.status == 0, part.err
    line = "samples are read from the file as they are needed: all of them would take"
    assert part.out.count(line) == 1 and "no report.html" in part.out
    labels = [read_csv(tmp_path / name / "labels.csv") for name in ("whole", "part")]
    assert [row["cluster"] for row in labels[0]] == [
        row["cluster"] for row in labels[1]
    ]
    results = [
        read_json(tmp_path / name / "results.json") for name in ("whole", "part")
    ]
    assert results[0]["dataset_sha256"] == results[1]["dataset_sha256"]
    saved = read_json(tmp_path / "part" / "config.json")["command"]
    assert saved["memory"] == "1M"


@pytest.mark.parametrize(
    "options, message",
    [
        (
            ("--recipe", "n2d"),
            "n2d needs all samples in memory, because it starts from u",
        ),
        (("--recipe", "dec-paper"), "because it pretrains layer by layer"),
        (("--recipe", "vade"), "because it fits a mixture to all samples"),
        (("--reseed-below", 0.1), "because it reseeds clusters"),
        (("-k", "auto"), "-k auto needs all samples in memory; give a number"),
        (("--vectorized", "--seeds", 2), "--vectorized needs all samples in memory"),
        (("--devices", 2), "devices must be 1 for samples that are read as they are"),
    ],
)
def test_what_needs_all_samples_is_refused(file, tmp_path, options, message):
    out = tmp_path / "out"
    given = ("-k", 3, "--recipe", "dec", *options, "--memory", "1M", "--out", out)
    assert_refused(cluster(file, *given), message, out)


def test_options_of_other_data_are_not_passed_over(file, tmp_path):
    given = ("-k", 3, "--recipe", "dec", "--memory", "1M", "--label-column", "class")
    run = cluster(file, *given, "--out", tmp_path / "out")
    assert_refused(run, "--label-column is for a table", tmp_path / "out")


def test_memory_that_is_no_number_is_refused(file):
    run = cluster(file, "--memory", "much")
    assert run.status == 2 and "must be bytes such as 4G or 500M, got 'much'" in run.err


def test_numbers_that_would_be_divided_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((9, 3), np.float32))
    run = cluster(tmp_path / "x.npy", "-k", 2, "--recipe", "dec", "--memory", "1M")
    assert_refused(run, "are not divided by their deviation, got float32 from 0 to 0")


@pytest.mark.parametrize("text, size", [("4G", 4 * 2**30), ("1.5k", 1536), ("7B", 7)])
def test_parse_bytes(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1G", "0", "4 gallons"])
def test_parse_bytes_rejects_other_text(text):
    with pytest.raises(ValueError, match="must be bytes such as 4G or 500M, got"):
        parse_bytes(text)


def test_files_are_too_large_by_their_header(file, tmp_path):
    needed = bytes_in_memory((N, 36), 1, 3)
    assert too_large(file, 3, needed) is None
    assert "all of them would take about 1.4 GiB, of" in too_large(file, 3, needed - 1)
    # Loading such files tells what is wrong with them.
    (tmp_path / "x.npy").write_bytes(b"no array")
    assert too_large(tmp_path / "x.npy", 3, 1) is None
    assert too_large(tmp_path / "none.npy", 3, 1) is None
    assert too_large(tmp_path / "x.csv", 3, 1) is None


def test_free_memory_is_read_where_the_system_tells(monkeypatch, tmp_path):
    told = tmp_path / "meminfo"
    told.write_text("MemTotal: 9 kB\nMemAvailable:   123 kB\n")
    monkeypatch.setattr(streamed, "MEMINFO", told)
    assert streamed.memory_here() == 123 * 1024
    monkeypatch.setattr(streamed, "MEMINFO", tmp_path / "none")
    assert streamed.memory_here() is None


def test_a_table_in_a_file_keeps_the_ranges_of_its_columns(tmp_path):
    x = np.random.default_rng(0).normal(size=(90, 36)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    settings = {"recipe": "dec", "network": TABLE, "max_intervals": 2, **SETTINGS}
    expected = fit(x, standardize=False, **settings)
    found = fit(tmp_path / "x.npy", memory=1000, standardize=False, **settings)
    np.testing.assert_array_equal(found.labels, expected.labels)
    for name in ("input_range", "column_ranges", "dataset_sha256", "input_dtype"):
        assert found.model.metadata[name] == expected.model.metadata[name]


@pytest.mark.slow
@pytest.mark.parametrize("title, count", [("pretraining", 1), ("clustering", 4)])
def test_a_run_of_a_file_resumes_exactly(
    file, small, tmp_path, monkeypatch, title, count
):
    """Within pretraining, and while p is frozen."""
    network = ("--recipe", "best", "--architecture", small, "--max-intervals", 6)
    whole = run_in(tmp_path / "whole", file, *network, "--memory", "1M")
    assert whole.status == 0, whole.err
    with monkeypatch.context() as patched:
        interrupt_at(patched, title, count)
        stopped = run_in(tmp_path / "part", file, *network, "--memory", "1M")
    assert stopped.status == 130, stopped.err
    resumed = cluster("--resume", tmp_path / "part")
    assert resumed.status == 0, resumed.err
    assert "resumed after" in resumed.out and "read from the file" in resumed.out
    for name in ("labels.csv", "model.safetensors"):
        first, second = (
            (tmp_path / one / name).read_bytes() for one in ("whole", "part")
        )
        assert first == second
