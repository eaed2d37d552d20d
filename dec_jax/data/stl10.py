"""Reader of STL-10, in the binary files of its publisher."""

from pathlib import Path

import numpy as np

from dec_jax.data.dataset import Dataset, image_dataset

SIDE = 96
CLASSES = range(1, 11)
FILES = ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin")


def load_stl10(folder: Path) -> Dataset:
    """Loads the 13,000 labeled color images of 96 x 96 pixels, the training part first.

    Args:
      folder: holds `FILES` of stl10_binary.tar.gz (Coates, Ng and Lee 2011).

    Returns:
      Images [n, 96, 96, 3] of bytes, and the classes 0 to 9 (1 to 10 in the files).

    Raises:
      ValueError: a file is truncated, the two files of a part do not fit, or a label is
        not from 1 to 10.
    """
    images, labels = [], []
    for part in ("train", "test"):
        x_path, y_path = folder / f"{part}_X.bin", folder / f"{part}_y.bin"
        x, y = np.fromfile(x_path, np.uint8), np.fromfile(y_path, np.uint8)
        if x.size != len(y) * 3 * SIDE * SIDE:
            raise ValueError(
                f"{x_path} must hold {3 * SIDE * SIDE} bytes for each of the {len(y)} "
                f"labels in {y_path.name}, got {x.size}; download it again."
            )
        if not np.isin(y, CLASSES).all():
            raise ValueError(
                f"{y_path} must hold labels 1 to 10, got {y.min()} to {y.max()}; download it "
                "again."
            )
        # The files store channel by channel, and each channel column by column.
        images.append(x.reshape(-1, 3, SIDE, SIDE).transpose(0, 3, 2, 1))
        labels.append(y.astype(np.int32) - 1)
    source = f"binary files in {folder}"
    return image_dataset(
        "stl10", np.concatenate(images), np.concatenate(labels), source
    )
