"""Improved Deep Embedded Clustering (Guo, Gao, Liu and Yin, IJCAI 2017)."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Num

from dec_jax.clustering.assignment import log_soft_assignment, soft_assignment
from dec_jax.networks.architecture import Architecture
from dec_jax.networks.autoencoder import Params, decode_batch, encode_batch
from dec_jax.objectives.base import (
    BatchSettings,
    Losses,
    check_alpha,
    check_plain,
    check_weight,
)
from dec_jax.objectives.losses import clustering_loss
from dec_jax.objectives.reconstruction import moved_stats, reconstruction_loss


@dataclass(frozen=True)
class IDEC:
    """Improved DEC: the reconstruction is kept as a second term.

    Equation 6 of Guo, Gao, Liu and Yin, `Improved Deep Embedded Clustering with Local
    Structure Preservation <https://www.ijcai.org/proceedings/2017/243>`_, IJCAI 2017.

    Attributes:
      clustering_weight: gamma, the weight of KL(P || Q) beside a reconstruction of
        weight 1; the paper takes 0.1.
      alpha: degrees of freedom of the Student's t kernel, above 0.
    """

    clustering_weight: float = 0.1
    alpha: float = 1.0
    trained: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "centroids")
    fitted: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        check_weight(self.clustering_weight)

    def check(
        self, x: Num[Array | np.ndarray, "n d"], architecture: Architecture
    ) -> None:
        """A variational network has a method of its own."""
        check_plain(self, architecture)

    def extra_params(self, centroids: Float[Array, "k d"]) -> Params:
        """None."""
        return {}

    def fit(
        self, z: Float[Array, "n d"], labels: Int[Array, " n"], n_clusters: int
    ) -> Params:
        """None."""
        return {}

    def assignment(self, params: Params, z: Float[Array, "n d"]) -> Float[Array, "n k"]:
        """Equation 1 of Xie et al. (2016)."""
        return soft_assignment(z, params["centroids"], alpha=self.alpha)

    def loss(
        self,
        params: Params,
        key: jax.Array,
        x: Float[Array, "b d"],
        p: Float[Array, "b k"],
        weights: Float[Array, " b"],
        *,
        architecture: Architecture,
        axis_name: str | None = None,
    ) -> tuple[Losses, Params]:
        """Reconstruction of what the encoder saw, plus gamma times KL(P || Q)."""
        batch = BatchSettings(
            architecture=architecture, weights=weights, axis_name=axis_name
        )
        encoded = encode_batch(params, x, **batch)
        log_q = log_soft_assignment(
            encoded.output, params["centroids"], alpha=self.alpha
        )
        clustering = clustering_loss(p, log_q, weights=weights)
        decoded = decode_batch(params, encoded.output, **batch)
        reconstruction = reconstruction_loss(x, decoded.output, weights=weights)
        total = reconstruction + self.clustering_weight * clustering
        losses = Losses(total, clustering, reconstruction)
        return losses, moved_stats(params, encoder=encoded, decoder=decoded)
