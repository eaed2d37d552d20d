import numpy as np
import pytest

from dec_jax.data.dataset import Dataset


def dataset_of(x, labels=None, image_shape=None, names=None):
    return Dataset("table", x, labels, image_shape, "a test", 1.0, names)


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
