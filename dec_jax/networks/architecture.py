"""Autoencoders as settings that hash by value.

An architecture describes the encoder; the decoder is its mirror image (Xie et al., 2016;
Aljalbout et al., 2018).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

from dec_jax.networks.convolution import conv_output_shape, transposed_output_shape
from dec_jax.networks.pooling import pool_output_shape
from dec_jax.networks.precision import PRECISIONS
from dec_jax.validation import check_choice, check_positive_int

ACTIVATIONS = ("linear", "relu", "elu", "sigmoid", "tanh", "gelu")
INITIALIZERS = (
    "glorot_uniform",
    "he_normal",
    "lecun_normal",
    "fan_in_uniform",
    "xie_normal",
)
PADDINGS = ("valid", "same", "full")
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Dense:
    """Fully connected layer; its input is flattened.

    Attributes:
      features: number of units, at least 1.
      activation: one of `ACTIVATIONS`.
    """

    features: int
    activation: str = "relu"

    def __post_init__(self) -> None:
        check_positive_int("features", self.features)
        check_choice("activation", self.activation, ACTIVATIONS)


@dataclass(frozen=True)
class Conv2D:
    """Convolution of an image (height, width, channels).

    Attributes:
      features: number of filters, at least 1.
      kernel_size: (height, width) of a filter.
      activation: one of `ACTIVATIONS`.
      strides: (vertical, horizontal) distance between two positions of the filter.
      padding: "valid" keeps the filter inside the image, "same" keeps the image's size
        (with strides 1), "full" takes every position where they overlap.
    """

    features: int
    kernel_size: tuple[int, int]
    activation: str = "relu"
    strides: tuple[int, int] = (1, 1)
    padding: str = "valid"

    def __post_init__(self) -> None:
        check_positive_int("features", self.features)
        _check_pair("kernel_size", self.kernel_size)
        check_choice("activation", self.activation, ACTIVATIONS)
        _check_pair("strides", self.strides)
        check_choice("padding", self.padding, PADDINGS)


@dataclass(frozen=True)
class Deconv2D(Conv2D):
    """Transposed convolution: the gradient of `Conv2D` with respect to its input."""


@dataclass(frozen=True)
class MaxPool2D:
    """Max pooling: the largest value of each window, channel by channel.

    The decoder replicates every pixel by the size of the window, back to the shape before
    the pooling, also if that is not a multiple of the window.

    Attributes:
      pool_size: (height, width) of the window, which is also its stride.
      padding: "valid" drops rows and columns that do not fill a window, "same" keeps
        them.
    """

    pool_size: tuple[int, int] = (2, 2)
    padding: str = "valid"

    def __post_init__(self) -> None:
        _check_pair("pool_size", self.pool_size)
        check_choice("padding", self.padding, PADDINGS[:2])


@dataclass(frozen=True)
class Unpool2D:
    """Replication of every pixel, by which the decoder undoes a `MaxPool2D`."""

    pool_size: tuple[int, int]


@dataclass(frozen=True)
class Reshape:
    """Change of shape that keeps the values, such as from rows back to images.

    Attributes:
      shape: of one sample after this layer.
    """

    shape: Shape

    def __post_init__(self) -> None:
        check_shape("shape", self.shape)


Layer = Dense | Conv2D | Deconv2D | MaxPool2D | Unpool2D | Reshape


class Step(NamedTuple):
    """One layer as it is run, in the encoder or the decoder."""

    layer: Layer
    output_shape: Shape  # of one sample
    batch_norm: bool  # between the layer and its activation


@dataclass(frozen=True)
class Architecture:
    """Autoencoder: the layers of the encoder, and settings of the whole network.

    Attributes:
      input_shape: shape of one sample: `(d,)` for rows of d numbers, (height, width,
        channels) for images.
      layers: the encoder, first layer first. The output of the last layer, flattened, is
        the embedding.
      output_activation: of the reconstruction; "linear" for squared error.
      initializer: of every kernel (biases start at 0), named as in its paper:
        `glorot_uniform` (Glorot and Bengio, 2010), `he_normal` (He et al., 2015),
        `lecun_normal` (LeCun et al., 1998), `fan_in_uniform`, U(+-1/sqrt(fan_in)),
        the "commonly used heuristic" of Glorot and Bengio, with which DEC-keras
        pretrains, and `xie_normal`, N(0, 0.01^2) (Xie et al., 2016).
      input_scale: factor by which integer inputs are multiplied (1/255 brings bytes into
        [0, 1]); floating inputs are taken as they are.
      normalize: whether each sample is then scaled so that the mean of its squared
        values is 1, as Xie et al. (2016) do. Samples then do not differ by the brightness
        of an image or the length of a text.
      batch_norm: batch normalization (Ioffe and Szegedy, 2015) after every convolution
        and transposed convolution, before its activation; not on the reconstruction.
      variational: whether the encoder gives a mean and a log-variance (Kingma and
        Welling, 2014); `encode` returns the mean. The last layer must then be `Dense`.
      precision: of the matrix products, "float32" or "bfloat16". With bfloat16, operands
        are rounded to 8 significant bits; sums and everything else stay float32.
        Convolutions on the CPU stay float32, because XLA has no faster routine there.

    Raises:
      TypeError, ValueError: a field is out of range; the layers do not fit each other.

    Example:
      >>> from dec_jax import Architecture, Conv2D, Dense, MaxPool2D
      >>> network = Architecture(
      ...     (28, 28, 1), (Conv2D(8, (5, 5)), MaxPool2D((2, 2)), Dense(10, "linear"))
      ... )
      >>> network.shapes
      ((28, 28, 1), (24, 24, 8), (12, 12, 8), (10,))
      >>> network.embedding_dim
      10
    """

    input_shape: Shape
    layers: tuple[Layer, ...]
    output_activation: str = "linear"
    initializer: str = "glorot_uniform"
    input_scale: float = 1 / 255
    normalize: bool = False
    batch_norm: bool = False
    variational: bool = False
    precision: str = "float32"

    def __post_init__(self) -> None:
        check_shape("input_shape", self.input_shape)
        if not isinstance(self.layers, tuple):
            raise TypeError(
                "layers must be a tuple, so that settings hash by value, got "
                f"{type(self.layers).__name__}."
            )
        if not self.layers:
            raise ValueError("layers must hold at least the embedding, got ().")
        check_choice("output_activation", self.output_activation, ACTIVATIONS)
        check_choice("initializer", self.initializer, INITIALIZERS)
        check_choice("precision", self.precision, PRECISIONS)
        if not (math.isfinite(self.input_scale) and self.input_scale > 0):
            raise ValueError(f"input_scale must be positive, got {self.input_scale}.")
        if self.normalize and self.output_activation == "sigmoid":
            raise ValueError(
                "normalize must be False where the output activation is 'sigmoid': "
                "normalized values go beyond 1, which it cannot give back."
            )
        if not any(isinstance(layer, Dense | Conv2D) for layer in self.layers):
            raise ValueError("layers must hold a Dense, Conv2D or Deconv2D layer.")
        if self.variational and not isinstance(self.layers[-1], Dense):
            raise ValueError(
                "variational needs a Dense last layer, for a mean and a log-variance, "
                f"got {type(self.layers[-1]).__name__}."
            )
        _ = self.shapes

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Shape of a sample before the first layer and after each layer."""
        shapes = [self.input_shape]
        for index, layer in enumerate(self.layers):
            try:
                shapes.append(output_shape(layer, shapes[-1]))
            except ValueError as error:
                raise ValueError(f"layers[{index}]: {error}") from error
        return tuple(shapes)

    @property
    def input_dim(self) -> int:
        """Number of values in one sample."""
        return math.prod(self.input_shape)

    @property
    def embedding_dim(self) -> int:
        """Width of the embedding z."""
        return math.prod(self.shapes[-1])

    def encoder_steps(self) -> tuple[Step, ...]:
        """The encoder's layers as they are run."""
        layers = list(self.layers)
        shapes = list(self.shapes[1:])
        if self.variational:
            assert isinstance(layers[-1], Dense)
            layers[-1] = Dense(2 * layers[-1].features, layers[-1].activation)
            shapes[-1] = (layers[-1].features,)
        return tuple(
            Step(layer, shape, self.batch_norm and isinstance(layer, Conv2D))
            for layer, shape in zip(layers, shapes, strict=True)
        )

    def decoder_steps(self) -> tuple[Step, ...]:
        """The decoder's layers as they are run: the mirrored encoder, last layer first.

        The mirror of a layer restores the shape of that layer's input, and has the
        activation that this input had. The last one has `output_activation`.
        """
        activations = [self.output_activation]
        for layer in self.layers[:-1]:
            activations.append(getattr(layer, "activation", activations[-1]))
        # Layers before the first one with weights hold values of the reconstruction.
        with_weights = [isinstance(layer, Dense | Conv2D) for layer in self.layers]
        first = with_weights.index(True)
        steps = []
        for index in reversed(range(len(self.layers))):
            activation = activations[index] if index > first else self.output_activation
            shape = self.shapes[index]
            mirror = _mirror(self.layers[index], shape, activation)
            normal = self.batch_norm and isinstance(mirror, Conv2D) and index > first
            steps.append(Step(mirror, shape, normal))
        return tuple(steps)


