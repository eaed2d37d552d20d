"""Figures of losses, label changes and accuracy over epochs and intervals."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dec_jax.plots.embedding import COLORS, new_figure
from dec_jax.validation import check_positive_int

if TYPE_CHECKING:
    import matplotlib.figure


def training_curves(
    pretraining_loss: Sequence[float] | np.ndarray | None,
    clustering_loss: Sequence[float] | np.ndarray | None,
    label_change: Sequence[float] | np.ndarray | None,
    *,
    tolerance: float | None = None,
    accuracy: Sequence[float] | np.ndarray | None = None,
) -> "matplotlib.figure.Figure":
    """Draws the curves of a run next to each other, one panel for each given curve.

    Args:
      pretraining_loss: loss of each epoch of pretraining.
      clustering_loss: loss of each interval between two refreshes of p.
      label_change: share of samples whose cluster changed at each refresh, in [0, 1], on
        a log scale; zeros are triangles at the lower edge.
      tolerance: share below which training stops, drawn as a line.
      accuracy: ACC at each refresh, in [0, 1].

    Returns:
      The figure. NaN leaves a gap.

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
    figure = new_figure(3.9 * len(given), 3.2)
    panels = figure.subplots(1, len(given), squeeze=False)[0]
    for panel, (title, x_label, y_label, values) in zip(panels, given, strict=True):
        y = np.asarray(values, np.float64)
        if title == "Labels that changed":
            _draw_label_change(panel, y, tolerance)
        else:
            _draw_curve(panel, y)
        panel.set_title(title, loc="left")
        panel.set_xlabel(x_label)
        panel.set_ylabel(y_label)
        panel.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    return figure


def loss_curves(
    train: Sequence[float] | np.ndarray,
    validation: Sequence[float] | np.ndarray | None = None,
    best_epoch: int | None = None,
    *,
    title: str = "Pretraining",
) -> "matplotlib.figure.Figure":
    """Draws the training and validation losses in one panel.

    Args:
      train: loss of each epoch on the training samples; NaN leaves a gap.
      validation: loss of each epoch on held-out samples; NaN if it was not measured, and
        the line skips those epochs. NaN in all epochs is the same as None.
      best_epoch: epoch whose parameters were kept, counted from 1 as on the axis; marked
        on the validation curve, or on the training curve without one.
      title: title above the panel.

    Returns:
      The figure.

    Raises:
      TypeError, ValueError: a curve is empty or not of rank 1, their lengths differ, or
        there is no such epoch.
    """
    from matplotlib.ticker import MaxNLocator

    losses = np.asarray(train, np.float64)
    if losses.ndim != 1 or len(losses) == 0:
        raise ValueError(
            "train must have shape [epochs] and hold at least one loss, got shape "
            f"{losses.shape}."
        )
    curves = {"training": losses}
    if validation is not None:
        held_out = np.asarray(validation, np.float64)
        if held_out.shape != losses.shape:
            raise ValueError(
                f"validation must have shape {losses.shape}, one loss for each epoch (NaN "
                f"where none was measured), got shape {held_out.shape}."
            )
        if not np.isnan(held_out).all():
            curves["validation"] = held_out
    if best_epoch is not None:
        check_positive_int("best_epoch", best_epoch)
        if best_epoch > len(losses):
            raise ValueError(
                f"best_epoch must be from 1 to {len(losses)}, the number of epochs, "
                f"got {best_epoch}."
            )
    figure = new_figure(5.4, 3.6)
    panel = figure.subplots()
    epochs = np.arange(1, len(losses) + 1)
    for (name, values), color in zip(curves.items(), COLORS, strict=False):
        seen = ~np.isnan(values) if name == "validation" else np.full(len(losses), True)
        marker = "o" if seen.sum() <= 30 else ""
        (line,) = panel.plot(epochs[seen], values[seen], color=color, label=name)
        line.set(marker=marker, markersize=3.5)
    if best_epoch is not None:
        name = f"best epoch, {best_epoch}"
        panel.axvline(best_epoch, color="0.5", ls="--", lw=1, zorder=1)
        height = list(curves.values())[-1][best_epoch - 1]
        panel.plot([best_epoch], [height], "o", color=COLORS[2], ms=8, label=name)
    panel.legend(fontsize=9, loc="upper right", framealpha=1, edgecolor="none")
    panel.set_title(title, loc="left")
    panel.set_xlabel("epoch")
    panel.set_ylabel("loss")
    ticks = MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
    panel.xaxis.set_major_locator(ticks)
    panel.grid(alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_curve(panel: "matplotlib.axes.Axes", y: np.ndarray) -> None:
    """Draws one curve, with a marker at each value if there are at most 30."""
    marker = "o" if len(y) <= 30 else ""
    steps = np.arange(1, len(y) + 1)
    panel.plot(steps, y, color=COLORS[0], marker=marker, markersize=3.5)


def _draw_label_change(
    panel: "matplotlib.axes.Axes", y: np.ndarray, tolerance: float | None
) -> None:
    """Draws the share of changed labels on a log scale, zeros as triangles."""
    lowest = min([*y[y > 0], tolerance or 1.0])
    floor = 10.0 ** np.floor(np.log10(lowest / 2))
    _draw_curve(panel, np.where(y == 0, np.nan, y))
    panel.set_yscale("log")
    panel.set_ylim(floor, 2)
    panel.set_xlim(0.5, len(y) + 0.5)
    zeros = np.flatnonzero(y == 0) + 1
    if len(zeros):
        heights = np.full(len(zeros), floor * 1.3)
        panel.plot(zeros, heights, "v", color=COLORS[0], label="none changed")
    if tolerance:
        name = f"tolerance {tolerance:g}"
        panel.axhline(tolerance, color=COLORS[2], ls="--", lw=1, label=name)
    if tolerance or len(zeros):
        panel.legend(frameon=False, fontsize=8, loc="upper right")
