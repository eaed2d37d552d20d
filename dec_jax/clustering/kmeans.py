"""k-means on the device: greedy k-means++ seeding, Lloyd's iterations, parallel restarts.

The distances of a block of samples to the centroids of several restarts are one matrix
product. With few clusters, so are the sums of the samples of each cluster. No array of shape
[n, k, d] exists.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key, Real

from dec_jax.parallel.row_blocks import (
    Samples,
    centered,
    draw,
    from_blocks,
    in_blocks,
    in_order,
    samples_at,
    sum_over_blocks,
)
from dec_jax.parallel.sharding import shard_like
from dec_jax.validation import (
    check_magnitude,
    check_n_clusters,
    check_positive_int,
    check_samples,
    is_traced,
)

# From this number of clusters on, a CPU adds up the samples of each cluster one by one faster
# than by a product with the matrix of memberships (benchmarks/kmeans.py).
ADDED_FROM = 32
_EPS = float(jnp.finfo(jnp.float32).eps)


class KMeansResult(NamedTuple):
    """Result of `k_means`; each label is the nearest of the returned centroids."""

    centroids: Float[Array, "k d"]  # [k, d] float32
    labels: Int[Array, " n"]  # [n] int32
    inertia: Float[Array, ""]  # [] float32, sum of squared distances to the centroids
    n_iter: Int[Array, ""]  # [] int32, Lloyd iterations of the best restart


class _LloydState(NamedTuple):
    """State of all restarts; centroids are relative to the mean of the samples."""

    centroids: Float[Array, "r k d"]
    n_iter: Int[Array, " r"]
    converged: Bool[Array, " r"]


def kmeans_plus_plus(
    key: Key[Array, ""],
    z: Real[Array | np.ndarray, "n d"],
    n_clusters: int,
    *,
    n_local_trials: int | None = None,
) -> Float[Array, "k d"]:
    """Draws initial centroids from the samples, far from one another.

    Each candidate is drawn with a probability proportional to the squared distance to the
    nearest centroid so far. Of several candidates, the one with the lowest inertia is kept
    (the greedy variant, as in scikit-learn).

    Args:
      key: a `jax.random.key`.
      z: samples, [n, d] of any numeric dtype.
      n_clusters: number of centroids, from 1 to n.
      n_local_trials: candidates for each centroid; by default 2 + log k.

    Returns:
      Initial centroids, [k, d] float32, each of them a sample.

    Raises:
      TypeError: `z` is not an array of numbers.
      ValueError: `z` is not a finite matrix, its squared distances overflow float32, or a
        count is out of range.

    References:
      Arthur and Vassilvitskii, `k-means++: The Advantages of Careful Seeding
      <https://theory.stanford.edu/~sergei/papers/kMeansPP-soda.pdf>`_, SODA 2007.

    Example:
      >>> z = np.array([[0.0, 0.0], [0.0, 0.0], [9.0, 9.0]], np.float32)
      >>> sorted(kmeans_plus_plus(jax.random.key(0), z, 2).tolist())
      [[0.0, 0.0], [9.0, 9.0]]
    """
    check_samples(z, "z")
    check_magnitude(z, "z")
    check_n_clusters(n_clusters, len(z))
    n_trials = _default_trials(n_clusters) if n_local_trials is None else n_local_trials
    check_positive_int("n_local_trials", n_trials)
    _, block_size = _batching(n_clusters, 1)
    return _kmeans_plus_plus(key, jnp.asarray(z), n_clusters, n_trials, block_size)


def k_means(
    key: Key[Array, ""],
    z: Real[Array | np.ndarray, "n d"],
    n_clusters: int,
    *,
    n_init: int = 20,
    max_iter: int = 300,
    tolerance: float = 1e-4,
) -> KMeansResult:
    """Clusters samples by Lloyd's algorithm, and returns the best of `n_init` restarts.

    Section 3.1.3 of Xie et al. (2016) initializes the centroids of DEC this way, with 20
    restarts. An empty cluster takes the sample that is farthest from its centroid.

    Args:
      key: a `jax.random.key`; restart i depends only on the key and on i.
      z: samples, [n, d] of any numeric dtype; uint8 stays uint8 on the device.
      n_clusters: number of clusters, from 1 to n.
      n_init: number of restarts, each from its own k-means++ centroids.
      max_iter: largest number of Lloyd iterations of a restart.
      tolerance: a restart has converged once the squared displacement of its centroids is
        at most this, in units of the mean variance of a column; at least 0.

    Returns:
      Centroids, labels, inertia and number of iterations of the restart with the lowest
      inertia.

    Raises:
      TypeError: `z` is not an array of numbers.
      ValueError: `z` is not a finite matrix, its squared distances overflow float32, or a
        count or the tolerance is out of range.

    Example:
      >>> z = np.array([[0.0, 0.0], [0.0, 1.0], [9.0, 9.0]], np.float32)
      >>> result = k_means(jax.random.key(0), z, 2, n_init=2)
      >>> sorted(result.centroids.tolist()), float(result.inertia)
      ([[0.0, 0.5], [9.0, 9.0]], 0.5)
    """
    check_samples(z, "z")
    check_magnitude(z, "z")
    check_n_clusters(n_clusters, len(z))
    check_positive_int("n_init", n_init)
    check_positive_int("max_iter", max_iter)
    if not is_traced(tolerance) and not tolerance >= 0:
        raise ValueError(f"tolerance must be at least 0, got {tolerance}.")
    batching = _batching(n_clusters, n_init)
    z = jnp.asarray(z)
    return _k_means(key, z, n_clusters, n_init, max_iter, tolerance, *batching)


def _default_trials(n_clusters: int) -> int:
    """Returns the candidates for each centroid of greedy k-means++, as in scikit-learn."""
    return 2 + int(math.log(n_clusters))


def _batching(n_clusters: int, n_init: int) -> tuple[int, int]:
    """Chooses the number of parallel restarts and of rows of a block, for the device."""
    # A few restarts already use all cores of a CPU, and small groups wait less for their
    # slowest restart; an accelerator runs all of them at once (benchmarks/kmeans.py).
    on_cpu = jax.default_backend() == "cpu"
    at_once = min(n_init, 5) if on_cpu else n_init
    rows, entries = (4096, 2**20) if on_cpu else (65536, 2**26)
    return at_once, max(256, min(rows, entries // (at_once * n_clusters)))


@partial(jax.jit, static_argnums=(2, 3, 4))
def _kmeans_plus_plus(
    key: Array, z: Array, n_clusters: int, n_trials: int, block_size: int
) -> Float[Array, "k d"]:
    samples = in_blocks(z, block_size)
    return _seed(samples, n_clusters, n_trials, key) + samples.mean[None, :]


@partial(jax.jit, static_argnums=(2, 3, 6, 7))
def _k_means(
    key: Array,
    z: Array,
    n_clusters: int,
    n_init: int,
    max_iter: Array | int,
    tolerance: Array | float,
    at_once: int,
    block_size: int,
) -> KMeansResult:
    samples = in_blocks(z, block_size)
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(n_init))
    seed = partial(_seed, samples, n_clusters, _default_trials(n_clusters))
    initial = lax.map(seed, keys, batch_size=at_once)
    state = _lloyd(samples, initial, max_iter, tolerance, at_once)
    # Rounded to the returned centroids first, so that labels and inertia belong to them.
    centroids = state.centroids + samples.mean[None, None, :]
    relative = centroids - samples.mean[None, None, :]
    inertias = lax.map(partial(_inertia, samples), relative)
    best = inertias.argmin()
    block_labels = partial(_block_labels, samples.mean, relative[best])
    labels = from_blocks(lax.map(block_labels, samples.rows), len(z), z)
    labels = shard_like(labels, z, axis=None)
    return KMeansResult(centroids[best], labels, inertias[best], state.n_iter[best])


def _scores(
    centroids: Float[Array, "k d"], x: Float[Array, "b d"]
) -> Float[Array, "k b"]:
    """Computes squared distances less ||x||^2, with a row for each cluster."""
    products = jnp.einsum("kd,bd->kb", centroids, x, precision=lax.Precision.HIGHEST)
    return (centroids**2).sum(axis=1)[:, None] - 2 * products


def _squared_distances(
    centroids: Float[Array, "k d"], x: Float[Array, "b d"]
) -> Float[Array, "k b"]:
    return jnp.maximum(_scores(centroids, x) + (x**2).sum(axis=1)[None, :], 0)


def _nearest(scores: Float[Array, "k b"]) -> Int[Array, " b"]:
    """Finds the first of the lowest scores of each sample.

    It takes two minima, because XLA's argmin is 16 times slower on a CPU
    (benchmarks/kmeans.py).
    """
    k = len(scores)
    lowest = scores == scores.min(axis=0, keepdims=True)
    clusters = jnp.arange(k, dtype=jnp.int32)[:, None]
    # A sample whose scores are NaN (overflow within a traced call) gets the last cluster.
    return jnp.minimum(jnp.where(lowest, clusters, k).min(axis=0), k - 1)


def _block_labels(mean: Array, centroids: Array, rows: Array) -> Int[Array, " b"]:
    return _nearest(_scores(centroids, centered(rows, mean)))


def _inertia(samples: Samples, centroids: Float[Array, "k d"]) -> Float[Array, ""]:
    return sum_over_blocks(samples, jnp.zeros(()), partial(_block_inertia, centroids))


def _block_inertia(centroids: Array, x: Array, real: Array) -> Float[Array, ""]:
    """Computes the inertia from differences, because the expanded square loses digits."""
    differences = x - centroids[_nearest(_scores(centroids, x))]
    return jnp.where(real[:, None], differences**2, 0).sum()


def _closest(samples: Samples, centroids: Float[Array, "k d"]) -> Float[Array, "m b"]:
    """Computes the squared distance to the nearest centroid; 0 for the padding."""
    block_closest = partial(_block_closest, samples.mean, centroids)
    return lax.map(block_closest, (samples.rows, samples.real))


def _block_closest(mean: Array, centroids: Array, block: Any) -> Float[Array, " b"]:
    rows, real = block
    distances = _squared_distances(centroids, centered(rows, mean))
    return jnp.where(real, distances.min(axis=0), 0)


def _seed(
    samples: Samples, n_clusters: int, n_trials: int, key: Array
) -> Float[Array, "k d"]:
    """Draws the centroids of one restart, relative to the mean of the samples."""
    # In (0, 1], for the block and the row of each candidate.
    levels = 1 - jax.random.uniform(key, (n_clusters, 2, n_trials))
    uniform = samples.real.astype(jnp.float32)
    first = draw(samples, levels[0, :, :1], uniform)
    add = partial(_add_centroid, samples)
    others = lax.scan(add, _closest(samples, first), levels[1:])[1]
    return jnp.concatenate([first, others])


def _add_centroid(
    samples: Samples, closest: Float[Array, "m b"], levels: Float[Array, "2 t"]
) -> tuple[Float[Array, "m b"], Float[Array, " d"]]:
    """Draws candidates, and keeps the one with the lowest inertia."""
    candidates = draw(samples, levels, closest)
    zero = jnp.zeros(len(candidates))
    inertias = partial(_block_inertias, candidates)
    best = sum_over_blocks(samples, zero, inertias, closest).argmin()
    centroid = candidates[best]
    return jnp.minimum(closest, _closest(samples, centroid[None, :])), centroid


def _block_inertias(
    candidates: Array, x: Array, real: Array, closest: Array
) -> Float[Array, " t"]:
    """Computes the inertia with each candidate added; `closest` is 0 for the padding."""
    distances = _squared_distances(candidates, x)
    return jnp.minimum(closest[None, :], distances).sum(axis=1)


def _lloyd(
    samples: Samples,
    centroids: Float[Array, "r k d"],
    max_iter: Array | int,
    tolerance: Array | float,
    at_once: int,
) -> _LloydState:
    """Runs Lloyd's iterations from given centroids, on `at_once` restarts at a time."""
    r, _, d = centroids.shape
    variance = _inertia(samples, jnp.zeros((1, d))) / (samples.real.sum() * d)
    state = _LloydState(centroids, jnp.zeros(r, jnp.int32), jnp.zeros(r, bool))
    step = partial(_lloyd_step, samples, max_iter, tolerance * variance, at_once)
    return lax.while_loop(partial(_unfinished, max_iter), step, state)


