"""Lists the architectures that come with the library, or draws some, layer by layer.

python -m dec_jax.cli.architectures                       # the list
python -m dec_jax.cli.architectures mnist-conv mine.json  # two drawings
"""

import argparse
import sys

PROGRAM = "python -m dec_jax.cli.architectures"


def main(arguments: list[str]) -> int:
    """Prints what was asked for; returns the exit status: 0, or 2 for a mistake."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="Lists the shipped architectures, or draws some."
    )
    parser.add_argument(
        "names",
        metavar="ARCHITECTURE",
        nargs="*",
        help="name of a shipped one, or a JSON file of the same format; every "
        "architecture in it is drawn (default: list the shipped ones)",
    )
    names = parser.parse_args(arguments).names
    try:
        print("\n\n".join(map(drawing, names)) if names else listing())
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def listing() -> str:
    """One line for each shipped architecture."""
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
    """Every architecture of that name or in that file, layer by layer."""
    from dec_jax.networks.architecture_json import named_architectures
    from dec_jax.networks.summary import draw, network_string

    return "\n\n".join(
        f"{draw(named.architecture, named.name)}\n{network_string(named.architecture)}"
        for named in named_architectures(name_or_path)
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
