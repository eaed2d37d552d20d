"""Image operations of convolutional autoencoders: convolution, its transpose, pooling.

Images are [batch, height, width, channels]. On CPU the gradients of XLA's convolution
are tens of times slower inside a compiled loop than outside: its fast routine there
knows one order of axes, and the gradients that JAX derives come in others. So they are
written out here, on CPU in that order, elsewhere as JAX derives them
(`benchmarks/convolution.py` compares the two).
"""

import itertools
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

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

    image: Pair
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
    """Checks that each is two integers of at least 1."""
    for name, pair in pairs.items():
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ValueError(f"{name} must be (vertical, horizontal), got {pair!r}.")
        for size in pair:
            check_positive_int(name, size)


def check_images(x: jax.Array) -> None:
    """Checks that `x` has the four axes of a batch of images."""
    if x.ndim != 4:
        raise ValueError(f"x must be [b, h, w, c], got shape {tuple(x.shape)}.")


def conv_output_shape(
    image: Pair, kernel_size: Pair, strides: Pair = (1, 1), padding: str = "valid"
) -> Pair:
    """Height and width of what `conv2d` makes of an image.

    On each axis, of n pixels with kernel k and stride s: (n - k) // s + 1 when valid,
    ceil(n / s) when same, (n + k - 2) // s + 1 when full.

    Args:
      image: height and width of the image.
      kernel_size: height and width of the kernel.
      strides: pixels from one window to the next, vertical and horizontal.
      padding: "valid", "same" or "full", as in `conv2d`.

    Raises:
      ValueError: a size is below 1, a kernel is larger than a "valid" image, or the
        padding is unknown.
    """
    return geometry(image, kernel_size, strides, padding).output


