"""The ways to bring images to one size, and the notes on what is changed."""

import numpy as np
import pytest
from image_files import COLORS, one_image, save
from PIL import Image

from dec_jax.data.images import load_image_folder


def strip(folder, *names):
    """Writes images of 10 x 40, black but for a white square at the left end."""
    pixels = np.zeros((10, 40), np.uint8)
    pixels[:, :10] = 255
    for name in names:
        save(folder / name, pixels)


def test_crop_keeps_the_center(tmp_path):
    strip(tmp_path, "a.png")
    assert one_image(tmp_path, size=10).max() == 0


def test_pad_keeps_all_on_black(tmp_path):
    strip(tmp_path, "a.png")
    image = one_image(tmp_path, size=(40, 40), fit="pad")
    np.testing.assert_array_equal(image[15:25, :10], 255)
    assert image.sum() == 255 * 100


def test_stretch_keeps_all_and_fills_the_size(tmp_path):
    strip(tmp_path, "a.png")
    image = one_image(tmp_path, size=(40, 10), fit="stretch")
    np.testing.assert_allclose(image[:, :2], 255, atol=20)
    np.testing.assert_allclose(image[:, 4:], 0, atol=20)


def test_an_image_of_no_height_is_padded_to_a_line(tmp_path):
    save(tmp_path / "a.png", np.full((1, 900), 255, np.uint8))
    assert one_image(tmp_path, size=8, fit="pad").max() == 255


def test_a_crop_that_loses_much_is_told(tmp_path):
    strip(tmp_path, "a.png", "b.png")
    save(tmp_path / "c.png", np.zeros((10, 10), np.uint8))
    (note,) = load_image_folder(tmp_path, size=10).notes
    assert note.startswith(
        "cropping cuts off 75% of the area of 2 of 3 images; --image-fit"
    )


@pytest.mark.parametrize("options", [{"fit": "pad"}, {"fit": "stretch"}])
def test_nothing_is_told_where_nothing_is_lost(tmp_path, options):
    strip(tmp_path, "a.png")
    assert load_image_folder(tmp_path, size=10, **options).notes == ()


def test_a_size_of_the_shape_of_the_images_loses_nothing(tmp_path):
    strip(tmp_path, "a.png")
    assert load_image_folder(tmp_path, size=(5, 20)).notes == ()


def test_a_crop_of_photos_in_the_shape_of_a_phone_is_not_told(tmp_path):
    # From 3:4 to a square a quarter is lost.
    save(tmp_path / "a.png", np.zeros((40, 30), np.uint8))
    assert load_image_folder(tmp_path, size=10).notes == ()


def test_transparent_images_are_counted(tmp_path):
    rgba = np.zeros((8, 8, 4), np.uint8)
    save(tmp_path / "a.png", rgba)
    save(tmp_path / "b.png", Image.fromarray(COLORS).convert("RGBA"))
    assert load_image_folder(tmp_path).notes == (
        "transparent in parts, put on white: 1 of 2 images",
    )


def test_the_reading_of_a_folder_is_kept(tmp_path):
    strip(tmp_path, "a.png")
    reading = load_image_folder(tmp_path, size=(5, 10), fit="pad").reading
    assert (reading.size, reading.mode, reading.fit) == ((5, 10), "gray", "pad")


def test_fit_rejects_other_words_and_a_missing_size(tmp_path):
    strip(tmp_path, "a.png")
    with pytest.raises(ValueError, match="Unknown fit 'fill'"):
        load_image_folder(tmp_path, size=8, fit="fill")
    with pytest.raises(
        ValueError, match=r"fit='pad' \(--image-fit pad\) needs the size"
    ):
        load_image_folder(tmp_path, fit="pad")


def test_size_rejects_what_no_image_needs(tmp_path):
    strip(tmp_path, "a.png")
    with pytest.raises(ValueError, match="at most 1,024 pixels a side, got 100,000"):
        load_image_folder(tmp_path, size=100_000)
