"""Figures of embeddings, and of classes against clusters.

Each function returns a matplotlib Figure outside pyplot's global state: save it with
`figure.savefig(path, dpi=...)`, or let a notebook show it.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike

from dec_jax.evaluation.metrics import (
    clustering_accuracy,
    contingency_matrix,
    match_clusters,
)
from dec_jax.validation import check_positive_int, check_samples, require

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

# Ten colors that color-blind readers can tell apart (Petroff 2021, arXiv:2107.02270).
COLORS = [
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
]
# With more classes or clusters than these, cells have no numbers, figures no legend.
_MOST_CELLS = 25
_MOST_LEGEND = 20


class PrincipalAxes(NamedTuple):
    """The plane of the first two principal components of embeddings."""

    mean: np.ndarray  # [d]
    components: np.ndarray  # [2, d], orthonormal rows
    explained: np.ndarray  # [2], share of the variance along each row


def new_figure(width: float, height: float) -> "matplotlib.figure.Figure":
    """Makes an empty figure of `width` x `height` inches outside pyplot's state.

    Raises:
      ImportError: matplotlib is not installed.
    """
    matplotlib = require("matplotlib.figure", extra="plots", task="drawing figures")
    return matplotlib.Figure(figsize=(width, height), layout="constrained")


def principal_axes(z: jax.Array | np.ndarray) -> PrincipalAxes:
    """Computes the first two principal components of embeddings.

    Args:
      z: embeddings, shape [n, d]; with d = 1 the second component is zero.

    Returns:
      The axes. The largest entry of each is positive, so that figures never flip.

    Raises:
      TypeError, ValueError: `z` is not a finite numeric array of rank 2.

    Example:
      >>> axes = principal_axes(np.array([[0.0, 1.0], [4.0, 1.0], [8.0, 1.0]]))
      >>> axes.mean.tolist(), axes.components[0].tolist(), axes.explained.tolist()
      ([4.0, 1.0], [1.0, 0.0], [1.0, 0.0])
    """
    check_samples(z, "z")
    values = np.asarray(z, np.float64)
    mean = values.mean(axis=0)
    centered = values - mean
    _, variances, rows = np.linalg.svd(centered.T @ centered / len(values))
    components = np.zeros((2, values.shape[1]))
    components[: len(rows[:2])] = rows[:2]
    largest = np.abs(components).argmax(axis=1)
    components[components[np.arange(2), largest] < 0] *= -1
    explained = np.zeros(2)
    if variances.sum() > 0:
        explained[: len(rows[:2])] = variances[:2] / variances.sum()
    return PrincipalAxes(mean, components, explained)


def latent_scatter(
    z: jax.Array | np.ndarray,
    labels: ArrayLike,
    *,
    title: str = "Embedding",
    centroids: jax.Array | np.ndarray | None = None,
    axes: PrincipalAxes | None = None,
    max_points: int = 5000,
) -> "matplotlib.figure.Figure":
    """Draws embeddings in the plane of their first two principal components.

    Args:
      z: embeddings, shape [n, d].
      labels: cluster or class of each sample, shape [n], shown as its color.
      title: title above the panel.
      centroids: centroids to mark, shape [k, d].
      axes: the plane, from `principal_axes`, to give several figures the same one; by
        default that of `z`.
      max_points: largest number of points drawn, the same random ones for the same n; the
        components are computed from all samples.

    Returns:
      The figure. With more than 20 labels it has no legend.

    Raises:
      TypeError, ValueError: a shape or a value does not fit.
      ImportError: matplotlib is not installed.

    Example:
      >>> z = np.array([[0.0, 1.0], [4.0, 1.0], [8.0, 1.0]])
      >>> figure = latent_scatter(z, ["a", "a", "b"], title="Three samples")
      >>> figure.axes[0].get_title("left"), figure.axes[0].get_xlabel()
      ('Three samples', 'first component (100% of variance)')
    """
    figure = new_figure(6.4, 5.4)
    colors = _label_colors(labels)
    panel = figure.subplots()
    _draw_latent(panel, z, labels, colors, title, centroids, axes, max_points)
    _draw_legend(figure, colors)
    return figure


def latent_before_after(
    z_before: jax.Array | np.ndarray,
    labels_before: ArrayLike,
    z_after: jax.Array | np.ndarray,
    labels_after: ArrayLike,
    *,
    titles: tuple[str, str] = ("Before clustering", "After clustering"),
    centroids_before: jax.Array | np.ndarray | None = None,
    centroids_after: jax.Array | np.ndarray | None = None,
    max_points: int = 5000,
) -> "matplotlib.figure.Figure":
    """Draws two embeddings of the same data next to each other, each in its own plane.

    Args:
      z_before, z_after: embeddings, shape [n, d].
      labels_before, labels_after: cluster or class of each sample, shape [n]; the same
        label has the same color on both sides.
      titles: titles above the panels.
      centroids_before, centroids_after: centroids to mark, shape [k, d].
      max_points: largest number of points drawn on each side.

    Returns:
      The figure. With more than 20 labels it has no legend.

    Raises:
      TypeError, ValueError: a shape or a value does not fit.
    """
    figure = new_figure(11.4, 5.2)
    colors = _label_colors(labels_before, labels_after)
    sides = (
        (z_before, labels_before, titles[0], centroids_before),
        (z_after, labels_after, titles[1], centroids_after),
    )
    for panel, (z, labels, title, centroids) in zip(
        figure.subplots(1, 2), sides, strict=True
    ):
        _draw_latent(panel, z, labels, colors, title, centroids, None, max_points)
    _draw_legend(figure, colors)
    return figure


def confusion_matrix(
    labels_true: ArrayLike,
    labels_pred: ArrayLike,
    class_names: Sequence[str] | Mapping[Any, str] | None = None,
) -> "matplotlib.figure.Figure":
    """Draws the confusion matrix, with each cluster in the column of its class.

    Clusters are matched to classes as in `clustering_accuracy`. The framed cells hold the
    samples that it counts as correct. With more clusters than classes, unmatched clusters
    are columns without a frame; with fewer, unmatched classes are rows without one.

    Args:
      labels_true: class of each sample, shape [n]; any labels that sort.
      labels_pred: cluster of each sample, shape [n]; any labels that sort.
      class_names: `class_names[label]` is the name of a class; by default the label.

    Returns:
      The figure. The color of a cell is its share of the row; its number is the count,
      with up to 25 rows and columns.

    Raises:
      TypeError, ValueError: labels do not fit, or a class has no name.
    """
    table = contingency_matrix(labels_true, labels_pred)
    classes = [_plain(label) for label in np.unique(np.asarray(labels_true)).tolist()]
    match = match_clusters(labels_true, labels_pred)
    names = [_class_name(class_names, label) for label in classes]
    # Unmatched clusters come last.
    row_of = {None: len(classes)} | {label: row for row, label in enumerate(classes)}
    targets = [row_of[_plain(label)] for label in match.values()]
    order = np.argsort(targets, kind="stable")
    table = table[:, order]
    clusters = [str(_plain(label)) for label in match]

    height, width = table.shape
    # Inches; small tables have larger cells, so that titles and color bar fit.
    cell = 0.55 if max(height, width) <= _MOST_CELLS else 0.22
    cell = max(cell, 2 / max(height, width))
    figure = new_figure(max(2.2 + cell * width, 4.2), max(1.4 + cell * height, 2.8))
    panel = figure.subplots()
    shares = table / table.sum(axis=1, keepdims=True)
    image = panel.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=panel, label="share of the class", shrink=0.8)
    if max(height, width) <= _MOST_CELLS:
        for row, column in np.argwhere(table):
            color = "white" if shares[row, column] > 0.5 else "0.15"
            text = panel.text(column, row, f"{table[row, column]}", color=color)
            text.set(ha="center", va="center", fontsize=7.5)
    for column, index in enumerate(order):
        if targets[index] < height:
            _draw_frame(panel, targets[index], column)
    panel.set_xticks(range(width), [clusters[index] for index in order], fontsize=8)
    panel.set_yticks(range(height), names, fontsize=8)
    panel.set_xlabel("cluster")
    panel.set_ylabel("class")
    accuracy = clustering_accuracy(labels_true, labels_pred)
    title = f"Classes and clusters, ACC {accuracy:.3f}"
    # A title of the figure, because the panel may be narrower than its title.
    figure.suptitle(title, x=0.02, ha="left", fontsize="large")
    return figure


def _plain(label: Any) -> Any:
    """Returns 3.0 as 3: labels read from a file of floats are still integers."""
    return int(label) if isinstance(label, float) and label.is_integer() else label


def _class_name(
    class_names: Sequence[str] | Mapping[Any, str] | None, label: Any
) -> str:
    """Returns the name of a class; a negative label never indexes from the end."""
    if class_names is None:
        return str(label)
    is_mapping = isinstance(class_names, Mapping)
    if label not in (class_names if is_mapping else range(len(class_names))):
        raise ValueError(
            f"class_names must name each class, got no name for {label!r} "
            f"among {len(class_names)} names."
        )
    return str(class_names[label])


def _label_colors(*labelings: ArrayLike) -> dict[Any, Any]:
    """Assigns a color to each label that occurs in any of the labelings."""
    import matplotlib

    found = {
        _plain(label)
        for labels in labelings
        for label in np.unique(np.asarray(labels)).tolist()
    }
    if any(label != label for label in found):
        raise ValueError("labels must not hold NaN.")
    # Numbers come before names if the labelings have both.
    labels = sorted(found, key=lambda label: (isinstance(label, str), label))
    if len(labels) <= len(COLORS):
        colors: list[Any] = COLORS
    elif len(labels) <= 20:
        colors = [matplotlib.colormaps["tab20"](i) for i in range(20)]
    else:
        colors = list(matplotlib.colormaps["turbo"](np.linspace(0, 1, len(labels))))
    return dict(zip(labels, colors, strict=False))


def _draw_latent(
    panel: "matplotlib.axes.Axes",
    z: jax.Array | np.ndarray,
    labels: ArrayLike,
    colors: Mapping[Any, Any],
    title: str,
    centroids: jax.Array | np.ndarray | None,
    axes: PrincipalAxes | None,
    max_points: int,
) -> None:
    """Draws one embedding into its panel."""
    check_samples(z, "z")
    check_positive_int("max_points", max_points)
    values = np.asarray(labels)
    if values.shape != (len(z),):
        raise ValueError(
            f"labels must have shape ({len(z)},), one for each row of z, "
            f"got shape {values.shape}."
        )
    axes = principal_axes(z) if axes is None else axes
    # In random order, so that the last label does not cover the others.
    drawn = np.random.default_rng(0).permutation(len(z))[:max_points]
    points = _project(np.asarray(z)[drawn], axes)
    panel.scatter(
        points[:, 0],
        points[:, 1],
        s=max(2.0, min(14.0, 16000 / len(drawn))),
        c=[colors[_plain(label)] for label in values[drawn].tolist()],
        alpha=0.7,
        linewidths=0,
        rasterized=True,
    )
    if centroids is not None:
        marks = _project(np.asarray(centroids), axes)
        left, up = marks.T
        panel.scatter(left, up, s=90, c="white", edgecolors="black", zorder=3)
        centered: dict[str, Any] = {"ha": "center", "va": "center", "zorder": 4}
        for cluster, (x, y) in enumerate(marks):
            panel.text(x, y, f"{cluster}", fontsize=7, **centered)
    panel.set_title(title, loc="left")
    if len(drawn) < len(z):
        note = f"{len(drawn):,} of {len(z):,} samples"
        panel.set_title(note, loc="right", fontsize=8, color="0.4")
    panel.set_xlabel(f"first component ({axes.explained[0]:.0%} of variance)")
    panel.set_ylabel(f"second component ({axes.explained[1]:.0%} of variance)")
    panel.set_aspect("equal", adjustable="datalim")
    panel.spines[["top", "right"]].set_visible(False)


def _project(values: np.ndarray, axes: PrincipalAxes) -> np.ndarray:
    """Computes coordinates in the plane, shape [n, 2]."""
    if values.ndim != 2 or values.shape[1] != len(axes.mean):
        raise ValueError(
            f"z, centroids and axes must have the same width, got shape {values.shape} "
            f"and axes of width {len(axes.mean)}."
        )
    return (values.astype(np.float64) - axes.mean) @ axes.components.T


def _draw_legend(figure: "matplotlib.figure.Figure", colors: Mapping[Any, Any]) -> None:
    """Draws a dot and a name for each label at the right of the figure."""
    from matplotlib.lines import Line2D

    if len(colors) > _MOST_LEGEND:
        return
    dots = [
        Line2D([], [], linestyle="", marker="o", markersize=6, color=color)
        for color in colors.values()
    ]
    names = [str(label) for label in colors]
    figure.legend(dots, names, loc="outside right upper", frameon=False)


def _draw_frame(panel: "matplotlib.axes.Axes", row: int, column: int) -> None:
    """Frames one cell of a matrix."""
    from matplotlib.patches import Rectangle

    corner = (column - 0.5, row - 0.5)
    panel.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="0.2", linewidth=1))
