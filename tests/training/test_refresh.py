from dataclasses import replace
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_training
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from tiny_training import KEY, METHODS, TINY, by_method
from training_state import restored, saved

from dec_jax.networks.autoencoder import encode, init_params
from dec_jax.objectives import DCN
from dec_jax.training.cluster import train
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.refresh import keep_labels, refresh_targets, reseed_clusters

CONFIG = replace(tiny_training.CONFIG, max_intervals=6, reseed_below=0.1)
# So large a share that some of twelve clusters are moved at every refresh.
RESTLESS = replace(CONFIG, reseed_below=0.7)
state_of = partial(tiny_training.state_of, config=CONFIG)
settings = partial(tiny_training.settings, config=CONFIG)
run = partial(tiny_training.run, config=CONFIG)


@pytest.fixture(scope="module")
def with_far(start):
    """Six centroids, of which two are so far away that nobody is near."""
    params, centroids, labels = start
    far = jnp.full((1, 3), 1e4)
    return params, jnp.concatenate([far, centroids, -far]), labels + 1


def reseeded(state, z, labels, objective=METHODS[0], below=0.1):
    move = jax.jit(reseed_clusters, static_argnames=("below", "objective"))
    return move(state, z, labels, below=below, objective=objective)


def rows_of(points, z):
    """The index in `z` of each point; fails unless it is one of its rows."""
    points, z = np.asarray(points), np.asarray(z)
    found = [np.flatnonzero((z == point).all(axis=1)) for point in points]
    assert all(len(rows) == 1 for rows in found)
    return [int(rows[0]) for rows in found]


# What moves, and where to.


def test_empty_clusters_start_again_on_samples_of_the_largest(x, with_far):
    state = state_of(with_far)
    z = encode(state.params, x, architecture=TINY)
    labels = state.labels.at[:150].set(2)
    moved, count = reseeded(state, z, labels)
    before, after = state.params["centroids"], moved.params["centroids"]
    assert int(count) == 2
    np.testing.assert_array_equal(after[1:5], before[1:5])
    first, second = rows_of(after[jnp.array([0, 5])], z)
    assert first != second
    assert labels[first] == labels[second] == 2


@pytest.mark.parametrize("below, expected", [(0.2, 0), (0.21, 1), (0.48, 1), (0.49, 2)])
def test_clusters_below_the_share_of_the_mean_size_move(x, start, below, expected):
    # 8 clusters of 200 samples: 5 and 12 are 0.2 and 0.48 of the mean, 25.
    params, _, _ = start
    z = encode(params, x, architecture=TINY)
    sizes = [31, 31, 31, 30, 30, 30, 12, 5]
    labels = jnp.asarray(np.repeat(np.arange(8), sizes), jnp.int32)
    _, count = reseeded(state_of((params, z[:8], labels)), z, labels, below=below)
    assert int(count) == expected


def test_more_clusters_than_the_largest_has_samples_get_one_each(x, start):
    params, _, _ = start
    z = encode(params, x[:12], architecture=TINY)
    # 10 clusters: three of 4 samples, seven of none.
    labels = jnp.asarray(np.arange(12) % 3, jnp.int32)
    state = state_of((params, z[:10], labels))
    moved, count = reseeded(state, z, labels)
    assert int(count) == 7
    rows = rows_of(moved.params["centroids"][3:], z)
    assert len(set(rows)) == 7
    # The largest, the first of equals, gives all of its own.
    assert {0, 3, 6, 9} <= set(rows)


def test_another_step_draws_other_samples(x, with_far):
    state = state_of(with_far)
    z = encode(state.params, x, architecture=TINY)
    one, again, other = (
        reseeded(state._replace(step=jnp.int32(step)), z, state.labels)[0]
        for step in (0, 0, 5)
    )
    first, same, later = (s.params["centroids"] for s in (one, again, other))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first[0], later[0])


# What is forgotten, and what is not.


@pytest.mark.parametrize("name", ["sgd", "nesterov", "adam"])
def test_moments_of_the_moved_centroid_alone_are_cleared(x, with_far, name):
    optimizer = Optimizer(name, 0.1, weight_decay=1e-3)
    state = state_of(with_far, config=replace(CONFIG, optimizer=optimizer))
    state = state._replace(opt_state=jax.tree.map(jnp.ones_like, state.opt_state))
    z = encode(state.params, x, architecture=TINY)
    after = reseeded(state, z, state.labels)[0].opt_state
    cleared = [leaf for leaf in jax.tree.leaves(after) if not (leaf == 1).all()]
    # One momentum, or two moments.
    assert len(cleared) == (2 if name == "adam" else 1)
    for leaf in cleared:
        np.testing.assert_array_equal(leaf[:, 0], [0, 1, 1, 1, 1, 0])


