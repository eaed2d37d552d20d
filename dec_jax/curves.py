"""Figures of losses over epochs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dec_jax.plots import COLOURS, new_figure
from dec_jax.validation import check_positive_int

if TYPE_CHECKING:
    import matplotlib.figure


def loss_curves(
    train: Sequence[float] | np.ndarray,
    validation: Sequence[float] | np.ndarray | None = None,
    best_epoch: int | None = None,
    *,
    title: str = "Pretraining",
) -> "matplotlib.figure.Figure":
    """Draws the losses of training and of validation over each other.

    Args:
      train: loss of each epoch on the samples trained on; NaN leaves a gap.
      validation: loss of each epoch on held-out samples; NaN where none was measured,
        over which the line goes on; NaN throughout is as None.
      best_epoch: the epoch whose parameters were kept, counted from 1 as on the axis;
        marked on the curve of validation, or on that of training without one.
      title: stands above the panel.

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
    for (name, values), colour in zip(curves.items(), COLOURS, strict=False):
        seen = ~np.isnan(values) if name == "validation" else np.full(len(losses), True)
        marker = "o" if seen.sum() <= 30 else ""
        (line,) = panel.plot(epochs[seen], values[seen], color=colour, label=name)
        line.set(marker=marker, markersize=3.5)
    if best_epoch is not None:
        name = f"best epoch, {best_epoch}"
        panel.axvline(best_epoch, color="0.5", ls="--", lw=1, zorder=1)
        height = list(curves.values())[-1][best_epoch - 1]
        panel.plot([best_epoch], [height], "o", color=COLOURS[2], ms=8, label=name)
    panel.legend(fontsize=9, loc="upper right", framealpha=1, edgecolor="none")
    panel.set_title(title, loc="left")
    panel.set_xlabel("epoch")
    panel.set_ylabel("loss")
    ticks = MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
    panel.xaxis.set_major_locator(ticks)
    panel.grid(alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)
    return figure
