import gzip
import hashlib
import io
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

from dec_jax.data.load import (
    Dataset,
    DatasetNotFoundError,
    load_dataset,
    load_default_dataset,
)

TRAIN_IMAGES = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
TRAIN_LABELS = np.array([3, 1, 4, 1, 5], np.uint8)
TEST_IMAGES = 255 - np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)
TEST_LABELS = np.array([9, 2], np.uint8)
ALL_PIXELS = np.concatenate([TRAIN_IMAGES, TEST_IMAGES]).reshape(7, 12)
ALL_LABELS = [3, 1, 4, 1, 5, 9, 2]

REAL_DATA = os.environ.get("DEC_JAX_DATA", "")


def needs(path):
    """Skips a test where the real files are not on this machine."""
    there = bool(REAL_DATA) and (Path(REAL_DATA) / path).exists()
    return pytest.mark.skipif(not there, reason=f"DEC_JAX_DATA holds no {path}")


def idx_bytes(array):
    """An IDX file as its description has it: magic, sizes, bytes."""
    magic = 2051 if array.ndim == 3 else 2049
    header = struct.pack(f">{1 + array.ndim}I", magic, *array.shape)
    return header + array.tobytes()


def write_idx(folder, *, separator="-", zipped=True):
    """The four files of a tiny MNIST of 4 x 3 pixels."""
    folder.mkdir(parents=True)
    arrays = {
        f"train-images{separator}idx3-ubyte": TRAIN_IMAGES,
        f"train-labels{separator}idx1-ubyte": TRAIN_LABELS,
        f"t10k-images{separator}idx3-ubyte": TEST_IMAGES,
        f"t10k-labels{separator}idx1-ubyte": TEST_LABELS,
    }
    for name, array in arrays.items():
        raw = idx_bytes(array)
        if zipped:
            # A fixed time stamp gives the same bytes, and so the same sha256, each time.
            (folder / f"{name}.gz").write_bytes(gzip.compress(raw, mtime=0))
        else:
            (folder / name).write_bytes(raw)
    return folder


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """No folder, no TFDS cache, and a proxy that refuses every connection."""
    monkeypatch.delenv("DEC_JAX_DATA", raising=False)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for variable in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)


# IDX files.


@pytest.mark.parametrize("zipped", [True, False], ids=["gz", "plain"])
@pytest.mark.parametrize("separator", ["-", "."])
def test_load_dataset_reads_idx_train_then_test(tmp_path, separator, zipped):
    write_idx(tmp_path / "mnist", separator=separator, zipped=zipped)
    dataset = load_dataset("mnist", tmp_path)
    assert dataset.name == "mnist"
    assert dataset.x.dtype == np.uint8
    np.testing.assert_array_equal(dataset.x, ALL_PIXELS)
    assert dataset.labels.dtype == np.int32
    np.testing.assert_array_equal(dataset.labels, ALL_LABELS)
    assert dataset.image_shape == (4, 3, 1)
    assert dataset.input_scale == 1 / 255
    assert dataset.source == f"IDX files in {tmp_path / 'mnist'}"
    assert dataset.n_classes == 6


