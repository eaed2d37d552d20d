"""Reader of the Optical Recognition of Handwritten Digits, as UCI publishes it."""

from pathlib import Path

import numpy as np

from dec_jax.data.dataset import Dataset, image_dataset

SIDE = 8
LARGEST = 16  # of the pixels, each of which counts the dark points of a block of 4 x 4
FILES = ("optdigits.tra", "optdigits.tes")


def load_optdigits(folder: Path) -> Dataset:
    """Loads the 5,620 digits of 8 x 8 pixels, in [0, 1], the training part first.

    The test part alone is what scikit-learn bundles, the data set `digits`.

    Args:
      folder: holds `FILES` (Alpaydin and Kaynak 1998), a digit in each line: 64 pixels from
        0 to 16 and the class, with commas.

    Returns:
      Images [n, 8, 8, 1], float32, and the classes.

    Raises:
      ValueError: a line is not such a line.
    """
    parts = [read_part(folder / name) for name in FILES]
    images = np.concatenate([images for images, _ in parts])
    labels = np.concatenate([labels for _, labels in parts])
    source = f"{' and '.join(FILES)} in {folder}"
    return image_dataset("optdigits", images, labels, source)


def read_part(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads the images [n, 8, 8, 1] and the classes [n] of one file."""
    rule = (
        f"{path} must hold 64 pixels from 0 to 16 and a class from 0 to 9 in each line"
    )
    try:
        rows = np.loadtxt(path, np.int32, delimiter=",", ndmin=2)
    except ValueError as error:
        raise ValueError(f"{rule}: {error}") from error
    if rows.shape[1:] != (SIDE * SIDE + 1,) or not len(rows):
        raise ValueError(f"{rule}, got an array of shape {rows.shape}.")
    pixels, labels = rows[:, :-1], rows[:, -1]
    if (
        pixels.min() < 0
        or pixels.max() > LARGEST
        or not np.isin(labels, range(10)).all()
    ):
        raise ValueError(
            f"{rule}, got pixels from {pixels.min()} to {pixels.max()} and classes from "
            f"{labels.min()} to {labels.max()}."
        )
    images = (pixels / LARGEST).astype(np.float32).reshape(-1, SIDE, SIDE, 1)
    return images, labels
