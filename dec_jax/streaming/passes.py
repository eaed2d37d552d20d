"""Single passes over a source that compute z, q, labels and column sums of q in blocks."""

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
    shares_of,
    squared_distances,
)
from dec_jax.networks.autoencoder import Params, rows_at_once
from dec_jax.networks.autoencoder import embed as embed_array
from dec_jax.networks.own import Network
from dec_jax.objectives import DEC, Objective
from dec_jax.streaming.mapped_rows import MappedRows
from dec_jax.streaming.read_ahead import Reading, blocks, order_of, scratch
from dec_jax.streaming.sources import Source, source_of
from dec_jax.training.refresh import keep_labels
from dec_jax.training.state import NETWORK, TrainConfig, TrainState
from dec_jax.validation import check_n_clusters, check_positive_int

# Numbers of z, or of q, that one program computes with. While all samples fit one group of
# GROUP_VALUES, q, its sums and p equal those of the in-memory run bit for bit. Beyond, groups
# are small, because a pass holds about ten arrays of a group's size at a time.
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
    """Computes z of all samples, or of some rows of them.

    Args:
      params: parameters with an entry "encoder".
      source: the samples.
      architecture: the network.
      rows: indices of the samples, in the order of z; None is all samples.
      reading: settings for reading the source.

    Returns:
      z, [n, e] float32, a map of a scratch file that is deleted with it.

    Raises:
      TypeError, ValueError: the samples are not finite numbers of the network's width.
      OSError: the scratch folder has no room for z.
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
    """Clusters z of a random subsample by k-means, then labels all samples in one pass.

    Args:
      key: a `jax.random.key`. The restarts fold it with 0 to n_init - 1, the subsample
        with n_init.
      params: parameters with an entry "encoder".
      source: the samples.
      n_clusters: number of clusters.
      architecture: the network.
      sample_size: size of the subsample, drawn without replacement. If the source has no
        more samples, all are taken, and the result is that of the in-memory `k_means`.
      n_init: number of restarts.
      reading: settings for reading the source.

    Returns:
      Centroids and number of iterations of the subsample's best restart, the inertia of
      the subsample, and the labels of all samples.

    Raises:
      ValueError: the source or the subsample has fewer samples than clusters.

    Example:
      >>> from dec_jax import dense_architecture, init_params
      >>> net = dense_architecture(4, hidden=(8,), embedding_dim=2)
      >>> params = init_params(jax.random.key(0), net)
      >>> x = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
      >>> found = k_means(jax.random.key(1), params, x, 2, architecture=net, n_init=2)
      >>> found.labels.shape, found.centroids.shape
      ((20,), (2, 2))
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
    """Computes q and the hard labels of all samples, in one pass.

    Args:
      params: parameters with entries "encoder", "centroids" and those of the method.
      source: the samples.
      architecture: the network.
      objective: the method, which computes q from z.
      reading: settings for reading the source.

    Returns:
      q, [n, k] float32, a map of a scratch file that is deleted with it; and the labels,
      [n] int32.
    """
    source = source_of(source)
    check_width(source, architecture)
    seen = look(params, source, architecture, objective, reading)
    return seen.q.x, seen.labels


class Look(NamedTuple):
    """Result of one pass over all samples."""

    q: MappedRows  # [n, k]
    labels: np.ndarray  # [n] int32
    frequency: np.ndarray  # [k] float32, the column sums of q
    max_q: float
    q_entropy: float
    sizes: np.ndarray  # [k] int32, samples of each label
    changed: int  # labels that differ from the previous ones; 0 without these


def look(
    params: Params,
    source: Source,
    architecture: Network,
    objective: Objective,
    reading: Reading,
    previous: np.ndarray | None = None,
) -> Look:
    """Makes the pass of a refresh, and compares the labels with the `previous` ones."""
    n, k = source.shape[0], len(params["centroids"])
    z = blocks(
        partial(_embed_block, params, architecture=architecture),
        source,
        reading=reading,
        multiple=rows_at_once(architecture),
    )
    clusters = {name: params[name] for name in params if name not in NETWORK}
    labels = np.empty(n, np.int32)
    # The k column sums of q, sums of max q and of the entropy, the number of changed labels,
    # and the k cluster sizes, in float64: float32 would lose digits over millions.
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
    """Yields q group by group, fills `labels`, and adds to `sums` (in the order of `look`)."""
    k, e = clusters["centroids"].shape
    rows = min(len(labels), rows_of_group(len(labels), clusters["centroids"]))
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
        # Freed before the next group is computed.
        del q, of_group, others


def rows_of_group(n: int, centroids: jax.Array) -> int:
    """Computes the rows of a group: all of them if they are few, else a small number."""
    width = max(centroids.shape)
    one = n <= max(1, GROUP_VALUES // width)
    values = GROUP_VALUES if one else min(GROUP_VALUES, SMALL_GROUP_VALUES)
    return max(1, values // width)


def _grouped(blocks: Iterator[np.ndarray], group: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the rows of all blocks in groups, each written into the array `group`."""
    filled = 0
    for rows in blocks:
        while len(rows):
            # Rows are copied: references to many small blocks would keep the memory
            # between them from being reused.
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
    """Puts the labels of a pass into the state, which shares their memory if possible."""
    change = jnp.float32(seen.changed) / len(seen.labels)
    labels = jnp.asarray(seen.labels)
    if config.keep_cluster_sizes:
        # The sizes to keep are those of the first refresh that makes p of q.
        first = state.step <= config.frozen_target_intervals * config.update_interval
        shares = jnp.where(first, shares_of(labels, len(seen.sizes)), state.shares)
        state = state._replace(shares=shares)
    state = keep_labels(state, labels, change, config=config)
    return state, seen._replace(labels=np.asarray(state.labels))


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


def check_clustering(
    source: Source,
    n_samples: int,
    architecture: Network,
    objective: Objective,
    config: TrainConfig,
) -> None:
    """Raises ValueError unless a state of `n_samples` can be trained on the source."""
    check_width(source, architecture)
    if source.shape[0] != n_samples:
        raise ValueError(
            f"{source.name} must have the state's {n_samples} samples, got "
            f"{source.shape[0]}."
        )
    for name in ("reseed_below", "soft_reset"):
        if value := getattr(config, name):
            off = getattr(TrainConfig(), name)
            raise ValueError(
                f"{name} must be {off} in a stream, which does not hold z of all samples, "
                f"got {value}; set it to {off}, or train in memory."
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