def transposed_output_shape(
    image: Pair, kernel_size: Pair, strides: Pair = (1, 1), padding: str = "valid"
) -> Pair:
    """The natural height and width of what `conv2d_transpose` makes of an image.

    On each axis, of n pixels with kernel k and stride s: (n - 1) s + k when valid, n s
    when same, (n - 1) s - k + 2 when full. `conv2d` brings it back to n pixels.

    Args:
      image: height and width of the image.
      kernel_size: height and width of the kernel.
      strides: pixels of the result from one window to the next.
      padding: "valid", "same" or "full", as in `conv2d`.

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
            "padding 'full' leaves (n - 1) stride - kernel + 2 pixels, got "
            f"{(height, width)} from an image of {image}, a kernel of {kernel_size} and "
            f"strides {strides}; use a smaller kernel, or padding 'same'."
        )
    return height, width


def conv2d(
    x: Images, kernel: Kernel, *, strides: Pair = (1, 1), padding: str = "valid"
) -> Float[Array, "b h2 w2 f"]:
    """Convolves images with a kernel that is not flipped (cross-correlation).

    Has gradients of any order in reverse mode, none in forward mode (`jax.jvp`).

    Args:
      x: images.
      kernel: weights; the last axis is one filter each.
      strides: pixels from one window to the next, vertical and horizontal.
      padding: "valid" for none; "same" for zeros that keep ceil(h / stride) rows, the
        odd one below, as XLA and TensorFlow have it; "full" for kernel - 1 zeros on
        each side.

    Returns:
      The filtered images, of `conv_output_shape`.

    Raises:
      ValueError: the ranks or channels do not fit, a kernel is larger than a "valid"
        image, or an option is not as above.
    """
    if x.ndim != 4 or kernel.ndim != 4 or x.shape[3] != kernel.shape[2]:
        raise ValueError(
            "x must be [b, h, w, c] and kernel [kh, kw, c, f] with the same c, got "
            f"{tuple(x.shape)} and {tuple(kernel.shape)}."
        )
    sizes = geometry(x.shape[1:3], kernel.shape[:2], strides, padding)
    return convolve(sizes, x, kernel)


def conv2d_transpose(
    x: Float[Array, "b h2 w2 f"],
    kernel: Kernel,
    *,
    output_shape: Pair,
    strides: Pair = (1, 1),
    padding: str = "valid",
) -> Images:
    """The transpose (adjoint) of `conv2d` with this kernel on images of `output_shape`.

    sum(conv2d(y, kernel) * x) = sum(y * conv2d_transpose(x, kernel)) for all y: the
    mirror image, in a decoder, of a convolution of its encoder. Gradients as `conv2d`.

    Args:
      x: images, of the shape that `conv2d` would give.
      kernel: weights in the order of `conv2d`: channels of the result, then of `x`.
      output_shape: height and width of the result; `transposed_output_shape` is the
        natural one, beside which strides allow others.
      strides: of that `conv2d`.
      padding: of that `conv2d`.

    Returns:
      Images of `output_shape`.

    Raises:
      ValueError: the ranks or channels do not fit, an option is not as in `conv2d`, or
        `conv2d` gives another height and width than those of `x`.
    """
    if x.ndim != 4 or kernel.ndim != 4 or x.shape[3] != kernel.shape[3]:
        raise ValueError(
            "x must be [b, h, w, f] and kernel [kh, kw, c, f] with the same f, got "
            f"{tuple(x.shape)} and {tuple(kernel.shape)}."
        )
    sizes = geometry(output_shape, kernel.shape[:2], strides, padding)
    if x.shape[1:3] != sizes.output:
        raise ValueError(
            f"output_shape {output_shape} needs x of {sizes.output} pixels, got "
            f"{x.shape[1:3]}; transposed_output_shape gives one that fits."
        )
    return convolve_back(sizes, x, kernel)


def pool_output_shape(image: Pair, pool_size: Pair, padding: str = "valid") -> Pair:
    """Height and width of what `max_pool` makes of an image.

    On each axis n // p when valid, ceil(n / p) when same, of n pixels in pools of p.

    Args:
      image: height and width of the image.
      pool_size: height and width of a pool.
      padding: "valid" or "same", as in `max_pool`.

    Raises:
      ValueError: a size is below 1, a pool is larger than a "valid" image, or the
        padding is unknown.
    """
    check_choice("padding", padding, ("valid", "same"))
    check_pairs(image=image, pool_size=pool_size)
    missing = 0 if padding == "valid" else 1
    height, width = (
        (n + missing * (p - 1)) // p for n, p in zip(image, pool_size, strict=True)
    )
    if min(height, width) < 1:
        raise ValueError(
            "padding 'valid' needs an image at least as large as the pool, got an image "
            f"of {image} and pools of {pool_size}; use padding 'same'."
        )
    return height, width


def max_pool(
    x: Images, pool_size: Pair, padding: str = "valid"
) -> Float[Array, "b h2 w2 c"]:
    """The largest value of each pool of pixels, pools side by side.

    Where several pixels of a pool are largest, each gets an equal share of the gradient.

    Args:
      x: images.
      pool_size: height and width of a pool, and the step from one to the next.
      padding: "valid" leaves out the last rows and columns that fill no pool; "same"
        makes a smaller pool of them.

    Returns:
      Images of `pool_output_shape`.

    Raises:
      ValueError: x has no four axes, or as in `pool_output_shape`.
    """
    check_images(x)
    (height, width), (p, q) = (
        pool_output_shape(x.shape[1:3], pool_size, padding),
        pool_size,
    )
    # Negative amounts cut. By blocks, for the gradient of reduce_window is slow on CPU.
    high = height * p - x.shape[1], width * q - x.shape[2]
    lowest = jnp.array(-jnp.inf, x.dtype)
    x = jax.lax.pad(x, lowest, ((0, 0, 0), (0, high[0], 0), (0, high[1], 0), (0, 0, 0)))
    return x.reshape(len(x), height, p, width, q, -1).max(axis=(2, 4))


def unpool(x: Float[Array, "b h2 w2 c"], pool_size: Pair, output_shape: Pair) -> Images:
    """Enlarges images by repeating each pixel over its pool.

    The height and width that pooling lost come back: rows and columns beyond
    `output_shape` are cut, missing ones repeat the last (7 -> 3 -> 7 after "valid"
    pooling by 2, 7 -> 4 -> 7 after "same").

    Args:
      x: images, of the height and width that `max_pool` would give.
      pool_size: height and width of a pool.
      output_shape: height and width of the result.

    Returns:
      Images of `output_shape`.

    Raises:
      ValueError: x has no four axes, a size is below 1, or pools of `pool_size` make
        something else than the height and width of `x` of `output_shape`.
    """
    check_images(x)
    check_pairs(pool_size=pool_size, output_shape=output_shape)
    for m, p, n in zip(x.shape[1:3], pool_size, output_shape, strict=True):
        if m not in (n // p, -(-n // p)):
            raise ValueError(
                f"output_shape {output_shape} in pools of {pool_size} does not give x of "
                f"{x.shape[1:3]} pixels; use the shape of what was pooled."
            )
    for axis, p in enumerate(pool_size, start=1):
        x = jnp.repeat(x, p, axis=axis)
    x = x[:, : output_shape[0], : output_shape[1]]
    missing = [(0, n - m) for n, m in zip(output_shape, x.shape[1:3], strict=True)]
    return jnp.pad(x, ((0, 0), *missing, (0, 0)), mode="edge")


# The three faces of one trilinear form, sum(convolve(x, kernel) * y). Each is linear in
# its two arguments, and its gradients are the other two.


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def convolve(sizes: Geometry, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """y from x and the kernel."""
    return by_platform(convolve_on_cpu, native, sizes, x, kernel)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def convolve_back(sizes: Geometry, y: jax.Array, kernel: jax.Array) -> jax.Array:
    """x from y and the kernel."""
    return by_platform(back_on_cpu, partial(transposed, native), sizes, y, kernel)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def kernel_gradient(sizes: Geometry, x: jax.Array, y: jax.Array) -> jax.Array:
    """The kernel from x and y."""
    default = partial(transposed_in_kernel, native)
    return by_platform(kernel_gradient_on_cpu, default, sizes, x, y)


convolve.defvjp(
    lambda sizes, x, kernel: (convolve(sizes, x, kernel), (x, kernel)),
    lambda sizes, saved, y: (
        convolve_back(sizes, y, saved[1]),
        kernel_gradient(sizes, saved[0], y),
    ),
)
convolve_back.defvjp(
    lambda sizes, y, kernel: (convolve_back(sizes, y, kernel), (y, kernel)),
    lambda sizes, saved, x: (
        convolve(sizes, x, saved[1]),
        kernel_gradient(sizes, x, saved[0]),
    ),
)
kernel_gradient.defvjp(
    lambda sizes, x, y: (kernel_gradient(sizes, x, y), (x, y)),
    lambda sizes, saved, kernel: (
        convolve_back(sizes, saved[1], kernel),
        convolve(sizes, saved[0], kernel),
    ),
)


def by_platform(
    cpu: Callable, default: Callable, sizes: Geometry, a: jax.Array, b: jax.Array
) -> jax.Array:
    """Runs `cpu` where the program is compiled for a CPU, else `default`."""
    cpu, default = partial(cpu, sizes), partial(default, sizes)
    mapped = jax.custom_batching.custom_vmap(cpu)

    @mapped.def_vmap
    def several(size: int, batched: list[bool], a: jax.Array, b: jax.Array):
        # Two mapped arguments make a grouped convolution, slower than one at a time.
        if all(batched):
            return jax.lax.map(lambda ab: mapped(*ab), (a, b)), True
        return jax.vmap(cpu, [0 if axis else None for axis in batched])(a, b), True

    return jax.lax.platform_dependent(a, b, cpu=mapped, default=default)


# XLA's own convolution, the one order of axes that is fast everywhere.
xla_convolution = partial(
    jax.lax.conv_general_dilated, dimension_numbers=("NHWC", "HWIO", "NHWC")
)


def native(sizes: Geometry, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`convolve` by XLA."""
    return xla_convolution(x, kernel, sizes.strides, sizes.pads)


