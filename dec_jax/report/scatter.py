"""The map of a report: z on two axes, zoomable, with each sample under the pointer."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num

from dec_jax.clustering.umap_mixture import umap_embedding
from dec_jax.evaluation.judge import WIDE
from dec_jax.plots.embedding import COLORS, principal_axes
from dec_jax.report.clusters import few_rows
from dec_jax.report.pictures import Sheets
from dec_jax.validation import require

MOST_POINTS = 20_000
AXES_ROWS = 3_000  # that the axes of wide data are found from
BLOCK = 500  # rows that are placed at a time
AXES = 10  # of them, among which the first two are found again from all samples
HOVER_WIDTH = 72  # pixels of the longer side of the picture under the pointer
GRAY = "#808080"  # readable on white and on black


class View(NamedTuple):
    """Places of the samples on two axes.

    Attributes:
      title: names the space that they were in.
      places: [m, 2] on the two axes.
      axes: the names of the axes.
    """

    title: str
    places: Float[np.ndarray, "m 2"]
    axes: tuple[str, str]


class Points(NamedTuple):
    """The samples on the map.

    Attributes:
      rows: [m] their numbers.
      views: their places in several spaces; the first is shown first.
      labels: [m] their clusters.
      q: [m] their share of it.
      typical: [m] their rank in it.
      words: what the pointer shows of each: titles and [m] texts.
      sheets: their pictures, in the order of `rows`, or None.
    """

    rows: Int[np.ndarray, " m"]
    views: list[View]
    labels: Int[np.ndarray, " m"]
    q: Float[np.ndarray, " m"]
    typical: Float[np.ndarray, " m"]
    words: dict[str, list[str]]
    sheets: Sheets | None


def view_of(title: str, values: Num[np.ndarray, "m e"]) -> View:
    """Places samples on the two axes along which they vary most."""
    axes = principal_axes(values)
    orders = zip(("first", "second"), axes.explained, strict=True)
    names = [f"{order} axis ({share:.0%} of variance)" for order, share in orders]
    places = (values.astype(np.float64) - axes.mean) @ axes.components.T
    return View(title, places, (names[0], names[1]))


def view_of_umap(title: str, values: Num[np.ndarray, "m e"]) -> View:
    """Places samples by UMAP, which keeps neighbors together and no distances."""
    places = umap_embedding(values, 2, min_dist=0.1)
    return View(title, places.astype(np.float64), ("UMAP 1", "UMAP 2"))


def view_of_data(title: str, x: Num[np.ndarray, "m d"]) -> View:
    """Places samples as they were given on two axes.

    Rows of many columns are compared by their direction, as simple methods see them.
    """
    return view_of(title, directions_of_data(x))


def directions_of_data(x: Num[np.ndarray, "m d"]) -> Num[np.ndarray, "m e"]:
    """Scales wide rows to length 1 and keeps their ten leading axes; others stay."""
    if x.shape[1] <= WIDE:
        return x
    from sklearn.decomposition import PCA

    # Few rows tell the axes, and sorting them out takes time.
    few = few_rows(x, AXES_ROWS)
    axes = PCA(min(AXES, len(few)), random_state=0).fit(_directions(x[few]))
    blocks = [
        _directions(x[first : first + BLOCK]) @ axes.components_.T
        for first in range(0, len(x), BLOCK)
    ]
    return np.concatenate(blocks)


def _directions(x: Num[np.ndarray, "m d"]) -> Float[np.ndarray, "m d"]:
    """Scales rows to a length of 1."""
    rows = x.astype(np.float32)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1)


def rows_to_draw(
    labels: Int[np.ndarray, " n"], most: int, *, seed: int = 0
) -> Int[np.ndarray, " m"]:
    """Draws samples for the map: small clusters are whole, large ones thinned alike.

    Args:
      labels: [n] the cluster of each sample.
      most: number of samples to draw.
      seed: of the draw.

    Returns:
      The numbers of the samples, in their order. A cluster of at most most / 2k samples
      is whole.

    Example:
      >>> rows = rows_to_draw(np.array([0] * 90 + [1] * 4), 20)
      >>> len(rows), (rows >= 90).sum().item()
      (20, 4)
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    sizes = np.bincount(labels)
    whole = np.minimum(sizes, max(most // (2 * int((sizes > 0).sum())), 1))
    left, room = sizes - whole, max(most - int(whole.sum()), 0)
    shares = left * room / max(int(left.sum()), 1)
    counts = whole + shares.astype(int)
    rng = np.random.default_rng(seed)
    drawn = [
        rng.permutation(np.flatnonzero(labels == cluster))[:count]
        for cluster, count in enumerate(counts)
    ]
    return np.sort(np.concatenate(drawn))


def cluster_colors(n_clusters: int) -> list[str]:
    """Chooses a color for each cluster; up to ten, color-blind readers tell them apart."""
    if n_clusters <= len(COLORS):
        return COLORS[:n_clusters]
    palettes = require("bokeh.palettes", extra="report", task="drawing the report")
    if n_clusters <= 20:
        return list(palettes.Category20[20][:n_clusters])
    turbo = palettes.Turbo256
    return [turbo[12 + 231 * place // n_clusters] for place in range(n_clusters)]


def draw_map(points: Points, colors: Sequence[str]) -> tuple[str, str]:
    """Draws the map.

    Args:
      points: the samples.
      colors: of each cluster.

    Returns:
      A script and an element for the page, whose own script hides clusters and changes
      the view. It finds the models by their names: "map", "x-axis", "y-axis", and
      "cluster-3" for the points of cluster 3. Their columns are x0, y0, x1, ...
    """
    task = "drawing the report"
    plotting = require("bokeh.plotting", extra="report", task=task)
    models = require("bokeh.models", extra="report", task=task)
    embed = require("bokeh.embed", extra="report", task=task)
    # A wheel that is turned alone scrolls the page.
    wheel = models.WheelZoomTool(modifiers={"ctrl": True})
    figure = plotting.figure(
        name="map",
        height=560,
        sizing_mode="stretch_width",
        output_backend="webgl",
        match_aspect=True,
        toolbar_location="above",
        tools=[
            models.PanTool(),
            models.BoxZoomTool(match_aspect=True),
            models.ZoomInTool(),
            models.ZoomOutTool(),
            wheel,
            models.ResetTool(),
        ],
        background_fill_color=None,
        border_fill_color=None,
        outline_line_color=GRAY,
        outline_line_alpha=0.4,
    )
    figure.toolbar.logo = None
    both = (figure.xaxis[0], figure.yaxis[0])
    for axis, name, label in zip(both, "xy", points.views[0].axes, strict=True):
        axis.name = f"{name}-axis"
        axis.axis_label = label
        axis.axis_label_text_color = GRAY
        axis.axis_label_text_font_style = "normal"
        axis.axis_line_color = None
        axis.ticker = []
    figure.grid.visible = False
    sizes = np.bincount(points.labels, minlength=len(colors))
    columns = _columns(points)
    size = 4 if len(points.rows) > 5000 else 6
    drawn = []
    # The largest first, so that small clusters lie on top.
    for cluster in np.argsort(-sizes, kind="stable").tolist():
        members = np.flatnonzero(points.labels == cluster)
        data = {name: _taken(column, members) for name, column in columns.items()}
        drawn.append(
            figure.scatter(
                "x0",
                "y0",
                source=models.ColumnDataSource(data),
                name=f"cluster-{cluster}",
                color=colors[cluster],
                size=size,
                alpha=0.7,
                line_color=None,
                hover_line_color=GRAY,
                hover_fill_alpha=1,
            )
        )
    hover = models.HoverTool(
        renderers=drawn, tooltips=_tooltip(points), limit=1, attachment="horizontal"
    )
    figure.add_tools(hover)
    return embed.components(figure)


def _columns(points: Points) -> dict[str, Any]:
    """The columns of the source of points: places, numbers, texts and tiles."""
    columns: dict[str, Any] = {
        "row": points.rows.astype(np.int32),
        "cluster": points.labels.astype(np.int32),
        "q": points.q.astype(np.float32),
        "typical": points.typical.astype(np.float32),
    }
    for place, view in enumerate(points.views):
        columns[f"x{place}"] = view.places[:, 0].astype(np.float32)
        columns[f"y{place}"] = view.places[:, 1].astype(np.float32)
    for place, texts in enumerate(points.words.values()):
        columns[f"w{place}"] = texts
    if points.sheets is not None:
        width, height = _shown_cell(points.sheets)
        sheet, tile = np.divmod(np.arange(len(points.rows)), points.sheets.at_once)
        line, column = np.divmod(tile, points.sheets.columns)
        columns["sheet"] = sheet.astype(np.int32)
        columns["left"] = (column * width).astype(np.int32)
        columns["top"] = (line * height).astype(np.int32)
    return columns


def _taken(column: Any, members: Int[np.ndarray, " m"]) -> Any:
    if isinstance(column, list):
        return [column[place] for place in members]
    return column[members]


def _shown_cell(sheets: Sheets) -> tuple[int, int]:
    """The size of a cell under the pointer, in pixels of the page."""
    factor = HOVER_WIDTH / max(sheets.tile)
    width, height = sheets.cell
    return max(1, round(width * factor)), max(1, round(height * factor))


def _tooltip(points: Points) -> str:
    """The template of what the pointer shows; bokeh escapes the texts of samples."""
    picture = ""
    if points.sheets is not None:
        found = points.sheets
        cell_width, cell_height = _shown_cell(found)
        width = found.tile[0] * cell_width // found.cell[0]
        height = found.tile[1] * cell_height // found.cell[1]
        # The property `--sheet-0` of the page holds the first sheet.
        picture = (
            f'<div class="thumbnail" style="flex:none;width:{width}px;height:{height}px;'
            "image-rendering:pixelated;background:var(--sheet-@sheet) "
            f"-@{{left}}px -@{{top}}px / {found.columns * cell_width}px auto"
            '"></div>'
        )
    lines = [
        f'<tr><td style="opacity:.7;padding-right:.6em">{_literal(title)}</td>'
        f"<td>@{{w{place}}}</td></tr>"
        for place, title in enumerate(points.words)
    ]
    return (
        '<div style="display:flex;gap:10px;align-items:flex-start;max-width:min(26em,55vw);'
        f'font:13px/1.4 system-ui,sans-serif">{picture}<div>'
        "<b>cluster @cluster</b>, row @row<br>q @q{0.00}, typical @typical{0.00}"
        f'<table style="border-collapse:collapse;font:inherit">{"".join(lines)}</table>'
        "</div></div>"
    )


def _literal(text: str) -> str:
    """Escapes a title of the user's for HTML, and for the templates of bokeh."""
    markup = require("markupsafe", extra="report", task="drawing the report")
    escaped = str(markup.escape(text))
    for sign in "@${}":
        escaped = escaped.replace(sign, f"&#{ord(sign)};")
    return escaped
