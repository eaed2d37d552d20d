"""Small image files, for tests."""

import numpy as np
from PIL import Image

from dec_jax.data.images import load_image_folder

RAMP = np.arange(8 * 8, dtype=np.uint8).reshape(8, 8)
COLORS = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)


def save(path, pixels=RAMP, **options):
    """Writes an image file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return path


def save_broken(path):
    """A PNG file that ends in the middle of its pixels."""
    save(path, np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    path.write_bytes(path.read_bytes()[:6000])


def one_image(folder, **options):
    """The only image of a folder, [h, w] or [h, w, 3]."""
    dataset = load_image_folder(folder, **options)
    assert len(dataset.x) == 1
    image = dataset.x.reshape(dataset.image_shape)
    return image[..., 0] if image.shape[-1] == 1 else image
