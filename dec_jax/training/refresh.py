"""Where clusters start from what z is: at first, and again once training emptied them."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from dec_jax.networks.autoencoder import Params
from dec_jax.objectives import Objective
from dec_jax.training.state import TrainState


def fit_clusters(
    state: TrainState, z: Float[Array, "n d"], *, objective: Objective
) -> TrainState:
    """Fits to z what the method fits, from the labels to start with; before any step only.

    Args:
      state: where training stands.
      z: embeddings of all samples under its parameters.
      objective: the method.

    Returns:
      The state with its clusters fitted, or as it was if it has taken a step.
    """

    def fit(params: Params, z: jax.Array, labels: jax.Array) -> Params:
        return {**params, **objective.fit(z, labels, len(params["centroids"]))}

    def keep(params: Params, *_: jax.Array) -> Params:
        return params

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

    A centroid that nobody is near has almost no gradient: on its own it does not come
    back. Each goes onto z of another sample, drawn from the largest cluster by the
    state's key and step, and starts without the past of the old place: its moments in
    the optimizer are 0, and so is what DCN has counted for it. Drawn, and not the
    samples of lowest q: those are the outliers, of which a cluster of one is made.

    Args:
      state: where training stands.
      z: embeddings of all samples under its parameters.
      labels: their clusters.
      below: share of n / k, in (0, 1); a cluster with fewer samples is moved.
      objective: the method.

    Returns:
      The state with the centroids moved, and how many were.
    """
    centroids = state.params["centroids"]
    n, k = len(z), len(centroids)
    sizes = jnp.bincount(labels, length=k)
    moved = sizes < below * n / k
    key = jax.random.fold_in(jax.random.fold_in(state.key, 2), state.step)
    # The largest cluster's samples in a drawn order, then, if those run out, the others.
    order = jax.random.uniform(key, (n,)) + (labels != sizes.argmax())
    _, drawn = jax.lax.top_k(-order, k)
    # The first cluster to move takes the first sample drawn, the second the second.
    turn = jnp.cumsum(moved) - 1
    places = z[drawn[jnp.where(moved, turn, 0)]]
    fresh = {**objective.extra_params(places), "centroids": places}
    for name in (name for name in objective.fitted if name != "centroids"):
        # Spread and weight as those of the cluster that it was drawn from.
        value = state.params[name]
        fresh[name] = jnp.broadcast_to(value[sizes.argmax()][None], value.shape)
    params = {
        **state.params,
        **{name: _where(moved, fresh[name], state.params[name]) for name in fresh},
    }
    opt_state = _without_moments(state.opt_state, moved, tuple(fresh))
    return state._replace(params=params, opt_state=opt_state), moved.sum(
        dtype=jnp.int32
    )


def _without_moments(
    opt_state: optax.OptState, moved: Bool[Array, " k"], names: tuple[str, ...]
) -> optax.OptState:
    """The optimizer's state with what it keeps of the moved clusters at 0."""

    def cleared(path: tuple, leaf: jax.Array) -> jax.Array:
        # What follows a parameter bears its name: momentum, Adam's two moments.
        if getattr(path[-1], "key", None) not in names:
            return leaf
        return _where(moved, jnp.zeros_like(leaf), leaf)

    return jax.tree_util.tree_map_with_path(cleared, opt_state)


def _where(moved: Bool[Array, " k"], new: jax.Array, old: jax.Array) -> jax.Array:
    """Rows of `new` for the moved clusters, of `old` for the others."""
    return jnp.where(moved.reshape(-1, *[1] * (old.ndim - 1)), new, old)
