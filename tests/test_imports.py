"""Imports run one way: from the programs down to the maths."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "dec_jax").rglob("*.py"))

# From the ground up: a module imports its own package and those before it.
PACKAGES = (
    "validation",
    "writing",
    "parallel",
    "data",
    "networks",
    "clustering",
    "objectives",
    "training",
    "streaming",
    "recipes",
    "evaluation",
    "plots",
    "model",
    "runs",
    "report",
    "estimator",
    "cli",
    "__main__",
)
# Imported where they are used, and by the library itself never.
OPTIONAL = (
    "tensorflow",
    "tensorflow_datasets",
    "sklearn",
    "matplotlib",
    "pandas",
    "anndata",
    "PIL",
    "imagecodecs",
    "onnxruntime",
    "pillow_heif",
    "skimage",
    "tifffile",
    "safetensors",
    "umap",
    "orbax",
    "bokeh",
    "jinja2",
)


def imported_modules(path):
    """Full names of all modules that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: a relative import"
            names |= {node.module}
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def module_name(path):
    """The dotted name of a module, a package without its `__init__`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


IMPORTS = {module_name(path): imported_modules(path) for path in MODULES}


def package_of(name):
    """The package, or top module, of dec_jax that a dotted name stands in."""
    return name.split(".")[1]


def test_imported_modules_finds_both_forms(tmp_path):
    file = tmp_path / "example.py"
    file.write_text("import dec_jax.a\ndef f():\n    from dec_jax.b import c\n")
    assert imported_modules(file) == {"dec_jax.a", "dec_jax.b", "dec_jax.b.c"}


def test_every_package_has_its_place_in_the_order():
    assert {package_of(name) for name in IMPORTS if "." in name} == set(PACKAGES)


@pytest.mark.parametrize("name", [name for name in IMPORTS if "." in name])
def test_module_imports_only_packages_before_its_own(name):
    allowed = PACKAGES[: PACKAGES.index(package_of(name)) + 1]
    used = {package_of(other) for other in IMPORTS[name] if other[:8] == "dec_jax."}
    assert used - {"__version__"} <= set(allowed)


def test_no_module_imports_itself_in_a_circle():
    graph = {name: used & set(IMPORTS) - {name} for name, used in IMPORTS.items()}
    # A package's `__init__` offers what its modules define; they do not ask it back.
    leaves = True
    while leaves:
        leaves = {name for name, used in graph.items() if not used}
        graph = {n: used - leaves for n, used in graph.items() if n not in leaves}
    assert graph == {}


@pytest.mark.parametrize("name", IMPORTS)
def test_library_imports_no_program(name):
    packages = {other.split(".")[0] for other in IMPORTS[name]}
    assert not packages & {"experiments", "benchmarks", "tests"}


def test_benchmarks_import_no_experiment():
    for path in (ROOT / "benchmarks").glob("*.py"):
        assert not [n for n in imported_modules(path) if n.startswith("experiments")]


@pytest.mark.parametrize("program", ["import dec_jax", "import dec_jax; dec_jax.train"])
def test_importing_the_library_loads_no_optional_package(program):
    program = f"import sys; {program}; print(set({OPTIONAL}) & set(sys.modules))"
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert (answer.stdout, answer.returncode) == ("set()\n", 0), answer.stderr
