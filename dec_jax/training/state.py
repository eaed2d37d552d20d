"""What the clustering phase starts from, carries along, reports and returns.

`train.py` says how they change: arrays live here in NamedTuples, settings in frozen
dataclasses.
"""

from dataclasses import dataclass
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
from dec_jax.validation import check_n_clusters, check_positive_int

# Traced or on the device inside the loop, NumPy in a result.
AnyArray = jax.Array | np.ndarray


@dataclass(frozen=True)
class TrainConfig:
    """How the clustering phase runs; the defaults are the paper's for MNIST.

    Attributes:
      update_interval: steps between two refreshes of p, at least 1.
      max_intervals: most intervals before the end, at least 1.
      batch_size: samples in a step, at least 1.
      tolerance: training stops once a smaller fraction of labels than this has
        changed between two refreshes; 0 never stops.
      optimizer: see `Optimizer`; it trains the centroids with the network.
      augmentation: distortion of what the steps see, drawn anew in each; p and the
        labels always come from the samples as they are.
      frozen_target_intervals: intervals at the beginning whose p is the labeling that training
        starts from, one-hot, instead of one made of q: for a labeling that knows more
        than the centroids do (`manifold`). Below `max_intervals`.
      reseed_below: at each refresh, a cluster with fewer samples than this share of
        n / k starts again on a sample of the largest cluster, in [0, 1); 0 never does.
        A true cluster that small is moved too.
      match_cluster_sizes: whether the clusters keep, in p, the sizes that they have when p is
        first made of q (`assignment.match_cluster_sizes`): for a labeling to start from whose
        sizes can be trusted.
    """

    update_interval: int = 140
    max_intervals: int = 143
    batch_size: int = 256
    tolerance: float = 1e-3
    optimizer: Optimizer = Optimizer("sgd", 0.01)
    augmentation: Augmentation = Augmentation()
    frozen_target_intervals: int = 0
    reseed_below: float = 0.0
    keep_cluster_sizes: bool = False

    def __post_init__(self) -> None:
        for name in ("update_interval", "max_intervals", "batch_size"):
            check_positive_int(name, getattr(self, name))
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance must be in [0, 1), got {self.tolerance}.")
        if not 0 <= self.frozen_target_intervals < self.max_intervals:
            raise ValueError(
                "frozen_target_intervals must be from 0 to below max_intervals = "
                f"{self.max_intervals}, got {self.frozen_target_intervals}."
            )
        if not 0 <= self.reseed_below < 1:
            raise ValueError(
                "reseed_below must be in [0, 1), a share of the mean cluster size n / k, "
                f"got {self.reseed_below}; 0 turns it off."
            )


class TrainState(NamedTuple):
    """All that changes during clustering; a pytree of arrays."""

    params: Params  # of the network, "centroids" [k, d], and what the objective adds
    opt_state: optax.OptState  # of the entries that the objective trains
    targets: jax.Array  # [n, k] p, held fixed between two refreshes
    labels: jax.Array  # [n] int32, of the last refresh
    shares: (
        jax.Array
    )  # [k] of the clusters in p that `keep_cluster_sizes` keeps, even at first
    label_change: jax.Array  # [] fraction changed at the last refresh
    converged: jax.Array  # [] bool: that fraction was below the tolerance
    step: jax.Array  # [] int32, steps taken
    key: (
        jax.Array
    )  # [] of the phase: shuffles and distortions come from it and the step


class History(NamedTuple):
    """What each interval reports, one row an interval (a scalar each inside the loop)."""

    loss: AnyArray  # mean over the interval's steps; NaN where training had converged
    clustering: AnyArray  # KL(P || Q); DCN: squared distance; VaDE: KL to the prior
    reconstruction: AnyArray  # mean squared error; DEC: 0; VaDE: -log p(x | z) in nats
    label_change: AnyArray  # at the refresh before the interval's steps
    cluster_sizes: AnyArray  # [k] at that refresh
    converged: AnyArray  # the interval took no step, labels had stopped changing
    max_q: AnyArray  # mean over the samples of the largest q, at that refresh
    q_entropy: AnyArray  # mean entropy of q as a share of log k, likewise
    reseeded: AnyArray  # clusters that started again there; see `reseed_below`


@dataclass(frozen=True)
class TrainResult:
    """The end of a clustering phase; everything belongs to the same parameters.

    Attributes:
      state: the final state; `state.params` holds network and centroids.
      labels: [n] int32, the cluster of each sample under `state.params`.
      q: [n, k] its soft assignment.
      centroids: [k, d].
      history: one row an interval run here.
      n_steps: steps taken, those before a resume counted.
      stop_reason: why training ended, in words.
    """

    state: TrainState
    labels: np.ndarray
    q: np.ndarray
    centroids: np.ndarray
    history: History
    n_steps: int
    stop_reason: str


def init_state(
    key: jax.Array,
    params: Params,
    centroids: Float[Array | np.ndarray, "k d"],
    labels: Int[Array | np.ndarray, " n"],
    *,
    objective: Objective = DEC(),
    config: TrainConfig = TrainConfig(),
) -> TrainState:
    """The state before the first refresh.

    Args:
      key: a `jax.random.key`, for shuffling and augmentation.
      params: of the pretrained autoencoder, or of any network; a decoder is needed only
        for an objective that trains it.
      centroids: where the clusters start, usually from `k_means` of z.
      labels: the clusters that the samples start in, int32.
      objective: the method, `DEC()`, `IDEC()`, `DCN()` or `VaDE()`.
      config: the settings of the phase.

    Returns:
      The state; `params` and `centroids` are copied into it.

    Raises:
      ValueError: more centroids than samples; the objective trains a decoder, and
        `params` has none.
    """
    check_n_clusters(len(centroids), len(labels))
    network = ("encoder", "decoder", "batch_stats")
    centroids = jnp.asarray(centroids, jnp.float32)
    params = {
        **{name: params[name] for name in network if name in params},
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
        converged=jnp.zeros((), bool),
        step=jnp.zeros((), jnp.int32),
        key=jnp.copy(key),
    )


def optimizer_of(config: TrainConfig) -> optax.GradientTransformation:
    """The phase's optimizer; its schedule covers the most steps there can be."""
    return config.optimizer.build(config.max_intervals * config.update_interval)
