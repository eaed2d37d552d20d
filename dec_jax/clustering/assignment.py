"""Soft assignment q, target distribution p and hard labels, of section 3.1 of the paper.

Xie, Girshick and Farhadi, `Unsupervised Deep Embedding for Clustering Analysis
<https://arxiv.org/abs/1511.06335>`_, ICML 2016.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from dec_jax.validation import is_traced

# Largest number of scalings in `match_cluster_sizes`, and the error at which it stops.
SINKHORN_TURNS = 200
SINKHORN_ERROR = 1e-4


def squared_distances(
    z: Float[Array, "n d"], centroids: Float[Array, "k d"]
) -> Float[Array, "n k"]:
    """Computes the squared Euclidean distance of each embedding to every centroid.

    ||z||^2 + ||mu||^2 - 2 z.mu, relative to the median of the centroids. This form needs no
    array of shape [n, k, d], and neither a large common offset nor a few centroids far away
    cost the others digits. Products are float32, and rounding never gives a negative distance.

    Args:
      z: embeddings. Their norms must stay below about 1e19: larger squares overflow
        float32 to infinity, which compiled programs cannot refuse.
      centroids: cluster centroids, in the space of `z`.

    Returns:
      Squared distances in float32, at least 0.

    Raises:
      ValueError: `z` and `centroids` are not matrices of the same width, or a distance
        is not finite.

    Example:
      >>> z, centroids = jnp.array([[0.0, 0.0], [3.0, 4.0]]), jnp.zeros((1, 2))
      >>> squared_distances(z, centroids).tolist()
      [[0.0], [25.0]]
    """
    if z.ndim != 2 or centroids.ndim != 2 or z.shape[1] != centroids.shape[1]:
        raise ValueError(
            "z and centroids must be matrices of the same width, got z of shape "
            f"{tuple(z.shape)} and centroids of shape {tuple(centroids.shape)}."
        )
    # float16 and bfloat16 would lose digits in the subtraction, before the products.
    z, centroids = (
        a.astype(jnp.promote_types(a.dtype, jnp.float32)) for a in (z, centroids)
    )
    # Cancellation in the expansion grows with the distance from the origin. Unlike the mean,
    # the (lower) median of the centroids stays where most of them are.
    middle = (len(centroids) - 1) // 2
    origin = jax.lax.stop_gradient(jnp.sort(centroids, axis=0)[middle : middle + 1])
    z = (z - origin).astype(jnp.float32)
    centroids = (centroids - origin).astype(jnp.float32)
    products = jnp.matmul(z, centroids.T, precision=jax.lax.Precision.HIGHEST)
    squares = (z**2).sum(axis=1)[:, None] + (centroids**2).sum(axis=1)[None, :]
    distances = jnp.maximum(squares - 2 * products, 0)
    if not is_traced(distances) and not jnp.isfinite(distances).all():
        row, cluster = np.argwhere(~np.isfinite(distances))[0]
        raise ValueError(
            "z and centroids must be finite and have norms below 1e19, so that squared "
            f"distances fit float32, got {distances[row, cluster]} from row {row} of z to "
            f"centroid {cluster}; scale both down by the same number."
        )
    return distances


def log_soft_assignment(
    z: Float[Array, "n d"],
    centroids: Float[Array, "k d"],
    *,
    alpha: float | jax.Array = 1.0,
) -> Float[Array, "n k"]:
    """Computes log q, the logarithm of `soft_assignment`, without underflow.

    Args:
      z: embeddings.
      centroids: cluster centroids, in the space of `z`.
      alpha: degrees of freedom of the Student's t kernel, finite and above 0.

    Returns:
      log q, whose rows exponentiate to distributions over the clusters.

    Raises:
      ValueError: the widths differ, `alpha` is not finite and above 0, or a distance is
        not finite.

    Example:
      >>> log_q = log_soft_assignment(jnp.zeros((1, 2)), jnp.zeros((4, 2)))
      >>> jnp.exp(log_q).tolist()
      [[0.25, 0.25, 0.25, 0.25]]
    """
    if not isinstance(alpha, jax.Array) and not 0 < alpha < math.inf:
        raise ValueError(f"alpha must be finite and above 0, got {alpha}.")
    distances = squared_distances(z, centroids)
    return jax.nn.log_softmax(-0.5 * (alpha + 1) * jnp.log1p(distances / alpha), axis=1)


def soft_assignment(
    z: Float[Array, "n d"],
    centroids: Float[Array, "k d"],
    *,
    alpha: float | jax.Array = 1.0,
) -> Float[Array, "n k"]:
    """Assigns each embedding to every centroid with a Student's t kernel.

    Equation 1 of Xie et al. (2016), computed in log space so that an embedding far
    from all centroids gives a valid row instead of 0 / 0.

    Args:
      z: embeddings.
      centroids: cluster centroids, in the space of `z`.
      alpha: degrees of freedom of the kernel, finite and above 0; the paper fixes it to 1.

    Returns:
      q, whose row i is the distribution of sample i over the clusters.

    Raises:
      ValueError: the widths differ, `alpha` is not finite and above 0, or a distance is
        not finite.

    Example:
      >>> z, centroids = jnp.array([[0.0], [4.0]]), jnp.array([[0.0], [4.0]])
      >>> for row in soft_assignment(z, centroids):
      ...     print(f"{row[0]:.2f} {row[1]:.2f}")
      0.94 0.06
      0.06 0.94
    """
    return jnp.exp(log_soft_assignment(z, centroids, alpha=alpha))


def log_softmax_assignment(
    z: Float[Array, "n d"],
    centroids: Float[Array, "k d"],
    inverse_temperature: float | Float[Array, ""] = 1.0,
) -> Float[Array, "n k"]:
    """Computes the logarithm of a softmax over negative squared distances.

    The assignment of Moradi Fard et al. (2020): the higher the inverse temperature, the
    nearer to the hard assignment to the nearest centroid.

    Args:
      z: embeddings.
      centroids: cluster centroids, in the space of `z`.
      inverse_temperature: factor of the distances, above 0.

    Returns:
      log q, whose rows exponentiate to distributions over the clusters.

    Raises:
      ValueError: the widths differ, or a distance is not finite.

    Example:
      >>> z, centroids = jnp.array([[1.0]]), jnp.array([[0.0], [3.0]])
      >>> log_q = log_softmax_assignment(z, centroids, 0.1)
      >>> [round(float(q), 2) for q in jnp.exp(log_q)[0]]  # exp(-0.1) and exp(-0.4)
      [0.57, 0.43]
    """
    distances = squared_distances(z, centroids)
    return jax.nn.log_softmax(-inverse_temperature * distances, axis=1)


def target_distribution(
    q: Float[Array, "n k"], *, axis_name: str | None = None
) -> Float[Array, "n k"]:
    """Sharpens q into the target distribution p of training.

    Equation 3 of Xie et al. (2016): p_ij is proportional to q_ij^2 / f_j with
    f_j = sum_i q_ij over *all* samples. A cluster with f_j = 0 gets no weight, and causes
    no NaN. No gradient flows through p.

    Args:
      q: soft assignments of all samples (with `axis_name`, of this device's samples).
      axis_name: mapped axis over which the samples are sharded (`pmap`, `shard_map`); f
        is then summed over it.

    Returns:
      p, whose rows are distributions over the clusters.

    Example:
      >>> q = jnp.array([[0.6, 0.4], [0.5, 0.5], [0.1, 0.9]])
      >>> for row in target_distribution(q):
      ...     print(f"{row[0]:.2f} {row[1]:.2f}")
      0.77 0.23
      0.60 0.40
      0.02 0.98
    """
    frequency = q.sum(axis=0)
    if axis_name is not None:
        frequency = jax.lax.psum(frequency, axis_name)
    return sharpen(q, frequency)


def sharpen(
    q: Float[Array, "n k"], frequency: Float[Array, " k"]
) -> Float[Array, "n k"]:
    """Computes p of some samples by equation 3, given f of all samples.

    Args:
      q: soft assignments of some samples.
      frequency: f_j, the sum of q_ij over all samples.

    Returns:
      p, whose rows are distributions over the clusters.
    """
    # Divided before it is squared: q^2 alone would underflow for q < 1e-19.
    weight = q * (q / jnp.maximum(frequency, jnp.finfo(q.dtype).tiny)[None, :])
    return jax.lax.stop_gradient(_distributions(weight))


def _distributions(p: Float[Array, "n k"]) -> Float[Array, "n k"]:
    """Scales rows to sums of 1."""
    return p / p.sum(axis=1, keepdims=True)


def match_cluster_sizes(
    p: Float[Array, "n k"], shares: Float[Array, " k"]
) -> Float[Array, "n k"]:
    """Finds the distributions nearest to p in which each cluster has a given share.

    They minimize KL(result || p), summed over the samples. Squaring q in equation 3 lets
    large clusters grow a little at each refresh, which this prevents. It is optimal
    transport, as in `Asano, Rupprecht and Vedaldi <https://arxiv.org/abs/1911.05371>`_
    (ICLR 2020), where all clusters have equal shares. Columns and rows are scaled in turn
    (Sinkhorn and Knopp, 1967), at most 200 times.

    Args:
      p: target distribution of all samples.
      shares: share of each cluster in the mean of p, all above 0, summing to 1.

    Returns:
      p, whose rows are distributions. Once the scaling has converged, the mean of the rows
      differs from the shares by at most 0.0001.

    Example:
      >>> p = jnp.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.1, 0.9]])
      >>> match_cluster_sizes(p, jnp.array([0.5, 0.5])).mean(axis=0).round(3).tolist()
      [0.5, 0.5]
    """

    def off(carry: tuple[jax.Array, jax.Array]) -> jax.Array:
        p, turn = carry
        error = jnp.abs(p.mean(axis=0) - shares).max()
        return (turn < SINKHORN_TURNS) & (error > SINKHORN_ERROR)

    def scale(carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        p, turn = carry
        scales = shares / jnp.maximum(p.mean(axis=0), jnp.finfo(p.dtype).tiny)
        return _distributions(p * scales[None, :]), turn + 1

    p, _ = jax.lax.while_loop(off, scale, (p, jnp.zeros((), jnp.int32)))
    return p


def shares_of(labels: Int[Array, " n"], n_clusters: int) -> Float[Array, " k"]:
    """Computes the share of the samples in each cluster, for `match_cluster_sizes`.

    An empty cluster counts as one with a single sample: a share of 0 would leave no weight
    to a row of p that has all its weight there.

    Args:
      labels: the cluster of each sample, in [0, n_clusters).
      n_clusters: number of clusters k.

    Returns:
      The shares, all above 0, summing to 1.
    """
    sizes = jnp.maximum(jnp.bincount(labels, length=n_clusters), 1)
    return sizes / sizes.sum()


def equidistant_centroids(n_clusters: int) -> Float[Array, "k k"]:
    """Builds initial centroids for an untrained network, at equal distances of each other.

    They are 4 e_j, at a distance of 5.7. A sample on a centroid then has q = 0.79 there,
    for 10 clusters and one degree of freedom.

    Args:
      n_clusters: number of clusters k.

    Returns:
      The centroids, in k dimensions.

    Example:
      >>> equidistant_centroids(2).tolist()
      [[4.0, 0.0], [0.0, 4.0]]
    """
    return 4.0 * jnp.eye(n_clusters)


def confidence(
    q: Float[Array, "n k"], *, axis_name: str | None = None
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Measures the confidence of q: the means of its largest value and of its entropy.

    Args:
      q: soft assignments of all samples (with `axis_name`, of this device's samples).
      axis_name: mapped axis over which the samples are sharded.

    Returns:
      The mean over the samples of the largest q, in [1 / k, 1]; and the mean entropy of q
      as a share of its maximum log k, in [0, 1], or 0 for k = 1.
    """
    largest = q.max(axis=1).mean()
    # For a single cluster the entropy and log k are both 0.
    scale = math.log(q.shape[1]) or 1.0
    entropy = jax.scipy.special.entr(q).sum(axis=1).mean() / scale
    if axis_name is None:
        return largest, entropy
    return jax.lax.pmean((largest, entropy), axis_name)


