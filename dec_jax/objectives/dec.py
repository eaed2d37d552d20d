"""Deep Embedded Clustering (Xie, Girshick and Farhadi, ICML 2016)."""

from dataclasses import dataclass

import jax.numpy as jnp

from dec_jax.clustering.assignment import log_soft_assignment
from dec_jax.networks.autoencoder import Params, encode_batch, updated_batch_stats
from dec_jax.networks.own import Network
from dec_jax.objectives.base import Batch, CentroidObjective, Losses
from dec_jax.objectives.losses import clustering_loss


@dataclass(frozen=True)
class DEC(CentroidObjective):
    """Deep Embedded Clustering: KL(P || Q) alone, without the decoder.

    Xie, Girshick and Farhadi, `Unsupervised Deep Embedding for Clustering Analysis
    <https://arxiv.org/abs/1511.06335>`_, ICML 2016.

    Attributes:
      alpha: degrees of freedom of the Student's t kernel, finite and above 0.

    Raises:
      ValueError: alpha is out of range.

    Example:
      >>> from dec_jax import DEC
      >>> DEC()
      DEC(alpha=1.0)
      >>> DEC().trained
      ('encoder', 'centroids')
    """

    alpha: float = 1.0

    def loss(
        self,
        params: Params,
        batch: Batch,
        *,
        architecture: Network,
        axis_name: str | None = None,
    ) -> tuple[Losses, Params]:
        """KL(P || Q), equation 2 of Xie et al. (2016), averaged over the batch."""
        encoded = encode_batch(
            params,
            batch.x,
            architecture=architecture,
            weights=batch.weights,
            axis_name=axis_name,
        )
        log_q = log_soft_assignment(
            encoded.output, params["centroids"], alpha=self.alpha
        )
        clustering = clustering_loss(batch.target, log_q, weights=batch.weights)
        losses = Losses(clustering, clustering, jnp.zeros_like(clustering))
        return losses, updated_batch_stats(params, encoder=encoded)
