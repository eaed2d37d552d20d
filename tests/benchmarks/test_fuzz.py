import json

import numpy as np
import pytest

from benchmarks import fuzz

SEEDS = fuzz.seeds()


def folder_of(tmp_path, kind):
    """The path of a kind's file, with the files that belong to it."""
    name, content = SEEDS[kind]
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    fuzz.write_companions(path)
    return path


@pytest.mark.parametrize("kind", SEEDS)
def test_valid_file_is_read_and_a_changed_one_read_or_refused(kind, tmp_path):
    path = folder_of(tmp_path, kind)
    assert fuzz.outcome(kind, path) == ("read", "")
    # Damage may keep HDF5's library busy without end, which only the benchmark can stop.
    for turn in range(0 if kind == "h5ad" else 25):
        rng, as_json = np.random.default_rng([7, turn]), kind in fuzz.JSON and turn % 2
        changed = fuzz.mutated_json if as_json else fuzz.mutated
        path.write_bytes(changed(rng, SEEDS[kind][1]))
        found, text = fuzz.outcome(kind, path)
        assert found in ("read", "refused"), text


def test_changes_are_many_and_repeatable():
    content = SEEDS["csv"][1]
    changed = {fuzz.mutated(np.random.default_rng(turn), content) for turn in range(50)}
    assert len(changed) > 45
    again = {fuzz.mutated(np.random.default_rng(turn), content) for turn in range(50)}
    assert changed == again


def test_changed_json_stays_json():
    content = SEEDS["architecture"][1]
    changed = [
        fuzz.mutated_json(np.random.default_rng(turn), content) for turn in range(30)
    ]
    assert all(json.loads(text) != json.loads(content) for text in changed[:5])


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (ValueError("x must be a matrix, got 3."), "refused"),
        (ValueError("one line\nand another"), "wrong"),
        (ValueError("words " * 200), "wrong"),
        (KeyError("x"), "wrong"),
        (MemoryError(), "wrong"),
        (fuzz.Hung(), "hung"),
    ],
)
def test_outcome_tells_a_refusal_from_a_traceback(
    raised, expected, monkeypatch, tmp_path
):
    def fail(*_):
        raise raised

    monkeypatch.setattr(fuzz, "read", fail)
    assert fuzz.outcome("csv", tmp_path)[0] == expected


@pytest.mark.slow
def test_a_process_reads_a_batch():
    counts, turn = fuzz.batch("txt", 0, 10, size=5)
    assert turn == 15
    assert sum(counts.values()) == 5
    assert set(counts) <= {"read", "refused"}
