"""Image operations of convolutional autoencoders: convolution and its transpose.

Images are [batch, height, width, channels]. On CPU, gradients of XLA's convolution are
tens of times slower inside a compiled loop than outside: its fast routine wants an order
of axes that JAX's gradients do not have, and XLA reorders outside of loops only. As
convolutions in that order they are still slow on processors without AVX-512. So they are
matrix products here on CPU, of a few images at a time (`benchmarks/convolution.py`).
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
    """The sizes of one convolution, whichever way it is run."""

    image: Pair  # (height, width)
    kernel: Pair
    strides: Pair
    pads: tuple[Pair, Pair]  # zeros (above, below) and (left, right) of the image
    output: Pair


def geometry(image: Pair, kernel: Pair, strides: Pair, padding: str) -> Geometry:
    """The sizes that the named padding gives."""
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
    """Checks that each is a tuple of two integers of at least 1."""
    for name, pair in pairs.items():
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ValueError(f"{name} must be a tuple of 2 sizes, got {pair!r}.")
        for size in pair:
            check_positive_int(name, size)


def height_and_width(x: Array) -> Pair:
    """Of a batch of images; raises ValueError for anything else."""
    if x.ndim != 4:
        raise ValueError(f"x must be [b, h, w, c], got shape {tuple(x.shape)}.")
    return x.shape[1], x.shape[2]


def conv_output_shape(
    image: Pair, kernel_size: Pair, strides: Pair = (1, 1), padding: str = "valid"
) -> Pair:
    """Height and width of what `conv2d` makes of an image of this height and width.

    On each axis, of n pixels with kernel k and stride s: (n - k) // s + 1 when valid,
    ceil(n / s) when same, (n + k - 2) // s + 1 when full.

    Raises:
      ValueError: a size is below 1, a kernel is larger than a "valid" image, or the
        padding is unknown.
    """
    return geometry(image, kernel_size, strides, padding).output


def transposed_output_shape(
    image: Pair, kernel_size: Pair, strides: Pair = (1, 1), padding: str = "valid"
) -> Pair:
    """The natural height and width of `conv2d_transpose` of an image of this size.

    On each axis, of n pixels with kernel k and stride s: (n - 1) s + k when valid, n s
    when same, (n - 1) s - k + 2 when full. `conv2d` brings it back to n pixels.

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

    Has gradients of any order in reverse mode, none in forward mode (`jax.jvp`).

    Args:
      x: images, float32.
      kernel: weights, float32; the last axis is one filter each.
      strides: pixels from one window to the next, vertical and horizontal.
      padding: "valid" for none; "same" for zeros that keep ceil(h / stride) rows, the
        odd one below, as XLA and TensorFlow have it; "full" for kernel - 1 zeros on
        each side.
      precision: "bfloat16" rounds what is multiplied, here and in the gradients, except
        on CPU, which has no faster routine for it.

    Returns:
      The filtered images, of `conv_output_shape`.

    Raises:
      ValueError: the ranks or channels do not fit, a kernel is larger than a "valid"
        image, or an option is not as above.
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
    """The transpose (adjoint) of `conv2d` with this kernel on images of `output_shape`.

    sum(conv2d(y, kernel) * x) = sum(y * conv2d_transpose(x, kernel)) for all y: the
    mirror, in a decoder, of a convolution of its encoder. Gradients as of `conv2d`.

    Args:
      x: images, of the shape that `conv2d` would give, float32.
      kernel: weights in the order of `conv2d`: channels of the result, then of `x`.
      output_shape: height and width of the result; `transposed_output_shape` is the
        natural one, beside which strides allow others.
      strides: of that `conv2d`.
      padding: of that `conv2d`.
      precision: as in `conv2d`.

    Returns:
      Images of `output_shape`.

    Raises:
      ValueError: the ranks or channels do not fit, an option is not as in `conv2d`, or
        `conv2d` gives another height and width than those of `x`.
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
            f"x must have the {sizes.output} pixels that conv2d makes of output_shape "
            f"{output_shape}, got {image}; transposed_output_shape gives one that fits."
        )
    return derivative("x", sizes, precision, kernel, x)


# sum(conv2d(x, kernel) * y) is linear in each of the three. Its derivative by y is
# `conv2d`, by x `conv2d_transpose`, and the gradients of each are the two others.
ARRAYS = ("x", "kernel", "y")


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def derivative(by: str, sizes: Geometry, precision: str, a: Array, b: Array) -> Array:
    """The derivative by one of `ARRAYS`, from the two others in their order."""
    cpu, native = (partial(function, sizes) for function in FUNCTIONS[by])
    default = in_bfloat16(native) if precision == "bfloat16" else native
    one = jax.custom_batching.custom_vmap(cpu)

    @one.def_vmap
    def several(_: int, mapped: list[bool], a: Array, b: Array) -> Any:
        # Mapped over both, XLA would group the convolutions: slower than one by one.
        if all(mapped):
            return jax.lax.map(lambda pair: one(*pair), (a, b)), True
        return jax.vmap(cpu, [0 if axis else None for axis in mapped])(a, b), True

    return jax.lax.platform_dependent(a, b, cpu=one, default=default)


def in_bfloat16(function: Callable[..., Array]) -> Callable[..., Array]:
    """Of rounded arrays; accelerators sum in float32 and round the result."""

    def rounded(*arrays: Array) -> Array:
        return function(*(a.astype(jnp.bfloat16) for a in arrays)).astype(jnp.float32)

    return rounded


def gradients(
    by: str, sizes: Geometry, precision: str, kept: Any, cotangent: Array
) -> Any:
    """Of `derivative`, in the two arrays that it was given."""
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
    """`derivative`, and what its gradients need."""
    return derivative(by, sizes, precision, *ab), ab


derivative.defvjp(kept_for_gradients, gradients)

# The one order of axes that is fast everywhere.
xla_conv = partial(
    jax.lax.conv_general_dilated, dimension_numbers=("NHWC", "HWIO", "NHWC")
)


def native(sizes: Geometry, x: Array, kernel: Array) -> Array:
    """y by XLA's convolution."""
    return xla_conv(x, kernel, sizes.strides, sizes.pads)


