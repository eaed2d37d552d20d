"""Deep Clustering Network (Yang, Fu, Sidiropoulos and Hong, ICML 2017)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from dec_jax.clustering.assignment import (
    soft_assignment,
    squared_distances,
)
from dec_jax.networks.architecture import Architecture
from dec_jax.networks.autoencoder import Params, decode_batch, encode_batch
from dec_jax.objectives.base import (
    BatchSettings,
    Losses,
    check_alpha,
    check_plain,
    check_weight,
)
from dec_jax.objectives.losses import kmeans_loss
from dec_jax.objectives.reconstruction import moved_stats, reconstruction_loss


@dataclass(frozen=True)
class DCN:
    """Deep Clustering Network: k-means and reconstruction, centroids moved by counts.

    Algorithm 1 of Yang, Fu, Sidiropoulos and Hong, `Towards K-means-friendly Spaces
    <https://arxiv.org/abs/1610.04794>`_, ICML 2017: in each step every sample of the
    batch goes to its nearest centroid, the centroids move to the running mean of all
    that they were given so far (section 3.3), then the network takes a gradient step on
    the reconstruction and the distance to them. The target p is not looked at.

    Attributes:
      clustering_weight: lambda of equation 5, at least 0: half of it weighs the squared
        distance beside a reconstruction of weight 1. The reconstruction is a mean over
        the input's values here and a sum in the paper, whose 0.05 is 6e-5 on MNIST.
      initial_count: how many samples each centroid is taken to have been given before,
        above 0; the more, the slower it starts to move.
      alpha: degrees of freedom of the Student's t kernel of the reported q, above 0.
    """

    clustering_weight: float = 0.01
    initial_count: float = 100.0
    alpha: float = 1.0
    trained: ClassVar[tuple[str, ...]] = ("encoder", "decoder")
    fitted: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        check_weight(self.clustering_weight)
        if not 0 < self.initial_count < math.inf:
            raise ValueError(
                f"initial_count must be finite and above 0, got {self.initial_count}."
            )

    def check(
        self, x: Num[Array | np.ndarray, "n d"], architecture: Architecture
    ) -> None:
        """A variational network has a method of its own."""
        check_plain(self, architecture)

    def extra_params(self, centroids: Float[Array, "k d"]) -> Params:
        """How many samples each centroid was given."""
        return {"counts": jnp.full(len(centroids), self.initial_count, jnp.float32)}

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
        """Equation 5 of Yang et al. (2017), with the centroids moved first."""
        batch = BatchSettings(
            architecture=architecture, weights=weights, axis_name=axis_name
        )
        encoded = encode_batch(params, x, **batch)
        z = encoded.output
        fixed = jax.lax.stop_gradient(z)
        labels = squared_distances(fixed, params["centroids"]).argmin(axis=1)
        centroids, counts = move_centroids(
            params["centroids"],
            params["counts"],
            fixed,
            labels,
            weights > 0,
            axis_name=axis_name,
        )
        clustering = kmeans_loss(z, centroids, labels, weights=weights)
        decoded = decode_batch(params, z, **batch)
        reconstruction = reconstruction_loss(x, decoded.output, weights=weights)
        total = reconstruction + 0.5 * self.clustering_weight * clustering
        moved = moved_stats(params, encoder=encoded, decoder=decoded)
        return Losses(total, clustering, reconstruction), {
            **moved,
            "centroids": centroids,
            "counts": counts,
        }


def move_centroids(
    centroids: Float[Array, "k d"],
    counts: Float[Array, " k"],
    z: Float[Array, "b d"],
    labels: Int[Array, " b"],
    counted: Bool[Array, " b"],
    *,
    axis_name: str | None = None,
) -> tuple[Float[Array, "k d"], Float[Array, " k"]]:
    """Moves each centroid to the mean of all samples that it was given so far.

    One sample after the other, with the step 1 / count of equation 8 of Yang et al.
    (2017), comes to the same, in whatever order the samples of a batch are taken.

    Args:
      centroids: of the clusters.
      counts: samples that each was given before.
      z: embeddings of the batch.
      labels: the cluster of each.
      counted: False for the rows that only pad the batch.
      axis_name: mapped axis over which the batch is spread.

    Returns:
      The moved centroids and the counts after this batch.
    """
    members = jax.nn.one_hot(labels, len(centroids)) * counted[:, None]
    sums = jnp.matmul(members.T, z, precision="highest")
    new = members.sum(axis=0)
    if axis_name is not None:
        sums, new = jax.lax.psum((sums, new), axis_name)
    total = counts + new
    return centroids + (sums - new[:, None] * centroids) / total[:, None], total
