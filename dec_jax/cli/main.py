"""`dec-jax`: clusters data, assigns and exports, joins clusters, scores labels, sorts files, helps to choose k, and lists what there is."""

import argparse
import itertools
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

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
from dec_jax.data.named import DATASETS
from dec_jax.runs.compile_cache import keep_programs
from dec_jax.runs.errors import WRONG_USE, exit_status
from dec_jax.validation import did_you_mean, nearest, shown

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
    """Reports a mistake in one line, without the usage, with the word that may be meant.

    The words are the same in all versions of Python, whose own ones differ.
    """

    def error(self, message: str) -> NoReturn:
        """Ends the program."""
        self.exit(WRONG_USE, f"error: {shown(message)} (see {self.prog} --help)\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuses a value that is none of the choices, among them the names of verbs."""
        if action.choices is None or value in action.choices:
            return
        hint = did_you_mean(str(value), map(str, action.choices)).rstrip(".")
        if action.metavar == "VERB":
            if value in DATASETS or Path(value).exists():
                hint = f"; to find the clusters of it: {self.prog} cluster {value}"
            names = ", ".join(action.choices)
            text = f"there is no verb {value!r}{hint or f'; the verbs are {names}'}"
            raise argparse.ArgumentError(None, text)
        names = ", ".join(map(str, action.choices))
        text = f"must be one of {names}, got {value!r}{hint}"
        raise argparse.ArgumentError(action, text)

    def check_options(self, arguments: Sequence[str]) -> None:
        """Ends the program if an argument is no option of this parser, nor begins one."""
        known = self._option_string_actions
        for argument in itertools.takewhile(lambda it: it != "--", arguments):
            name = argument.partition("=")[0]
            if name[:2] == "--" and not any(it.startswith(name) for it in known):
                words = (it[2:] for it in known if it[:2] == "--")
                near = nearest(name[2:], words)
                hint = "" if near is None else f"; did you mean '--{near}'?"
                self.error(f"there is no option {name}{hint}")


def parser() -> argparse.ArgumentParser:
    """Makes the parser of all verbs."""
    return parser_and_verbs()[0]


def parser_and_verbs() -> tuple[OneLineParser, dict[str, OneLineParser]]:
    """Makes the parser of all verbs, and names that of each."""
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
    parsers: dict[str, OneLineParser] = {}
    for name, verb in VERBS.items():
        one = verbs.add_parser(
            name,
            help=verb.HELP,
            description=verb.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        verb.add_options(one)
        parsers[name] = one
    return out, parsers


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a verb.

    Args:
      arguments: those after the program's name; None takes those of the process.

    Returns:
      The exit status: 0, 1 for a run that failed, 2 for a mistake, 130 for Ctrl-C.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    whole, verbs = parser_and_verbs()
    if given and given[0] in verbs:
        verbs[given[0]].check_options(given[1:])
    options = whole.parse_args(given)
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
