"""Deep Embedding Network (Huang, Huang, Wang and Wang, ICPR 2014)."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from dec_jax.clustering.assignment import squared_distances
from dec_jax.networks.autoencoder import Params
from dec_jax.networks.own import Network
from dec_jax.objectives.aec import means_of_clusters
from dec_jax.objectives.base import Batch, check_at_least_0
from dec_jax.objectives.joint import AutoencoderObjective
from dec_jax.objectives.reconstruction import weighted_mean
from dec_jax.validation import check_positive_int


@dataclass(frozen=True)
class DEN(AutoencoderObjective):
    """Deep Embedding Network: reconstruction, local neighborhoods, and sparse groups of z.

    Huang, Huang, Wang and Wang, `Deep Embedding Network for Clustering
    <https://doi.org/10.1109/ICPR.2014.272>`_, ICPR 2014:

        reconstruction
        + a mean over i of sum over neighbors j of exp(-||x_i - x_j||^2 / t) ||z_i - z_j||^2
        + b mean over i of sum over groups g of sqrt(s) ||z_i^g||

    The first penalty keeps neighbors together. The second one has z in groups of s
    dimensions, of which few shall be in use for a sample, as if each group stood for a
    cluster. No loss depends on clusters: the network is trained for z alone, and each
    refresh makes one step of k-means on z. DEN does not use the target p.

    A step sees a batch, so the neighbors are the nearest samples of the batch, and t is
    the mean squared distance of all neighbors in it; the paper takes neighbors among all
    samples, and a constant t.

    Attributes:
      locality_weight: a, finite and at least 0; the reconstruction, a mean over the values
        of a sample, has weight 1.
      sparsity_weight: b, finite and at least 0.
      group_size: s, at least 1; the network's embedding must be a multiple of it.
      n_neighbors: neighbors of each sample, at least 1.
      alpha: degrees of freedom of the Student's t kernel of the reported q, finite and
        above 0.

    Raises:
      ValueError: a setting is out of range.

    Example:
      >>> from dec_jax import DEN
      >>> DEN(group_size=3).n_neighbors
      2
    """

    trained: ClassVar[tuple[str, ...]] = ("encoder", "decoder")
    fitted: ClassVar[tuple[str, ...]] = ("centroids",)
    refitted: ClassVar[bool] = True
    locality_weight: float = 0.001
    sparsity_weight: float = 0.001
    group_size: int = 2
    n_neighbors: int = 2
    alpha: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("locality_weight", "sparsity_weight"):
            check_at_least_0(name, getattr(self, name))
        for name in ("group_size", "n_neighbors"):
            check_positive_int(name, getattr(self, name))

    def check(self, x: Num[Array | np.ndarray, "n d"], architecture: Network) -> None:
        """Raises ValueError unless z falls into groups, or if the network does not fit."""
        super().check(x, architecture)
        width = architecture.embedding_dim
        if width % self.group_size:
            raise ValueError(
                f"group_size must divide the width of the embedding, {width}, got "
                f"{self.group_size}; use an embedding of {width - width % self.group_size}"
                " or another group_size."
            )

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
        """Both penalties with their weights."""
        shares = neighbor_shares(batch.x, batch.weights > 0, self.n_neighbors)
        locality = weighted_mean(
            (shares * squared_distances(z, z)).sum(axis=1), batch.weights
        )
        sparsity = weighted_mean(group_norms(z, self.group_size), batch.weights)
        return self.locality_weight * locality + self.sparsity_weight * sparsity, {}


def neighbor_shares(
    x: Float[Array, "b d"], counted: Bool[Array, " b"], n_neighbors: int
) -> Float[Array, "b b"]:
    """Weighs the nearest other samples of each sample by a heat kernel.

    Args:
      x: samples.
      counted: False for rows that only pad the batch.
      n_neighbors: number of neighbors; all others of a smaller batch.

    Returns:
      exp(-distance^2 / t) for the neighbors of each row, and 0 elsewhere. t is the mean
      squared distance of neighbors.
    """
    squares = squared_distances(x, x)
    others = counted[None, :] & ~jnp.eye(len(x), dtype=bool)
    number = min(n_neighbors, len(x) - 1)
    squares = jnp.where(others, squares, jnp.inf)
    nearest, index = jax.lax.top_k(-squares, number)
    there = jnp.isfinite(nearest) & counted[:, None]
    nearest = jnp.where(there, -nearest, 0)
    mean = nearest.sum() / jnp.maximum(there.sum(), 1)
    kernel = jnp.exp(-nearest / jnp.maximum(mean, 1e-30)) * there
    rows = jnp.arange(len(x))[:, None]
    return jnp.zeros_like(squares).at[rows, index].set(kernel)


def group_norms(z: Float[Array, "b d"], group_size: int) -> Float[Array, " b"]:
    """Sums the norms of the groups of z, each times the root of its size (group lasso)."""
    groups = z.reshape(len(z), -1, group_size)
    # The constant gives a norm of 0 a finite gradient.
    norms = jnp.sqrt((groups**2).sum(axis=2) + 1e-12)
    return group_size**0.5 * norms.sum(axis=1)
