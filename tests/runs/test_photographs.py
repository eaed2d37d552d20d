"""Runs on photographs: features and encoders, which the model keeps for new files."""

import sys

import numpy as np
import pytest
from encoder_files import MODULE, write_module
from image_files import save
from programs import SHORT, cluster, program, read_csv, read_json, write_network

from dec_jax import fit, model
from dec_jax.cli.main import main
from dec_jax.data.load import load_dataset
from dec_jax.networks.architecture import dense_architecture


def predict(*arguments):
    """Runs `dec-jax predict` in this process."""
    return program(main, "predict", *arguments)


def write_photos(folder, n, seed=0):
    """Writes color images of 24 x 32: even ones red with stripes, odd ones blue."""
    rng = np.random.default_rng(seed)
    for at in range(n):
        pixels = rng.integers(0, 40, (24, 32, 3), np.uint8)
        if at % 2:
            pixels[..., 2] += 160
        else:
            pixels[::4, :, 0] += 160
        save(folder / f"{at}.png", pixels)
    return folder


def model_of(path, dataset):
    """Writes a model whose z is x, with the first two samples as centroids."""
    width = dataset.x.shape[1]
    network = dense_architecture(
        width, hidden=(), embedding_dim=width, input_scale=dataset.input_scale
    )
    layer = {"kernel": np.eye(width), "bias": np.zeros(width)}
    layers = {"dense_0": {name: it.astype(np.float32) for name, it in layer.items()}}
    params = {
        "encoder": layers,
        "decoder": layers,
        "centroids": (dataset.x[:2] * np.float32(dataset.input_scale)),
    }
    metadata = model.data_metadata(dataset)
    return model.save(path, params, architecture=network, metadata=metadata)


def check_two_groups(rows):
    """Even and odd photographs lie in clusters of their own."""
    clusters = [row["cluster"] for row in rows]
    assert len(set(clusters[::2])) == len(set(clusters[1::2])) == 1
    assert clusters[0] != clusters[1]


def test_features_are_kept_for_new_files(tmp_path):
    pytest.importorskip("skimage")
    photos = write_photos(tmp_path / "photos", 6)
    dataset = load_dataset(photos, features="hog", image_size=16, image_fit="pad")
    path = model_of(tmp_path / "model.safetensors", dataset)
    fresh = write_photos(tmp_path / "fresh", 6, seed=1)
    told = predict(path, fresh, "--out", tmp_path / "new.csv")
    assert told.status == 0, told.err
    assert "; features hog)" in told.out
    check_two_groups(read_csv(tmp_path / "new.csv"))


def test_levels_and_fit_are_kept_for_new_files(tmp_path):
    ramp = np.tile(np.arange(0, 4096, 256), (8, 1))
    for at in range(4):
        pixels = ramp if at % 2 else ramp[:, ::-1]
        save(tmp_path / "photos" / f"{at}.tif", pixels.astype(np.uint16))
    dataset = load_dataset(tmp_path / "photos", image_size=(8, 8), image_fit="stretch")
    path = model_of(tmp_path / "model.safetensors", dataset)
    # New files of half the range keep to the units of training, so q is less sure.
    for at in range(4):
        pixels = (ramp if at % 2 else ramp[:, ::-1]) // 2
        save(tmp_path / "fresh" / f"{at}.tif", pixels.astype(np.uint16))
    for name in ("photos", "fresh"):
        told = predict(path, tmp_path / name, "--out", tmp_path / f"{name}.csv")
        assert (told.status, told.err) == (0, "")
        assert "values from 0 to 3840 of files with more than 8 bits" in told.out
        check_two_groups(read_csv(tmp_path / f"{name}.csv"))
    sure, less = (read_csv(tmp_path / f"{name}.csv") for name in ("photos", "fresh"))
    assert float(less[0]["q"]) < float(sure[0]["q"])


