"""Options that several verbs share."""

import argparse
import re
from typing import Any

from dec_jax.validation import expanded

LARGEST_SIDE = 1024  # pixels of an image


def typed_path(text: str) -> str:
    """Expands the ~ of a path that was typed.

    Raises:
      argparse.ArgumentTypeError: the ~ names no home folder, or a character is zero.

    Example:
      >>> typed_path("runs/new")
      'runs/new'
    """
    if "\0" in text:
        raise argparse.ArgumentTypeError("must be a path, got a zero character in it")
    if not text.startswith("~"):
        return text
    try:
        return str(expanded(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from error


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Adds the folder of named data sets."""
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        type=typed_path,
        default=_default(parser),
        help="folder with named data sets (default $DEC_JAX_DATA)",
    )


def add_image_options(parser: argparse.ArgumentParser, *, sizes: bool = True) -> None:
    """Adds the options of a folder of images."""
    add = parser.add_argument_group("a folder of images").add_argument
    default = _default(parser)
    if sizes:
        add(
            "--image-size",
            metavar="N|HxW",
            type=image_size,
            default=default,
            help="resize to N x N pixels, or to height x width, such as 48x64",
        )
        add(
            "--image-fit",
            choices=("crop", "pad", "stretch"),
            default=_default(parser, "crop"),
            help="the way to that shape: cut off the rest (the default), fill up with "
            "black, or change the proportions",
        )
        add(
            "--image-mode",
            choices=("gray", "color"),
            default=default,
            help="default: gray where all images are",
        )
        add(
            "--features",
            choices=("hog",),
            default=default,
            help="for photographs: cluster shapes and colors (histograms of oriented "
            "gradients, a color map) in place of pixels",
        )
    add(
        "--encoder",
        metavar="FILE.onnx|MODULE:FUNCTION",
        type=typed_path,
        default=default,
        help="for photographs: cluster the vectors of a pretrained network"
        if sizes
        else "the encoder of training, if it lies elsewhere now",
    )
    add(
        "--labels-csv",
        metavar="FILE",
        type=typed_path,
        default=default,
        help="CSV with the columns filename,label",
    )
    for name, text in (
        ("--folder-labels", "sub-folders are classes"),
        ("--skip-unreadable", "leave out damaged files"),
    ):
        add(name, action="store_true", default=_default(parser, False), help=text)


def image_size(text: str) -> int | list[int]:
    """Converts the text of --image-size to one number, or to height and width.

    Raises:
      argparse.ArgumentTypeError: it is neither, or out of range.

    Example:
      >>> image_size("32"), image_size("48x64")
      (32, [48, 64])
    """
    found = re.fullmatch(r"([0-9]{1,9})(?:[x×X]([0-9]{1,9}))?", text.strip())
    sides = [int(side) for side in found.groups() if side] if found else []
    if not sides or not all(1 <= side <= LARGEST_SIDE for side in sides):
        raise argparse.ArgumentTypeError(
            f"must be pixels from 1 to {LARGEST_SIDE}, such as 32 or 48x64 (height x "
            f"width), got {text!r}"
        )
    return sides[0] if len(sides) == 1 else sides


def add_table_options(
    parser: argparse.ArgumentParser, *, standardize: bool = True
) -> None:
    """Adds the options of a table or an array file."""
    add = parser.add_argument_group("a table, an array or a text file").add_argument
    default = _default(parser)
    add(
        "--label-column",
        metavar="NAME",
        default=default,
        help="column with the classes, for scoring",
    )
    add(
        "--names",
        metavar="FILE",
        type=typed_path,
        default=default,
        help="text file with the name of each row of an array file, one a line",
    )
    add(
        "--id-column",
        metavar="NAME",
        default=default,
        help="column that names the rows in labels.csv (default: one that is left out "
        "because it differs in all rows)",
    )
    for name, text in (
        ("--separator", "between columns (default: found)"),
        ("--decimal", "mark of decimals, . or , (default: found)"),
        ("--encoding", "of a text file, such as latin-1 (default: found)"),
    ):
        add(name, metavar="TEXT", default=default, help=text)
    where = "rows" if standardize else "rows, where training had none,"
    add(
        "--missing",
        choices=("impute", "error"),
        default=default,
        help=f"fill values that {where} miss (the default), or refuse the table and list "
        "the rows",
    )
    if not standardize:
        add(
            "--unknown",
            choices=("warn", "error"),
            default=default,
            help="let a category that training had not count as none, with a warning (the "
            "default), or refuse the table and list the rows",
        )
    if standardize:
        for name, metavar, text in (
            ("--drop", "NAME", "column to leave out"),
            ("--keep", "NAME", "column to use although it seems to be an id"),
            (
                "--missing-value",
                "VALUE",
                "number, such as -999, or text that stands for a missing value in all "
                "columns; the model remembers it",
            ),
        ):
            text += "; may be repeated"
            add(name, metavar=metavar, action="append", default=default, help=text)
        add(
            "--no-standardize",
            action="store_true",
            default=_default(parser, False),
            help="take numbers as they are: columns of a table are not standardized, "
            "and those of an array file not divided by their mean deviation",
        )


def _default(parser: argparse.ArgumentParser, otherwise: Any = None) -> Any:
    """The parser's default: suppressed, or a value."""
    if parser.argument_default is argparse.SUPPRESS:
        return argparse.SUPPRESS
    return otherwise