def _unfinished(max_iter: Array | int, state: _LloydState) -> Bool[Array, ""]:
    return (~state.converged & (state.n_iter < max_iter)).any()


def _lloyd_step(
    samples: Samples,
    max_iter: Array | int,
    threshold: Array,
    at_once: int,
    state: _LloydState,
) -> _LloydState:
    """Iterates the first `at_once` unfinished restarts; a finished one does not change."""
    finished = state.converged | (state.n_iter >= max_iter)
    # A stable sort puts unfinished restarts first; finished ones may fill up the group.
    chosen = jnp.argsort(finished)[:at_once]
    frozen = finished[chosen]
    old = state.centroids[chosen]
    new = jnp.where(frozen[:, None, None], old, _moved(samples, old))
    shift = ((new - old) ** 2).sum(axis=(1, 2))
    # Compiled code may round the same mean in two ways: the shift need not reach 0.
    rounding = (4 * _EPS) ** 2 * (new**2).sum(axis=(1, 2))
    still = shift <= jnp.maximum(threshold, rounding)
    return _LloydState(
        centroids=state.centroids.at[chosen].set(new),
        n_iter=state.n_iter.at[chosen].add(~frozen),
        converged=state.converged.at[chosen].max(still & ~frozen),
    )


def _moved(samples: Samples, centroids: Float[Array, "r k d"]) -> Float[Array, "r k d"]:
    """Computes the mean of the samples nearest to each centroid."""
    zero = jnp.zeros_like(centroids), jnp.zeros(centroids.shape[:2], jnp.int32)
    block_sums = jax.vmap(_block_sums, in_axes=(0, None, None))
    sums, counts = sum_over_blocks(samples, zero, partial(block_sums, centroids))
    relocate = jax.vmap(partial(_relocate_empty, samples))
    sums, counts = lax.cond(
        (counts == 0).any(), relocate, _keep, centroids, sums, counts
    )
    means = sums / jnp.maximum(counts, 1)[:, :, None]
    return jnp.where(counts[:, :, None] > 0, means, centroids)


