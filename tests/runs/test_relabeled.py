import numpy as np
import pytest
from programs import read_csv

from dec_jax.runs.errors import UsageError
from dec_jax.runs.folder import write_labels
from dec_jax.runs.relabeled import read_rows, write_consensus, write_relabeled

LABELS = np.arange(30) % 3


def write_seed(folder, seed, labels, classes=None, names=None):
    (folder / f"seed-{seed}").mkdir()
    path = folder / f"seed-{seed}" / "labels.csv"
    q, ranks = np.eye(3)[labels], np.ones(len(labels))
    write_labels(path, labels, q, classes, names, typical=ranks)
    return path


@pytest.fixture
def folder(tmp_path):
    """Three seeds under other names, of which one has a sample in another cluster."""
    names = [f"{row}.png" for row in range(30)]
    wrong = np.where(np.arange(30) == 0, 1, LABELS)
    for seed, labels in enumerate([LABELS, (LABELS + 1) % 3, wrong]):
        write_seed(tmp_path, seed, labels, LABELS, names)
    return tmp_path


def test_consensus_of_seeds_is_a_table_and_a_line(folder):
    line = write_consensus(folder, [0, 1, 2], 3)
    assert line == (
        "consensus of the seeds (consensus.csv): 97% of the samples are in the same "
        "cluster in all of them; its ACC 1.000"
    )
    rows = read_csv(folder / "consensus.csv")
    assert list(rows[0]) == ["index", "file", "cluster", "stability", "class"]
    assert rows[0]["stability"] == "0.6667" and rows[1]["stability"] == "1.0000"
    assert len({(row["cluster"], row["class"]) for row in rows}) == 3


def test_consensus_without_classes_has_no_accuracy(tmp_path):
    for seed in (0, 1):
        write_seed(tmp_path, seed, LABELS)
    assert write_consensus(tmp_path, [0, 1], 3).endswith("in all of them")


def test_columns_stand_where_the_cluster_stood(folder):
    rows = read_rows(folder / "seed-0" / "labels.csv")
    write_relabeled(
        folder / "new.csv",
        rows,
        {"cluster": (LABELS + 5).tolist(), "part": LABELS.tolist()},
    )
    first = read_csv(folder / "new.csv")[0]
    assert first == dict(index="0", file="0.png", cluster="5", part="0") | {
        "class": "0"
    }


@pytest.mark.parametrize("content", ["", "index\n0\n", "cluster\nx\n", "cluster\n7\n"])
def test_read_rows_rejects_damaged_labels(tmp_path, content):
    (tmp_path / "labels.csv").write_text(content)
    with pytest.raises(UsageError, match=r"labels.csv is damaged; run dec-jax cluster"):
        read_rows(tmp_path / "labels.csv", 3)
    with pytest.raises(UsageError, match=r"none.csv cannot be read: No such file"):
        read_rows(tmp_path / "none.csv")
