"""DipDECK: deep clustering that finds the number of clusters by dip tests.

Leiber, Bauer, Schelling, Böhm and Plant, `Dip-based Deep Embedded Clustering with
k-Estimation <https://doi.org/10.1145/3447548.3467316>`_, KDD 2021:

    k-means with too many clusters on z
    an epoch    pulls each sample towards its centroid and those of clusters that may be
                one with it; the centroids are samples, and move with the network
    a merge     joins the two clusters whose samples, projected on the line between the
                centroids, look most like one group, as long as their dip-p-value is high
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Num

from dec_jax.clustering.assignment import squared_distances
from dec_jax.clustering.dip import dip_p_values
from dec_jax.clustering.kmeans import k_means
from dec_jax.networks.autoencoder import (
    Params,
    autoencode_batch,
    embed,
    encode,
    scale_input,
)
from dec_jax.networks.own import Network, check_plain_autoencoder
from dec_jax.objectives.reconstruction import reconstruction_loss
from dec_jax.training.augmentation import Augmentation, augment
from dec_jax.training.minibatches import (
    minibatch_plan,
    scan_minibatches,
    steps_per_epoch,
)
from dec_jax.training.optimizer import Optimizer
from dec_jax.validation import check_n_clusters, check_positive_int, check_samples


@dataclass(frozen=True)
class DipDECKConfig:
    """Settings of DipDECK; the defaults are the paper's.

    Attributes:
      n_clusters: clusters of the start, more than are expected; at least 2.
      threshold: two clusters merge from this dip-p-value on, in (0, 1].
      epochs: of training after the start and after each merge, at least 1.
      batch_size: samples of a step, at least 1.
      size_ratio: of a cluster more than this many times as large as another, as many
        samples take part in their test, those nearest to the other; at least 1.
      clustering_weight: of the clustering loss, next to the reconstruction; at least 0.
      optimizer: trains encoder and decoder.
      augmentation: distortion of the samples of a step.

    Example:
      >>> DipDECKConfig(n_clusters=20).threshold
      0.9
    """

    n_clusters: int = 35
    threshold: float = 0.9
    epochs: int = 50
    batch_size: int = 256
    size_ratio: float = 2.0
    clustering_weight: float = 1.0
    optimizer: Optimizer = Optimizer("adam", 1e-4)
    augmentation: Augmentation = Augmentation()

    def __post_init__(self) -> None:
        for name in ("n_clusters", "epochs", "batch_size"):
            check_positive_int(name, getattr(self, name))
        if self.n_clusters < 2:
            raise ValueError(f"n_clusters must be at least 2, got {self.n_clusters}.")
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold must be in (0, 1], got {self.threshold}.")
        if not 1 <= self.size_ratio < np.inf:
            raise ValueError(
                f"size_ratio must be finite and at least 1, got {self.size_ratio}."
            )
        if not 0 <= self.clustering_weight < np.inf:
            raise ValueError(
                "clustering_weight must be finite and at least 0, got "
                f"{self.clustering_weight}."
            )


class DipDECKResult(NamedTuple):
    """The clusters that DipDECK found.

    Attributes:
      labels: [n] int32, numbered by size, the largest first.
      n_clusters: their number.
      centroids: [k, e] means of z.
      params: of the trained autoencoder.
      history: the number of clusters after each epoch.
    """

    labels: Int[np.ndarray, " n"]
    n_clusters: int
    centroids: Float[np.ndarray, "k e"]
    params: Params
    history: list[int]


class _Clusters(NamedTuple):
    """Clusters on the host: some of the K of the start, the others merged away."""

    labels: np.ndarray  # [n], among the clusters that are alive
    rows: np.ndarray  # [K] the sample that is the centroid of each
    alive: np.ndarray  # [K] bool
    p_values: np.ndarray  # [K, K] symmetric; 0 in the diagonal and for dead clusters


def dipdeck(
    key: jax.Array,
    params: Params,
    x: Num[Array | np.ndarray, "n d"],
    *,
    architecture: Network,
    config: DipDECKConfig = DipDECKConfig(),
    on_epoch: Callable[[int, int], bool | None] | None = None,
) -> DipDECKResult:
    """Clusters samples without a given number of clusters, by training and merging.

    Args:
      key: a `jax.random.key`.
      params: of the pretrained autoencoder, with a decoder.
      x: all samples, [n, d] of any numeric dtype.
      architecture: the network.
      config: the settings.
      on_epoch: called after each epoch with the epochs since the last merge and the number
        of clusters; returning True ends training there.

    Returns:
      The clusters, and the trained autoencoder.

    Raises:
      TypeError, ValueError: `x` is not finite numbers of shape [n, d], or has fewer samples
        than the start has clusters; or the network does not suit the method.

    Example:
      >>> from dec_jax import dense_architecture, init_params
      >>> net = dense_architecture(4, hidden=(8,), embedding_dim=2)
      >>> rng = np.random.default_rng(0)
      >>> x = 9 * np.eye(4)[np.arange(80) % 2] + rng.normal(size=(80, 4))
      >>> config = DipDECKConfig(n_clusters=4, epochs=1)
      >>> params = init_params(jax.random.key(0), net)
      >>> found = dipdeck(
      ...     jax.random.key(1), params, x.astype("f"), architecture=net, config=config
      ... )
      >>> found.labels.shape, found.n_clusters == len(found.centroids)
      ((80,), True)
    """
    check_samples(x)
    check_n_clusters(config.n_clusters, len(x))
    check_plain_autoencoder(architecture, "DipDECK")
    x = jnp.asarray(x)
    kept = {name: params[name] for name in ("encoder", "decoder")}
    start_key, train_key = jax.random.split(key)
    z = _embed(params, x, architecture=architecture)
    start = k_means(start_key, z, config.n_clusters)
    z_host = np.asarray(z, np.float64)
    clusters = _look(
        z_host, np.asarray(start.labels), np.ones(config.n_clusters, bool), config
    )
    opt_state = config.optimizer.build(1).init(kept)
    rest = {name: value for name, value in params.items() if name not in kept}
    since, step, history = 0, 0, []
    while since < config.epochs and clusters.alive.sum() > 1:
        kept, opt_state = _train_epoch(
            kept,
            opt_state,
            rest,
            x,
            jnp.asarray(clusters.labels),
            jnp.asarray(clusters.rows),
            jnp.asarray(clusters.alive),
            jnp.asarray(_weights(clusters), jnp.float32),
            since == 0,
            step,
            train_key,
            architecture=architecture,
            config=config,
        )
        step += steps_per_epoch(len(x), config.batch_size)
        since += 1
        z_host = np.asarray(
            _embed({**rest, **kept}, x, architecture=architecture), np.float64
        )
        clusters = _assigned(z_host, clusters, config)
        merged = _merged(z_host, clusters, config)
        if merged.alive.sum() < clusters.alive.sum():
            clusters, since = merged, 0
        history.append(int(clusters.alive.sum()))
        if on_epoch is not None and on_epoch(since, history[-1]):
            break
    return _result(z_host, clusters, {**rest, **kept}, history)


_embed = jax.jit(embed, static_argnames="architecture")


@partial(jax.jit, static_argnames=("architecture", "config"))
def _train_epoch(
    params: Params,
    opt_state: optax.OptState,
    rest: Params,
    x: Num[Array, "n d"],
    labels: Int[Array, " n"],
    rows: Int[Array, " K"],
    alive: Bool[Array, " K"],
    weights: Float[Array, "K K"],
    just_merged: Bool[Array, ""] | bool,
    first_step: Int[Array, ""] | int,
    key: jax.Array,
    *,
    architecture: Network,
    config: DipDECKConfig,
) -> tuple[Params, optax.OptState]:
    """Trains the autoencoder for an epoch, with the clusters as they are."""
    plan = minibatch_plan(
        jax.random.fold_in(key, 0),
        first_step,
        num_steps=steps_per_epoch(len(x), config.batch_size),
        n_samples=len(x),
        batch_size=config.batch_size,
    )
    optimizer = config.optimizer.build(1)
    centers = scale_input(x[rows], architecture)

    def step(
        state: tuple[Params, optax.OptState, jax.Array],
        indices: jax.Array,
        shares: jax.Array,
    ) -> tuple[tuple[Params, optax.OptState, jax.Array], None]:
        params, opt_state, count = state
        step_key = jax.random.fold_in(jax.random.fold_in(key, 1), count)
        seen = augment(
            step_key, scale_input(x[indices], architecture), config.augmentation
        )

        def loss_of(params: Params) -> jax.Array:
            whole = {**rest, **params}
            z, x_hat, _ = autoencode_batch(
                whole, seen, architecture=architecture, weights=shares, axis_name=None
            )
            places = encode(whole, centers, architecture=architecture)
            # After a merge the network needs an epoch to follow the new clusters.
            near = jnp.where(alive[None], squared_distances(z, places), jnp.inf)
            own = jnp.where(just_merged, labels[indices], near.argmin(axis=1))
            clustering = clustering_loss(z, places, own, weights, alive, shares)
            reconstruction = reconstruction_loss(seen, x_hat, weights=shares)
            return reconstruction + config.clustering_weight * clustering

        updates, opt_state = optimizer.update(
            jax.grad(loss_of)(params), opt_state, params
        )
        return (optax.apply_updates(params, updates), opt_state, count + 1), None

    first = jnp.asarray(first_step, jnp.int32)
    (params, opt_state, _), _ = scan_minibatches(step, (params, opt_state, first), plan)
    return params, opt_state


def clustering_loss(
    z: Float[Array, "b e"],
    places: Float[Array, "K e"],
    labels: Int[Array, " b"],
    weights: Float[Array, "K K"],
    alive: Bool[Array, " K"],
    shares: Float[Array, " b"],
) -> Float[Array, ""]:
    """Computes the clustering loss of DipDECK, equations 3 and 4 of Leiber et al. (2021).

    With the rows P of dip-p-values, divided by their sums, and the distances D between the
    centroids:

        (1 + std D) / mean D * mean over i of sum over j of P_(c_i, j) ||z_i - mu_j||^2

    The factor keeps the network from shrinking z, or from pulling apart some of the
    centroids only.

    Args:
      z: embeddings of the batch.
      places: embeddings of the centroids.
      labels: the cluster c_i of each sample.
      weights: P; rows and columns of dead clusters are 0.
      alive: the clusters that are left, at least two.
      shares: of each sample in the mean.

    Returns:
      The loss.
    """
    pulls = (weights[labels] * squared_distances(z, places)).sum(axis=1)
    pairs = alive[:, None] & alive[None] & ~jnp.eye(len(alive), dtype=bool)
    squares = jnp.where(pairs, squared_distances(places, places), 1.0)
    # The root has no gradient at 0, where two centroids meet.
    apart = jnp.where(pairs, jnp.sqrt(jnp.maximum(squares, 1e-12)), 0.0)
    count = pairs.sum()
    mean = apart.sum() / count
    spread = jnp.where(pairs, (apart - mean) ** 2, 0.0).sum() / (count - 1)
    # Of two clusters there is one distance, which has no deviation.
    deviation = jnp.where(count > 2, jnp.sqrt(jnp.maximum(spread, 1e-12)), 0.0)
    return (1 + deviation) / mean * (shares @ pulls)


def _weights(clusters: _Clusters) -> Float[np.ndarray, "K K"]:
    """Divides the rows of p-values, with 1 in the diagonal, by their sums."""
    p = np.where(np.eye(len(clusters.alive), dtype=bool), 1.0, clusters.p_values)
    p = p * (clusters.alive[:, None] & clusters.alive[None])
    return p / np.maximum(p.sum(axis=1, keepdims=True), 1e-12)


def _look(
    z: np.ndarray, labels: np.ndarray, alive: np.ndarray, config: DipDECKConfig
) -> _Clusters:
    """Places the centroids on the samples nearest to the means, and tests all pairs."""
    numbers = np.flatnonzero(alive)
    rows = np.zeros(len(alive), np.int64)
    filled = np.isin(numbers, labels)
    # A cluster that no sample is nearest to any more is gone.
    alive = alive.copy()
    alive[numbers[~filled]] = False
    numbers = numbers[filled]
    for cluster in numbers:
        mean = z[labels == cluster].mean(axis=0)
        rows[cluster] = ((z - mean) ** 2).sum(axis=1).argmin()
    codes = np.searchsorted(numbers, labels)
    found = dip_p_values(z, codes, z[rows[numbers]], size_ratio=config.size_ratio)
    p = np.zeros((len(alive), len(alive)))
    p[np.ix_(numbers, numbers)] = found
    return _Clusters(labels.astype(np.int32), rows, alive, p)


def _assigned(z: np.ndarray, clusters: _Clusters, config: DipDECKConfig) -> _Clusters:
    """Assigns each sample to its nearest centroid, and looks at the clusters anew."""
    from scipy.spatial.distance import cdist

    apart = cdist(z, z[clusters.rows], "sqeuclidean")
    apart[:, ~clusters.alive] = np.inf
    return _look(z, apart.argmin(axis=1), clusters.alive, config)


def _merged(z: np.ndarray, clusters: _Clusters, config: DipDECKConfig) -> _Clusters:
    """Merges the two clusters of the highest p-value, as long as it is high enough."""
    while clusters.alive.sum() > 1 and clusters.p_values.max() >= config.threshold:
        into, gone = np.unravel_index(
            clusters.p_values.argmax(), clusters.p_values.shape
        )
        labels = np.where(clusters.labels == gone, into, clusters.labels)
        alive = clusters.alive.copy()
        alive[gone] = False
        clusters = _look(z, labels, alive, config)
    return clusters


def _result(
    z: np.ndarray, clusters: _Clusters, params: Params, history: list[int]
) -> DipDECKResult:
    """Numbers the clusters that are left by size, and takes the means of z."""
    numbers, codes, sizes = np.unique(
        clusters.labels, return_inverse=True, return_counts=True
    )
    labels = np.argsort(np.argsort(-sizes, kind="stable"))[codes].astype(np.int32)
    k = len(numbers)
    means = np.stack([z[labels == cluster].mean(axis=0) for cluster in range(k)])
    return DipDECKResult(labels, k, means, params, history)
