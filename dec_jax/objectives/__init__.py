"""Losses, and the clustering methods as settings: DEC, IDEC, DCN, VaDE."""

from dec_jax.objectives.base import Losses, Objective
from dec_jax.objectives.dcn import DCN, move_centroids
from dec_jax.objectives.dec import DEC
from dec_jax.objectives.idec import IDEC
from dec_jax.objectives.losses import clustering_loss, kmeans_loss
from dec_jax.objectives.reconstruction import (
    MeanReconstruction,
    Reconstruction,
    Variational,
    reconstruction_loss,
    sample_vae,
)
from dec_jax.objectives.vade import VaDE

__all__ = [
    "DCN",
    "DEC",
    "IDEC",
    "Losses",
    "MeanReconstruction",
    "Objective",
    "Reconstruction",
    "VaDE",
    "Variational",
    "clustering_loss",
    "kmeans_loss",
    "move_centroids",
    "reconstruction_loss",
    "sample_vae",
]
