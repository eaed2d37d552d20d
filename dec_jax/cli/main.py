"""`dec-jax`: clusters data, assigns and exports, joins clusters, scores labels, sorts files, helps to choose k, and lists what there is."""

import argparse
import logging
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

import dec_jax
from dec_jax.cli import (
    architectures,
    choose_k,
    cluster,
    cut,
    evaluate,
    export,
    info,
    predict,
    recipes,
    report,
    sort,
)
from dec_jax.runs.compile_cache import keep_programs
from dec_jax.runs.errors import WRONG_USE, exit_status

PROGRAM = "dec-jax"
VERBS = {
    "cluster": cluster,
    "predict": predict,
    "cut": cut,
    "evaluate": evaluate,
    "sort": sort,
    "report": report,
    "export": export,
    "choose-k": choose_k,
    "recipes": recipes,
    "architectures": architectures,
    "info": info,
}


class OneLineParser(argparse.ArgumentParser):
    """Reports a mistake in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Ends the program."""
        self.exit(WRONG_USE, f"error: {message} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """Makes the parser of all verbs."""
    out = OneLineParser(
        prog=PROGRAM,
        description="Clusters images, tables and embeddings without labels, by Deep "
        "Embedded Clustering.",
        epilog="dec-jax VERB --help lists the options of a verb.",
    )
    out.add_argument(
        "--version", action="version", version=f"dec_jax {dec_jax.__version__}"
    )
    verbs = out.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, verb in VERBS.items():
        one = verbs.add_parser(
            name,
            help=verb.HELP,
            description=verb.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        verb.add_options(one)
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a verb.

    Args:
      arguments: those after the program's name; None takes those of the process.

    Returns:
      The exit status: 0, 1 for a run that failed, 2 for a mistake, 130 for Ctrl-C.
    """
    options = parser().parse_args(arguments)
    verb = VERBS[options.verb]
    del options.verb
    # What these tell of damaged files comes back in the line on them.
    for name in ("PIL", "tifffile"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # Without its kept programs, a run is only slower.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation")
    keep_programs()
    return exit_status(lambda: verb.run(options), verb.STOPPED_LINE)


if __name__ == "__main__":
    sys.exit(main())
