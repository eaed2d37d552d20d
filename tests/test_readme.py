"""The README: each block of Python runs, each command parses, each link leads somewhere."""

import re

import numpy as np
import pytest
from pages import ROOT, blocks, check_command, commands, links, run_python

README = "README.md"
# Texts that shorten the calls of a minute in the default tier.
SHORTER = {
    "n_clusters=10)  #": "10, recipe='dec', network=dj.dense_architecture(64, hidden=(64,)),"
    " epochs=2, max_intervals=2)  #",
    "random_state=0)": "random_state=0, max_intervals=3, baseline=False)",
    "(128, 256)": "(64,)",
    "net)\nz": "net, config=dj.PretrainConfig(epochs=10))\nz",
    "dj.DEC())": "dj.DEC(), config=dj.TrainConfig(20, 5))",
}


@pytest.fixture
def files(tmp_path, monkeypatch, blobs, with_opinion):
    """A folder with the files that the README's blocks name."""
    np.save(tmp_path / "embeddings.npy", blobs[0])
    np.save(tmp_path / "more.npy", blobs[0][:9])
    monkeypatch.chdir(tmp_path)


def test_blocks_run_shortened(files, capsys):
    assert all("\n".join(blocks(README, "python")).count(old) == 1 for old in SHORTER)
    names = run_python(README, SHORTER)
    assert names["result"].labels.shape == (1797,)
    assert names["found"].labels.shape == (200,)
    # Better than one cluster for all, which has 0.1.
    assert float(capsys.readouterr().out.split()[-1]) > 0.4


@pytest.mark.slow
def test_blocks_run_as_they_stand(files, capsys):
    names = run_python(README)
    assert np.isfinite(names["found"].q).all()
    accuracies = re.findall(r"accuracy (.*)", capsys.readouterr().out)
    assert float(accuracies[0]) > 0.8
    assert float(accuracies[1]) > 0.6


def test_all_code_is_of_a_kind_that_is_checked():
    kinds = re.findall(r"^```(\w+)", (ROOT / README).read_text(), flags=re.M)
    assert set(kinds) <= {"python", "sh", "text"}


def test_first_example_is_short():
    lines = [line for line in blocks(README, "python")[0].splitlines() if line]
    assert len(lines) <= 5


@pytest.mark.parametrize("words", commands(README), ids=" ".join)
def test_command_parses(words, monkeypatch):
    check_command(words, monkeypatch)


def test_links_exist():
    assert links(README)
    assert [link for link in links(README) if not (ROOT / link).exists()] == []
