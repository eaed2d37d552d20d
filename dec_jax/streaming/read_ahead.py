"""How a source is read: in blocks, ahead of need, in the order in which steps take rows."""

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

from dec_jax.streaming.sources import MappedRows, Source
from dec_jax.training.minibatches import epoch_order, steps_per_epoch
from dec_jax.validation import check_positive_int, check_samples

Item = TypeVar("Item")
Made = TypeVar("Made")
# What a program is given of a source: samples and weights of some steps, and their p.
Batches = tuple[np.ndarray, ...]
# Runs among whose rows a shuffle by runs mixes.
WINDOW = 64
# Random numbers that are drawn in one program for the order of all rows.
DRAWN_AT_ONCE = 2**18


@dataclass(frozen=True)
class Reading:
    """How a source is read.

    Attributes:
      block_bytes: samples that are read, and trained on in one program, at a time; one
        step at least. About `ahead` + 4 of them are in memory.
      ahead: blocks read before they are needed, at least 1.
      run_length: 1 shuffles all rows, as the in-memory run does: each is read from its
        own place, which is fast as long as the system's cache holds the file. More than
        1, such as 256, is for files larger than that: each epoch shuffles runs of so
        many neighboring rows, then the rows among each 64 runs, and the order takes
        4 bytes a run, not a row. Neighbors that are alike (a file sorted by class)
        then share batches.
      scratch: folder for q and p, 8 k bytes a sample on disk; None is the system's folder for
        temporary files, which is in memory on some systems.
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
    """`make(item)` of each item in order, some of them made ahead in one thread.

    An error in `make` is raised where its result was due. Closing the generator ends
    the thread, after the item that it is at.

    Args:
      make: called in the thread.
      items: looked at by the caller's thread, when there is room.
      ahead: results that may wait, at least 1.

    Yields:
      The results.
    """
    items = iter(items)
    with ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(make, item) for item in islice(items, ahead))
        try:
            while waiting:
                first = waiting.popleft()
                # Its place is taken once it is done: no more than `ahead` ever wait.
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
    """The order in which the steps of an epoch take the rows.

    Args:
      key: a `jax.random.key`, the same for the whole phase.
      epoch: its number.
      n: rows.
      run_length: see `Reading`; 1 is the order of `loop.minibatch_plan`.

    Returns:
      `order[start:stop]` are the rows at these places, int32; each row has one place.
    """
    if run_length > 1:
        return RunOrder(jax.random.fold_in(key, epoch), n, run_length)
    if _draws_by_place(key):
        return permutation(jax.random.fold_in(key, epoch), n)
    return np.asarray(_epoch_order(key, epoch, n))


_epoch_order = jax.jit(epoch_order, static_argnums=2)


class RunOrder:
    """Shuffled runs of neighboring rows, and their rows shuffled among each 64 runs.

    Held are the order of the runs and the rows of the latest window of 64 of them. A
    window is drawn from the key and its own number, so that steps can begin anywhere.

    Args:
      key: a `jax.random.key`, of the epoch.
      n: rows; the last run is what is left of them.
      run_length: rows of a run.
    """

    def __init__(self, key: jax.Array, n: int, run_length: int) -> None:
        self._seed = np.asarray(jax.random.key_data(key)).tolist()
        self._n, self._run_length = n, run_length
        self._runs = np.arange(-(-n // run_length), dtype=np.int32)
        self._generator(0).shuffle(self._runs)
        # The windows after that of the short run start as much earlier as it lacks.
        self._short = int(self._runs.argmax()) // WINDOW
        self._lacks = len(self._runs) * run_length - n
        self._held = (-1, np.zeros(0, np.int32))

    def __getitem__(self, places: slice) -> np.ndarray:
        """The rows at these places, of step 1."""
        start, stop, _ = places.indices(self._n)
        parts = [np.zeros(0, np.int32)]
        while start < stop:
            window = self._window_at(start)
            first, rows = self._start_of(window), self._rows_of(window)
            parts.append(rows[start - first : stop - first])
            start = first + len(rows)
        return np.concatenate(parts)

    def _start_of(self, window: int) -> int:
        """The place of its first row."""
        lacks = self._lacks if window > self._short else 0
        return window * WINDOW * self._run_length - lacks

    def _window_at(self, place: int) -> int:
        if place >= self._start_of(self._short + 1):
            place += self._lacks
        return place // (WINDOW * self._run_length)

    def _rows_of(self, window: int) -> np.ndarray:
        if self._held[0] != window:
            runs = self._runs[window * WINDOW : (window + 1) * WINDOW, None]
            first = runs * np.int32(self._run_length)
            # Counted from the end: places past the last row may not fit int32.
            left = np.minimum(self._run_length, self._n - first)
            within = np.arange(self._run_length, dtype=np.int32)[None, :]
            rows = (first + within)[within < left]
            self._generator(1 + window).shuffle(rows)
            self._held = (window, rows)
        return self._held[1]

    def _generator(self, number: int) -> np.random.Generator:
        seed = np.random.SeedSequence(self._seed, spawn_key=(number,))
        return np.random.default_rng(seed)


def permutation(key: jax.Array, n: int) -> np.ndarray:
    """`jax.random.permutation(key, n)`, bit for bit, in 12 bytes a row instead of 30.

    As there, rows are sorted by random bits, stably and as often as makes equal bits
    harmless; here place and bits are one number, and the bits are drawn block by block.

    Args:
      key: a `jax.random.key` of which `_draws_by_place` is true.
      n: rows.

    Returns:
      Each row once, int32.
    """
    order, drawn = np.arange(n, dtype=np.int32), np.empty(n, np.uint64)
    cuts = [slice(i, min(i + DRAWN_AT_ONCE, n)) for i in range(0, n, DRAWN_AT_ONCE)]
    for _ in range(math.ceil(3 * math.log(n) / math.log(2**32 - 1))):
        key, bits_key = jax.random.split(key)
        for cut in cuts:
            bits = np.asarray(_bits(bits_key, np.uint32(cut.start)))
            drawn[cut] = bits[: cut.stop - cut.start]
            drawn[cut] <<= np.uint64(32)
            drawn[cut] |= np.arange(cut.start, cut.stop, dtype=np.uint64)
        drawn.sort()
        for cut in cuts:
            drawn[cut] = order[drawn[cut] & np.uint64(2**32 - 1)]
        order[:] = drawn
    return order


def _draws_by_place(key: jax.Array) -> bool:
    """Whether each of the key's random numbers comes from its place alone."""
    threefry = str(jax.random.key_impl(key)) == "threefry2x32"
    return threefry and bool(jax.config.jax_threefry_partitionable)


