"""Recipes, networks and data of runs."""

import json

import numpy as np
import pytest
from PIL import Image
from programs import SHORT, blob_table, cluster, program, read_csv, read_json

from dec_jax import model
from dec_jax.cli.main import main

pytestmark = pytest.mark.usefixtures("no_figures")


@pytest.mark.slow
def test_run_starts_from_the_labels_that_are_asked_for(on_blobs, tmp_path):
    run = cluster(*on_blobs, "--start", "spectral", "--out", tmp_path / "out")
    assert run.status == 0, run.err
    results = read_json(tmp_path / "out" / "results.json")
    names = ["k-means on the data", "k-means on z", "spectral on z", "dec"]
    assert [stage["name"] for stage in results["stages"]] == names
    assert (results["recipe"], results["start"]) == ("dec", "spectral")
    # The other way about, a recipe that has a graph goes without.
    plain = ("--recipe", "best", "--start", "k-means", "--max-intervals", 5)
    assert cluster(*on_blobs, *plain, "--out", tmp_path / "plain").status == 0
    stages = read_json(tmp_path / "plain/results.json")["stages"]
    assert [stage["name"] for stage in stages] == [*names[:2], "best"]


@pytest.mark.slow
def test_of_many_samples_the_graph_has_a_sample(on_blobs, tmp_path):
    options = ("--start", "spectral")
    labels = {}
    for rows in (89, 90, 100_000):
        out = tmp_path / str(rows)
        run = cluster(*on_blobs, *options, "--graph-rows", rows, "--out", out)
        assert run.status == 0, run.err
        told = "the neighbor graph has a sample of 89, whose clusters the others join"
        assert (told in run.out) == (rows == 89)
        labels[rows] = (out / "labels.csv").read_text()
    assert labels[90] == labels[100_000]
    stages = read_json(tmp_path / "89" / "results.json")["stages"]
    assert stages[2]["name"] == "spectral on z" and stages[2]["acc"] > 0.9
    assert cluster(*on_blobs, "--graph-rows", 0).status == 2


@pytest.mark.slow
def test_normalized_samples_have_no_brightness(small, tmp_path):
    images = np.random.default_rng(0).random((90, 6, 6), np.float32)
    images[-1] = images[0]
    kept = []
    for brightness in (1.0, 0.5 ** (np.arange(90).reshape(90, 1, 1) % 16)):
        np.save(tmp_path / "x.npy", images * brightness)
        out = tmp_path / f"out{len(kept)}"
        options = ("--n-clusters", 3, "--normalize", "--architecture", small, *SHORT)
        options = (tmp_path / "x.npy", "--recipe", "dec", *options)
        assert cluster(*options, "--out", out).status == 0
        results = read_json(out / "results.json")
        assert (results["recipe"], results["normalize"]) == ("dec", True)
        kept.append((out / "labels.csv").read_text())
    assert kept[0] == kept[1]
    # A saved model normalizes new samples as well.
    saved = model.load(out / "model.safetensors")
    x = images[:9].reshape(9, 36)
    np.testing.assert_array_equal(
        model.predict_proba(saved, x), model.predict_proba(saved, x / 16)
    )


def test_clusters_below_a_share_start_again(small, tmp_path):
    # Of noise, clusters are of unequal sizes.
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((90, 36), np.float32))
    out = tmp_path / "out"
    options = ("--n-clusters", 3, "--reseed-below", 0.9, "--architecture", small)
    run = cluster(tmp_path / "x.npy", "--recipe", "dec", *options, *SHORT, "--out", out)
    assert run.status == 0, run.err
    results = read_json(out / "results.json")
    assert results["reseed_below"] == 0.9
    rows = [r for r in read_csv(out / "history.csv") if r["phase"] == "clustering"]
    assert any(int(row["reseeded"]) > 0 for row in rows)


def test_pretrained_takes_the_autoencoders_of_an_earlier_run(
    finished, on_blobs, tmp_path
):
    run = cluster(
        *(*on_blobs, "--recipe", "dcn", "--pretrained", finished.folder),
        *("--seeds", 2, "--seed", 3, "--out", tmp_path / "out"),
    )
    assert run.status == 0, run.err
    for seed in (3, 4):
        results, earlier = (
            read_json(folder / f"seed-{seed}" / "results.json")
            for folder in (tmp_path / "out", finished.folder)
        )
        file = finished.folder / f"seed-{seed}" / "autoencoder.safetensors"
        assert results["pretrained"] == str(file)
        # The same network, the same seed: the same start. Its time counts.
        start, same = (r["stages"][1] | {"seconds": 0} for r in (results, earlier))
        assert start == same
        assert results["seconds"]["pretraining"] == earlier["seconds"]["pretraining"]
        assert results["stages"][2]["name"] == "dcn"


def test_pretrained_rejects_another_network(finished, labeled, tmp_path):
    file = finished.inner / "autoencoder.safetensors"
    run = cluster(
        labeled, "--recipe", "dec", "--pretrained", file, "--out", tmp_path / "out"
    )
    assert run.status == 2
    assert "its network is another one than that of recipe dec" in run.err


