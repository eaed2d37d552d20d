"""Rows in blocks, one of them in memory at a time; over devices, the next rows of each.

Rows that are spread over devices stay where they are: a block holds as many rows of
each device, so that all of them work on it.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num, Real, Shaped

from dec_jax.parallel.sharding import mesh_size, shard_like

# Rows that are embedded at once where all of the data pass through the network.
BLOCK_SIZE = 2048


def to_blocks(
    rows: Shaped[Array, "n ..."], block_size: int, like: Array
) -> Shaped[Array, "m b ..."]:
    """Cuts rows into blocks, the last of them padded with zeros.

    Args:
      rows: one a sample.
      block_size: rows of a block on each device.
      like: the samples whose devices the rows are spread over.

    Returns:
      The blocks. On one device the rows are in their order; on s devices a block is
      the next `block_size` rows of the first, then of the second, and so on.
    """
    s, rest = mesh_size(like), rows.shape[1:]
    share = -(-len(rows) // s)
    m = -(-share // block_size)
    parts = _padded(rows, share * s).reshape(s, share, *rest)
    parts = _padded(shard_like(parts, like), m * block_size, axis=1)
    blocks = parts.reshape(s, m, block_size, *rest).swapaxes(0, 1)
    return shard_like(blocks.reshape(m, s * block_size, *rest), like, axis=1)


def from_blocks(
    blocks: Shaped[Array, "m b ..."], n: int, like: Array
) -> Shaped[Array, "n ..."]:
    """The n rows of `to_blocks`, in their order again.

    Args:
      blocks: as `to_blocks` gives them, or what was computed of each row.
      n: rows without the padding.
      like: the samples whose devices the rows are spread over.

    Returns:
      One row a sample.
    """
    s = mesh_size(like)
    m, b, *rest = blocks.shape
    share = -(-n // s)
    parts = shard_like(blocks, like, axis=1).reshape(m, s, b // s, *rest).swapaxes(0, 1)
    parts = shard_like(parts.reshape(s, m * b // s, *rest), like)[:, :share]
    return parts.reshape(s * share, *rest)[:n]


def map_blocks(
    function: Callable[[Num[Array, "b d"]], Any],
    x: Num[Array, "n d"],
    *,
    block_size: int = BLOCK_SIZE,
) -> Any:
    """Applies a function of rows to all rows, a block at a time.

    Memory is that of one block, however many rows there are; the last block is
    padded, and its padding dropped.

    Args:
      function: rows to an array, or a tree of arrays, with one row each.
      x: all rows.
      block_size: rows in a block, of each device over which the rows are spread.

    Returns:
      What `function(x)` would return.
    """
    n = len(x)
    blocks = to_blocks(x, min(block_size, -(-n // mesh_size(x))), x)
    mapped = jax.lax.map(function, blocks)
    return jax.tree.map(lambda out: from_blocks(out, n, x), mapped)


def _padded(rows: Array, length: int, axis: int = 0) -> Array:
    widths = [(0, 0)] * rows.ndim
    widths[axis] = (0, length - rows.shape[axis])
    return jnp.pad(rows, widths)


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("rows", "real", "mean"),
    meta_fields=("n", "block_size"),
)
@dataclasses.dataclass(frozen=True)
class Samples:
    """Samples in m blocks of b rows, in their own dtype, the last block padded."""

    rows: Real[Array, "m b d"]
    real: Bool[Array, "m b"]  # False on the padding
    mean: Float[Array, " d"]  # subtracted from each block when it is read
    n: int
    block_size: int  # of one device


def in_blocks(z: Real[Array, "n d"], block_size: int) -> Samples:
    """Cuts the samples into equal blocks of at most `block_size` rows a device."""
    n, d = z.shape
    b = _equal(-(-n // mesh_size(z)), block_size)[1]
    real = to_blocks(jnp.ones(n, bool), b, z)
    # From the first row on, so that the mean is exact far from the origin too.
    first = z[0].astype(jnp.float32)
    samples = Samples(to_blocks(z, b, z), real, first, n, block_size)
    total = sum_over_blocks(samples, jnp.zeros(d), _block_total)
    return dataclasses.replace(samples, mean=first + total / n)


def _equal(n: int, block_size: int) -> tuple[int, int]:
    """How many equal blocks of at most `block_size` rows, and the rows of each."""
    m = -(-n // block_size)
    return m, -(-n // m)


def _block_total(x: Array, real: Array) -> Float[Array, " d"]:
    return jnp.where(real[:, None], x, 0).sum(axis=0)


def centered(rows: Real[Array, "b d"], mean: Float[Array, " d"]) -> Float[Array, "b d"]:
    """Rows as float32, relative to the mean of the samples."""
    return (rows - mean[None, :]).astype(jnp.float32)


def sum_over_blocks(
    samples: Samples, zero: Any, f: Callable[..., Any], *more: Array
) -> Any:
    """Adds `f(x, real, ...)` over the blocks, one of them in memory at a time."""
    body = partial(_add_block, f, samples.mean)
    return lax.scan(body, zero, (samples.rows, samples.real, *more))[0]


def _add_block(
    f: Callable[..., Any], mean: Array, total: Any, block: Any
) -> tuple[Any, None]:
    rows, *rest = block
    return jax.tree.map(jnp.add, total, f(centered(rows, mean), *rest)), None


def in_order(samples: Samples, values: Shaped[Array, "m b"]) -> Shaped[Array, " n"]:
    """One value a sample in the order of the samples, on every device."""
    return shard_like(
        from_blocks(values, samples.n, samples.rows), samples.rows, axis=None
    )


def samples_at(samples: Samples, index: Int[Array, " t"]) -> Float[Array, "t d"]:
    """The samples of these numbers, relative to their mean."""
    s = mesh_size(samples.rows)
    b = samples.rows.shape[1] // s
    device, place = jnp.divmod(index, -(-samples.n // s))
    rows = samples.rows[place // b, device * b + place % b]
    return centered(shard_like(rows, samples.rows, axis=None), samples.mean)


def draw(
    samples: Samples, levels: Float[Array, "2 t"], weights: Float[Array, "m b"]
) -> Float[Array, "t d"]:
    """Draws samples in proportion to their weight: the block, then the row in it.

    The blocks are those of one device, so that as many devices draw the same samples.
    """
    m, b = _equal(samples.n, samples.block_size)
    weights = _padded(in_order(samples, weights), m * b).reshape(m, b)
    block = _reached(levels[0], weights.sum(axis=1)[None, :])
    index = block * b + _reached(levels[1], weights[block])
    # Rounding of the cumulative sums may point past the last sample.
    return samples_at(samples, jnp.minimum(index, samples.n - 1))


def _reached(
    levels: Float[Array, " t"], weights: Float[Array, "#t w"]
) -> Int[Array, " t"]:
    """Where the cumulative weight reaches a share of the total: never on a weight of 0."""
    cumulative = jnp.cumsum(weights, axis=1)
    return (cumulative < levels[:, None] * cumulative[:, -1:]).sum(axis=1)
