import json
import re

import pytest

from benchmarks import tables

ROW = {
    "case": "one, batch 2",
    "ours": 12345.6,
    "peer": 1234.5,
    "ratio": 10.0,
    "limit_fraction": 0.5,
    "unit": "samples/s",
}


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A page with a place for the tables of `mine`, and a folder for its results."""
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    monkeypatch.setattr(tables, "README", tmp_path / "README.md")
    text = "before\n<!-- mine: begin -->\nold\n<!-- mine: end -->\nafter\n"
    tables.README.write_text(text)
    return tables.README


def test_saved_rows_become_the_table_of_their_benchmark(page):
    alone = {**ROW, "peer": None, "ratio": None, "limit_fraction": None}
    tables.save("mine", [ROW, alone], {"rounds": 3})
    lines = page.read_text().splitlines()
    assert lines[0] == "before" and lines[-1] == "after" and "old" not in lines
    assert "| one, batch 2 | samples/s | 12,346 | 1,234 | 10 | 50% |" in lines
    assert "| one, batch 2 | samples/s | 12,346 |  |  |  |" in lines
    (path,) = page.parent.glob("mine-*.json")
    written = json.loads(path.read_text())
    assert written["rows"] == [ROW, alone] and written["settings"] == {"rounds": 3}
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", written["date"])
    assert lines[2].endswith(f", {written['date']}")
    # A second time changes nothing.
    assert tables.with_tables(page.read_text()) == page.read_text()


def test_rows_without_options_are_saved_without_settings(page):
    tables.save("mine", [])
    (path,) = page.parent.glob("mine-*.json")
    assert json.loads(path.read_text())["settings"] is None


def test_a_table_without_a_date_has_the_commit_last():
    older = {"device": "here", "versions": {"jax": "1.0"}, "commit": 40 * "a"}
    line = tables.table({**older, "rows": []}).splitlines()[0]
    assert line == "here, jax 1.0, commit aaaaaaa"
    line = tables.table({**older, "date": "2026-01-31", "rows": []}).splitlines()[0]
    assert line == "here, jax 1.0, commit aaaaaaa, 2026-01-31"


def test_the_page_has_the_tables_of_the_saved_results():
    page = tables.README.read_text()
    assert tables.with_tables(page) == page
