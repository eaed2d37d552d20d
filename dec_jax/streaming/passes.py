"""One pass over a source: z, q, labels and the column sums of q, none of them held whole."""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from dec_jax.clustering import kmeans
from dec_jax.clustering.assignment import (
    confidence,
    hard_assignment,
    sharpen,
    squared_distances,
)
from dec_jax.networks.autoencoder import Params, rows_at_once
from dec_jax.networks.autoencoder import embed as embed_array
from dec_jax.networks.own import Network
from dec_jax.objectives import DEC, Objective
from dec_jax.streaming.read_ahead import Reading, blocks, order_of, scratch
from dec_jax.streaming.sources import MappedRows, Source, source_of
from dec_jax.training.state import TrainConfig, TrainState
from dec_jax.validation import check_n_clusters, check_positive_int

# Numbers of z, or of q, that are looked at in one program. Where all samples are one group,
# q, its sums and p come out as they do in memory, to the last bit; where they are more,
# groups are small, for the ten arrays of that size that a pass has at a time.
GROUP_VALUES = 2**23
SMALL_GROUP_VALUES = 2**20


def embed(
    params: Params,
    source: Source | np.ndarray,
    *,
    architecture: Network,
    rows: np.ndarray | None = None,
    reading: Reading = Reading(),
) -> np.ndarray:
    """z of all samples, or of some rows of them.

    Args:
      params: parameters with an entry "encoder".
      source: the samples.
      architecture: the network.
      rows: which samples, in this order; None is all.
      reading: how the source is read.

    Returns:
      z, [n, e] float32, a map of a scratch file that is gone with it.
    """
    source = source_of(source)
    check_width(source, architecture)
    n = source.shape[0] if rows is None else len(rows)
    made = blocks(
        partial(_embed_block, params, architecture=architecture),
        source,
        reading=reading,
        multiple=rows_at_once(architecture),
        rows=rows,
    )
    return scratch(made, (n, architecture.embedding_dim), reading).x


def k_means(
    key: jax.Array,
    params: Params,
    source: Source | np.ndarray,
    n_clusters: int,
    *,
    architecture: Network,
    sample_size: int = 100_000,
    n_init: int = 20,
    reading: Reading = Reading(),
) -> kmeans.KMeansResult:
    """k-means of z of a random subsample, then one pass for the labels of all samples.

    Args:
      key: a `jax.random.key`; that of `k_means`, and folded with `n_init`, which no
        restart takes, that of the subsample.
      params: parameters with an entry "encoder".
      source: the samples.
      n_clusters: number of clusters.
      architecture: the network.
      sample_size: samples that k-means sees, drawn without replacement; where there are
        no more than that, all, and the result is that of the in-memory `k_means`.
      n_init: restarts.
      reading: how the source is read.

    Returns:
      Centroids, the labels of all samples; the inertia is that of the subsample.

    Raises:
      ValueError: fewer samples, or a smaller subsample, than clusters.
    """
    source = source_of(source)
    n = source.shape[0]
    check_n_clusters(n_clusters, n)
    check_positive_int("sample_size", sample_size)
    if sample_size < n_clusters:
        raise ValueError(
            f"sample_size must be at least n_clusters = {n_clusters}, got {sample_size}."
        )
    settings: dict[str, Any] = {"architecture": architecture, "reading": reading}
    if n <= sample_size:
        z = embed(params, source, **settings)
        return kmeans.k_means(key, z, n_clusters, n_init=n_init)
    drawn = order_of(jax.random.fold_in(key, n_init), 0, n, 1)[:sample_size]
    z = embed(params, source, rows=np.sort(drawn), **settings)
    del drawn
    result = kmeans.k_means(key, z, n_clusters, n_init=n_init)
    made = blocks(
        partial(_nearest_block, params, result.centroids, architecture=architecture),
        source,
        reading=reading,
        multiple=rows_at_once(architecture),
    )
    labels, done = np.empty(n, np.int32), 0
    for of_block in made:
        labels[done : done + len(of_block)] = of_block
        done += len(of_block)
    return result._replace(labels=jnp.asarray(labels))


def assign(
    params: Params,
    source: Source | np.ndarray,
    *,
    architecture: Network,
    objective: Objective = DEC(),
    reading: Reading = Reading(),
) -> tuple[np.ndarray, np.ndarray]:
    """q and the hard labels of all samples, in one pass.

    Args:
      params: parameters with entries "encoder", "centroids" and those of the method.
      source: the samples.
      architecture: the network.
      objective: the method, which says how q comes from z.
      reading: how the source is read.

    Returns:
      q, [n, k] float32, a map of a scratch file that is gone with it; and the labels.
    """
    source = source_of(source)
    check_width(source, architecture)
    seen = look(params, source, architecture, objective, reading)
    return seen.q.x, seen.labels


class Look(NamedTuple):
    """What one pass over all samples sees."""

    q: MappedRows  # [n, k]
    labels: np.ndarray  # [n] int32
    frequency: np.ndarray  # [k] float32, the column sums of q
    max_q: float
    q_entropy: float
    sizes: np.ndarray  # [k] int32, samples of each label
    changed: int  # labels that are not the previous ones; 0 without these