def test_load_dataset_reads_an_unpacked_file_that_is_still_called_gz(tmp_path):
    folder = write_idx(tmp_path / "mnist")
    labels = folder / "t10k-labels-idx1-ubyte.gz"
    labels.write_bytes(idx_bytes(TEST_LABELS))
    np.testing.assert_array_equal(load_dataset("mnist", tmp_path).labels, ALL_LABELS)


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


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "train-images-idx3-ubyte.gz",
            gzip.compress(idx_bytes(TRAIN_IMAGES)[:-1]),
            r"train-images.* must be 76 bytes long for its shape \(5, 4, 3\), got 75",
        ),
        (
            "train-images-idx3-ubyte.gz",
            gzip.compress(idx_bytes(TRAIN_IMAGES) + b"\0"),
            "must be 76 bytes long .* got 77",
        ),
        (
            "train-images-idx3-ubyte.gz",
            gzip.compress(idx_bytes(TRAIN_IMAGES)[:10]),
            "must have an IDX header of 16 bytes, got 10 bytes; it is truncated",
        ),
        (
            "train-images-idx3-ubyte.gz",
            b"",
            "must have an IDX header of 16 bytes, got 0 bytes",
        ),
        (
            "train-images-idx3-ubyte.gz",
            gzip.compress(idx_bytes(TRAIN_IMAGES))[:-12],
            "train-images.* is a damaged gzip file .*fetch it again",
        ),
        (
            "train-images-idx3-ubyte.gz",
            gzip.compress(b"\x00\x00\x0d\x03" + bytes(72)),
            "must start with the magic number 2051 of images, got 3331; was it",
        ),
        (
            "train-images-idx3-ubyte.gz",
            gzip.compress(idx_bytes(TRAIN_LABELS)),
            "magic number 2051 of images, got 2049, which marks labels; was it mislab",
        ),
        (
            "t10k-labels-idx1-ubyte.gz",
            gzip.compress(idx_bytes(TEST_IMAGES)),
            "t10k-labels.* 2049 of labels, got 2051, which marks images",
        ),
        (
            "t10k-labels-idx1-ubyte.gz",
            gzip.compress(idx_bytes(TRAIN_LABELS)),
            "t10k-images.* holds 2 images and t10k-labels.* holds 5 labels",
        ),
        (
            "t10k-images-idx3-ubyte.gz",
            gzip.compress(idx_bytes(TEST_IMAGES.reshape(2, 6, 2))),
            r"t10k-images.* must be as large as those in train-images.*, got \(6, 2\)",
        ),
    ],
    ids=[
        "truncated",
        "too long",
        "cut in the header",
        "empty",
        "truncated gzip",
        "wrong magic",
        "labels as images",
        "images as labels",
        "count mismatch",
        "size mismatch",
    ],
)
def test_load_dataset_rejects_a_bad_idx_file(tmp_path, name, content, message):
    folder = write_idx(tmp_path / "mnist")
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_dataset("mnist", tmp_path)


def test_load_dataset_rejects_damage_inside_a_gzip_file(tmp_path):
    folder = write_idx(tmp_path / "mnist")
    path = folder / "train-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ValueError, match="train-images.* is a damaged gzip file"):
        load_dataset("mnist", tmp_path)


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


