"""Figures of a run: the embedding, the training, the clusters and their members.

Each function returns a matplotlib Figure that no window and no global state knows of:
save it with `figure.savefig(path, dpi=...)`, or let a notebook show it.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike

from dec_jax.metrics import (
    cluster_sizes,
    clustering_accuracy,
    contingency_matrix,
    match_clusters,
)
from dec_jax.validation import check_positive_int, check_samples

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

# Ten colours that stay apart for colour-blind readers (Petroff 2021, arXiv:2107.02270).
_COLOURS = [
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
# More classes or clusters than these get no number in each cell, or no legend.
_MOST_CELLS = 25
_MOST_LEGEND = 20


class PrincipalAxes(NamedTuple):
    """The plane in which embeddings vary most."""

    mean: np.ndarray  # [d]
    components: np.ndarray  # [2, d], orthonormal rows
    explained: np.ndarray  # [2], share of the variance along each row


def principal_axes(z: jax.Array | np.ndarray) -> PrincipalAxes:
    """Finds the first two principal components of embeddings.

    Args:
      z: embeddings, shape [n, d]; with d = 1 the second component is zero.

    Returns:
      The axes, each with its largest entry positive, so that a figure never flips.

    Raises:
      TypeError, ValueError: `z` is not a finite numeric array of rank 2.
    """
    check_samples(z, "z")
    values = np.asarray(z, np.float64)
    mean = values.mean(axis=0)
    centred = values - mean
    _, variances, rows = np.linalg.svd(centred.T @ centred / len(values))
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
      labels: cluster or class of each sample, shape [n], shown as its colour.
      title: stands above the panel.
      centroids: marked where given, shape [k, d].
      axes: the plane, as from `principal_axes`, to give several figures the same one;
        that of `z` by default.
      max_points: the most points drawn, the same random ones for the same n; the
        components come from all.

    Returns:
      The figure; above 20 labels it has no legend.

    Raises:
      TypeError, ValueError: a shape or a value does not fit.
    """
    figure = _figure(6.4, 5.4)
    colours = _label_colours(labels)
    panel = figure.subplots()
    _draw_latent(panel, z, labels, colours, title, centroids, axes, max_points)
    _draw_legend(figure, colours)
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
    """Draws two embeddings of the same data side by side, each in its own plane.

    Args:
      z_before, z_after: embeddings, shape [n, d].
      labels_before, labels_after: cluster or class of each sample, shape [n]; the same
        label has the same colour on both sides.
      titles: stand above the panels.
      centroids_before, centroids_after: marked where given, shape [k, d].
      max_points: the most points drawn on each side.

    Returns:
      The figure; above 20 labels it has no legend.

    Raises:
      TypeError, ValueError: a shape or a value does not fit.
    """
    figure = _figure(11.4, 5.2)
    colours = _label_colours(labels_before, labels_after)
    before, after = figure.subplots(1, 2)
    _draw_latent(
        before,
        z_before,
        labels_before,
        colours,
        titles[0],
        centroids_before,
        None,
        max_points,
    )
    _draw_latent(
        after,
        z_after,
        labels_after,
        colours,
        titles[1],
        centroids_after,
        None,
        max_points,
    )
    _draw_legend(figure, colours)
    return figure


