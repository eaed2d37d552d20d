"""Lists the recipes: each is the settings of a published method."""

import argparse

from dec_jax.recipes.names import RECIPES

HELP = "list the settings that have a name"
STOPPED_LINE = "Stopped."


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds no options."""


def run(options: argparse.Namespace) -> None:
    """Prints a line for each recipe."""
    width = max(map(len, RECIPES))
    for name, text in RECIPES.items():
        print(f"{name:{width}}  {text}")
