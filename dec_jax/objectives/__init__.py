"""Losses, and the clustering methods as settings: DEC, IDEC, DCN, VaDE and others."""

from dec_jax.objectives.acedec import ACeDeC
from dec_jax.objectives.aec import AEC
from dec_jax.objectives.base import Batch, CentroidObjective, Losses, Objective
from dec_jax.objectives.dcn import DCN, update_centroids
from dec_jax.objectives.dec import DEC
from dec_jax.objectives.den import DEN
from dec_jax.objectives.dkm import DKM
from dec_jax.objectives.idec import IDEC
from dec_jax.objectives.iic import IIC
from dec_jax.objectives.imsat import IMSAT
from dec_jax.objectives.joint import AutoencoderObjective
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
    "ACeDeC",
    "AEC",
    "AutoencoderObjective",
    "Batch",
    "CentroidObjective",
    "DCN",
    "DEC",
    "DEN",
    "DKM",
    "IDEC",
    "IIC",
    "IMSAT",
    "Losses",
    "MeanReconstruction",
    "Objective",
    "Reconstruction",
    "VaDE",
    "Variational",
    "clustering_loss",
    "kmeans_loss",
    "reconstruction_loss",
    "sample_vae",
    "update_centroids",
]
