"""A training state as a checkpoint holds it."""

import chex
import jax
import jax.numpy as jnp


def saved(state):
    """The NumPy arrays that a checkpoint holds of a training state."""
    return jax.device_get(state._replace(key=jax.random.key_data(state.key)))


def restored(state):
    """The training state that `saved` took."""
    state = jax.tree.map(jnp.asarray, state)
    return state._replace(key=jax.random.wrap_key_data(state.key))


def assert_states_equal(one, other):
    """Two training states, to the last bit."""
    chex.assert_trees_all_equal(saved(one), saved(other))
