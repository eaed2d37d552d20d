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
    """Kullback-Leibler divergence KL(P || Q), equation 2 of Xie et al. (2016).

    The divergence is summed over clusters and averaged over samples. A p of 0 adds 0.

    Args:
      p: target distribution of the samples, held fixed.
      log_q: logarithm of their soft assignment.
      weights: share of each sample in the mean; 1 / b each if None.

    Returns:
      The divergence in nats per sample, at least 0.

    Example:
      >>> import jax.numpy as jnp
      >>> from dec_jax import clustering_loss
      >>> p = jnp.array([[1.0, 0.0], [0.5, 0.5]])
      >>> log_q = jnp.log(jnp.array([[0.5, 0.5], [0.5, 0.5]]))
      >>> round(float(clustering_loss(p, log_q)), 4)  # log(2) / 2
      0.3466
    """
    return weighted_mean(optax.losses.kl_divergence(log_q, p), weights)


def kmeans_loss(
    z: Float[Array, "b d"],
    centroids: Float[Array, "k d"],
    labels: Int[Array, " b"],
    *,
    weights: Float[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """Computes the loss of k-means: the mean squared distance to the own centroid.

    The distance is summed over the coordinates of z and averaged over samples.

    Args:
      z: embeddings.
      centroids: centroids of the clusters.
      labels: the cluster of each embedding, from 0 to k - 1.
      weights: share of each sample in the mean; 1 / b each if None.

    Returns:
      The loss, at least 0: the inertia of k-means per sample.

    Example:
      >>> import jax.numpy as jnp
      >>> from dec_jax import kmeans_loss
      >>> z = jnp.array([[0.0, 0.0], [3.0, 4.0]])
      >>> centroids = jnp.array([[0.0, 1.0], [3.0, 2.0]])
      >>> float(kmeans_loss(z, centroids, jnp.array([0, 1])))  # (1 + 4) / 2
      2.5
    """
    return weighted_mean(((z - centroids[labels]) ** 2).sum(axis=1), weights)
