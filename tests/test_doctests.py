"""The examples in the docstrings of all modules."""

import ast
import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in sorted((ROOT / "dec_jax").rglob("*.py"))
}
WITH_EXAMPLES = [name for name, path in FILES.items() if ">>> " in path.read_text()]
# Modules whose examples compile for seconds, and whose own tests run the same functions.
SLOW = {
    *("dec_jax.clustering.graph_sample", "dec_jax.clustering.spectral"),
    *("dec_jax.training.dipdeck", "dec_jax.training.many_seeds"),
}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def examples_in(path):
    """The number of examples in the docstrings of a file, without importing it."""
    nodes = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, DOCUMENTED)
    ]
    parser = doctest.DocTestParser()
    return sum(
        len(parser.get_examples(ast.get_docstring(node) or "")) for node in nodes
    )


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in SLOW else ())
        for name in WITH_EXAMPLES
    ],
)
def test_examples_print_what_they_say(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    found = doctest.DocTestFinder(exclude_empty=True).find(module, name)
    # None is missed because a decorator hides its function.
    assert sum(len(test.examples) for test in found) == examples_in(FILES[name])
    runner, report = doctest.DocTestRunner(optionflags=OPTIONS), []
    for test in found:
        runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)
