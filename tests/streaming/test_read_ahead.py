import threading
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dec_jax.streaming import read_ahead
from dec_jax.streaming.read_ahead import (
    Reading,
    batches,
    blocks,
    order_of,
    prefetch,
    run_blocks,
)
from dec_jax.streaming.sources import ArraySource, NpySource
from dec_jax.training.minibatches import epoch_order, minibatch_plan

KEY = jax.random.key(0)
X = np.arange(23 * 3, dtype=np.uint8).reshape(23, 3)


def accept(x):
    pass


# Ahead, in one thread.


def test_prefetch_makes_each_item_in_order_in_one_other_thread():
    threads = []

    def make(item):
        threads.append(threading.get_ident())
        return 2 * item

    assert list(prefetch(make, range(20), 3)) == list(range(0, 40, 2))
    assert len(set(threads)) == 1 and threads[0] != threading.get_ident()


def test_prefetch_is_ahead_by_no_more_than_asked():
    taken = []

    def items():
        for item in range(10):
            taken.append(item)
            yield item

    made = prefetch(lambda item: item, items(), 2)
    assert taken == []
    next(made)
    assert taken == [0, 1, 2]
    next(made)
    assert taken == [0, 1, 2, 3]


def test_an_error_in_the_thread_is_raised_where_its_result_was_due():
    before = threading.active_count()
    made = prefetch(lambda item: 1 // item, [1, 1, 0, 1], 2)
    assert [next(made), next(made)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(made)
    assert threading.active_count() == before


def test_closing_ends_the_thread_and_makes_nothing_more():
    before = threading.active_count()
    made = []
    results = prefetch(made.append, range(100), 2)
    next(results)
    assert threading.active_count() == before + 1
    results.close()
    assert threading.active_count() == before
    assert len(made) <= 3


# The order of the rows.


def test_order_of_all_rows_is_that_of_the_plan():
    indices, weights = minibatch_plan(KEY, 0, num_steps=15, n_samples=23, batch_size=5)
    for epoch in range(3):
        rows = np.asarray(indices)[epoch * 5 : (epoch + 1) * 5].reshape(-1)[:23]
        np.testing.assert_array_equal(order_of(KEY, epoch, 23, 1), rows)


@pytest.mark.parametrize(
    "n", [1, 2, 1626, 600_000, pytest.param(3_000_000, marks=pytest.mark.slow)]
)
def test_permutation_is_that_of_jax(n):
    # One, two and three sorts; blocks of random numbers that are full and that are not.
    found = read_ahead.permutation(KEY, n)
    np.testing.assert_array_equal(found, jax.random.permutation(KEY, n))
    assert found.dtype == np.int32


def test_permutation_lets_equal_bits_keep_their_order(monkeypatch):
    monkeypatch.setattr(
        read_ahead, "_bits", lambda key, start: np.zeros(2**18, np.uint32)
    )
    np.testing.assert_array_equal(
        read_ahead.permutation(KEY, 300_000), np.arange(300_000)
    )


def test_order_of_all_rows_follows_other_generators_too():
    key = jax.random.key(0, impl="rbg")
    expected = epoch_order(key, 2, 1000)
    np.testing.assert_array_equal(order_of(key, 2, 1000, 1), expected)


@pytest.mark.parametrize(
    "n, run_length", [(23, 5), (20, 5), (3, 5), (1000, 2), (640, 5), (1603, 5)]
)
def test_order_of_runs_has_each_row_once(n, run_length):
    order = order_of(KEY, 0, n, run_length)[:]
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    assert order.dtype == np.int32


def test_order_of_runs_mixes_the_runs_of_a_window_only(monkeypatch):
    monkeypatch.setattr(read_ahead, "WINDOW", 4)
    order = order_of(KEY, 0, 800, 10)[:].reshape(-1, 40)
    for window in order:
        runs, counts = np.unique(window // 10, return_counts=True)
        # Four whole runs, from anywhere, their rows shuffled.
        np.testing.assert_array_equal(counts, [10] * 4)
        assert np.mean(np.diff(window) == 1) < 0.2
    assert np.ptp(order[0]) > 100


@pytest.mark.parametrize("epoch", range(6))
def test_order_of_runs_puts_the_short_run_into_any_window(epoch, monkeypatch):
    monkeypatch.setattr(read_ahead, "WINDOW", 2)
    # Three windows of two runs; 53 is three rows of the last run.
    order = order_of(KEY, epoch, 53, 10)
    whole = order[:]
    place = int(np.flatnonzero(whole >= 50)[0])
    window = place // 20
    ends = [20 * (i + 1) - 7 * (i >= window) for i in range(3)]
    np.testing.assert_array_equal(ends[-1], 53)
    for start, stop in zip([0, *ends], ends, strict=False):
        assert len(np.unique(order[start:stop] // 10)) == 2


def test_order_of_runs_is_the_same_wherever_steps_begin(monkeypatch):
    monkeypatch.setattr(read_ahead, "WINDOW", 3)
    whole = order_of(KEY, 1, 997, 5)[:]
    for start in (0, 14, 15, 500, 990, 996):
        part = order_of(KEY, 1, 997, 5)
        np.testing.assert_array_equal(part[start : start + 40], whole[start:][:40])
    # Backwards too: no window depends on those that were drawn before.
    parts = [part[i : i + 50] for i in range(950, -1, -50)]
    np.testing.assert_array_equal(np.concatenate(parts[::-1]), whole)
    assert len(part[997:1000]) == 0


def test_order_of_runs_depends_on_key_and_epoch_alone():
    first = order_of(KEY, 0, 100, 5)[:]
    np.testing.assert_array_equal(order_of(KEY, 0, 100, 5)[:], first)
    assert not np.array_equal(order_of(KEY, 1, 100, 5)[:], first)
    assert not np.array_equal(order_of(jax.random.key(1), 0, 100, 5)[:], first)


def test_order_of_runs_takes_4_bytes_a_run_and_a_window():
    order_of(KEY, 0, 1000, 2)[:]
    tracemalloc.start()
    order = order_of(KEY, 0, 2_000_000_000, 1000)
    rows = order[1_999_999_900:]
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(rows) == 100 and rows.min() >= 0
    # 8 MB of runs, windows of 64,000 rows; whole it would be 8 GB.
    assert held < 9e6 and peak < 12e6


# Batches and blocks.


@pytest.mark.parametrize("block_bytes", [1, 30, 10**6])
@pytest.mark.parametrize("first, steps, size", [(0, 5, 5), (3, 9, 5), (2, 4, 50)])
def test_batches_are_those_of_the_plan(first, steps, size, block_bytes):
    plan = minibatch_plan(KEY, first, num_steps=steps, n_samples=23, batch_size=size)
    given = Reading(block_bytes=block_bytes)
    found = list(
        batches(ArraySource(X), KEY, first, steps, size, reading=given, check=accept)
    )
    assert len(found[0][0]) == min(steps, max(1, block_bytes // (3 * min(size, 23))))
    np.testing.assert_array_equal(np.concatenate([x for x, _ in found]), X[plan[0]])
    np.testing.assert_array_equal(np.concatenate([w for _, w in found]), plan[1])


@pytest.mark.parametrize("first", range(10))
def test_batches_by_runs_are_the_same_in_one_go_and_from_any_step(first, monkeypatch):
    monkeypatch.setattr(read_ahead, "WINDOW", 2)
    settings = {"reading": Reading(block_bytes=30, run_length=3), "check": accept}
    whole = [x for x, _ in batches(ArraySource(X), KEY, 0, 10, 5, **settings)]
    later = batches(ArraySource(X), KEY, first, 10 - first, 5, **settings)
    found = np.concatenate([x for x, _ in later])
    np.testing.assert_array_equal(found, np.concatenate(whole)[first:])


def test_batches_bring_the_rows_that_go_with_the_samples(tmp_path):
    np.save(tmp_path / "q.npy", np.arange(46, dtype=np.float32).reshape(23, 2))
    q = NpySource(tmp_path / "q.npy")._rows
    ((x, _, beside),) = batches(
        ArraySource(X), KEY, 0, 5, 5, reading=Reading(), check=accept, alongside=q
    )
    assert beside.shape == (5, 5, 2)
    # Row i of X starts with 3 i, row i of q with 2 i.
    np.testing.assert_array_equal(x[..., 0] // 3, beside[..., 0] // 2)


def test_batches_are_checked_before_they_are_trained_on():
    def check(x):
        raise ValueError("no good")

    with pytest.raises(ValueError, match="no good"):
        list(batches(ArraySource(X), KEY, 0, 5, 5, reading=Reading(), check=check))


@pytest.mark.parametrize("rows", [None, np.array([22, 3, 3, 0, 7])])
def test_blocks_give_the_function_of_all_rows(rows):
    found = list(
        blocks(
            lambda x: 2 * x.astype(jnp.int32),
            ArraySource(X),
            reading=Reading(block_bytes=13),
            multiple=2,
            rows=rows,
        )
    )
    expected = 2 * X.astype(np.int32) if rows is None else 2 * X[rows].astype(np.int32)
    np.testing.assert_array_equal(np.concatenate(found), expected)
    # 13 bytes are 4 rows, a multiple of 2.
    assert [len(block) for block in found] == [4] * (len(expected) // 4) + [
        len(expected) % 4
    ]


def test_run_blocks_carries_the_state_and_joins_the_rows():
    def program(state, x, weights):
        return state + x.sum(), (x[:, 0, 0], weights[:, 0])

    found = batches(
        ArraySource(X), KEY, 0, 5, 5, reading=Reading(block_bytes=30), check=accept
    )
    state, (first, weights) = run_blocks(program, jnp.zeros((), jnp.int32), found)
    indices, expected = minibatch_plan(KEY, 0, num_steps=5, n_samples=23, batch_size=5)
    assert int(state) == int(X[indices].sum())
    np.testing.assert_array_equal(first, X[indices][:, 0, 0])
    np.testing.assert_array_equal(weights, expected[:, 0])


# What is refused.


@pytest.mark.parametrize("name", ["block_bytes", "ahead", "run_length"])
def test_reading_rejects_what_is_below_one(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        Reading(**{name: 0})


class Liar:
    name, shape, dtype = "liar", (9, 3), np.dtype(np.uint8)

    def read(self, rows):
        return np.zeros((2, 3), np.float32)


def test_blocks_rejects_a_source_that_gives_something_else():
    with pytest.raises(
        ValueError,
        match=r"liar: read must return an array of shape \(9, 3\) and type uint8, got "
        r"\(2, 3\) and float32",
    ):
        list(blocks(lambda x: x, Liar(), reading=Reading(), multiple=1))


def test_scratch_rejects_a_folder_without_room(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 4_000_000})
    monkeypatch.setattr(read_ahead.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(OSError, match=r"needs 0.04 GB for 1000000 x 10 .* has 0.00 GB"):
        read_ahead.scratch([], (1_000_000, 10), Reading(scratch=str(tmp_path)))


def test_scratch_rejects_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="none"):
        read_ahead.scratch([], (1, 1), Reading(scratch=str(tmp_path / "none")))


def test_scratch_leaves_no_file(tmp_path):
    made = [np.ones((2, 3), np.float32), np.zeros((1, 3), np.float32)]
    rows = read_ahead.scratch(made, (3, 3), Reading(scratch=str(tmp_path)))
    np.testing.assert_array_equal(rows.read(np.array([2, 0])), [[0] * 3, [1] * 3])
    assert list(tmp_path.iterdir()) == []
