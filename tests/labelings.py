"""Pairs of labelings, for tests of scores."""

import numpy as np
import pytest
from hypothesis import strategies as st

RNG = np.random.default_rng(0)


# Pairs of labelings: classes and clusters of the same samples.
LABELINGS = {
    "random": (RNG.integers(0, 5, 300), RNG.integers(0, 5, 300)),
    "related": (np.arange(300) % 4, (np.arange(300) + (np.arange(300) % 7 == 0)) % 4),
    "more clusters": (np.arange(200) % 3, np.arange(200) % 12),
    "fewer clusters": (np.arange(200) % 12, np.arange(200) % 3),
    "one cluster": (np.arange(20) % 4, np.zeros(20, int)),
    "one class": (np.zeros(20, int), np.arange(20) % 4),
    "one of each": (np.zeros(9, int), np.full(9, 7)),
    "singleton clusters": (np.arange(12) % 4, np.arange(12)),
    "singleton classes": (np.arange(12), np.arange(12) % 4),
    "singletons of both": (np.arange(8), np.arange(8)[::-1]),
    "singletons in one cluster": (np.arange(8), np.zeros(8, int)),
    "identical": (np.arange(30) % 5, np.arange(30) % 5),
    "renamed": (np.arange(30) % 5, (np.arange(30) * 3 + 1) % 5),
    "independent": (np.arange(36) // 6, np.arange(36) % 6),
    "n = 1": (np.array([3]), np.array([8])),
    "n = 2, split": (np.array([0, 0]), np.array([0, 1])),
    "strings": (np.array(["cat", "dog", "cat", "emu"]), np.array(["b", "a", "b", "b"])),
    "floats": (np.array([0.5, 2.0, 2.0, -1.5]), np.array([1e300, 0.0, 0.0, -1e-300])),
    "negative": (np.array([-3, -3, 5, 5, 5]), np.array([-1, 0, 0, -1, -1])),
    "sparse values": (np.array([10**12, 7, 7, 0]), np.array([-(2**62), 2**62, 1, 1])),
    "booleans": (np.array([True, False, True]), np.array([False, False, True])),
    "small unsigned": (np.arange(600) % 2, (np.arange(600) % 256).astype(np.uint8)),
    "two kinds": (np.array(["x", "y", "y", "x"]), np.array([0.0, 1.0, 1.0, 1.0])),
    "lists": ([0, 1, 1, 2], ["a", "b", "b", "b"]),
}


all_labelings = pytest.mark.parametrize(
    ("labels_true", "labels_pred"), LABELINGS.values(), ids=LABELINGS.keys()
)


# Classes and clusters of up to 40 samples, two lists of one length.
label_pairs = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40
).map(lambda pairs: [list(labels) for labels in zip(*pairs, strict=True)])


def numbered(labels):
    """Labels as 0, 1, ..., as scikit-learn's scores refuse floats."""
    return np.unique(labels, return_inverse=True)[1]
