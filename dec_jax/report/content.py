"""Describes what sets a cluster of a table or of texts apart: columns, terms, rules."""

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from dec_jax.data.dataset import Dataset

# Columns beyond which those of an array without names tell a reader nothing.
MOST_UNNAMED = 64
SHOWN = 8  # columns in the card of a cluster
IN_WORDS = 3  # columns in clusters.csv
MOST_TERMS = 10  # in the card of a cluster of texts
# Standardized difference below which a column does not set a cluster apart.
NOTABLE = 0.3
RULE_ROWS = 50_000  # that the tree is fitted to, at most
RULE_DEPTH = 3


class ReadableColumn(NamedTuple):
    """A column of a table as its reader knows it, before standardizing.

    Attributes:
      title: its name, and its unit if it has one.
      values: [n] numbers, or the places of the categories.
      categories: their names, or None for numbers.
      is_date: whether the numbers are days since 1970.
    """

    title: str
    values: Float[np.ndarray, " n"] | Int[np.ndarray, " n"]
    categories: tuple[str, ...] | None = None
    is_date: bool = False

    def texts(self, rows: Int[np.ndarray, " m"]) -> list[str]:
        """Formats the values of some rows."""
        values = self.values[rows]
        if self.categories is None:
            return [self.text(value) for value in values]
        return [self.categories[place] for place in values]

    def text(self, value: float) -> str:
        """Formats a number of the column."""
        return day(value) if self.is_date else number(value)


class Trait(NamedTuple):
    """A column in a cluster and in all other samples.

    Attributes:
      title: name of the column.
      here: its mean in the cluster, or its commonest category there with its share.
      rest: its mean in all other samples, or the share of that category there.
      difference: of the two, in standard deviations of all samples.
    """

    title: str
    here: str
    rest: str
    difference: float


class Terms(NamedTuple):
    """The terms of texts, and the projection of their weights to the columns of x."""

    names: tuple[str, ...]
    directions: Float[np.ndarray, "e t"]


class Rules(NamedTuple):
    """A small decision tree that tells the clusters apart.

    Attributes:
      text: the tree, a line a node.
      share: of the samples that it puts into their cluster, in [0, 1].
    """

    text: str
    share: float


def readable_columns(dataset: Dataset) -> list[ReadableColumn]:
    """Turns the columns of x back into those that the user gave.

    Returns:
      The columns; none for images, texts, and wide arrays without names. Where numbers
      were missing, a column of 0 and 1 tells so, and the numbers are those put there.
    """
    x = dataset.x
    if dataset.image_shape is not None or dataset.text_space is not None:
        return []
    if dataset.columns is None:
        if x.shape[1] > MOST_UNNAMED:
            return []
        scales = np.broadcast_to(np.asarray(dataset.deviation, np.float64), x.shape[1])
        return [
            ReadableColumn(f"column {place}", x[:, place] * scale)
            for place, scale in enumerate(scales)
        ]
    found, first = [], 0
    for column in dataset.columns:
        titles = column.titles
        block = np.asarray(x[:, first : first + len(titles)], np.float64)
        first += len(titles)
        if column.categories is not None:
            places = block.argmax(axis=1)
            found.append(ReadableColumn(column.title, places, column.categories))
            continue
        title = f"{column.title} ({column.unit})" if column.unit else column.title
        values = block[:, 0] * column.deviation + column.mean
        is_date = column.kind == "date"
        found.append(ReadableColumn(title, values, is_date=is_date))
        if column.marked:
            found.append(ReadableColumn(titles[1], block[:, 1]))
    return found


def terms_of(dataset: Dataset) -> Terms | None:
    """Takes the terms of texts, or None for other data."""
    space = dataset.text_space
    return None if space is None else Terms(space.terms, space.directions)


def traits(
    columns: Sequence[ReadableColumn], labels: Int[np.ndarray, " n"], cluster: int
) -> list[Trait]:
    """Compares the columns of a cluster with those of all other samples.

    Args:
      columns: from `readable_columns`.
      labels: [n] the cluster of each sample.
      cluster: the number of one that is not empty.

    Returns:
      A trait of each column, the largest difference first.

    Example:
      >>> size = ReadableColumn("size", np.array([1.0, 1.0, 5.0, 5.0]))
      >>> traits([size], np.array([0, 0, 1, 1]), 1)
      [Trait(title='size', here='5', rest='1', difference=2.0)]
    """
    inside = labels == cluster
    found = [_trait(column, inside) for column in columns]
    return sorted(found, key=lambda trait: -abs(trait.difference))


def _trait(column: ReadableColumn, inside: np.ndarray) -> Trait:
    values, outside = column.values, ~inside
    if column.categories is not None:
        common = int(np.bincount(values[inside]).argmax())
        values = (values == common).astype(np.float64)
    here = float(values[inside].mean())
    rest = float(values[outside].mean()) if outside.any() else here
    deviation = float(values.std())
    difference = (here - rest) / deviation if deviation > 0 else 0.0
    if column.categories is not None:
        name = f"{column.categories[common]} {here:.0%}"
        return Trait(column.title, name, f"{rest:.0%}", difference)
    # Of yes and no, and of marks, the mean is a share.
    if np.isin(np.round(values, 6), (0, 1)).all():
        return Trait(column.title, f"{here:.0%}", f"{rest:.0%}", difference)
    return Trait(column.title, column.text(here), column.text(rest), difference)


