import json

import pytest

from benchmarks import mutation

SOURCE = '''
"""Text of 1."""
SIZE = 3

@partial(jit, static_argnums=2)
def small(x: Array[1], y=True) -> Array[2]:
    if x.ndim != 2 and y:
        raise ValueError(f"got {x.ndim + 1}.")
    ä, b = x.sum(axis=1), -x[:, None]
    return ä + b, b
'''


def test_faults_are_those_of_what_computes():
    found = mutation.mutants_of("small", SOURCE)
    changes = {(mutant.old, mutant.new) for mutant in found}
    assert changes == {
        ("3", "4"),
        ("True", "False"),
        ("2", "3"),
        ("x.ndim != 2", "x.ndim == 2"),
        ("x.ndim != 2 and y", "x.ndim != 2 or y"),
        ("x.sum", "x.mean"),
        ("x.sum(axis=1)", "x.sum()"),
        ("1", "2"),
        ("-x[:, None]", "x[:, None]"),
        ("(x.sum(axis=1), -x[:, None])", "(-x[:, None], x.sum(axis=1))"),
        ("ä + b", "ä - b"),
        ("(ä + b, b)", "(b, ä + b)"),
    }


def test_a_fault_changes_one_place():
    lines = SOURCE.splitlines()
    for mutant in mutation.mutants_of("small", SOURCE):
        changed = mutation.mutated(SOURCE, mutant)
        compile(changed, "small.py", "exec")
        differing = [
            number
            for number, pair in enumerate(
                zip(lines, changed.splitlines(), strict=True), start=1
            )
            if pair[0] != pair[1]
        ]
        assert differing == [mutant.start[0]]
        assert mutant.line == lines[mutant.start[0] - 1].strip()


@pytest.mark.parametrize("module", mutation.TESTS)
def test_modules_and_their_tests_exist(module):
    source = (mutation.ROOT / "dec_jax" / f"{module}.py").read_text()
    assert mutation.mutants_of(module, source)
    for name in mutation.TESTS[module]:
        assert (mutation.ROOT / "tests" / f"{name}.py").exists()


def test_faults_that_count_as_equal_are_in_the_modules():
    entries = mutation.equal_mutants()
    for module in mutation.TESTS:
        source = (mutation.ROOT / "dec_jax" / f"{module}.py").read_text()
        possible = {mutant.identity for mutant in mutation.mutants_of(module, source)}
        assert {entry for entry in entries if entry[0] == module} <= possible
    assert all(len(reason) > 20 for reason in entries.values())


def test_survivors_are_read_from_a_saved_run(tmp_path, monkeypatch):
    left = {"line": "y = 1", "old": "1", "new": "2"}
    rows = [{"module": "a/b", "survived": [left]}, {"module": "a/c", "survived": []}]
    (tmp_path / "saved.json").write_text(json.dumps({"rows": rows}))
    monkeypatch.setattr(mutation, "RESULTS", tmp_path)
    assert mutation.survivors("saved") == {("a/b", "y = 1", "1", "2")}
