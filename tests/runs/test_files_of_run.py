"""The list of files in docs/index.md is that of what a run writes."""

import re
from pathlib import Path

import pytest
from programs import cluster

from dec_jax.data.load import load_dataset
from dec_jax.report.write import write_report
from dec_jax.runs.experiment import take_sample

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def listed():
    """The names in the table of the first page."""
    page = (ROOT / "docs/index.md").read_text()
    rows = re.findall(r"^\| (`.+?`) \| .+ \| .+ \|$", page, re.M)
    return {name for row in rows for name in re.findall("`(.+?)`", row)}


def test_the_list_of_files_is_that_of_a_run(listed, on_digits, tmp_path, with_opinion):
    out = tmp_path / "out"
    run = cluster("digits", "--limit", 60, "--seeds", 3, *on_digits, "--out", out)
    assert run.status == 0, run.err
    write_report(out / "seed-0", take_sample(load_dataset("digits"), 60))
    written = {path.name for path in (*out.iterdir(), *(out / "seed-0").iterdir())}
    assert listed == written
