"""Sorts pictures of handwritten digits into folders, and knows no digit.

    python -m experiments.sort_digits
    python -m experiments.sort_digits --limit 500 --out runs/some --recipe dec

The 1,797 digits of scikit-learn are written as PNG files, whose names end in the digit:
0007-is-3.png. `dec-jax cluster` looks at the pixels alone, `dec-jax sort` makes a folder for
each cluster, and `dec-jax report` a page to look at. In the end, the names of the files
in the sorted folders tell how many came to lie with their like.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from dec_jax.runs.errors import UsageError, check_least, exit_status
from experiments.worked import check_command, look_into, new_parser, run_command

PROGRAM = "python -m experiments.sort_digits"
ALL = 1797


def parser() -> argparse.ArgumentParser:
    """Makes the parser of the options."""
    out = new_parser(PROGRAM, "Sorts pictures of handwritten digits into folders.")
    what = f"take the first N digits (default all {ALL:,})"
    out.add_argument("--limit", metavar="N", type=int, default=ALL, help=what)
    return out


def main(arguments: list[str]) -> int:
    """Sorts; returns the exit status."""
    options, further = parser().parse_known_args(arguments)
    return exit_status(
        lambda: run(vars(options), further), "Stopped before the digits were sorted."
    )


def run(options: dict[str, Any], further: list[str]) -> float:
    """Writes, clusters and sorts; returns the purity of the folders."""
    check_command("cluster", "photos", *further)
    check_least(options, limit=10)
    if options["limit"] > ALL:
        raise UsageError(f"--limit must be at most {ALL:,}, got {options['limit']:,}.")
    # Only now, because it loads jax.
    from dec_jax.runs.folder import prepare

    begin = time.perf_counter()
    default = "runs/sort-digits"
    out = prepare(Path(options["out"] or default), explicit=options["out"] is not None)
    photos, found, into = out / "photos", out / "run", out / "sorted"
    write_photos(photos, options["limit"])
    print(f"{options['limit']:,} pictures: {photos}")
    run_command("cluster", photos, "-k", 10, "--out", found, *further)
    run_command("sort", found, "--into", into)
    run_command("report", found)
    purity = look_into(into, digit_of, out / "sorted.webp")
    print(
        f"purity of the folders {purity:.3f}, {time.perf_counter() - begin:.0f} s in all"
    )
    return purity


def write_photos(folder: Path, limit: int) -> None:
    """Writes digits of scikit-learn as PNG files; each name ends in the digit."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    folder.mkdir()
    for number, digit in enumerate(digits.target[:limit]):
        # Pixels are from 0 to 16.
        pixels = (digits.images[number] * (255 / 16)).astype("uint8")
        Image.fromarray(pixels).save(folder / f"{number:04}-is-{digit}.png")


def digit_of(file: Path) -> str:
    """Returns the digit in the name of a file."""
    return file.stem[-1]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
