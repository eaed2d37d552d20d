"""Settings, state, history and result of the clustering phase.

Arrays live in NamedTuples, settings in frozen dataclasses; `cluster` trains with them.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from dec_jax.networks.autoencoder import Params
from dec_jax.objectives import DEC, Objective
from dec_jax.training.augmentation import Augmentation
from dec_jax.training.optimizer import Optimizer
from dec_jax.validation import (
    check_magnitude,
    check_n_clusters,
    check_positive_int,
    check_samples,
)

# Traced or on the device inside the loop, NumPy in a result.
AnyArray = jax.Array | np.ndarray
# Entries of the parameters that belong to the network; all others belong to the clusters.
NETWORK = ("encoder", "decoder", "batch_stats")
# Entries without a row for each cluster.
ROWLESS = (*NETWORK, "shared")


@dataclass(frozen=True)
class SoftReset:
    """Settings of the resets of BRB (Miklautz et al., 2025); see `training.soft_reset`.

    Attributes:
      every: intervals between two resets, at least 1. A reset is left out if fewer
        intervals than that follow it.
      keep: share of the encoder's weights that a reset keeps, in [0, 1]; the rest is drawn
        anew. 1 keeps all and only clusters z anew.
      n_init: restarts of k-means on z after a reset.
      max_samples: largest number of samples that k-means sees, drawn at random; at least
        the number of clusters.

    Example:
      >>> SoftReset(every=20).keep
      0.8
    """

    every: int = 20
    keep: float = 0.8
    n_init: int = 20
    max_samples: int = 10_000

    def __post_init__(self) -> None:
        for name in ("every", "n_init", "max_samples"):
            check_positive_int(name, getattr(self, name))
        if not 0 <= self.keep <= 1:
            raise ValueError(f"keep must be in [0, 1], got {self.keep}.")


@dataclass(frozen=True)
class TrainConfig:
    """Settings of the clustering phase; the defaults are those of DEC-keras for MNIST.

    Attributes:
      update_interval: steps between two refreshes of p, at least 1.
      max_intervals: largest number of intervals, at least 1.
      batch_size: samples of a step, at least 1.
      tolerance: training stops once the fraction of labels that changed between two
        refreshes is below this; 0 never stops.
      patience: training also stops after this number of refreshes in a row that changed
        no label at all, at least 1; None never stops. It leaves a schedule of the learning
        rate that ends with small steps its time, unlike a tolerance.
      optimizer: trains the network and the centroids; see `Optimizer`.
      augmentation: distortion of the samples of a step, drawn anew in each step. p and
        the labels always come from undistorted samples.
      frozen_target_intervals: number of intervals, from the first on, in which p is the
        one-hot labeling that training starts from. It suits labels that are better than
        those of the nearest centroid, such as those of `spectral_clustering`. It is below
        `max_intervals`.
      reseed_below: share of n / k in [0, 1). At each refresh, a cluster with fewer samples
        gets its centroid moved to a sample of the largest cluster, even if the data really
        have a cluster that small. 0 never reseeds.
      keep_cluster_sizes: True keeps the cluster sizes in p as they are when p is first
        made of q (`assignment.match_cluster_sizes`). It suits starting labels whose
        cluster sizes can be trusted.
      soft_reset: resets of the network and its clusters, every few intervals; None never
        resets. It needs p made of q and free cluster sizes, because the clusters are new
        after it.

    Example:
      >>> TrainConfig(max_intervals=20).update_interval
      140
    """

    update_interval: int = 140
    max_intervals: int = 143
    batch_size: int = 256
    tolerance: float = 1e-3
    patience: int | None = None
    optimizer: Optimizer = Optimizer("sgd", 0.01)
    augmentation: Augmentation = Augmentation()
    frozen_target_intervals: int = 0
    reseed_below: float = 0.0
    keep_cluster_sizes: bool = False
    soft_reset: SoftReset | None = None

    def __post_init__(self) -> None:
        for name in ("update_interval", "max_intervals", "batch_size"):
            check_positive_int(name, getattr(self, name))
        if self.patience is not None:
            check_positive_int("patience", self.patience)
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance must be in [0, 1), got {self.tolerance}.")
        frozen = self.frozen_target_intervals
        if frozen < 0:
            raise ValueError(
                f"frozen_target_intervals must be at least 0, got {frozen}."
            )
        # Recipes freeze p; max_intervals is what their users shorten.
        if frozen >= self.max_intervals:
            raise ValueError(
                f"max_intervals must be above frozen_target_intervals = {frozen}, got "
                f"{self.max_intervals}; use max_intervals = {frozen + 1} or more, or "
                "freeze fewer."
            )
        if not 0 <= self.reseed_below < 1:
            raise ValueError(
                "reseed_below must be in [0, 1), a share of the mean cluster size n / k, "
                f"got {self.reseed_below}; 0 turns it off."
            )
        if self.soft_reset is not None and (frozen or self.keep_cluster_sizes):
            raise ValueError(
                "soft_reset must be None with frozen_target_intervals or "
                "keep_cluster_sizes, whose clusters it would replace, got "
                f"{self.soft_reset}; turn these off."
            )


class TrainState(NamedTuple):
    """All that changes during clustering; a pytree of arrays."""

    # Of the network, "centroids" [k, d], and what the objective adds.
    params: Params
    opt_state: optax.OptState  # of the parameters that the objective trains
    targets: jax.Array  # [n, k] p, held fixed between two refreshes
    labels: jax.Array  # [n] int32, of the last refresh
    shares: (
        jax.Array
    )  # [k] kept by `keep_cluster_sizes`; 1 / k before the first refresh
    label_change: jax.Array  # [] fraction of labels changed at the last refresh
    settled: jax.Array  # [] int32, refreshes in a row that changed no label
    converged: jax.Array  # [] bool, label_change was below the tolerance
    step: jax.Array  # [] int32, steps taken
    key: jax.Array  # [] random key; with the step it gives shuffles and distortions


class History(NamedTuple):
    """Measurements of each interval, one row an interval (a scalar each inside the loop)."""

    loss: AnyArray  # mean over the interval's steps; NaN once training has converged
    # DEC, IDEC: KL(P || Q); VaDE: KL to the prior; IMSAT, IIC: the loss; DEN: both weighted
    # penalties; ACeDeC: half of both squared distances; others: squared distance
    clustering: AnyArray
    reconstruction: AnyArray  # mean squared error; DEC: 0; VaDE: -log p(x | z) in nats
    label_change: AnyArray  # at the refresh before the interval's steps
    cluster_sizes: AnyArray  # [k] at that refresh
    converged: AnyArray  # labels had stopped changing: the interval took no step
    max_q: AnyArray  # mean over the samples of the largest q, at that refresh
    q_entropy: AnyArray  # mean entropy of q as a share of log k, at that refresh
    reseeded: AnyArray  # clusters reseeded at that refresh; see `reseed_below`


@dataclass(frozen=True)
class TrainResult:
    """Result of a clustering phase, in which everything belongs to the final parameters.

    Attributes:
      state: the final state; `state.params` holds network and centroids.
      labels: [n] int32, cluster of each sample.
      q: [n, k] soft assignment.
      centroids: [k, d].
      history: one row for each interval of this call.
      n_steps: steps taken, including those before training was resumed.
      stop_reason: the reason why training ended, in words.
    """

    state: TrainState
    labels: np.ndarray
    q: np.ndarray
    centroids: np.ndarray
    history: History
    n_steps: int
    stop_reason: str


def reorder_clusters(result: TrainResult, order: np.ndarray) -> TrainResult:
    """Numbers the clusters anew in the labels, q, centroids and parameters.

    Args:
      result: of a clustering phase.
      order: [k] the old numbers in the new order.

    Returns:
      The result, whose cluster i was cluster `order[i]`; the optimizer's state, which
      nothing needs any more, is left as it was.
    """
    new_number = np.argsort(order)
    state, history = result.state, result.history
    params = {
        name: value if name in ROWLESS else jax.tree.map(lambda a: a[order], value)
        for name, value in state.params.items()
    }
    return replace(
        result,
        state=state._replace(
            params=params,
            targets=state.targets[:, order],
            labels=jnp.asarray(new_number)[state.labels].astype(jnp.int32),
            shares=state.shares[order],
        ),
        labels=new_number[result.labels].astype(np.int32),
        q=result.q[:, order],
        centroids=result.centroids[order],
        history=history._replace(cluster_sizes=history.cluster_sizes[:, order]),
    )


def init_state(
    key: jax.Array,
    params: Params,
    centroids: Float[Array | np.ndarray, "k d"],
    labels: Int[Array | np.ndarray, " n"],
    *,
    objective: Objective = DEC(),
    config: TrainConfig = TrainConfig(),
) -> TrainState:
    """Builds the state before the first refresh.

    Args:
      key: a `jax.random.key`, for shuffling and augmentation.
      params: parameters of the pretrained autoencoder, or of any network; only objectives
        that train the decoder need one.
      centroids: initial centroids, usually from `k_means` of z.
      labels: initial cluster of each sample, int32 in [0, k).
      objective: the method, such as `DEC()`, `IDEC()`, `DCN()` or `VaDE()`.
      config: the settings of the phase.

    Returns:
      The state, with copies of `params` and `centroids`.

    Raises:
      ValueError: there are more centroids than samples; the centroids are not finite, or
        so large that squared distances to them overflow float32; or the objective trains
        a decoder, and `params` has none.

    Example:
      >>> from dec_jax import dense_architecture, init_params
      >>> net = dense_architecture(4, hidden=(8,), embedding_dim=2)
      >>> key, labels = jax.random.key(0), np.array([0, 1, 1])
      >>> state = init_state(key, init_params(key, net), np.eye(2), labels)
      >>> state.targets.shape, int(state.step)
      ((3, 2), 0)
    """
    check_n_clusters(len(centroids), len(labels))
    if config.soft_reset is not None and objective.fitted:
        raise ValueError(
            f"soft_reset must be None with {type(objective).__name__}, which fits "
            f"{', '.join(objective.fitted)} at the start only, got {config.soft_reset}."
        )
    check_samples(centroids, "centroids")
    check_magnitude(centroids, "centroids")
    centroids = jnp.asarray(centroids, jnp.float32)
    params = {
        **{name: params[name] for name in NETWORK if name in params},
        **objective.extra_params(centroids),
        "centroids": centroids,
    }
    missing = [name for name in objective.trained if name not in params]
    if missing:
        raise ValueError(
            f"{type(objective).__name__} trains {missing[0]!r}, which params must have, "
            f"got {sorted(params)}; use an objective that does not train it, as DEC()."
        )
    params = jax.tree.map(jnp.copy, params)
    return TrainState(
        params=params,
        opt_state=optimizer_of(config).init(
            {name: params[name] for name in objective.trained}
        ),
        targets=jax.nn.one_hot(jnp.asarray(labels), len(centroids)),
        labels=jnp.array(labels, jnp.int32),
        shares=jnp.full(len(centroids), 1 / len(centroids), jnp.float32),
        label_change=jnp.ones((), jnp.float32),
        settled=jnp.zeros((), jnp.int32),
        converged=jnp.zeros((), bool),
        step=jnp.zeros((), jnp.int32),
        key=jnp.copy(key),
    )


def optimizer_of(config: TrainConfig) -> optax.GradientTransformation:
    """Builds the phase's optimizer, whose schedule covers the largest number of steps."""
    return config.optimizer.build(config.max_intervals * config.update_interval)