def in_words(found: Sequence[Trait]) -> str:
    """Names the columns that set a cluster apart most, in one line.

    Example:
      >>> in_words([Trait("size", "5", "1", 2.0), Trait("color", "red 90%", "9%", 1.1)])
      'size 5 (rest 1), color red 90% (rest 9%)'
      >>> in_words([Trait("size", "1", "1", 0.0)])
      'like the rest'
    """
    notable = [trait for trait in found if abs(trait.difference) >= NOTABLE]
    words = [f"{it.title} {it.here} (rest {it.rest})" for it in notable[:IN_WORDS]]
    return ", ".join(words) or "like the rest"


def distinctive_terms(
    x: Float[np.ndarray, "n e"],
    labels: Int[np.ndarray, " n"],
    cluster: int,
    space: Terms,
) -> list[str]:
    """Finds the terms that set a cluster of texts apart from all others.

    Args:
      x: [n, e] the texts as samples: weights of terms, projected.
      labels: [n] the cluster of each.
      cluster: the number of one that is not empty.
      space: the terms and the projection.

    Returns:
      At most 10 terms whose mean weight is larger in the cluster than in the rest, the
      largest difference first.

    Example:
      >>> space = Terms(("apple", "car"), np.eye(2, dtype=np.float32))
      >>> x = np.array([[1.0, 0.2], [0.0, 1.0]], np.float32)
      >>> distinctive_terms(x, np.array([0, 1]), 0, space)
      ['apple']
    """
    inside = labels == cluster
    mean = x[inside].mean(axis=0)
    if not inside.all():
        mean = mean - x[~inside].mean(axis=0)
    weights = mean @ space.directions
    best = np.argsort(-weights, kind="stable")[:MOST_TERMS]
    return [space.names[place] for place in best if weights[place] > 0]


def rules(
    columns: Sequence[ReadableColumn], labels: Int[np.ndarray, " n"]
) -> Rules | None:
    """Fits a decision tree of depth 3 that tells the clusters apart.

    Args:
      columns: from `readable_columns`.
      labels: [n] the cluster of each sample.

    Returns:
      The tree; None without columns, or with one cluster.
    """
    if not columns or len(np.unique(labels)) < 2:
        return None
    from sklearn.tree import DecisionTreeClassifier, export_text

    rows = np.arange(len(labels))
    if len(rows) > RULE_ROWS:
        rows = np.random.default_rng(0).permutation(len(rows))[:RULE_ROWS]
    blocks, names = [], []
    for column in columns:
        values = column.values[rows]
        if column.categories is None:
            blocks.append(values.astype(np.float64)[:, None])
            names.append(plain(column.title) + "\2" * column.is_date)
            continue
        blocks.append(np.eye(len(column.categories))[values])
        names += [f"{plain(column.title)}\1{plain(it)}" for it in column.categories]
    x, y = np.concatenate(blocks, axis=1), labels[rows]
    # A leaf of a handful of samples is no rule.
    tree = DecisionTreeClassifier(
        max_depth=RULE_DEPTH, min_samples_leaf=max(1, len(rows) // 200), random_state=0
    ).fit(x, y)
    # scikit-learn refuses equal names, which two columns may come to have.
    unique = [f"{name}\0{place}" for place, name in enumerate(names)]
    text = export_text(
        tree,
        feature_names=unique,
        class_names=[str(label) for label in tree.classes_],
        decimals=3,
    )
    return Rules(_reworded(text), float(tree.score(x, y)))


def _reworded(text: str) -> str:
    """Writes a tree of scikit-learn in words: "is red" for the 0/1 column of a category."""
    # Two answers that lead to one cluster are no question.
    twice = re.compile(
        r"^((?:\|   )*)\|--- .*\n\1\|   (\|--- class: \d+)\n\1\|--- .*\n\1\|   \2$",
        re.M,
    )
    while twice.search(text):
        text = twice.sub(r"\1\2", text)
    text = re.sub(r"\x01(.*)\0\d+ <= .*$", r" is not \1", text, flags=re.M)
    text = re.sub(r"\x01(.*)\0\d+ >  .*$", r" is \1", text, flags=re.M)

    def threshold(found: re.Match[str]) -> str:
        value = float(found[3])
        return f" {found[2]} {day(value) if found[1] else number(value)}"

    text = re.sub(r"(\x02?)\0\d+ (<=|> ) (\S+)$", threshold, text, flags=re.M)
    return re.sub(r"--- class: (\d+)$", r"--- cluster \1", text, flags=re.M).rstrip()


def number(value: float) -> str:
    """Formats a number with four digits, and large integers in full.

    Example:
      >>> number(1234567.0), number(0.123456), number(-0.0)
      ('1,234,567', '0.1235', '0')
    """
    if abs(value) >= 1000 and abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{float(f'{value:.4g}') + 0.0:g}"


def day(value: float) -> str:
    """Formats days since 1970 as a date.

    Example:
      >>> day(18262.4)
      '2020-01-01'
    """
    return str(np.datetime64(round(float(value)), "D"))


def plain(text: str) -> str:
    """Cleans a name of a file or column: no control characters, on one line.

    Example:
      >>> plain("a\\x1b[31mb\\ud800c\\nd")
      'a[31mbc d'
    """
    spaced = " ".join(text.split())
    # Category C: control and format characters, surrogates, and what is no character.
    return "".join(it for it in spaced if unicodedata.category(it)[0] != "C")
