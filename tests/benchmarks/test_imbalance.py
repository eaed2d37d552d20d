import numpy as np

from benchmarks import imbalance
from dec_jax.data.arrays import dataset_from_array


def test_a_class_is_thinned_to_its_share():
    x = np.arange(200, dtype=np.float32).reshape(100, 2)
    labels = np.repeat([0, 1], 50)
    few = imbalance.thinned(dataset_from_array(x, labels=labels), 1, 0.1)
    assert np.bincount(few.labels).tolist() == [50, 6]


def test_recall_and_precision_are_of_the_matched_cluster():
    classes = np.array([0, 0, 0, 0, 1, 1])
    labels = np.array([7, 7, 7, 2, 2, 2])
    assert imbalance.found_share(classes, labels, 1) == (1, 2 / 3)
    assert imbalance.found_share(classes, labels, 0) == (3 / 4, 1)
