"""Figures of embeddings, training and clusters; matplotlib is imported when one is drawn."""

from dec_jax.plots.animation import latent_frames, save_animation
from dec_jax.plots.curves import loss_curves, training_curves
from dec_jax.plots.embedding import (
    PrincipalAxes,
    confusion_matrix,
    latent_before_after,
    latent_scatter,
    principal_axes,
)
from dec_jax.plots.images import (
    cluster_members,
    decoded_centroids,
    reconstructions,
    samples_grid,
)

__all__ = [
    "PrincipalAxes",
    "cluster_members",
    "confusion_matrix",
    "decoded_centroids",
    "latent_before_after",
    "latent_frames",
    "latent_scatter",
    "loss_curves",
    "principal_axes",
    "reconstructions",
    "samples_grid",
    "save_animation",
    "training_curves",
]
