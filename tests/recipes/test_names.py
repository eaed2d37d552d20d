"""Names of recipes, which a command line lists without jax."""

import subprocess
import sys

import pytest

from dec_jax.networks import precision
from dec_jax.recipes import names
from dec_jax.recipes.dense import RECIPES, DataShape, make_recipe

MNIST = DataShape(70_000, 784, (28, 28, 1), name="mnist")


def test_names_are_those_of_the_recipes_in_order():
    assert tuple(RECIPES) == names.RECIPES


def test_names_of_starts_and_precisions_are_those_in_use():
    shapes = (MNIST, DataShape(500, 8))
    starts = [
        make_recipe(name, shape).start
        for name in RECIPES
        for shape in shapes
        if not ("conv" in name or name == "iic") or shape is MNIST
    ]
    assert set(starts) == set(names.STARTS)
    assert names.PRECISIONS == precision.PRECISIONS


@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_has_a_line_and_the_result_to_expect(name):
    summary, expected = names.DESCRIPTIONS[name]
    assert summary and "\n" not in summary + expected and len(summary) < 88
    assert "ACC 0." in expected
    assert make_recipe(name, MNIST).expected == expected


def test_expected_of_dec_names_both_kinds_of_cpu():
    expected = names.DESCRIPTIONS["dec"].expected
    for part in ("0.960", "seeds 0-4 (0.937 to 0.977)", "seed 0 reaches 0.844"):
        assert part in expected


def test_importing_names_loads_neither_jax_nor_numpy():
    code = (
        "import sys, dec_jax.recipes.names; print({'jax', 'numpy'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"
