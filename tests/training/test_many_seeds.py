from dataclasses import replace
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_training
from tiny_training import CONFIG, METHODS, NAMES, TINY
from training_state import restored, saved

from dec_jax.clustering.kmeans import k_means
from dec_jax.networks.architecture import Architecture, Conv2D, Dense
from dec_jax.networks.autoencoder import encode
from dec_jax.objectives import DEC, IDEC
from dec_jax.objectives.reconstruction import MeanReconstruction, Reconstruction
from dec_jax.objectives.vade import VaDE
from dec_jax.parallel import sharding
from dec_jax.training import many_seeds
from dec_jax.training.cluster import train
from dec_jax.training.loop import STOPPED
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.pretrain import PretrainConfig, pretrain_end_to_end
from dec_jax.training.state import init_state

KEYS = jax.random.split(jax.random.key(0), 3)
# The same settings wherever they will do: what takes time here is compiling.
PRETRAIN = PretrainConfig(epochs=3, batch_size=64)
TRAIN = replace(CONFIG, tolerance=1e-4)
settings = partial(tiny_training.settings, config=TRAIN)
# One seed after the other, and all as one batch.
by_batch = pytest.mark.parametrize("at_once", [1, 3])


def pretrained_alone(key, x, config=PRETRAIN, architecture=TINY):
    return pretrain_end_to_end(key, x, architecture=architecture, config=config)


def starts(networks, x, *, architecture, objective=METHODS[0], config=TRAIN):
    """The states from which as many runs as there are networks cluster."""
    found = []
    for key, params in zip(KEYS, networks, strict=True):
        z = encode(params, x, architecture=architecture)
        clusters = k_means(key, z, 4, n_init=2)
        start = (params, clusters.centroids, clusters.labels)
        found.append(init_state(key, *start, objective=objective, config=config))
    return found


@pytest.fixture(scope="module")
def alone(x):
    """Parameters and losses of each seed, pretrained on its own."""
    return [pretrained_alone(key, x) for key in KEYS]


@pytest.fixture(scope="module")
def states(alone, x):
    """The states from which the three seeds cluster by DEC."""
    return starts([params for params, _ in alone], x, architecture=TINY)


@pytest.fixture(scope="module")
def whole(states, x):
    """The results of the three seeds, each on its own."""
    return [train(state, x, **settings()) for state in states]


@pytest.fixture
def one_ends_early(states, whole):
    """The second state knows the labels that it would find."""
    ended = whole[1]
    second = states[1]._replace(
        params=ended.state.params,
        labels=jnp.asarray(ended.labels),
        step=jnp.asarray(TRAIN.update_interval, jnp.int32),
    )
    return [states[0], second, states[2]]


def assert_same_bits(found, expected):
    """Two results of training, to the last bit."""
    chex.assert_trees_all_equal(saved(found.state), saved(expected.state))
    chex.assert_trees_all_equal(found.history, expected.history)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.q, expected.q)
    np.testing.assert_array_equal(found.centroids, expected.centroids)
    assert found.n_steps == expected.n_steps
    assert found.stop_reason == expected.stop_reason


def assert_same_but_for_rounding(found, expected):
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.q, expected.q, rtol=1e-3, atol=1e-4)
    chex.assert_trees_all_close(found.history, expected.history, rtol=1e-3, atol=1e-5)
    assert found.n_steps == expected.n_steps
    assert found.stop_reason == expected.stop_reason


# Pretraining.


def test_pretrain_gives_each_seed_what_it_has_alone(alone, x):
    params, histories = many_seeds.pretrain(KEYS, x, architecture=TINY, config=PRETRAIN)
    for own, history, (expected, losses) in zip(
        many_seeds.unstack(params), histories, alone, strict=True
    ):
        chex.assert_trees_all_equal(own, expected)
        np.testing.assert_array_equal(history.loss, losses.loss)
        assert np.isnan(history.validation).all()


