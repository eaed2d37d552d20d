"""Soft assignment q, target distribution p and hard labels: the maths of section 3.1.

Xie, Girshick and Farhadi, `Unsupervised Deep Embedding for Clustering Analysis
<https://arxiv.org/abs/1511.06335>`_, ICML 2016.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

# When `keep_cluster_sizes` has scaled columns and rows enough.
SINKHORN_TURNS = 200
SINKHORN_ERROR = 1e-4


def squared_distances(
    z: Float[Array, "n d"], centroids: Float[Array, "k d"]
) -> Float[Array, "n k"]:
    """Squared Euclidean distance of each embedding to every centroid.

    ||z||^2 + ||mu||^2 - 2 z.mu, around the mean of the centroids, so that neither an
    n x k x d array nor a large common offset costs memory or digits. Always float32
    products, and never below 0.

    Args:
      z: embeddings.
      centroids: cluster centroids, in the space of `z`.

    Returns:
      Distances in float32, at least 0.

    Raises:
      ValueError: the widths of `z` and `centroids` differ.
    """
    if z.ndim != 2 or centroids.ndim != 2 or z.shape[1] != centroids.shape[1]:
        raise ValueError(
            "z and centroids must be matrices of the same width, got z of shape "
            f"{tuple(z.shape)} and centroids of shape {tuple(centroids.shape)}."
        )
    # Short floats would lose digits in the subtraction, before the products.
    z, centroids = (
        a.astype(jnp.promote_types(a.dtype, jnp.float32)) for a in (z, centroids)
    )
    # Cancellation in the expansion grows with the distance from the origin.
    origin = jax.lax.stop_gradient(centroids.mean(axis=0, keepdims=True))
    z = (z - origin).astype(jnp.float32)
    centroids = (centroids - origin).astype(jnp.float32)
    products = jnp.matmul(z, centroids.T, precision=jax.lax.Precision.HIGHEST)
    squares = (z**2).sum(axis=1)[:, None] + (centroids**2).sum(axis=1)[None, :]
    return jnp.maximum(squares - 2 * products, 0)


def log_soft_assignment(
    z: Float[Array, "n d"],
    centroids: Float[Array, "k d"],
    *,
    alpha: float | jax.Array = 1.0,
) -> Float[Array, "n k"]:
    """log q, the logarithm of `soft_assignment`, with no loss far from all centroids.

    Args:
      z: embeddings.
      centroids: cluster centroids, in the space of `z`.
      alpha: degrees of freedom of the Student's t kernel, above 0.

    Returns:
      log q, whose rows exponentiate to distributions over the clusters.

    Raises:
      ValueError: the widths differ, or `alpha` is not finite and above 0.
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
      alpha: degrees of freedom of the kernel, above 0; the paper fixes it to 1.

    Returns:
      q, whose row i is the distribution of sample i over the clusters.

    Raises:
      ValueError: the widths differ, or `alpha` is not finite and above 0.
    """
    return jnp.exp(log_soft_assignment(z, centroids, alpha=alpha))


def target_distribution(
    q: Float[Array, "n k"], *, axis_name: str | None = None
) -> Float[Array, "n k"]:
    """Sharpens q into the target p that training pulls it to.

    Equation 3 of Xie et al. (2016): p_ij is proportional to q_ij^2 / f_j with
    f_j = sum_i q_ij over *all* samples. A cluster that nobody belongs to gets no
    weight, and no NaN. No gradient flows through p: it is held fixed.

    Args:
      q: soft assignments of all samples (with `axis_name`: of this device's share).
      axis_name: mapped axis over which the samples are spread (`pmap`, `shard_map`);
        f is then summed over it.

    Returns:
      p, whose rows are distributions over the clusters.
    """
    frequency = q.sum(axis=0)
    if axis_name is not None:
        frequency = jax.lax.psum(frequency, axis_name)
    return sharpen(q, frequency)


def sharpen(
    q: Float[Array, "n k"], frequency: Float[Array, " k"]
) -> Float[Array, "n k"]:
    """p of some samples, given f of all: the rest of equation 3.

    Args:
      q: soft assignments.
      frequency: f_j, the sum of q_ij over all samples.

    Returns:
      p, whose rows are distributions over the clusters.
    """
    # Dividing before squaring: q^2 alone would underflow where q < 1e-19.
    weight = q * (q / jnp.maximum(frequency, jnp.finfo(q.dtype).tiny)[None, :])
    return jax.lax.stop_gradient(_distributions(weight))


def _distributions(p: Float[Array, "n k"]) -> Float[Array, "n k"]:
    """Rows scaled to sums of 1."""
    return p / p.sum(axis=1, keepdims=True)


def match_cluster_sizes(
    p: Float[Array, "n k"], shares: Float[Array, " k"]
) -> Float[Array, "n k"]:
    """The distributions nearest to p in which each cluster holds a given share.

    Nearest in KL(result || p), summed over the samples. Squaring q lets large clusters
    grow a little at each refresh; here they cannot. This is optimal transport, as in
    `Asano, Rupprecht and Vedaldi <https://arxiv.org/abs/1911.05371>`_ (ICLR 2020), who
    keep all clusters equal. Columns and rows are scaled in turn (Sinkhorn and Knopp,
    1967), 200 times at most.

    Args:
      p: target distribution of all samples.
      shares: of the clusters in the mean of p, all above 0, summing to 1.

    Returns:
      p, whose rows are distributions, and whose mean is the shares to within 0.0001
      where the scaling has converged.
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
    """The share of the samples in each cluster, as `keep_cluster_sizes` takes it.

    No row of p could sum to 1 if all of its weight were on a cluster that gets none, so
    an empty cluster counts as one of a single sample.

    Args:
      labels: the cluster of each sample, in [0, n_clusters).
      n_clusters: number of clusters k.

    Returns:
      The shares, all above 0, summing to 1.
    """
    sizes = jnp.maximum(jnp.bincount(labels, length=n_clusters), 1)
    return sizes / sizes.sum()


def equidistant_centroids(n_clusters: int) -> Float[Array, "k k"]:
    """First centroids for a network that has learned nothing: none is nearer than others.

    4 e_j, each 5.7 from every other one: a sample on its centroid has 0.79 of q there,
    for 10 clusters and one degree of freedom.

    Args:
      n_clusters: number of clusters k.

    Returns:
      The centroids, in as many dimensions as there are clusters.
    """
    return 4.0 * jnp.eye(n_clusters)


def confidence(
    q: Float[Array, "n k"], *, axis_name: str | None = None
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """How sure q is, on average: its largest share, and its entropy.

    Args:
      q: soft assignments of all samples (with `axis_name`: of this device's share).
      axis_name: mapped axis over which the samples are spread.

    Returns:
      The mean over the samples of the largest q, in [1 / k, 1], and of the entropy of q
      as a share of its largest value log k, in [0, 1]; 0 for k = 1.
    """
    largest = q.max(axis=1).mean()
    # The entropy of a single cluster is 0, and so is log k.
    scale = math.log(q.shape[1]) or 1.0
    entropy = jax.scipy.special.entr(q).sum(axis=1).mean() / scale
    if axis_name is None:
        return largest, entropy
    return jax.lax.pmean((largest, entropy), axis_name)


def hard_assignment(q: Float[Array, "n k"]) -> Int[Array, " n"]:
    """The cluster of largest q of each sample, int32; the lowest index where they tie."""
    return q.argmax(axis=1).astype(jnp.int32)


def label_change(
    labels: Int[Array, " n"],
    previous: Int[Array, " n"],
    *,
    axis_name: str | None = None,
) -> Float[Array, ""]:
    """Fraction of samples whose label differs from the previous one, in [0, 1].

    With `axis_name`, over the samples of all devices on that mapped axis.
    """
    change = (labels != previous).mean(dtype=jnp.float32)
    return change if axis_name is None else jax.lax.pmean(change, axis_name)