def test_load_dataset_rejects_a_missing_folder_in_the_environment(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("DEC_JAX_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="DEC_JAX_DATA must name .*nowhere"):
        load_default_dataset()


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
    monkeypatch.delitem(sys.modules, "dec_jax.data.tfds", raising=False)
    monkeypatch.delattr("dec_jax.data.tfds", raising=False)
    with pytest.raises(DatasetNotFoundError, match="TFDS: it cannot be imported"):
        load_dataset("mnist")


def test_digits_says_that_sklearn_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"run pip install 'dec_jax\[data\]'"):
        load_dataset("digits")


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


# A user's own arrays.


def test_load_dataset_reads_a_table_from_npz(tmp_path):
    x = np.linspace(0, 1, 12, dtype=np.float32).reshape(4, 3)
    np.savez(tmp_path / "table.npz", x=x, y=[7, 5, 5, 2], other=np.zeros(3))
    dataset = load_dataset(tmp_path / "table.npz", standardize=False)
    assert dataset.name == "table"
    assert dataset.image_shape is None
    assert (dataset.input_scale, dataset.deviation) == (1.0, 1.0)
    np.testing.assert_array_equal(dataset.x, x)
    np.testing.assert_array_equal(dataset.labels, [7, 5, 5, 2])


@pytest.mark.parametrize(
    ("shape", "image_shape"), [((2, 4, 3), (4, 3, 1)), ((2, 4, 3, 3), (4, 3, 3))]
)
def test_load_dataset_reads_images_from_npz(tmp_path, shape, image_shape):
    images = np.arange(np.prod(shape)).astype(np.uint8).reshape(shape)
    np.savez_compressed(tmp_path / "photos.npz", images=images)
    dataset = load_dataset(str(tmp_path / "photos.npz"))
    assert dataset.image_shape == image_shape
    assert dataset.input_scale == 1 / 255
    assert dataset.labels is None
    assert dataset.n_classes is None
    np.testing.assert_array_equal(dataset.x, images.reshape(2, -1))


def test_load_dataset_joins_train_then_test_from_npz(tmp_path):
    np.savez(
        tmp_path / "parts.npz",
        test_x=[[5.0]],
        test_y=["zebra"],
        train_x=[[1.0], [2.0]],
        train_y=["cat", "ape"],
    )
    dataset = load_dataset(tmp_path / "parts.npz", standardize=False)
    np.testing.assert_array_equal(dataset.x, [[1.0], [2.0], [5.0]])
    np.testing.assert_array_equal(dataset.labels, [1, 0, 2])


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tables_of_arrays_get_a_mean_variance_of_1(tmp_path, dtype, factor):
    # More columns than are looked at together, of unequal means and deviations.
    rng = np.random.default_rng(0)
    x = rng.normal(rng.normal(size=100), rng.uniform(1, 9, 100), (50, 100)) * factor
    np.save(tmp_path / "x.npy", x.astype(dtype))
    dataset = load_dataset(tmp_path / "x.npy")
    variances = [np.mean((column - column.mean()) ** 2) for column in x.T]
    assert dataset.deviation == pytest.approx(np.mean(variances) ** 0.5, rel=1e-5)
    assert dataset.x.dtype == np.float32
    np.testing.assert_allclose(dataset.x, x / dataset.deviation, rtol=1e-5)


@pytest.mark.parametrize(
    ("x", "deviation"),
    [
        (np.array([[0, 4], [4, 0]], np.int64), 2.0),
        (np.array([[0, 255], [255, 0]], np.uint8), 1.0),
        (np.full((3, 2), 7.5), 1.0),
        (np.array([[[0.0, 0.5]]]), 1.0),
        (np.array([[[-1.0, 1.0]]]), 1.0),
        (np.array([[[0.0, 255.0]]], np.float32), 255.0),
        (np.array([[[-128, 5]]], np.int8), 128.0),
        (np.array([[[0, 60000]]], np.uint16), 60000.0),
    ],
    ids=[
        *("integers", "bytes", "constant", "image in 0 to 1", "image in -1 to 1"),
        *("image of bytes as floats", "image of signed bytes", "image of 16 bits"),
    ],
)
def test_numbers_of_arrays_are_divided_by(tmp_path, x, deviation):
    np.save(tmp_path / "x.npy", x)
    dataset = load_dataset(tmp_path / "x.npy")
    assert dataset.deviation == deviation
    np.testing.assert_allclose(dataset.x * deviation, x.reshape(len(x), -1), rtol=1e-6)
    if deviation == 1:
        assert dataset.x.dtype == x.dtype
    else:
        assert (dataset.x.dtype, dataset.input_scale) == (np.float32, 1.0)
    plain = load_dataset(tmp_path / "x.npy", standardize=False)
    np.testing.assert_array_equal(plain.x, x.reshape(len(x), -1))
    assert plain.x.dtype == x.dtype


def test_named_sets_are_not_divided(tmp_path):
    x = np.full((2, 4, 4), 3.0, np.float32)
    np.savez(tmp_path / "usps.npz", x=x)
    np.testing.assert_array_equal(load_dataset("usps", tmp_path).x, x.reshape(2, 16))


def test_load_dataset_reads_a_sparse_matrix(tmp_path):
    x = np.array([[0, 2.5, 0], [1, 0, 0], [0, 0, -3]])
    scipy.sparse.save_npz(tmp_path / "terms.npz", scipy.sparse.csr_matrix(x))
    dataset = load_dataset(tmp_path / "terms.npz", standardize=False)
    np.testing.assert_array_equal(dataset.x, x)
    assert (dataset.name, dataset.labels, dataset.image_shape) == ("terms", None, None)


def test_load_dataset_refuses_a_sparse_matrix_past_memory(tmp_path):
    x = scipy.sparse.csr_matrix((2**20 + 1, 2**11), dtype=np.float32)
    message = r"at most 8 GiB with its zeros, got 8.0 GiB of shape \(1048577, 2048\)"
    scipy.sparse.save_npz(tmp_path / "terms.npz", x)
    with pytest.raises(ValueError, match=message):
        load_dataset(tmp_path / "terms.npz")


@pytest.mark.parametrize("kind", ["csr", "unheard of"])
def test_load_dataset_refuses_a_damaged_sparse_matrix(tmp_path, kind):
    path = tmp_path / "terms.npz"
    np.savez(path, format=kind, shape=(2, 2), data=[1.0])
    with pytest.raises(ValueError, match=r"terms.npz cannot be read: "):
        load_dataset(path)


STL10_IMAGES = np.random.default_rng(0).integers(0, 256, (5, 96, 96, 3), np.uint8)


def write_stl10(folder):
    """Two images to train on, three to test with: channels, then columns, then rows."""
    folder.mkdir()
    for part, rows in (("train", slice(0, 2)), ("test", slice(2, 5))):
        images = STL10_IMAGES[rows].transpose(0, 3, 2, 1)
        (folder / f"{part}_X.bin").write_bytes(np.ascontiguousarray(images).tobytes())
    (folder / "train_y.bin").write_bytes(bytes([1, 10]))
    (folder / "test_y.bin").write_bytes(bytes([3, 3, 2]))


def test_load_dataset_reads_stl10(tmp_path):
    write_stl10(tmp_path / "stl10")
    dataset = load_dataset("stl10", tmp_path)
    assert (dataset.name, dataset.image_shape) == ("stl10", (96, 96, 3))
    assert (dataset.x.dtype, dataset.input_scale) == (np.uint8, 1 / 255)
    np.testing.assert_array_equal(dataset.x, STL10_IMAGES.reshape(5, -1))
    np.testing.assert_array_equal(dataset.labels, [0, 9, 2, 2, 1])
    assert load_dataset("stl10", tmp_path / "stl10").sha256 == dataset.sha256


def test_load_dataset_refuses_a_truncated_stl10(tmp_path):
    write_stl10(tmp_path / "stl10")
    path = tmp_path / "stl10" / "test_X.bin"
    path.write_bytes(path.read_bytes()[:-1])
    message = "test_X.bin must hold 27648 bytes for each of the 3 labels in test_y.bin"
    with pytest.raises(ValueError, match=message):
        load_dataset("stl10", tmp_path)


def test_load_dataset_refuses_stl10_labels_of_no_class(tmp_path):
    write_stl10(tmp_path / "stl10")
    (tmp_path / "stl10" / "test_y.bin").write_bytes(bytes([0, 3, 11]))
    with pytest.raises(
        ValueError, match="test_y.bin must hold labels 1 to 10, got 0 to"
    ):
        load_dataset("stl10", tmp_path)


def test_load_dataset_reads_npy(tmp_path):
    np.save(tmp_path / "z.npy", np.ones((3, 2), ">f4"))
    dataset = load_dataset(tmp_path / "z.npy")
    assert dataset.x.dtype == np.float32
    assert dataset.x.dtype.isnative
    assert dataset.source == f"npy file {tmp_path / 'z.npy'}"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.array([2, -1, 9], np.int64), [2, -1, 9]),
        (np.array([2, 0, 2**40]), [1, 0, 2]),
        (np.array([0.5, -3.0, 0.5]), [1, 0, 1]),
        (np.array(["b", "a", "b"]), [1, 0, 1]),
        (np.array([True, False, True]), [1, 0, 1]),
    ],
    ids=["integers", "large integers", "floats", "text", "bools"],
)
def test_load_dataset_makes_int32_labels(tmp_path, labels, expected):
    np.savez(tmp_path / "table.npz", x=np.eye(3), labels=labels)
    found = load_dataset(tmp_path / "table.npz").labels
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, expected)