def test_pretrain_at_once_differs_by_rounding_alone(alone, x):
    params, histories = many_seeds.pretrain(
        KEYS, x, architecture=TINY, config=PRETRAIN, at_once=3
    )
    for own, history, (expected, losses) in zip(
        many_seeds.unstack(params), histories, alone, strict=True
    ):
        chex.assert_trees_all_close(own, expected, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(history.loss, losses.loss, rtol=1e-4)


@pytest.mark.slow
def test_pretrain_stops_each_seed_by_its_own_patience(x):
    config = PretrainConfig(
        epochs=12, batch_size=64, optimizer=Optimizer("adam", 0.05), patience=1
    )
    params, histories = many_seeds.pretrain(
        KEYS, x, architecture=TINY, config=config, at_once=3
    )
    alone = [pretrained_alone(key, x, config) for key in KEYS]
    lengths = [len(losses.loss) for _, losses in alone]
    # Else nothing here ends before another.
    assert len(set(lengths)) > 1
    assert [len(history.loss) for history in histories] == lengths
    for own, (expected, _) in zip(many_seeds.unstack(params), alone, strict=True):
        chex.assert_trees_all_close(own, expected, rtol=1e-2, atol=1e-3)


@by_batch
def test_pretrain_goes_on_where_it_stopped(x, at_once):
    options = {"architecture": TINY, "config": PRETRAIN, "at_once": at_once}
    whole, histories = many_seeds.pretrain(KEYS, x, **options)
    kept = []

    def stop(states, rows):
        kept.append(saved(states))
        assert [row.loss for row in rows] == [h.loss[0] for h in histories]
        return True

    many_seeds.pretrain(KEYS, x, on_epoch=stop, **options)
    params, rest = many_seeds.pretrain(KEYS, x, states=restored(kept[0]), **options)
    chex.assert_trees_all_equal(params, whole)
    for part, history in zip(rest, histories, strict=True):
        np.testing.assert_array_equal(part.loss, history.loss[1:])


@by_batch
def test_pretrain_keeps_what_is_not_finite_to_its_seed(x, at_once):
    options = {"architecture": TINY, "config": PRETRAIN, "at_once": at_once}
    kept = []
    whole, histories = many_seeds.pretrain(
        KEYS, x, on_epoch=lambda states, _: kept.append(saved(states)), **options
    )
    first = restored(kept[0])
    bias = first.params["encoder"]["dense_0"]["bias"]
    # Finite itself; the loss is not.
    first.params["encoder"]["dense_0"]["bias"] = bias.at[1].set(1e38)
    seen = []

    def look(states, rows):
        seen.append([row is None for row in rows])

    params, rest = many_seeds.pretrain(KEYS, x, states=first, on_epoch=look, **options)
    assert seen == [[False] * 3, [False, True, False]]
    assert len(rest[1].loss) == 1 and not np.isfinite(rest[1].loss[0])
    for seed in (0, 2):
        chex.assert_trees_all_equal(
            many_seeds.take(params, seed), many_seeds.take(whole, seed)
        )
        np.testing.assert_array_equal(rest[seed].loss, histories[seed].loss[1:])


def test_pretrain_rejects_losses_of_which_none_is_finite(x):
    message = (
        "losses of all 3 seeds are no longer finite after epoch 1; lower the learn"
    )
    with pytest.raises(FloatingPointError, match=message):
        many_seeds.pretrain(KEYS, 1e30 * x, architecture=TINY, config=PRETRAIN)


# Clustering.


def test_train_gives_each_seed_the_result_that_it_has_alone(states, whole, x):
    found = many_seeds.train(many_seeds.stack(states), x, **settings())
    for result, expected in zip(found, whole, strict=True):
        assert_same_bits(result, expected)


@pytest.mark.slow
@pytest.mark.parametrize("objective", METHODS[1:], ids=NAMES[1:])
def test_train_by_other_methods_equals_training_alone(alone, x, objective):
    networks = [params for params, _ in alone]
    # Programs of one seed are those of test_cluster.py.
    options = settings(objective, config=CONFIG)
    states = starts(networks, x, **options)
    found = many_seeds.train(many_seeds.stack(states), x, **options)
    for result, state in zip(found, states, strict=True):
        assert_same_bits(result, train(state, x, **options))


def test_train_at_once_differs_by_rounding_alone(states, whole, x):
    found = many_seeds.train(many_seeds.stack(states), x, at_once=3, **settings())
    for result, expected in zip(found, whole, strict=True):
        assert_same_but_for_rounding(result, expected)


@pytest.mark.slow
def test_train_keeps_the_sizes_of_each_seed(states, x):
    # Each seed takes as many turns of scaling as it needs alone.
    config = replace(TRAIN, keep_cluster_sizes=True, max_intervals=2)
    found = many_seeds.train(
        many_seeds.stack(states), x, at_once=3, **settings(config=config)
    )
    for result, state in zip(found, states, strict=True):
        expected = train(state, x, **settings(config=config))
        assert_same_but_for_rounding(result, expected)
        np.testing.assert_allclose(result.state.shares, expected.state.shares)


NETWORKS = {
    "batch-norm": (replace(TINY, batch_norm=True), Reconstruction(), IDEC()),
    "convolution": (
        Architecture(
            (4, 2, 1), (Conv2D(3, (2, 2)), Dense(3, "linear")), batch_norm=True
        ),
        Reconstruction(),
        DEC(),
    ),
    "vade": (replace(TINY, variational=True), MeanReconstruction(), VaDE()),
}


def pretrained_at_once(x, network):
    """The networks of three seeds, each as it comes out alone but for rounding."""
    architecture, loss, _ = NETWORKS[network]
    # Adam would make steps of the rounding of gradients that are 0.
    config = replace(PRETRAIN, objective=loss, optimizer=Optimizer("sgd", 0.01))
    params, _ = many_seeds.pretrain(
        KEYS, x, architecture=architecture, config=config, at_once=3
    )
    networks = many_seeds.unstack(params)
    for key, own in zip(KEYS, networks, strict=True):
        expected, _ = pretrained_alone(key, x, config, architecture)
        chex.assert_trees_all_close(own, expected, rtol=1e-3, atol=1e-4)
    return networks


@pytest.mark.slow
def test_pretrain_normalizes_each_seed_by_its_own_batches(x):
    networks = pretrained_at_once(x, "batch-norm")
    assert all("batch_stats" in params for params in networks)


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_train_of_other_networks_at_once_differs_by_rounding_alone(x, network):
    architecture, _, objective = NETWORKS[network]
    options = settings(
        objective, config=replace(TRAIN, max_intervals=2), architecture=architecture
    )
    states = starts(pretrained_at_once(x, network), x, **options)
    found = many_seeds.train(many_seeds.stack(states), x, at_once=3, **options)
    for result, state in zip(found, states, strict=True):
        assert_same_but_for_rounding(result, train(state, x, **options))


@pytest.mark.parametrize(("at_once", "intervals_per_call"), [(1, 3), (3, 1)])
def test_train_leaves_a_seed_that_converged_as_it_is(
    one_ends_early, whole, x, at_once, intervals_per_call
):
    ended = train(one_ends_early[1], x, **settings())
    expected = [whole[0], ended, whole[2]]
    lengths = [len(result.history.loss) for result in expected]
    assert lengths[1] == 1 and min(lengths[0], lengths[2]) > 1
    found = many_seeds.train(
        many_seeds.stack(one_ends_early),
        x,
        at_once=at_once,
        intervals_per_call=intervals_per_call,
        **settings(),
    )
    for result, one in zip(found, expected, strict=True):
        assert_same_but_for_rounding(result, one)
    chex.assert_trees_all_equal(found[1].state.params, one_ends_early[1].params)


@by_batch
def test_train_keeps_what_is_not_finite_to_its_seed(states, x, at_once):
    whole = many_seeds.train(many_seeds.stack(states), x, at_once=at_once, **settings())
    broken = states[1].params | {"centroids": jnp.full((4, 3), jnp.nan)}
    three = [states[0], states[1]._replace(params=broken), states[2]]
    found = many_seeds.train(many_seeds.stack(three), x, at_once=at_once, **settings())
    assert found[1].stop_reason.startswith("training failed: the centroids are")
    assert len(found[1].history.loss) == 0
    for seed in (0, 2):
        assert_same_bits(found[seed], whole[seed])


@by_batch
def test_train_goes_on_where_it_stopped(states, x, at_once):
    options = {"at_once": at_once, **settings()}
    stacked = many_seeds.stack(states)
    whole = many_seeds.train(stacked, x, **options)
    kept = []

    def stop_at_two(states, rows):
        kept.append(saved(states))
        return len(kept) == 2

    first = many_seeds.train(stacked, x, on_interval=stop_at_two, **options)
    assert {result.stop_reason for result in first} == {STOPPED}
    rest = many_seeds.train(restored(kept[1]), x, **options)
    for before, after, unbroken in zip(first, rest, whole, strict=True):
        chex.assert_trees_all_equal(saved(after.state), saved(unbroken.state))
        loss = np.concatenate([before.history.loss, after.history.loss])
        np.testing.assert_array_equal(loss, unbroken.history.loss)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(stacked))


