import numpy as np
import pytest

from dec_jax.data.load import load_dataset

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
