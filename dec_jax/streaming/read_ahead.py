"""Reads sources in blocks, ahead of need, in the order in which the steps take rows."""

import math
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import threefry_2x32
from jaxtyping import Array, UInt

from dec_jax.streaming.mapped_rows import MappedRows
from dec_jax.streaming.sources import Source
from dec_jax.training.minibatches import epoch_order, steps_per_epoch
from dec_jax.validation import check_positive_int, check_samples

Item = TypeVar("Item")
Made = TypeVar("Made")
# Arguments of a program of some steps: samples, weights, and p when clustering.
Batches = tuple[np.ndarray, ...]
# A shuffle by runs mixes the rows of this number of runs.
WINDOW = 64
# Random numbers that one program draws for the order of all rows.
DRAWN_AT_ONCE = 2**18


@dataclass(frozen=True)
class Reading:
    """Settings for reading a source.

    Attributes:
      block_bytes: bytes of samples that are read at once and trained on in one program; at
        least one step's. About `ahead` + 4 blocks are in memory.
      ahead: number of blocks read before they are needed, at least 1.
      run_length: 1 shuffles all rows, as the in-memory run does. Each row is then read from
        its own place, which is fast as long as the system's cache holds the file. A larger
        number, such as 256, suits larger files: each epoch shuffles runs of that many
        neighboring rows, then the rows within each 64 runs. The order takes 4 bytes for each
        run in place of each row. If neighboring rows are alike, as in a file sorted by class,
        batches are less mixed.
      scratch: folder for q and p, which take 8 k bytes a sample on disk. None is the system's
        folder for temporary files, which is in memory on some systems.

    Example:
      >>> Reading(block_bytes=2**20).ahead
      2
    """

    block_bytes: int = 2**24
    ahead: int = 2
    run_length: int = 1
    scratch: str | None = None

    def __post_init__(self) -> None:
        for name in ("block_bytes", "ahead", "run_length"):
            check_positive_int(name, getattr(self, name))


def prefetch(
    make: Callable[[Item], Made], items: Iterable[Item], ahead: int
) -> Generator[Made, None, None]:
    """Yields `make(item)` of each item in order, computed ahead in one thread.

    An error in `make` is raised when its result is due. Closing the generator ends the
    thread once its current item is done.

    Args:
      make: function called in the thread.
      items: iterated by the caller's thread, whenever a result is due.
      ahead: largest number of results that wait, at least 1.

    Yields:
      The results.

    Example:
      >>> list(prefetch(abs, [-1, -2, -3], ahead=2))
      [1, 2, 3]
    """
    items = iter(items)
    with ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(make, item) for item in islice(items, ahead))
        try:
            while waiting:
                first = waiting.popleft()
                # The next item starts once this one is done: at most `ahead` ever wait.
                made = first.result()
                del first
                waiting.extend(thread.submit(make, item) for item in islice(items, 1))
                yield made
                del made
        finally:
            for future in waiting:
                future.cancel()


def order_of(
    key: jax.Array, epoch: int, n: int, run_length: int
) -> "np.ndarray | RunOrder":
    """Draws the order in which the steps of an epoch take the rows.

    Args:
      key: a `jax.random.key`, the same for the whole phase.
      epoch: number of the epoch, from 0.
      n: number of rows.
      run_length: see `Reading`; 1 gives the order of `minibatches.minibatch_plan`.

    Returns:
      An object whose slices `order[start:stop]` are row indices, int32. Each row has one
      place.
    """
    if run_length > 1:
        return RunOrder(jax.random.fold_in(key, epoch), n, run_length)
    if _draws_by_place(key):
        return permutation(jax.random.fold_in(key, epoch), n)
    return np.asarray(_epoch_order(key, epoch, n))


_epoch_order = jax.jit(epoch_order, static_argnums=2)


