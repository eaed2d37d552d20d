"""hierarchy.json of a run, its picture in the report, and `dec-jax cut`."""

import json

import numpy as np
import pytest
from finished_runs import image_data, write_run
from programs import program, read_csv

from dec_jax.cli.main import main
from dec_jax.clustering.hierarchy import Hierarchy
from dec_jax.report.dendrogram import dendrogram_of, leaf_order
from dec_jax.report.write import write_report
from dec_jax.runs.errors import UsageError
from dec_jax.runs.hierarchy_file import read_hierarchy, write_hierarchy

TREE = Hierarchy(
    np.array([[0, 2], [1, 3]]), np.array([1.5, 0.25]), np.array([20, 20, 20])
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a run with a tree."""
    folder = tmp_path_factory.mktemp("run") / "stripes"
    write_run(folder, image_data(), np.arange(60) % 3)
    write_hierarchy(folder / "hierarchy.json", TREE)
    return folder


def test_tree_is_read_as_it_was_written(folder):
    found = read_hierarchy(folder / "hierarchy.json")
    for one, other in zip(found, TREE, strict=True):
        np.testing.assert_array_equal(one, other)
    content = json.loads((folder / "hierarchy.json").read_text())
    assert content["merges"][1] == {
        "node": 4,
        "children": [1, 3],
        "similarity": 0.25,
        "height": 0.8,
    }


@pytest.mark.parametrize("merges", [[[0, 2], [1, 1]], [[0, 4], [1, 3]], [[0, 2]]])
def test_read_hierarchy_rejects_what_is_no_tree(tmp_path, merges):
    tree = Hierarchy(np.array(merges), np.ones(len(merges)), TREE.sizes)
    write_hierarchy(tmp_path / "hierarchy.json", tree)
    with pytest.raises(UsageError, match=r"hierarchy\.json is damaged; run dec-jax"):
        read_hierarchy(tmp_path / "hierarchy.json")


def test_clusters_are_joined(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = program(main, "cut", folder, "-k", 2)
    assert (run.status, run.err) == (0, "")
    assert run.out.splitlines() == [
        "cluster 0: 40 samples, of clusters 0, 2",
        "cluster 1: 20 samples, of cluster 1",
        "clusters of all samples: stripes-2-clusters.csv",
    ]
    rows = read_csv(tmp_path / "stripes-2-clusters.csv")
    assert rows[1] == {"index": "1", "cluster": "1", "part": "1", "class": "1"}
    assert [row["cluster"] for row in rows[:3]] == ["0", "1", "0"]


def test_evaluate_adds_the_purity_of_the_tree(folder):
    words = (folder, "--truth", folder / "labels.csv", "--column", "class")
    run = program(main, "evaluate", *words)
    assert run.out.splitlines()[-1].split()[-1] == "1.0000"
    assert run.out.splitlines()[-1].startswith("dendrogram purity")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-k", 4], "-k must be from 1 to 3, the clusters of the hierarchy, got 4."),
        (["-k", 0], "-k must be from 1 to 3, the clusters"),
        (["-k", 2, "--out", "there.csv"], "there.csv exists already; name another"),
    ],
)
def test_mistakes_are_one_line(folder, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.csv").touch()
    run = program(main, "cut", folder, *words)
    assert run.status == 2 and run.err.count("\n") == 1
    assert message in run.err


def test_a_run_without_a_tree_is_told(tmp_path):
    write_run(tmp_path / "run", image_data(), np.arange(60) % 3)
    run = program(main, "cut", tmp_path / "run", "-k", 2)
    assert run.status == 2 and "hierarchy.json" in run.err


def test_report_draws_the_tree(folder):
    text = write_report(folder, image_data()).read_text(encoding="utf-8")
    assert '<h2 id="hierarchy">Hierarchy</h2>' in text
    assert text.count('stroke-width="1.5"><title>') == 2
    assert "1.5 times as many links as at random" in text


def test_leaves_of_a_node_are_next_to_each_other():
    merges = np.array([[0, 3], [1, 5], [2, 4], [6, 7]])
    tree = Hierarchy(merges, np.array([4.0, 3.0, 2.0, 1.0]), np.ones(5, int))
    assert leaf_order(tree).tolist() == [1, 0, 3, 2, 4]
    found = dendrogram_of(tree)
    assert [y for _, y in found.leaves] == [12, 36, 60, 84, 108]
    assert len(found.lines) == 4
