"""Losses of autoencoders: reconstruction, sparse or not, and the variational bound."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Num

from dec_jax.networks.autoencoder import (
    Params,
    decode,
    decode_batch,
    encode_batch,
    updated_batch_stats,
)
from dec_jax.networks.own import Network, check_decoder
from dec_jax.objectives.base import Batch

# Beyond these limits, the square of the exponential overflows float32.
LOG_VARIANCE_LIMITS = (-20.0, 20.0)


def reconstruction_loss(
    x: Float[Array, "b d"],
    x_hat: Float[Array, "b d"],
    *,
    weights: Float[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """Mean squared error, averaged over the values of a sample and over samples.

    Args:
      x: samples to reconstruct.
      x_hat: their reconstructions.
      weights: share of each sample in the mean; 1 / b each if None.

    Returns:
      The loss, at least 0.

    Example:
      >>> import jax.numpy as jnp
      >>> from dec_jax import reconstruction_loss
      >>> x = jnp.array([[0.0, 1.0], [1.0, 1.0]])
      >>> float(reconstruction_loss(x, jnp.zeros((2, 2))))  # (1/2 + 1) / 2
      0.75
    """
    return weighted_mean(((x - x_hat) ** 2).mean(axis=1), weights)


def bernoulli_loss(
    x: Float[Array, "b d"],
    logits: Float[Array, "b d"],
    *,
    weights: Float[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """Negative log-likelihood of Bernoulli pixels, summed over a sample's values.

    Args:
      x: samples to reconstruct, in [0, 1].
      logits: their reconstructions before the sigmoid.
      weights: share of each sample in the mean; 1 / b each if None.

    Returns:
      The loss in nats per sample, averaged over samples.
    """
    losses = optax.losses.sigmoid_binary_cross_entropy(logits, x).sum(axis=1)
    return weighted_mean(losses, weights)


def likelihood_loss(
    x: Float[Array, "b d"],
    output: Float[Array, "b d"],
    *,
    architecture: Network,
    weights: Float[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """Negative log-likelihood -log p(x | z), summed over a sample's values.

    Args:
      x: samples to reconstruct, in [0, 1] for a sigmoid output.
      output: of the decoder, before its activation.
      architecture: with the output activation "sigmoid", values are Bernoulli; with
        "linear", they are Gaussian with variance 1/2 around the output, which gives the
        squared error.
      weights: share of each sample in the mean; 1 / b each if None.

    Returns:
      The loss in nats per sample, averaged over samples, up to a constant.
    """
    if architecture.output_activation == "sigmoid":
        return bernoulli_loss(x, output, weights=weights)
    return weighted_mean(((x - output) ** 2).sum(axis=1), weights)


def check_likelihood(architecture: Network, name: str) -> None:
    """Raises ValueError unless the network models q(z | x) and p(x | z)."""
    if not architecture.variational:
        raise ValueError(
            f"{name} needs an architecture with variational=True, got False."
        )
    if architecture.output_activation not in ("sigmoid", "linear"):
        raise ValueError(
            f"{name} needs the output activation 'sigmoid', for values in [0, 1], or "
            f"'linear', got {architecture.output_activation!r}."
        )


def check_range(
    x: Num[Array | np.ndarray, "n d"], architecture: Network, name: str = "x"
) -> None:
    """Raises ValueError unless the network's input is in [0, 1]."""
    scale = 1.0
    if not jnp.issubdtype(x.dtype, jnp.floating):
        scale = architecture.input_scale
    low, high = float(x.min()) * scale, float(x.max()) * scale
    if low < 0 or high > 1 + 1e-6:
        raise ValueError(
            f"{name} must be in [0, 1] for Bernoulli pixels, got {low:.4g} to "
            f"{high:.4g}; scale it."
        )