WITH_NAN = np.ones((4, 3))
WITH_NAN[2, 1] = np.nan


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        (dict(a=np.eye(2), b=np.eye(2)), ValueError, "must hold one of x.*has: a, b"),
        (dict(), ValueError, "it has: no arrays"),
        (dict(x=np.eye(2), images=np.eye(2)), ValueError, "it has: x, images"),
        (dict(x=np.eye(2), y=[0, 1], labels=[0, 1]), ValueError, "x, y, labels"),
        (dict(train_x=np.eye(2)), ValueError, "it has: train_x"),
        (
            dict(train_x=np.eye(2), test_x=np.eye(2), train_y=[0, 1]),
            ValueError,
            "train_y with test_y; it has: train_x, test_x, train_y",
        ),
        (
            dict(train_x=np.eye(2), test_x=np.eye(3)),
            ValueError,
            r"train_x and test_x must fit, got float64 \(2, 2\) and float64 \(3, 3\)",
        ),
        (
            dict(train_x=np.eye(2), test_x=np.eye(2, dtype=np.uint8)),
            ValueError,
            "must fit, got float64 .* and uint8",
        ),
        (
            dict(x=np.eye(3), y=[0, 1]),
            ValueError,
            r"table.npz: y must hold one label for each row of x, got shapes \(2,\)",
        ),
        (dict(x=np.eye(2), y=[0, np.nan]), ValueError, "float64 with NaN or infinity"),
        (dict(x=np.eye(2), y=[0j, 1j]), ValueError, "labels must be .* complex128"),
        (dict(x=WITH_NAN), ValueError, "table.npz: x must be finite: column 1 holds"),
        (dict(x=np.array([["a"]])), TypeError, "table.npz: x must be numeric"),
        (dict(x=np.eye(2) * 1j), TypeError, "table.npz: x must be real"),
        (dict(x=np.array([[{}]])), ValueError, "table.npz cannot be read: Object arr"),
        (dict(x=np.zeros((0, 3))), ValueError, "table.npz: x is empty"),
        (dict(x=np.zeros((0, 3, 3))), ValueError, "table.npz: x is empty"),
        (dict(x=np.zeros(3)), ValueError, r"x must have shape \[n, d\] .*got \[3\]"),
        (dict(x=np.float32(3)), ValueError, r"x must have shape \[n, d\] .*got \[\]"),
        (dict(x=np.zeros((1, 2, 2, 2, 2))), ValueError, r"got \[1, 2, 2, 2, 2\]"),
    ],
)
def test_load_dataset_rejects_a_bad_npz(tmp_path, arrays, error, message):
    np.savez(tmp_path / "table.npz", **arrays)
    with pytest.raises(error, match=message):
        load_dataset(tmp_path / "table.npz")


