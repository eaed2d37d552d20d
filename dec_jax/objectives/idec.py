"""Improved Deep Embedded Clustering (Guo, Gao, Liu and Yin, IJCAI 2017)."""

from dataclasses import dataclass

from jaxtyping import Array, Float

from dec_jax.clustering.assignment import log_soft_assignment
from dec_jax.networks.autoencoder import Params
from dec_jax.objectives.base import Batch
from dec_jax.objectives.joint import AutoencoderObjective
from dec_jax.objectives.losses import clustering_loss


@dataclass(frozen=True)
class IDEC(AutoencoderObjective):
    """Improved DEC: KL(P || Q) plus the reconstruction loss.

    Equation 6 of Guo, Gao, Liu and Yin, `Improved Deep Embedded Clustering with Local
    Structure Preservation <https://www.ijcai.org/proceedings/2017/243>`_, IJCAI 2017.

    Attributes:
      clustering_weight: gamma, the weight of KL(P || Q), finite and at least 0; the
        reconstruction has weight 1. The paper takes 0.1.
      alpha: degrees of freedom of the Student's t kernel, finite and above 0.

    Raises:
      ValueError: a setting is out of range.

    Example:
      >>> IDEC(clustering_weight=1.0).trained
      ('encoder', 'decoder', 'centroids')
    """

    clustering_weight: float = 0.1
    alpha: float = 1.0

    def clustering(
        self,
        params: Params,
        z: Float[Array, "b d"],
        batch: Batch,
        *,
        axis_name: str | None = None,
    ) -> tuple[Float[Array, ""], Params]:
        """KL(P || Q)."""
        log_q = log_soft_assignment(z, params["centroids"], alpha=self.alpha)
        return clustering_loss(batch.target, log_q, weights=batch.weights), {}