def gaussian_kl(
    mean: Float[Array, "b e"],
    log_variance: Float[Array, "b e"],
    *,
    weights: Float[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """Divergence of a Gaussian from N(0, 1), appendix B of Kingma and Welling (2014).

    Args:
      mean: of each coordinate of z.
      log_variance: of each coordinate of z.
      weights: share of each sample in the mean; 1 / b each if None.

    Returns:
      The divergence in nats per sample, at least 0, summed over coordinates.
    """
    terms = jnp.exp(log_variance) - 1 - log_variance + mean**2
    return weighted_mean(0.5 * terms.sum(axis=1), weights)


def weighted_mean(
    losses: Float[Array, " b"], weights: Float[Array, " b"] | None
) -> Float[Array, ""]:
    """Weighted mean of the losses of the samples, or their plain mean."""
    return losses.mean() if weights is None else (weights * losses).sum()


@runtime_checkable
class PretrainObjective(Protocol):
    """A loss of autoencoders, as pretraining sees it; hashable, as `Objective` is."""

    def check(self, architecture: Network) -> None:
        """Raises ValueError if this loss cannot train the network."""

    def loss(
        self,
        params: Params,
        batch: Batch,
        *,
        architecture: Network,
        axis_name: str | None = None,
        train: bool = True,
    ) -> tuple[Float[Array, ""], Params]:
        """The loss of a batch, and the new "batch_stats" if there are any.

        With `axis_name`, the batch is spread over that mapped axis. Without `train`,
        the network is evaluated: no dropout, running averages used and not updated.
        """


@dataclass(frozen=True)
class Reconstruction:
    """Mean squared error, with an optional sparsity penalty and dropout.

    Attributes:
      sparsity: weight of the L1 norm of z, averaged over samples, at least 0 (the
        "activity penalty" of a sparse autoencoder).
      input_dropout: probability with which each value of the encoder's input is set to
        0, in [0, 1). The other values are divided by 1 - input_dropout.
      hidden_dropout: the same for z, before it is decoded.

    Raises:
      ValueError: a setting is out of range.
    """

    sparsity: float = 0.0
    input_dropout: float = 0.0
    hidden_dropout: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.sparsity < math.inf:
            raise ValueError(
                f"sparsity must be finite and at least 0, got {self.sparsity}."
            )
        for name in ("input_dropout", "hidden_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be in [0, 1), got {getattr(self, name)}."
                )

    def check(self, architecture: Network) -> None:
        """Raises ValueError for a variational architecture or one without a decoder."""
        check_decoder(architecture, "Reconstruction")
        if architecture.variational:
            raise ValueError(
                "Reconstruction needs an architecture with variational=False; pretrain "
                "this one with Variational()."
            )

    def loss(
        self,
        params: Params,
        batch: Batch,
        *,
        architecture: Network,
        axis_name: str | None = None,
        train: bool = True,
    ) -> tuple[Float[Array, ""], Params]:
        """Reconstruction loss of `batch.target` from `batch.x`, plus the penalty."""
        input_key, hidden_key = jax.random.split(batch.key)
        settings: dict[str, Any] = {
            "architecture": architecture,
            "weights": batch.weights,
            "axis_name": axis_name,
            "train": train,
        }
        x = _dropout(input_key, batch.x, self.input_dropout) if train else batch.x
        encoded = encode_batch(params, x, **settings)
        z = encoded.output
        hidden = _dropout(hidden_key, z, self.hidden_dropout) if train else z
        decoded = decode_batch(params, hidden, **settings)
        loss = reconstruction_loss(batch.target, decoded.output, weights=batch.weights)
        if self.sparsity:
            penalty = weighted_mean(jnp.abs(z).sum(axis=1), batch.weights)
            loss = loss + self.sparsity * penalty
        return loss, updated_batch_stats(params, encoder=encoded, decoder=decoded)


def _dropout(
    key: jax.Array, x: Float[Array, "b d"], rate: float
) -> Float[Array, "b d"]:
    if not rate:
        return x
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)


@dataclass(frozen=True)
class Variational:
    """Negative evidence lower bound with Bernoulli pixels (Kingma and Welling, 2014).

    Each step draws one z per sample, by the reparameterization of their section 2.4. The
    network must be variational, with a sigmoid output; samples must be in [0, 1].
    """

    def check(self, architecture: Network) -> None:
        """Raises ValueError unless the network is variational with a sigmoid output."""
        if not architecture.variational:
            raise ValueError(
                "Variational needs an architecture with variational=True, got False."
            )
        if architecture.output_activation != "sigmoid":
            raise ValueError(
                "Variational needs the output activation 'sigmoid', a Bernoulli "
                f"probability, got {architecture.output_activation!r}."
            )

    def loss(
        self,
        params: Params,
        batch: Batch,
        *,
        architecture: Network,
        axis_name: str | None = None,
        train: bool = True,
    ) -> tuple[Float[Array, ""], Params]:
        """The bound in nats per sample: summed over pixels and coordinates of z."""
        run = variational_pass(
            params, batch, architecture=architecture, axis_name=axis_name, train=train
        )
        likelihood = bernoulli_loss(batch.target, run.output, weights=batch.weights)
        divergence = gaussian_kl(run.mean, run.log_variance, weights=batch.weights)
        return likelihood + divergence, run.batch_stats


class VariationalPass(NamedTuple):
    """One pass of a batch through a variational autoencoder."""

    mean: jax.Array  # [b, e] of q(z | x)
    log_variance: jax.Array  # [b, e] of q(z | x), within `LOG_VARIANCE_LIMITS`
    z: jax.Array  # [b, e] that was decoded
    output: jax.Array  # [b, d] of the decoder, before its activation
    batch_stats: Params  # {"batch_stats": ...} after the pass, or {}


def variational_pass(
    params: Params,
    batch: Batch,
    *,
    architecture: Network,
    axis_name: str | None = None,
    train: bool = True,
    sampled: bool = True,
) -> VariationalPass:
    """Encodes a batch, draws one z per sample, and decodes it.

    Args:
      params: of a variational autoencoder.
      batch: the samples; `batch.key` draws z.
      architecture: the network.
      axis_name: mapped axis over which the batch is spread.
      train: False normalizes by the running averages, as `encode` does.
      sampled: False decodes the mean of q(z | x), and draws nothing.

    Returns:
      The distribution of z, z, the decoder's output, and the running averages.
    """
    settings: dict[str, Any] = {
        "architecture": architecture,
        "weights": batch.weights,
        "axis_name": axis_name,
        "train": train,
    }
    encoded = encode_batch(params, batch.x, **settings)
    mean, log_variance = jnp.split(encoded.output, 2, axis=1)
    log_variance = jnp.clip(log_variance, *LOG_VARIANCE_LIMITS)
    z = mean
    if sampled:
        z = mean + jnp.exp(0.5 * log_variance) * jax.random.normal(
            batch.key, mean.shape
        )
    decoded = decode_batch(params, z, **settings, last_activation=False)
    stats = updated_batch_stats(params, encoder=encoded, decoder=decoded)
    return VariationalPass(mean, log_variance, z, decoded.output, stats)


@dataclass(frozen=True)
class MeanReconstruction:
    """Negative log-likelihood of the decoded mean of z, of a variational network.

    Pretraining for `VaDE`. The weights that give the log-variance are not trained.
    """

    def check(self, architecture: Network) -> None:
        """Raises ValueError unless the network models q(z | x) and p(x | z)."""
        check_likelihood(architecture, "MeanReconstruction")

    def loss(
        self,
        params: Params,
        batch: Batch,
        *,
        architecture: Network,
        axis_name: str | None = None,
        train: bool = True,
    ) -> tuple[Float[Array, ""], Params]:
        """-log p(target | mean) in nats per sample, averaged over the batch."""
        run = variational_pass(
            params,
            batch,
            architecture=architecture,
            axis_name=axis_name,
            train=train,
            sampled=False,
        )
        loss = likelihood_loss(
            batch.target, run.output, architecture=architecture, weights=batch.weights
        )
        return loss, run.batch_stats


def sample_vae(
    key: jax.Array, params: Params, n_samples: int, *, architecture: Network
) -> Float[Array, "n d"]:
    """Draws new samples: z from the prior N(0, 1), then `decode`.

    Args:
      key: a `jax.random.key`.
      params: of a variational autoencoder.
      n_samples: number of samples to draw.
      architecture: the network.

    Returns:
      Flattened samples, in the units of the network's input (after `input_scale`).

    Example:
      >>> from dec_jax.networks.architecture import Architecture, Dense
      >>> from dec_jax.networks.autoencoder import init_params
      >>> network = Architecture((4,), (Dense(2, "linear"),), variational=True)
      >>> params = init_params(jax.random.key(0), network)
      >>> sample_vae(jax.random.key(1), params, 5, architecture=network).shape
      (5, 4)
    """
    z = jax.random.normal(key, (n_samples, architecture.embedding_dim))
    return decode(params, z, architecture=architecture)
