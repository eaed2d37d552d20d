"""The autoencoder as pure functions of its parameters: x -> z -> x_hat.

Parameters are a plain dictionary `{"encoder": ..., "decoder": ...}`, with
`"batch_stats"` beside them where there is batch normalization. Other entries, such as
the centroids of a training state, are passed over, so that the parameters of a trained
model go in as they are.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from dec_jax.networks.architecture import Architecture, Shape, Step
from dec_jax.networks.layers import Stack
from dec_jax.parallel.row_blocks import BLOCK_SIZE, map_blocks

Params = dict[str, Any]

# Values of one layer, patches of convolutions included, that may be in memory at once.
VALUES_AT_ONCE = 2**26


def _encoder(architecture: Architecture) -> Stack:
    return _stack(architecture, architecture.encoder_steps(), architecture.input_shape)


def _decoder(architecture: Architecture) -> Stack:
    return _stack(architecture, architecture.decoder_steps(), architecture.shapes[-1])


def _stack(
    architecture: Architecture, steps: tuple[Step, ...], input_shape: Shape
) -> Stack:
    return Stack(steps, input_shape, architecture.initializer, architecture.precision)


def _variables(params: Params, name: str) -> Params:
    """What Flax calls the variables of one of the two stacks."""
    if "batch_stats" not in params:
        return {"params": params[name]}
    return {"params": params[name], "batch_stats": params["batch_stats"][name]}


def init_params(key: jax.Array, architecture: Architecture) -> Params:
    """Draws the parameters of an autoencoder.

    Args:
      key: a `jax.random.key`.
      architecture: the network.

    Returns:
      `{"encoder": {"dense_0": {"kernel", "bias"}, ...}, "decoder": {...}}`, float32;
      with batch normalization also `"batch_stats": {"encoder", "decoder"}`, the running
      means and variances, which no gradient moves.
    """
    return _init_params(key, architecture)


def _init_params_eagerly(key: jax.Array, architecture: Architecture) -> Params:
    encoder_key, decoder_key = jax.random.split(key)
    x = jnp.zeros((1, architecture.input_dim))
    z = jnp.zeros((1, architecture.embedding_dim))
    encoder = _encoder(architecture).init(encoder_key, x)
    decoder = _decoder(architecture).init(decoder_key, z)
    params = {"encoder": encoder["params"], "decoder": decoder["params"]}
    if architecture.batch_norm:
        params["batch_stats"] = {
            "encoder": encoder.get("batch_stats", {}),
            "decoder": decoder.get("batch_stats", {}),
        }
    return params


# Eagerly, Flax compiles each random draw on its own, which takes seconds.
_init_params = jax.jit(_init_params_eagerly, static_argnames="architecture")


def scale_input(
    x: Num[Array | np.ndarray, "n d"], architecture: Architecture
) -> Float[Array, "n d"]:
    """Network input: integers times `architecture.input_scale`, floats as they are.

    Then each sample divided by the root of its mean square, where `normalize` says so; a
    sample of zeros stays one.
    """
    scaled = jnp.asarray(x, jnp.float32)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        scaled = scaled * architecture.input_scale
    if not architecture.normalize:
        return scaled
    mean_square = jnp.mean(scaled**2, axis=1, keepdims=True)
    return scaled * jax.lax.rsqrt(jnp.where(mean_square > 0, mean_square, 1))


def encode(
    params: Params, x: Num[Array | np.ndarray, "n d"], *, architecture: Architecture
) -> Float[Array, "n e"]:
    """Embeds samples: z = f(x).

    Args:
      params: parameters with an entry "encoder", from `init_params` or training.
      x: flattened samples; integers are multiplied by `architecture.input_scale`,
        floats are taken as they are.
      architecture: the network that the parameters belong to.

    Returns:
      z, one row of `architecture.embedding_dim` numbers a sample; of a variational
      network the mean.

    Raises:
      ValueError: the samples do not have the architecture's width.
    """
    _check_input(x, architecture)
    z = _apply(_encoder(architecture), params, "encoder", scale_input(x, architecture))
    return z[:, : architecture.embedding_dim]


def encode_distribution(
    params: Params, x: Num[Array | np.ndarray, "n d"], *, architecture: Architecture
) -> tuple[Float[Array, "n e"], Float[Array, "n e"]]:
    """Mean and log-variance of q(z | x), of a variational network.

    Args:
      params: parameters with an entry "encoder".
      x: flattened samples, as in `encode`.
      architecture: a network with `variational=True`.

    Returns:
      The mean and the logarithm of the variance of each coordinate of z.

    Raises:
      ValueError: the network is not variational, or the width is another.
    """
    _check_input(x, architecture)
    if not architecture.variational:
        raise ValueError(
            "encode_distribution needs an architecture with variational=True."
        )
    both = _apply(
        _encoder(architecture), params, "encoder", scale_input(x, architecture)
    )
    mean, log_variance = jnp.split(both, 2, axis=1)
    return mean, log_variance


def decode(
    params: Params, z: Float[Array, "n e"], *, architecture: Architecture
) -> Float[Array, "n d"]:
    """Reconstructs samples from their embeddings: x_hat = g(z).

    Args:
      params: parameters with an entry "decoder".
      z: embeddings.
      architecture: the network that the parameters belong to.

    Returns:
      x_hat, flattened, in the units of the network's input (after `input_scale`).

    Raises:
      ValueError: the embeddings do not have the architecture's width.
    """
    if z.ndim != 2 or z.shape[1] != architecture.embedding_dim:
        raise ValueError(
            f"z must have shape [n, {architecture.embedding_dim}], the architecture's "
            f"embedding, got shape {tuple(z.shape)}."
        )
    return _apply(_decoder(architecture), params, "decoder", z)


def reconstruct(
    params: Params, x: Num[Array | np.ndarray, "n d"], *, architecture: Architecture
) -> Float[Array, "n d"]:
    """x_hat = g(f(x)): `decode` of `encode`, in the units of the network's input."""
    z = encode(params, x, architecture=architecture)
    return decode(params, z, architecture=architecture)