def test_dcn_counts_from_the_beginning_again(x, with_far):
    objective = DCN(initial_count=10.0)
    state = state_of(with_far, objective)
    params = {**state.params, "counts": jnp.full(6, 300.0)}
    z = encode(params, x, architecture=TINY)
    moved, _ = reseeded(state._replace(params=params), z, state.labels, objective)
    np.testing.assert_array_equal(moved.params["counts"], [10, 300, 300, 300, 300, 10])


# In training.


@by_method
def test_training_brings_an_empty_cluster_back(x, with_far, objective):
    left = run(with_far, x, objective, config=replace(CONFIG, reseed_below=0.0))
    assert (left.history.cluster_sizes[:, [0, 5]] == 0).all()
    np.testing.assert_array_equal(left.history.reseeded, np.zeros(6))
    brought = run(with_far, x, objective)
    assert brought.history.reseeded[0] == 2
    assert (brought.history.cluster_sizes[0] > 0).all()
    assert np.bincount(brought.labels, minlength=6).min() > 0
    chex.assert_tree_all_finite((brought.state.params, brought.q))


def test_p_and_labels_are_those_of_the_moved_centroids(x, with_far):
    state = refresh_targets(state_of(with_far), x, **settings())
    off = settings(config=replace(CONFIG, reseed_below=0.0))
    again = refresh_targets(state, x, **off)
    np.testing.assert_allclose(state.targets, again.targets, atol=1e-6)
    np.testing.assert_array_equal(state.labels, again.labels)


def test_a_refresh_that_moved_a_cluster_never_ends_training(x, with_far):
    # Nine in ten labels may change: any later refresh would end it.
    config = replace(CONFIG, tolerance=0.9)
    state = state_of(with_far, config=config)._replace(step=jnp.int32(5))
    assert not refresh_targets(state, x, **settings(config=config)).converged
    off = settings(config=replace(config, reseed_below=0.0))
    assert refresh_targets(state, x, **off).converged


def test_a_first_step_may_end_training_where_no_cluster_was_moved(start):
    state = state_of(start)
    kept = partial(keep_labels, labels=state.labels, change=jnp.zeros(()))
    config = replace(CONFIG, tolerance=0.9)
    assert kept(state._replace(step=jnp.int32(1)), config=config).converged
    assert not kept(state, config=config).converged
    moved = kept(state._replace(step=jnp.int32(1)), reseeded=1, config=config)
    assert not moved.converged


@pytest.fixture(scope="module")
def twelve(x):
    """The first twelve samples as centroids."""
    params = init_params(KEY, TINY)
    z = encode(params, x, architecture=TINY)
    return params, z[:12], jnp.zeros(200, jnp.int32)


@pytest.fixture(scope="module")
def restless(x, twelve):
    """A run in which clusters are moved until its end, and the state after each interval."""
    states = []
    result = run(
        twelve, x, config=RESTLESS, on_interval=lambda s, _: states.append(saved(s))
    )
    assert (result.history.reseeded[1:] > 0).sum() >= 3
    return result, states


@pytest.mark.parametrize("intervals_per_call", [5, 6])
def test_many_intervals_at_once_equal_one_at_a_time(
    restless, x, twelve, intervals_per_call
):
    at_once = run(twelve, x, config=RESTLESS, intervals_per_call=intervals_per_call)
    chex.assert_trees_all_equal(saved(at_once.state), saved(restless[0].state))
    chex.assert_trees_all_equal(at_once.history, restless[0].history)


@pytest.mark.parametrize("interval", [1, 3])
def test_resuming_equals_the_unbroken_run(restless, x, interval):
    result, states = restless
    assert result.history.reseeded[interval:].sum() > 0
    resumed = train(restored(states[interval - 1]), x, **settings(config=RESTLESS))
    chex.assert_trees_all_equal(saved(resumed.state), saved(result.state))


@by_method
def test_four_devices_move_what_one_device_moves(x, with_far, objective):
    state = state_of(with_far, objective)
    one = refresh_targets(state, x, **settings(objective))
    mesh = Mesh(np.array(jax.devices()), ("data",))
    spread = NamedSharding(mesh, PartitionSpec("data"))
    state = jax.device_put(state, NamedSharding(mesh, PartitionSpec()))
    state = state._replace(
        labels=jax.device_put(state.labels, spread),
        targets=jax.device_put(state.targets, spread),
    )
    refresh = jax.jit(partial(refresh_targets, **settings(objective)))
    four = refresh(state, jax.device_put(x, spread))
    chex.assert_trees_all_close(
        saved(four)._asdict(), saved(one)._asdict(), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_array_equal(four.labels, one.labels)
