"""The autoencoder as pure functions of its parameters: x -> z -> x_hat.

Parameters are a dictionary `{"encoder": ..., "decoder": ...}`, with an entry
"batch_stats" if there is batch normalization. Other entries are ignored, such as the
centroids of a training state, so that the parameters of a trained model can be used as
they are.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from dec_jax.networks.architecture import Architecture
from dec_jax.networks.layers import Stack
from dec_jax.networks.own import (
    FunctionalNetwork,
    Network,
    check_decoder,
    check_network,
)
from dec_jax.parallel.row_blocks import BLOCK_SIZE, map_blocks

Params = dict[str, Any]

# Values of one layer, patches of convolutions included, that may be in memory at once.
VALUES_AT_ONCE = 2**26


def _stack(architecture: Architecture, name: str) -> Stack:
    """The Flax module of "encoder" or "decoder"."""
    if name == "encoder":
        steps, input_shape = architecture.encoder_steps(), architecture.input_shape
    else:
        steps, input_shape = architecture.decoder_steps(), architecture.shapes[-1]
    return Stack(steps, input_shape, architecture.initializer, architecture.precision)


def init_params(key: jax.Array, architecture: Network) -> Params:
    """Draws the parameters of an autoencoder.

    Args:
      key: a `jax.random.key`.
      architecture: the network.

    Returns:
      `{"encoder": {"dense_0": {"kernel", "bias"}, ...}, "decoder": {...}}`, float32;
      with batch normalization also `"batch_stats": {"encoder", "decoder"}`, the running
      means and variances, which no gradient updates. Of a `FunctionalNetwork`, the
      entries that its `init` returns.

    Raises:
      TypeError: `architecture` is not a network.

    Example:
      >>> import jax
      >>> from dec_jax import dense_architecture, init_params
      >>> network = dense_architecture(4, hidden=(8,), embedding_dim=2)
      >>> params = init_params(jax.random.key(0), network)
      >>> params["encoder"]["dense_1"]["kernel"].shape
      (8, 2)
    """
    check_network(architecture)
    return _init_params(key, architecture)


def _init_params_eagerly(key: jax.Array, architecture: Network) -> Params:
    if isinstance(architecture, FunctionalNetwork):
        return architecture.init(key)
    encoder_key, decoder_key = jax.random.split(key)
    x = jnp.zeros((1, architecture.input_dim))
    z = jnp.zeros((1, architecture.embedding_dim))
    encoder = _stack(architecture, "encoder").init(encoder_key, x)
    decoder = _stack(architecture, "decoder").init(decoder_key, z)
    params = {"encoder": encoder["params"], "decoder": decoder["params"]}
    if architecture.batch_norm:
        params["batch_stats"] = {
            "encoder": encoder.get("batch_stats", {}),
            "decoder": decoder.get("batch_stats", {}),
        }
    return params


# Flax compiles each random draw on its own if this is not compiled as a whole: seconds.
_init_params = jax.jit(_init_params_eagerly, static_argnames="architecture")


def scale_input(
    x: Num[Array | np.ndarray, "n d"], architecture: Network
) -> Float[Array, "n d"]:
    """Scales samples to the network's input, float32.

    Integers are multiplied by `architecture.input_scale`; floats are taken as they are.
    With `normalize`, each sample is then divided by the root of its mean square; a
    sample of zeros stays zero.
    """
    scaled = jnp.asarray(x, jnp.float32)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        scaled = scaled * architecture.input_scale
    if not architecture.normalize:
        return scaled
    mean_square = jnp.mean(scaled**2, axis=1, keepdims=True)
    return scaled * jax.lax.rsqrt(jnp.where(mean_square > 0, mean_square, 1))


def flatten_samples(
    x: Num[Array | np.ndarray, "n ..."], architecture: Network, name: str = "x"
) -> Num[Array | np.ndarray, "n d"]:
    """Flattens samples of the network's own shape to rows; rows stay as they are.

    Args:
      x: rows [n, d], or samples [n, *input_shape]. Images without an axis of channels,
        [n, h, w], fit a network for images of one channel, and images of any shape with
        d values fit a network for rows of d values.
      architecture: the network.
      name: name of `x` in the message.

    Returns:
      Rows of `architecture.input_dim` values.

    Raises:
      TypeError: `architecture` is not a network.
      ValueError: the samples have another shape.
    """
    check_network(architecture)
    width, sample, own = architecture.input_dim, x.shape[1:], architecture.input_shape
    fits = sample in ((width,), own) or (*sample, 1) == own
    if len(own) == 1 and len(sample) in (2, 3):
        fits = math.prod(sample) == width
    if not fits:
        shaped = f" or [n, {', '.join(map(str, own))}]" if len(own) > 1 else ""
        raise ValueError(
            f"{name} must have shape [n, {width}]{shaped}, the architecture's input, got "
            f"shape {tuple(x.shape)}; reshape it, or use a network of its shape."
        )
    return x if len(sample) == 1 else x.reshape(x.shape[0], width)


def encode(
    params: Params, x: Num[Array | np.ndarray, "n ..."], *, architecture: Network
) -> Float[Array, "n e"]:
    """Embeds samples: z = f(x).

    Args:
      params: parameters with an entry "encoder", from `init_params` or training.
      x: samples as rows [n, d], or images [n, h, w] or [n, h, w, c]. Integers are
        multiplied by `architecture.input_scale`; floats are taken as they are.
      architecture: the network that the parameters belong to.

    Returns:
      z, `architecture.embedding_dim` values per sample. For a variational network, z is
      the mean of q(z | x).

    Raises:
      ValueError: the samples do not have the shape of the architecture's input.

    Example:
      >>> import jax, numpy as np
      >>> from dec_jax import dense_architecture, encode, init_params
      >>> network = dense_architecture(28 * 28, hidden=(8,), embedding_dim=2)
      >>> params = init_params(jax.random.key(0), network)
      >>> images = np.zeros((5, 28, 28), np.uint8)
      >>> encode(params, images, architecture=network).shape
      (5, 2)
    """
    x = scale_input(flatten_samples(x, architecture), architecture)
    z = _run(architecture, params, "encoder", x).output
    return z[:, : architecture.embedding_dim]


def encode_distribution(
    params: Params, x: Num[Array | np.ndarray, "n ..."], *, architecture: Network
) -> tuple[Float[Array, "n e"], Float[Array, "n e"]]:
    """Computes mean and log-variance of q(z | x), of a variational network.

    Args:
      params: parameters with an entry "encoder".
      x: samples, as in `encode`.
      architecture: a network with `variational=True`.

    Returns:
      The mean and the logarithm of the variance of each coordinate of z.

    Raises:
      ValueError: the network is not variational, or the samples do not have the shape
        of its input.
    """
    x = flatten_samples(x, architecture)
    if not architecture.variational:
        raise ValueError(
            "encode_distribution needs an architecture with variational=True, got False."
        )
    both = _run(architecture, params, "encoder", scale_input(x, architecture)).output
    mean, log_variance = jnp.split(both, 2, axis=1)
    return mean, log_variance


def decode(
    params: Params, z: Float[Array, "n e"], *, architecture: Network
) -> Float[Array, "n d"]:
    """Reconstructs samples from their embeddings: x_hat = g(z).

    Args:
      params: parameters with an entry "decoder".
      z: embeddings.
      architecture: the network that the parameters belong to.

    Returns:
      x_hat as rows, in the units of the network's input (after `input_scale`).

    Raises:
      ValueError: the embeddings do not have the architecture's width; there is no
        decoder.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from dec_jax import decode, dense_architecture, init_params
      >>> network = dense_architecture(4, hidden=(8,), embedding_dim=2)
      >>> params = init_params(jax.random.key(0), network)
      >>> decode(params, jnp.zeros((3, 2)), architecture=network).shape
      (3, 4)
    """
    check_network(architecture)
    if z.ndim != 2 or z.shape[1] != architecture.embedding_dim:
        raise ValueError(
            f"z must have shape [n, {architecture.embedding_dim}], the architecture's "
            f"embedding, got shape {tuple(z.shape)}."
        )
    return _run(architecture, params, "decoder", z).output


def reconstruct(
    params: Params, x: Num[Array | np.ndarray, "n ..."], *, architecture: Network
) -> Float[Array, "n d"]:
    """Encodes samples and decodes their embeddings: x_hat = g(f(x)).

    Args:
      params: parameters with entries "encoder" and "decoder".
      x: samples, as in `encode`.
      architecture: the network that the parameters belong to.

    Returns:
      x_hat, as `decode` returns it.

    Raises:
      ValueError: as in `encode`; there is no decoder.
    """
    z = encode(params, x, architecture=architecture)
    return decode(params, z, architecture=architecture)


def embed(
    params: Params, x: Num[Array | np.ndarray, "n ..."], *, architecture: Network
) -> Float[Array, "n e"]:
    """Embeds any number of samples, in blocks that fit into memory.

    Args:
      params: parameters with an entry "encoder".
      x: samples, as in `encode`.
      architecture: the network that the parameters belong to.

    Returns:
      z, as `encode` returns it.

    Raises:
      ValueError: the samples do not have the shape of the architecture's input.
    """

    def block(x: Num[Array, "b d"]) -> Float[Array, "b e"]:
        return encode(params, x, architecture=architecture)

    rows = jnp.asarray(flatten_samples(x, architecture))
    return map_blocks(block, rows, block_size=rows_at_once(architecture))


def rows_at_once(architecture: Network) -> int:
    """Number of samples that pass through the network at once when all samples do."""
    if isinstance(architecture, FunctionalNetwork):
        return architecture.rows_at_once
    widest = max(
        math.prod(step.output_shape) * math.prod(getattr(step.layer, "kernel_size", ()))
        for step in (*architecture.encoder_steps(), *architecture.decoder_steps())
    )
    return max(1, min(BLOCK_SIZE, VALUES_AT_ONCE // widest))


class Pass(NamedTuple):
    """One pass of a batch through the encoder or the decoder."""

    output: jax.Array  # [b, e] or [b, d]
    batch_stats: Params  # updated running averages, {} without batch normalization


def encode_batch(
    params: Params,
    x: Float[Array, "b d"],
    *,
    architecture: Network,
    weights: Float[Array, " b"] | None = None,
    axis_name: str | None = None,
    train: bool = True,
) -> Pass:
    """Runs the encoder in training mode, normalized by the batch's mean and variance.

    Args:
      params: parameters with an entry "encoder".
      x: network input (after `scale_input`).
      architecture: the network.
      weights: 0 for the rows that only pad the batch and must not count.
      axis_name: mapped axis over which the batch is spread.
      train: False normalizes by the running averages, as `encode` does.

    Returns:
      z (for a variational network, the mean and the log-variance, concatenated), and
      the running averages after this batch.
    """
    return _run(architecture, params, "encoder", x, weights, axis_name, train)


def decode_batch(
    params: Params,
    z: Float[Array, "b e"],
    *,
    architecture: Network,
    weights: Float[Array, " b"] | None = None,
    axis_name: str | None = None,
    train: bool = True,
    last_activation: bool = True,
) -> Pass:
    """Runs the decoder in training mode; arguments are as in `encode_batch`.

    Without `last_activation`, the output is x_hat before its activation (logits).
    """
    return _run(
        architecture, params, "decoder", z, weights, axis_name, train, last_activation
    )


class Reconstructed(NamedTuple):
    """One pass of a batch through the autoencoder."""

    z: jax.Array  # [b, e]
    x_hat: jax.Array  # [b, d]
    batch_stats: Params  # {"batch_stats": ...} after the pass, or {}


def autoencode_batch(
    params: Params,
    x: Float[Array, "b d"],
    *,
    architecture: Network,
    weights: Float[Array, " b"] | None = None,
    axis_name: str | None = None,
) -> Reconstructed:
    """Runs encoder and decoder in training mode; arguments are as in `encode_batch`."""
    encoded = encode_batch(
        params, x, architecture=architecture, weights=weights, axis_name=axis_name
    )
    decoded = decode_batch(
        params,
        encoded.output,
        architecture=architecture,
        weights=weights,
        axis_name=axis_name,
    )
    stats = updated_batch_stats(params, encoder=encoded, decoder=decoded)
    return Reconstructed(encoded.output, decoded.output, stats)


def updated_batch_stats(
    params: Params, *, encoder: Pass | None = None, decoder: Pass | None = None
) -> Params:
    """The entry "batch_stats" after these passes; {} without batch normalization."""
    if "batch_stats" not in params:
        return {}
    updated = dict(params["batch_stats"])
    if encoder is not None:
        updated["encoder"] = encoder.batch_stats
    if decoder is not None:
        updated["decoder"] = decoder.batch_stats
    return {"batch_stats": updated}


def _run(
    architecture: Network,
    params: Params,
    name: str,
    x: jax.Array,
    weights: jax.Array | None = None,
    axis_name: str | None = None,
    train: bool = False,
    last_activation: bool = True,
) -> Pass:
    """Runs "encoder" or "decoder" on a batch."""
    if name == "decoder":
        check_decoder(architecture, "decode")
    if name not in params:
        raise ValueError(f"params must have an entry {name!r}, got {sorted(params)}.")
    if isinstance(architecture, FunctionalNetwork):
        return Pass(architecture.apply(name, params[name], x), {})
    variables = {"params": params[name]}
    if "batch_stats" in params:
        variables["batch_stats"] = params["batch_stats"][name]
    stack = _stack(architecture, name)
    if not train:
        output = stack.apply(variables, x, last_activation=last_activation)
        return Pass(jnp.asarray(output), {})
    output, updated = stack.apply(
        variables,
        x,
        mask=None if weights is None else weights > 0,
        train=True,
        axis_name=axis_name,
        last_activation=last_activation,
        mutable=["batch_stats"],
    )
    return Pass(output, updated.get("batch_stats", {}))
