import csv
from types import SimpleNamespace

import pandas as pd
import pytest
from programs import SHORT, program, write_network

from dec_jax.report.write import write_report
from experiments import known_groups


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A short run on the wines, with its report."""
    folder = tmp_path_factory.mktemp("groups")
    network = write_network(folder / "small.json", 13, 16, 3)
    short = ("--recipe", "dec", "--architecture", network, *SHORT)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("dec_jax.report.write.try_reports", write_report)
        patched.setattr("dec_jax.runs.folder.figures_of", lambda *_: {})
        out = folder / "out"
        run = program(known_groups.main, "--table", "wine", "--out", out, *short)
    return SimpleNamespace(folder=out, **vars(run))


def test_table_has_names_of_columns_and_the_group(finished):
    assert finished.status == 0
    with (finished.folder / "wine.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 178
    assert list(rows[0])[0] == "alcohol" and list(rows[0])[-1] == "cultivar"
    assert {row["cultivar"] for row in rows} == {"class_0", "class_1", "class_2"}


def test_run_tells_what_the_clusters_are(finished):
    assert "clusters and known groups\ncluster" in finished.out
    assert "what sets each cluster apart (clusters.csv)\ncluster 0, " in finished.out
    assert "\nrules that are right for " in finished.out
    assert (finished.folder / "wine.webp").stat().st_size < 150_000


def test_rows_that_differ_are_counted(finished):
    clusters = pd.read_csv(finished.folder / "wine-run/labels.csv")["cluster"]
    groups = pd.read_csv(finished.folder / "wine.csv")["cultivar"]
    table = pd.crosstab(clusters, groups)
    count = 178 - table.max(axis=1).sum()
    assert f"\n{count} of 178 rows are not of their cluster's common" in finished.out


def test_differing_marks_what_is_not_the_commonest_group_of_its_cluster():
    clusters = pd.Series([0, 0, 0, 1, 1])
    groups = pd.Series(["a", "b", "a", "b", "b"])
    marks = known_groups.differing(clusters, groups).tolist()
    assert marks == [False, True, False, False, False]


def test_run_rejects_an_unknown_table(tmp_path):
    run = program(known_groups.main, "--table", "cars", "--out", tmp_path / "out")
    assert (run.status, run.err.count("\n")) == (2, 1)
    assert "argument --table: must be one of " in run.err
    assert not (tmp_path / "out").exists()