def training_curves(
    pretraining_loss: Sequence[float] | np.ndarray | None,
    clustering_loss: Sequence[float] | np.ndarray | None,
    label_change: Sequence[float] | np.ndarray | None,
    *,
    tolerance: float | None = None,
    accuracy: Sequence[float] | np.ndarray | None = None,
) -> "matplotlib.figure.Figure":
    """Draws a run's curves side by side, one panel for each that is given.

    Args:
      pretraining_loss: loss of each epoch of pretraining.
      clustering_loss: loss of each interval between two refreshes of p.
      label_change: share of the samples whose cluster changed at each refresh, in
        [0, 1], on a log scale; zeros stand as triangles on the lower edge.
      tolerance: the share below which training stops, drawn as a line.
      accuracy: ACC at each refresh, in [0, 1].

    Returns:
      The figure. Values that are NaN leave a gap.

    Raises:
      ValueError: all curves are None or empty.
    """
    curves = [
        ("Pretraining", "epoch", "loss", pretraining_loss),
        ("Clustering", "interval", "loss", clustering_loss),
        ("Labels that changed", "interval", "share of samples", label_change),
        ("Accuracy", "interval", "ACC", accuracy),
    ]
    given = [curve for curve in curves if curve[3] is not None and len(curve[3])]
    if not given:
        raise ValueError("training_curves needs at least one curve that is not empty.")
    figure = _figure(3.9 * len(given), 3.2)
    panels = figure.subplots(1, len(given), squeeze=False)[0]
    for panel, (title, x_label, y_label, values) in zip(panels, given, strict=True):
        y = np.asarray(values, np.float64)
        steps = np.arange(1, len(y) + 1)
        if values is label_change:
            _draw_label_change(panel, steps, y, tolerance)
        else:
            _draw_curve(panel, steps, y)
        panel.set_title(title, loc="left")
        panel.set_xlabel(x_label)
        panel.set_ylabel(y_label)
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    return figure


def confusion_matrix(
    labels_true: ArrayLike,
    labels_pred: ArrayLike,
    class_names: Sequence[str] | Mapping[Any, str] | None = None,
) -> "matplotlib.figure.Figure":
    """Draws classes against clusters, each cluster in the column of its class.

    Clusters are matched to classes as in `clustering_accuracy`, whose samples stand in
    the framed cells. Columns without a frame are the clusters left over, with more
    clusters than classes; rows without one are the classes left over, with fewer.

    Args:
      labels_true: class of each sample, shape [n]; any labels that sort.
      labels_pred: cluster of each sample, shape [n]; any labels that sort.
      class_names: `class_names[label]` is the name of a class; the labels by default.

    Returns:
      The figure: the count in each cell that is not zero (up to 25 rows and columns),
      and the share of its row as its colour.

    Raises:
      TypeError, ValueError: labels do not fit, or a class has no name.
    """
    table = contingency_matrix(labels_true, labels_pred)
    classes = [_plain(label) for label in np.unique(np.asarray(labels_true)).tolist()]
    match = match_clusters(labels_true, labels_pred)
    names = [_class_name(class_names, label) for label in classes]
    row_of = {label: row for row, label in enumerate(classes)}
    targets = [
        len(classes) if label is None else row_of[_plain(label)]
        for label in match.values()
    ]
    order = np.argsort(targets, kind="stable")
    table = table[:, order]
    clusters = [str(_plain(label)) for label in match]

    height, width = table.shape
    cell = 0.55 if max(height, width) <= _MOST_CELLS else 0.22
    figure = _figure(max(2.2 + cell * width, 4.2), max(1.4 + cell * height, 2.8))
    panel = figure.subplots()
    shares = table / table.sum(axis=1, keepdims=True)
    image = panel.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=panel, label="share of the class", shrink=0.8)
    if max(height, width) <= _MOST_CELLS:
        for row, column in np.argwhere(table):
            panel.text(
                column,
                row,
                f"{table[row, column]}",
                ha="center",
                va="center",
                fontsize=7.5,
                color="white" if shares[row, column] > 0.5 else "0.15",
            )
    for column, index in enumerate(order):
        if targets[index] < height:
            _draw_frame(panel, targets[index], column)
    panel.set_xticks(range(width), [clusters[index] for index in order], fontsize=8)
    panel.set_yticks(range(height), names, fontsize=8)
    panel.set_xlabel("cluster")
    panel.set_ylabel("class")
    accuracy = clustering_accuracy(labels_true, labels_pred)
    panel.set_title(f"Classes and clusters, ACC {accuracy:.3f}", loc="left")
    return figure


