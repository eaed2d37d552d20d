import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dec_jax.parallel.row_blocks import map_blocks
from dec_jax.training.minibatches import (
    epoch_order,
    even_batch_size,
    minibatch_plan,
    scan_minibatches,
    steps_per_epoch,
)

KEY = jax.random.key(0)

# Samples and batch size: a partial batch, an exact multiple, one batch,
# fewer samples than a batch, a batch of one.
SIZES = [(23, 5), (20, 5), (5, 5), (3, 5), (4, 1)]


# One program a shape, in place of one for each operation.
compiled_plan = jax.jit(
    minibatch_plan, static_argnames=("num_steps", "n_samples", "batch_size")
)


def plan(
    first_step, num_steps, n_samples=23, batch_size=5, key=KEY, function=compiled_plan
):
    return function(
        key, first_step, num_steps=num_steps, n_samples=n_samples, batch_size=batch_size
    )


@pytest.mark.parametrize(
    "n, batch_size, steps", [(23, 5, 5), (20, 5, 4), (5, 5, 1), (3, 5, 1), (4, 1, 4)]
)
def test_steps_per_epoch_counts_the_partial_batch(n, batch_size, steps):
    assert steps_per_epoch(n, batch_size) == steps


def test_even_batches_waste_no_fifth_of_an_epoch():
    for n in range(1, 3_000):
        size = even_batch_size(n)
        steps = steps_per_epoch(n, 256)
        # As many batches as before, none larger, and a size that devices share evenly.
        assert steps_per_epoch(n, size) == steps and size <= 256 and size % 8 == 0
        assert n <= 256 or n > 0.8 * steps * size
    assert even_batch_size(300) == 152 and even_batch_size(600) == 200


@pytest.mark.parametrize("n, batch_size", SIZES)
def test_each_epoch_visits_each_sample_once(n, batch_size):
    steps = steps_per_epoch(n, batch_size)
    indices, weights = plan(0, 3 * steps, n, batch_size)
    for epoch in range(3):
        rows = slice(epoch * steps, (epoch + 1) * steps)
        visited = np.asarray(indices[rows])[np.asarray(weights[rows]) > 0]
        np.testing.assert_array_equal(np.sort(visited), np.arange(n))


@pytest.mark.parametrize("n, batch_size", SIZES)
def test_each_sample_weighs_the_same_in_an_epoch(n, batch_size):
    # The rows of a partial batch must not weigh more than others.
    indices, weights = plan(0, steps_per_epoch(n, batch_size), n, batch_size)
    total = np.zeros(n)
    np.add.at(total, np.asarray(indices), np.asarray(weights))
    np.testing.assert_allclose(total, np.full(n, 1 / min(n, batch_size)), rtol=1e-6)


def test_weights_of_a_whole_batch_sum_to_one():
    _, weights = plan(0, 5)
    np.testing.assert_allclose(weights.sum(axis=1), [1, 1, 1, 1, 3 / 5], rtol=1e-6)


def test_each_epoch_is_another_shuffle():
    # Each epoch must have other batches.
    indices, _ = plan(0, 8, n_samples=20)
    first, second = np.asarray(indices).reshape(2, 20)
    assert not np.array_equal(first, np.arange(20))
    assert not np.array_equal(first, second)


def test_plan_depends_on_the_key():
    once, again = plan(0, 5), plan(0, 5)
    other, _ = plan(0, 5, key=jax.random.key(1))
    np.testing.assert_array_equal(once[0], again[0])
    assert not np.array_equal(once[0], other)


@pytest.mark.parametrize("num_steps", [1, 5, 7])
@pytest.mark.parametrize("n", [23, 20, 3])
def test_plan_is_a_slice_of_a_longer_plan(n, num_steps):
    # Starts in one epoch, ends in it, at its end, or in a later one.
    indices, weights = plan(0, 20, n)
    part = jax.jit(lambda first: plan(first, num_steps, n))
    for first in range(20 - num_steps):
        rows = slice(first, first + num_steps)
        some_indices, some_weights = part(first)
        np.testing.assert_array_equal(some_indices, indices[rows])
        np.testing.assert_array_equal(some_weights, weights[rows])


def test_plan_is_the_same_under_jit_and_vmap():
    keys = jax.random.split(KEY, 2)
    indices, weights = jax.vmap(lambda key: plan(3, 6, key=key))(keys)
    for i in range(2):
        eager = plan(3, 6, key=keys[i], function=minibatch_plan)
        jitted = jax.jit(lambda key: plan(3, 6, key=key))(keys[i])
        for some_indices, some_weights in (eager, jitted):
            np.testing.assert_array_equal(indices[i], some_indices)
            np.testing.assert_array_equal(weights[i], some_weights)


def test_scan_minibatches_equals_a_python_loop():
    x = jnp.asarray(np.random.default_rng(0).normal(size=23), jnp.float32)

    def step(state, indices, weights):
        mean = (x[indices] * weights).sum()
        return 0.9 * state + mean, mean

    batches = plan(0, 12)
    last, means = scan_minibatches(step, jnp.zeros(()), batches)
    state, expected = jnp.zeros(()), []
    for indices, weights in zip(*batches, strict=True):
        state, mean = step(state, indices, weights)
        expected.append(mean)
    np.testing.assert_allclose(last, state, rtol=1e-5)
    np.testing.assert_allclose(means, expected, rtol=1e-5, atol=1e-6)


# Samples: a padded last block, an exact multiple, less than a block, one.
@pytest.mark.parametrize("n", [23, 20, 3, 1])
def test_map_blocks_equals_the_plain_function(n):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(n, 4)), jnp.float32)

    def function(x):
        return {"sum": x.sum(axis=1), "outer": x[:, :, None] * x[:, None, :]}

    blocks = map_blocks(function, x, block_size=5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), blocks, function(x)
    )


def test_map_blocks_keeps_the_type_of_the_samples():
    x = jnp.arange(12, dtype=jnp.uint8).reshape(6, 2)
    same = map_blocks(lambda x: x, x, block_size=4)
    assert same.dtype == jnp.uint8
    np.testing.assert_array_equal(same, x)


def test_map_blocks_holds_one_block_at_a_time():
    seen = []

    def function(x):
        seen.append(x.shape)
        return x

    map_blocks(function, jnp.zeros((23, 4)), block_size=5)
    assert set(seen) == {(5, 4)}


def test_epoch_order_is_what_the_plan_takes():
    indices, _ = plan(0, 15)
    for epoch in range(3):
        rows = np.asarray(indices)[epoch * 5 : (epoch + 1) * 5].reshape(-1)[:23]
        np.testing.assert_array_equal(epoch_order(KEY, epoch, 23), rows)
