import gzip
import struct

import numpy as np
import pytest
from idx_files import (
    ALL_LABELS,
    ALL_PIXELS,
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    idx_bytes,
    write_idx,
)

from dec_jax.data.idx import read_idx
from dec_jax.data.load import load_dataset


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
            "train-images.* is a damaged gzip file .*download it again",
        ),
        (
            "train-images-idx3-ubyte.gz",
            gzip.compress(b"\x00\x00\x0d\x03" + bytes(72)),
            "must start with the magic number 2051 of images, got 3331; does it",
        ),
        (
            "train-images-idx3-ubyte.gz",
            gzip.compress(idx_bytes(TRAIN_LABELS)),
            "magic number 2051 of images, got 2049, which marks labels; does it hold",
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


def test_gzip_header_of_impossible_size_is_refused_before_memory_is_asked_for(tmp_path):
    header = struct.pack(">4I", 2051, 2**31, 2**15, 2**15)
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(header + bytes(100)))
    with pytest.raises(ValueError, match="truncated or damaged, download it again"):
        read_idx(path, magic=2051)