def test_train_ends_a_seed_that_is_ahead_before_the_others(states, whole, x):
    ahead = train(states[0], x, on_interval=lambda *_: True, **settings())
    found = many_seeds.train(
        many_seeds.stack([ahead.state, *states[1:]]),
        x,
        intervals_per_call=3,
        **settings(),
    )
    assert [len(result.history.loss) for result in found] == [3, 4, 4]
    chex.assert_trees_all_equal(saved(found[0].state), saved(whole[0].state))
    for result, expected in zip(found[1:], whole[1:], strict=True):
        assert_same_bits(result, expected)


def test_train_tells_which_seeds_had_ended_before(one_ends_early, x):
    seen = []
    many_seeds.train(
        many_seeds.stack(one_ends_early),
        x,
        on_interval=lambda _, rows: seen.append([row is None for row in rows]),
        **settings(),
    )
    assert seen == [[False] * 3, *[[False, True, False]] * 3]


def test_other_seeds_are_the_same_program(states, x):
    counted = (
        many_seeds._pretrain_epoch,
        many_seeds._train_intervals,
        many_seeds._assign,
    )
    sizes = []
    for order in (slice(None), slice(None, None, -1)):
        many_seeds.pretrain(KEYS[order], x, architecture=TINY, config=PRETRAIN)
        many_seeds.train(many_seeds.stack(states[order]), x, **settings())
        sizes.append([program._cache_size() for program in counted])
    assert sizes[0] == sizes[1]


