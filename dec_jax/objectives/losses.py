"""Losses of a clustering step, as functions of arrays."""

import optax
from jaxtyping import Array, Float, Int

from dec_jax.objectives.reconstruction import weighted_mean


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
