"""DeepECT: deep clustering by a binary tree that grows while the network learns.

Mautz, Plant and Böhm, `Deep Embedded Cluster Tree
<https://doi.org/10.1109/ICDM.2019.00157>`_, ICDM 2019 (longer: `DeepECT
<https://doi.org/10.1007/s41019-020-00134-0>`_, 2020):

    growth      every few hundred steps, 2-means divides the leaf of the largest sum of
                squared distances in two leaves
    a step      moves the center of each leaf to the mean of its samples, and z along the
                line between two siblings to the center of its side, at each level
    pruning     a leaf that hardly any sample is nearest to goes; its sibling takes the
                place of their parent
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Num

from dec_jax.clustering.assignment import squared_distances
from dec_jax.clustering.growing_tree import GrowingTree
from dec_jax.clustering.hierarchy import Hierarchy
from dec_jax.networks.autoencoder import (
    Params,
    autoencode_batch,
    embed,
    scale_input,
)
from dec_jax.networks.own import Network, check_plain_autoencoder
from dec_jax.objectives.reconstruction import reconstruction_loss
from dec_jax.training.augmentation import Augmentation, augment
from dec_jax.training.minibatches import minibatch_plan, scan_minibatches
from dec_jax.training.optimizer import Optimizer, without_moments
from dec_jax.validation import check_positive_int, check_samples


@dataclass(frozen=True)
class DeepECTConfig:
    """Settings of DeepECT; the defaults are the paper's.

    Attributes:
      n_leaves: the most leaves that the tree may have, at least 2.
      n_steps: steps of training, at least 1.
      split_every: steps between two splits, at least 1.
      batch_size: samples of a step, at least 1.
      pruning_threshold: a leaf is pruned if the moving average of its samples in a batch,
        of which each step forgets half, falls below this; at least 0.
      clustering_weight: of the two losses of the tree, next to the reconstruction; at
        least 0.
      optimizer: trains encoder, decoder and the centers of the leaves.
      augmentation: with it, a distorted copy of each sample stays in the sample's leaf
        ("DeepECT + Aug").

    Example:
      >>> DeepECTConfig(n_leaves=12).split_every
      500
    """

    n_leaves: int = 20
    n_steps: int = 50_000
    split_every: int = 500
    batch_size: int = 256
    pruning_threshold: float = 0.1
    clustering_weight: float = 1.0
    optimizer: Optimizer = Optimizer("adam", 1e-4)
    augmentation: Augmentation = Augmentation()

    def __post_init__(self) -> None:
        for name in ("n_leaves", "n_steps", "split_every", "batch_size"):
            check_positive_int(name, getattr(self, name))
        if self.n_leaves < 2:
            raise ValueError(f"n_leaves must be at least 2, got {self.n_leaves}.")
        for name in ("pruning_threshold", "clustering_weight"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(
                    f"{name} must be finite and at least 0, got {getattr(self, name)}."
                )


class DeepECTResult(NamedTuple):
    """The tree that DeepECT grew.

    Attributes:
      labels: [n] int32, the leaf of each sample, numbered by size, the largest first.
      hierarchy: the tree over the leaves. Its first merge takes back the last split, and
        `similarity` counts the splits before: `cut_hierarchy(hierarchy, k)` gives the
        clusters that the first k - 1 splits made.
      centroids: [k, e] the centers of the leaves; a new sample belongs to the nearest one.
      params: of the trained autoencoder.
      history: the number of leaves before each part of `split_every` steps.
    """

    labels: Int[np.ndarray, " n"]
    hierarchy: Hierarchy
    centroids: Float[np.ndarray, "k e"]
    params: Params
    history: list[int]


def deepect(
    key: jax.Array,
    params: Params,
    x: Num[Array | np.ndarray, "n d"],
    *,
    architecture: Network,
    config: DeepECTConfig = DeepECTConfig(),
    on_split: Callable[[int, int], bool | None] | None = None,
) -> DeepECTResult:
    """Grows a tree of clusters while the network learns to tell its branches apart.

    Args:
      key: a `jax.random.key`.
      params: of the pretrained autoencoder, with a decoder.
      x: all samples, [n, d] of any numeric dtype.
      architecture: the network.
      config: the settings.
      on_split: called before each part of `split_every` steps with the steps taken and the
        number of leaves; returning True ends training there.

    Returns:
      The tree, its leaves, and the trained autoencoder.

    Raises:
      TypeError, ValueError: `x` is not finite numbers of shape [n, d], or has fewer samples
        than the tree may have leaves; or the network does not suit the method.

    Example:
      >>> from dec_jax import cut_hierarchy, dense_architecture, init_params
      >>> net = dense_architecture(4, hidden=(8,), embedding_dim=2)
      >>> rng = np.random.default_rng(0)
      >>> x = 9 * np.eye(4)[np.arange(80) % 4] + rng.normal(size=(80, 4))
      >>> config = DeepECTConfig(n_leaves=6, n_steps=60, split_every=10)
      >>> params = init_params(jax.random.key(0), net)
      >>> found = deepect(
      ...     jax.random.key(1), params, x.astype("f"), architecture=net, config=config
      ... )
      >>> len(np.unique(found.labels)) == len(found.centroids)
      True
      >>> cut_hierarchy(found.hierarchy, 2)[found.labels].max()
      np.int64(1)
    """
    check_samples(x)
    if len(x) < config.n_leaves:
        raise ValueError(
            f"A tree of up to {config.n_leaves} leaves needs as many samples, got "
            f"{len(x)}; lower n_leaves."
        )
    check_plain_autoencoder(architecture, "DeepECT")
    x = jnp.asarray(x)
    split_key, train_key = jax.random.split(key)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(split_key)))
    rest = {name: each for name, each in params.items() if name != "centroids"}
    width = _embed(rest, x[:1], architecture=architecture).shape[1]
    tree = GrowingTree(config.n_leaves)
    kept = {name: params[name] for name in ("encoder", "decoder")}
    rest = {name: each for name, each in rest.items() if name not in kept}
    kept["centroids"] = jnp.zeros((config.n_leaves, width), jnp.float32)
    opt_state = config.optimizer.build(1).init(kept)
    weights = jnp.zeros(config.n_leaves, jnp.float32)
    step, history = 0, []
    while step < config.n_steps:
        moved = None
        if len(tree.slots) < config.n_leaves:
            z = np.asarray(_embed({**rest, **kept}, x, architecture=architecture))
            centers = np.array(kept["centroids"])
            moved = tree.grow(z, centers, rng)
        if moved is not None:
            slots, centers[slots] = moved
            kept["centroids"] = jnp.asarray(centers)
            reset = jnp.zeros(config.n_leaves, bool).at[jnp.asarray(slots)].set(True)
            opt_state = without_moments(opt_state, reset, ("centroids",))
            weights = jnp.where(reset, 1.0, weights)
        history.append(len(tree.slots))
        if on_split is not None and on_split(step, history[-1]):
            break
        count = min(config.split_every, config.n_steps - step)
        members, siblings = tree.arrays()
        kept, opt_state, weights = _train_steps(
            *(kept, opt_state, weights, rest, x, members, siblings, step, train_key),
            architecture=architecture,
            config=config,
            num_steps=count,
        )
        step += count
        tree.prune(np.asarray(weights) > 0)
    z = np.asarray(_embed({**rest, **kept}, x, architecture=architecture))
    labels, hierarchy, centroids = tree.finished(z, np.asarray(kept.pop("centroids")))
    return DeepECTResult(labels, hierarchy, centroids, {**rest, **kept}, history)


_embed = jax.jit(embed, static_argnames="architecture")


@partial(jax.jit, static_argnames=("architecture", "config", "num_steps"))
def _train_steps(
    params: Params,
    opt_state: optax.OptState,
    weights: Float[Array, " L"],
    rest: Params,
    x: Num[Array, "n d"],
    members: Float[Array, "m L"],
    siblings: Int[Array, " m"],
    first_step: Int[Array, ""] | int,
    key: jax.Array,
    *,
    architecture: Network,
    config: DeepECTConfig,
    num_steps: int,
) -> tuple[Params, optax.OptState, Float[Array, " L"]]:
    """Trains network and centers with the tree as it is; a leaf of weight 0 is pruned."""
    plan = minibatch_plan(
        jax.random.fold_in(key, 0),
        first_step,
        num_steps=num_steps,
        n_samples=len(x),
        batch_size=config.batch_size,
    )
    optimizer = config.optimizer.build(1)
    twice = config.augmentation != Augmentation()
    State = tuple[Params, optax.OptState, jax.Array, jax.Array]

    def step(state: State, indices: jax.Array, shares: jax.Array) -> tuple[State, None]:
        params, opt_state, weights, count = state
        clean = scale_input(x[indices], architecture)
        seen, parts = clean, shares
        if twice:
            step_key = jax.random.fold_in(jax.random.fold_in(key, 1), count)
            copies = augment(step_key, clean, config.augmentation)
            seen = jnp.concatenate([clean, copies])
            parts = jnp.concatenate([shares, shares]) / 2

        def loss_of(params: Params) -> tuple[jax.Array, jax.Array]:
            z, x_hat, _ = autoencode_batch(
                {**rest, **params}, seen, architecture=architecture, weights=parts
            )
            centers = params["centroids"]
            near = jnp.where(
                (weights > 0)[None],
                squared_distances(z[: len(shares)], centers),
                jnp.inf,
            )
            # A distorted copy belongs to the leaf of its sample.
            leaves = jnp.tile(near.argmin(axis=1), 2 if twice else 1)
            losses = tree_losses(z, leaves, parts, centers, weights, members, siblings)
            counts = jnp.zeros_like(weights).at[leaves].add(parts) * len(shares)
            reconstruction = reconstruction_loss(seen, x_hat, weights=parts)
            return reconstruction + config.clustering_weight * sum(losses), counts

        gradients, counts = jax.grad(loss_of, has_aux=True)(params)
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        weights = jnp.where(weights > 0, (weights + counts) / 2, 0.0)
        weights = jnp.where(weights < config.pruning_threshold, 0.0, weights)
        return (
            optax.apply_updates(params, updates),
            opt_state,
            weights,
            count + 1,
        ), None

    first = jnp.asarray(first_step, jnp.int32)
    state, _ = scan_minibatches(step, (params, opt_state, weights, first), plan)
    return state[:3]


def tree_losses(
    z: Float[Array, "b e"],
    leaves: Int[Array, " b"],
    shares: Float[Array, " b"],
    centers: Float[Array, "L e"],
    weights: Float[Array, " L"],
    members: Float[Array, "m L"],
    siblings: Int[Array, " m"],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Computes the two losses of the tree, of Mautz et al. (2019).

    The center of an inner node is the mean of the centers of its leaves, by their weights.
    With the leaves L and the nodes N (all but the root), the node center loss

        1 / |L| * sum over the leaves of ||mu_l - mean of the z of its samples||

    moves the centers alone, and the data compression loss

        1 / |N| * sum over the nodes a of mean over i of [i in a] |p_a . (mu_a - z_i)|

    moves z alone, along the direction p_a = (mu_a - mu_b) / ||mu_a - mu_b|| from the
    sibling b. The norm of the first one is not squared, as in ClustPy.

    Args:
      z: embeddings of the batch.
      leaves: the leaf of each sample.
      shares: of each sample in the mean.
      centers: mu of each leaf.
      weights: samples of each leaf in a batch, a moving average; 0 where there is none.
      members: 1 for the leaves below each node, else 0; a row of 0 is no node.
      siblings: the row of each node's sibling.

    Returns:
      The node center loss and the data compression loss.
    """
    z_fixed = jax.lax.stop_gradient(z)
    sums = jnp.zeros_like(centers).at[leaves].add(shares[:, None] * z_fixed)
    masses = jnp.zeros_like(weights).at[leaves].add(shares)
    present = masses > 0
    means = sums / jnp.where(present, masses, 1.0)[:, None]
    off = jnp.where(present, ((centers - means) ** 2).sum(axis=1), 1.0)
    # The root has no gradient at 0, where a center is the mean of its samples.
    apart = jnp.where(present, jnp.sqrt(jnp.maximum(off, 1e-12)), 0.0)
    center_loss = apart.sum() / jnp.maximum((weights > 0).sum(), 1)

    fixed = jax.lax.stop_gradient(centers)
    volumes = members @ weights
    nodes = members @ (weights[:, None] * fixed)
    nodes = nodes / jnp.where(volumes > 0, volumes, 1.0)[:, None]
    # Where a leaf was pruned, its sibling has nothing to be told from.
    alive = (volumes > 0) & (volumes[siblings] > 0)
    direction = nodes - nodes[siblings]
    length = jnp.linalg.norm(direction, axis=1, keepdims=True)
    direction = direction / jnp.maximum(length, 1e-12)
    steps = jnp.abs((nodes * direction).sum(axis=1)[None] - z @ direction.T)
    inside = members[:, leaves].T * alive[None]
    data_loss = (shares @ (inside * steps)).sum() / jnp.maximum(alive.sum(), 1)
    return center_loss, data_loss