def patches_product(sizes: Geometry, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`convolve` as one matrix product of all patches, side by side."""
    x = jnp.pad(x, ((0, 0), *sizes.pads, (0, 0)))
    (rows, columns), (down, right) = sizes.output, sizes.strides
    patches = [
        x[
            :,
            i : i + (rows - 1) * down + 1 : down,
            j : j + (columns - 1) * right + 1 : right,
        ]
        for i, j in itertools.product(*map(range, sizes.kernel))
    ]
    return jnp.concatenate(patches, axis=3) @ kernel.reshape(-1, kernel.shape[3])


def transposed(
    forward: Callable, sizes: Geometry, y: jax.Array, kernel: jax.Array
) -> jax.Array:
    """`convolve_back`, as JAX derives it from one of the above."""
    x = jax.ShapeDtypeStruct((len(y), *sizes.image, kernel.shape[2]), y.dtype)
    return jax.linear_transpose(lambda x: forward(sizes, x, kernel), x)(y)[0]


def transposed_in_kernel(
    forward: Callable, sizes: Geometry, x: jax.Array, y: jax.Array
) -> jax.Array:
    """`kernel_gradient`, as JAX derives it from one of the above."""
    kernel = jax.ShapeDtypeStruct((*sizes.kernel, x.shape[3], y.shape[3]), x.dtype)
    return jax.linear_transpose(lambda kernel: forward(sizes, x, kernel), kernel)(y)[0]


# Where the window is larger than what it moves over, XLA swaps the two, into an order of
# axes that is slow on CPU; there the patches are few.


def convolve_on_cpu(sizes: Geometry, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`convolve`, fast inside a compiled loop on CPU."""
    swapped = any(k > n for k, n in zip(sizes.kernel, sizes.image, strict=True))
    return (patches_product if swapped else native)(sizes, x, kernel)


def back_on_cpu(sizes: Geometry, y: jax.Array, kernel: jax.Array) -> jax.Array:
    """`convolve_back` as a convolution of the dilated y with the flipped kernel."""
    # One filter leaves a product with a vector, which is slow: 2 x 2 pixels as 4 filters.
    block = 2 if kernel.shape[2] == 1 else 1
    if any(
        k + block - 1 > m for k, m in zip(sizes.kernel, sizes.output, strict=True)
    ):
        return transposed(patches_product, sizes, y, kernel)
    flipped = kernel[::-1, ::-1].swapaxes(2, 3)
    shifts = list(itertools.product(range(block), repeat=2))
    shifted = [
        jnp.pad(flipped, ((i, block - 1 - i), (j, block - 1 - j), (0, 0), (0, 0)))
        for i, j in shifts
    ]
    blocks = [-(-n // block) for n in sizes.image]
    pads = [
        (k - 1 - low, blocks * block + low - (m - 1) * s - 1)
        for blocks, k, (low, _), m, s in zip(
            blocks, sizes.kernel, sizes.pads, sizes.output, sizes.strides, strict=True
        )
    ]
    x = xla_convolution(
        y, jnp.concatenate(shifted, 3), (block, block), pads, lhs_dilation=sizes.strides
    )
    x = x.reshape(len(y), *blocks, block, block, -1).swapaxes(2, 3)
    x = x.reshape(len(y), blocks[0] * block, blocks[1] * block, -1)
    return x[:, : sizes.image[0], : sizes.image[1]]


def kernel_gradient_on_cpu(sizes: Geometry, x: jax.Array, y: jax.Array) -> jax.Array:
    """`kernel_gradient` as a convolution over x, whose channels are its batch, with y."""
    if any(m > n for m, n in zip(sizes.output, sizes.image, strict=True)):
        return transposed_in_kernel(patches_product, sizes, x, y)
    # XLA's routine is several times slower where the last axis is not full registers.
    filters = y.shape[3]
    y = jnp.pad(y, ((0, 0), (0, 0), (0, 0), (0, -filters % 16)))
    # The rows and columns of x that some window touches.
    down, right = (
        (m - 1) * s + k - low
        for m, s, k, (low, _) in zip(
            sizes.output, sizes.strides, sizes.kernel, sizes.pads, strict=True
        )
    )
    x = x[:, :down, :right]
    pads = [
        (low, used - n)
        for used, (low, _), n in zip(
            (down, right), sizes.pads, x.shape[1:3], strict=True
        )
    ]
    kernel = xla_convolution(
        x.transpose(3, 1, 2, 0),
        y.transpose(1, 2, 0, 3),
        (1, 1),
        pads,
        rhs_dilation=sizes.strides,
    )
    return kernel.transpose(1, 2, 0, 3)[..., :filters]
