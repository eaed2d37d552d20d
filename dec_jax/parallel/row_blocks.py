"""Rows in blocks, of which one is computed with at a time.

Rows that are sharded over devices stay on them: a block holds the same number of rows of each
device, so that all devices work on it.
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

# Rows that are embedded at once when all data pass through the network.
BLOCK_SIZE = 2048


def to_blocks(
    rows: Shaped[Array, "n ..."], block_size: int, like: Array
) -> Shaped[Array, "m b ..."]:
    """Cuts rows into blocks, the last of them padded with zeros.

    Args:
      rows: one row a sample.
      block_size: rows of a block on each device.
      like: the samples over whose devices the rows are sharded.

    Returns:
      m blocks. On one device the rows stay in order. On s devices, a block consists of the
      next `block_size` rows of the first device, then of the second, and so on.
    """
    # Each of the s devices holds `share` consecutive rows, hence blocks are cut per device.
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
    """Undoes `to_blocks`.

    Args:
      blocks: blocks of `to_blocks`, or values computed from each of their rows.
      n: number of rows without the padding.
      like: the samples over whose devices the rows are sharded.

    Returns:
      One row a sample, in the order of the samples.
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

    Memory is that of one block, however many rows there are. The last block is padded, and
    the results of the padding are dropped.

    Args:
      function: maps rows to an array, or a tree of arrays, with one row for each.
      x: all rows.
      block_size: rows of a block on each device.

    Returns:
      The value of `function(x)`.

    Example:
      >>> map_blocks(lambda rows: rows.sum(axis=1), jnp.ones((5, 3)), block_size=2)
      Array([3., 3., 3., 3., 3.], dtype=float32)
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
    """Samples in m blocks of b rows, of any numeric dtype; the last block is padded."""

    rows: Real[Array, "m b d"]
    real: Bool[Array, "m b"]  # False on the padding
    mean: Float[Array, " d"]  # subtracted from each block when it is read
    n: int  # samples without the padding
    block_size: int  # largest number of rows of a block on each device


def in_blocks(z: Real[Array, "n d"], block_size: int) -> Samples:
    """Cuts samples into equal blocks of at most `block_size` rows on each device."""
    n, d = z.shape
    b = _equal(-(-n // mesh_size(z)), block_size)[1]
    real = to_blocks(jnp.ones(n, bool), b, z)
    # Summing differences to the first row keeps the mean exact far from the origin.
    first = z[0].astype(jnp.float32)
    samples = Samples(to_blocks(z, b, z), real, first, n, block_size)
    total = sum_over_blocks(samples, jnp.zeros(d), _block_total)
    return dataclasses.replace(samples, mean=first + total / n)


def _equal(n: int, block_size: int) -> tuple[int, int]:
    """Computes the number of equal blocks of at most `block_size` rows, and their rows."""
    m = -(-n // block_size)
    return m, -(-n // m)


def _block_total(x: Array, real: Array) -> Float[Array, " d"]:
    return jnp.where(real[:, None], x, 0).sum(axis=0)


def centered(rows: Real[Array, "b d"], mean: Float[Array, " d"]) -> Float[Array, "b d"]:
    """Converts rows to float32, relative to the mean of the samples."""
    return (rows - mean[None, :]).astype(jnp.float32)


def sum_over_blocks(
    samples: Samples, zero: Any, f: Callable[..., Any], *more: Array
) -> Any:
    """Adds up `f(x, real, ...)` over the blocks, one at a time."""
    body = partial(_add_block, f, samples.mean)
    return lax.scan(body, zero, (samples.rows, samples.real, *more))[0]


def _add_block(
    f: Callable[..., Any], mean: Array, total: Any, block: Any
) -> tuple[Any, None]:
    rows, *rest = block
    return jax.tree.map(jnp.add, total, f(centered(rows, mean), *rest)), None


def in_order(samples: Samples, values: Shaped[Array, "m b"]) -> Shaped[Array, " n"]:
    """Puts one value a sample into the order of the samples, on every device."""
    return shard_like(
        from_blocks(values, samples.n, samples.rows), samples.rows, axis=None
    )


def samples_at(samples: Samples, index: Int[Array, " t"]) -> Float[Array, "t d"]:
    """Gathers the samples with these indices, relative to the mean."""
    s = mesh_size(samples.rows)
    b = samples.rows.shape[1] // s
    # Sample i is on device i // share, at place i % share of its rows.
    device, place = jnp.divmod(index, -(-samples.n // s))
    rows = samples.rows[place // b, device * b + place % b]
    return centered(shard_like(rows, samples.rows, axis=None), samples.mean)


def draw(
    samples: Samples, levels: Float[Array, "2 t"], weights: Float[Array, "m b"]
) -> Float[Array, "t d"]:
    """Draws t samples in proportion to their weights: first a block, then a row in it.

    The blocks are those of a single device, so that any number of devices draws the same
    samples.
    """
    m, b = _equal(samples.n, samples.block_size)
    weights = _padded(in_order(samples, weights), m * b).reshape(m, b)
    block = _reached(levels[0], weights.sum(axis=1)[None, :])
    index = block * b + _reached(levels[1], weights[block])
    # Rounding of the cumulative sums may give an index past the last sample.
    return samples_at(samples, jnp.minimum(index, samples.n - 1))


def _reached(
    levels: Float[Array, " t"], weights: Float[Array, "#t w"]
) -> Int[Array, " t"]:
    """Finds where cumulative weights reach shares of the total; never at a weight of 0."""
    cumulative = jnp.cumsum(weights, axis=1)
    return (cumulative < levels[:, None] * cumulative[:, -1:]).sum(axis=1)
