import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from idx_files import write_idx

from dec_jax.data.load import load_dataset
from dec_jax.data.named import DatasetNotFoundError

REAL_DATA = os.environ.get("DEC_JAX_DATA", "")


def needs(path):
    """Skips a test where the real files are not on this machine."""
    there = bool(REAL_DATA) and (Path(REAL_DATA) / path).exists()
    return pytest.mark.skipif(not there, reason=f"DEC_JAX_DATA holds no {path}")


@pytest.mark.parametrize("folder", ["mnist", "MNIST/raw", "files"])
def test_load_dataset_takes_the_folder_of_the_set_itself(tmp_path, folder):
    own_folder = write_idx(tmp_path / folder)
    assert load_dataset("mnist", own_folder).x.shape == (7, 12)


@pytest.mark.parametrize("folder", ["fashion_mnist", "FashionMNIST/raw"])
def test_load_dataset_does_not_take_fashion_mnist_for_mnist(tmp_path, folder):
    own_folder = write_idx(tmp_path / folder)
    with pytest.raises(DatasetNotFoundError, match="mnist was not found: it is not in"):
        load_dataset("mnist", own_folder)
    assert load_dataset("fashion_mnist", own_folder).name == "fashion_mnist"


@pytest.mark.parametrize("folder", ["kmnist", "KMNIST/raw"])
def test_load_dataset_reads_kmnist_from_its_folder(tmp_path, folder):
    own_folder = write_idx(tmp_path / folder)
    dataset = load_dataset("kmnist", own_folder)
    assert (dataset.name, dataset.x.shape) == ("kmnist", (7, 12))
    with pytest.raises(DatasetNotFoundError, match="mnist was not found: it is not in"):
        load_dataset("mnist", own_folder)


def test_load_dataset_does_not_download_kmnist(tmp_path):
    write_idx(tmp_path / "mnist")
    files = "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-"
    message = (
        f"kmnist was not found: it is not in .* Put {files}.* into <folder>/kmnist"
    )
    with pytest.raises(DatasetNotFoundError, match=message):
        load_dataset("kmnist", tmp_path)


def test_load_dataset_names_the_one_missing_idx_file(tmp_path):
    folder = write_idx(tmp_path / "mnist")
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DatasetNotFoundError, match="t10k-labels-idx1-ubyte.gz is miss"):
        load_dataset("mnist", tmp_path)


# Where a set is looked for.


def test_load_dataset_reads_the_folder_in_the_environment(tmp_path, monkeypatch):
    write_idx(tmp_path / "mnist")
    monkeypatch.setenv("DEC_JAX_DATA", str(tmp_path))
    assert load_dataset("mnist").x.shape == (7, 12)


def test_load_dataset_prefers_data_dir_to_the_environment(tmp_path, monkeypatch):
    write_idx(tmp_path / "given" / "mnist")
    write_idx(tmp_path / "environment" / "mnist")
    monkeypatch.setenv("DEC_JAX_DATA", str(tmp_path / "environment"))
    source = load_dataset("mnist", tmp_path / "given").source
    assert source == f"IDX files in {tmp_path / 'given' / 'mnist'}"


@pytest.mark.parametrize("name", ["mnist", "usps", "digits"])
def test_load_dataset_rejects_a_missing_data_dir(tmp_path, name):
    missing = tmp_path / "nowhere"
    with pytest.raises(FileNotFoundError, match="data_dir must name .*nowhere"):
        load_dataset(name, missing)


@pytest.mark.parametrize(
    ("name", "near"),
    [("mnits", "mnist"), ("fashion-mnist", "fashion_mnist"), ("coil", "coil20")],
)
def test_load_dataset_names_the_nearest_set(name, near):
    with pytest.raises(ValueError, match=f"Unknown dataset {name!r}; .* {near!r}"):
        load_dataset(name)


def test_load_dataset_names_the_ways_to_get_usps(tmp_path):
    with pytest.raises(
        DatasetNotFoundError, match=r"Put usps.npz into .*DEC_JAX_DATA=<folder>\.$"
    ):
        load_dataset("usps", tmp_path)


def test_load_dataset_names_the_ways_to_get_mnist_at_once():
    start = time.perf_counter()
    with pytest.raises(DatasetNotFoundError) as error:
        load_dataset("mnist")
    assert time.perf_counter() - start < 15
    message = str(error.value)
    assert "\n" not in message
    assert "no folder was given; TFDS:" in message
    for way in ("DEC_JAX_DATA=<folder>", "dec_jax[data]", "--dataset digits"):
        assert way in message


def test_load_dataset_says_that_tfds_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    message = r'TFDS: downloading mnist needs tensorflow-datasets: pip install "dec_jax'
    with pytest.raises(DatasetNotFoundError, match=message):
        load_dataset("mnist")


def test_digits_says_that_sklearn_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(
        ImportError, match=r'digits needs scikit-learn: pip install "dec_jax\[data\]"'
    ):
        load_dataset("digits")


def test_named_sets_are_not_divided(tmp_path):
    x = np.full((2, 4, 4), 3.0, np.float32)
    np.savez(tmp_path / "usps.npz", x=x)
    np.testing.assert_array_equal(load_dataset("usps", tmp_path).x, x.reshape(2, 16))


def test_digits_are_1797_images_between_0_and_1():
    digits = load_dataset("digits")
    assert digits.x.shape == (1797, 64)
    assert digits.x.dtype == np.float32
    assert (digits.x.min(), digits.x.max()) == (0.0, 1.0)
    assert digits.labels.dtype == np.int32
    assert digits.n_classes == 10
    assert digits.image_shape == (8, 8, 1)
    assert digits.input_scale == 1.0


# The real sets.


MNIST_COUNTS = [6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958]
USPS_COUNTS = [1553, 1269, 929, 824, 852, 716, 834, 792, 708, 821]


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "image_shape", "counts"),
    [
        pytest.param(*case, id=case[0], marks=needs(path))
        for *case, path in [
            ("mnist", (70000, 784), np.uint8, (28, 28, 1), MNIST_COUNTS, "mnist"),
            (
                "fashion_mnist",
                (70000, 784),
                np.uint8,
                (28, 28, 1),
                [7000] * 10,
                "fashion_mnist",
            ),
            ("usps", (9298, 256), np.float32, (16, 16, 1), USPS_COUNTS, "usps"),
            ("coil20", (1440, 16384), np.uint8, (128, 128, 1), [72] * 20, "coil20"),
        ]
    ],
)
def test_real_set_is_whole(name, shape, dtype, image_shape, counts):
    dataset = load_dataset(name, REAL_DATA)
    assert dataset.x.shape == shape
    assert dataset.x.dtype == dtype
    assert dataset.x.max() * dataset.input_scale == 1
    assert dataset.image_shape == image_shape
    np.testing.assert_array_equal(np.bincount(dataset.labels), counts)


def test_names_of_sets_need_no_jax():
    code = "import sys, dec_jax.data.named; print('jax' in sys.modules)"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