@jax.jit
def _bits(key: jax.Array, start: UInt[Array, ""]) -> jax.Array:
    """The next bits of `jax.random.bits` from a place on, below 2**32."""
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
    beside: MappedRows | None = None,
) -> Generator[Batches, None, None]:
    """The minibatches of the next steps, many steps in a block, read ahead.

    Args:
      source: the samples.
      key: of the order, as `loop.minibatch_plan` takes it.
      first_step: steps taken before.
      num_steps: steps to come.
      batch_size: samples in a step.
      reading: how the source is read.
      check: raises where the samples [m, d] of a block are no good.
      beside: rows that go with the samples.

    Yields:
      Samples [s, b, d], their weights [s, b] as in `minibatch_plan`, and `beside` [s, b, k].
    """
    n, d = source.shape
    size = min(batch_size, n)
    epoch_steps = steps_per_epoch(n, size)
    at_once = max(1, reading.block_bytes // (size * d * source.dtype.itemsize))
    # The thread alone asks for it, in the order of the epochs.
    orders: dict[int, np.ndarray | RunOrder] = {}

    def order(epoch: int) -> np.ndarray | RunOrder:
        if epoch not in orders:
            # The old order goes before the new one comes.
            orders.clear()
            orders[epoch] = order_of(key, epoch, n, reading.run_length)
        return orders[epoch]

    def load(steps: range) -> Batches:
        # Padding is row 0 with weight 0, as in the plan.
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
        if beside is None:
            return x, weights
        return x, weights, beside.read(flat).reshape(*rows.shape, -1)

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
    """`function` of all samples, a block at a time, read ahead, as NumPy arrays.

    Args:
      function: of samples [b, d] on the device.
      source: the samples.
      reading: how the source is read.
      multiple: blocks have a multiple of so many rows, but for the last.
      rows: which samples, in this order; None is all.

    Yields:
      What `function` gives for each block, in order.
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
    """What the source says it has there, or an error that names the source."""
    x = source.read(rows)
    count = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
    expected = (count, source.shape[1])
    if x.shape != expected or x.dtype != source.dtype:
        raise ValueError(
            f"{source.name}: read must give an array of shape {expected} and type "
            f"{source.dtype}, got {x.shape} and {x.dtype}."
        )
    return x


def run_blocks(
    program: Callable[..., tuple[Any, Any]],
    state: Any,
    read_ahead: Generator[Batches, None, None],
) -> tuple[Any, Any]:
    """`state, out = program(state, *block)` over all blocks; the rows of all `out`."""
    outs: list[Any] = []
    with closing(read_ahead) as loaded:
        for block in loaded:
            state, out = program(state, *map(jnp.asarray, block))
            # One program works, one waits; more would only hold memory.
            outs[-1:] = jax.device_get(outs[-1:])
            outs.append(out)
    return state, jax.tree.map(lambda *parts: np.concatenate(parts), *outs)


def scratch(
    made: Iterable[np.ndarray], shape: tuple[int, int], reading: Reading
) -> MappedRows:
    """Float32 rows, written to a file as they are made, and then mapped.

    Args:
      made: the rows [b, k], block after block.
      shape: (n, k), of all of them.
      reading: says in which folder.

    Returns:
      The rows; the file has no name and is gone with them.

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
