"""Lists the recipes: each is the settings of a published method."""

import argparse

from dec_jax.recipes.names import DESCRIPTIONS

HELP = "list the settings that have a name"
STOPPED_LINE = "Stopped."


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds no options."""


def run(options: argparse.Namespace) -> None:
    """Prints two lines for each recipe: the method, and the result to expect."""
    width = max(map(len, DESCRIPTIONS))
    for name, recipe in DESCRIPTIONS.items():
        print(f"{name:{width}}  {recipe.summary}")
        print(f"{'':{width}}  {recipe.expected}")
