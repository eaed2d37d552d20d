"""The scripts of docs/photographs.md: each is an encoder, which runs where its packages are."""

import ast

import numpy as np
import pytest
from pages import blocks
from PIL import Image

# What takes the place of weights that would be downloaded.
SCRIPTS = {
    "timm": ("pretrained=True", "pretrained=False"),
    "open_clip": ('pretrained="laion2b_s34b_b79k"', "pretrained=None"),
    "sentence_transformers": None,
}


def scripts():
    """The scripts of the page by the package that each imports first."""
    found = {}
    for text in blocks("docs/photographs.md", "py"):
        first = ast.parse(text).body[0]
        module = (
            first.module if isinstance(first, ast.ImportFrom) else first.names[0].name
        )
        found[module] = text
    return found


def test_the_page_has_a_short_script_for_each_package():
    assert set(scripts()) == set(SCRIPTS)
    for text in scripts().values():
        functions = [
            it for it in ast.parse(text).body if isinstance(it, ast.FunctionDef)
        ]
        assert [it.name for it in functions] == ["embed"]
        assert len(text.splitlines()) <= 16


@pytest.mark.parametrize(
    "package", [name for name, change in SCRIPTS.items() if change]
)
def test_the_script_makes_vectors_of_images(package):
    pytest.importorskip(package)
    names = {}
    text = scripts()[package].replace(*SCRIPTS[package])
    exec(compile(text, package, "exec"), names)
    images = [Image.new("RGB", (300, 200), color) for color in ("red", "green")]
    vectors = np.asarray(names["embed"](images))
    assert vectors.ndim == 2
    assert len(vectors) == 2
    assert np.isfinite(vectors).all()
