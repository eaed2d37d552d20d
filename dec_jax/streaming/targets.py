"""p of all samples of a stream, from q in a scratch file."""

from collections.abc import Callable, Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from dec_jax.clustering.assignment import (
    SINKHORN_ERROR,
    SINKHORN_TURNS,
    match_cluster_sizes,
    sharpen,
)
from dec_jax.streaming.mapped_rows import MappedRows
from dec_jax.streaming.passes import SMALL_GROUP_VALUES, Look, rows_of_group
from dec_jax.streaming.read_ahead import Reading, scratch


def targets(
    seen: Look,
    centroids: jax.Array,
    reading: Reading,
    shares: Float[Array, " k"] | None = None,
) -> MappedRows:
    """Computes p of all samples, in passes over q alone.

    Args:
      seen: the result of the pass over the samples.
      centroids: of the clusters.
      reading: names the folder of the scratch file.
      shares: share of each cluster in the mean of p, to be kept; None keeps none.

    Returns:
      p, [n, k].
    """
    n, k = seen.q.x.shape
    at_once = rows_of_group(n, centroids)
    frequency = jnp.asarray(seen.frequency)

    def p_of_groups(weigh: Callable[[jax.Array], jax.Array]) -> Iterator[np.ndarray]:
        for start in range(0, n, at_once):
            q = jnp.asarray(seen.q.read(slice(start, start + at_once)))
            yield np.asarray(weigh(_sharpen(q, frequency)))

    if shares is None:
        return scratch(p_of_groups(lambda p: p), (n, k), reading)
    if n <= at_once:
        same = partial(_match_cluster_sizes, shares=shares)
        return scratch(p_of_groups(same), (n, k), reading)
    # `match_cluster_sizes` scales the columns of p, then its rows, in turn. As only the
    # columns' scales are needed for the next turn, p itself is not kept between turns.
    scales = np.ones(k)
    for _ in range(SINKHORN_TURNS):
        weighed = partial(_scaled, scales=jnp.asarray(scales, jnp.float32))
        sums = sum(p.sum(axis=0, dtype=np.float64) for p in p_of_groups(weighed))
        mean = sums / n
        if np.abs(mean - np.asarray(shares)).max() <= SINKHORN_ERROR:
            break
        scales *= np.asarray(shares) / np.maximum(mean, np.finfo(np.float32).tiny)
        scales /= scales.max()
    weighed = partial(_scaled, scales=jnp.asarray(scales, jnp.float32))
    return scratch(p_of_groups(weighed), (n, k), reading)


def frozen_targets(
    labels: Int[np.ndarray, " n"], n_clusters: int, reading: Reading
) -> MappedRows:
    """Writes the one-hot rows of a labeling, which are p while p is frozen."""
    n, rows = len(labels), np.eye(n_clusters, dtype=np.float32)
    at_once = max(1, SMALL_GROUP_VALUES // n_clusters)
    made = (rows[labels[begin : begin + at_once]] for begin in range(0, n, at_once))
    return scratch(made, (n, n_clusters), reading)


_sharpen = jax.jit(sharpen)
_match_cluster_sizes = jax.jit(match_cluster_sizes)


@jax.jit
def _scaled(p: Float[Array, "b k"], scales: Float[Array, " k"]) -> Float[Array, "b k"]:
    p = p * scales[None, :]
    return p / p.sum(axis=1, keepdims=True)
