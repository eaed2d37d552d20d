"""Compares operations for convolutional autoencoders: `python -m benchmarks.convolution`.

Milliseconds of one gradient step, of several in a `lax.scan`, with the operations of
`dec_jax.networks`. There are three peers: JAX's own convolution, transposed convolution and
pooling; our operations with gradients that are convolutions too, with the axes in the order
that XLA is fast with; and the same network in eager PyTorch, where it is installed. All
alternate after compilation. The gradients of the last step with JAX's own operations are
compared with ours.
"""

import itertools
from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.common import (
    QUICK,
    Benchmark,
    Column,
    in_turns,
    medians,
    new_row,
    timed,
)
from benchmarks.tables import Row
from dec_jax.networks import convolution, pooling

Pair = tuple[int, int]
Params = list[jax.Array]


class Conv(NamedTuple):
    """One convolution of an encoder."""

    features: int
    size: int
    stride: int = 1
    padding: str = "valid"

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of the operations in addition to arrays."""
        return {"strides": (self.stride, self.stride), "padding": self.padding}


POOL = None  # halves height and width
# Height and width of the images, and the encoder; the decoder mirrors it.
NETS: dict[str, tuple[int, list[Conv | None]]] = {
    "mnist pooled": (28, [Conv(50, 5), POOL, Conv(50, 5), POOL, Conv(120, 4)]),
    "coil pooled": (
        128,
        [
            *(Conv(20, 9), POOL, Conv(20, 5), POOL, Conv(20, 5), POOL),
            *(Conv(40, 5), POOL, Conv(320, 4)),
        ],
    ),
    "mnist strided": (
        28,
        [Conv(32, 5, 2, "same"), Conv(64, 5, 2, "same"), Conv(128, 3, 2)],
    ),
}
# Name of the net, batch size.
CASES = [
    *(("mnist pooled", 100), ("mnist pooled", 256)),
    *(("coil pooled", 10), ("coil pooled", 32), ("mnist strided", 256)),
]
QUICK_CASES = [("mnist pooled", 100), ("mnist strided", 256)]


class Operations(NamedTuple):
    """The operations that a network is built from."""

    conv2d: Callable[..., jax.Array]
    conv2d_transpose: Callable[..., jax.Array]
    max_pool: Callable[..., jax.Array]


def jax_conv2d(
    x: jax.Array, kernel: jax.Array, *, strides: Pair, padding: str
) -> jax.Array:
    """JAX's own `conv2d`."""
    axes = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, strides, padding.upper(), dimension_numbers=axes
    )


def jax_conv2d_transpose(
    x: jax.Array, kernel: jax.Array, *, output_shape: Pair, strides: Pair, padding: str
) -> jax.Array:
    """JAX's own `conv2d_transpose`, whose natural `output_shape` the networks here have."""
    axes = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_transpose(
        x,
        kernel,
        strides,
        padding.upper(),
        dimension_numbers=axes,
        transpose_kernel=True,
    )


def jax_max_pool(x: jax.Array, pool_size: Pair) -> jax.Array:
    """JAX's own `max_pool`."""
    window = (1, *pool_size, 1)
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")


