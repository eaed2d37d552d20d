"""Lines that say how a table was understood, and what is wrong with one."""

import shlex
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dec_jax.data.columns import LIMIT, Cells, Converted
from dec_jax.data.dataset import MISSING, Column
from dec_jax.data.table_files import TableFile, listed

# What names the rows where no column does.
FIRST = "the first column, which has no name"
INDEX = "the index"


class Read(NamedTuple):
    """The columns that are used, their content, and the reasons why others are not."""

    columns: list[Column]
    cells: list[Cells]
    converted: list[Converted]
    left_out: dict[str, str]


def notes_of(table: TableFile, read: Read, names_title: str | None) -> tuple[str, ...]:
    """Says in a few lines how a table was understood."""
    notes = []
    unusual = list(table.unusual)
    if any(cells.reading == "," for cells in read.cells):
        unusual.append("decimal commas")
    if unusual:
        notes.append(
            f"read with {', '.join(unusual)}; if that is wrong: --encoding, --separator, "
            "--decimal"
        )
    notes.append("columns: " + "; ".join(understood(read.columns)))
    rules = {
        True: "is filled by the median, and marked in a further column",
        False: f"is a category of its own, {MISSING}",
    }
    for is_number, rule in rules.items():
        filled = [
            f"{it.title} (in {len(block.filled):,} row{'s' * (len(block.filled) > 1)})"
            for it, block in zip(read.columns, read.converted, strict=True)
            if len(block.filled) and (it.categories is None) == is_number
        ]
        if filled:
            notes.append(f"missing: {listed(filled)}; what is missing {rule}")
    strange = [
        f"{it.title} ({listed([repr(text) for text in cells.strange])})"
        for it, cells in zip(read.columns, read.cells, strict=True)
        if cells.strange
    ]
    if strange:
        notes.append(f"texts among numbers, taken as missing: {listed(strange)}")
    limited = [
        it.title
        for it, block in zip(read.columns, read.converted, strict=True)
        if len(block.limited)
    ]
    if limited:
        rows = np.unique(np.concatenate([block.limited for block in read.converted]))
        shown = listed([str(row) for row in rows])
        notes.append(
            f"far away from all others: {len(rows)} row{'s' * (len(rows) > 1)} ({shown}) in "
            f"{listed(limited)}; the others set the scale, and these count as {LIMIT:g} "
            "deviations"
        )
    if read.left_out:
        reasons = [
            f"{title} ({why}{'; names the rows' * (title == names_title)})"
            for title, why in read.left_out.items()
        ]
        never = ("constant", "empty", "no text is frequent")
        hint = any(why not in never for why in read.left_out.values())
        notes.append(
            f"left out: {', '.join(reasons)}" + "; --keep COLUMN takes one in" * hint
        )
    if names_title is not None and names_title not in read.left_out:
        notes.append(f"rows are named by {names_title}")
    return tuple(notes)


def understood(columns: Sequence[Column]) -> list[str]:
    """Names the columns by kind, those of one kind next to each other."""
    kinds: dict[str, list[str]] = {}
    for it in columns:
        kind = it.kind
        if it.categories is not None:
            kind = f"{len(it.categories)} categories"
        elif it.kind == "date":
            form = it.reading if it.reading[:3] in ("%m/", "%d/", "%m-", "%d-") else ""
            kind = f"date{form and ' ' + form}, in days"
        elif it.unit:
            kind = f"number, {it.unit}"
        kinds.setdefault(kind, []).append(it.title)
    return [f"{listed(titles)} ({kind})" for kind, titles in kinds.items()]


def warnings_of(read: Read) -> list[str]:
    """Says in which rows new data lack what training had."""
    lines = []
    for it, cells, block in zip(read.columns, read.cells, read.converted, strict=True):
        if len(block.unseen):
            assert cells.texts is not None
            words = sorted({repr(cells.texts[row]) for row in block.unseen})
            lines.append(
                f"a category of {it.title!r} that training had not ({listed(words)}) counts "
                f"as none in {counted(block.unseen)}"
            )
        if cells.strange:
            words = [repr(text) for text in cells.strange]
            lines.append(
                f"texts in {it.title!r} that are no {it.kind}: {listed(words)}"
            )
        expected = it.marked or (it.categories is not None and MISSING in it.categories)
        if len(block.filled) and not expected:
            median = it.categories is None
            lines.append(
                f"{it.title!r} is missing in {counted(block.filled)}, and was in no row of "
                f"training; {'the median of training' if median else 'none'} takes its place"
            )
    return lines


def counted(rows: np.ndarray) -> str:
    """Counts rows and lists the first five."""
    return f"{len(rows):,} row{'s' * (len(rows) > 1)} ({listed([str(row) for row in rows])})"


def told(
    problems: dict[str, str], label_column: str | int | None, *, is_new: bool
) -> str:
    """Tells in one line all that is wrong with the columns, and how to mend it."""
    rules: dict[str, list[str]] = {}
    for title, rule in problems.items():
        rules.setdefault(rule, []).append(repr(title))
    lines = [
        f"column{'s' * (len(titles) > 1)} {', '.join(titles)}: {rule}"
        for rule, titles in rules.items()
    ]
    text = "; ".join(lines)
    others = [title for title in problems if title != str(label_column)]
    if is_new or not others:
        return f"{text}."
    options = " ".join(f"--drop {shlex.quote(title)}" for title in others)
    return (
        f"{text}. Mend the values, or leave columns out by drop={others} ({options})."
    )
