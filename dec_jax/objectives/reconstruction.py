"""What pretraining minimizes: reconstruction, sparse or not, and the variational bound."""

import math
from dataclasses import dataclass
from typing import Protocol, TypedDict, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Num

from dec_jax.networks.architecture import Architecture
from dec_jax.networks.autoencoder import (
    Params,
    Pass,
    decode,
    decode_batch,
    encode_batch,
)

# Beyond these the exponential would leave float32 in a product with itself.
LOG_VARIANCE_LIMITS = (-20.0, 20.0)


def reconstruction_loss(
    x: Float[Array, "b d"],
    x_hat: Float[Array, "b d"],
    *,
    weights: Float[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """Mean squared error, averaged over the values of a sample and over samples.

    Args:
      x: what should be reconstructed.
      x_hat: the reconstruction.
      weights: share of each sample in the mean; 1 / b if not given.

    Returns:
      The loss, at least 0.
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
      x: what should be reconstructed, in [0, 1].
      logits: the reconstruction before its sigmoid.
      weights: share of each sample in the mean; 1 / b if not given.

    Returns:
      The loss in nats a sample, averaged over samples.
    """
    losses = optax.losses.sigmoid_binary_cross_entropy(logits, x).sum(axis=1)
    return weighted_mean(losses, weights)


def likelihood_loss(
    x: Float[Array, "b d"],
    output: Float[Array, "b d"],
    *,
    architecture: Architecture,
    weights: Float[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """-log p(x | z) by what the network's output is, summed over a sample's values.

    Args:
      x: what should be reconstructed; in [0, 1] for a sigmoid output.
      output: of the decoder, before its activation.
      architecture: with the output activation "sigmoid", values are Bernoulli; with
        "linear", Gaussian around the output, of variance 1/2: the squared error.
      weights: share of each sample in the mean; 1 / b if not given.

    Returns:
      The loss in nats a sample, averaged over samples, up to a constant.
    """
    if architecture.output_activation == "sigmoid":
        return bernoulli_loss(x, output, weights=weights)
    return weighted_mean(((x - output) ** 2).sum(axis=1), weights)


def check_likelihood(architecture: Architecture, name: str) -> None:
    """Raises ValueError unless the network gives a distribution and p(x | z)."""
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
    x: Num[Array | np.ndarray, "n d"], architecture: Architecture, name: str = "x"
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
    """KL(N(mean, exp(log_variance)) || N(0, 1)), appendix B of Kingma and Welling (2014).

    Args:
      mean: of each coordinate of z.
      log_variance: of each coordinate of z.
      weights: share of each sample in the mean; 1 / b if not given.

    Returns:
      The divergence in nats a sample, at least 0, summed over coordinates.
    """
    terms = jnp.exp(log_variance) - 1 - log_variance + mean**2
    return weighted_mean(0.5 * terms.sum(axis=1), weights)


def weighted_mean(
    losses: Float[Array, " b"], weights: Float[Array, " b"] | None
) -> Float[Array, ""]:
    """The batch's loss: each sample with its share, or all with the same."""
    return losses.mean() if weights is None else (weights * losses).sum()


def moved_stats(
    params: Params, *, encoder: Pass | None = None, decoder: Pass | None = None
) -> Params:
    """The entry "batch_stats" after these passes; nothing without batch normalization."""
    if "batch_stats" not in params:
        return {}
    moved = dict(params["batch_stats"])
    if encoder is not None:
        moved["encoder"] = encoder.batch_stats
    if decoder is not None:
        moved["decoder"] = decoder.batch_stats
    return {"batch_stats": moved}


class _Batch(TypedDict):
    """What both passes of a batch share."""

    architecture: Architecture
    weights: jax.Array
    axis_name: str | None
    train: bool


@runtime_checkable
class PretrainObjective(Protocol):
    """What pretraining asks of a kind of autoencoder."""

    def check(self, architecture: Architecture) -> None:
        """Raises ValueError if the network is not of this kind."""

    def loss(
        self,
        params: Params,
        key: jax.Array,
        seen: Float[Array, "b d"],
        target: Float[Array, "b d"],
        weights: Float[Array, " b"],
        *,
        architecture: Architecture,
        axis_name: str | None = None,
        train: bool = True,
    ) -> tuple[Float[Array, ""], Params]:
        """The loss of a batch, and what moves by rule: {} or {"batch_stats"}."""


@dataclass(frozen=True)
class Reconstruction:
    """Mean squared error, plus what makes the embedding sparse or the network robust.

    Attributes:
      sparsity: weight of the mean over samples of the L1 norm of z, at least 0 (the
        "activity penalty" of a sparse autoencoder).
      input_dropout: probability with which an input of the encoder is dropped, those
        kept being scaled up to make up for it, in [0, 1).
      hidden_dropout: the same for the embedding, before it is decoded.
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

    def check(self, architecture: Architecture) -> None:
        """A variational network has a loss of its own."""
        if architecture.variational:
            raise ValueError(
                "Reconstruction needs an architecture with variational=False; pretrain "
                "this one with Variational()."
            )

    def loss(
        self,
        params: Params,
        key: jax.Array,
        seen: Float[Array, "b d"],
        target: Float[Array, "b d"],
        weights: Float[Array, " b"],
        *,
        architecture: Architecture,
        axis_name: str | None = None,
        train: bool = True,
    ) -> tuple[Float[Array, ""], Params]:
        """Reconstruction error of `target` from `seen`, plus the penalty."""
        input_key, hidden_key = jax.random.split(key)
        batch = _Batch(
            architecture=architecture, weights=weights, axis_name=axis_name, train=train
        )
        if train:
            seen = _dropout(input_key, seen, self.input_dropout)
        encoded = encode_batch(params, seen, **batch)
        z = encoded.output
        hidden = _dropout(hidden_key, z, self.hidden_dropout) if train else z
        decoded = decode_batch(params, hidden, **batch)
        loss = reconstruction_loss(target, decoded.output, weights=weights)
        if self.sparsity:
            penalty = weighted_mean(jnp.abs(z).sum(axis=1), weights)
            loss = loss + self.sparsity * penalty
        return loss, moved_stats(params, encoder=encoded, decoder=decoded)


def _dropout(
    key: jax.Array, x: Float[Array, "b d"], rate: float
) -> Float[Array, "b d"]:
    if not rate:
        return x
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)


@dataclass(frozen=True)
class Variational:
    """The negative evidence lower bound with Bernoulli pixels (Kingma and Welling, 2014).

    One sample of z a step, by the reparameterisation of their section 2.4. The network
    must be variational, with a sigmoid output; samples must be in [0, 1].
    """

    def check(self, architecture: Architecture) -> None:
        """Raises ValueError unless the network gives a distribution and a probability."""
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
        key: jax.Array,
        seen: Float[Array, "b d"],
        target: Float[Array, "b d"],
        weights: Float[Array, " b"],
        *,
        architecture: Architecture,
        axis_name: str | None = None,
        train: bool = True,
    ) -> tuple[Float[Array, ""], Params]:
        """Summed over pixels and coordinates, averaged over samples, in nats."""
        batch = _Batch(
            architecture=architecture, weights=weights, axis_name=axis_name, train=train
        )
        encoded = encode_batch(params, seen, **batch)
        mean, log_variance = jnp.split(encoded.output, 2, axis=1)
        log_variance = jnp.clip(log_variance, *LOG_VARIANCE_LIMITS)
        noise = jax.random.normal(key, mean.shape)
        z = mean + jnp.exp(0.5 * log_variance) * noise
        decoded = decode_batch(params, z, **batch, last_activation=False)
        likelihood = bernoulli_loss(target, decoded.output, weights=weights)
        loss = likelihood + gaussian_kl(mean, log_variance, weights=weights)
        return loss, moved_stats(params, encoder=encoded, decoder=decoded)


@dataclass(frozen=True)
class MeanReconstruction:
    """A variational network as a plain autoencoder: the mean alone, decoded.

    What `VaDE` starts from. The log-variance stays as it was drawn.
    """

    def check(self, architecture: Architecture) -> None:
        """Raises ValueError unless the network gives a distribution and p(x | z)."""
        check_likelihood(architecture, "MeanReconstruction")

    def loss(
        self,
        params: Params,
        key: jax.Array,
        seen: Float[Array, "b d"],
        target: Float[Array, "b d"],
        weights: Float[Array, " b"],
        *,
        architecture: Architecture,
        axis_name: str | None = None,
        train: bool = True,
    ) -> tuple[Float[Array, ""], Params]:
        """-log p(target | mean), averaged over samples, in nats."""
        batch = _Batch(
            architecture=architecture, weights=weights, axis_name=axis_name, train=train
        )
        encoded = encode_batch(params, seen, **batch)
        mean, _ = jnp.split(encoded.output, 2, axis=1)
        decoded = decode_batch(params, mean, **batch, last_activation=False)
        loss = likelihood_loss(
            target, decoded.output, architecture=architecture, weights=weights
        )
        return loss, moved_stats(params, encoder=encoded, decoder=decoded)


def sample_vae(
    key: jax.Array, params: Params, n_samples: int, *, architecture: Architecture
) -> Float[Array, "n d"]:
    """Draws new samples: z from the prior N(0, 1), then `decode`.

    Args:
      key: a `jax.random.key`.
      params: of a variational autoencoder.
      n_samples: how many.
      architecture: the network.

    Returns:
      Flattened samples, in the units of the network's input.
    """
    z = jax.random.normal(key, (n_samples, architecture.embedding_dim))
    return decode(params, z, architecture=architecture)
