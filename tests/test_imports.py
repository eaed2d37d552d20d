"""Imports run one way: from the loops and programs down to the maths."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = sorted((ROOT / "dec_jax").glob("*.py"))

# What each module of the maths and of the loops may import of ours.
ALLOWED = {
    "validation": set(),
    "sharding": set(),
    "blocks": {"sharding"},
    "loop": {"blocks", "sharding"},
    "convolution": {"validation"},
    "pooling": {"convolution", "validation"},
    "precision": set(),
    "architecture": {"convolution", "pooling", "precision", "validation"},
    "json_fields": set(),
    "architecture_files": {"architecture", "json_fields", "precision", "validation"},
    "architecture_drawing": {"architecture", "autoencoder"},
    "assignment": {"validation"},
    "augment": {"validation"},
    "stack": {"architecture", "convolution", "pooling", "precision"},
    "autoencoder": {"architecture", "loop", "stack"},
    "reconstruction": {"architecture", "autoencoder"},
    "objectives": {"architecture", "assignment", "autoencoder", "reconstruction"},
    "mixture": {"validation"},
    "optimizer": {"validation"},
    "kmeans": {"blocks", "sharding", "validation"},
    "neighbors": {"validation"},
    "manifold": {"kmeans", "neighbors", "validation"},
    "umap_mixture": {"validation"},
    "metrics": {"validation"},
    "label_free": {"metrics", "validation"},
    "dataset": {"validation"},
    "idx": {"validation"},
    "array_files": {"dataset", "validation"},
    "image_labels": {"dataset", "validation"},
    "image_folder": {"dataset", "image_labels", "validation"},
    "tables": {"dataset", "validation"},
    "stl10": {"dataset"},
    "text_sets": {"array_files", "dataset", "tfds_sets"},
    "tfds_sets": {"data", "dataset", "idx", "validation"},
    "plots": {"metrics", "validation"},
    "animation": {"plots", "validation"},
    "curves": {"plots", "validation"},
    "image_plots": {"label_free", "plots", "validation"},
    "checkpoint": {"sharding", "validation"},
    "model_arrays": {"architecture", "autoencoder"},
    "model_file": set(),
}
ALLOWED["data"] = {
    *("array_files", "dataset", "idx", "image_folder", "stl10", "tables"),
    *("text_sets", "tfds_sets", "validation"),
}
ALLOWED["pretrain"] = {
    *("architecture", "augment", "autoencoder", "loop", "optimizer", "reconstruction"),
    *("sharding", "validation"),
}
ALLOWED["layerwise"] = {
    *("architecture", "autoencoder", "pretrain", "reconstruction", "sharding"),
    "validation",
}
ALLOWED["n_clusters"] = {
    *("assignment", "kmeans", "label_free", "loop", "manifold", "metrics", "neighbors"),
    "validation",
}
ALLOWED["train_state"] = {
    *("augment", "autoencoder", "objectives", "optimizer", "validation"),
}
ALLOWED["vade"] = {
    *("architecture", "autoencoder", "mixture", "objectives", "reconstruction"),
}
ALLOWED["reseed"] = {"autoencoder", "objectives", "train_state"}
ALLOWED["train"] = {
    *("architecture", "assignment", "augment", "autoencoder", "loop", "objectives"),
    *("reseed", "sharding", "train_state", "validation"),
}
ALLOWED["many"] = {
    *("architecture", "autoencoder", "loop", "objectives", "pretrain", "sharding"),
    *("train", "train_state", "validation"),
}
ALLOWED["health"] = {"assignment", "label_free", "train_state"}
ALLOWED["choice"] = {"metrics", "validation"}
ALLOWED["model"] = {
    *("architecture", "architecture_files", "autoencoder", "dataset", "loop"),
    *("model_arrays", "model_file", "objectives", "train", "vade", "validation"),
}
ALLOWED["sources"] = {"image_folder", "validation"}
ALLOWED["reading"] = {"loop", "sources", "validation"}
ALLOWED["stream_passes"] = {
    *("architecture", "assignment", "autoencoder", "kmeans", "loop", "objectives"),
    *("reading", "sources", "train_state", "validation"),
}
ALLOWED["stream"] = {
    *("architecture", "assignment", "autoencoder", "loop", "objectives", "pretrain"),
    *("reading", "sources", "stream_passes", "train", "train_state", "validation"),
}

OPTIONAL = (
    "tensorflow",
    "tensorflow_datasets",
    "sklearn",
    "matplotlib",
    "pandas",
    "PIL",
    "safetensors",
    "umap",
    "orbax",
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


def our_modules(path):
    """Modules of dec_jax that a file imports, without the prefix."""
    return {
        name.split(".")[1]
        for name in imported_modules(path)
        if name.startswith("dec_jax.")
    } & {module.stem for module in LIBRARY}


def test_imported_modules_finds_both_forms(tmp_path):
    file = tmp_path / "example.py"
    file.write_text("import dec_jax.loop\ndef f():\n    from dec_jax import train\n")
    assert our_modules(file) == {"loop", "train"}


@pytest.mark.parametrize("module", sorted(ALLOWED))
def test_module_imports_only_what_stands_below_it(module):
    assert our_modules(ROOT / "dec_jax" / f"{module}.py") <= ALLOWED[module]


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_library_imports_no_program(path):
    packages = {name.split(".")[0] for name in imported_modules(path)}
    assert not packages & {"experiments", "benchmarks", "tests"}


def test_importing_the_library_loads_no_optional_package():
    program = f"import sys, dec_jax; print(set({OPTIONAL}) & set(sys.modules))"
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert (answer.stdout, answer.returncode) == ("set()\n", 0), answer.stderr
