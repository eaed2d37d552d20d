"""Lists the architectures that come with the library, or draws some, layer by layer.

dec-jax architectures                        # the list
dec-jax architectures mnist-conv mine.json   # two drawings
"""

import argparse

from dec_jax.cli.options import typed_path
from dec_jax.runs.errors import mistakes_of_use

HELP = "list networks, or draw some"
STOPPED_LINE = "Stopped."


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the names."""
    parser.add_argument(
        "names",
        metavar="ARCHITECTURE",
        type=typed_path,
        nargs="*",
        help="name of a shipped one, or a JSON file of the same format; every "
        "architecture in it is drawn (default: list the shipped ones)",
    )


def run(options: argparse.Namespace) -> None:
    """Prints the list or the drawings."""
    with mistakes_of_use():
        drawings = [drawing(name) for name in options.names]
    print("\n\n".join(drawings) or listing())


def listing() -> str:
    """Tables the shipped architectures."""
    # Here and below only now, because it loads jax.
    from dec_jax.networks.architecture_json import (
        load_architecture,
        shipped_architectures,
    )
    from dec_jax.networks.summary import network_string, parameter_counts

    lines = [f"{'name':18}{'embedding':>9}{'parameters':>12}  network"]
    for name in shipped_architectures():
        architecture = load_architecture(name)
        total = sum(map(sum, parameter_counts(architecture)))
        network = network_string(architecture)
        lines.append(f"{name:18}{architecture.embedding_dim:>9}{total:>12,}  {network}")
    return "\n".join(lines)


def drawing(name_or_path: str) -> str:
    """Draws every architecture of that name or in that file."""
    from dec_jax.networks.architecture_json import named_architectures
    from dec_jax.networks.summary import draw, network_string

    return "\n\n".join(
        f"{draw(named.architecture, named.name)}\n{network_string(named.architecture)}"
        for named in named_architectures(name_or_path)
    )
