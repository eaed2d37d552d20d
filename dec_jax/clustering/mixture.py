"""Gaussian mixtures with diagonal covariances: the posterior, and the fit by EM.

Dempster, Laird and Rubin, `Maximum Likelihood from Incomplete Data via the EM Algorithm
<https://doi.org/10.1111/j.2517-6161.1977.tb01600.x>`_, 1977. Everything in log space, on
the device.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dec_jax.validation import check_n_clusters, check_positive_int, check_samples

# In deviations: what is farther off than that is as far off from every cluster.
FARTHEST = 1e12
# Added to every variance, as scikit-learn does: samples that are equal have none.
LEAST_VARIANCE = 1e-6
# Samples that every cluster has beside its own, spread as all are: one may have none.
PSEUDO_COUNT = 1e-6


class Mixture(NamedTuple):
    """A mixture of k Gaussians in d dimensions."""

    log_weights: jax.Array  # [k], whose exponentials sum to 1
    means: jax.Array  # [k, d]
    log_variances: jax.Array  # [k, d] of each coordinate


class _Fit(NamedTuple):
    """What an iteration of EM hands on."""

    mixture: Mixture
    likelihood: jax.Array  # [] mean log-likelihood a sample, before the last step
    gain: jax.Array  # [] of it, in that step
    iteration: jax.Array  # [] int32


def deviations(z: Float[Array, "n d"], mixture: Mixture) -> Float[Array, "n k d"]:
    """How many standard deviations each embedding is from each mean, up to `FARTHEST`.

    Args:
      z: embeddings.
      mixture: in the space of `z`.

    Returns:
      Signed numbers. What sums them over d fuses with them: they take no memory.
    """
    scales = jnp.exp(-0.5 * mixture.log_variances)
    offsets = (z[:, None, :] - mixture.means[None, :, :]) * scales[None, :, :]
    return jnp.clip(offsets, -FARTHEST, FARTHEST)


def log_joint(z: Float[Array, "n d"], mixture: Mixture) -> Float[Array, "n k"]:
    """log p(z, c): the logarithm of each cluster's weight times its density.

    Args:
      z: embeddings.
      mixture: in the space of `z`.

    Returns:
      Finite numbers, in nats.
    """
    squares = (deviations(z, mixture) ** 2).sum(axis=2)
    volumes = mixture.log_variances.sum(axis=1) + z.shape[1] * math.log(2 * math.pi)
    return mixture.log_weights[None, :] - 0.5 * (squares + volumes[None, :])


def log_posterior(z: Float[Array, "n d"], mixture: Mixture) -> Float[Array, "n k"]:
    """log p(c | z), finite however far an embedding is from all clusters.

    Args:
      z: embeddings.
      mixture: in the space of `z`.

    Returns:
      Rows that exponentiate to distributions over the clusters.
    """
    return jax.nn.log_softmax(log_joint(z, mixture), axis=1)


def fit_mixture(
    z: Float[Array, "n d"],
    labels: Int[Array, " n"],
    n_clusters: int,
    *,
    max_iter: int = 100,
    tolerance: float = 1e-3,
) -> Mixture:
    """Fits a mixture by expectation and maximization, from labels to start with.

    The same start gives the mixture of scikit-learn's `GaussianMixture` with
    `covariance_type="diag"`. A cluster without a sample starts with all samples' mean
    and variance, and next to no weight.

    Args:
      z: embeddings.
      labels: the cluster that each starts in, from 0 to k - 1.
      n_clusters: k.
      max_iter: most iterations, at least 1.
      tolerance: EM stops once an iteration gains less than this of the mean
        log-likelihood a sample.

    Returns:
      The mixture after the last iteration.

    Raises:
      TypeError, ValueError: `z` is not finite numbers of shape [n, d], `labels` not one
        for each, or k or `max_iter` is out of range.
    """
    check_samples(z, "z")
    check_n_clusters(n_clusters, len(z))
    check_positive_int("max_iter", max_iter)
    if labels.shape != (len(z),):
        raise ValueError(
            f"labels must have shape {(len(z),)}, one for each row of z, got "
            f"{tuple(labels.shape)}."
        )
    # Sums of squares far from the origin would lose digits.
    origin = z.mean(axis=0)
    centered = z - origin[None, :]
    infinity = jnp.full((), jnp.inf, z.dtype)

    def improve(fit: _Fit) -> _Fit:
        joint = log_joint(centered, fit.mixture)
        likelihood = jax.nn.logsumexp(joint, axis=1).mean()
        return _Fit(
            _maximized(centered, jax.nn.softmax(joint, axis=1)),
            likelihood,
            jnp.abs(likelihood - fit.likelihood),
            fit.iteration + 1,
        )

    start = _maximized(centered, jax.nn.one_hot(labels, n_clusters, dtype=z.dtype))
    found = jax.lax.while_loop(
        lambda fit: (fit.iteration < max_iter) & (fit.gain >= tolerance),
        improve,
        _Fit(start, -infinity, infinity, jnp.zeros((), jnp.int32)),
    ).mixture
    return found._replace(means=found.means + origin[None, :])


def _maximized(z: Float[Array, "n d"], shares: Float[Array, "n k"]) -> Mixture:
    """The likeliest mixture, where cluster c has its share in each sample; z is centered."""
    sizes = shares.sum(axis=0) + PSEUDO_COUNT
    means = jnp.matmul(shares.T, z, precision="highest") / sizes[:, None]

    def squares(cluster: tuple[jax.Array, jax.Array]) -> jax.Array:
        share, mean = cluster
        return jnp.matmul(share, (z - mean[None, :]) ** 2, precision="highest")

    sums = jax.lax.map(squares, (shares.T, means))
    sums = sums + PSEUDO_COUNT * (z**2).mean(axis=0)[None, :]
    variances = sums / sizes[:, None] + LEAST_VARIANCE
    return Mixture(jnp.log(sizes / sizes.sum()), means, jnp.log(variances))
