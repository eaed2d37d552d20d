"""Resets against stagnation (BRB): perturbed weights, new centroids, fresh momentum.

Miklautz, Klein, Sidak, Leiber, Lang, Shkabrii, Tschiatschek and Plant, `Breaking the
Reclustering Barrier in Centroid-based Deep Clustering <https://arxiv.org/abs/2411.02275>`_,
ICLR 2025. Clusters that a network has pulled together stay as they are, even if k-means is
run again. Every few epochs, the weights therefore move a step towards random ones, which
keeps most of what they know and lets samples change their cluster again:

    soft_reset   theta <- keep theta + (1 - keep) phi, with phi drawn anew
    recluster    k-means on the new z; moments of the centroids become 0
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Num

from dec_jax.clustering.kmeans import k_means
from dec_jax.networks.architecture import Architecture
from dec_jax.networks.autoencoder import Params, embed, init_params
from dec_jax.networks.own import Network
from dec_jax.objectives import Objective
from dec_jax.training.optimizer import without_moments
from dec_jax.training.state import TrainConfig, TrainState


def is_reset_due(state: TrainState, config: TrainConfig) -> Bool[Array, ""]:
    """Tells whether a refresh resets: at each `every`-th interval that a whole period follows."""
    reset = config.soft_reset
    assert reset is not None
    interval = state.step // config.update_interval
    followed = interval + reset.every <= config.max_intervals
    return (interval > 0) & (interval % reset.every == 0) & followed


def soft_reset(
    key: jax.Array, params: Params, *, architecture: Network, keep: float
) -> Params:
    """Moves the weights of the encoder towards newly drawn ones (shrink and perturb).

    Each theta becomes keep theta + (1 - keep) phi. As published, phi is uniform: within
    the root of 6 / fan_in for a weight (He et al., 2015), of 1 / fan_in for a bias. The
    layer that gives z is left as it is, and so are the decoder and batch normalization.

    Args:
      key: a `jax.random.key`.
      params: of the network, and others, which stay.
      architecture: the network. Of a `FunctionalNetwork`, whose layers are unknown, all
        weights of the encoder are moved, towards those that its `init` draws.
      keep: share of the weights that stays, in [0, 1]; 1 changes nothing.

    Returns:
      The parameters.

    Example:
      >>> from dec_jax import dense_architecture
      >>> net = dense_architecture(4, hidden=(8,), embedding_dim=2)
      >>> params = init_params(jax.random.key(0), net)
      >>> moved = soft_reset(jax.random.key(1), params, architecture=net, keep=0.8)
      >>> same = jax.tree.map(lambda a, b: bool((a == b).all()), moved, params)["encoder"]
      >>> same["dense_0"]["kernel"], same["dense_1"]["kernel"]
      (False, True)
    """
    encoder = params["encoder"]

    def moved(theta: jax.Array, phi: jax.Array) -> jax.Array:
        return keep * theta + (1 - keep) * phi

    if not isinstance(architecture, Architecture):
        drawn = init_params(key, architecture)["encoder"]
        return {**params, "encoder": jax.tree.map(moved, encoder, drawn)}
    # Layers are named by their kind and number, such as "dense_3"; the last one gives z.
    layers = [name for name in encoder if not name.startswith("batch_norm")]
    layers.sort(key=lambda name: int(name.rpartition("_")[2]))
    new = {
        name: jax.tree.map(moved, encoder[name], drawn_layer(layer_key, encoder[name]))
        for name, layer_key in zip(
            layers[:-1], jax.random.split(key, len(layers))[:-1], strict=True
        )
    }
    return {**params, "encoder": {**encoder, **new}}


def drawn_layer(key: jax.Array, layer: Params) -> Params:
    """Draws the weights and biases of a layer, uniformly.

    Args:
      key: a `jax.random.key`.
      layer: {"kernel", "bias"}; the last axis of the kernel is that of the outputs.

    Returns:
      New arrays of the same shapes.
    """
    kernel_key, bias_key = jax.random.split(key)
    shape = layer["kernel"].shape
    root = math.prod(shape[:-1]) ** -0.5
    return {
        "kernel": jax.random.uniform(kernel_key, shape, minval=-1, maxval=1)
        * (math.sqrt(6) * root),
        "bias": jax.random.uniform(
            bias_key, layer["bias"].shape, minval=-root, maxval=root
        ),
    }


def reset_clusters(
    state: TrainState,
    x: Num[Array, "n d"],
    *,
    architecture: Network,
    objective: Objective,
    config: TrainConfig,
) -> TrainState:
    """Resets the encoder softly, clusters its z anew, and drops the centroids' momentum.

    The random numbers are those of the state's key and step: a resumed run draws the same.

    Args:
      state: the training state.
      x: all samples.
      architecture: the network.
      objective: the method, whose further parameters start again (the counts of DCN).
      config: the settings of the phase.

    Returns:
      The state with new parameters; targets and labels are those of before.
    """
    reset = config.soft_reset
    assert reset is not None
    key = jax.random.fold_in(jax.random.fold_in(state.key, 4), state.step)
    weights_key, rows_key, means_key = jax.random.split(key, 3)
    params = soft_reset(
        weights_key, state.params, architecture=architecture, keep=reset.keep
    )
    z = embed(params, x, architecture=architecture)
    if len(z) > reset.max_samples:
        z = z[jax.random.permutation(rows_key, len(z))[: reset.max_samples]]
    k = len(state.params["centroids"])
    centroids = k_means(means_key, z, k, n_init=reset.n_init).centroids
    fresh = {**objective.extra_params(centroids), "centroids": centroids}
    opt_state = without_moments(state.opt_state, jnp.ones(k, bool), tuple(fresh))
    return state._replace(params={**params, **fresh}, opt_state=opt_state)
