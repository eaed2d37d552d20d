"""The list of files in docs/index.md is that of what a run writes."""

import re
from pathlib import Path

import numpy as np
import pytest
from programs import SHORT, blob_table, cluster

from dec_jax.data.load import load_dataset
from dec_jax.report.write import write_report

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def listed():
    """The names in the table of the first page."""
    page = (ROOT / "docs/index.md").read_text()
    rows = re.findall(r"^\| (`.+?`) \| .+ \| .+ \|$", page, re.M)
    return {name for row in rows for name in re.findall("`(.+?)`", row)}


def test_the_list_of_files_is_that_of_a_run(listed, small, tmp_path, with_opinion):
    x, classes = blob_table()
    images = tmp_path / "images.npz"
    np.savez(images, x=x.reshape(90, 6, 6), y=classes)
    out = tmp_path / "out"
    options = ("--recipe", "dec", "--architecture", small, *SHORT, "--seeds", 3)
    run = cluster(images, *options, "--out", out)
    assert run.status == 0, run.err
    write_report(out / "seed-0", load_dataset(str(images)))
    written = {path.name for path in (*out.iterdir(), *(out / "seed-0").iterdir())}
    assert listed == written
