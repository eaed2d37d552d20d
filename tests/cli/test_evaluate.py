"""`dec-jax evaluate`: labels against classes, other labels, or the data."""

import numpy as np
import pytest
from programs import program

from dec_jax.cli.main import main
from dec_jax.evaluation.comparison import compare_labels
from dec_jax.evaluation.density import internal_scores


def evaluate(*arguments):
    return program(main, "evaluate", *arguments)


@pytest.fixture
def files(tmp_path):
    """A table of two blobs, their clusters in reverse order, and their classes."""
    x = 9 * np.eye(2)[np.arange(20) % 2] + np.random.default_rng(0).normal(size=(20, 2))
    clusters = np.where(np.arange(20) == 4, 1, np.arange(20) % 2)
    np.savez(tmp_path / "data.npz", x=x)
    lines = [f"{i},{clusters[i]},0.5" for i in reversed(range(20))]
    (tmp_path / "labels.csv").write_text("\n".join(["index,cluster,q", *lines]))
    words = ["odd" if i % 2 else "even" for i in range(20)]
    lines = [f"{i},{word}" for i, word in enumerate(words)]
    (tmp_path / "truth.csv").write_text("\n".join(["index,kind", *lines]))
    lines = [f"{i},{word},{word}" for i, word in enumerate(words)]
    (tmp_path / "two.csv").write_text("\n".join(["index,kind,sort", *lines]))
    return tmp_path, x, clusters, words


def score(out, title):
    """The number in the line of a score."""
    return next(line for line in out.splitlines() if line.startswith(title)).split()[-1]


def test_labels_are_scored_against_classes(files):
    folder, _, clusters, words = files
    run = evaluate(
        folder / "labels.csv", "--truth", folder / "truth.csv", "--column", "kind"
    )
    assert (run.status, run.err) == (0, "")
    expected = compare_labels(words, clusters)
    for title, value in {
        "ACC": expected.acc,
        "AMI": expected.ami,
        "F1 of pairs": expected.pair_f1,
        "variation of information": expected.variation_of_information,
        "purity": expected.purity,
    }.items():
        assert score(run.out, title) == f"{value:.4f}"
    assert "matched by column index" in run.out
    table = [line.split() for line in run.out.splitlines()[-3:]]
    assert table == [["truth", "\\", "labels", "0", "1"]] + [
        ["even", "9", "1"],
        ["odd", "0", "10"],
    ]


def test_labels_are_scored_in_the_data(files):
    folder, x, clusters, words = files
    run = evaluate(folder / "labels.csv", "--data", folder / "data.npz")
    assert run.status == 0
    assert "CVNN compares labelings: it needs --truth" in run.out
    run = evaluate(
        *(folder / "labels.csv", "--data", folder / "data.npz"),
        *("--truth", folder / "truth.csv", "--column", "kind"),
    )
    expected = internal_scores(x, [clusters, words])
    for title, name in {"DBCV": "dbcv", "CVNN": "cvnn", "silh": "silhouette"}.items():
        line = next(line for line in run.out.splitlines() if line.startswith(title))
        found = [float(number) for number in line.split()[-2:]]
        # The numbers of the file are divided by their deviation, in float32.
        assert found == pytest.approx([one[name] for one in expected], abs=2e-4)


def test_two_runs_are_compared_by_their_folders(files):
    folder, *_ = files
    run = evaluate(folder, "--truth", folder)
    assert run.status == 0 and score(run.out, "ARI") == "1.0000"


def test_many_clusters_have_no_confusion_table(tmp_path):
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", np.arange(60) % 30)
    run = evaluate(tmp_path / "a.npy", "--truth", tmp_path / "b.npy")
    assert run.out.endswith("no confusion table of 30 x 30 cells, more than 25 x 25\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["labels.csv"], "--truth or --data must be given, got neither."),
        (
            ["labels.csv", "--data", "data.npz", "--column", "x"],
            "--column names a column",
        ),
        (["none.csv", "--truth", "truth.csv"], "none.csv does not exist."),
        (
            ["labels.csv", "--truth", "two.csv"],
            "has no column class or cluster; name",
        ),
        (
            ["labels.csv", "--truth", "truth.csv", "--column", "knd"],
            "did you mean 'kind'",
        ),
        (
            ["labels.csv", "--truth", "short.txt"],
            "as many rows, or a column that names",
        ),
        (
            ["short.txt", "--data", "data.npz"],
            "a sample for each of the 2 labels, got 20",
        ),
        (["empty", "--truth", "truth.csv"], "holds no labels.csv"),
    ],
)
def test_mistakes_are_one_line(files, monkeypatch, words, message):
    folder, *_ = files
    (folder / "short.txt").write_text("a\nb\n")
    (folder / "empty").mkdir()
    monkeypatch.chdir(folder)
    run = evaluate(*words)
    assert (run.status, run.out) == (2, "") and run.err.startswith("error: ")
    assert message in run.err and run.err.count("\n") == 1


def test_the_only_column_that_can_hold_labels_is_taken(files):
    folder, *_ = files
    named = ("--truth", folder / "truth.csv")
    found = evaluate(folder / "labels.csv", *named)
    assert found.out == evaluate(folder / "labels.csv", *named, "--column", "kind").out


def test_rows_of_two_files_that_may_not_belong_together_are_warned_of(files):
    folder, _, _, words = files
    lines = [f"c{i},{word}" for i, word in enumerate(words)]
    (folder / "named.csv").write_text("\n".join(["customer,kind", *lines]))
    run = evaluate(folder / "labels.csv", "--truth", folder / "named.csv")
    assert "matched by their order" in run.out
    words = "warning: only FILE of --truth has the column customer, which could name"
    assert run.err.startswith(words)
    assert run.err.endswith("dec-jax cluster --id-column customer.\n")
