import numpy as np
import pytest
from sklearn.datasets import load_digits

from dec_jax.data.load import DatasetNotFoundError, load_dataset

PIXELS = np.random.default_rng(0).integers(0, 17, (5, 64))
CLASSES = [7, 0, 9, 3, 3]


def lines(pixels, classes):
    """Lines as UCI's files have them."""
    rows = [[*row, label] for row, label in zip(pixels, classes, strict=True)]
    return "".join(",".join(map(str, row)) + "\n" for row in rows)


def write_optdigits(folder):
    """Three digits to train on, two to test with."""
    folder.mkdir()
    (folder / "optdigits.tra").write_text(lines(PIXELS[:3], CLASSES[:3]))
    (folder / "optdigits.tes").write_text(lines(PIXELS[3:], CLASSES[3:]))
    return folder


def test_load_dataset_reads_optdigits_train_then_test(tmp_path):
    folder = write_optdigits(tmp_path / "optdigits")
    dataset = load_dataset("optdigits", tmp_path)
    assert (dataset.name, dataset.image_shape) == ("optdigits", (8, 8, 1))
    assert (dataset.x.dtype, dataset.input_scale) == (np.float32, 1.0)
    np.testing.assert_array_equal(dataset.x * 16, PIXELS)
    assert dataset.labels.tolist() == CLASSES
    assert dataset.source == f"optdigits.tra and optdigits.tes in {folder}"
    assert load_dataset("optdigits", folder).sha256 == dataset.sha256


def test_its_test_part_is_the_set_of_scikit_learn(tmp_path):
    folder = write_optdigits(tmp_path / "optdigits")
    bundled = load_digits()
    text = lines(bundled.data.astype(int), bundled.target)
    (folder / "optdigits.tes").write_text(text)
    dataset, digits = load_dataset("optdigits", folder), load_dataset("digits")
    np.testing.assert_array_equal(dataset.x[3:], digits.x)
    np.testing.assert_array_equal(dataset.labels[3:], digits.labels)


WRONG = {
    "17": (lines([[17] * 64], [1]), "got pixels from 17 to 17 and classes from 1 to 1"),
    "class": (lines([[1] * 64], [10]), "got pixels from 1 to 1 and classes from 10 to"),
    "short": (lines([[1] * 63], [1]), r"got an array of shape \(1, 64\)"),
    "ragged": ("1,2\n3\n", "in each line: the number of columns changed"),
    "text": ("a,b\n", "in each line: could not convert string 'a'"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_load_dataset_rejects_lines_of_another_form(tmp_path, wrong):
    text, message = WRONG[wrong]
    folder = write_optdigits(tmp_path / "optdigits")
    (folder / "optdigits.tra").write_text(text)
    rule = r"optdigits.tra must hold 64 pixels from 0 to 16 and a class from 0 to 9 .*"
    with pytest.raises(ValueError, match=rule + message):
        load_dataset("optdigits", tmp_path)


def test_load_dataset_names_the_ways_to_get_optdigits(tmp_path):
    message = "Put optdigits.tra, optdigits.tes into <folder>/optdigits and pass data_"
    with pytest.raises(DatasetNotFoundError, match=message):
        load_dataset("optdigits", tmp_path)
