"""The autoencoder as pure functions of its parameters: x -> z -> x_hat.

Parameters are a plain dictionary `{"encoder": ..., "decoder": ...}`. Other entries,
such as the centroids of a training state, are passed over, so that the parameters of
a trained model go in as they are.
"""

from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from dec_jax.architecture import Architecture, Dense

Params = dict[str, Any]

_ACTIVATIONS = {
    "linear": lambda x: x,
    "relu": nn.relu,
    "sigmoid": nn.sigmoid,
    "tanh": nn.tanh,
    "gelu": nn.gelu,
}
_INITIALIZERS = {
    "glorot_uniform": nn.initializers.glorot_uniform(),
    "he_normal": nn.initializers.he_normal(),
    "lecun_normal": nn.initializers.lecun_normal(),
    "fan_in_uniform": nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform"),
    "xie_normal": nn.initializers.normal(0.01),
}


class DenseStack(nn.Module):
    """Fully connected layers in a row; the encoder and the decoder are one each."""

    layers: tuple[Dense, ...]
    initializer: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the layers to `x` of shape [b, d]."""
        for index, layer in enumerate(self.layers):
            x = nn.Dense(
                layer.features,
                kernel_init=_INITIALIZERS[self.initializer],
                name=f"dense_{index}",
            )(x)
            x = _ACTIVATIONS[layer.activation](x)
        return x


def encoder_module(architecture: Architecture) -> DenseStack:
    """The Flax module of the encoder."""
    return DenseStack(architecture.layers, architecture.initializer)


def decoder_module(architecture: Architecture) -> DenseStack:
    """The Flax module of the decoder."""
    return DenseStack(architecture.mirrored(), architecture.initializer)


def _apply(module: DenseStack, params: Params, x: jax.Array) -> jax.Array:
    # Flax's own type also covers modules that change state, which these do not.
    return cast(jax.Array, module.apply({"params": params}, x))


def init_params(key: jax.Array, architecture: Architecture) -> Params:
    """Draws the parameters of an autoencoder.

    Args:
      key: a `jax.random.key`.
      architecture: the network.

    Returns:
      `{"encoder": {"dense_0": {"kernel", "bias"}, ...}, "decoder": {...}}`, float32.
    """
    return _init_params(key, architecture)


def _init_params_eagerly(key: jax.Array, architecture: Architecture) -> Params:
    encoder_key, decoder_key = jax.random.split(key)
    x = jnp.zeros((1, architecture.input_dim))
    z = jnp.zeros((1, architecture.embedding_dim))
    return {
        "encoder": encoder_module(architecture).init(encoder_key, x)["params"],
        "decoder": decoder_module(architecture).init(decoder_key, z)["params"],
    }


# Eagerly, Flax compiles each random draw on its own, which takes seconds.
_init_params = jax.jit(_init_params_eagerly, static_argnames="architecture")


def scale_input(
    x: Num[Array | np.ndarray, "n d"], architecture: Architecture
) -> Float[Array, "n d"]:
    """Network input: integers times `architecture.input_scale`, floats as they are."""
    scaled = jnp.asarray(x, jnp.float32)
    if jnp.issubdtype(x.dtype, jnp.floating):
        return scaled
    return scaled * architecture.input_scale


def encode(
    params: Params, x: Num[Array | np.ndarray, "n d"], *, architecture: Architecture
) -> Float[Array, "n e"]:
    """Embeds samples: z = f(x).

    Args:
      params: parameters with an entry "encoder", from `init_params` or training.
      x: samples; integers are multiplied by `architecture.input_scale`, floats are
        taken as they are.
      architecture: the network that the parameters belong to.

    Returns:
      z, one row of `architecture.embedding_dim` numbers a sample.

    Raises:
      ValueError: the samples do not have the architecture's width.
    """
    if x.ndim != 2 or x.shape[1] != architecture.input_dim:
        raise ValueError(
            f"x must have shape [n, {architecture.input_dim}], the architecture's "
            f"input, got shape {tuple(x.shape)}."
        )
    x = scale_input(x, architecture)
    return _apply(encoder_module(architecture), params["encoder"], x)


def decode(
    params: Params, z: Float[Array, "n e"], *, architecture: Architecture
) -> Float[Array, "n d"]:
    """Reconstructs samples from their embeddings: x_hat = g(z).

    Args:
      params: parameters with an entry "decoder".
      z: embeddings.
      architecture: the network that the parameters belong to.

    Returns:
      x_hat, in the units of the network's input (after `input_scale`).

    Raises:
      ValueError: the embeddings do not have the architecture's width.
    """
    if z.ndim != 2 or z.shape[1] != architecture.embedding_dim:
        raise ValueError(
            f"z must have shape [n, {architecture.embedding_dim}], the architecture's "
            f"embedding, got shape {tuple(z.shape)}."
        )
    return _apply(decoder_module(architecture), params["decoder"], z)


def reconstruct(
    params: Params, x: Num[Array | np.ndarray, "n d"], *, architecture: Architecture
) -> Float[Array, "n d"]:
    """x_hat = g(f(x)): `decode` of `encode`, in the units of the network's input."""
    z = encode(params, x, architecture=architecture)
    return decode(params, z, architecture=architecture)
