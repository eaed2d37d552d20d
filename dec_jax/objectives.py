"""What a clustering step minimises: the losses, and the methods as settings."""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol, TypedDict, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Num

from dec_jax.architecture import Architecture
from dec_jax.assignment import (
    log_soft_assignment,
    soft_assignment,
    squared_distances,
)
from dec_jax.autoencoder import Params, decode_batch, encode_batch
from dec_jax.reconstruction import moved_stats, reconstruction_loss, weighted_mean


def clustering_loss(
    p: Float[Array, "b k"],
    log_q: Float[Array, "b k"],
    *,
    weights: Float[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """KL(P || Q), equation 2 of Xie et al. (2016): summed over clusters, averaged over samples.

    Args:
      p: target distribution of the samples, held fixed.
      log_q: logarithm of their soft assignment.
      weights: share of each sample in the mean; 1 / b if not given.

    Returns:
      The divergence in nats, at least 0; a p of 0 adds nothing.
    """
    return weighted_mean(optax.losses.kl_divergence(log_q, p), weights)


def kmeans_loss(
    z: Float[Array, "b d"],
    centroids: Float[Array, "k d"],
    labels: Int[Array, " b"],
    *,
    weights: Float[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """Squared distance to the assigned centroid, summed over d, averaged over samples.

    Args:
      z: embeddings.
      centroids: of the clusters.
      labels: the cluster of each embedding.
      weights: share of each sample in the mean; 1 / b if not given.

    Returns:
      The loss, at least 0: k-means' inertia a sample.
    """
    return weighted_mean(((z - centroids[labels]) ** 2).sum(axis=1), weights)


class Losses(NamedTuple):
    """The terms of one step's loss, each a scalar."""

    total: jax.Array
    clustering: jax.Array
    reconstruction: jax.Array


@runtime_checkable
class Objective(Protocol):
    """What the training loop asks of a method.

    `trained` names the parameters that the gradient moves; what else moves, `loss`
    returns: running averages of batch normalisation, and centroids that move by counts.
    `fitted` names those that `fit` gives, () where nothing is fitted.
    """

    trained: ClassVar[tuple[str, ...]]
    fitted: ClassVar[tuple[str, ...]]

    @property
    def alpha(self) -> float:
        """Degrees of freedom of the Student's t kernel, 1 where there is none."""

    def check(
        self, x: Num[Array | np.ndarray, "n d"], architecture: Architecture
    ) -> None:
        """Raises ValueError if the method does not take this network or these samples."""

    def extra_params(self, centroids: Float[Array, "k d"]) -> Params:
        """Entries of the parameters beside the network's and "centroids"."""

    def fit(
        self, z: Float[Array, "n d"], labels: Int[Array, " n"], n_clusters: int
    ) -> Params:
        """Entries that the first refresh fits to z, from the labels to start with."""

    def assignment(self, params: Params, z: Float[Array, "n d"]) -> Float[Array, "n k"]:
        """q, the share of each cluster in each embedding."""

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
        """The loss of a batch whose targets are `p`, and what moves by rule."""


@dataclass(frozen=True)
class DEC:
    """Deep Embedded Clustering: KL(P || Q) alone, the decoder dropped (Xie et al., 2016).

    Attributes:
      alpha: degrees of freedom of the Student's t kernel, above 0.
    """

    alpha: float = 1.0
    trained: ClassVar[tuple[str, ...]] = ("encoder", "centroids")
    fitted: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        _check_alpha(self.alpha)

    def check(
        self, x: Num[Array | np.ndarray, "n d"], architecture: Architecture
    ) -> None:
        """A variational network has a method of its own."""
        _check_plain(self, architecture)

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
        """Equation 2 of Xie et al. (2016), averaged over the batch."""
        encoded = encode_batch(
            params, x, architecture=architecture, weights=weights, axis_name=axis_name
        )
        log_q = log_soft_assignment(
            encoded.output, params["centroids"], alpha=self.alpha
        )
        clustering = clustering_loss(p, log_q, weights=weights)
        losses = Losses(clustering, clustering, jnp.zeros_like(clustering))
        return losses, moved_stats(params, encoder=encoded)


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
        _check_alpha(self.alpha)
        _check_weight(self.clustering_weight)

    def check(
        self, x: Num[Array | np.ndarray, "n d"], architecture: Architecture
    ) -> None:
        """A variational network has a method of its own."""
        _check_plain(self, architecture)

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
        batch = _Batch(architecture=architecture, weights=weights, axis_name=axis_name)
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
        _check_alpha(self.alpha)
        _check_weight(self.clustering_weight)
        if not 0 < self.initial_count < math.inf:
            raise ValueError(
                f"initial_count must be finite and above 0, got {self.initial_count}."
            )

    def check(
        self, x: Num[Array | np.ndarray, "n d"], architecture: Architecture
    ) -> None:
        """A variational network has a method of its own."""
        _check_plain(self, architecture)

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
        batch = _Batch(architecture=architecture, weights=weights, axis_name=axis_name)
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


class _Batch(TypedDict):
    """What all passes of a batch share."""

    architecture: Architecture
    weights: jax.Array
    axis_name: str | None


def _check_weight(weight: float) -> None:
    if not 0 <= weight < math.inf:
        raise ValueError(
            f"clustering_weight must be finite and at least 0, got {weight}."
        )


def _check_alpha(alpha: float) -> None:
    if not 0 < alpha < math.inf:
        raise ValueError(f"alpha must be finite and above 0, got {alpha}.")


def _check_plain(objective: Objective, architecture: Architecture) -> None:
    if architecture.variational:
        raise ValueError(
            f"{type(objective).__name__} needs an architecture with variational=False; "
            "cluster with this one by VaDE()."
        )
