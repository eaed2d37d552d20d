"""IMSAT: information maximizing self-augmented training (Hu et al., ICML 2017)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dec_jax.clustering.assignment import squared_distances
from dec_jax.networks.autoencoder import Params, Pass, encode_batch, updated_batch_stats
from dec_jax.networks.own import Network
from dec_jax.objectives.base import Batch, Losses, check_at_least_0
from dec_jax.objectives.losses import clustering_loss
from dec_jax.objectives.reconstruction import weighted_mean
from dec_jax.objectives.softmax import SoftmaxObjective, log_q_of


@dataclass(frozen=True)
class IMSAT(SoftmaxObjective):
    """IMSAT: mutual information of samples and clusters, with a q that is locally smooth.

    Hu, Miyato, Tokui, Matsumoto and Sugiyama, `Learning Discrete Representations via
    Information Maximizing Self-Augmented Training <https://arxiv.org/abs/1702.08720>`_,
    ICML 2017:

        R - lambda (mu H(Y) - H(Y | X))

    H(Y) is the entropy of the mean q, which is high for clusters of even sizes; H(Y | X) is
    the mean entropy of q, which is low for sure assignments. R is the divergence
    KL(q(x) || q(T(x))), with q(x) held fixed, for two distortions T: the augmentation of
    the training phase, if there is one (RPT), and a small step in the direction in which q
    changes most (virtual adversarial training, VAT, of Miyato et al., 2016). IMSAT uses
    neither the target p nor a decoder, and needs no pretrained network.

    The length of the adversarial step adapts to the density around each sample. The paper
    takes 0.25 times the distance to the 10th nearest neighbor among all samples; here it is
    the nearest one of the batch, which a step can see.

    Attributes:
      information_weight: lambda, finite and at least 0.
      marginal_weight: mu, finite and at least 0.
      radius: length of the adversarial step, as a share of the distance to the nearest
        other sample of the batch, finite and at least 0; 0 turns it off.
      inverse_temperature: of the softmax q, finite and above 0. With the centroids 4 e_j of
        a new network, 0.125 makes q the softmax of the network's outputs.

    Raises:
      ValueError: a setting is out of range.

    Example:
      >>> from dec_jax import IMSAT
      >>> IMSAT().trained
      ('encoder', 'centroids')
    """

    trained: ClassVar[tuple[str, ...]] = ("encoder", "centroids")
    information_weight: float = 0.1
    marginal_weight: float = 4.0
    radius: float = 0.25
    inverse_temperature: float = 0.125

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("information_weight", "marginal_weight", "radius"):
            check_at_least_0(name, getattr(self, name))

    def loss(
        self,
        params: Params,
        batch: Batch,
        *,
        architecture: Network,
        axis_name: str | None = None,
    ) -> tuple[Losses, Params]:
        """Self-augmentation, minus lambda times the weighted mutual information."""
        weights = batch.weights
        x = batch.x if batch.clean is None else batch.clean

        def encoded(params: Params, x: jax.Array) -> Pass:
            return encode_batch(
                params,
                x,
                architecture=architecture,
                weights=weights,
                axis_name=axis_name,
            )

        run = encoded(params, x)
        log_q = log_q_of(params, run.output)
        q = jnp.exp(log_q)
        fixed = jax.lax.stop_gradient(q)
        conditional = weighted_mean(-(q * log_q).sum(axis=1), weights)
        marginal = entropy(mean_q(q, weights, axis_name))
        total = self.information_weight * (
            conditional - self.marginal_weight * marginal
        )
        views = [batch.x] if batch.x is not x else []
        if self.radius:
            constant = jax.lax.stop_gradient(params)

            def divergences(x: jax.Array) -> jax.Array:
                changed = log_q_of(constant, encoded(constant, x).output)
                return clustering_loss(fixed, changed, weights=jnp.ones(len(x)))

            lengths = self.radius * nearest_distances(x, weights > 0)
            views += [adversarial(batch.key, x, lengths, divergences)]
        for view in views:
            changed = log_q_of(params, encoded(params, view).output)
            total = total + clustering_loss(fixed, changed, weights=weights)
        losses = Losses(total, total, jnp.zeros_like(total))
        return losses, updated_batch_stats(params, encoder=run)


def entropy(p: Float[Array, "..."]) -> Float[Array, ""]:
    """Entropy of a distribution in nats, with a finite gradient where a value is 0."""
    return -(p * jnp.log(jnp.maximum(p, jnp.finfo(jnp.float32).tiny))).sum()


def mean_q(
    q: Float[Array, "b k"], weights: Float[Array, " b"], axis_name: str | None = None
) -> Float[Array, " k"]:
    """Mean of q over the batch, on all devices if it is spread over `axis_name`."""
    mean = weights @ q
    return mean if axis_name is None else jax.lax.pmean(mean, axis_name)


def nearest_distances(
    x: Float[Array, "b d"], counted: Float[Array, " b"] | jax.Array
) -> Float[Array, " b"]:
    """Distance of each sample to the nearest other sample of the batch.

    Args:
      x: samples.
      counted: False for rows that only pad the batch.

    Returns:
      The distances; 0 where there is no other sample.
    """
    squares = squared_distances(x, x)
    others = counted[None, :] & ~jnp.eye(len(x), dtype=bool)
    nearest = jnp.where(others, squares, jnp.inf).min(axis=1)
    return jnp.sqrt(jnp.where(jnp.isfinite(nearest), nearest, 0))


def adversarial(
    key: jax.Array,
    x: Float[Array, "b d"],
    lengths: Float[Array, " b"],
    loss: Callable[[jax.Array], jax.Array],
) -> Float[Array, "b d"]:
    """Moves each sample in the direction in which a loss grows most.

    One step of the power iteration of Miyato et al. (2016): the gradient of the loss at a
    random place at the given distance tells the direction.

    Args:
      key: a `jax.random.key`.
      x: samples.
      lengths: distance by which each sample is moved.
      loss: sum of the losses of the samples, as a function of the samples.

    Returns:
      The moved samples, held fixed.
    """
    first = scaled(jax.random.normal(key, x.shape), lengths)
    gradient = jax.grad(loss)(jax.lax.stop_gradient(x + first))
    return jax.lax.stop_gradient(x + scaled(gradient, lengths))


def scaled(
    directions: Float[Array, "b d"], lengths: Float[Array, " b"]
) -> Float[Array, "b d"]:
    """Scales each row to a length; a row of zeros stays zero."""
    norms = jnp.linalg.norm(directions, axis=1)
    return directions * (lengths / jnp.maximum(norms, 1e-30))[:, None]
