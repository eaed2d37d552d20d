"""Encoders and decoders as Flax modules, made from the steps of an `Architecture`."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dec_jax.networks.architecture import (
    Conv2D,
    Deconv2D,
    Dense,
    MaxPool2D,
    Shape,
    Step,
    Unpool2D,
)
from dec_jax.networks.convolution import conv2d, conv2d_transpose
from dec_jax.networks.pooling import max_pool, unpool
from dec_jax.networks.precision import dot_general_of

# Share of the running mean and variance that a step keeps, as in the Lasagne and Keras
# implementations of the published convolutional recipes.
BATCH_NORM_MOMENTUM = 0.9
_ACTIVATIONS = {
    "linear": lambda x: x,
    "relu": nn.relu,
    "elu": nn.elu,
    "sigmoid": nn.sigmoid,
    "tanh": nn.tanh,
    "gelu": nn.gelu,
}


# `Architecture.initializer` as variance times fan, kind of fan, and distribution.
_SCALING: dict[str, tuple[float, Any, Any]] = {
    "glorot_uniform": (1.0, "fan_avg", "uniform"),
    "he_normal": (2.0, "fan_in", "truncated_normal"),
    "lecun_normal": (1.0, "fan_in", "truncated_normal"),
    "fan_in_uniform": (1 / 3, "fan_in", "uniform"),
}


def _dense_init(name: str) -> nn.initializers.Initializer:
    """Initializer of a kernel [inputs, units]."""
    if name == "xie_normal":
        return nn.initializers.normal(0.01)
    return nn.initializers.variance_scaling(*_SCALING[name])


def _image_init(name: str, *, transposed: bool) -> nn.initializers.Initializer:
    """Initializer of a kernel [height, width, channels, filters].

    The kernel is drawn as a matrix, which compiles several times faster than four axes.
    """

    def draw(key: jax.Array, shape: Shape, dtype: Any = jnp.float32) -> jax.Array:
        matrix = (math.prod(shape[:-1]), shape[-1])
        if name == "xie_normal":
            return _dense_init(name)(key, matrix, dtype).reshape(shape)
        scale, mode, distribution = _SCALING[name]
        fans = [math.prod(shape[:2]) * size for size in shape[2:]]
        fan_in = fans[1] if transposed else fans[0]
        fan = fan_in if mode == "fan_in" else sum(fans) / 2
        # The fan of the matrix itself is its number of rows; the scale corrects for that.
        init = nn.initializers.variance_scaling(
            scale / fan * matrix[0], "fan_in", distribution
        )
        return init(key, matrix, dtype).reshape(shape)

    return draw


class Convolution(nn.Module):
    """Convolution or transposed convolution of images [b, h, w, c]."""

    layer: Conv2D
    output_shape: Shape
    initializer: str
    precision: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Filters images and adds a bias to each channel."""
        layer, transposed = self.layer, isinstance(self.layer, Deconv2D)
        # The kernel is always that of the convolution from the larger image to the
        # smaller; a transposed convolution uses it in the other direction.
        channels = (x.shape[-1], layer.features)
        kernel = self.param(
            "kernel",
            _image_init(self.initializer, transposed=transposed),
            (*layer.kernel_size, *(channels[::-1] if transposed else channels)),
        )
        bias = self.param("bias", nn.initializers.zeros, (layer.features,))
        settings: dict[str, Any] = {
            "strides": layer.strides,
            "padding": layer.padding,
            "precision": self.precision,
        }
        if transposed:
            height, width, _ = self.output_shape
            x = conv2d_transpose(x, kernel, output_shape=(height, width), **settings)
        else:
            x = conv2d(x, kernel, **settings)
        return x + bias.reshape(1, 1, 1, -1)


class Stack(nn.Module):
    """Sequence of layers; the encoder and the decoder are one each."""

    steps: tuple[Step, ...]
    input_shape: Shape
    initializer: str
    precision: str

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        *,
        mask: jax.Array | None = None,
        train: bool = False,
        axis_name: str | None = None,
        last_activation: bool = True,
    ) -> jax.Array:
        """Applies the layers to `x` of shape [b, d] and returns [b, e].

        Args:
          x: flattened samples.
          mask: True for the samples that count in the batch's mean and variance, [b].
          train: whether to normalize by the batch itself, not by the running averages.
          axis_name: mapped axis over which the mean and variance are taken.
          last_activation: False leaves out the activation of the last layer.
        """
        x = x.reshape(x.shape[0], *self.input_shape)
        for index, step in enumerate(self.steps):
            layer = step.layer
            if isinstance(layer, Dense):
                kernel_init = _dense_init(self.initializer)
                x = nn.Dense(
                    layer.features,
                    kernel_init=kernel_init,
                    dot_general=dot_general_of(self.precision),
                    name=f"dense_{index}",
                )(x.reshape(x.shape[0], -1))
            elif isinstance(layer, Conv2D):
                x = Convolution(
                    layer,
                    step.output_shape,
                    self.initializer,
                    self.precision,
                    name=f"conv_{index}",
                )(x)
            elif isinstance(layer, MaxPool2D):
                x = max_pool(x, layer.pool_size, layer.padding)
            elif isinstance(layer, Unpool2D):
                height, width, _ = step.output_shape
                x = unpool(x, layer.pool_size, (height, width))
            x = x.reshape(-1, *step.output_shape)
            if step.batch_norm:
                x = nn.BatchNorm(
                    use_running_average=not train,
                    momentum=BATCH_NORM_MOMENTUM,
                    axis_name=axis_name,
                    use_fast_variance=False,
                    name=f"batch_norm_{index}",
                )(x, mask=None if mask is None else mask.reshape(-1, 1, 1, 1))
            if index < len(self.steps) - 1 or last_activation:
                x = _ACTIVATIONS[getattr(layer, "activation", "linear")](x)
        return x.reshape(x.shape[0], -1)