def test_an_encoder_is_kept_for_new_files_with_pictures_and_a_cache(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write_module(tmp_path, "encoder_of_a_run")
    small = write_network(tmp_path / "small.json", 3, 32, 3)
    photos = write_photos(tmp_path / "photos", 20)
    fresh = write_photos(tmp_path / "fresh", 6, seed=1)
    out = tmp_path / "runs" / "out"
    options = ("--encoder", "encoder_of_a_run:embed", "--architecture", small)
    run = cluster(photos, "-k", 2, "--recipe", "dec", *SHORT, "--out", out, *options)
    assert run.status == 0, run.err
    # A model file from elsewhere must not name code to run.
    refused = predict(out, fresh, "--out", tmp_path / "new.csv")
    assert refused.status == 2
    assert "if you trust it, give --encoder encoder_of_a_run:embed." in refused.err
    trusted = ("--encoder", "encoder_of_a_run:embed")
    told = predict(out, fresh, "--out", tmp_path / "new.csv", *trusted)
    assert told.status == 0, told.err
    assert "encoding images" in told.err and "warning" not in told.err
    assert len(read_csv(tmp_path / "new.csv")) == 6
    same = predict(out, photos, "--out", tmp_path / "same.csv", *trusted)
    assert same.status == 0, same.err
    for row, trained in zip(
        read_csv(tmp_path / "same.csv"), read_csv(out / "labels.csv"), strict=True
    ):
        assert row == {name: trained[name] for name in row}
    assert (out / "members.png").stat().st_size > 1000
    # One file for each folder of images, beside the run.
    assert len(list((tmp_path / "runs" / "encoded").iterdir())) == 2
    assert read_json(out / "config.json")["command"]["encoder"] == (
        "encoder_of_a_run:embed"
    )
    # The module changes.
    sys.modules.pop("encoder_of_a_run")
    write_module(tmp_path, "encoder_of_a_run", f"{MODULE}\n")
    again = predict(out, fresh, "--out", tmp_path / "again.csv", *trusted)
    assert again.status == 0
    assert "encoder_of_a_run:embed is not what it was in training, and may" in again.err
    assert read_csv(tmp_path / "again.csv") == read_csv(tmp_path / "new.csv")


@pytest.mark.usefixtures("no_figures")
def test_names_of_rows_stand_in_the_labels(unlabeled, small, tmp_path):
    x = np.load(unlabeled)["x"]
    np.save(tmp_path / "x.npy", x.astype(np.float16))
    names = tmp_path / "names.txt"
    names.write_text("".join(f"row {at}\n" for at in range(len(x))))
    options = ("-k", 3, "--recipe", "dec", "--architecture", small, *SHORT)
    out = tmp_path / "out"
    run = cluster(tmp_path / "x.npy", "--names", names, "--out", out, *options)
    assert run.status == 0, run.err
    assert [row["name"] for row in read_csv(out / "labels.csv")][:2] == [
        "row 0",
        "row 1",
    ]
    new = tmp_path / "new.csv"
    told = predict(out, tmp_path / "x.npy", "--names", names, "--out", new)
    assert (told.status, told.err) == (0, "")
    assert read_csv(new)[2]["name"] == "row 2"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--image-size", "0"), "pixels from 1 to 1024, such as 32 or 48x64 (height x"),
        (("--image-size", "32x"), "got '32x'"),
        (("--image-size", "8x8x3"), "got '8x8x3'"),
        (("--image-fit", "fill"), "must be one of crop, pad, stretch, got 'fill'"),
        (("--image-fit", "pad"), "--image-fit pad) needs the size to bring images to"),
        (("--features", "sift"), "must be one of hog, got 'sift'"),
        (
            ("--encoder", "resnet"),
            "--encoder must be a file that ends in .onnx, or module",
        ),
        (("--encoder", "no.onnx"), "--encoder no.onnx: there is no such file."),
        (("--encoder", "no_such_module:f"), "no module no_such_module in this folder"),
        (("--encoder", "a:b", "--features", "hog"), "--encoder and features exclude"),
        (("--names", "names.txt"), "--names is for an array file, got"),
    ],
)
def test_mistakes_cost_one_line_and_nothing_is_written(tmp_path, options, message):
    photos = write_photos(tmp_path / "photos", 2)
    run = cluster(photos, "-k", 2, "--out", tmp_path / "out", *options)
    assert run.status == 2
    assert message in run.err
    assert "Traceback" not in run.err
    assert not (tmp_path / "out").exists()


def test_predict_takes_no_encoder_that_training_had_not(tmp_path):
    path = model_of(tmp_path / "model.safetensors", load_dataset("digits"))
    new = tmp_path / "new.csv"
    told = predict(path, "digits", "--encoder", "a:b", "--out", new)
    assert told.status == 2
    assert "was not trained on the vectors of an encoder" in told.err
    assert not new.exists()


def test_fit_result_reads_new_files_as_in_training(tmp_path):
    pytest.importorskip("skimage")
    photos = write_photos(tmp_path / "photos", 20)
    small = dense_architecture(36 + 128, hidden=(8,), embedding_dim=3)
    dataset = load_dataset(photos, features="hog", image_size=16)
    result = fit(
        dataset,
        2,
        recipe="dec",
        network=small,
        epochs=1,
        max_intervals=1,
        baseline=False,
    )
    np.testing.assert_array_equal(result.predict(photos), result.labels)
