"""Animations of an embedding during training."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from dec_jax.plots.embedding import latent_scatter, principal_axes
from dec_jax.validation import check_choice, check_samples, require

if TYPE_CHECKING:
    import matplotlib.figure

# A GIF counts hundredths of a second, and browsers slow down frames of less than two.
_SHORTEST_FRAME = 0.02


def latent_frames(
    z_frames: Sequence[jax.Array | np.ndarray],
    labels: ArrayLike,
    *,
    axes_from: str = "last",
    titles: Sequence[str] | None = None,
    max_points: int = 5000,
) -> "list[matplotlib.figure.Figure]":
    """Draws embeddings of the same samples at several times, one figure each.

    All frames have the same plane, limits, colors and samples, so that only points move.
    Each frame shows at least 99 % of its points along both axes; a few outliers may lie
    outside the limits.

    Args:
      z_frames: embeddings, each of shape [n, d], in order of time.
      labels: class or cluster of each sample in all frames, shape [n], shown as color.
      axes_from: the frame whose first two principal components span the plane: "last",
        in which clusters separate over time, or "first".
      titles: one for each frame; "Frame 1 of 20" and so on by default.
      max_points: largest number of points drawn; the same random ones for the same n.

    Returns:
      A figure for each frame; save them with `save_animation`, or one by one with
      `figure.savefig`.

    Raises:
      TypeError, ValueError: a shape or a value does not fit.
    """
    check_choice("axes_from", axes_from, ("first", "last"))
    if len(z_frames) == 0:
        raise ValueError("z_frames is empty.")
    for index, z in enumerate(z_frames):
        check_samples(z, f"z_frames[{index}]")
        if z.shape != z_frames[0].shape:
            raise ValueError(
                "z_frames must all have the same shape, got "
                f"{tuple(z_frames[0].shape)} and, at index {index}, {tuple(z.shape)}."
            )
    if titles is None:
        titles = [f"Frame {i + 1} of {len(z_frames)}" for i in range(len(z_frames))]
    if len(titles) != len(z_frames):
        raise ValueError(
            f"titles must be {len(z_frames)}, one for each frame, got {len(titles)}."
        )
    axes = principal_axes(z_frames[-1] if axes_from == "last" else z_frames[0])
    figures = [
        latent_scatter(z, labels, title=title, axes=axes, max_points=max_points)
        for z, title in zip(z_frames, titles, strict=True)
    ]
    panels = [figure.axes[0] for figure in figures]
    limits = _common_limits(
        [np.asarray(panel.collections[0].get_offsets()) for panel in panels]
    )
    for panel in panels:
        # "datalim" would adjust the limits of each frame to the shape of its panel.
        panel.set_aspect("equal", adjustable="box")
        panel.set(xlim=limits[0], ylim=limits[1])
        panel.set_xlabel(f"first component of the {axes_from} frame")
        panel.set_ylabel(f"second component of the {axes_from} frame")
    _fix_layout(figures)
    return figures


def save_animation(
    path: str | Path,
    frames: "Sequence[matplotlib.figure.Figure]",
    *,
    seconds_per_frame: float = 0.5,
    dpi: float = 100,
) -> None:
    """Writes figures as one animated GIF, which loops, or as one MP4.

    Args:
      path: the file; its suffix chooses the format. .mp4 needs the program ffmpeg on
        PATH. An existing file is replaced.
      frames: figures of one size, in order of time. For an MP4 with an odd number of
        pixels, matplotlib makes them one pixel smaller.
      seconds_per_frame: duration of each frame in seconds, at least 0.02; a GIF rounds it
        down to hundredths.
      dpi: pixels per inch of the figures.

    Raises:
      ValueError: there are no frames, their sizes differ, a number is too small, or a
        file of this suffix cannot be written on this machine.
      ImportError: matplotlib, or Pillow for a GIF, is not installed.
    """
    from matplotlib.animation import FFMpegWriter

    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".gif", ".mp4"):
        raise ValueError(f"path must end in .gif or .mp4, got {str(path)!r}.")
    if suffix == ".mp4" and not FFMpegWriter.isAvailable():
        raise ValueError(
            f"path must end in .gif if the program ffmpeg is not on PATH, got {str(path)!r}; "
            "or install ffmpeg."
        )
    if not _SHORTEST_FRAME <= seconds_per_frame < np.inf:
        raise ValueError(
            f"seconds_per_frame must be finite and at least {_SHORTEST_FRAME}, "
            f"got {seconds_per_frame}."
        )
    if not 0 < dpi < np.inf:
        raise ValueError(f"dpi must be finite and above 0, got {dpi}.")
    if len(frames) == 0:
        raise ValueError("frames is empty.")
    sizes = [tuple(figure.get_size_inches().tolist()) for figure in frames]
    for index, size in enumerate(sizes):
        if size != sizes[0]:
            raise ValueError(
                f"frames must all have the same size, got {sizes[0]} and, at index "
                f"{index}, {size} inches."
            )
    if suffix == ".gif":
        _save_gif(path, frames, seconds_per_frame, dpi)
        return
    # Any: matplotlib's types require an int, but ffmpeg accepts fractions.
    fps: Any = 1 / seconds_per_frame
    writer = FFMpegWriter(fps)
    with writer.saving(frames[0], str(path), dpi):
        for figure in frames:
            writer.fig = figure
            writer.grab_frame()


def _common_limits(frames: Sequence[np.ndarray]) -> np.ndarray:
    """Computes limits for the points of all frames, [[x_low, x_high], [y_low, y_high]]."""
    # Per frame: pooled percentiles could cut off a whole frame of distant points.
    bounds = np.array([np.percentile(points, [0.5, 99.5], axis=0) for points in frames])
    low, high = bounds[:, 0].min(axis=0), bounds[:, 1].max(axis=0)
    half = 0.55 * (high - low).max() or 1.0
    center = (low + high) / 2
    return np.stack([center - half, center + half], axis=1)


def _fix_layout(figures: "Sequence[matplotlib.figure.Figure]") -> None:
    """Fixes the panel of every figure at the same position."""
    # The layout converges: each call moves the panel a quarter as far as the last one.
    tallest = max(
        figures, key=lambda figure: figure.axes[0].get_title("left").count("\n")
    )
    for _ in range(4):
        tallest.draw_without_rendering()
    place = tallest.axes[0].get_position(original=True)
    for figure in figures:
        figure.set_layout_engine("none")
        figure.axes[0].set_position(place)


def _save_gif(
    path: Path,
    frames: "Sequence[matplotlib.figure.Figure]",
    seconds_per_frame: float,
    dpi: float,
) -> None:
    """Writes all frames in the same 256 colors, so that static parts do not flicker."""
    from scipy.spatial import KDTree

    Image = require("PIL.Image", extra="plots", task="writing a GIF")
    samples = [_rendered(frames[i], dpi) for i in (0, len(frames) // 2, -1)]
    palette = _common_palette(np.concatenate(samples))
    # Pillow's own search for the nearest color is too coarse to keep white.
    nearest = KDTree(palette)
    images = []
    for figure in frames:
        pixels = _rendered(figure, dpi)
        colors, codes = _colors_of(pixels)
        chosen = nearest.query(colors)[1].astype(np.uint8)
        image = Image.fromarray(chosen[codes].reshape(pixels.shape[:2]))
        image.putpalette(palette.tobytes())
        images.append(image)
    images[0].save(
        path,
        save_all=True,
        append_images=images[1:],
        duration=int(1000 * seconds_per_frame),
        loop=0,
    )


def _rendered(figure: "matplotlib.figure.Figure", dpi: float) -> np.ndarray:
    """Renders a figure to bytes, shape [h, w, 3]."""
    from PIL import Image

    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return np.array(Image.open(buffer).convert("RGB"))


def _colors_of(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finds the distinct colors, [m, 3] bytes, and the index of each pixel's, [h * w]."""
    # One number per color: these sort a hundred times faster than rows.
    packed = pixels.reshape(-1, 3).astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1])
    distinct, codes = np.unique(packed, return_inverse=True)
    return np.stack([distinct >> 16, distinct >> 8 & 255, distinct & 255], 1), codes


def _common_palette(pixels: np.ndarray) -> np.ndarray:
    """Chooses 256 colors for pixels, [256, 3] bytes; the most frequent are unchanged."""
    from PIL import Image

    colors, codes = _colors_of(pixels)
    frequent = colors[np.argsort(-np.bincount(codes))[:32]].astype(np.uint8)
    # MAXCOVERAGE has the smallest maximum error of Pillow's methods.
    rest = Image.fromarray(pixels).quantize(256 - 32, Image.Quantize.MAXCOVERAGE)
    mixed = np.reshape(rest.getpalette() or [], (-1, 3)).astype(np.uint8)
    palette = np.zeros((256, 3), np.uint8)
    found = np.concatenate([frequent, mixed])[:256]
    palette[: len(found)] = found
    return palette