def _block_sums(centroids: Array, x: Array, real: Array) -> tuple[Array, Array]:
    """Computes sum [k, d] and number [k] of the samples of each cluster."""
    labels = _nearest(_scores(centroids, x))
    if jax.default_backend() == "cpu" and len(centroids) >= ADDED_FROM:
        counts = jnp.zeros(len(centroids), jnp.int32).at[labels].add(real)
        masked = jnp.where(real[:, None], x, 0)
        return jnp.zeros_like(centroids).at[labels].add(masked), counts
    member = (labels[None, :] == jnp.arange(len(centroids))[:, None]) & real[None, :]
    member = member.astype(jnp.float32)
    sums = jnp.einsum("kb,bd->kd", member, x, precision=lax.Precision.HIGHEST)
    return sums, member.sum(axis=1).astype(jnp.int32)


def _keep(centroids: Array, sums: Array, counts: Array) -> tuple[Array, Array]:
    return sums, counts


def _relocate_empty(
    samples: Samples, centroids: Array, sums: Array, counts: Array
) -> tuple[Array, Array]:
    """Moves the samples farthest from their centroids into the empty clusters."""
    empty = counts == 0
    closest = in_order(samples, _closest(samples, centroids))
    farthest = lax.top_k(closest, len(centroids))[1]
    # The i-th empty cluster gets the i-th farthest sample; other entries are unused.
    index = farthest[jnp.cumsum(empty) - 1]
    x = samples_at(samples, index)
    donors = _nearest(_scores(centroids, x))
    # A duplicate of its centroid differs from it by rounding only, and fills no cluster.
    apart = ((x - centroids[donors]) ** 2).sum(axis=1) > _EPS * (x**2).sum(axis=1)
    takes = empty & apart
    taken = jnp.where(takes[:, None], x, 0)
    # Moved samples are subtracted from their donors, of which several may be equal.
    if jax.default_backend() == "cpu":
        sums = sums.at[donors].add(-taken) + taken
    else:
        # A GPU would add in any order, and round in another way each time.
        of_donor = (donors[None, :] == jnp.arange(len(sums))[:, None]).astype(x.dtype)
        given = jnp.matmul(of_donor, taken, precision=lax.Precision.HIGHEST)
        sums = sums - given + taken
    return sums, counts.at[donors].add(-takes.astype(jnp.int32)) + takes
