import numpy as np
import pytest

from benchmarks import consensus
from dec_jax.runs.errors import UsageError
from dec_jax.runs.folder import write_labels


def write_seeds(folder, labelings, classes):
    q = np.full((len(classes), 2), 0.5)
    for seed, labels in enumerate(labelings):
        (folder / f"seed-{seed}").mkdir(parents=True)
        path = folder / f"seed-{seed}" / "labels.csv"
        write_labels(path, np.array(labels), q, np.array(classes))


def test_seeds_are_scored_next_to_their_consensus(tmp_path):
    classes = [0, 0, 0, 1, 1, 1, 1, 1]
    right = [1, 1, 1, 0, 0, 0, 0, 0]
    wrong = [1, 1, 1, 1, 0, 0, 0, 0]
    write_seeds(tmp_path / "toy", [right, wrong, right], classes)
    row = consensus.measure(tmp_path / "toy")
    assert (row["worst"], row["best"], row["chosen"]) == (7 / 8, 1, 1)
    assert row["mean"] == pytest.approx(23 / 24)
    assert (row["votes"], row["graph"], row["n_samples"], row["seeds"]) == (1, 1, 8, 3)
    assert "| toy | 8 | 87.5 | 95.8 | 100.0 |" in consensus.markdown([row])
    assert "better than the mean of the seeds (95.8) on 1 of 1" in consensus.summary(
        [row]
    )


def test_a_run_of_few_seeds_is_refused(tmp_path):
    write_seeds(tmp_path, [[0, 1]], [0, 1])
    with pytest.raises(UsageError, match="must hold at least 3 seeds, got 1"):
        consensus.measure(tmp_path)
