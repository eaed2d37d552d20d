import numpy as np
import pytest

from benchmarks import methods
from dec_jax.data.dataset import Dataset


@pytest.fixture
def toy(blobs):
    x, classes = blobs
    # As bytes, which both libraries get from 0 to 1.
    x = np.round(255 * (x - x.min()) / (x.max() - x.min())).astype(np.uint8)
    return Dataset("toy", x, classes, None, "made by hand", 1 / 255)


@pytest.mark.slow
def test_seeds_are_scored_and_timed(toy, monkeypatch):
    monkeypatch.setattr(methods, "HIDDEN", (16,))
    x = methods.unit_range(toy)
    assert (x.min(), x.max(), x.dtype) == (0, 1, np.float32)
    row = methods.measure(toy, "aec", methods.Work(5, 1), seeds=2)
    for own in (row["acc"]["ours"], row["seconds"]["ours"]):
        assert len(own) == 2 and min(own) > 0
    assert min(row["acc"]["ours"]) > 0.5
    assert (row["dataset"], row["epochs"], row["clustering_epochs"]) == ("toy", 5, 1)


def test_table_has_the_spread_and_the_median_of_ratios():
    acc = {"ours": [0.9, 0.8], "peer": [0.7, 0.7]}
    row = {"dataset": "toy", "n_samples": 1200, "method": "dec", "acc": acc}
    row["seconds"] = {"ours": [1.0, 2.0], "peer": [3.0, 4.0]}
    line = methods.markdown([row]).splitlines()[-1]
    assert "| 85.0 ± 7.1 (80.0 to 90.0) | 70.0 ± 0.0 (70.0 to 70.0) |" in line
    assert line.endswith("| 1.5 | 3.5 | 2.50 |")
    alone = row | {"acc": {"ours": [0.9]}, "seconds": {"ours": [1.0]}}
    assert methods.markdown([alone]).endswith("(90.0 to 90.0) | - | 1.0 | - | - |")
