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
from dec_jax.networks.architecture import Architecture
from dec_jax.networks.autoencoder import Params, decode_batch, encode_batch
from dec_jax.objectives.base import Losses
from dec_jax.objectives.reconstruction import (
    LOG_VARIANCE_LIMITS,
    check_likelihood,
    check_range,
    likelihood_loss,
    moved_stats,
    weighted_mean,
)


@dataclass(frozen=True)
class VaDE:
    """Variational Deep Embedding: the evidence lower bound under a mixture prior.

    A cluster c is drawn from pi, z from that cluster's Gaussian, x from the decoder of
    z. The network must be variational: with a sigmoid output for samples in [0, 1]
    (Bernoulli), with a linear one for others (Gaussian). Its parameters beside the
    network's are the prior's: "centroids" (the means), "log_variances" and
    "log_weights" (pi before its normalization). The first refresh fits them to z, as a
    mixture that starts from the labels of the state; then gradients move them with the
    network. q is the posterior p(c | z), at the mean of q(z | x). The target p is not
    looked at.
    """

    trained: ClassVar[tuple[str, ...]] = (
        *("encoder", "decoder", "centroids", "log_variances", "log_weights"),
    )
    fitted: ClassVar[tuple[str, ...]] = ("centroids", "log_variances", "log_weights")

    @property
    def alpha(self) -> float:
        """1, and of no effect: q has no Student's t kernel."""
        return 1.0

    def check(
        self, x: Num[Array | np.ndarray, "n d"], architecture: Architecture
    ) -> None:
        """Raises ValueError unless the network is variational and p(x | z) can be x's."""
        check_likelihood(architecture, "VaDE")
        if architecture.output_activation == "sigmoid":
            check_range(x, architecture)

    def extra_params(self, centroids: Float[Array, "k d"]) -> Params:
        """Clusters of weight 1 / k and variance 1, before anything is fitted."""
        k = len(centroids)
        return {
            "log_variances": jnp.zeros_like(centroids, jnp.float32),
            "log_weights": jnp.full(k, -math.log(k), jnp.float32),
        }

    def fit(
        self, z: Float[Array, "n d"], labels: Int[Array, " n"], n_clusters: int
    ) -> Params:
        """A Gaussian mixture of z, by EM from the labels (section 4.2)."""
        mixture = fit_mixture(z, labels, n_clusters)
        return {
            "centroids": mixture.means,
            "log_variances": mixture.log_variances,
            "log_weights": mixture.log_weights,
        }

    def assignment(self, params: Params, z: Float[Array, "n d"]) -> Float[Array, "n k"]:
        """The posterior p(c | z), equation 16."""
        return jnp.exp(log_posterior(z, prior(params)))

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
        """The negative evidence lower bound, equation 12, from one draw of z a sample."""
        encoded = encode_batch(
            params, x, architecture=architecture, weights=weights, axis_name=axis_name
        )
        mean, log_variance = jnp.split(encoded.output, 2, axis=1)
        log_variance = jnp.clip(log_variance, *LOG_VARIANCE_LIMITS)
        noise = jax.random.normal(key, mean.shape)
        z = mean + jnp.exp(0.5 * log_variance) * noise
        decoded = decode_batch(
            params,
            z,
            architecture=architecture,
            weights=weights,
            axis_name=axis_name,
            last_activation=False,
        )
        reconstruction = likelihood_loss(
            x, decoded.output, architecture=architecture, weights=weights
        )
        mixture = prior(params)
        log_gamma = log_posterior(z, mixture)
        clustering = mixture_kl(log_gamma, mean, log_variance, mixture, weights=weights)
        losses = Losses(reconstruction + clustering, clustering, reconstruction)
        return losses, moved_stats(params, encoder=encoded, decoder=decoded)


def prior(params: Params) -> Mixture:
    """The mixture that the parameters describe."""
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
    """KL(q(z, c | x) || p(z, c)): all terms of equation 12 but the reconstruction.

    With q(z, c | x) = q(z | x) gamma_c it is gamma's mean of the divergence of q(z | x)
    from each cluster's Gaussian, plus that of gamma from the clusters' weights.

    Args:
      log_gamma: logarithm of q(c | x).
      mean: of q(z | x).
      log_variance: of q(z | x), each coordinate on its own.
      mixture: the prior p(z, c).
      weights: share of each sample in the mean; 1 / b if not given.

    Returns:
      The divergence in nats a sample, at least 0.
    """
    log_ratios = log_variance[:, None, :] - mixture.log_variances[None, :, :]
    squares = deviations(mean, mixture) ** 2
    terms = jnp.exp(log_ratios) - 1 - log_ratios + squares
    from_clusters = 0.5 * terms.sum(axis=2)
    from_weights = log_gamma - mixture.log_weights[None, :]
    gamma = jnp.exp(log_gamma)
    return weighted_mean((gamma * (from_clusters + from_weights)).sum(axis=1), weights)
