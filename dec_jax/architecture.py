"""Declarative networks: what an autoencoder looks like, as settings that hash by value.

Only the encoder is described; the decoder is its mirror image (Xie et al., 2016).
"""

import math
from dataclasses import dataclass

from dec_jax.validation import check_choice, check_positive_int

ACTIVATIONS = ("linear", "relu", "sigmoid", "tanh", "gelu")
INITIALIZERS = (
    "glorot_uniform",
    "he_normal",
    "lecun_normal",
    "fan_in_uniform",
    "xie_normal",
)


@dataclass(frozen=True)
class Dense:
    """A fully connected layer.

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
class Architecture:
    """An autoencoder: the encoder's layers and what the decoder does not mirror.

    Attributes:
      input_shape: shape of one sample, `(d,)` for rows of d numbers.
      layers: the encoder, first layer first; the last one is the embedding.
      output_activation: of the reconstruction, "linear" for squared error.
      initializer: of every kernel (biases start at 0), named as in its paper:
        `glorot_uniform` (Glorot and Bengio, 2010), `he_normal` (He et al., 2015),
        `lecun_normal` (LeCun et al., 1998), `fan_in_uniform`, U(+-1/sqrt(fan_in)),
        the "commonly used heuristic" of Glorot and Bengio, with which DEC-keras
        pretrains, and `xie_normal`, N(0, 0.01^2) (Xie et al., 2016).
      input_scale: what integer inputs are multiplied by (1/255 brings bytes into
        [0, 1]); floating inputs are taken as they are.
    """

    input_shape: tuple[int, ...]
    layers: tuple[Dense, ...]
    output_activation: str = "linear"
    initializer: str = "glorot_uniform"
    input_scale: float = 1 / 255

    def __post_init__(self) -> None:
        for name in ("input_shape", "layers"):
            if not isinstance(getattr(self, name), tuple):
                raise TypeError(
                    f"{name} must be a tuple, so that settings hash by value, got "
                    f"{type(getattr(self, name)).__name__}."
                )
        if not self.input_shape:
            raise ValueError("input_shape must have at least one axis, got ().")
        for size in self.input_shape:
            check_positive_int("input_shape", size)
        if not self.layers:
            raise ValueError("layers must hold at least the embedding, got ().")
        check_choice("output_activation", self.output_activation, ACTIVATIONS)
        check_choice("initializer", self.initializer, INITIALIZERS)
        if not (math.isfinite(self.input_scale) and self.input_scale > 0):
            raise ValueError(f"input_scale must be positive, got {self.input_scale}.")

    @property
    def input_dim(self) -> int:
        """Number of values in one sample."""
        return math.prod(self.input_shape)

    @property
    def embedding_dim(self) -> int:
        """Width d of the embedding z."""
        return self.layers[-1].features

    def mirrored(self) -> tuple[Dense, ...]:
        """The decoder's layers: the encoder's widths and activations, backwards."""
        widths = [layer.features for layer in self.layers[:-1]]
        activations = [layer.activation for layer in self.layers[:-1]]
        hidden = [
            Dense(width, activation)
            for width, activation in zip(widths[::-1], activations[::-1], strict=True)
        ]
        return (*hidden, Dense(self.input_dim, self.output_activation))


def dense_architecture(
    input_dim: int,
    *,
    hidden: tuple[int, ...] = (500, 500, 2000),
    embedding_dim: int = 10,
    activation: str = "relu",
    initializer: str = "glorot_uniform",
    input_scale: float = 1 / 255,
) -> Architecture:
    """The fully connected network of Xie et al. (2016), d-500-500-2000-10 by default.

    The embedding and the reconstruction are linear: a bounded embedding would bend
    the distances that the clustering works with.

    Args:
      input_dim: values in one sample.
      hidden: widths between the input and the embedding.
      embedding_dim: width of z; the paper takes the number of clusters of MNIST.
      activation: of the hidden layers.
      initializer: see `Architecture`.
      input_scale: see `Architecture`.

    Returns:
      The architecture, hashable and equal by value.

    Raises:
      ValueError: a width below 1, an unknown activation or initializer.
    """
    layers = (
        *(Dense(width, activation) for width in hidden),
        Dense(embedding_dim, "linear"),
    )
    return Architecture((input_dim,), layers, "linear", initializer, input_scale)