@pytest.mark.parametrize("ending", ["npz", "npy"])
def test_load_dataset_rejects_a_truncated_array_file(tmp_path, ending):
    path = tmp_path / f"table.{ending}"
    if ending == "npz":
        np.savez(path, x=np.eye(50))
    else:
        np.save(path, np.eye(50))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=f"table.{ending} (is not an|cannot be read)"):
        load_dataset(path)


def test_load_dataset_rejects_damage_inside_an_npz(tmp_path):
    path = tmp_path / "table.npz"
    np.savez(path, x=np.eye(50))
    content = bytearray(path.read_bytes())
    content[5000] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ValueError, match="table.npz cannot be read: Bad CRC-32"):
        load_dataset(path)


@pytest.mark.parametrize("ending", ["npz", "npy"])
def test_load_dataset_rejects_a_file_of_another_kind(tmp_path, ending):
    path = tmp_path / f"table.{ending}"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=f"table.{ending} is not an {ending} file"):
        load_dataset(path)


def test_load_dataset_rejects_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.npz does not exist"):
        load_dataset(tmp_path / "nowhere.npz")


@pytest.mark.parametrize("name", ["table.xlsx", "photo.png", "archive"])
def test_load_dataset_rejects_another_ending(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    message = (
        f"must end in .npz, .npy, .csv, .tsv or .parquet, got .*{name}; images are"
    )
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
    message = f"{option} is for a folder of images, got {option}={value!r} with {name}."
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
    message = "Unknown dataset 'photos'.* Known: mnist.* No folder or file is called so"
    with pytest.raises(ValueError, match=message):
        load_dataset("photos")


# Dataset.


def dataset_of(x, labels=None, image_shape=None, names=None):
    return Dataset("table", x, labels, image_shape, "a test", 1.0, names)


def test_digits_are_1797_images_between_0_and_1():
    digits = load_dataset("digits")
    assert digits.x.shape == (1797, 64)
    assert digits.x.dtype == np.float32
    assert (digits.x.min(), digits.x.max()) == (0.0, 1.0)
    assert digits.labels.dtype == np.int32
    assert digits.n_classes == 10
    assert digits.image_shape == (8, 8, 1)
    assert digits.input_scale == 1.0


def test_sha256_changes_with_one_pixel():
    x = np.zeros((3, 2), np.uint8)
    changed = x.copy()
    changed[2, 1] = 1
    assert dataset_of(x).sha256 != dataset_of(changed).sha256
    assert dataset_of(x).sha256 == dataset_of(x.copy()).sha256


@pytest.mark.parametrize(
    "other",
    [
        dataset_of(np.zeros((2, 3), np.uint8)),
        dataset_of(np.zeros((3, 2), np.int8)),
        dataset_of(np.zeros((3, 2), np.uint8), np.zeros(3, np.int32)),
    ],
    ids=["shape", "type", "labels"],
)
def test_sha256_covers_shape_type_and_labels(other):
    assert dataset_of(np.zeros((3, 2), np.uint8)).sha256 != other.sha256


def test_sha256_does_not_depend_on_names():
    x = np.zeros((2, 3), np.uint8)
    assert dataset_of(x).sha256 == dataset_of(x, names=("a.png", "b.png")).sha256


def test_sha256_does_not_depend_on_memory_order():
    x = np.arange(6.0).reshape(3, 2)
    assert dataset_of(x).sha256 == dataset_of(np.asfortranarray(x)).sha256


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(labels=np.zeros(2, np.int32)), r"int32 of shape \(3,\).*got .*\(2,\)"),
        (dict(labels=np.zeros(3)), r"must be int32 of shape \(3,\).* got float64"),
        (dict(image_shape=(2, 2, 1)), r"multiply to the 2 columns .*got \(2, 2, 1\)"),
        (
            dict(names=("a.png",)),
            "names must hold one for each of the 3 samples, got 1",
        ),
    ],
)
def test_dataset_rejects_what_does_not_fit_x(arguments, message):
    with pytest.raises(ValueError, match=message):
        dataset_of(np.zeros((3, 2)), **arguments)