def embed(
    params: Params, x: Num[Array | np.ndarray, "n d"], *, architecture: Architecture
) -> Float[Array, "n e"]:
    """`encode` of any number of samples, as many at a time as memory allows.

    Args:
      params: parameters with an entry "encoder".
      x: flattened samples, as in `encode`.
      architecture: the network that the parameters belong to.

    Returns:
      z, one row of `architecture.embedding_dim` numbers a sample.

    Raises:
      ValueError: the samples do not have the architecture's width.
    """

    def block(x: Num[Array, "b d"]) -> Float[Array, "b e"]:
        return encode(params, x, architecture=architecture)

    return map_blocks(block, jnp.asarray(x), block_size=rows_at_once(architecture))


def rows_at_once(architecture: Architecture) -> int:
    """Samples that pass through the network together where all of the data do."""
    widest = max(
        math.prod(step.output_shape) * math.prod(getattr(step.layer, "kernel_size", ()))
        for step in (*architecture.encoder_steps(), *architecture.decoder_steps())
    )
    return max(1, min(BLOCK_SIZE, VALUES_AT_ONCE // widest))


class Pass(NamedTuple):
    """One pass of a batch through a stack in training mode."""

    output: jax.Array  # [b, e]
    batch_stats: Params  # moved running averages, {} without batch normalization


def encode_batch(
    params: Params,
    x: Float[Array, "b d"],
    *,
    architecture: Architecture,
    weights: Float[Array, " b"] | None = None,
    axis_name: str | None = None,
    train: bool = True,
) -> Pass:
    """The encoder in training mode: normalized by the batch's own mean and variance.

    Args:
      params: parameters with an entry "encoder".
      x: network input (after `scale_input`).
      architecture: the network.
      weights: 0 for the rows that only pad the batch and must not count.
      axis_name: mapped axis over which the batch is spread.
      train: False normalizes by the running averages, as `encode` does.

    Returns:
      z (of a variational network mean and log-variance side by side), and the running
      averages after this batch.
    """
    stack = _encoder(architecture)
    if not train:
        return Pass(_apply(stack, params, "encoder", x), {})
    return _train_apply(stack, params, "encoder", x, weights, axis_name, True)


def decode_batch(
    params: Params,
    z: Float[Array, "b e"],
    *,
    architecture: Architecture,
    weights: Float[Array, " b"] | None = None,
    axis_name: str | None = None,
    train: bool = True,
    last_activation: bool = True,
) -> Pass:
    """The decoder in training mode; see `encode_batch`.

    Args:
      params: parameters with an entry "decoder".
      z: embeddings.
      architecture: the network.
      weights: 0 for the rows that only pad the batch and must not count.
      axis_name: mapped axis over which the batch is spread.
      train: False normalizes by the running averages, as `decode` does.
      last_activation: False gives the reconstruction before its activation (logits).

    Returns:
      x_hat, and the running averages after this batch.
    """
    stack = _decoder(architecture)
    if not train:
        return Pass(_apply(stack, params, "decoder", z, last_activation), {})
    return _train_apply(
        stack, params, "decoder", z, weights, axis_name, last_activation
    )


def _apply(
    stack: Stack,
    params: Params,
    name: str,
    x: jax.Array,
    last_activation: bool = True,
) -> jax.Array:
    variables = _variables(params, name)
    return jnp.asarray(stack.apply(variables, x, last_activation=last_activation))


def _train_apply(
    stack: Stack,
    params: Params,
    name: str,
    x: jax.Array,
    weights: jax.Array | None,
    axis_name: str | None,
    last_activation: bool,
) -> Pass:
    output, moved = stack.apply(
        _variables(params, name),
        x,
        mask=None if weights is None else weights > 0,
        train=True,
        axis_name=axis_name,
        last_activation=last_activation,
        mutable=["batch_stats"],
    )
    return Pass(output, moved.get("batch_stats", {}))


def _check_input(x: jax.Array | np.ndarray, architecture: Architecture) -> None:
    if x.ndim != 2 or x.shape[1] != architecture.input_dim:
        raise ValueError(
            f"x must have shape [n, {architecture.input_dim}], the architecture's "
            f"input, got shape {tuple(x.shape)}."
        )
