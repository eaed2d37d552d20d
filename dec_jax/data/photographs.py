"""Tells color photographs from digits, icons and drawings, by their pixels."""

import numpy as np

from dec_jax.data.image_stack import thumbnails

PHOTOGRAPHS = (
    "these look like photographs: their pixels group them by brightness and color, not by "
    "what they show; --features hog (shapes) or --encoder (a pretrained network) groups "
    "them by more"
)
SEEN = 200  # images that are looked at
SHARE = 0.6  # of the images that must look like photographs


def are_photographs(images: np.ndarray) -> bool:
    """Returns True if most images look like color photographs.

    Args:
      images: [n, h, w, c] bytes, or floats from 0 to 1.

    Returns:
      False for images without color.

    Example:
      >>> are_photographs(np.zeros((5, 8, 8, 3), np.uint8))
      False
    """
    if images.shape[-1] != 3 or min(images.shape[1:3]) < 8:
        return False
    rows = np.linspace(0, len(images) - 1, min(SEEN, len(images))).astype(int)
    small = (thumbnails(images[row : row + 1])[0] for row in rows)
    found = [is_photograph(image.astype(np.float32)) for image in small]
    return bool(np.mean(found) > SHARE)


def is_photograph(image: np.ndarray) -> bool:
    """Returns True for an image with colors, many of them, and few even areas.

    Args:
      image: [h, w, 3] values from 0 to 255.
    """
    colorful = np.ptp(image, axis=-1)
    steps = np.abs(np.diff(image, axis=1)).max(axis=-1)
    gray = image.mean(axis=-1)
    left, right = gray[:, :-1].ravel(), gray[:, 1:].ravel()
    if left.std() < 4 or right.std() < 4:
        return False
    coarse = (image // 16).astype(np.int64) @ np.array([256, 16, 1])
    n_colors = len(np.unique(coarse))
    return bool(
        np.mean(colorful > 8) > 0.3
        and np.mean(steps <= 1) < 0.4
        and n_colors > min(64, gray.size / 12)
        # Noise has no neighbors of one color.
        and np.corrcoef(left, right)[0, 1] > 0.4
    )