def output_shape(layer: Layer, shape: Shape) -> Shape:
    """Shape of a sample after a layer.

    Args:
      layer: of an encoder.
      shape: of a sample before the layer.

    Returns:
      The shape.

    Raises:
      ValueError: the layer does not take samples of that shape.
    """
    if isinstance(layer, Dense):
        return (layer.features,)
    if isinstance(layer, Reshape):
        if math.prod(layer.shape) != math.prod(shape):
            raise ValueError(
                f"Reshape must keep the {math.prod(shape)} values of {shape}, got "
                f"{layer.shape}."
            )
        return layer.shape
    if len(shape) != 3:
        raise ValueError(
            f"{type(layer).__name__} needs an image (height, width, channels), got "
            f"shape {shape}; put a Reshape before it."
        )
    size = (shape[0], shape[1])
    if isinstance(layer, MaxPool2D):
        return (*pool_output_shape(size, layer.pool_size, layer.padding), shape[2])
    if isinstance(layer, Conv2D):
        grown = isinstance(layer, Deconv2D)
        of_size = transposed_output_shape if grown else conv_output_shape
        return (
            *of_size(size, layer.kernel_size, layer.strides, layer.padding),
            layer.features,
        )
    raise ValueError(f"{type(layer).__name__} cannot stand in an encoder.")


