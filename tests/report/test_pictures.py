import base64
import io
from dataclasses import dataclass, replace

import numpy as np
import pytest
from finished_runs import image_data
from PIL import Image

from dec_jax.data.dataset import Dataset
from dec_jax.report.pictures import data_uri, pictures_of, sheets, small_uri


def decoded(uri):
    """The picture of a data URI."""
    head, _, content = uri.partition(",")
    assert head in ("data:image/png;base64", "data:image/webp;base64")
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_bytes_are_shown_as_they_are():
    data = image_data()
    (picture,) = pictures_of(data).rows(np.array([4]), 64)
    np.testing.assert_array_equal(np.asarray(picture), data.x[4].reshape(6, 5))
    np.testing.assert_array_equal(np.asarray(decoded(small_uri(picture))), picture)


def test_floats_are_shown_from_their_lowest_to_their_highest():
    x = np.array([[-1.0, 0.0, 1.0, 3.0], [0.0, 0.0, 0.0, 0.0]], np.float32)
    data = Dataset("floats", x, None, (2, 2, 1), "made by hand", 1.0)
    first, second = pictures_of(data).rows(np.array([0, 1]), 64)
    np.testing.assert_array_equal(np.asarray(first).ravel(), [0, 64, 128, 255])
    # One scale for all images.
    np.testing.assert_array_equal(np.asarray(second).ravel(), [64, 64, 64, 64])


@pytest.mark.parametrize(
    ("channels", "mode"), [(1, "L"), (2, "L"), (3, "RGB"), (4, "RGB"), (5, "RGB")]
)
def test_any_number_of_channels_is_shown(channels, mode):
    data = image_data(shape=(6, 5, channels))
    (picture,) = pictures_of(data).rows(np.array([0]), 64)
    assert (picture.mode, picture.size) == (mode, (5, 6))


def test_large_images_become_small_and_keep_their_proportions():
    data = image_data(3, shape=(60, 120, 3))
    (picture,) = pictures_of(data).rows(np.array([0]), 32)
    assert picture.size == (32, 16)


def test_sheets_hold_the_tiles_in_their_order():
    n = 2600
    x = (np.arange(n * 4) // 4 % 251).astype(np.uint8).reshape(n, 4)
    data = Dataset("tiles", x, None, (2, 2, 1), "made by hand", 1 / 255)
    rows = np.arange(n)[::-1]
    found = sheets(pictures_of(data), rows)
    assert (found.tile, found.cell) == ((2, 2), (2, 2))
    assert (found.columns, found.at_once) == (50, 2500)
    first, second = (np.asarray(decoded(uri)) for uri in found.uris)
    assert (first.shape, second.shape) == ((100, 100), (4, 100))
    place = 57  # second line, eighth column
    np.testing.assert_array_equal(first[2:4, 14:16].ravel(), x[rows[place]])
    np.testing.assert_array_equal(second[2:4, 98:].ravel(), x[rows[2599]])


def test_color_pictures_are_compressed():
    data = replace(image_data(shape=(40, 40, 3)))
    (picture,) = pictures_of(data).rows(np.array([0]), 64)
    assert small_uri(picture).startswith("data:image/webp;base64,")
    assert len(small_uri(picture)) < len(data_uri(picture))


def test_compressed_tiles_do_not_run_into_each_other():
    x = np.zeros((4, 28 * 28), np.uint8)
    x[1] = x[3] = 255
    data = Dataset("tiles", x, None, (28, 28, 1), "made by hand", 1 / 255)
    found = sheets(pictures_of(data), np.arange(4))
    assert (found.tile, found.cell) == ((28, 28), (32, 32))
    sheet = np.asarray(decoded(found.uris[0]).convert("L")).astype(int)
    for place in range(4):
        tile = sheet[:28, 32 * place : 32 * place + 28]
        assert abs(tile - x[place, 0]).max() < 12


@dataclass(frozen=True, eq=False)
class Features(Dataset):
    """Features of images, which keep small pictures of them."""

    thumbnails: np.ndarray | None = None


def test_pictures_of_features_are_those_that_they_stand_for():
    small = image_data(shape=(6, 5, 3)).x.reshape(60, 6, 5, 3)
    x = np.random.default_rng(0).random((60, 100), np.float32)
    data = Features("hog", x, None, None, "made by hand", 1.0, thumbnails=small)
    (picture,) = pictures_of(data).rows(np.array([7]), 64)
    np.testing.assert_array_equal(np.asarray(picture), small[7])


def test_tables_have_no_pictures():
    x = np.zeros((2, 3), np.float32)
    assert pictures_of(Dataset("table", x, None, None, "made by hand", 1.0)) is None
