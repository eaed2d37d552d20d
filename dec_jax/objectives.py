"""What a clustering step minimises: the losses, and the methods as settings."""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from dec_jax.architecture import Architecture
from dec_jax.assignment import log_soft_assignment
from dec_jax.autoencoder import Params, decode, encode


def reconstruction_loss(
    x: Float[Array, "b d"],
    x_hat: Float[Array, "b d"],
    *,
    weights: Float[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """Mean squared error, averaged over the values of a sample and over samples.

    Args:
      x: what should be reconstructed.
      x_hat: the reconstruction.
      weights: share of each sample in the mean; 1 / b if not given.

    Returns:
      The loss, at least 0.
    """
    return _mean(((x - x_hat) ** 2).mean(axis=1), weights)


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
    return _mean(optax.losses.kl_divergence(log_q, p), weights)


def _mean(
    losses: Float[Array, " b"], weights: Float[Array, " b"] | None
) -> Float[Array, ""]:
    return losses.mean() if weights is None else (weights * losses).sum()


class Losses(NamedTuple):
    """The terms of one step's loss, each a scalar."""

    total: jax.Array
    clustering: jax.Array
    reconstruction: jax.Array


@runtime_checkable
class Objective(Protocol):
    """What the training loop asks of a method."""

    trains_decoder: ClassVar[bool]

    @property
    def alpha(self) -> float:
        """Degrees of freedom of the Student's t kernel."""

    def loss(
        self,
        params: Params,
        x: Float[Array, "b d"],
        p: Float[Array, "b k"],
        weights: Float[Array, " b"],
        *,
        architecture: Architecture,
    ) -> Losses:
        """The loss of a batch whose targets are `p`."""


@dataclass(frozen=True)
class DEC:
    """Deep Embedded Clustering: KL(P || Q) alone, the decoder dropped (Xie et al., 2016).

    Attributes:
      alpha: degrees of freedom of the Student's t kernel, above 0.
    """

    alpha: float = 1.0
    trains_decoder: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_alpha(self.alpha)

    def loss(
        self,
        params: Params,
        x: Float[Array, "b d"],
        p: Float[Array, "b k"],
        weights: Float[Array, " b"],
        *,
        architecture: Architecture,
    ) -> Losses:
        """Equation 2 of Xie et al. (2016), averaged over the batch."""
        z = encode(params, x, architecture=architecture)
        log_q = log_soft_assignment(z, params["centroids"], alpha=self.alpha)
        clustering = clustering_loss(p, log_q, weights=weights)
        return Losses(clustering, clustering, jnp.zeros_like(clustering))


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
    trains_decoder: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_alpha(self.alpha)
        if not 0 <= self.clustering_weight < math.inf:
            raise ValueError(
                "clustering_weight must be finite and at least 0, got "
                f"{self.clustering_weight}."
            )

    def loss(
        self,
        params: Params,
        x: Float[Array, "b d"],
        p: Float[Array, "b k"],
        weights: Float[Array, " b"],
        *,
        architecture: Architecture,
    ) -> Losses:
        """Reconstruction of what the encoder saw, plus gamma times KL(P || Q)."""
        z = encode(params, x, architecture=architecture)
        log_q = log_soft_assignment(z, params["centroids"], alpha=self.alpha)
        clustering = clustering_loss(p, log_q, weights=weights)
        x_hat = decode(params, z, architecture=architecture)
        reconstruction = reconstruction_loss(x, x_hat, weights=weights)
        total = reconstruction + self.clustering_weight * clustering
        return Losses(total, clustering, reconstruction)


def _check_alpha(alpha: float) -> None:
    if not 0 < alpha < math.inf:
        raise ValueError(f"alpha must be finite and above 0, got {alpha}.")
