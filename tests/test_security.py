"""The claims of SECURITY.md about the code."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
TREES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text())
    for path in sorted((ROOT / "dec_jax").rglob("*.py"))
}
# One runs git in the folder of the code, the other makes functions that the user names.
STARTS = {"dec_jax/runs/provenance.py": {"subprocess.run"}}
IMPORTS = {"dec_jax/data/encoders.py", "dec_jax/validation.py"}


def calls():
    """The file, the dotted name and the node of each call."""
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield path, ast.unparse(node.func), node


def test_no_code_is_made_of_text():
    names = {"eval", "exec", "compile", "__import__"}
    assert [(path, name) for path, name, _ in calls() if name in names] == []


def test_no_program_is_started_but_git():
    begins = ("subprocess.", "os.system", "os.popen", "os.exec", "os.spawn", "pty.")
    found = [
        (path, name)
        for path, name, _ in calls()
        if name.startswith(begins) and name not in STARTS.get(path, ())
    ]
    assert found == []


def test_modules_are_imported_by_name_in_two_places():
    names = {"importlib.import_module", "import_module"}
    assert {path for path, name, _ in calls() if name in names} == IMPORTS


def test_nothing_is_unpickled():
    modules = ("pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve")
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module]
            assert not set(names) & set(modules), path
    readers = ("np.load", "numpy.load", "np.lib.format.read_array", "read_array")
    found = [node for _, name, node in calls() if name in readers]
    assert len(found) >= 4
    for node in found:
        given = {word.arg: ast.unparse(word.value) for word in node.keywords}
        assert given.get("allow_pickle") == "False", ast.unparse(node)
