"""Variational Deep Embedding: a variational autoencoder whose prior is a mixture.

Jiang, Zheng, Tan, Tang and Zhou, `Variational Deep Embedding: An Unsupervised and
Generative Approach to Clustering <https://arxiv.org/abs/1611.05148>`_, IJCAI 2017.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from dec_jax.clustering.mixture import Mixture, deviations, fit_mixture, log_posterior
from dec_jax.networks.autoencoder import Params
from dec_jax.networks.own import Network
from dec_jax.objectives.base import Batch, CentroidObjective, Losses
from dec_jax.objectives.reconstruction import (
    LOG_VARIANCE_LIMITS,
    check_likelihood,
    check_range,
    likelihood_loss,
    variational_pass,
    weighted_mean,
)


@dataclass(frozen=True)
class VaDE(CentroidObjective):
    """Variational Deep Embedding: the evidence lower bound under a mixture prior.

    A cluster c is drawn from pi, z from that cluster's Gaussian, and x from the decoder
    of z. The network must be variational. Its output is "sigmoid" for samples in [0, 1]
    (Bernoulli), or "linear" for others (Gaussian). The parameters of the prior are
    "centroids" (the means), "log_variances", and "log_weights" (pi before its
    normalization). The first refresh fits them to z, as a mixture that starts from the
    labels of the state. After that, gradients update them together with the network. q
    is the posterior p(c | z), at the mean of q(z | x), and depends on no alpha. VaDE
    does not use the target p.

    Example:
      >>> sorted(VaDE().extra_params(jnp.zeros((3, 2))))
      ['log_variances', 'log_weights']
    """

    trained: ClassVar[tuple[str, ...]] = (
        "encoder",
        "decoder",
        "centroids",
        "log_variances",
        "log_weights",
    )
    fitted: ClassVar[tuple[str, ...]] = ("centroids", "log_variances", "log_weights")

    def check(self, x: Num[Array | np.ndarray, "n d"], architecture: Network) -> None:
        """Raises ValueError unless the network is variational and its output fits x."""
        check_likelihood(architecture, "VaDE")
        if architecture.output_activation == "sigmoid":
            check_range(x, architecture)

    def extra_params(self, centroids: Float[Array, "k d"]) -> Params:
        """Clusters of weight 1 / k and variance 1, before the first refresh fits them."""
        k = len(centroids)
        return {
            "log_variances": jnp.zeros_like(centroids, jnp.float32),
            "log_weights": jnp.full(k, -math.log(k), jnp.float32),
        }

    def fit(
        self, params: Params, z: Float[Array, "n d"], labels: Int[Array, " n"]
    ) -> Params:
        """Fits a Gaussian mixture to z, by EM from the labels (section 4.2)."""
        mixture = fit_mixture(z, labels, len(params["centroids"]))
        return {
            "centroids": mixture.means,
            "log_variances": mixture.log_variances,
            "log_weights": mixture.log_weights,
        }

    def assignment(self, params: Params, z: Float[Array, "n d"]) -> Float[Array, "n k"]:
        """Posterior p(c | z), equation 16."""
        return jnp.exp(log_posterior(z, prior(params)))

    def loss(
        self,
        params: Params,
        batch: Batch,
        *,
        architecture: Network,
        axis_name: str | None = None,
    ) -> tuple[Losses, Params]:
        """Negative evidence lower bound, equation 12, from one draw of z per sample."""
        run = variational_pass(
            params, batch, architecture=architecture, axis_name=axis_name
        )
        reconstruction = likelihood_loss(
            batch.x, run.output, architecture=architecture, weights=batch.weights
        )
        mixture = prior(params)
        log_gamma = log_posterior(run.z, mixture)
        clustering = mixture_kl(
            log_gamma, run.mean, run.log_variance, mixture, weights=batch.weights
        )
        total = reconstruction + clustering
        return Losses(total, clustering, reconstruction), run.batch_stats


def prior(params: Params) -> Mixture:
    """Mixture prior p(z, c) that the parameters describe."""
    return Mixture(
        jax.nn.log_softmax(params["log_weights"]),
        params["centroids"],
        jnp.clip(params["log_variances"], *LOG_VARIANCE_LIMITS),
    )


def mixture_kl(
    log_gamma: Float[Array, "b k"],
    mean: Float[Array, "b d"],
    log_variance: Float[Array, "b d"],
    mixture: Mixture,
    *,
    weights: Float[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """Divergence KL(q(z, c | x) || p(z, c)), equation 12 without its reconstruction.

    With q(z, c | x) = q(z | x) gamma_c, it has two parts: the divergence of q(z | x) from
    each cluster's Gaussian, averaged with gamma, and the divergence of gamma from the
    clusters' weights.

    Args:
      log_gamma: logarithm of q(c | x).
      mean: of q(z | x).
      log_variance: of q(z | x), of each coordinate.
      mixture: the prior p(z, c).
      weights: share of each sample in the mean; 1 / b each if None.

    Returns:
      The divergence in nats per sample, at least 0.
    """
    log_ratios = log_variance[:, None, :] - mixture.log_variances[None, :, :]
    squares = deviations(mean, mixture) ** 2
    terms = jnp.exp(log_ratios) - 1 - log_ratios + squares
    from_clusters = 0.5 * terms.sum(axis=2)
    from_weights = log_gamma - mixture.log_weights[None, :]
    gamma = jnp.exp(log_gamma)
    return weighted_mean((gamma * (from_clusters + from_weights)).sum(axis=1), weights)
