"""Shares what the worked problems have in common: options, commands, a look into folders."""

import argparse
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

FITTING, OTHERS = 14, 6  # images in a row of the picture
GAP = 4  # pixels


def new_parser(program: str, description: str) -> argparse.ArgumentParser:
    """Makes a parser with the options that all worked problems have."""
    from dec_jax.cli.main import OneLineParser

    out = OneLineParser(
        prog=program,
        description=description,
        epilog="All further options go to dec-jax cluster.",
        allow_abbrev=False,
    )
    out.add_argument(
        "--out", metavar="DIR", help="an empty or new folder for all files"
    )
    return out


def check_command(*words: object) -> None:
    """Ends the program with one line where `dec-jax` does not know an option."""
    from dec_jax.cli.main import parser

    parser().parse_args([str(word) for word in words])


def run_command(*words: object) -> None:
    """Prints a command of `dec-jax` as it is typed, and runs it; ends where it fails."""
    from dec_jax.cli.main import main

    command = [str(word) for word in words]
    print(f"\n$ dec-jax {shlex.join(command)}", flush=True)
    if status := main(command):
        sys.exit(status)


def look_into(
    into: Path, group_of: Callable[[Path], str], picture: Path, side: int = 32
) -> float:
    """Prints and draws what is in each folder of `dec-jax sort`.

    Args:
      into: the sorted folders.
      group_of: tells what a file shows, by its name.
      picture: the file to draw to.
      side: of an image in the picture, in pixels.

    Returns:
      The purity: the share of files that show what most files of their folder show.
    """
    rows, right, n_files = {}, 0, 0
    print()
    for folder in sorted(into.iterdir()):
        files = sorted(folder.iterdir())
        (group, most), *others = Counter(map(group_of, files)).most_common()
        words = ", ".join(f"{count} x {other}" for other, count in others)
        print(f"{folder.name}: {most} x {group}; {words or 'no other'}")
        rows[folder.name.partition("-of-")[0]] = (
            [file for file in files if group_of(file) == group],
            [file for file in files if group_of(file) != group],
        )
        right, n_files = right + most, n_files + len(files)
    draw_folders(rows, picture, side)
    print(f"picture: {picture}")
    return right / n_files


def draw_folders(
    rows: Mapping[str, tuple[Sequence[Path], Sequence[Path]]],
    path: Path,
    side: int = 32,
) -> None:
    """Draws images of folders, a row for each: some that fit, and some others in red.

    Args:
      rows: for each title, the files that fit and the others.
      path: of the picture.
      side: of an image in it, in pixels.
    """
    from PIL import Image, ImageDraw

    left, pitch = 100, side + GAP
    width = left + (FITTING + OTHERS) * pitch
    sheet = Image.new("RGB", (width, GAP + len(rows) * pitch), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (title, (fitting, others)) in enumerate(rows.items()):
        top = GAP + row * pitch
        draw.text((GAP, top + side // 2 - 6), title, "black")
        chosen = [*enumerate(spread(fitting, FITTING))]
        chosen += enumerate(spread(others, OTHERS), FITTING)
        for place, file in chosen:
            x = left + place * pitch
            if place >= FITTING:
                frame = (x - 2, top - 2, x + side + 1, top + side + 1)
                draw.rectangle(frame, outline="red", width=2)
            with Image.open(file) as image:
                sheet.paste(image.convert("RGB").resize((side, side)), (x, top))
    sheet.save(path, quality=80)


def spread(files: Sequence[Path], most: int) -> Sequence[Path]:
    """Takes at most so many files, at even distances."""
    return files[:: max(1, -(-len(files) // most))]