def _mirror(layer: Layer, shape: Shape, activation: str) -> Layer:
    """The layer whose output has `shape`, by which the decoder undoes `layer`."""
    if isinstance(layer, Dense):
        return Dense(math.prod(shape), activation)
    if isinstance(layer, Conv2D):
        kind = Conv2D if isinstance(layer, Deconv2D) else Deconv2D
        return kind(
            shape[2], layer.kernel_size, activation, layer.strides, layer.padding
        )
    if isinstance(layer, MaxPool2D):
        return Unpool2D(layer.pool_size)
    return Reshape(shape)


def _check_pair(name: str, value: object) -> None:
    if not isinstance(value, tuple) or len(value) != 2:
        raise TypeError(f"{name} must be a tuple (height, width), got {value!r}.")
    for size in value:
        check_positive_int(name, size)


def check_shape(name: str, value: object) -> None:
    """Raises unless the value is a tuple of positive integers, at least one."""
    if not isinstance(value, tuple):
        raise TypeError(
            f"{name} must be a tuple, so that settings hash by value, got "
            f"{type(value).__name__}."
        )
    if not value:
        raise ValueError(f"{name} must have at least one axis, got ().")
    for size in value:
        check_positive_int(name, size)


def dense_architecture(
    input_dim: int,
    *,
    hidden: tuple[int, ...] = (500, 500, 2000),
    embedding_dim: int = 10,
    activation: str = "relu",
    initializer: str = "glorot_uniform",
    input_scale: float = 1 / 255,
) -> Architecture:
    """Makes the dense network of Xie et al. (2016), d-500-500-2000-10 by default.

    The embedding and the reconstruction are linear: a bounded embedding would distort
    the distances that clustering depends on.

    Args:
      input_dim: number of values in one sample.
      hidden: widths of the layers between the input and the embedding.
      embedding_dim: width of z; the paper takes 10 for all data sets.
      activation: of the hidden layers.
      initializer: see `Architecture`.
      input_scale: see `Architecture`.

    Returns:
      The architecture, hashable and equal by value.

    Raises:
      ValueError: a width is below 1, or an activation or initializer is unknown.

    Example:
      >>> from dec_jax import dense_architecture
      >>> dense_architecture(784).shapes
      ((784,), (500,), (500,), (2000,), (10,))
    """
    layers = (
        *(Dense(width, activation) for width in hidden),
        Dense(embedding_dim, "linear"),
    )
    return Architecture((input_dim,), layers, "linear", initializer, input_scale)
