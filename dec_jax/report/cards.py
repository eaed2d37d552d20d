"""The card of each cluster: its numbers, its content and some of its samples."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from dec_jax.data.dataset import Dataset
from dec_jax.report.clusters import ClusterNumbers
from dec_jax.report.content import (
    SHOWN,
    ReadableColumn,
    Terms,
    Trait,
    distinctive_terms,
    in_words,
    plain,
    traits,
)
from dec_jax.report.pictures import CARD_SIDE, Pictures, small_uri
from dec_jax.report.run_files import RunFiles
from dec_jax.validation import shown
from dec_jax.writing import whole_file

IN_WORDS = 3  # samples that stand for a cluster in clusters.csv
MOST_PICTURES = 8  # in each group of a card
ALL_PICTURES = 1_000  # in all cards together, about


class Card(NamedTuple):
    """One cluster.

    Attributes:
      cluster: its number.
      size: number of samples.
      share: of all samples.
      sure, conductance, stability: as in `ClusterNumbers`.
      words: its content in one line.
      traits: of the columns of a table, the largest differences first.
      terms: of texts, those that set it apart most.
      groups: its nearest, typical and most ambiguous samples.
      klass: its commonest class, if there are classes.
      class_share: the share of that class.
    """

    cluster: int
    size: int
    share: float
    sure: float
    conductance: float
    stability: float
    words: str
    traits: list[Trait]
    terms: list[str]
    groups: "list[Group]"
    klass: int | None
    class_share: float


class Group(NamedTuple):
    """Some samples of a cluster.

    Attributes:
      title: what they have in common.
      rows: [m] their numbers.
      names: [m] their files or names, or None.
    """

    title: str
    rows: Int[np.ndarray, " m"]
    names: Sequence[str] | None

    @property
    def words(self) -> str:
        """The samples in words."""
        return self.first(len(self.rows))

    def first(self, count: int) -> str:
        """The first samples in words."""
        if self.names is not None:
            return ", ".join(self.names[:count])
        numbers = ", ".join(map(str, self.rows[:count].tolist()))
        return f"row{'s' * (len(self.rows[:count]) > 1)} {numbers}"


def cards(
    run: RunFiles,
    dataset: Dataset,
    numbers: ClusterNumbers,
    columns: Sequence[ReadableColumn],
    space: Terms | None = None,
) -> list[Card]:
    """Makes the card of each cluster, empty ones included.

    Args:
      run: from `read_run`.
      dataset: its samples.
      numbers: from `cluster_numbers`.
      columns: from `readable_columns`.
      space: the terms of texts, or None.
    """
    k, n = run.n_clusters, len(run.labels)
    count = int(np.clip(ALL_PICTURES // (3 * k), 3, MOST_PICTURES))
    found = []
    for cluster in range(k):
        members = np.flatnonzero(run.labels == cluster)
        groups = sample_groups(members, run.typical[members], count, dataset.names)
        own = traits(columns, run.labels, cluster) if len(members) else []
        terms: list[str] = []
        if space is not None and len(members):
            found_terms = distinctive_terms(dataset.x, run.labels, cluster, space)
            terms = [plain(term) for term in found_terms]
        words, klass, class_share = "empty", None, float("nan")
        if terms:
            words = ", ".join(terms)
        elif own:
            words = in_words(own)
        elif len(members):
            words = f"typical: {groups[0].first(IN_WORDS)}"
        if dataset.labels is not None and len(members):
            classes, counts = np.unique(dataset.labels[members], return_counts=True)
            klass = int(classes[counts.argmax()])
            class_share = float(counts.max() / len(members))
        found.append(
            Card(
                cluster,
                int(numbers.sizes[cluster]),
                float(numbers.sizes[cluster] / n),
                float(numbers.sure[cluster]),
                float(numbers.conductance[cluster]),
                float(numbers.stability[cluster]),
                words,
                own[:SHOWN],
                terms,
                groups,
                klass,
                class_share,
            )
        )
    return found


def sample_groups(
    members: Int[np.ndarray, " m"],
    typical: np.ndarray,
    count: int,
    names: Sequence[str] | None,
) -> list[Group]:
    """Chooses samples of a cluster: the nearest, typical and most ambiguous ones.

    Args:
      members: numbers of the samples of the cluster.
      typical: [m] their ranks, from `typical_ranks`.
      count: number of samples of a group; none is in two groups.
      names: of all samples, or None.

    Returns:
      The groups that have samples: "nearest" are those of the largest q, "typical" those
      in the middle, "ambiguous" those of the smallest q.
    """
    order = members[np.argsort(-typical, kind="stable")]
    nearest, rest = order[:count], order[count:]
    ambiguous, rest = rest[max(len(rest) - count, 0) :], rest[:-count]
    middle = max((len(rest) - count) // 2, 0)
    chosen = {
        "nearest to the center": nearest,
        "in the middle": rest[middle : middle + count],
        "most ambiguous": ambiguous[::-1],
    }
    return [
        Group(title, rows, names and [plain(names[row]) for row in rows])
        for title, rows in chosen.items()
        if len(rows)
    ]


def write_clusters(path: Path, found: Sequence[Card]) -> None:
    """Writes clusters.csv, one line a cluster; a number that there is not is empty."""
    labeled = any(card.klass is not None for card in found)
    titles = ["cluster", "size", "share", "sure", "conductance", "stability"]
    with (
        whole_file(path) as partial,
        partial.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(
            [*titles, "content", *(["class", "class_share"] if labeled else [])]
        )
        for card in found:
            shares = (card.share, card.sure, card.conductance, card.stability)
            cells = [card.cluster, card.size, *map(_cell, shares), shown(card.words)]
            if labeled:
                klass = "" if card.klass is None else card.klass
                cells += [klass, _cell(card.class_share)]
            writer.writerow(cells)


def _cell(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.4f}"


class CardPictures(NamedTuple):
    """The pictures of a card, as data URIs.

    Attributes:
      mean: the mean image.
      groups: the pictures of each group.
    """

    mean: str
    groups: list[list[str]]


def card_pictures(card: Card, run: RunFiles, pictures: Pictures) -> CardPictures:
    """Draws the mean image of a cluster that is not empty, and its samples."""
    members = run.labels == card.cluster
    mean = pictures.x[members].mean(axis=0, dtype=np.float32)
    (mean_picture,) = pictures.of(mean[None], CARD_SIDE)
    return CardPictures(
        small_uri(mean_picture),
        [
            [small_uri(one) for one in pictures.rows(group.rows, CARD_SIDE)]
            for group in card.groups
        ],
    )