def look(
    params: Params,
    source: Source,
    architecture: Network,
    objective: Objective,
    reading: Reading,
    previous: np.ndarray | None = None,
) -> Look:
    """The pass of a refresh; `previous` labels are compared with the new ones."""
    n, k = source.shape[0], len(params["centroids"])
    z = blocks(
        partial(_embed_block, params, architecture=architecture),
        source,
        reading=reading,
        multiple=rows_at_once(architecture),
    )
    network = ("encoder", "decoder", "batch_stats")
    clusters = {name: params[name] for name in params if name not in network}
    labels = np.empty(n, np.int32)
    # Column sums of q, what is averaged, and counts: float32 would lose digits over
    # millions.
    sums = np.zeros(2 * k + 3)
    made = _q_of(z, clusters, objective, labels, sums, previous)
    q = scratch(made, (n, k), reading)
    max_q, q_entropy, changed = sums[k : k + 3]
    return Look(
        q=q,
        labels=labels,
        frequency=sums[:k].astype(np.float32),
        max_q=float(max_q / n),
        q_entropy=float(q_entropy / n),
        sizes=sums[k + 3 :].astype(np.int32),
        changed=int(changed),
    )


def _q_of(
    z_blocks: Iterator[np.ndarray],
    clusters: Params,
    objective: Objective,
    labels: np.ndarray,
    sums: np.ndarray,
    previous: np.ndarray | None,
) -> Iterator[np.ndarray]:
    """Yields q, group after group, and puts what else is seen into the two arrays."""
    k, e = clusters["centroids"].shape
    rows = min(len(labels), _rows_of_group(len(labels), clusters["centroids"]))
    group = np.empty((rows, e), np.float32)
    done = 0
    for z in _grouped(z_blocks, group):
        q, of_group, *others = jax.device_get(
            _look_group(clusters, jnp.asarray(z), objective=objective)
        )
        frequency, largest, entropy = others
        here = slice(done, done + len(z))
        changed = 0 if previous is None else np.sum(of_group != previous[here])
        sizes = np.bincount(of_group, minlength=k)
        sums += [*frequency, len(z) * largest, len(z) * entropy, changed, *sizes]
        labels[here] = of_group
        done += len(z)
        yield q
        # Gone before the next group comes.
        del q, of_group, others


def _rows_of_group(n: int, centroids: jax.Array) -> int:
    width = max(centroids.shape)
    one = n <= max(1, GROUP_VALUES // width)
    values = GROUP_VALUES if one else min(GROUP_VALUES, SMALL_GROUP_VALUES)
    return max(1, values // width)


def _grouped(blocks: Iterator[np.ndarray], group: np.ndarray) -> Iterator[np.ndarray]:
    """The rows of all blocks, as many at a time as the array for them has room for."""
    filled = 0
    for rows in blocks:
        while len(rows):
            # A copy: to keep each block's own array, small as it is, would keep the
            # memory around it from being used again.
            fitting = rows[: len(group) - filled]
            group[filled : filled + len(fitting)] = fitting
            filled, rows = filled + len(fitting), rows[len(fitting) :]
            if filled == len(group):
                yield group
                filled = 0
    if filled:
        yield group[:filled]


def refreshed(
    state: TrainState, seen: Look, config: TrainConfig
) -> tuple[TrainState, Look]:
    """The state with the labels of a pass, which the two then share where they can."""
    change = jnp.float32(seen.changed) / len(seen.labels)
    state = state._replace(
        labels=jnp.asarray(seen.labels),
        label_change=change,
        converged=(state.step > 0) & (change < config.tolerance),
    )
    return state, seen._replace(labels=np.asarray(state.labels))


def targets(seen: Look, centroids: jax.Array, reading: Reading) -> MappedRows:
    """p of all samples: the second pass, over q alone."""
    n, k = seen.q.x.shape
    at_once = _rows_of_group(n, centroids)
    frequency = jnp.asarray(seen.frequency)
    p = (
        np.asarray(
            _sharpen(jnp.asarray(seen.q.read(slice(start, start + at_once))), frequency)
        )
        for start in range(0, n, at_once)
    )
    return scratch(p, (n, k), reading)


def check_width(source: Source, architecture: Network) -> None:
    """Raises ValueError unless the samples are as wide as the network."""
    if source.shape[1] != architecture.input_dim:
        raise ValueError(
            f"{source.name} must have {architecture.input_dim} values a sample, the "
            f"architecture's input, got {source.shape[1]}."
        )


@partial(jax.jit, static_argnames="objective")
def _look_group(
    clusters: Params, z: Float[Array, "b e"], *, objective: Objective
) -> tuple[jax.Array, ...]:
    q = objective.assignment(clusters, z)
    return q, hard_assignment(q), q.sum(axis=0), *confidence(q)


_sharpen = jax.jit(sharpen)


def check_clustering(
    source: Source,
    n_samples: int,
    architecture: Network,
    objective: Objective,
    config: TrainConfig,
) -> None:
    """Raises unless a state of so many samples can learn from the source."""
    check_width(source, architecture)
    if source.shape[0] != n_samples:
        raise ValueError(
            f"{source.name} must have the state's {n_samples} samples, got "
            f"{source.shape[0]}."
        )
    for name in ("frozen_target_intervals", "reseed_below", "keep_cluster_sizes"):
        if value := getattr(config, name):
            off = getattr(TrainConfig(), name)
            raise ValueError(
                f"{name} must be {off} in a stream, which holds neither p nor z of all "
                f"samples, got {value}."
            )
    objective.check(source.read(slice(0, 1)), architecture)
    if objective.fitted:
        raise ValueError(
            f"{type(objective).__name__} cannot learn from a stream: it fits "
            f"{', '.join(objective.fitted)} to z of all samples; use DEC, IDEC or DCN."
        )


_embed_block = jax.jit(embed_array, static_argnames="architecture")


@partial(jax.jit, static_argnames="architecture")
def _nearest_block(
    params: Params,
    centroids: Float[Array, "k e"],
    x: Num[Array, "b d"],
    *,
    architecture: Network,
) -> Int[Array, " b"]:
    z = embed_array(params, x, architecture=architecture)
    return squared_distances(z, centroids).argmin(axis=1).astype(jnp.int32)