def hard_assignment(q: Float[Array, "n k"]) -> Int[Array, " n"]:
    """Computes the cluster of largest q of each sample, int32; ties take the lowest index.

    In a compiled program, which cannot raise, a row with NaN gets the index of its first
    NaN.

    Raises:
      ValueError: q holds NaN.

    Example:
      >>> hard_assignment(jnp.array([[0.2, 0.8], [0.5, 0.5]])).tolist()
      [1, 0]
    """
    if not is_traced(q) and jnp.isnan(q).any():
        row = int(jnp.isnan(q).any(axis=1).argmax())
        raise ValueError(
            f"q must hold no NaN, got one in row {row}; look for what made it, such as "
            "embeddings that are not finite."
        )
    return q.argmax(axis=1).astype(jnp.int32)


def label_change(
    labels: Int[Array, " n"],
    previous: Int[Array, " n"],
    *,
    axis_name: str | None = None,
) -> Float[Array, ""]:
    """Computes the fraction of samples whose label has changed, in [0, 1].

    Args:
      labels: cluster of each sample.
      previous: cluster of each sample before.
      axis_name: mapped axis over which the samples are sharded.

    Example:
      >>> float(label_change(jnp.array([0, 1, 1, 1]), jnp.array([0, 0, 1, 1])))
      0.25
    """
    change = (labels != previous).mean(dtype=jnp.float32)
    return change if axis_name is None else jax.lax.pmean(change, axis_name)