# Mistakes.


def test_train_rejects_states_that_are_not_stacked(states, x):
    with pytest.raises(ValueError, match=r"axis of seeds, got .* use many_seeds.stack"):
        many_seeds.train(states[0], x, **settings())


def test_train_rejects_other_samples_than_the_states_have(states, x):
    with pytest.raises(ValueError, match=r"x must have shape \(200, 8\)"):
        many_seeds.train(many_seeds.stack(states), x[:100], **settings())


def test_pretrain_rejects_another_width(x):
    with pytest.raises(ValueError, match="x must have 8 columns"):
        many_seeds.pretrain(KEYS, x[:, :5], architecture=TINY)


def test_both_rejects_samples_on_several_devices(states, x):
    spread = sharding.shard_rows(x, sharding.data_mesh())
    message = "x must be on one device .* got 4 devices; place it on one of them"
    with pytest.raises(ValueError, match=message):
        many_seeds.pretrain(KEYS, spread, architecture=TINY)
    with pytest.raises(ValueError, match=message):
        many_seeds.train(many_seeds.stack(states), spread, **settings())


@pytest.mark.parametrize("wrong", [0, -1])
def test_pretrain_rejects_no_seed_at_once(x, wrong):
    with pytest.raises(ValueError, match="at_once must be"):
        many_seeds.pretrain(KEYS, x, architecture=TINY, at_once=wrong)
