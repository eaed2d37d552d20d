"""Improved Deep Embedded Clustering (Guo, Gao, Liu and Yin, IJCAI 2017)."""

from dataclasses import dataclass
from typing import ClassVar

from dec_jax.clustering.assignment import log_soft_assignment
from dec_jax.networks.autoencoder import Params, autoencode_batch
from dec_jax.networks.own import Network
from dec_jax.objectives.base import Batch, CentroidObjective, Losses, check_weight
from dec_jax.objectives.losses import clustering_loss
from dec_jax.objectives.reconstruction import reconstruction_loss


@dataclass(frozen=True)
class IDEC(CentroidObjective):
    """Improved DEC: KL(P || Q) plus the reconstruction loss.

    Equation 6 of Guo, Gao, Liu and Yin, `Improved Deep Embedded Clustering with Local
    Structure Preservation <https://www.ijcai.org/proceedings/2017/243>`_, IJCAI 2017.

    Attributes:
      clustering_weight: gamma, the weight of KL(P || Q), finite and at least 0; the
        reconstruction has weight 1. The paper takes 0.1.
      alpha: degrees of freedom of the Student's t kernel, finite and above 0.

    Raises:
      ValueError: a setting is out of range.
    """

    trained: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "centroids")
    clustering_weight: float = 0.1
    alpha: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_weight(self.clustering_weight)

    def loss(
        self,
        params: Params,
        batch: Batch,
        *,
        architecture: Network,
        axis_name: str | None = None,
    ) -> tuple[Losses, Params]:
        """Reconstruction of the encoder's input, plus gamma times KL(P || Q)."""
        z, x_hat, batch_stats = autoencode_batch(
            params,
            batch.x,
            architecture=architecture,
            weights=batch.weights,
            axis_name=axis_name,
        )
        log_q = log_soft_assignment(z, params["centroids"], alpha=self.alpha)
        clustering = clustering_loss(batch.target, log_q, weights=batch.weights)
        reconstruction = reconstruction_loss(batch.x, x_hat, weights=batch.weights)
        total = reconstruction + self.clustering_weight * clustering
        return Losses(total, clustering, reconstruction), batch_stats
