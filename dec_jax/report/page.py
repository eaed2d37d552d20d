"""Puts the page of a report together: one file that needs no other."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from dec_jax import model, plots
from dec_jax.data.dataset import Dataset
from dec_jax.evaluation.health import verdict
from dec_jax.evaluation.metrics import contingency_matrix, match_clusters
from dec_jax.recipes.names import DESCRIPTIONS
from dec_jax.report.cards import Card, card_pictures
from dec_jax.report.content import ReadableColumn, plain, readable_columns, rules
from dec_jax.report.dendrogram import Dendrogram, dendrogram_of
from dec_jax.report.pictures import SMALL, Pictures, pictures_of, sheets
from dec_jax.report.run_files import RunFiles
from dec_jax.report.scatter import (
    MOST_POINTS,
    Points,
    cluster_colors,
    directions_of_data,
    draw_map,
    rows_to_draw,
    view_of,
    view_of_data,
    view_of_umap,
)
from dec_jax.runs import folder as run_folder
from dec_jax.runs.plain_words import glossary_line, next_lines
from dec_jax.runs.settings import Settings
from dec_jax.validation import require

if TYPE_CHECKING:
    import matplotlib.figure

TEMPLATE = Path(__file__).with_name("template.html")
MOST_BYTES = 9_500_000  # of the page
FEWEST_POINTS = 500  # that a page is made for, however large it becomes
MOST_CARDS = 100  # clusters beyond these stand in clusters.csv alone
MOST_CLASSES = 50  # of a confusion matrix with a cell for each
HOVER_COLUMNS = 8  # of a table, whose values the pointer shows
WORDS = 160  # letters of a name that the pointer shows
INK = "#010203"  # stands for the color of the page's text in drawings


def page(
    run: RunFiles,
    dataset: Dataset,
    found: Sequence[Card],
    compared_with: str,
    *,
    umap: bool = False,
) -> str:
    """Writes the page.

    Args:
      run: from `read_run`.
      dataset: its samples.
      found: a card of each cluster.
      compared_with: of `ClusterNumbers`.
      umap: whether the map has a view by UMAP too.

    Returns:
      HTML of less than `MOST_BYTES`, for which fewer points are drawn if need be.
    """
    columns = by_difference(readable_columns(dataset), found)
    pictures = pictures_of(dataset)
    colors = cluster_colors(run.n_clusters)
    shown = [card for card in found if card.size][:MOST_CARDS]
    content: dict[str, Any] = {
        "run": run,
        "data": dataset,
        "kind": kind_of(dataset),
        "cards": found,
        "shown": shown,
        "compared_with": compared_with,
        "colors": colors,
        "pictures": pictures
        and {card.cluster: card_pictures(card, run, pictures) for card in shown},
        "pixelated": pictures is not None and max(pictures.shape[:2]) <= SMALL,
        "rules": rules(columns, run.labels),
        "sure": float(run.q.mean()),
        "recipe": DESCRIPTIONS.get(run.results["recipe"]),
        "health": health_line(run),
        "next": next_steps(run),
        "confusion": confusion(dataset, run.labels, run.n_clusters),
        "curves": curves(run),
        "dendrogram": dendrogram(run),
        "settings": settings(run),
    }
    most = MOST_POINTS
    while True:
        drawn = rows_to_draw(run.labels, most)
        points = points_of(run, dataset, drawn, columns, pictures, umap=umap)
        html = rendered(content, points)
        size = len(html.encode())
        if size <= MOST_BYTES or len(drawn) <= FEWEST_POINTS:
            return html
        most = max(FEWEST_POINTS, int(0.95 * len(drawn) * MOST_BYTES / size))


def by_difference(
    columns: Sequence[ReadableColumn], found: Sequence[Card]
) -> list[ReadableColumn]:
    """Sorts columns by the largest difference of a cluster from the rest."""
    largest: dict[str, float] = {}
    for trait in (trait for card in found for trait in card.traits):
        difference = abs(trait.difference)
        largest[trait.title] = max(difference, largest.get(trait.title, 0.0))
    return sorted(columns, key=lambda column: -largest.get(column.title, 0.0))


def points_of(
    run: RunFiles,
    dataset: Dataset,
    drawn: Int[np.ndarray, " m"],
    columns: Sequence[ReadableColumn],
    pictures: Pictures | None,
    *,
    umap: bool = False,
) -> Points:
    """Embeds some samples, and collects what the pointer shows of them."""
    loaded = model.load(run.folder / run_folder.MODEL)
    samples = _rows_of(dataset, drawn)
    z, x = model.transform(loaded, samples), dataset.x[drawn]
    views = [view_of("embedding z", z), view_of_data("data as given", x)]
    # A network without pretraining has learned the labels alone: its z is no evidence.
    learned = run.config["recipe"]["pretrain"] is None
    if learned:
        views.reverse()
    if umap:
        values = directions_of_data(x) if learned else z
        views.append(view_of_umap(f"UMAP of {views[0].title}", values))
    words: dict[str, list[str]] = {}
    if dataset.names is not None:
        words[plain(dataset.names_title)] = [
            plain(dataset.names[row])[:WORDS] for row in drawn
        ]
    for column in columns[:HOVER_COLUMNS]:
        texts = [plain(text)[:WORDS] for text in column.texts(drawn)]
        words[plain(column.title)] = texts
    return Points(
        drawn,
        views,
        run.labels[drawn],
        run.q[drawn],
        run.typical[drawn],
        words,
        None if pictures is None else sheets(pictures, drawn),
    )


def _rows_of(dataset: Dataset, rows: Int[np.ndarray, " m"]) -> np.ndarray:
    """Takes samples in the units and the shape of training."""
    x = dataset.x[rows]
    return x if dataset.image_shape is None else x.reshape(-1, *dataset.image_shape)


def rendered(content: dict[str, Any], points: Points) -> str:
    """Fills the template; every text in it is escaped."""
    task = "writing the report"
    jinja = require("jinja2", extra="report", task=task)
    markup = require("markupsafe", extra="report", task=task).Markup
    resources = require("bokeh.resources", extra="report", task=task)
    script, element = draw_map(points, content["colors"])
    inline = resources.Resources(mode="inline", components=["bokeh", "bokeh-gl"])
    environment = jinja.Environment(
        autoescape=True,
        undefined=jinja.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"plain": plain, "sentence": sentence}
    environment.filters["explained"] = glossary_line
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        **content,
        points=points,
        bokeh=markup(inline.render_js()),
        script=markup(script),
        element=markup(element),
    )


def sentence(text: str) -> str:
    """Makes a sentence of words: a capital at the beginning, a full stop at the end."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def kind_of(dataset: Dataset) -> str:
    """Describes the samples in a few words."""
    if dataset.image_shape is not None:
        height, width, channels = dataset.image_shape
        color = {1: "gray", 3: "color"}.get(channels, f"{channels}-channel")
        return f"{color} images of {width} x {height} pixels"
    if dataset.text_space is not None:
        return f"texts of {len(dataset.text_space.terms):,} terms"
    if dataset.columns is not None:
        count = len(dataset.columns)
        return f"rows of {count} column{'s' * (count != 1)}"
    count = dataset.x.shape[1]
    return f"rows of {count:,} value{'s' * (count != 1)}"