def decoded_centroids(
    images: jax.Array | np.ndarray,
    sizes: ArrayLike | None = None,
    *,
    value_range: tuple[float, float] | None = None,
) -> "matplotlib.figure.Figure":
    """Draws the image that the decoder makes of each centroid, up to ten in a row.

    Args:
      images: shape [k, h, w], [k, h, w, 1] or [k, h, w, 3].
      sizes: number of samples of each cluster, shape [k], written above its image.
      value_range: values shown as black and white; by default 0 and 255 for uint8, else
        the lowest and the highest of all images.

    Returns:
      The figure.

    Raises:
      ValueError: a shape does not fit.
    """
    pixels = np.asarray(images)
    if pixels.ndim not in (3, 4):
        raise ValueError(
            "images must have shape [k, h, w] or [k, h, w, c], "
            f"got shape {pixels.shape}."
        )
    counts = None if sizes is None else np.asarray(sizes)
    if counts is not None and counts.shape != pixels.shape[:1]:
        raise ValueError(
            f"sizes must have shape ({len(pixels)},), one size for each image, "
            f"got shape {counts.shape}."
        )
    pixels = _rgb(pixels, pixels.shape[1:], value_range)
    columns = min(len(pixels), 10)
    rows = -(-len(pixels) // columns)
    figure = _figure(1.15 * columns + 0.2, (1.5 if sizes is None else 1.7) * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in panels:
        panel.axis("off")
    for cluster, image in enumerate(pixels):
        title = f"{cluster}"
        if counts is not None:
            share = counts[cluster] / max(counts.sum(), 1)
            title += f"\n{counts[cluster]:,} ({share:.1%})"
        panels[cluster].imshow(image)
        panels[cluster].set_title(title, fontsize=9)
    return figure


def cluster_members(
    x: jax.Array | np.ndarray,
    confidence: jax.Array | np.ndarray,
    labels: ArrayLike,
    image_shape: Sequence[int],
    *,
    n_per_cluster: int = 10,
    n_uncertain: int = 5,
    n_clusters: int | None = None,
    value_range: tuple[float, float] | None = None,
) -> "matplotlib.figure.Figure":
    """Draws the most and the least certain members of each cluster, one row for each.

    Certainty falls from left to right through both groups. A cluster too small for both
    fills the left one first; no member stands twice, and an empty cluster's row is empty.

    Args:
      x: samples that are images, shape [n, ...], h * w * c values each.
      confidence: q of shape [n, k], or each sample's certainty of its label, shape [n].
      labels: cluster of each sample, shape [n], integers from 0.
      image_shape: (h, w), (h, w, 1) or (h, w, 3).
      n_per_cluster: most certain members shown.
      n_uncertain: least certain members shown; 0 for none.
      n_clusters: number of rows; by default the width of q, or the highest label + 1.
      value_range: values shown as black and white; by default 0 and 255 for uint8, else
        the lowest and the highest of the images shown.

    Returns:
      The figure, with the number and the size of each cluster beside its row.

    Raises:
      TypeError, ValueError: a shape, a label or a number does not fit.
    """
    check_positive_int("n_per_cluster", n_per_cluster)
    check_positive_int("n_uncertain + 1", n_uncertain + 1)
    clusters = np.asarray(labels)
    certainty = np.asarray(confidence, np.float64)
    if n_clusters is None:
        highest = int(clusters.max(initial=0)) + 1
        n_clusters = certainty.shape[1] if certainty.ndim == 2 else highest
    sizes = cluster_sizes(clusters, n_clusters)
    shape = tuple(image_shape)
    if len(x) != len(clusters) or np.prod(x.shape[1:]) != np.prod(shape):
        raise ValueError(
            f"x must hold {len(clusters)} images of shape {shape}, one for each label, "
            f"got shape {tuple(x.shape)}."
        )
    if certainty.ndim == 2 and len(certainty) == len(clusters):
        certainty = np.take_along_axis(certainty, clusters[:, None], axis=1)[:, 0]
    if certainty.shape != clusters.shape:
        raise ValueError(
            f"confidence must have shape [{len(clusters)}] or [{len(clusters)}, k], "
            f"got shape {certainty.shape}."
        )
    tiles = _select_members(clusters, certainty, n_clusters, n_per_cluster, n_uncertain)
    samples = np.array([sample for sample, _, _ in tiles])
    images = _rgb(np.asarray(x[samples]), shape, value_range)

    height, width = shape[:2]
    gap = max(height // 14, 1)
    split = 4 * gap if n_uncertain else 0
    n_columns = n_per_cluster + n_uncertain
    canvas_height = n_clusters * (height + gap) - gap
    canvas_width = n_columns * (width + gap) - gap + split
    canvas = np.ones((canvas_height, canvas_width, 3), np.float32)
    for image, (_, row, column) in zip(images, tiles, strict=True):
        top = row * (height + gap)
        left = column * (width + gap) + split * (column >= n_per_cluster)
        canvas[top : top + height, left : left + width] = image
    inches = 0.6 / max(height, width)
    figure = _figure(canvas.shape[1] * inches + 1.3, canvas.shape[0] * inches + 0.5)
    panel = figure.subplots()
    panel.imshow(canvas)
    panel.set_yticks(
        np.arange(n_clusters) * (height + gap) + (height - 1) / 2,
        [f"{cluster}  ({size:,})" for cluster, size in enumerate(sizes)],
        fontsize=8,
    )
    panel.set_xticks([])
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    panel.set_ylabel("cluster (size)")
    panel.text(0, -2 * gap, "most certain", fontsize=9, va="bottom")
    if n_uncertain:
        right = canvas.shape[1]
        panel.text(
            right, -2 * gap, "least certain", fontsize=9, va="bottom", ha="right"
        )
    return figure


def _figure(width: float, height: float) -> "matplotlib.figure.Figure":
    """An empty figure of so many inches that no pyplot state holds."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _plain(label: Any) -> Any:
    """3.0 as 3: labels that are read from a float file are still numbers of classes."""
    return int(label) if isinstance(label, float) and label.is_integer() else label


def _class_name(
    class_names: Sequence[str] | Mapping[Any, str] | None, label: Any
) -> str:
    """The name of a class; a negative label never counts from the end of the names."""
    if class_names is None:
        return str(label)
    known = (
        range(len(class_names)) if isinstance(class_names, Sequence) else class_names
    )
    if label not in known:
        raise ValueError(
            f"class_names must name each class, got no name for {label!r} "
            f"among {len(class_names)} names."
        )
    return str(class_names[label])


def _label_colours(*labellings: ArrayLike) -> dict[Any, Any]:
    """One colour for each label that occurs in any of the labellings."""
    import matplotlib

    distinct = [np.unique(np.asarray(labels)) for labels in labellings]
    labels = [_plain(label) for label in np.unique(np.concatenate(distinct)).tolist()]
    if len(labels) <= len(_COLOURS):
        colours: Sequence[Any] = _COLOURS
    elif len(labels) <= 20:
        colours = [matplotlib.colormaps["tab20"](i) for i in range(20)]
    else:
        colours = matplotlib.colormaps["turbo"](np.linspace(0, 1, len(labels)))
    return dict(zip(labels, colours, strict=False))


def _draw_latent(
    panel: "matplotlib.axes.Axes",
    z: jax.Array | np.ndarray,
    labels: ArrayLike,
    colours: Mapping[Any, Any],
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
    # In random order, so that no label covers another for being the last.
    drawn = np.random.default_rng(0).permutation(len(z))[:max_points]
    points = _project(np.asarray(z)[drawn], axes)
    panel.scatter(
        *points.T,
        s=max(2.0, min(14.0, 16000 / len(drawn))),
        c=[colours[_plain(label)] for label in values[drawn].tolist()],
        alpha=0.7,
        linewidths=0,
        rasterized=True,
    )
    if centroids is not None:
        marks = _project(np.asarray(centroids), axes)
        panel.scatter(*marks.T, s=90, c="white", edgecolors="black", zorder=3)
        for cluster, (left, up) in enumerate(marks):
            panel.text(
                left, up, f"{cluster}", fontsize=7, ha="center", va="center", zorder=4
            )
    panel.set_title(title, loc="left")
    if len(drawn) < len(z):
        note = f"{len(drawn):,} of {len(z):,} samples"
        panel.set_title(note, loc="right", fontsize=8, color="0.4")
    panel.set_xlabel(f"first component ({axes.explained[0]:.0%} of variance)")
    panel.set_ylabel(f"second component ({axes.explained[1]:.0%} of variance)")
    panel.set_aspect("equal", adjustable="datalim")
    panel.spines[["top", "right"]].set_visible(False)


def _project(values: np.ndarray, axes: PrincipalAxes) -> np.ndarray:
    """Coordinates in the plane, shape [n, 2]."""
    if values.ndim != 2 or values.shape[1] != len(axes.mean):
        raise ValueError(
            f"z, centroids and axes must have the same width, got shape {values.shape} "
            f"and axes of width {len(axes.mean)}."
        )
    return (values.astype(np.float64) - axes.mean) @ axes.components.T


def _draw_legend(
    figure: "matplotlib.figure.Figure", colours: Mapping[Any, Any]
) -> None:
    """Draws a dot and a name for each label at the right of the figure."""
    from matplotlib.lines import Line2D

    if len(colours) > _MOST_LEGEND:
        return
    dots = [
        Line2D(
            [], [], linestyle="", marker="o", markersize=6, color=colour, label=label
        )
        for label, colour in colours.items()
    ]
    figure.legend(handles=dots, loc="outside right upper", frameon=False)


def _draw_curve(
    panel: "matplotlib.axes.Axes", steps: np.ndarray, y: np.ndarray
) -> None:
    """Draws one curve, with a marker at each value while they are few."""
    marker = "o" if len(y) <= 30 else ""
    panel.plot(steps, y, color=_COLOURS[0], marker=marker, markersize=3.5)


def _draw_label_change(
    panel: "matplotlib.axes.Axes",
    steps: np.ndarray,
    y: np.ndarray,
    tolerance: float | None,
) -> None:
    """Draws the share of labels that changed on a log scale that also holds zeros."""
    lowest = min([*y[y > 0], tolerance or 1.0])
    floor = 10.0 ** np.floor(np.log10(lowest / 2))
    _draw_curve(panel, steps, np.where(y == 0, np.nan, y))
    panel.set_yscale("log")
    panel.set_ylim(floor, 2)
    panel.set_xlim(0.5, len(y) + 0.5)
    zeros = steps[y == 0]
    panel.plot(
        zeros,
        np.full(len(zeros), floor * 1.3),
        linestyle="",
        marker="v",
        color=_COLOURS[0],
        label="none changed",
    )
    if tolerance:
        panel.axhline(
            tolerance,
            color=_COLOURS[2],
            linestyle="--",
            linewidth=1,
            label=f"tolerance {tolerance:g}",
        )
    if tolerance or len(zeros):
        panel.legend(frameon=False, fontsize=8, loc="upper right")


def _draw_frame(panel: "matplotlib.axes.Axes", row: int, column: int) -> None:
    """Frames one cell of a matrix."""
    from matplotlib.patches import Rectangle

    corner = (column - 0.5, row - 0.5)
    panel.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="0.2", linewidth=1))


def _select_members(
    labels: np.ndarray,
    certainty: np.ndarray,
    n_clusters: int,
    n_certain: int,
    n_uncertain: int,
) -> list[tuple[int, int, int]]:
    """Sample, row and column of each tile; certainty falls from left to right."""
    tiles = []
    for cluster in range(n_clusters):
        members = np.flatnonzero(labels == cluster)
        members = members[np.argsort(-certainty[members], kind="stable")].tolist()
        rest = members[n_certain:]
        uncertain = rest[max(len(rest) - n_uncertain, 0) :]
        placed = [*enumerate(members[:n_certain]), *enumerate(uncertain, n_certain)]
        tiles += [(sample, cluster, column) for column, sample in placed]
    return tiles


def _rgb(
    images: np.ndarray,
    image_shape: tuple[int, ...],
    value_range: tuple[float, float] | None,
) -> np.ndarray:
    """Images as float32 colours in [0, 1], shape [n, h, w, 3]."""
    if len(image_shape) == 2:
        image_shape = (*image_shape, 1)
    if len(image_shape) != 3 or image_shape[-1] not in (1, 3):
        raise ValueError(
            f"An image must have shape (h, w), (h, w, 1) or (h, w, 3), got {image_shape}."
        )
    if value_range is None:
        is_bytes = images.dtype == np.uint8
        value_range = (0, 255) if is_bytes else (images.min(), images.max())
    low, high = float(value_range[0]), float(value_range[1])
    pixels = images.reshape(-1, *image_shape).astype(np.float32)
    pixels = np.clip((pixels - low) / max(high - low, 1e-12), 0, 1)
    return np.broadcast_to(pixels, (*pixels.shape[:3], 3))