# TFDS, with tiny files of our own.


@pytest.fixture
def tiny_set(tmp_path):
    """The table of a tiny set, and the folder with its files."""
    tfds_sets = pytest.importorskip("dec_jax.data.tfds")
    folder = write_idx(tmp_path / "published")
    contents = [(folder / name).read_bytes() for name in tfds_sets.IDX_NAMES]
    config = tfds_sets.IdxConfig(
        name="tiny",
        url="http://127.0.0.1:9/",
        files=tuple((len(c), hashlib.sha256(c).hexdigest()) for c in contents),
        image_shape=(4, 3, 1),
    )
    return tfds_sets, config, folder


def assert_is_tiny_set(images, labels):
    np.testing.assert_array_equal(images.reshape(7, 12), ALL_PIXELS)
    np.testing.assert_array_equal(labels, ALL_LABELS)


def test_prepare_tfds_from_local_files_keeps_the_order_of_the_files(tiny_set):
    tfds_sets, config, folder = tiny_set
    tfds_sets.prepare_tfds(config, manual_dir=folder)
    images, labels, source = tfds_sets.load_tfds(config)
    assert images.shape == (7, 4, 3, 1)
    assert labels.dtype == np.int32
    assert_is_tiny_set(images, labels)
    assert source == "TFDS dec_jax_images/tiny/1.0.0"
    assert "tensorflow" not in sys.modules