class RunOrder:
    """Order of an epoch that shuffles runs of neighboring rows, then rows within 64 runs.

    Memory holds the order of the runs, and the rows of the latest window of 64 runs. A
    window is drawn from the key and its own number, so that steps can begin anywhere.

    Args:
      key: a `jax.random.key` of the epoch.
      n: number of rows; the last run has those that are left.
      run_length: number of rows of a run.
    """

    def __init__(self, key: jax.Array, n: int, run_length: int) -> None:
        self._seed = np.asarray(jax.random.key_data(key)).tolist()
        self._n, self._run_length = n, run_length
        self._runs = np.arange(-(-n // run_length), dtype=np.int32)
        self._generator(0).shuffle(self._runs)
        # The last run may lack rows. All windows after the one that it was shuffled into
        # start that much earlier.
        self._short = int(self._runs.argmax()) // WINDOW
        self._lacks = len(self._runs) * run_length - n
        self._held = (-1, np.zeros(0, np.int32))

    def __getitem__(self, places: slice) -> np.ndarray:
        """Returns the rows at consecutive places."""
        start, stop, _ = places.indices(self._n)
        parts = [np.zeros(0, np.int32)]
        while start < stop:
            window = self._window_at(start)
            first, rows = self._start_of(window), self._rows_of(window)
            parts.append(rows[start - first : stop - first])
            start = first + len(rows)
        return np.concatenate(parts)

    def _start_of(self, window: int) -> int:
        """Computes the place of a window's first row."""
        lacks = self._lacks if window > self._short else 0
        return window * WINDOW * self._run_length - lacks

    def _window_at(self, place: int) -> int:
        """Finds the window of a place."""
        # Adding the missing rows gives the place that full runs would have.
        if place >= self._start_of(self._short + 1):
            place += self._lacks
        return place // (WINDOW * self._run_length)

    def _rows_of(self, window: int) -> np.ndarray:
        """Draws the rows of a window, or returns those of the latest one."""
        if self._held[0] != window:
            runs = self._runs[window * WINDOW : (window + 1) * WINDOW, None]
            first = runs * np.int32(self._run_length)
            # Comparing with the rows that are left, not with n, cannot overflow int32.
            left = np.minimum(self._run_length, self._n - first)
            within = np.arange(self._run_length, dtype=np.int32)[None, :]
            rows = (first + within)[within < left]
            self._generator(1 + window).shuffle(rows)
            self._held = (window, rows)
        return self._held[1]

    def _generator(self, number: int) -> np.random.Generator:
        """Derives generator 0 for the order of the runs, and 1 + w for window w."""
        seed = np.random.SeedSequence(self._seed, spawn_key=(number,))
        return np.random.default_rng(seed)


def permutation(key: jax.Array, n: int) -> np.ndarray:
    """Equals `jax.random.permutation(key, n)` bit for bit, in 12 bytes a row, not 30.

    JAX sorts the rows by random bits with a stable sort, and repeats that so often that
    equal bits do not matter. Here the bits and the place of a row are one 64-bit number,
    whose plain sort is stable, and the bits are drawn block by block.

    Args:
      key: a `jax.random.key` for which `_draws_by_place` is true.
      n: number of rows.

    Returns:
      Each row once, int32.
    """
    order, drawn = np.arange(n, dtype=np.int32), np.empty(n, np.uint64)
    cuts = [slice(i, min(i + DRAWN_AT_ONCE, n)) for i in range(0, n, DRAWN_AT_ONCE)]
    # The number of sorts, and the split of the key before each, are those of JAX.
    for _ in range(math.ceil(3 * math.log(n) / math.log(2**32 - 1))):
        key, bits_key = jax.random.split(key)
        for cut in cuts:
            bits = np.asarray(_bits(bits_key, np.uint32(cut.start)))
            # Bits in the upper half decide the order, places in the lower half break ties.
            drawn[cut] = bits[: cut.stop - cut.start]
            drawn[cut] <<= np.uint64(32)
            drawn[cut] |= np.arange(cut.start, cut.stop, dtype=np.uint64)
        drawn.sort()
        # The lower half now names the place that each row comes from.
        for cut in cuts:
            drawn[cut] = order[drawn[cut] & np.uint64(2**32 - 1)]
        order[:] = drawn
    return order


def _draws_by_place(key: jax.Array) -> bool:
    """Tells whether each random number of the key depends on its place alone."""
    threefry = str(jax.random.key_impl(key)) == "threefry2x32"
    return threefry and bool(jax.config.jax_threefry_partitionable)


@jax.jit
def _bits(key: jax.Array, start: UInt[Array, ""]) -> jax.Array:
    """Draws bits `start` to `start` + DRAWN_AT_ONCE of `jax.random.bits`, below 2**32."""
    low = start + jnp.arange(DRAWN_AT_ONCE, dtype=jnp.uint32)
    counts = jnp.stack([jnp.zeros_like(low), low])
    return jnp.bitwise_xor(*threefry_2x32(jax.random.key_data(key), counts))


def batches(
    source: Source,
    key: jax.Array,
    first_step: int,
    num_steps: int,
    batch_size: int,
    *,
    reading: Reading,
    check: Callable[[np.ndarray], None],
    alongside: MappedRows | None = None,
) -> Generator[Batches, None, None]:
    """Reads the minibatches of the next steps ahead, many steps in a block.

    Args:
      source: the samples.
      key: key of the order, as `minibatches.minibatch_plan` takes it.
      first_step: number of steps taken before.
      num_steps: number of steps to come.
      batch_size: samples of a step.
      reading: settings for reading the source.
      check: function that raises an error if the samples [m, d] of a block are invalid.
      alongside: further rows, one for each sample, such as p.

    Yields:
      Samples [s, b, d], their weights [s, b] as in `minibatch_plan`, and rows of
      `alongside` [s, b, k] if given.
    """
    n, d = source.shape
    size = min(batch_size, n)
    epoch_steps = steps_per_epoch(n, size)
    at_once = max(1, reading.block_bytes // (size * d * source.dtype.itemsize))
    # Holds one order; only the reading thread asks for it, epoch after epoch.
    orders: dict[int, np.ndarray | RunOrder] = {}

    def order(epoch: int) -> np.ndarray | RunOrder:
        if epoch not in orders:
            # The old order is freed before the new one is drawn.
            orders.clear()
            orders[epoch] = order_of(key, epoch, n, reading.run_length)
        return orders[epoch]

    def load(steps: range) -> Batches:
        # A partial batch is padded by row 0 with weight 0, as in `minibatch_plan`.
        rows = np.zeros((len(steps), size), np.int32)
        weights = np.zeros((len(steps), size), np.float32)
        for place, step in enumerate(steps):
            epoch, at = divmod(step, epoch_steps)
            batch = order(epoch)[at * size : (at + 1) * size]
            rows[place, : len(batch)] = batch
            weights[place, : len(batch)] = 1 / size
        flat = rows.reshape(-1)
        x = read(source, flat)
        check(x)
        x = x.reshape(*rows.shape, d)
        if alongside is None:
            return x, weights
        return x, weights, alongside.read(flat).reshape(*rows.shape, -1)

    last = first_step + num_steps
    starts = range(first_step, last, at_once)
    pieces = (range(start, min(start + at_once, last)) for start in starts)
    return prefetch(load, pieces, reading.ahead)


def blocks(
    function: Callable[[jax.Array], Any],
    source: Source,
    *,
    reading: Reading,
    multiple: int,
    rows: np.ndarray | None = None,
) -> Iterator[Any]:
    """Applies a function to all samples, a block at a time, read ahead.

    Args:
      function: function of samples [b, d] on the device.
      source: the samples.
      reading: settings for reading the source.
      multiple: the number of rows of each block but the last is a multiple of this.
      rows: indices of the samples, in order; None is all samples.

    Yields:
      The function's value for each block in order, as NumPy arrays.
    """
    n = source.shape[0] if rows is None else len(rows)
    row_bytes = source.shape[1] * source.dtype.itemsize
    at_once = multiple * max(1, reading.block_bytes // (row_bytes * multiple))

    def load(start: int) -> np.ndarray:
        piece = slice(start, min(start + at_once, n))
        x = read(source, piece if rows is None else rows[piece])
        check_samples(x, source.name)
        return x

    with closing(prefetch(load, range(0, n, at_once), reading.ahead)) as loaded:
        for x in loaded:
            yield jax.device_get(function(jnp.asarray(x)))


def read(source: Source, rows: np.ndarray | slice) -> np.ndarray:
    """Reads rows of a source; raises ValueError if it returns another shape or dtype."""
    x = source.read(rows)
    count = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
    expected = (count, source.shape[1])
    if x.shape != expected or x.dtype != source.dtype:
        raise ValueError(
            f"{source.name}: read must return an array of shape {expected} and type "
            f"{source.dtype}, got {x.shape} and {x.dtype}."
        )
    return x


def run_blocks(
    program: Callable[..., tuple[Any, Any]],
    state: Any,
    read_ahead: Generator[Batches, None, None],
) -> tuple[Any, Any]:
    """Runs `state, out = program(state, *block)` over all blocks; joins the rows of `out`."""
    outs: list[Any] = []
    with closing(read_ahead) as loaded:
        for block in loaded:
            state, out = program(state, *map(jnp.asarray, block))
            # At most one program runs and one waits: more would only hold memory.
            outs[-1:] = jax.device_get(outs[-1:])
            outs.append(out)
    return state, jax.tree.map(lambda *parts: np.concatenate(parts), *outs)


def scratch(
    made: Iterable[np.ndarray], shape: tuple[int, int], reading: Reading
) -> MappedRows:
    """Writes float32 rows to a scratch file block by block, and maps the file.

    Args:
      made: the rows [b, k], block after block.
      shape: (n, k), the shape of all rows.
      reading: names the folder.

    Returns:
      The rows. The file has no name and is deleted with them.

    Raises:
      OSError: the folder is missing, or has no room.
    """
    folder = reading.scratch or tempfile.gettempdir()
    needed, free = 4 * shape[0] * shape[1], shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            f"The scratch folder {folder} needs {needed / 1e9:.2f} GB for "
            f"{shape[0]} x {shape[1]} numbers and has {free / 1e9:.2f} GB; name another: "
            "Reading(scratch=...)."
        )
    with tempfile.TemporaryFile(dir=folder) as file:
        for rows in made:
            file.write(np.ascontiguousarray(rows, np.float32).data)
        file.flush()
        return MappedRows(file, shape, np.dtype(np.float32))
