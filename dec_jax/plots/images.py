"""Figures of clusters of images: centroids, members, reconstructions and samples.

As in `dec_jax.plots.embedding`, figures are outside pyplot's global state.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import numpy as np
from numpy.typing import ArrayLike

from dec_jax.evaluation.label_free import cluster_sizes
from dec_jax.plots.embedding import new_figure
from dec_jax.validation import check_positive_int

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure


def decoded_centroids(
    images: jax.Array | np.ndarray,
    sizes: ArrayLike | None = None,
    *,
    value_range: tuple[float, float] | None = None,
) -> "matplotlib.figure.Figure":
    """Draws an image for each cluster, such as its decoded centroid, up to ten in a row.

    Args:
      images: shape [k, h, w], [k, h, w, 1] or [k, h, w, 3].
      sizes: number of samples of each cluster, shape [k], shown above its image.
      value_range: values drawn as black and white; by default 0 and 255 for uint8, else
        the lowest and the highest of all images.

    Returns:
      The figure.

    Raises:
      ValueError: a shape does not fit.
    """
    pixels = np.asarray(images)
    if pixels.ndim not in (3, 4) or 0 in pixels.shape:
        raise ValueError(
            "images must have shape [k, h, w] or [k, h, w, c] and hold at least one, "
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
    figure = new_figure(1.15 * columns + 0.2, (1.5 if sizes is None else 1.7) * rows)
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
    """Draws the most and the least certain members of each cluster, one row per cluster.

    Certainty decreases from left to right through both groups. A cluster that is too
    small for both fills the left group first; no member is drawn twice, and the row of an
    empty cluster is empty.

    Args:
      x: samples that are images, shape [n, ...], h * w * c values each.
      confidence: q of shape [n, k], or each sample's certainty of its label, shape [n].
      labels: cluster of each sample, shape [n], integers from 0.
      image_shape: (h, w), (h, w, 1) or (h, w, 3).
      n_per_cluster: number of most certain members.
      n_uncertain: number of least certain members; 0 for none.
      n_clusters: number of rows; by default the width of q, or the highest label + 1.
      value_range: values drawn as black and white; by default 0 and 255 for uint8, else
        the lowest and the highest of the images shown.

    Returns:
      The figure, with the number and the size of each cluster next to its row.

    Raises:
      TypeError, ValueError: a shape, a label or a number does not fit.
    """
    check_positive_int("n_per_cluster", n_per_cluster)
    if n_uncertain < 0:
        raise ValueError(f"n_uncertain must be at least 0, got {n_uncertain}.")
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
        cluster_sizes(clusters, certainty.shape[1])
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
    figure = new_figure(canvas.shape[1] * inches + 1.3, canvas.shape[0] * inches + 0.5)
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


def reconstructions(
    originals: jax.Array | np.ndarray,
    inputs: jax.Array | np.ndarray | None,
    reconstructed: jax.Array | np.ndarray,
    image_shape: Sequence[int],
    *,
    n: int = 10,
    value_range: tuple[float, float] | None = None,
) -> "matplotlib.figure.Figure":
    """Draws images, the inputs of the network and its reconstructions, row by row.

    Args:
      originals: samples that are images, shape [m, ...], h * w * c values each.
      inputs: the same samples as inputs of the encoder, such as with noise; None omits
        their row.
      reconstructed: outputs of the decoder.
      image_shape: (h, w), (h, w, 1) or (h, w, 3).
      n: number of images shown, the first ones.
      value_range: values drawn as black and white; by default 0 and 255 for uint8, else
        the lowest and the highest of the originals shown. Values beyond are clipped.

    Returns:
      The figure, with an image in each column.

    Raises:
      TypeError, ValueError: a shape, a type or a number does not fit.
    """
    check_positive_int("n", n)
    given = {"original": originals, "input": inputs, "reconstruction": reconstructed}
    rows = {name: x for name, x in given.items() if x is not None}
    for name, x in rows.items():
        if len(x) != len(originals):
            raise ValueError(
                "originals, inputs and reconstructed must have equal lengths, got "
                f"{len(originals)} as original and {len(x)} as {name}."
            )
        if (x.dtype == np.uint8) != (originals.dtype == np.uint8):
            raise TypeError(
                "originals, inputs and reconstructed must be on one scale, got "
                f"{originals.dtype} as original and {x.dtype} as {name}; divide bytes "
                "by 255."
            )
    images = [_shown(name, x[:n], image_shape) for name, x in rows.items()]
    if value_range is None and originals.dtype != np.uint8:
        value_range = float(images[0].min()), float(images[0].max())
    pixels = _rgb(np.concatenate(images), tuple(image_shape), value_range)
    figure, panel, pitch = _draw_grid(pixels, len(images[0]), left=1.15)
    centers = np.arange(len(rows)) * pitch + (pixels.shape[1] - 1) / 2
    panel.set_yticks(centers, list(rows), fontsize=9)
    return figure


def samples_grid(
    images: jax.Array | np.ndarray,
    image_shape: Sequence[int],
    *,
    n_columns: int | None = None,
    value_range: tuple[float, float] | None = None,
) -> "matplotlib.figure.Figure":
    """Draws images in a grid, such as those that a decoder makes of random z.

    Args:
      images: shape [n, ...], h * w * c values each.
      image_shape: (h, w), (h, w, 1) or (h, w, 3).
      n_columns: number of images in a row; by default about as many as rows.
      value_range: values drawn as black and white; by default 0 and 255 for uint8, else
        the lowest and the highest of all images.

    Returns:
      The figure; the end of the last row may be empty.

    Raises:
      TypeError, ValueError: a shape, a value or a number does not fit.
    """
    if n_columns is not None:
        check_positive_int("n_columns", n_columns)
    pixels = _rgb(
        _shown("images", images, image_shape), tuple(image_shape), value_range
    )
    figure, _, _ = _draw_grid(pixels, n_columns or math.ceil(len(pixels) ** 0.5))
    return figure


def _shown(
    name: str, x: jax.Array | np.ndarray, image_shape: Sequence[int]
) -> np.ndarray:
    """Returns images as an array, checked to be finite and of the right size."""
    values = np.asarray(x)
    if values.ndim < 2 or not len(x) or np.prod(x.shape[1:]) != np.prod(image_shape):
        raise ValueError(
            f"{name} must hold images of shape {tuple(image_shape)}, at least one, got "
            f"shape {values.shape}."
        )
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity.")
    return values


def _draw_grid(
    pixels: np.ndarray, n_columns: int, *, left: float = 0.05
) -> "tuple[matplotlib.figure.Figure, matplotlib.axes.Axes, int]":
    """Draws colors [n, h, w, 3] in rows; returns figure, panel and height of a row."""
    height, width = pixels.shape[1:3]
    gap = max(height // 14, 1)
    n_columns = min(n_columns, len(pixels))
    n_rows = -(-len(pixels) // n_columns)
    size = n_rows * (height + gap) - gap, n_columns * (width + gap) - gap
    canvas = np.ones((*size, 3), np.float32)
    for index, image in enumerate(pixels):
        top, start = index // n_columns * (height + gap), index % n_columns
        start *= width + gap
        canvas[top : top + height, start : start + width] = image
    inches = 0.6 / max(height, width)
    tall, wide = size[0] * inches, size[1] * inches
    across, up = left + wide + 0.05, tall + 0.1
    figure = new_figure(across, up)
    # A fixed position: matplotlib's layout would cut off the names at the left.
    figure.set_layout_engine("none")
    panel = figure.add_axes((left / across, 0.05 / up, wide / across, tall / up))
    panel.imshow(canvas)
    panel.set_xticks([])
    panel.set_yticks([])
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    return figure, panel, height + gap


def _select_members(
    labels: np.ndarray,
    certainty: np.ndarray,
    n_clusters: int,
    n_certain: int,
    n_uncertain: int,
) -> list[tuple[int, int, int]]:
    """Selects (sample, row, column) of each tile; certainty decreases to the right."""
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
    """Converts images to float32 colors in [0, 1], shape [n, h, w, 3]."""
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