@pytest.mark.slow
def test_architecture_puts_another_network_in(tmp_path):
    pixels = blob_table()[0].reshape(90, 6, 6)
    np.save(tmp_path / "x.npy", pixels)
    network = {
        "use_batch_norm": True,
        "output_non_linearity": "linear",
        "layers": [
            {"type": "Input", "output_shape": [1, 6, 6]},
            {
                "type": "Conv2D",
                "num_filters": 3,
                "filter_size": [3, 3],
                "non_linearity": "rectify",
            },
            {"type": "Dense", "num_units": 3, "non_linearity": "linear"},
        ],
    }
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(network))
    out = tmp_path / "out"
    run = cluster(
        *(tmp_path / "x.npy", "--n-clusters", 3, "--recipe", "kld-conv"),
        *("--architecture", file, "--out", out, *SHORT),
    )
    assert run.status == 0, run.err
    stages = read_json(out / "results.json")["stages"]
    assert [stage["name"] for stage in stages][-1] == "kld-conv"


@pytest.mark.slow
def test_devices_share_the_work_and_find_the_same_clusters(
    finished, on_blobs, tmp_path
):
    run = cluster(*on_blobs, "--seed", 3, "--devices", 2, "--out", tmp_path / "out")
    assert run.status == 0, run.err
    assert "2 devices, " in run.out
    results = read_json(tmp_path / "out" / "results.json")
    assert (results["n_devices"], results["n_processes"]) == (2, 1)
    spread, one = (
        [row["cluster"] for row in read_csv(folder / "labels.csv")]
        for folder in (tmp_path / "out", finished.inner)
    )
    assert spread == one


def test_a_folder_of_images_gives_the_cluster_of_each_file(small, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for index in range(90):
        pixels = rng.integers(0, 60, (9, 12)).astype(np.uint8)
        pixels[:, : 6 if index % 2 else 12] += 150
        Image.fromarray(pixels).save(photos / f"{index}.png")
    (photos / "broken.png").write_bytes(b"no image")
    options = ("--recipe", "dec", "--architecture", small, *SHORT)
    arguments = (photos, "--n-clusters", 3, "--image-size", 6, *options)
    refused = cluster(*arguments, "--out", tmp_path / "refused")
    assert refused.status == 2
    assert "broken.png" in refused.err and "--skip-unreadable" in refused.err
    out = tmp_path / "out"
    run = cluster(*arguments, "--skip-unreadable", "--out", out)
    assert run.status == 0, run.err
    rows = read_csv(out / "labels.csv")
    assert [row["file"] for row in rows] == [f"{index}.png" for index in range(90)]
    assert "reading images" in run.err


def test_a_table_is_clustered_without_its_label_column(small, tmp_path):
    x, y = blob_table()
    lines = [",".join([*(f"c{i}" for i in range(36)), "kind"])]
    lines += [
        ",".join([*map(str, row), f"k{label}"]) for row, label in zip(x, y, strict=True)
    ]
    (tmp_path / "blobs.csv").write_text("\n".join(lines))
    out = tmp_path / "out"
    run = cluster(
        *(tmp_path / "blobs.csv", "--label-column", "kind"),
        *("--recipe", "dec", "--architecture", small, *SHORT, "--out", out),
    )
    assert run.status == 0, run.err
    results = read_json(out / "results.json")
    assert results["n_clusters"] == 3
    assert results["stages"][0]["acc"] == 1


def test_numbers_of_any_unit_give_the_same_clusters(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small_run = ("--recipe", "dec", "--n-clusters", 3, "--architecture", small, *SHORT)
    labels = []
    for unit in (1.0, 2.0**-20):
        x = unit * np.random.default_rng(0).normal(size=(90, 36)).astype(np.float32)
        np.save(tmp_path / "x.npy", x)
        deviation = np.mean(x.var(axis=0)) ** 0.5
        out = tmp_path / f"{unit}"
        run = cluster("x.npy", *small_run, "--out", out)
        assert run.status == 0
        line = f"numbers are divided by {deviation:.4g} (see --no-standardize)"
        assert line in run.out.splitlines()
        labels.append((out / "labels.csv").read_text())
    assert labels[0] == labels[1]
    # Predicted in the file's own unit: each as in training.
    table = tmp_path / "predicted.csv"
    assert program(main, "predict", out, "x.npy", "--out", table).status == 0
    predicted, trained = read_csv(table), read_csv(out / "labels.csv")
    for name in ("index", "cluster", "q"):
        assert [row[name] for row in predicted] == [row[name] for row in trained]


def test_a_limit_takes_a_sample_whose_rows_keep_their_numbers(small, tmp_path):
    np.save(tmp_path / "x.npy", np.tile(blob_table()[0], (2, 1)))
    out = tmp_path / "out"
    options = ("--n-clusters", 3, "--recipe", "dec", "--architecture", small, *SHORT)
    run = cluster(tmp_path / "x.npy", *options, "--limit", 90, "--out", out)
    assert run.status == 0, run.err
    assert "90 of 180 samples, drawn at random" in run.out
    rows = [int(row["row"]) for row in read_csv(out / "labels.csv")]
    assert len(rows) == 90 and rows == sorted(set(rows)) and max(rows) > 90


@pytest.mark.slow
def test_auto_looks_for_the_number_of_clusters(on_blobs, tmp_path):
    out = tmp_path / "out"
    run = cluster(*on_blobs, "-k", "auto", "--out", out)
    assert run.status == 0, run.err
    assert "recommended: 3 clusters; the data decide it" in run.out
    assert read_json(out / "config.json")["command"]["n_clusters"] == 3
