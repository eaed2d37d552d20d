"""Small embeddings and centroids, and the equations of q and p written out."""

import jax.numpy as jnp
import numpy as np

N, D, K = 20, 3, 4


def draw(*shape, seed=0, scale=1.0):
    return jnp.asarray(
        scale * np.random.default_rng(seed).normal(size=shape), "float32"
    )


Z, CENTROIDS = draw(N, D), draw(K, D, seed=1)


def squared_distances_by_loops(z, centroids):
    z, centroids = np.asarray(z, np.float64), np.asarray(centroids, np.float64)
    return np.array([[((z_i - mu) ** 2).sum() for mu in centroids] for z_i in z])


def soft_assignment_by_loops(z, centroids, alpha=1.0):
    """Equation 1 of Xie et al. (2016), one sample and one cluster at a time."""
    q = np.empty((len(z), len(centroids)))
    for i, distances in enumerate(squared_distances_by_loops(z, centroids)):
        kernel = [(1 + d / alpha) ** (-(alpha + 1) / 2) for d in distances]
        q[i] = kernel / np.sum(kernel)
    return q


def target_distribution_by_loops(q):
    """Equation 3 of Xie et al. (2016), one sample and one cluster at a time."""
    q = np.asarray(q, np.float64)
    n, k = q.shape
    frequency = [sum(q[i, j] for i in range(n)) for j in range(k)]
    p = np.empty((n, k))
    for i in range(n):
        weight = [q[i, j] ** 2 / frequency[j] if frequency[j] else 0 for j in range(k)]
        p[i] = weight / np.sum(weight)
    return p
