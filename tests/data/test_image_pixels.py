"""Pixels of image files: gray and color, transparency, EXIF, animations."""

import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from image_files import COLORS, RAMP, one_image, save
from PIL import Image

from dec_jax.data.images import load_image_folder

# Modes.


def test_mode_is_gray_where_all_files_are_gray(tmp_path):
    save(tmp_path / "1.png", Image.fromarray(RAMP).convert("1"))
    save(tmp_path / "2.png", Image.fromarray(RAMP).convert("LA"))
    save(tmp_path / "3.gif", RAMP)
    palette = Image.fromarray(RAMP // 32).convert("P")
    palette.putpalette([value for gray in (0, 200) for value in (gray,) * 3])
    save(tmp_path / "4.png", palette)
    dataset = load_image_folder(tmp_path)
    assert dataset.image_shape == (8, 8, 1)
    np.testing.assert_array_equal(dataset.x[1], RAMP.ravel())
    np.testing.assert_array_equal(dataset.x[3], 200 * (RAMP.ravel() // 32))


def test_mode_is_color_where_one_file_is(tmp_path):
    save(tmp_path / "a.png", RAMP)
    save(tmp_path / "b.png", COLORS)
    dataset = load_image_folder(tmp_path)
    assert dataset.image_shape == (8, 8, 3)
    images = dataset.x.reshape(2, 8, 8, 3)
    np.testing.assert_array_equal(images[0], np.stack([RAMP] * 3, axis=-1))
    np.testing.assert_array_equal(images[1], COLORS)


def test_mode_gray_takes_the_luma_of_colors(tmp_path):
    save(tmp_path / "a.png", COLORS)
    luma = COLORS @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(one_image(tmp_path, mode="gray"), luma, atol=1)


def test_mode_color_makes_three_channels_of_gray(tmp_path):
    save(tmp_path / "a.png", RAMP)
    image = one_image(tmp_path, mode="color")
    np.testing.assert_array_equal(image, np.stack([RAMP] * 3, axis=-1))


def test_one_bit_is_black_and_white(tmp_path):
    bits = RAMP % 3 == 0
    save(tmp_path / "a.png", Image.fromarray(bits))
    np.testing.assert_array_equal(one_image(tmp_path), 255 * bits)


def test_a_palette_gives_its_colors(tmp_path):
    palette = Image.fromarray(RAMP % 2).convert("P")
    palette.putpalette([10, 20, 30, 200, 100, 0])
    save(tmp_path / "a.png", palette)
    expected = np.array([[10, 20, 30], [200, 100, 0]])[RAMP % 2]
    np.testing.assert_array_equal(one_image(tmp_path), expected)


def test_transparent_pixels_are_laid_on_white(tmp_path):
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 0] = 100
    rgba[0, :, 3] = [255, 51, 0]
    save(tmp_path / "a.png", rgba)
    # 51 / 255 = 1/5 of the color and 4/5 of white.
    expected = [[[100, 0, 0], [224, 204, 204], [255, 255, 255]]]
    np.testing.assert_array_equal(one_image(tmp_path), expected)


def test_the_transparent_entry_of_a_palette_is_white(tmp_path):
    palette = Image.fromarray(RAMP % 2).convert("P")
    palette.putpalette([10, 20, 30, 200, 100, 0])
    save(tmp_path / "a.png", palette, transparency=0)
    expected = np.array([[255, 255, 255], [200, 100, 0]])[RAMP % 2]
    np.testing.assert_array_equal(one_image(tmp_path), expected)


def test_cmyk_becomes_rgb(tmp_path):
    save(tmp_path / "a.tif", Image.new("CMYK", (2, 2), (255, 0, 0, 0)))
    np.testing.assert_array_equal(
        one_image(tmp_path), np.full((2, 2, 3), [0, 255, 255])
    )


def test_the_first_frame_of_an_animation_counts(tmp_path):
    frames = [Image.new("L", (4, 4), value) for value in (50, 100, 150)]
    save(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert (one_image(tmp_path) == 50).all()


# The eight ways to hold a camera, as `stored` must be turned to be upright.
UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.T,
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].T,
    8: lambda stored: np.rot90(stored),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_images_are_turned_upright(tmp_path, orientation):
    stored = RAMP[:5]
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(tmp_path / "a.png", stored, exif=exif)
    np.testing.assert_array_equal(one_image(tmp_path), UPRIGHT[orientation](stored))


def test_16_bit_and_palette_images_are_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "16" / "a.png", RAMP[:5].astype(np.uint16) * 257, exif=exif)
    save(tmp_path / "p" / "b.png", Image.fromarray(RAMP[:5]).convert("P"), exif=exif)
    turned = np.rot90(RAMP[:5], -1)
    np.testing.assert_allclose(one_image(tmp_path / "16"), turned / RAMP[4, 7], 1e-6)
    np.testing.assert_array_equal(one_image(tmp_path / "p"), turned)


def test_broken_exif_is_no_reason_to_refuse_a_photo(tmp_path):
    save(tmp_path / "a.jpg", exif=b"Exif\0\0neither big nor little endian")
    assert one_image(tmp_path).shape == (8, 8)


def test_load_image_folder_rejects_an_unknown_mode(tmp_path):
    save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="Unknown mode 'grey'; did you mean 'gray'"):
        load_image_folder(tmp_path, mode="grey")


def test_a_chunk_that_claims_three_gibibytes_takes_none(tmp_path):
    save(tmp_path / "a.png", COLORS)
    content = bytearray((tmp_path / "a.png").read_bytes())
    length = content.index(b"IDAT") - 4
    content[length : length + 4] = (3 * 2**30).to_bytes(4)
    (tmp_path / "a.png").write_bytes(content)
    tracemalloc.start()
    with suppress(ValueError):
        load_image_folder(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**28