def by_patches(sizes: Geometry, x: Array, kernel: Array) -> Array:
    """y by one matrix product of all patches."""
    x = jnp.pad(x, ((0, 0), *sizes.pads, (0, 0)))
    (height, width), (down, right) = sizes.output, sizes.strides
    patches = [
        x[:, i : i + height * down : down, j : j + width * right : right]
        for i, j in itertools.product(*map(range, sizes.kernel))
    ]
    return jnp.concatenate(patches, axis=3) @ kernel.reshape(-1, kernel.shape[3])


def x_of(sizes: Geometry, kernel: Array, y: Array) -> Array:
    """x as JAX derives it."""
    x = jax.ShapeDtypeStruct((len(y), *sizes.image, kernel.shape[2]), y.dtype)
    return jax.linear_transpose(lambda x: native(sizes, x, kernel), x)(y)[0]


def kernel_of(sizes: Geometry, x: Array, y: Array) -> Array:
    """The kernel as JAX derives it."""
    kernel = jax.ShapeDtypeStruct((*sizes.kernel, x.shape[3], y.shape[3]), y.dtype)
    return jax.linear_transpose(lambda kernel: native(sizes, x, kernel), kernel)(y)[0]


def y_on_cpu(sizes: Geometry, x: Array, kernel: Array) -> Array:
    """y, fast in a compiled loop on CPU."""
    # XLA swaps a kernel and a smaller image, out of the fast order; patches are few.
    larger = any(k > n for k, n in zip(sizes.kernel, sizes.image, strict=True))
    return (by_patches if larger else native)(sizes, x, kernel)


def in_groups(sizes: Geometry, images: Array) -> Array:
    """Images as [groups, n, h, w, c], in so many groups that one stays in the cache."""
    pixels = sizes.output[0] * sizes.output[1]
    n = max(min(256 // pixels, len(images)), 1)
    images = jnp.pad(images, ((0, -len(images) % n), *((0, 0),) * 3))
    return images.reshape(-1, n, *images.shape[1:])


def x_on_cpu(sizes: Geometry, kernel: Array, y: Array) -> Array:
    """x, from one matrix product: what each kernel position gives, added where it was.

    The pixels that lie a stride apart are kept together until the end, [phase, pixel],
    so that what is added is one block.
    """
    (height, width), (kh, kw), (down, right) = sizes.output, sizes.kernel, sizes.strides
    rows, columns = height + (kh - 1) // down, width + (kw - 1) // right
    channels, filters = kernel.shape[2:]
    weights = kernel.reshape(-1, filters)

    def add(_: None, y: Array) -> tuple[None, Array]:
        n = len(y)
        given = weights @ y.reshape(-1, filters).T
        given = given.reshape(kh, kw, channels, n, height, width)
        # In two steps, along the rows and then down: kw + kh sums in place of kw kh.
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
    # What no window reaches is zero.
    ends = [low + n for n, (low, _) in zip(sizes.image, sizes.pads, strict=True)]
    short = [(0, max(end - n, 0)) for end, n in zip(ends, x.shape[1:3], strict=True)]
    x = jnp.pad(x, ((0, 0), *short, (0, 0)))
    return x[:, sizes.pads[0][0] : ends[0], sizes.pads[1][0] : ends[1]]


def add_block(x: Array, block: Array, start: tuple[int, ...]) -> Array:
    """x with a block added to it in place."""
    there = jax.lax.dynamic_slice(x, start, block.shape)
    return jax.lax.dynamic_update_slice(x, there + block, start)


def kernel_on_cpu(sizes: Geometry, x: Array, y: Array) -> Array:
    """The kernel as the product of all patches of x with y, some images at a time."""
    (height, width), (kh, kw), (down, right) = sizes.output, sizes.kernel, sizes.strides
    channels, filters = x.shape[3], y.shape[3]
    # A patch is of kw pixels of one row where copies of y, one moved for each row of the
    # kernel, are fewer numbers than patches of all rows.
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
            moved = [
                jnp.pad(y, ((0, 0), (i, kh - 1 - i), (0, 0), (0, 0))) for i in range(kh)
            ]
            y = jnp.concatenate(moved, axis=3)
        size = y.size // y.shape[3]
        return total + jnp.stack(patches).reshape(-1, size) @ y.reshape(size, -1), None

    x = jnp.pad(x, ((0, 0), *sizes.pads, (0, 0)))
    groups = in_groups(sizes, x), in_groups(sizes, y)
    shape = (kw * channels, kh * filters) if of_a_row else (kh * kw * channels, filters)
    kernel, _ = jax.lax.scan(add, jnp.zeros(shape), groups)
    if of_a_row:
        kernel = kernel.reshape(kw * channels, kh, filters).swapaxes(0, 1)
    return kernel.reshape(kh, kw, channels, filters)


# By which array: on CPU, elsewhere.
FUNCTIONS: dict[str, tuple[Callable, Callable]] = {
    "x": (x_on_cpu, x_of),
    "kernel": (kernel_on_cpu, kernel_of),
    "y": (y_on_cpu, native),
}
