"""Architectures as text: a table of all layers, and a notation of one line."""

import math

import jax

from dec_jax.networks.architecture import (
    Architecture,
    Conv2D,
    Dense,
    MaxPool2D,
    Reshape,
    Shape,
    Step,
    Unpool2D,
)
from dec_jax.networks.autoencoder import init_params


def network_string(architecture: Architecture) -> str:
    """Writes encoder and decoder in the notation of Aljalbout et al. (2018).

    `50[5x5]` is a convolution or transposed convolution with 50 filters; a second entry
    `50[5x5]_bn` stands for its batch normalization. `max[2x2]` is a pool, `ups*[2x2]` its
    inverse, `fc[10]` a fully connected layer, and `rsh` a change of shape. This library
    adds strides: `32[5x5]/2x2`.

    Args:
      architecture: the network.

    Returns:
      The layers, separated by single spaces.
    """
    steps = (*architecture.encoder_steps(), *architecture.decoder_steps())
    return " ".join(_notation(step) for step in steps)


def _notation(step: Step) -> str:
    layer = step.layer
    if isinstance(layer, Dense):
        return f"fc[{layer.features}]"
    if isinstance(layer, Reshape):
        return "rsh"
    if isinstance(layer, MaxPool2D):
        return f"max[{_by(layer.pool_size)}]"
    if isinstance(layer, Unpool2D):
        return f"ups*[{_by(layer.pool_size)}]"
    strides = f"/{_by(layer.strides)}" if layer.strides != (1, 1) else ""
    filters = f"{layer.features}[{_by(layer.kernel_size)}]{strides}"
    return f"{filters} {filters}_bn" if step.batch_norm else filters


def parameter_counts(
    architecture: Architecture,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Counts the trained parameters of each layer of the encoder and the decoder.

    Running means and variances are not trained, so they do not count.

    Args:
      architecture: the network.

    Returns:
      One number for each of `encoder_steps()`, and one for each of `decoder_steps()`.
    """
    params = jax.eval_shape(lambda: init_params(jax.random.key(0), architecture))
    counts = []
    for stack, steps in (
        (params["encoder"], architecture.encoder_steps()),
        (params["decoder"], architecture.decoder_steps()),
    ):
        of_layer = [0] * len(steps)
        for name, arrays in stack.items():
            # The names of a layer and its normalization end in the index of their step.
            index = int(name.rsplit("_", 1)[1])
            of_layer[index] += sum(math.prod(a.shape) for a in jax.tree.leaves(arrays))
        counts.append(tuple(of_layer))
    return counts[0], counts[1]


def draw(architecture: Architecture, name: str = "") -> str:
    """Draws a table of all layers, with the shapes of their outputs and parameter counts.

    Args:
      architecture: the network.
      name: of the network, for the first line.

    Returns:
      Lines of plain text, without a line feed at the end.

    Example:
      >>> from dec_jax import dense_architecture
      >>> from dec_jax.networks.summary import draw
      >>> print(draw(dense_architecture(4, hidden=(), embedding_dim=2)))
      4 -> z of 2, glorot_uniform, integers times 0.00392157
      encoder    output  parameters
        Input         4
        Dense 2       2          10
      decoder
        Dense 4       4          12
      total                      22
    """
    encoder_counts, decoder_counts = parameter_counts(architecture)
    rows = [("encoder", "output", "parameters")]
    rows += [("  Input", _by(architecture.input_shape), "")]
    rows += map(_row, architecture.encoder_steps(), encoder_counts)
    rows += [("decoder", "", "")]
    rows += map(_row, architecture.decoder_steps(), decoder_counts)
    rows += [("total", "", f"{sum(encoder_counts + decoder_counts):,}")]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = [
        f"{layer:{widths[0]}}  {shape:>{widths[1]}}  {count:>{widths[2]}}".rstrip()
        for layer, shape, count in rows
    ]
    bottleneck = f"z of {architecture.embedding_dim}"
    title = f"{_by(architecture.input_shape)} -> {bottleneck}, " + ", ".join(
        [
            f"{architecture.initializer}",
            f"integers times {architecture.input_scale:.6g}",
            *(["samples normalized"] if architecture.normalize else []),
            *(["variational"] if architecture.variational else []),
        ]
    )
    return "\n".join([f"{name}: {title}" if name else title, *table])


def _row(step: Step, count: int) -> tuple[str, str, str]:
    number = f"{count:,}" if count else ""
    return f"  {_words(step)}", _by(step.output_shape), number


def _words(step: Step) -> str:
    """Describes a layer: `Conv2D 32 5x5, strides 2x2, same, batch norm, relu`."""
    layer = step.layer
    words = [type(layer).__name__]
    if isinstance(layer, Dense):
        words[0] += f" {layer.features}"
    if isinstance(layer, MaxPool2D | Unpool2D):
        words[0] += f" {_by(layer.pool_size)}"
    if isinstance(layer, Conv2D):
        words[0] += f" {layer.features} {_by(layer.kernel_size)}"
        words += [f"strides {_by(layer.strides)}"] if layer.strides != (1, 1) else []
    padding = getattr(layer, "padding", "valid")
    words += [padding] if padding != "valid" else []
    words += ["batch norm"] if step.batch_norm else []
    activation = getattr(layer, "activation", "linear")
    words += [activation] if activation != "linear" else []
    return ", ".join(words)


def _by(sizes: Shape) -> str:
    return "x".join(map(str, sizes))