def health_line(run: RunFiles) -> str:
    """Formats the stability of training, as the last lines of the run do."""
    found = run.results["health"]
    names = ("smallest", "largest", "evenness", "max_q")
    return verdict(found["warnings"], **{name: found[name] for name in names})


def next_steps(run: RunFiles) -> list[str]:
    """Tells what to do where the clusters cannot be trusted, a sentence each."""
    if run.results["opinion"] is None:
        return []
    path = run.folder / "alternatives.csv"
    lines = next_lines(run.results["opinion"], run.n_clusters, path)
    return [sentence(line.removeprefix("next: ")) for line in lines]


def confusion(
    dataset: Dataset, labels: Int[np.ndarray, " n"], n_clusters: int
) -> dict[str, Any] | None:
    """Counts the samples of each class in each cluster, matched ones in the diagonal."""
    if dataset.labels is None:
        return None
    classes, clusters = np.unique(dataset.labels), np.unique(labels)
    if max(len(classes), n_clusters) > MOST_CLASSES:
        return None
    table = contingency_matrix(dataset.labels, labels)
    match = match_clusters(dataset.labels, labels)
    place = {int(label): row for row, label in enumerate(classes)}
    target = [
        len(classes) if (found := match[cluster]) is None else place[int(found)]
        for cluster in clusters.tolist()
    ]
    order = np.argsort(target, kind="stable")
    return {
        "clusters": clusters[order].tolist(),
        "rows": [
            {
                "name": int(label),
                "total": int(table[row].sum()),
                "cells": [
                    {
                        "count": int(table[row, column]),
                        "share": float(table[row, column] / table[row].sum()),
                        "right": target[column] == row,
                    }
                    for column in order
                ],
            }
            for row, label in enumerate(classes)
        ],
    }


def curves(run: RunFiles) -> str | None:
    """Draws the losses of a run as SVG in the colors of the page; None without any."""
    clustering = [row for row in run.history if row["phase"] == "clustering"]
    before = [row for row in run.history if row["phase"] != "clustering"]

    def column(rows: list[dict[str, str]], name: str) -> list[float] | None:
        values = [float(row[name]) if row[name] else np.nan for row in rows]
        return values if not np.isnan(values).all() else None

    given = [
        column(before, "loss"),
        column(clustering, "loss"),
        column(clustering, "label_change"),
    ]
    if all(one is None for one in given):
        return None
    tolerance = run.config["recipe"]["train"]["tolerance"]
    accuracy = column(clustering, "acc")
    matplotlib = require("matplotlib", extra="plots", task="drawing curves")
    names = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color")
    ink = dict.fromkeys((*names, "ytick.color"), INK)
    with matplotlib.rc_context({**ink, "svg.fonttype": "none", "svg.hashsalt": "dj"}):
        figure = plots.training_curves(*given, tolerance=tolerance, accuracy=accuracy)
        return _svg(figure)


def dendrogram(run: RunFiles) -> Dendrogram | None:
    """Places the tree over the clusters; None without one, or for few or many clusters."""
    tree = run.hierarchy
    if tree is None or not 3 <= len(tree.sizes) <= MOST_CARDS:
        return None
    return dendrogram_of(tree)


def _svg(figure: "matplotlib.figure.Figure") -> str:
    """Saves a figure as an element of a page."""
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    return svg.replace("<svg ", '<svg aria-hidden="true" ', 1)


def settings(run: RunFiles) -> dict[str, dict[str, str]]:
    """Collects the settings, versions and seconds of a run, as texts by name."""
    results = run.results
    command = {
        name.replace("_", " "): str(value)
        for name, value in run.config["command"].items()
        if value != getattr(Settings, name, None) or name in ("seed", "seeds")
    }
    versions = {**results["versions"], "commit": results.get("commit") or "unknown"}
    titles = {"total": "all phases", "run": "whole command"}
    seconds = {
        titles.get(name, name): f"{value:,.1f}"
        for name, value in results["seconds"].items()
    }
    return {
        "Settings": {**command, "computed on": results["device"]},
        "Versions": {name: str(value) for name, value in versions.items()},
        "Seconds": seconds,
    }
