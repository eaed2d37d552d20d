"""Lines that say how a table was understood, and what is wrong with one."""

import shlex
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dec_jax.data.columns import LIMIT, Cells, Converted
from dec_jax.data.dataset import MISSING, Column
from dec_jax.data.sentinels import sentinels_of
from dec_jax.data.table_files import TableFile, listed
from dec_jax.validation import did_you_mean

# What names the rows where no column does.
FIRST = "the first column, which has no name"
INDEX = "the index"
MOST_LISTED = 10  # rows, or columns, that a line lists; it counts the others
FEWEST_EMPTY = 10  # rows from which a column without any value is warned of


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
    if strange := strange_texts(read):
        notes.append(strange)
    if suspected := sentinels_note(read):
        notes.append(suspected)
    limited = [
        it.title
        for it, block in zip(read.columns, read.converted, strict=True)
        if len(block.limited)
    ]
    if limited:
        rows = np.unique(np.concatenate([block.limited for block in read.converted]))
        notes.append(
            f"far away from all others: {counted(rows, table.lines)} in {listed(limited)}; "
            f"the others set the scale, and these count as {LIMIT:g} deviations"
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


def strange_texts(read: Read) -> str:
    """Names the texts among numbers, or returns ""."""
    strange = [
        f"{it.title} ({listed([repr(text) for text in cells.strange])})"
        for it, cells in zip(read.columns, read.cells, strict=True)
        if cells.strange
    ]
    return f"texts among numbers, taken as missing: {listed(strange)}" * bool(strange)


def sentinels_note(read: Read) -> str:
    """Names the numbers that may stand for a missing value, or returns ""."""
    found, options = [], {}
    for it, cells in zip(read.columns, read.cells, strict=True):
        if cells.numbers is None or cells.kind != "number":
            continue
        for text, count in sentinels_of(cells.numbers).items():
            found.append(f"{it.title} ({text} in {count:,} rows)")
            # An option's value with a minus and an exponent looks like an option.
            options[f"--missing-value{'=' if 'e' in text else ' '}{text}"] = True
    if not found:
        return ""
    what = "it" if len(options) == 1 else "them"
    return (
        f"may stand for a missing value: {listed(found)}; taken as numbers, and "
        f"{' '.join(options)} takes {what} as missing"
    )


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


def warnings_of(read: Read, lines: Sequence[int] | None) -> list[str]:
    """Says in which rows new data lack what training had."""
    found = []
    for it, cells, block in zip(read.columns, read.cells, read.converted, strict=True):
        if len(block.unseen):
            found.append(
                f"a category of {it.title!r} that training had not "
                f"({unseen_words(cells, block)}) counts as none in "
                f"{counted(block.unseen, lines)}"
            )
        if cells.strange:
            words = [repr(text) for text in cells.strange]
            found.append(
                f"texts in {it.title!r} that are no {it.kind}: {listed(words)}"
            )
        if len(block.filled) and not may_miss(it):
            median = it.categories is None
            found.append(
                f"{it.title!r} is missing in {counted(block.filled, lines)}, and was "
                f"in no row of training; {'the median of training' if median else 'none'} "
                "takes its place"
            )
        elif FEWEST_EMPTY <= len(block.x) == len(block.filled):
            found.append(
                f"{it.title!r} is missing in all {len(block.x):,} rows, and was not in "
                "training; clusters that this column tells apart cannot be found"
            )
    return found


def may_miss(column: Column) -> bool:
    """Returns True if values of the column were missing in training."""
    return column.marked or MISSING in (column.categories or ())


def refusals(
    read: Read,
    lines: Sequence[int] | None,
    missing: bool,
    unknown: bool,
    *,
    is_new: bool,
) -> dict[str, str]:
    """Says of each column in which rows it holds what is refused.

    Args:
      read: the columns.
      lines: the line of each row, or None.
      missing: refuses missing values; in new data where training had none.
      unknown: refuses categories that training had not.
      is_new: whether a model has been trained on another table.

    Returns:
      The rule that a column breaks, by its name.
    """
    found = {}
    for it, cells, block in zip(read.columns, read.cells, read.converted, strict=True):
        rules = []
        if missing and len(block.filled) and not (is_new and may_miss(it)):
            rules.append(
                f"is missing in {counted(block.filled, lines)}, which missing='error' "
                "(--missing error) refuses"
            )
        if unknown and len(block.unseen):
            rules.append(
                f"holds what training had not ({unseen_words(cells, block)}) in "
                f"{counted(block.unseen, lines)}, which unknown='error' (--unknown error) "
                "refuses"
            )
        if rules:
            found[it.title] = "; ".join(rules)
    return found


def unseen_words(cells: Cells, block: Converted) -> str:
    """Lists the categories that training had not."""
    assert cells.texts is not None
    return listed(sorted({repr(cells.texts[row]) for row in block.unseen}))


def counted(rows: np.ndarray, lines: Sequence[int] | None) -> str:
    """Counts rows, and lists the first by their lines in the file, else by their index.

    Example:
      >>> counted(np.array([0, 2]), range(2, 9)), counted(np.array([2]), None)
      ('2 rows (lines 2, 4)', '1 row (index 2)')
    """
    several = "s" * (len(rows) > 1)
    word = "index" if lines is None else f"line{several}"
    shown = [f"{row if lines is None else lines[row]}" for row in rows.tolist()]
    return f"{len(rows):,} row{several} ({word} {listed(shown, MOST_LISTED)})"


def no_column(option: str, title: str, titles: Sequence[str]) -> str:
    """Says that a table has no such column, and which it has."""
    hint = did_you_mean(title, titles)
    if hint != ".":
        return f"Unknown {option} {title!r}{hint}"
    return f"Unknown {option} {title!r}; columns are {listed([*titles], MOST_LISTED)}."


def told(
    problems: dict[str, str],
    unknown: Sequence[str],
    read: Read,
    label_column: str | int | None,
    *,
    is_new: bool,
) -> str:
    """Tells in one line all that is wrong with a table, and how to mend it.

    Args:
      problems: the rule that each column breaks.
      unknown: sentences on columns that were named, and are not there.
      read: the other columns, to say what is left out or missing anyway.
      label_column: the column of the labels, which cannot be left out.
      is_new: whether a model has to read it, so that no column can be left out.
    """
    rules: dict[str, list[str]] = {}
    for title, rule in problems.items():
        rules.setdefault(rule, []).append(repr(title))
    lines = [
        f"column{'s' * (len(titles) > 1)} {', '.join(titles)}: {rule}"
        for rule, titles in rules.items()
    ]
    sentences = [f"{'; '.join(lines)}."] if lines else []
    sentences += unknown
    if read.left_out:
        reasons = [f"{title} ({why})" for title, why in read.left_out.items()]
        sentences.append(f"Left out anyway: {', '.join(reasons)}.")
    if strange := strange_texts(read):
        sentences.append(f"{strange[0].upper()}{strange[1:]}.")
    others = [title for title in problems if title != str(label_column)]
    if others and not is_new:
        options = " ".join(f"--drop {shlex.quote(title)}" for title in others)
        sentences.append(
            f"Mend the columns, or leave them out by drop={others} ({options})."
        )
    return " ".join(sentences)