def x_by_convolution(
    sizes: convolution.Geometry, kernel: jax.Array, y: jax.Array
) -> jax.Array:
    """Computes x as a convolution of the dilated y with the flipped kernel."""
    # A single filter would be a slow product of a matrix and a vector. Each of four filters
    # gives one pixel of a block of 2 x 2 instead.
    block = 2 if kernel.shape[2] == 1 and sizes.strides == (1, 1) else 1
    window = tuple(k + block - 1 for k in sizes.kernel)
    if any(k > n for k, n in zip(window, sizes.output, strict=True)):
        return convolution.x_on_cpu(sizes, kernel, y)
    flipped = kernel[::-1, ::-1].swapaxes(2, 3)
    shifted = [
        jnp.pad(flipped, ((i, block - 1 - i), (j, block - 1 - j), (0, 0), (0, 0)))
        for i, j in itertools.product(range(block), repeat=2)
    ]
    rows, columns = -(-sizes.image[0] // block), -(-sizes.image[1] // block)
    pads = [
        (k - 1 - low, n * block - (m - 1) * s - 1 + low)
        for n, k, s, (low, _), m in zip((rows, columns), *sizes[1:], strict=True)
    ]
    filters = jnp.concatenate(shifted, axis=3)
    x = convolution.xla_conv(
        y, filters, (block, block), pads, lhs_dilation=sizes.strides
    )
    x = x.reshape(len(y), rows, columns, block, block, kernel.shape[2]).swapaxes(2, 3)
    x = x.reshape(len(y), rows * block, columns * block, kernel.shape[2])
    return x[:, : sizes.image[0], : sizes.image[1]]


def kernel_by_convolution(
    sizes: convolution.Geometry, x: jax.Array, y: jax.Array
) -> jax.Array:
    """Computes the kernel as a convolution of x with the dilated y; channels are the batch."""
    pads = [
        (low, (m - 1) * s + k - low - n)
        for n, k, s, (low, _), m in zip(*sizes, strict=True)
    ]
    # XLA is several times slower on a last axis that does not fill its registers.
    filters = y.shape[3]
    y = jnp.pad(y, ((0, 0), (0, 0), (0, 0), (0, -filters % 16)))
    x, y = x.transpose(3, 1, 2, 0), y.transpose(1, 2, 0, 3)
    kernel = convolution.xla_conv(x, y, (1, 1), pads, rhs_dilation=sizes.strides)
    return kernel.transpose(1, 2, 0, 3)[..., :filters]


GRADIENTS = {"x": (x_by_convolution,) * 2, "kernel": (kernel_by_convolution,) * 2}
JAX, CONVOLUTIONS, TORCH = "JAX", "convolutions", "PyTorch"
PEER = Operations(jax_conv2d, jax_conv2d_transpose, jax_max_pool)
OURS = Operations(convolution.conv2d, convolution.conv2d_transpose, pooling.max_pool)


def init_params(key: jax.Array, encoder: list[Conv | None]) -> Params:
    """Draws kernels: those of the encoder, then those of the decoder, in their order."""
    shapes, channels = [], 1
    for layer in encoder:
        if layer:
            shapes.append((layer.size, layer.size, channels, layer.features))
            channels = layer.features
    shapes += shapes[::-1]
    keys = jax.random.split(key, len(shapes))
    return [
        jax.random.normal(k, shape) / (shape[0] * shape[1] * max(shape[2:])) ** 0.5
        for k, shape in zip(keys, shapes, strict=True)
    ]


def reconstruction_loss(
    params: Params, x: jax.Array, encoder: list[Conv | None], operations: Operations
) -> jax.Array:
    """Mean squared error of an autoencoder with ReLU after every layer but the last."""
    y, shapes, kernels = x, [], iter(params)
    for layer in encoder:
        shapes.append((y.shape[1], y.shape[2]))
        if layer:
            y = jax.nn.relu(operations.conv2d(y, next(kernels), **layer.options))
        else:
            y = operations.max_pool(y, (2, 2))
    for layer, shape in zip(encoder[::-1], shapes[::-1], strict=True):
        if layer:
            y = operations.conv2d_transpose(
                y, next(kernels), output_shape=shape, **layer.options
            )
            y = jax.nn.relu(y) if shape != shapes[0] else y
        else:
            y = pooling.unpool(y, (2, 2), shape)
    return ((y - x) ** 2).mean()


@partial(jax.jit, static_argnames=("name", "side", "steps"))
def train(
    params: Params, x: jax.Array, *, name: str, side: str, steps: int
) -> tuple[Params, Params]:
    """Takes steps of gradient descent; returns the parameters and the last gradients."""
    operations = PEER if side == JAX else OURS

    def step(carry: tuple[Params, Params], _: None) -> tuple[Any, None]:
        params = carry[0]
        gradients = jax.grad(reconstruction_loss)(params, x, NETS[name][1], operations)
        params = jax.tree.map(lambda w, g: w - 0.01 * g, params, gradients)
        return (params, gradients), None

    zeros = jax.tree.map(jnp.zeros_like, params)
    return jax.lax.scan(step, (params, zeros), None, length=steps)[0]


def _compiled(params: Params, x: jax.Array, **options: Any) -> Any:
    return train.lower(params, x, **options).compile()


def torch_steps(
    params: Params, x: jax.Array, name: str, steps: int
) -> Callable[[], float] | None:
    """`train` in PyTorch, which returns the last loss; None where PyTorch is missing."""
    try:
        import torch
    except ImportError:
        return None
    functional = torch.nn.functional
    device = "cuda" if torch.cuda.is_available() else "cpu"
    encoder = NETS[name][1]

    def placed(a: jax.Array, axes: tuple[int, ...]) -> Any:
        return torch.tensor(np.asarray(a).transpose(axes).copy(), device=device)

    def pads(layer: Conv, shape: Any) -> Any:
        size, strides = (layer.size, layer.size), (layer.stride, layer.stride)
        return convolution.geometry(tuple(shape), size, strides, layer.padding).pads

    # PyTorch has channels first, and in kernels those of the smaller image before the others.
    kernels = [placed(w, (3, 2, 0, 1)) for w in params]
    images = placed(x, (0, 3, 1, 2))

    def loss_of(kernels: list[Any]) -> Any:
        y, shapes, left = images, [], iter(kernels)
        for layer in encoder:
            shapes.append(y.shape[2:])
            if layer:
                (top, bottom), (before, after) = pads(layer, y.shape[2:])
                y = functional.pad(y, (before, after, top, bottom))
                y = functional.conv2d(y, next(left), stride=layer.stride)
                y = torch.relu(y)
            else:
                y = functional.max_pool2d(y, 2)
        for layer, shape in zip(encoder[::-1], shapes[::-1], strict=True):
            if layer:
                (top, _), (before, _) = pads(layer, shape)
                y = functional.conv_transpose2d(y, next(left), stride=layer.stride)
                y = y[:, :, top : top + shape[0], before : before + shape[1]]
                y = torch.relu(y) if shape != shapes[0] else y
            else:
                y = functional.interpolate(y, size=shape, mode="nearest")
        return functional.mse_loss(y, images)

    def one() -> float:
        trained = [w.clone().requires_grad_() for w in kernels]
        for _ in range(steps):
            loss = loss_of(trained)
            gradients = torch.autograd.grad(loss, trained)
            with torch.no_grad():
                for w, gradient in zip(trained, gradients, strict=True):
                    w -= 0.01 * gradient
        return loss.item()

    return one


def compare(name: str, batch: int, *, steps: int, rounds: int) -> list[Row]:
    """A row for each peer: medians, and the largest difference of the gradients."""
    size, encoder = NETS[name]
    params_key, x_key = jax.random.split(jax.random.key(0))
    params = init_params(params_key, encoder)
    x = jax.random.uniform(x_key, (batch, size, size, 1))
    programs: dict[str, Callable[[], object]] = {}
    compile_seconds, gradients = {}, {}
    for side in ("ours", CONVOLUTIONS, JAX):
        replaced = GRADIENTS if side == CONVOLUTIONS else {}
        with mock.patch.dict(convolution.FUNCTIONS, replaced):
            compile_seconds[side], compiled = timed(
                partial(_compiled, params, x, name=name, side=side, steps=steps)
            )
        # Waits, so that the first measured program does not wait for this one.
        gradients[side] = jax.block_until_ready(compiled(params, x))[1]
        programs[side] = partial(compiled, params, x)
    peer = torch_steps(params, x, name, steps)
    if peer is not None:
        programs[TORCH] = peer
        peer()
    took = medians(in_turns(programs, rounds))
    milliseconds = {side: 1e3 * seconds / steps for side, seconds in took.items()}
    differences = jax.tree.map(
        lambda a, b: float(jnp.abs(a - b).max() / jnp.abs(b).max()),
        gradients["ours"],
        gradients[JAX],
    )
    return [
        new_row(
            f"{name} batch={batch}, beside {side}",
            "ms",
            milliseconds["ours"],
            milliseconds[side],
            compile=compile_seconds["ours"],
            gradient_difference=max(differences) if side == JAX else None,
        )
        for side in programs
        if side != "ours"
    ]


def rows(options: Namespace) -> Iterator[Row]:
    """The rows of each case."""
    for name, batch in QUICK_CASES if options.quick else CASES:
        yield from compare(name, batch, steps=options.steps, rounds=options.rounds)


BENCHMARK = Benchmark(
    "convolution",
    __doc__,
    rows,
    rounds=3,
    options={
        "--quick": QUICK,
        "--steps": {"default": 2, "help": "gradient steps in one program"},
    },
    columns=[
        Column("compile s", "compile", ".1f"),
        Column("gradients differ", "gradient_difference", ".0e"),
    ],
)

if __name__ == "__main__":
    BENCHMARK.main()
