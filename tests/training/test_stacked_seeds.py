"""Trees of many seeds, stacked along a first axis."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dec_jax.training import many_seeds

KEYS = jax.random.split(jax.random.key(0), 3)


def test_unstack_gives_back_what_was_stacked():
    trees = [{"a": jnp.arange(3) + i, "key": key} for i, key in enumerate(KEYS)]
    stacked = many_seeds.stack(trees)
    assert many_seeds.count(stacked) == 3 and stacked["a"].shape == (3, 3)
    for tree, expected in zip(many_seeds.unstack(stacked), trees, strict=True):
        assert tree["key"] == expected["key"]
        np.testing.assert_array_equal(tree["a"], expected["a"])


def test_take_leaves_seeds_out():
    stacked = many_seeds.stack([{"a": jnp.full(2, i)} for i in range(4)])
    np.testing.assert_array_equal(
        many_seeds.take(stacked, [3, 1])["a"], [[3, 3], [1, 1]]
    )


@pytest.mark.parametrize("at_once", [1, 2, 3, 5])
def test_each_seed_gets_its_own_however_many_are_a_batch(at_once):
    a, b = jnp.arange(6.0).reshape(3, 2), jnp.arange(3.0)
    found = many_seeds._each(lambda a, b: (a.sum() + b, a), (a, b), at_once)
    np.testing.assert_array_equal(found[0], [1, 6, 11])
    np.testing.assert_array_equal(found[1], a)
