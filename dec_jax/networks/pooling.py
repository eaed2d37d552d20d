"""Image operations of convolutional autoencoders: max pooling and unpooling.

Images are [batch, height, width, channels].
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dec_jax.networks.convolution import (
    PADDINGS,
    Images,
    Pair,
    check_pairs,
    height_and_width,
)
from dec_jax.validation import check_choice


def pool_output_shape(image: Pair, pool_size: Pair, padding: str = "valid") -> Pair:
    """Height and width of the result of `max_pool`.

    An axis of n pixels in pools of p gives n // p pixels if the padding is "valid", and
    ceil(n / p) if it is "same".

    Args:
      image: height and width of the images.
      pool_size: height and width of a pool.
      padding: "valid" or "same".

    Returns:
      Height and width.

    Raises:
      ValueError: a size is below 1, a pool is larger than a "valid" image, or the
        padding is unknown.
    """
    check_choice("padding", padding, PADDINGS[:2])
    check_pairs(image=image, pool_size=pool_size)
    height, width = (
        n // p if padding == "valid" else -(-n // p)
        for n, p in zip(image, pool_size, strict=True)
    )
    if min(height, width) < 1:
        raise ValueError(
            "padding 'valid' needs an image at least as large as the pool, got an image "
            f"of {image} and pools of {pool_size}; use 'same'."
        )
    return height, width


def max_pool(
    x: Images, pool_size: Pair, padding: str = "valid"
) -> Float[Array, "b h2 w2 c"]:
    """Takes the largest value of each pool of pixels; pools do not overlap.

    If several pixels of a pool are the largest, they share the gradient equally.

    Args:
      x: images.
      pool_size: height and width of a pool, and the step from one to the next.
      padding: "valid" drops the last rows and columns if they do not fill a pool; "same"
        makes a smaller pool of them.

    Returns:
      Images of `pool_output_shape`.

    Raises:
      ValueError: `x` does not have four axes, or as `pool_output_shape`.
    """
    image = height_and_width(x)
    output = pool_output_shape(image, pool_size, padding)
    # Negative padding cuts. The pools are blocks of a reshaped array, because the gradient
    # of XLA's reduce_window is slow on the CPU.
    high = [m * p - n for m, p, n in zip(output, pool_size, image, strict=True)]
    lowest = jnp.array(-jnp.inf, x.dtype)
    x = jax.lax.pad(x, lowest, [(0, 0, 0), *((0, n, 0) for n in high), (0, 0, 0)])
    blocks = x.shape[0], output[0], pool_size[0], output[1], pool_size[1], x.shape[3]
    return x.reshape(blocks).max(axis=(2, 4))


def unpool(x: Float[Array, "b h2 w2 c"], pool_size: Pair, output_shape: Pair) -> Images:
    """Enlarges images by repeating each pixel over its pool.

    This restores the shape before `max_pool`: pixels beyond `output_shape` are cut, and
    missing ones repeat the last (7 -> 3 -> 7 after "valid" pools of 2, and 7 -> 4 -> 7
    after "same").

    Args:
      x: images, with the height and width of the result of `max_pool`.
      pool_size: height and width of a pool.
      output_shape: height and width of the result.

    Returns:
      Images of `output_shape`.

    Raises:
      ValueError: `x` does not have four axes, a size is below 1, or `max_pool` of images
        of `output_shape` gives another height and width than those of `x`.
    """
    image = height_and_width(x)
    check_pairs(pool_size=pool_size, output_shape=output_shape)
    for m, p, n in zip(image, pool_size, output_shape, strict=True):
        if m not in (n // p, -(-n // p)):
            raise ValueError(
                f"x must have the height and width of output_shape {output_shape} after "
                f"pools of {pool_size}, got {image}; use the shape before the pooling."
            )
    for axis, p in enumerate(pool_size, start=1):
        # `jnp.repeat` would be slow on the CPU, because of its gradient's sum over repeats.
        shape = (*x.shape[:axis], -1, *x.shape[axis + 1 :])
        x = jnp.stack([x] * p, axis=axis + 1).reshape(shape)
    x = x[:, : output_shape[0], : output_shape[1]]
    missing = output_shape[0] - x.shape[1], output_shape[1] - x.shape[2]
    return jnp.pad(x, [(0, 0), *((0, m) for m in missing), (0, 0)], mode="edge")
