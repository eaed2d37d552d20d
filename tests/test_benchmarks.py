import json

import pytest

from benchmarks import rows, train_step

ROW = {
    "case": "one, batch 2",
    "ours": 12345.6,
    "peer": 1234.5,
    "ratio": 10.0,
    "limit_fraction": 0.5,
    "unit": "samples/s",
}


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "RESULTS", tmp_path)
    monkeypatch.setattr(rows, "README", tmp_path / "README.md")
    page = "before\n<!-- mine: begin -->\nold\n<!-- mine: end -->\nafter\n"
    rows.README.write_text(page)
    return tmp_path


def test_saved_rows_become_the_table_of_their_script(kept, capsys):
    alone = {**ROW, "peer": None, "ratio": None, "limit_fraction": None}
    rows.save("mine", [ROW, alone])
    lines = rows.README.read_text().splitlines()
    assert lines[0] == "before" and lines[-1] == "after" and "old" not in lines
    assert "| one, batch 2 | samples/s | 12,346 | 1,234 | 10 | 50% |" in lines
    assert "| one, batch 2 | samples/s | 12,346 |  |  |  |" in lines
    (path,) = kept.glob("mine-*.json")
    assert json.loads(path.read_text())["rows"] == [ROW, alone]
    # A second time changes nothing.
    before = rows.README.read_text()
    rows.README.write_text(rows.with_tables(before))
    assert rows.README.read_text() == before


def test_the_page_has_the_tables_of_what_is_kept():
    page = rows.README.read_text()
    assert rows.with_tables(page) == page


def test_flops_are_those_of_the_products_by_hand():
    # Two products a weight and sample backward, one forward; none for the pixels.
    weights = 784 * 500 + 500 * 500 + 500 * 2000 + 2000 * 10
    assert train_step.flops_per_sample("clustering") == 6 * weights - 2 * 784 * 500
    assert train_step.flops_per_sample("pretraining") == 12 * weights - 2 * 784 * 500


def test_train_step_measures_every_program(monkeypatch):
    monkeypatch.setattr(train_step, "SAMPLES", 128)
    monkeypatch.setattr(train_step, "LIMIT_SIZE", 64)
    found = train_step.measure(64, "float32", rounds=1)
    assert len(found) == 3
    for row in found:
        assert row["ours"] > 0 and row["limit_fraction"] > 0
        assert (row["peer"] is None) == (row["ratio"] is None)
