"""Image operations of convolutional autoencoders: convolution and its transpose.

Images are [batch, height, width, channels]. On the CPU, gradients of XLA's convolution are
tens of times slower inside a compiled loop than outside: XLA's fast routine needs an order
of axes that JAX's gradients do not have, and XLA reorders axes outside of loops only. Even
in the right order, they are slow on CPUs without AVX-512. Therefore gradients on the CPU
are matrix products of a few images at a time here (`benchmarks/convolution.py`).
"""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dec_jax.validation import check_choice, check_positive_int

PADDINGS = ("valid", "same", "full")
Pair = tuple[int, int]  # (vertical, horizontal)
Images = Float[Array, "b h w c"]
Kernel = Float[Array, "kh kw c f"]


class Geometry(NamedTuple):
    """The sizes of one convolution."""

    image: Pair  # (height, width)
    kernel: Pair
    strides: Pair
    pads: tuple[Pair, Pair]  # zeros (above, below) and (left, right) of the image
    output: Pair


def geometry(image: Pair, kernel: Pair, strides: Pair, padding: str) -> Geometry:
    """Computes the sizes of a convolution from its padding."""
    check_choice("padding", padding, PADDINGS)
    check_pairs(image=image, kernel_size=kernel, strides=strides)
    pads, output = [], []
    for n, k, s in zip(image, kernel, strides, strict=True):
        same = max((-(-n // s) - 1) * s + k - n, 0)
        total = {"valid": 0, "same": same, "full": 2 * (k - 1)}[padding]
        if n + total < k:
            raise ValueError(
                "padding 'valid' needs an image at least as large as the kernel, got an "
                f"image of {image} and a kernel of {kernel}; use 'same' or 'full'."
            )
        pads.append((total // 2, total - total // 2))
        output.append((n + total - k) // s + 1)
    return Geometry(image, kernel, strides, (pads[0], pads[1]), (output[0], output[1]))


def check_pairs(**pairs: Pair) -> None:
    """Raises unless each value is a tuple of two integers of at least 1."""
    for name, pair in pairs.items():
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ValueError(f"{name} must be a tuple of 2 sizes, got {pair!r}.")
        for size in pair:
            check_positive_int(name, size)


def height_and_width(x: Array) -> Pair:
    """Height and width of a batch of images; raises ValueError for other arrays."""
    if x.ndim != 4:
        raise ValueError(f"x must be [b, h, w, c], got shape {tuple(x.shape)}.")
    return x.shape[1], x.shape[2]


def conv_output_shape(
    image: Pair, kernel_size: Pair, strides: Pair = (1, 1), padding: str = "valid"
) -> Pair:
    """Height and width of the result of `conv2d`.

    An axis of n pixels with kernel k and stride s gives (n - k) // s + 1 pixels if the
    padding is "valid", ceil(n / s) if "same", and (n + k - 2) // s + 1 if "full".

    Args:
      image: height and width of the images.
      kernel_size: height and width of the kernel.
      strides: pixels from one window to the next, vertical and horizontal.
      padding: "valid", "same" or "full".

    Returns:
      Height and width.

    Raises:
      ValueError: a size is below 1, a kernel is larger than a "valid" image, or the
        padding is unknown.
    """
    return geometry(image, kernel_size, strides, padding).output


def transposed_output_shape(
    image: Pair, kernel_size: Pair, strides: Pair = (1, 1), padding: str = "valid"
) -> Pair:
    """Default height and width of the result of `conv2d_transpose`.

    An axis of n pixels with kernel k and stride s gives (n - 1) s + k pixels if the padding
    is "valid", n s if "same", and (n - 1) s - k + 2 if "full". `conv2d` of that many
    pixels gives n pixels again.

    Args:
      image: height and width of the images.
      kernel_size: height and width of the kernel.
      strides: as of `conv2d`.
      padding: "valid", "same" or "full".

    Returns:
      Height and width.

    Raises:
      ValueError: a size is below 1, "full" leaves no pixel, or the padding is unknown.
    """
    check_choice("padding", padding, PADDINGS)
    check_pairs(image=image, kernel_size=kernel_size, strides=strides)
    height, width = (
        {"valid": (n - 1) * s + k, "same": n * s, "full": (n - 1) * s - k + 2}[padding]
        for n, k, s in zip(image, kernel_size, strides, strict=True)
    )
    if min(height, width) < 1:
        raise ValueError(
            "padding 'full' must leave (n - 1) stride - kernel + 2 >= 1 pixels, got "
            f"{(height, width)} of an image of {image}; use a smaller kernel, or 'same'."
        )
    return height, width


def conv2d(
    x: Images,
    kernel: Kernel,
    *,
    strides: Pair = (1, 1),
    padding: str = "valid",
    precision: str = "float32",
) -> Float[Array, "b h2 w2 f"]:
    """Convolves images with a kernel that is not flipped (cross-correlation).

    Reverse-mode gradients of any order are defined; forward mode (`jax.jvp`) is not.

    Args:
      x: images, float32.
      kernel: weights, float32; the last axis has one entry per filter.
      strides: pixels from one window to the next, vertical and horizontal.
      padding: "valid" for none; "same" for zeros that give ceil(h / stride) rows, with an
        odd one below, as in XLA and TensorFlow; "full" for kernel - 1 zeros on each
        side.
      precision: "bfloat16" rounds the operands, here and in the gradients, except on the
        CPU, where XLA has no faster routine for it.

    Returns:
      The filtered images, of `conv_output_shape`.

    Raises:
      ValueError: the ranks or channels do not fit, a kernel is larger than a "valid"
        image, or an option is out of range.
    """
    image = height_and_width(x)
    if kernel.ndim != 4 or x.shape[3] != kernel.shape[2]:
        raise ValueError(
            "kernel must be [kh, kw, c, f] for x of [b, h, w, c], got kernel of shape "
            f"{tuple(kernel.shape)} and x of shape {tuple(x.shape)}."
        )
    sizes = geometry(image, (kernel.shape[0], kernel.shape[1]), strides, padding)
    return derivative("y", sizes, precision, x, kernel)


def conv2d_transpose(
    x: Float[Array, "b h2 w2 f"],
    kernel: Kernel,
    *,
    output_shape: Pair,
    strides: Pair = (1, 1),
    padding: str = "valid",
    precision: str = "float32",
) -> Images:
    """Transpose (adjoint) of `conv2d` with this kernel on images of `output_shape`.

    For all y, sum(conv2d(y, kernel) * x) = sum(y * conv2d_transpose(x, kernel)). A decoder
    mirrors the convolutions of its encoder by it. Gradients are defined as for `conv2d`.

    Args:
      x: images, of the shape that `conv2d` of the result has, float32.
      kernel: weights in the order of `conv2d`: channels of the result, then of `x`.
      output_shape: height and width of the result. `transposed_output_shape` is the
        default; with strides above 1, others fit as well.
      strides: of that `conv2d`.
      padding: of that `conv2d`.
      precision: as in `conv2d`.

    Returns:
      Images of `output_shape`.

    Raises:
      ValueError: the ranks or channels do not fit, an option is out of range, or `conv2d`
        of the result has another height and width than `x`.
    """
    image = height_and_width(x)
    if kernel.ndim != 4 or x.shape[3] != kernel.shape[3]:
        raise ValueError(
            "kernel must be [kh, kw, c, f] for x of [b, h, w, f], got kernel of shape "
            f"{tuple(kernel.shape)} and x of shape {tuple(x.shape)}."
        )
    kernel_size = kernel.shape[0], kernel.shape[1]
    sizes = geometry(output_shape, kernel_size, strides, padding)
    if image != sizes.output:
        raise ValueError(
            f"x must have the {sizes.output} pixels that conv2d gives for output_shape "
            f"{output_shape}, got {image}; transposed_output_shape gives one that fits."
        )
    return derivative("x", sizes, precision, kernel, x)


# sum(conv2d(x, kernel) * y) is linear in each of these three arrays. Its derivative by y is
# `conv2d`, that by x is `conv2d_transpose`, and the gradients of each are the two others.
ARRAYS = ("x", "kernel", "y")


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def derivative(by: str, sizes: Geometry, precision: str, a: Array, b: Array) -> Array:
    """Derivative of that sum by one of `ARRAYS`, from the two others in their order."""
    cpu, native = (partial(function, sizes) for function in FUNCTIONS[by])
    default = in_bfloat16(native) if precision == "bfloat16" else native
    one = jax.custom_batching.custom_vmap(cpu)

    @one.def_vmap
    def several(_: int, mapped: list[bool], a: Array, b: Array) -> Any:
        # If both are mapped, XLA groups the convolutions, which is slower than a loop.
        if all(mapped):
            return jax.lax.map(lambda pair: one(*pair), (a, b)), True
        return jax.vmap(cpu, [0 if axis else None for axis in mapped])(a, b), True

    return jax.lax.platform_dependent(a, b, cpu=one, default=default)


def in_bfloat16(function: Callable[..., Array]) -> Callable[..., Array]:
    """Rounds the arrays of a function; accelerators still sum in float32."""

    def rounded(*arrays: Array) -> Array:
        return function(*(a.astype(jnp.bfloat16) for a in arrays)).astype(jnp.float32)

    return rounded


def gradients(
    by: str, sizes: Geometry, precision: str, kept: Any, cotangent: Array
) -> Any:
    """Gradients of `derivative` by its two arrays."""
    others = [name for name in ARRAYS if name != by]
    arrays = dict(zip(others, kept, strict=True)) | {by: cotangent}
    return tuple(
        derivative(
            name,
            sizes,
            precision,
            *(arrays[other] for other in ARRAYS if other != name),
        )
        for name in others
    )


def kept_for_gradients(
    by: str, sizes: Geometry, precision: str, *ab: Array
) -> tuple[Array, tuple[Array, ...]]:
    """`derivative`, and the arrays that its gradients need."""
    return derivative(by, sizes, precision, *ab), ab


derivative.defvjp(kept_for_gradients, gradients)

# The only order of axes that is fast on all devices.
xla_conv = partial(
    jax.lax.conv_general_dilated, dimension_numbers=("NHWC", "HWIO", "NHWC")
)


def native(sizes: Geometry, x: Array, kernel: Array) -> Array:
    """Computes y by XLA's convolution."""
    return xla_conv(x, kernel, sizes.strides, sizes.pads)


def by_patches(sizes: Geometry, x: Array, kernel: Array) -> Array:
    """Computes y by one matrix product of all patches."""
    x = jnp.pad(x, ((0, 0), *sizes.pads, (0, 0)))
    (height, width), (down, right) = sizes.output, sizes.strides
    patches = [
        x[:, i : i + height * down : down, j : j + width * right : right]
        for i, j in itertools.product(*map(range, sizes.kernel))
    ]
    return jnp.concatenate(patches, axis=3) @ kernel.reshape(-1, kernel.shape[3])


def x_of(sizes: Geometry, kernel: Array, y: Array) -> Array:
    """Computes x as the transpose that JAX derives."""
    x = jax.ShapeDtypeStruct((len(y), *sizes.image, kernel.shape[2]), y.dtype)
    return jax.linear_transpose(lambda x: native(sizes, x, kernel), x)(y)[0]


def kernel_of(sizes: Geometry, x: Array, y: Array) -> Array:
    """Computes the kernel as the transpose that JAX derives."""
    kernel = jax.ShapeDtypeStruct((*sizes.kernel, x.shape[3], y.shape[3]), y.dtype)
    return jax.linear_transpose(lambda kernel: native(sizes, x, kernel), kernel)(y)[0]


def y_on_cpu(sizes: Geometry, x: Array, kernel: Array) -> Array:
    """Computes y, fast in a compiled loop on the CPU."""
    # XLA swaps a kernel and a smaller image, which leaves the fast order of axes. Such
    # images have few patches.
    larger = any(k > n for k, n in zip(sizes.kernel, sizes.image, strict=True))
    return (by_patches if larger else native)(sizes, x, kernel)


def in_groups(sizes: Geometry, images: Array) -> Array:
    """Splits images into groups that fit into the cache, [groups, n, h, w, c]."""
    pixels = sizes.output[0] * sizes.output[1]
    n = max(min(256 // pixels, len(images)), 1)
    images = jnp.pad(images, ((0, -len(images) % n), *((0, 0),) * 3))
    return images.reshape(-1, n, *images.shape[1:])


def x_on_cpu(sizes: Geometry, kernel: Array, y: Array) -> Array:
    """Computes x on the CPU: one matrix product, whose parts are added at their pixels.

    The product gives the contribution of each position of the kernel. Pixels that lie one
    stride apart are stored together until the end, as [phase, pixel], so that each
    contribution is added as one block.
    """
    (height, width), (kh, kw), (down, right) = sizes.output, sizes.kernel, sizes.strides
    rows, columns = height + (kh - 1) // down, width + (kw - 1) // right
    channels, filters = kernel.shape[2:]
    weights = kernel.reshape(-1, filters)

    def add(_: None, y: Array) -> tuple[None, Array]:
        n = len(y)
        given = weights @ y.reshape(-1, filters).T
        given = given.reshape(kh, kw, channels, n, height, width)
        # Adding along rows and then along columns takes kw + kh sums, not kw * kh.
        wide = jnp.zeros((right, kh, channels, n, height, columns))
        for j in range(kw):
            start = (j % right, 0, 0, 0, 0, j // right)
            wide = add_block(wide, given[None, :, j], start)
        x = jnp.zeros((down, right, channels, n, rows, columns))
        for i in range(kh):
            x = add_block(x, wide[None, :, i], (i % down, 0, 0, 0, i // down, 0))
        x = x.transpose(3, 4, 0, 5, 1, 2)
        return None, x.reshape(n, rows * down, columns * right, channels)

    x = jax.lax.scan(add, None, in_groups(sizes, y))[1]
    x = x.reshape(-1, *x.shape[2:])[: len(y)]
    # Pixels that no window reaches are zero.
    ends = [low + n for n, (low, _) in zip(sizes.image, sizes.pads, strict=True)]
    short = [(0, max(end - n, 0)) for end, n in zip(ends, x.shape[1:3], strict=True)]
    x = jnp.pad(x, ((0, 0), *short, (0, 0)))
    return x[:, sizes.pads[0][0] : ends[0], sizes.pads[1][0] : ends[1]]


def add_block(x: Array, block: Array, start: tuple[int, ...]) -> Array:
    """Adds a block to x, in place."""
    there = jax.lax.dynamic_slice(x, start, block.shape)
    return jax.lax.dynamic_update_slice(x, there + block, start)


def kernel_on_cpu(sizes: Geometry, x: Array, y: Array) -> Array:
    """Computes the kernel on the CPU: patches of x times y, some images at a time."""
    (height, width), (kh, kw), (down, right) = sizes.output, sizes.kernel, sizes.strides
    channels, filters = x.shape[3], y.shape[3]
    # Patches of one row of kw pixels, multiplied by copies of y that are shifted for each
    # row of the kernel, need less memory than full patches if y has few filters.
    of_a_row = down == 1 and kw * channels + kh * filters < kh * kw * channels
    rows = height + kh - 1 if of_a_row else height

    def add(total: Array, xy: tuple[Array, Array]) -> tuple[Array, None]:
        x, y = xy[0].transpose(3, 0, 1, 2), xy[1]
        positions = itertools.product(range(1 if of_a_row else kh), range(kw))
        patches = [
            x[:, :, i : i + rows * down : down, j : j + width * right : right]
            for i, j in positions
        ]
        if of_a_row:
            shifted = [
                jnp.pad(y, ((0, 0), (i, kh - 1 - i), (0, 0), (0, 0))) for i in range(kh)
            ]
            y = jnp.concatenate(shifted, axis=3)
        size = y.size // y.shape[3]
        return total + jnp.stack(patches).reshape(-1, size) @ y.reshape(size, -1), None

    x = jnp.pad(x, ((0, 0), *sizes.pads, (0, 0)))
    groups = in_groups(sizes, x), in_groups(sizes, y)
    shape = (kw * channels, kh * filters) if of_a_row else (kh * kw * channels, filters)
    kernel, _ = jax.lax.scan(add, jnp.zeros(shape), groups)
    if of_a_row:
        kernel = kernel.reshape(kw * channels, kh, filters).swapaxes(0, 1)
    return kernel.reshape(kh, kw, channels, filters)


# The function for each array: on the CPU, on other devices.
FUNCTIONS: dict[str, tuple[Callable, Callable]] = {
    "x": (x_on_cpu, x_of),
    "kernel": (kernel_on_cpu, kernel_of),
    "y": (y_on_cpu, native),
}
