"""Deep Clustering Network (Yang, Fu, Sidiropoulos and Hong, ICML 2017)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from dec_jax.clustering.assignment import squared_distances
from dec_jax.networks.autoencoder import Params
from dec_jax.objectives.base import Batch
from dec_jax.objectives.joint import AutoencoderObjective
from dec_jax.objectives.losses import kmeans_loss


@dataclass(frozen=True)
class DCN(AutoencoderObjective):
    """Deep Clustering Network: k-means on z plus the reconstruction loss.

    Algorithm 1 of Yang, Fu, Sidiropoulos and Hong, `Towards K-means-friendly Spaces
    <https://arxiv.org/abs/1610.04794>`_, ICML 2017. In each step every sample of the
    batch is assigned to its nearest centroid. Each centroid becomes the running mean of
    all samples that were assigned to it so far (section 3.3). Then the network takes a
    gradient step on the reconstruction and on the distance to these centroids. DCN does
    not use the target p.

    Attributes:
      clustering_weight: lambda of equation 5, finite and at least 0. Half of it weighs
        the squared distance; the reconstruction has weight 1. The reconstruction is a
        mean over the values of a sample here and a sum in the paper, so that the
        paper's 0.05 corresponds to 6e-5 on MNIST.
      initial_count: number of samples that each centroid counts as having seen before
        the first step, finite and above 0. Centroids start slower if it is larger.
      alpha: degrees of freedom of the Student's t kernel of the reported q, finite and
        above 0.

    Raises:
      ValueError: a setting is out of range.

    Example:
      >>> DCN(clustering_weight=0.1).weight
      0.05
    """

    trained: ClassVar[tuple[str, ...]] = ("encoder", "decoder")
    clustering_weight: float = 0.01
    initial_count: float = 100.0
    alpha: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.initial_count < math.inf:
            raise ValueError(
                f"initial_count must be finite and above 0, got {self.initial_count}."
            )

    @property
    def weight(self) -> float:
        """Half of lambda, as in equation 5 of Yang et al. (2017)."""
        return 0.5 * self.clustering_weight

    def extra_params(self, centroids: Float[Array, "k d"]) -> Params:
        """Number of samples assigned to each centroid so far."""
        return {"counts": jnp.full(len(centroids), self.initial_count, jnp.float32)}

    def clustering(
        self,
        params: Params,
        z: Float[Array, "b d"],
        batch: Batch,
        *,
        axis_name: str | None = None,
    ) -> tuple[Float[Array, ""], Params]:
        """Squared distance to each sample's centroid, after the update of the centroids."""
        fixed = jax.lax.stop_gradient(z)
        labels = squared_distances(fixed, params["centroids"]).argmin(axis=1)
        centroids, counts = update_centroids(
            params["centroids"],
            params["counts"],
            fixed,
            labels,
            batch.weights > 0,
            axis_name=axis_name,
        )
        clustering = kmeans_loss(z, centroids, labels, weights=batch.weights)
        return clustering, {"centroids": centroids, "counts": counts}


def update_centroids(
    centroids: Float[Array, "k d"],
    counts: Float[Array, " k"],
    z: Float[Array, "b d"],
    labels: Int[Array, " b"],
    counted: Bool[Array, " b"],
    *,
    axis_name: str | None = None,
) -> tuple[Float[Array, "k d"], Float[Array, " k"]]:
    """Updates each centroid to the mean of all samples assigned to it so far.

    Equation 8 of Yang et al. (2017) takes one sample after the other with the step
    1 / count. The result is the same, whatever the order of samples in the batch.

    Args:
      centroids: centroids before the batch.
      counts: number of samples assigned to each centroid before.
      z: embeddings of the batch.
      labels: the cluster of each embedding.
      counted: False for rows that only pad the batch.
      axis_name: mapped axis over which the batch is spread.

    Returns:
      The updated centroids, and the counts after this batch.
    """
    members = jax.nn.one_hot(labels, len(centroids)) * counted[:, None]
    sums = jnp.matmul(members.T, z, precision="highest")
    new = members.sum(axis=0)
    if axis_name is not None:
        sums, new = jax.lax.psum((sums, new), axis_name)
    total = counts + new
    return centroids + (sums - new[:, None] * centroids) / total[:, None], total
