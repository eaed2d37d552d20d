import numpy as np
import pandas as pd
import pytest

from dec_jax.data.arrays import dataset_from_array
from dec_jax.data.dataset import Dataset
from dec_jax.data.tables import load_table


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


NUMBERS = {"a": np.arange(9) ** 2.0, "b": np.arange(9)[::-1] ** 1.5}


@pytest.mark.parametrize(
    ("columns", "by_direction"),
    [
        ({}, True),
        ({"c": 1_000 * np.arange(9) ** 1.5}, False),
        ({"c": list("abcabcabc")}, False),
        ({"c": [0, 1, 1] * 3}, False),
        ({"c": [f"{value} kg" for value in range(9)]}, False),
    ],
    ids=["one unit", "scale", "category", "yes or no", "unit"],
)
def test_rows_of_a_table_of_one_unit_count_by_direction(columns, by_direction):
    frame = pd.DataFrame({**NUMBERS, **columns})
    table = load_table(frame, keep=list(frame))
    assert table.by_direction is by_direction


def test_rows_of_answers_alone_count_by_direction():
    frame = pd.DataFrame({"a": [0, 1, 1, 0], "b": [1, 1, 0, 0]})
    assert load_table(frame).by_direction


def test_rows_of_an_array_count_by_direction_unless_columns_have_scales():
    x = np.array([[1.0, 2.0], [2.0, 5.0], [4.0, 1.0], [3.0, 3.0]])
    assert dataset_from_array(x).by_direction
    assert not dataset_from_array(x * [1, 1_000]).by_direction
