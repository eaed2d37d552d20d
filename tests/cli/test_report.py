"""`dec-jax report`, and the report at the end of `dec-jax cluster`."""

import sys

import numpy as np
import pytest
from finished_runs import image_data, write_run
from programs import SHORT, blob_table, cluster, program, read_csv, write_network

from dec_jax.cli.main import main
from dec_jax.data.load import load_dataset
from dec_jax.report import write
from dec_jax.report.write import try_reports as real_try_reports


@pytest.fixture(scope="module")
def blobs(tmp_path_factory):
    """A table of three far blobs."""
    path = tmp_path_factory.mktemp("data") / "blobs.npz"
    np.savez(path, x=blob_table()[0])
    return path


@pytest.fixture(scope="module")
def folder(blobs, tmp_path_factory):
    """The folder of a run on it."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    return write_run(folder, load_dataset(blobs), np.arange(90) % 3, source=str(blobs))


def report(*arguments):
    return program(main, "report", *arguments)


def test_report_is_written_anew(folder):
    run = report(folder)
    assert (run.status, run.out, run.err) == (0, f"report: {folder}/report.html\n", "")
    assert (folder / "report.html").read_text().startswith("<!doctype html>")
    assert len(read_csv(folder / "clusters.csv")) == 3


@pytest.mark.slow
def test_report_has_a_view_by_umap_where_it_is_asked_for(folder):
    run = report(folder, "--umap")
    assert (run.status, run.err) == (0, "")
    page = (folder / "report.html").read_text()
    assert "UMAP of " in page and "UMAP 2" in page


def test_report_tells_that_umap_is_missing_before_it_reads_anything(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    run = report("nowhere", "--umap")
    assert run.status == 2 and 'pip install "dec_jax[umap]"' in run.err


def test_report_of_several_seeds_is_one_a_seed(blobs, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "page", lambda *_, **__: "<!doctype html>")
    for seed in (0, 1):
        data = load_dataset(blobs)
        write_run(tmp_path / f"seed-{seed}", data, np.arange(90) % 3, source=str(blobs))
    run = report(tmp_path)
    paths = [f"{tmp_path}/seed-{seed}/report.html" for seed in (0, 1)]
    assert run.out.splitlines() == [f"report: {path}" for path in paths]
    rows = read_csv(tmp_path / "seed-1/clusters.csv")
    assert [row["stability"] for row in rows] == ["1.0000"] * 3


def test_report_rejects_what_is_no_run_in_one_line(tmp_path):
    run = report(tmp_path / "nowhere")
    message = f"error: {tmp_path}/nowhere must be the folder of a run, got no folder.\n"
    assert (run.status, run.err) == (2, message)


def test_report_rejects_data_that_are_gone_and_takes_those_given(
    folder, blobs, tmp_path
):
    data = load_dataset(blobs)
    gone = write_run(tmp_path / "run", data, np.arange(90) % 3, source="gone/blobs.npz")
    run = report(gone)
    assert (run.status, run.err.count("\n")) == (2, 1)
    assert f"error: The data of {gone} cannot be read: The data file gone/" in run.err
    assert "If they lie elsewhere now, give them by --data." in run.err
    assert report(gone, "--data", blobs).status == 0


def test_report_rejects_other_data_in_one_line(folder, tmp_path):
    np.savez(tmp_path / "other.npz", x=blob_table()[0][:80])
    run = report(folder, "--data", tmp_path / "other.npz")
    assert (run.status, run.err.count("\n")) == (2, 1)
    assert "the data must be those that the run in" in run.err
    assert "got 80 samples of other content; give the same file or folder" in run.err


def test_cluster_writes_the_report_last(blobs, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "try_reports", real_try_reports)
    network = write_network(tmp_path / "small.json", 36, 16, 3)
    options = ("-k", 3, "--recipe", "dec", "--architecture", network, *SHORT)
    out = tmp_path / "out"
    run = cluster(blobs, *options, "--out", out)
    assert run.status == 0, run.err
    assert run.out.splitlines()[-2] == f"report: {out}/report.html"
    written = (out / "report.html").stat().st_mtime_ns
    # Only the seconds of the whole command, in results.json, come after it.
    before = ("model.safetensors", "labels.csv", "curves.png")
    assert all((out / name).stat().st_mtime_ns <= written for name in before)
    assert (out / "clusters.csv").exists()
    typical = [float(row["typical"]) for row in read_csv(out / "labels.csv")]
    assert min(typical) == 0 and max(typical) == 1


def test_ctrl_c_during_the_report_loses_nothing(tmp_path, monkeypatch):
    data = image_data()
    write_run(tmp_path, data, data.labels)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(write, "page", interrupted)
    with pytest.raises(KeyboardInterrupt, match="the run is complete, and dec-jax rep"):
        real_try_reports(tmp_path, data)
    assert not (tmp_path / "report.html").exists()
