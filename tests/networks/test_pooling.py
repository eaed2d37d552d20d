from itertools import product

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dec_jax.networks.pooling import max_pool, pool_output_shape, unpool


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def max_pool_by_loops(x, pool_size, padding):
    (p, q), (height, width) = pool_size, x.shape[1:3]
    ends = (height, width)
    if padding == "valid":
        ends = height - height % p, width - width % q
    tops, lefts = range(0, ends[0], p), range(0, ends[1], q)
    y = np.empty((len(x), len(tops), len(lefts), x.shape[3]))
    for (i, top), (j, left) in product(enumerate(tops), enumerate(lefts)):
        y[:, i, j] = x[:, top : top + p, left : left + q].max(axis=(1, 2))
    return y


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("image", "pool_size"), [((6, 4), (2, 2)), ((7, 8), (2, 3))])
def test_max_pool_matches_loops(image, pool_size, padding):
    # Below 0, where a padding with zeros would show.
    x = draw(2, *image, 3) - 9
    found = jax.jit(max_pool, static_argnums=(1, 2))(x, pool_size, padding)
    np.testing.assert_array_equal(found, max_pool_by_loops(x, pool_size, padding))
    assert found.shape[1:3] == pool_output_shape(image, pool_size, padding)


def test_max_pool_gradient_goes_to_the_largest_and_is_shared_where_they_tie():
    x = jnp.array([[1.0, 3.0, 5.0, 5.0], [2.0, 0.0, 5.0, 4.0]]).reshape(1, 2, 4, 1)
    gradient = jax.grad(lambda x: max_pool(x, (2, 2)).sum())(x)
    third = 1 / 3
    expected = [[0, 1, third, third], [0, 0, third, 0]]
    np.testing.assert_allclose(gradient[0, :, :, 0], expected, rtol=1e-6)


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_max_pool_gradient_is_finite_on_odd_sizes(padding):
    gradient = jax.grad(lambda x: max_pool(x, (2, 2), padding).sum())(draw(1, 7, 5, 2))
    chex.assert_tree_all_finite(gradient)
    pools = {"valid": 3 * 2, "same": 4 * 3}[padding]
    np.testing.assert_allclose(gradient.sum(), 2 * pools, rtol=1e-6)


def test_unpool_repeats_the_last_row_after_valid_and_cuts_after_same():
    x = jnp.arange(4.0).reshape(1, 4, 1, 1)
    after_valid = unpool(x[:, :3], (2, 1), (7, 1))
    after_same = unpool(x, (2, 1), (7, 1))
    assert after_valid.ravel().tolist() == [0, 0, 1, 1, 2, 2, 2]
    assert after_same.ravel().tolist() == [0, 0, 1, 1, 2, 2, 3]


def test_unpool_gradient_counts_the_pixels():
    x = draw(1, 3, 1, 1)
    gradient = jax.grad(lambda x: unpool(x, (2, 3), (7, 3)).sum())(x)
    np.testing.assert_array_equal(gradient.ravel(), [6, 6, 9])


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_max_pool_undoes_unpool(padding):
    image = (7, 8)
    x = draw(2, *pool_output_shape(image, (2, 3), padding), 3)
    np.testing.assert_array_equal(
        max_pool(unpool(x, (2, 3), image), (2, 3), padding), x
    )


X = draw(2, 4, 4, 3)


def test_max_pool_rejects_a_pool_larger_than_a_valid_image():
    with pytest.raises(ValueError, match="image at least as large as the pool"):
        max_pool(X, (5, 2))


def test_max_pool_rejects_full_padding():
    with pytest.raises(ValueError, match="Unknown padding 'full'.* Known: valid, same"):
        max_pool(X, (2, 2), "full")


def test_unpool_rejects_an_output_shape_that_was_not_pooled_to_x():
    with pytest.raises(ValueError, match=r"x must have the height .* got \(4, 4\)"):
        unpool(X, (2, 2), (8, 10))


@pytest.mark.parametrize(
    "call",
    [lambda x: max_pool(x, (2, 2)), lambda x: unpool(x, (2, 2), (8, 8))],
    ids=["max_pool", "unpool"],
)
def test_each_rejects_flat_images(call):
    with pytest.raises(
        ValueError, match=r"x must be \[b, h, w, c\], got shape \(2, 48\)"
    ):
        call(X.reshape(2, -1))
