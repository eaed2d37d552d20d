"""Auto-encoder based clustering (Song, Liu, Huang, Wang and Tan, 2013)."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dec_jax.clustering.assignment import squared_distances
from dec_jax.clustering.spectral import cluster_means
from dec_jax.networks.autoencoder import Params
from dec_jax.objectives.base import Batch
from dec_jax.objectives.joint import AutoencoderObjective
from dec_jax.objectives.losses import kmeans_loss


@dataclass(frozen=True)
class AEC(AutoencoderObjective):
    """Auto-encoder based clustering: reconstruction plus distance to the nearest centroid.

    Song, Liu, Huang, Wang and Tan, `Auto-encoder Based Data Clustering
    <https://doi.org/10.1007/978-3-642-41822-8_15>`_, CIARP 2013:

        mean over i of ||x_i - x_hat_i||^2 + lambda min_j ||z_i - mu_j||^2

    Gradients train the network alone. Each refresh sets mu_j to the mean of z over the
    samples that the refresh before put into cluster j, and then assigns all samples anew; an
    empty cluster keeps its centroid. DCN differs in its centroids, which move in each step.
    AEC does not use the target p.

    Attributes:
      clustering_weight: lambda, finite and at least 0; the reconstruction has weight 1. The
        reconstruction is a mean over the values of a sample here, and a sum above.
      alpha: degrees of freedom of the Student's t kernel of the reported q, finite and
        above 0.

    Raises:
      ValueError: a setting is out of range.

    Example:
      >>> from dec_jax import AEC
      >>> AEC()
      AEC(clustering_weight=0.0001, alpha=1.0)
    """

    trained: ClassVar[tuple[str, ...]] = ("encoder", "decoder")
    fitted: ClassVar[tuple[str, ...]] = ("centroids",)
    refitted: ClassVar[bool] = True
    clustering_weight: float = 0.0001
    alpha: float = 1.0

    def fit(
        self, params: Params, z: Float[Array, "n d"], labels: Int[Array, " n"]
    ) -> Params:
        """Computes the mean of each cluster; an empty one keeps its centroid."""
        return {"centroids": means_of_clusters(params["centroids"], z, labels)}

    def clustering(
        self,
        params: Params,
        z: Float[Array, "b d"],
        batch: Batch,
        *,
        axis_name: str | None = None,
    ) -> tuple[Float[Array, ""], Params]:
        """Squared distance to the nearest centroid."""
        centroids = params["centroids"]
        labels = squared_distances(z, centroids).argmin(axis=1)
        return kmeans_loss(z, centroids, labels, weights=batch.weights), {}


def means_of_clusters(
    centroids: Float[Array, "k d"], z: Float[Array, "n d"], labels: Int[Array, " n"]
) -> Float[Array, "k d"]:
    """Computes the mean of each cluster; an empty one keeps its centroid.

    Args:
      centroids: centroids before.
      z: embeddings of all samples.
      labels: the cluster of each embedding.

    Returns:
      The means.
    """
    k = len(centroids)
    taken = (labels[:, None] == jnp.arange(k)[None]).any(axis=0)
    return jnp.where(taken[:, None], cluster_means(z, labels, k), centroids)
