"""Photographs told from digits, icons, drawings and noise."""

import numpy as np
import pytest
from image_files import save
from PIL import Image, ImageDraw

from dec_jax.data.images import load_image_folder
from dec_jax.data.load import load_dataset
from dec_jax.data.photographs import are_photographs


def patches(n, side):
    """Patches of the two photographs that scikit-learn ships."""
    from sklearn.datasets import load_sample_image

    rng = np.random.default_rng(0)
    out = []
    for at in range(n):
        photo = Image.fromarray(load_sample_image(("china.jpg", "flower.jpg")[at % 2]))
        length = int(rng.integers(120, 400))
        left = int(rng.integers(0, photo.width - length))
        top = int(rng.integers(0, photo.height - length))
        box = (left, top, left + length, top + length)
        out.append(np.asarray(photo.resize((side, side), box=box)))
    return np.stack(out)


def icons(n, side):
    """Shapes of one color each on a ground of one color, with soft edges."""
    rng = np.random.default_rng(0)
    out = []
    for _ in range(n):
        icon = Image.new("RGB", (256, 256), tuple(rng.integers(0, 256, 3).tolist()))
        for _ in range(4):
            left, top, width, height = rng.integers(20, 120, 4).tolist()
            ImageDraw.Draw(icon).ellipse(
                (left, top, left + width, top + height),
                fill=tuple(rng.integers(0, 256, 3).tolist()),
            )
        out.append(np.asarray(icon.resize((side, side))))
    return np.stack(out)


@pytest.mark.parametrize("side", [32, 96, 300])
def test_photographs_are_told_from_icons(side):
    assert are_photographs(patches(20, side))
    assert are_photographs(patches(20, side).astype(np.float32) / 255)
    assert not are_photographs(icons(20, side))


def test_gray_images_noise_and_tiny_images_are_no_color_photographs():
    rng = np.random.default_rng(0)
    assert not are_photographs(patches(6, 32)[..., :1])
    assert not are_photographs(np.repeat(patches(6, 32)[..., :1], 3, axis=-1))
    assert not are_photographs(rng.integers(0, 256, (6, 32, 32, 3), np.uint8))
    assert not are_photographs(patches(6, 4))


def test_a_folder_of_photographs_says_what_pixels_can_do(tmp_path):
    for at, photo in enumerate(patches(4, 48)):
        save(tmp_path / f"{at}.png", photo)
    (note,) = load_image_folder(tmp_path).notes
    assert "by brightness and color" in note
    assert "--features hog" in note
    assert "--encoder" in note


def test_features_need_no_such_line(tmp_path):
    pytest.importorskip("skimage")
    for at, photo in enumerate(patches(4, 48)):
        save(tmp_path / f"{at}.png", photo)
    assert load_dataset(tmp_path, features="hog").notes == ()
