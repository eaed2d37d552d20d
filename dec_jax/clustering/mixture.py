"""Gaussian mixtures with diagonal covariances: posterior, and fit by EM.

Dempster, Laird and Rubin, `Maximum Likelihood from Incomplete Data via the EM Algorithm
<https://doi.org/10.1111/j.2517-6161.1977.tb01600.x>`_, 1977. Densities are
computed in log space.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dec_jax.validation import check_n_clusters, check_positive_int, check_samples

# Largest number of standard deviations: beyond it, all clusters count as equally far.
FARTHEST = 1e12
# Added to every variance, as in scikit-learn: equal samples have a variance of 0.
LEAST_VARIANCE = 1e-6
# Number of samples, distributed like all samples, added to every cluster: some are empty.
PSEUDO_COUNT = 1e-6


class Mixture(NamedTuple):
    """A mixture of k Gaussians in d dimensions."""

    log_weights: jax.Array  # [k], the exponentials sum to 1
    means: jax.Array  # [k, d]
    log_variances: jax.Array  # [k, d] of each coordinate


class _Fit(NamedTuple):
    """State between two iterations of EM."""

    mixture: Mixture
    likelihood: jax.Array  # [] mean log-likelihood a sample, before the last step
    gain: jax.Array  # [] change of the likelihood in that step
    iteration: jax.Array  # [] int32


def deviations(z: Float[Array, "n d"], mixture: Mixture) -> Float[Array, "n k d"]:
    """Computes the offset of each embedding from each mean, in standard deviations.

    Args:
      z: embeddings.
      mixture: a mixture in the space of `z`.

    Returns:
      Signed numbers, clipped to +-`FARTHEST`. XLA fuses them into a sum over d, so that the
      array takes no memory.
    """
    scales = jnp.exp(-0.5 * mixture.log_variances)
    offsets = (z[:, None, :] - mixture.means[None, :, :]) * scales[None, :, :]
    return jnp.clip(offsets, -FARTHEST, FARTHEST)


def log_joint(z: Float[Array, "n d"], mixture: Mixture) -> Float[Array, "n k"]:
    """Computes log p(z, c), the logarithm of each cluster's weight times its density.

    Args:
      z: embeddings.
      mixture: a mixture in the space of `z`.

    Returns:
      Finite numbers, in nats.
    """
    squares = (deviations(z, mixture) ** 2).sum(axis=2)
    volumes = mixture.log_variances.sum(axis=1) + z.shape[1] * math.log(2 * math.pi)
    return mixture.log_weights[None, :] - 0.5 * (squares + volumes[None, :])


def log_posterior(z: Float[Array, "n d"], mixture: Mixture) -> Float[Array, "n k"]:
    """Computes log p(c | z), which is finite at any distance from the clusters.

    Args:
      z: embeddings.
      mixture: a mixture in the space of `z`.

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
    """Fits a mixture by expectation and maximization (EM), starting from labels.

    From the same start, scikit-learn's `GaussianMixture` with `covariance_type="diag"` gives
    the same mixture. An empty cluster starts with the mean and variance of all samples, and
    almost no weight.

    Args:
      z: embeddings, [n, d] float32.
      labels: initial cluster of each embedding, from 0 to k - 1.
      n_clusters: number of clusters k, from 1 to n.
      max_iter: largest number of iterations, at least 1.
      tolerance: EM stops once the mean log-likelihood of a sample, in nats, changes by less
        than this in an iteration.

    Returns:
      The mixture after the last iteration.

    Raises:
      TypeError, ValueError: `z` is not finite numbers of shape [n, d], the shape of `labels`
        is not [n], or k or `max_iter` is out of range.

    Example:
      >>> z = jnp.array([[0.0], [2.0], [9.0], [11.0]])
      >>> mixture = fit_mixture(z, jnp.array([0, 0, 1, 1]), 2)
      >>> mixture.means.round(1).tolist()
      [[1.0], [10.0]]
    """
    check_samples(z, "z")
    check_n_clusters(n_clusters, len(z))
    check_positive_int("max_iter", max_iter)
    if labels.shape != (len(z),):
        raise ValueError(
            f"labels must have shape {(len(z),)}, one for each row of z, got "
            f"{tuple(labels.shape)}."
        )
    # Far from the origin, sums of squares would lose digits.
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
    """Computes the most likely mixture, given the clusters' shares in each centered sample."""
    sizes = shares.sum(axis=0) + PSEUDO_COUNT
    means = jnp.matmul(shares.T, z, precision="highest") / sizes[:, None]

    def squares(cluster: tuple[jax.Array, jax.Array]) -> jax.Array:
        share, mean = cluster
        return jnp.matmul(share, (z - mean[None, :]) ** 2, precision="highest")

    sums = jax.lax.map(squares, (shares.T, means))
    sums = sums + PSEUDO_COUNT * (z**2).mean(axis=0)[None, :]
    variances = sums / sizes[:, None] + LEAST_VARIANCE
    return Mixture(jnp.log(sizes / sizes.sum()), means, jnp.log(variances))