def test_load_tfds_downloads_what_is_not_prepared(tiny_set, monkeypatch):
    tfds_sets, config, folder = tiny_set
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = partial(QuietHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        config.url = f"http://127.0.0.1:{server.server_port}/"
        images, labels, _ = tfds_sets.load_tfds(config)
        server.shutdown()
    assert_is_tiny_set(images, labels)


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_load_tfds_fails_at_once_without_a_network(tiny_set):
    tfds_sets, config, _ = tiny_set
    start = time.perf_counter()
    with pytest.raises(OSError, match="ubyte.gz cannot be fetched .*Error"):
        tfds_sets.load_tfds(config)
    assert time.perf_counter() - start < 10


def test_prepare_tfds_rejects_a_file_that_is_not_the_published_one(tiny_set):
    tfds_sets, config, folder = tiny_set
    path = folder / "train-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(idx_bytes(TRAIN_LABELS), mtime=1))
    with pytest.raises(OSError, match="tiny: .*train-labels.* has wrong checksum"):
        tfds_sets.prepare_tfds(config, manual_dir=folder)


def test_prepare_tfds_names_the_nearest_set():
    tfds_sets = pytest.importorskip("dec_jax.data.tfds")
    with pytest.raises(ValueError, match="Unknown TFDS dataset 'mnits'; .* 'mnist'"):
        tfds_sets.prepare_tfds("mnits")


def test_prepare_tfds_rejects_a_missing_folder(tiny_set, tmp_path):
    tfds_sets, config, _ = tiny_set
    with pytest.raises(FileNotFoundError, match="manual_dir must name .*nowhere"):
        tfds_sets.prepare_tfds(config, manual_dir=tmp_path / "nowhere")


def test_check_connection_gives_up_on_a_server_that_does_not_answer(monkeypatch):
    tfds_sets = pytest.importorskip("dec_jax.data.tfds")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(OSError, match="cannot be fetched .ReadTimeout"):
            tfds_sets.check_connection(url, seconds=0.2)


def test_no_download_retries_restores_the_number_of_retries():
    tfds_sets = pytest.importorskip("dec_jax.data.tfds")
    before = tfds_sets.downloader.MAX_RETRIES
    with tfds_sets.no_download_retries():
        assert tfds_sets.downloader.MAX_RETRIES == 0
    assert before == tfds_sets.downloader.MAX_RETRIES


def test_load_dataset_reads_the_mnist_that_tfds_itself_prepared(tmp_path):
    pytest.importorskip("dec_jax.data.tfds")
    prepare_like_tfds(tmp_path / "tfds")
    dataset = load_dataset("mnist")
    assert dataset.source == "TFDS mnist/3.0.1, in the order of its records"
    assert dataset.image_shape == (4, 3, 1)
    # Records are shuffled within each part, hence compared in sorted order.
    for part in (slice(0, 5), slice(5, 7)):
        found = sorted(zip(dataset.x[part].tolist(), dataset.labels[part], strict=True))
        expected = sorted(zip(ALL_PIXELS[part].tolist(), ALL_LABELS[part], strict=True))
        assert found == expected


def prepare_like_tfds(folder):
    """Writes what TFDS's own mnist writes: PNG images, and no place in the files."""
    import tensorflow_datasets as tfds
    from PIL import Image

    def png(image):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        return file.getvalue()

    def examples(images, labels):
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield index, {"image": png(image), "label": int(label)}

    class Mnist(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = "mnist"
        VERSION = tfds.core.Version("3.0.1")

        def _info(self):
            image = tfds.features.Image(shape=(4, 3, 1))
            label = tfds.features.ClassLabel(num_classes=10)
            features = tfds.features.FeaturesDict({"image": image, "label": label})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager):
            return {
                "train": examples(TRAIN_IMAGES, TRAIN_LABELS),
                "test": examples(TEST_IMAGES, TEST_LABELS),
            }

        def _generate_examples(self):
            raise NotImplementedError

    builder = Mnist(data_dir=folder, file_format="array_record")
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    builder.download_and_prepare(download_config=config)


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


@pytest.mark.slow
@needs("mnist")
def test_prepare_tfds_gives_mnist_bit_for_bit():
    tfds_sets = pytest.importorskip("dec_jax.data.tfds")
    tfds_sets.prepare_tfds("mnist", manual_dir=Path(REAL_DATA) / "mnist")
    dataset = load_dataset("mnist")
    assert dataset.source == "TFDS dec_jax_images/mnist/1.0.0"
    assert dataset.sha256 == load_dataset("mnist", REAL_DATA).sha256
