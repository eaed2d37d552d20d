"""ACe/DeC: clusters in a part of the embedded space that training finds.

Miklautz, Bauer, Mautz, Tschiatschek, Boehm and Plant, `Details (Don't) Matter: Isolating
Cluster Information in Deep Embedded Spaces <https://doi.org/10.24963/ijcai.2021/389>`_,
IJCAI 2021.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dec_jax.clustering.assignment import soft_assignment, squared_distances
from dec_jax.networks.autoencoder import (
    Params,
    decode_batch,
    encode_batch,
    updated_batch_stats,
)
from dec_jax.networks.own import Network
from dec_jax.objectives.base import Batch, CentroidObjective, Losses, check_weight
from dec_jax.objectives.dcn import update_centroids
from dec_jax.objectives.losses import kmeans_loss
from dec_jax.objectives.reconstruction import reconstruction_loss


@dataclass(frozen=True)
class ACeDeC(CentroidObjective):
    """ACe/DeC: k-means in a learned part of z, and the rest of z for the reconstruction.

    A matrix V rotates z, and each rotated dimension has a share beta in the clustered space
    and 1 - beta in the shared space, which holds what all clusters have in common. The
    shared space has a single centroid, the mean m of all samples:

        clustered: sum_d beta_d ((z_i - mu_j) V)_d^2, with the nearest mu_j
        shared: sum_d (1 - beta_d) ((z_i - m) V)_d^2
        loss: reconstruction from z_i V V^T + lambda (clustered + shared) / 2

    The decoder sees z V V^T, which keeps V near a rotation without a constraint. Gradients
    train the network, V, and beta, the sigmoid of a logit for each dimension. Centroids
    are running means of their samples, as in DCN, and m is that of all. ACe/DeC does not
    use the target p.

    The first refresh fits V and beta: V holds the eigenvectors of the scatter between
    clusters, and beta has the closed form of two spaces, s_d^2 / (s_d^2 + c_d^2), where c_d
    and s_d are the mean squares of dimension d around the centroids and around m.

    Attributes:
      clustering_weight: lambda, finite and at least 0; the reconstruction, a mean over the
        values of a sample, has weight 1.
      initial_count: number of samples that each centroid counts as having seen before the
        first step, finite and above 0.
      alpha: degrees of freedom of the Student's t kernel of the reported q, finite and
        above 0.

    Raises:
      ValueError: a setting is out of range.

    Example:
      >>> from dec_jax import ACeDeC
      >>> ACeDeC().trained
      ('encoder', 'decoder', 'shared')
    """

    trained: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "shared")
    fitted: ClassVar[tuple[str, ...]] = ("shared",)
    clustering_weight: float = 1.0
    initial_count: float = 100.0
    alpha: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_weight(self.clustering_weight)
        if not 0 < self.initial_count < math.inf:
            raise ValueError(
                f"initial_count must be finite and above 0, got {self.initial_count}."
            )

    def extra_params(self, centroids: Float[Array, "k d"]) -> Params:
        """Counts as of DCN, no rotation, and dimensions that both spaces share evenly."""
        k, d = centroids.shape
        space = {
            "rotation": jnp.eye(d, dtype=jnp.float32),
            "logits": jnp.zeros(d, jnp.float32),
        }
        return {"counts": jnp.full(k, self.initial_count, jnp.float32), "shared": space}

    def fit(
        self, params: Params, z: Float[Array, "n d"], labels: Int[Array, " n"]
    ) -> Params:
        """Fits the rotation and the shares of the dimensions to z, given its clusters."""
        centroids = params["centroids"]
        sizes = jnp.bincount(labels, length=len(centroids))
        mean = z.mean(axis=0)
        between = (centroids - mean[None, :]) * jnp.sqrt(sizes / len(z))[:, None]
        scatter = jnp.matmul(between.T, between, precision="highest")
        rotation = jnp.linalg.eigh(scatter)[1]

        def squares(differences: jax.Array) -> jax.Array:
            rotated = jnp.matmul(differences, rotation, precision="highest")
            return (rotated**2).mean(axis=0)

        clustered, shared = squares(z - centroids[labels]), squares(z - mean[None, :])
        smallest = jnp.finfo(jnp.float32).tiny
        ratio = jnp.log(
            jnp.maximum(shared, smallest) / jnp.maximum(clustered, smallest)
        )
        return {"shared": {"rotation": rotation, "logits": 2 * ratio}}

    def assignment(self, params: Params, z: Float[Array, "n d"]) -> Float[Array, "n k"]:
        """Student's t soft assignment in the clustered space."""
        space = params["shared"]
        places = [clustered_space(space, it) for it in (z, params["centroids"])]
        return soft_assignment(*places, alpha=self.alpha)

    def loss(
        self,
        params: Params,
        batch: Batch,
        *,
        architecture: Network,
        axis_name: str | None = None,
    ) -> tuple[Losses, Params]:
        """Reconstruction plus lambda times the mean of both spaces' squared distances."""
        weights = batch.weights
        encoded = encode_batch(
            params,
            batch.x,
            architecture=architecture,
            weights=weights,
            axis_name=axis_name,
        )
        z, space = encoded.output, params["shared"]
        rotation = space["rotation"]
        back = jnp.matmul(jnp.matmul(z, rotation), rotation.T)
        decoded = decode_batch(
            params,
            back,
            architecture=architecture,
            weights=weights,
            axis_name=axis_name,
        )
        counts, centroids = params["counts"], params["centroids"]
        mean = (counts / counts.sum()) @ centroids
        here, places = (clustered_space(space, it) for it in (z, centroids))
        labels = squared_distances(here, places).argmin(axis=1)
        clustered = kmeans_loss(here, places, labels, weights=weights)
        rest = (jnp.matmul(z - mean[None, :], rotation)) ** 2
        shared = weights @ (rest * jax.nn.sigmoid(-space["logits"])[None, :]).sum(
            axis=1
        )
        clustering = (clustered + shared) / 2
        reconstruction = reconstruction_loss(batch.x, decoded.output, weights=weights)
        total = reconstruction + self.clustering_weight * clustering
        centroids, counts = update_centroids(
            centroids,
            counts,
            jax.lax.stop_gradient(z),
            labels,
            weights > 0,
            axis_name=axis_name,
        )
        stats = updated_batch_stats(params, encoder=encoded, decoder=decoded)
        new = {**stats, "centroids": centroids, "counts": counts}
        return Losses(total, clustering, reconstruction), new


def clustered_space(space: Params, z: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Rotates z, and weighs its dimensions so that squared distances are those of clusters.

    Args:
      space: the entry "shared" of the parameters of `ACeDeC`.
      z: embeddings, or centroids in their space.

    Returns:
      z V, each dimension times the root of its share beta.
    """
    # The root in log space: that of a share near 0 would have no finite gradient.
    scale = jnp.exp(0.5 * jax.nn.log_sigmoid(space["logits"]))
    return jnp.matmul(z, space["rotation"], precision="highest") * scale[None, :]
