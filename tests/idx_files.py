"""The four IDX files of a tiny MNIST, for tests."""

import gzip
import struct

import numpy as np

TRAIN_IMAGES = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
TRAIN_LABELS = np.array([3, 1, 4, 1, 5], np.uint8)
TEST_IMAGES = 255 - np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)
TEST_LABELS = np.array([9, 2], np.uint8)
ALL_PIXELS = np.concatenate([TRAIN_IMAGES, TEST_IMAGES]).reshape(7, 12)
ALL_LABELS = [3, 1, 4, 1, 5, 9, 2]


def idx_bytes(array):
    """An IDX file as its description has it: magic, sizes, bytes."""
    magic = 2051 if array.ndim == 3 else 2049
    header = struct.pack(f">{1 + array.ndim}I", magic, *array.shape)
    return header + array.tobytes()


def write_idx(folder, *, separator="-", zipped=True):
    """The four files of a tiny MNIST of 4 x 3 pixels."""
    folder.mkdir(parents=True)
    arrays = {
        f"train-images{separator}idx3-ubyte": TRAIN_IMAGES,
        f"train-labels{separator}idx1-ubyte": TRAIN_LABELS,
        f"t10k-images{separator}idx3-ubyte": TEST_IMAGES,
        f"t10k-labels{separator}idx1-ubyte": TEST_LABELS,
    }
    for name, array in arrays.items():
        raw = idx_bytes(array)
        if zipped:
            # A fixed time stamp gives the same bytes, and so the same sha256, each time.
            (folder / f"{name}.gz").write_bytes(gzip.compress(raw, mtime=0))
        else:
            (folder / name).write_bytes(raw)
    return folder
