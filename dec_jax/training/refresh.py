"""The refresh between two intervals of training: new p, new labels, reseeded clusters.

refresh_targets   x -> z -> q -> p, labels, label_change   (all samples)
refresh           the same, and how confident q is
fit_clusters      fits the objective's own parameters to z, most before the first step only
reseed_clusters   moves the centroids of clusters that died into the largest cluster
(soft_reset.py)   perturbs the weights and clusters z anew, every few intervals
keep_labels       records new labels, and decides whether training has converged
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from dec_jax.clustering.assignment import (
    confidence,
    hard_assignment,
    label_change,
    match_cluster_sizes,
    shares_of,
    target_distribution,
)
from dec_jax.networks.autoencoder import Params, embed
from dec_jax.networks.own import Network
from dec_jax.objectives import Objective
from dec_jax.training.optimizer import where_moved, without_moments
from dec_jax.training.soft_reset import is_reset_due, reset_clusters
from dec_jax.training.state import TrainConfig, TrainState


class Refresh(NamedTuple):
    """Measurements of a refresh in addition to p and the labels, each a scalar."""

    max_q: jax.Array  # mean over the samples of the largest q
    q_entropy: jax.Array  # mean entropy of q, as a share of log k
    reseeded: jax.Array  # int32, clusters whose centroid was moved


def refresh_targets(
    state: TrainState,
    x: Num[Array, "n d"],
    *,
    architecture: Network,
    objective: Objective,
    config: TrainConfig,
) -> TrainState:
    """Computes p and the labels of all samples, and whether labels stopped changing.

    Four kinds of refresh never stop training: the first one, whose labels are those that
    training starts from; one at which p is still frozen (`frozen_target_intervals`); and
    one that reseeded a cluster (`reseed_below`) or reset the network (`soft_reset`),
    because p has just changed there.
    """
    return refresh(
        state, x, architecture=architecture, objective=objective, config=config
    )[0]


def refresh(
    state: TrainState,
    x: Num[Array, "n d"],
    *,
    architecture: Network,
    objective: Objective,
    config: TrainConfig,
) -> tuple[TrainState, Refresh]:
    """Does what `refresh_targets` does, and measures the confidence of q."""
    changed = jnp.zeros((), jnp.int32)
    if config.soft_reset is not None:
        due = is_reset_due(state, config)
        reset = partial(
            reset_clusters,
            architecture=architecture,
            objective=objective,
            config=config,
        )
        state = jax.lax.cond(due, reset, lambda state, _: state, state, x)
        changed = due.astype(jnp.int32)
    z = embed(state.params, x, architecture=architecture)
    if objective.fitted:
        state = fit_clusters(state, z, objective=objective)
    q = objective.assignment(state.params, z)
    labels = hard_assignment(q)
    reseeded = jnp.zeros((), jnp.int32)
    frozen = is_frozen(state, config)
    if config.reseed_below:
        # While p is frozen, it already pulls samples back into clusters that died.
        below = jnp.where(frozen, 0.0, config.reseed_below)
        state, reseeded = reseed_clusters(
            state, z, labels, below=below, objective=objective
        )
        # Reseeding moves centroids only: z stays valid, q and the labels do not.
        q = objective.assignment(state.params, z)
        labels = hard_assignment(q)
    change = label_change(labels, state.labels)
    targets = target_distribution(q)
    if config.keep_cluster_sizes:
        # The sizes to keep are those of the first refresh that makes p of q.
        first = state.step <= config.frozen_target_intervals * config.update_interval
        shares = jnp.where(first, shares_of(labels, q.shape[1]), state.shares)
        targets = match_cluster_sizes(targets, shares)
        state = state._replace(shares=shares)
    state = state._replace(targets=jnp.where(frozen, state.targets, targets))
    state = keep_labels(state, labels, change, reseeded + changed, config=config)
    return state, Refresh(*confidence(q), reseeded)


def keep_labels(
    state: TrainState,
    labels: Int[Array, " n"],
    change: Float[Array, ""],
    reseeded: Int[Array, ""] | int = 0,
    *,
    config: TrainConfig,
) -> TrainState:
    """Records the labels of a refresh, and whether training has converged with them.

    Args:
      state: the state before the refresh, with the number of its steps.
      labels: cluster of each sample, int32.
      change: fraction of samples whose label is not that of the refresh before.
      reseeded: clusters that this refresh moved, or 1 if it reset all of them.
      config: the settings of the phase.

    Returns:
      The state with `labels`, `label_change`, `settled` and `converged`.
    """
    may_stop = (state.step > 0) & (reseeded == 0) & ~is_frozen(state, config)
    settled = jnp.where(may_stop & (change == 0), state.settled + 1, 0)
    still = change < config.tolerance
    if config.patience:
        still |= settled >= config.patience
    return state._replace(
        labels=labels,
        label_change=change,
        settled=settled,
        converged=may_stop & still,
    )


def is_frozen(state: TrainState, config: TrainConfig) -> Bool[Array, ""]:
    """Tells whether p is still the labeling that training starts from."""
    return state.step < config.frozen_target_intervals * config.update_interval


def fit_clusters(
    state: TrainState, z: Float[Array, "n d"], *, objective: Objective
) -> TrainState:
    """Fits the objective's own parameters to z, such as the mixture of VaDE.

    Args:
      state: the training state; the fit starts from its labels.
      z: embeddings of all samples under the state's parameters.
      objective: the method.

    Returns:
      The state with fitted parameters. A state that has taken a step is returned as it is,
      unless the objective fits them anew at each refresh.
    """

    def fit(params: Params, z: jax.Array, labels: jax.Array) -> Params:
        return {**params, **objective.fit(params, z, labels)}

    def keep(params: Params, *_: jax.Array) -> Params:
        return params

    if objective.refitted:
        params = fit(state.params, z, state.labels)
    else:
        params = jax.lax.cond(state.step == 0, fit, keep, state.params, z, state.labels)
    return state._replace(params=params)


def reseed_clusters(
    state: TrainState,
    z: Float[Array, "n d"],
    labels: Int[Array, " n"],
    *,
    below: float | jax.Array,
    objective: Objective,
) -> tuple[TrainState, Int[Array, ""]]:
    """Moves the centroid of each cluster that is too small into the largest cluster.

    A centroid with no sample nearby gets almost no gradient, so it cannot recover by
    itself. Each such centroid is moved to z of another sample of the largest cluster,
    drawn by the state's key and step. Samples are drawn at random, because those of lowest
    q are outliers, around which a cluster would keep a single sample. The optimizer's
    moments of a moved centroid become 0, and so do the counts of DCN.

    Args:
      state: the training state.
      z: embeddings of all samples under the state's parameters.
      labels: cluster of each sample.
      below: share of n / k, in (0, 1); a cluster with fewer samples is moved.
      objective: the method.

    Returns:
      The state with the centroids moved, and the number of moved centroids.
    """
    centroids = state.params["centroids"]
    n, k = len(z), len(centroids)
    sizes = jnp.bincount(labels, length=k)
    moved = sizes < below * n / k
    key = jax.random.fold_in(jax.random.fold_in(state.key, 2), state.step)
    # Random numbers are below 1, so that adding 1 puts all other clusters' samples last.
    order = jax.random.uniform(key, (n,)) + (labels != sizes.argmax())
    _, drawn = jax.lax.top_k(-order, k)
    # The i-th moved cluster takes the i-th drawn sample; values of the others are unused.
    turn = jnp.cumsum(moved) - 1
    places = z[drawn[jnp.where(moved, turn, 0)]]
    fresh = {**objective.extra_params(places), "centroids": places}
    fresh.pop("shared", None)
    own = ("centroids", "shared")
    for name in (name for name in objective.fitted if name not in own):
        # Weight and variances are copied from the cluster that the sample came from.
        value = state.params[name]
        fresh[name] = jnp.broadcast_to(value[sizes.argmax()][None], value.shape)
    params = {
        **state.params,
        **{name: where_moved(moved, fresh[name], state.params[name]) for name in fresh},
    }
    opt_state = without_moments(state.opt_state, moved, tuple(fresh))
    state = state._replace(params=params, opt_state=opt_state)
    return state, moved.sum(dtype=jnp.int32)
