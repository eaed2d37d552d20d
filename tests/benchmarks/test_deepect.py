import numpy as np
import pytest

from benchmarks import deepect
from dec_jax.clustering.hierarchy import Hierarchy
from dec_jax.data.arrays import dataset_from_array
from dec_jax.training.deepect import DeepECTConfig


@pytest.mark.slow
def test_every_way_to_a_tree_is_scored(monkeypatch, tmp_path):
    rng = np.random.default_rng(0)
    classes = np.arange(90) % 3
    x = 9 * np.eye(3, 36)[classes] + rng.normal(size=(90, 36))
    dataset = dataset_from_array(x.astype(np.float32), labels=classes)
    config = DeepECTConfig(n_leaves=4, n_steps=8, split_every=2)
    methods = list(deepect.METHODS[:3])
    short = deepect.pretraining_of(dataset, epochs=2)
    monkeypatch.setattr(deepect, "pretraining_of", lambda _: short)
    rows = list(deepect.measure(dataset, methods, 0, config))
    assert [row["method"] for row in rows] == methods
    for row in rows:
        assert 2 <= row["leaves"] <= 4
        assert 100 / 3 <= row["dp"] <= 100 and 100 / 3 <= row["lp"] <= 100


def test_scores_are_those_of_the_tree():
    tree = Hierarchy(np.array([[0, 1], [2, 3]]), np.array([1.0, 0.0]), np.full(3, 2))
    labels = np.array([0, 0, 1, 1, 2, 2])
    found = deepect.scores(np.array([0, 0, 0, 0, 1, 1]), labels, tree)
    assert found == {"dp": 100, "lp": 100, "acc": 100, "leaves": 3}
    found = deepect.scores(np.array([0, 0, 1, 1, 0, 0]), labels, tree)
    # Of seven pairs of one class, three meet in a leaf, and four in the root.
    assert found["dp"] == pytest.approx(100 * (3 + 4 * 2 / 3) / 7)
    assert found["acc"] == pytest.approx(400 / 6)
