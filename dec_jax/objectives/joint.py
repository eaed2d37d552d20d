"""Base of the methods that train the autoencoder on the reconstruction and a loss of z."""

from typing import ClassVar

from jaxtyping import Array, Float

from dec_jax.networks.autoencoder import Params, autoencode_batch
from dec_jax.networks.own import Network
from dec_jax.objectives.base import Batch, CentroidObjective, Losses, check_weight
from dec_jax.objectives.reconstruction import reconstruction_loss


class AutoencoderObjective(CentroidObjective):
    """Base class of methods that add a weighted loss of z to the reconstruction.

    A subclass is a frozen dataclass with a field `clustering_weight` and a method
    `clustering`. Its loss is the reconstruction of the encoder's input, with weight 1, plus
    `weight` times the clustering loss. It overrides `trained` if gradients do not update
    the centroids.

    Attributes:
      clustering_weight: factor of the clustering loss, finite and at least 0.

    Raises:
      ValueError: the weight is out of range.

    Example:
      >>> from dec_jax import DCN, IDEC
      >>> IDEC(clustering_weight=0.2).weight, DCN(clustering_weight=0.2).weight
      (0.2, 0.1)
    """

    trained: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "centroids")
    clustering_weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_weight(self.clustering_weight)

    @property
    def weight(self) -> float:
        """Factor of the clustering loss in the total loss."""
        return self.clustering_weight

    def clustering(
        self,
        params: Params,
        z: Float[Array, "b d"],
        batch: Batch,
        *,
        axis_name: str | None = None,
    ) -> tuple[Float[Array, ""], Params]:
        """Computes the clustering loss of a batch, and values that no gradient updates.

        Args:
          params: all parameters, with "centroids" [k, d].
          z: embeddings of `batch.x`, [b, d].
          batch: the minibatch.
          axis_name: mapped axis over which the batch is spread.

        Returns:
          The loss, a weighted mean over the batch, and the new values of parameters, {} if
          there are none.

        Raises:
          NotImplementedError: the subclass does not define it.
        """
        raise NotImplementedError(f"{type(self).__name__} must define clustering.")

    def loss(
        self,
        params: Params,
        batch: Batch,
        *,
        architecture: Network,
        axis_name: str | None = None,
    ) -> tuple[Losses, Params]:
        """Reconstruction of the encoder's input, plus the weighted clustering loss."""
        z, x_hat, batch_stats = autoencode_batch(
            params,
            batch.x,
            architecture=architecture,
            weights=batch.weights,
            axis_name=axis_name,
        )
        clustering, new = self.clustering(params, z, batch, axis_name=axis_name)
        reconstruction = reconstruction_loss(batch.x, x_hat, weights=batch.weights)
        total = reconstruction + self.weight * clustering
        return Losses(total, clustering, reconstruction), {**batch_stats, **new}
