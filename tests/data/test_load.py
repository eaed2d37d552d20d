import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from idx_files import write_idx

from dec_jax.data.load import load_dataset, load_default_dataset


def test_load_dataset_rejects_a_missing_folder_in_the_environment(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("DEC_JAX_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="DEC_JAX_DATA must name .*nowhere"):
        load_default_dataset()


def test_load_default_dataset_prefers_mnist(tmp_path):
    write_idx(tmp_path / "mnist")
    dataset, reason = load_default_dataset(tmp_path)
    assert dataset.name == "mnist"
    assert reason is None


def test_load_default_dataset_says_why_it_is_digits(tmp_path):
    dataset, reason = load_default_dataset(tmp_path)
    assert dataset.name == "digits"
    assert reason.startswith("digits (embedded) stand in for MNIST: mnist was not fo")
    assert "\n" not in reason


def test_load_default_dataset_does_not_hide_a_damaged_mnist(tmp_path):
    folder = write_idx(tmp_path / "mnist")
    (folder / "train-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8b damaged")
    with pytest.raises(ValueError, match="damaged gzip file"):
        load_default_dataset(tmp_path)


def test_data_imports_neither_sklearn_nor_tfds():
    code = (
        "import sys, dec_jax.data.load; "
        "print([m for m in ('sklearn', 'tensorflow_datasets') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["table.xlsx", "archive"])
def test_load_dataset_rejects_another_ending(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    message = f"must end in .npz, .npy, .h5ad, .csv, .tsv, .parquet or .txt, got .*{name}; for images"
    with pytest.raises(ValueError, match=message):
        load_dataset(tmp_path / name)


@pytest.mark.parametrize("name", ["table.npz", "table.csv"])
def test_load_dataset_rejects_a_data_dir_beside_a_file(name, tmp_path):
    message = "data_dir must not be given with a file, got .* and table"
    with pytest.raises(ValueError, match=message):
        load_dataset(name, tmp_path)


# A user's own images and tables.


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """The folder photos with two gray images of 8 x 8 pixels, from where tests run."""
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "photos")
    return tmp_path / "photos"


def write_photos(folder):
    from PIL import Image

    folder.mkdir()
    for value in (10, 20):
        pixels = np.full((8, 8), value, np.uint8)
        Image.fromarray(pixels).save(folder / f"{value}.png")


@pytest.mark.parametrize(
    "name", ["photos", "photos/", "./photos", "~/photos", Path("photos")]
)
def test_load_dataset_reads_a_folder_of_images(photos, monkeypatch, name):
    monkeypatch.setenv("HOME", str(photos.parent))
    dataset = load_dataset(name)
    assert dataset.name == "photos"
    assert dataset.names == ("10.png", "20.png")
    np.testing.assert_array_equal(dataset.x, [[10] * 64, [20] * 64])


def test_load_dataset_hands_its_options_to_the_folder(photos):
    (photos / "bad.png").write_bytes(b"")
    (photos / "mine.csv").write_text("filename,label\n20.png,7\nbad.png,8\n")
    calls = []
    dataset = load_dataset(
        "photos",
        image_size=(4, 2),
        image_mode="color",
        labels_csv=photos / "mine.csv",
        skip_unreadable=True,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert dataset.image_shape == (4, 2, 3)
    assert dataset.names == ("20.png",)
    np.testing.assert_array_equal(dataset.labels, [7])
    assert calls == [(1, 2), (2, 2)]


def test_load_dataset_hands_folder_labels_to_the_folder(photos):
    labels = load_dataset(photos.parent, folder_labels=True).labels
    np.testing.assert_array_equal(labels, [0, 0])


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_load_dataset_reads_a_table(tmp_path, suffix):
    import pandas as pd

    frame = pd.DataFrame({"a": [1.0, 3.0], "kind": [4, 2]})
    path = tmp_path / f"animals{suffix}"
    if suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, sep="\t" if suffix == ".tsv" else ",", index=False)
    dataset = load_dataset(path, label_column="kind")
    assert dataset.name == "animals"
    np.testing.assert_array_equal(dataset.x, [[-1], [1]])
    np.testing.assert_array_equal(dataset.labels, [4, 2])
    plain = load_dataset(path, standardize=False)
    np.testing.assert_array_equal(plain.x, [[1, 4], [3, 2]])
    assert plain.labels is None


def test_a_name_wins_over_a_folder_that_is_called_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "digits")
    assert load_dataset("digits").source == "scikit-learn (embedded)"
    assert load_dataset("./digits").names == ("10.png", "20.png")


def test_load_dataset_takes_a_progress_callback_with_everything():
    assert len(load_dataset("digits", progress=lambda done, total: None).x) == 1797


FOLDER_OPTIONS = {
    "image_size": 32,
    "image_mode": "gray",
    "labels_csv": "labels.csv",
    "folder_labels": True,
    "skip_unreadable": True,
}


@pytest.mark.parametrize("name", ["digits", "table.npz", "table.csv"])
@pytest.mark.parametrize("option", FOLDER_OPTIONS)
def test_load_dataset_rejects_an_option_of_folders(name, option):
    value = FOLDER_OPTIONS[option]
    kind = "a folder" if option == "folder_labels" else "a folder of images"
    message = f"{option} is for {kind}, got {option}={value!r} with {name}."
    with pytest.raises(ValueError, match=re.escape(message)):
        load_dataset(name, **{option: value})


@pytest.mark.parametrize("name", ["digits", "table.npz", "photos"])
def test_load_dataset_rejects_an_option_of_tables(photos, name):
    message = f"label_column is for a table, got label_column='kind' with {name}."
    with pytest.raises(ValueError, match=re.escape(message)):
        load_dataset(name, label_column="kind")


@pytest.mark.parametrize("name", ["digits", "photos"])
def test_load_dataset_rejects_an_option_of_numbers(photos, name):
    message = f"standardize is for a table or an array file, got standardize=False with {name}."
    with pytest.raises(ValueError, match=re.escape(message)):
        load_dataset(name, standardize=False)


def test_load_dataset_rejects_a_data_dir_beside_a_folder(photos, tmp_path):
    message = "data_dir must not be given with a folder of images, got .* and photos"
    with pytest.raises(ValueError, match=message):
        load_dataset("photos", tmp_path)


@pytest.mark.parametrize("name", ["./mnist", "mnist/", "a/photos"])
def test_load_dataset_rejects_a_missing_folder(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"data folder {name} does not exist"):
        load_dataset(name)


def test_load_dataset_rejects_a_name_that_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = (
        "Unknown dataset 'photos'.* Known: mnist.* No folder or file has that name"
    )
    with pytest.raises(ValueError, match=message):
        load_dataset("photos")
