"""Soft resets: the weights, the clusters, the momentum, and when."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_training import (
    CONFIG,
    KEY,
    TINY,
    by_method,
    run,
    settings,
    state_of,
)
from training_state import assert_states_equal, restored, saved

from dec_jax.clustering.kmeans import k_means
from dec_jax.networks.architecture import Architecture, Conv2D
from dec_jax.networks.autoencoder import embed, init_params
from dec_jax.networks.own import FunctionalNetwork
from dec_jax.objectives import DCN, DEC, VaDE
from dec_jax.training import many_seeds
from dec_jax.training.cluster import train
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.refresh import refresh
from dec_jax.training.soft_reset import (
    drawn_layer,
    is_reset_due,
    reset_clusters,
    soft_reset,
)
from dec_jax.training.state import SoftReset, TrainConfig, init_state

RESET = SoftReset(every=2, keep=0.8, n_init=2)
ADAM = replace(
    CONFIG, max_intervals=6, optimizer=Optimizer("adam", 1e-3), soft_reset=RESET
)


def soft_reset_by_loops(key, params, network, keep):
    """keep theta + (1 - keep) phi, a number at a time, in all layers but the last."""
    keys = jax.random.split(key, len(params["encoder"]))
    moved = {}
    for layer_key, (name, layer) in zip(keys, params["encoder"].items(), strict=True):
        moved[name], drawn = {}, {name: drawn_layer(layer_key, layer)}
        for part, theta in layer.items():
            theta, phi = np.array(theta), np.array(drawn[name][part])
            if name != list(params["encoder"])[-1]:
                for place in np.ndindex(theta.shape):
                    theta[place] = keep * theta[place] + (1 - keep) * phi[place]
            moved[name][part] = theta
    return moved


def test_soft_reset_matches_its_equation(start):
    params, key = start[0], jax.random.key(7)
    found = soft_reset(key, params, architecture=TINY, keep=0.7)
    expected = soft_reset_by_loops(key, params, TINY, 0.7)
    for name, layer in expected.items():
        for part, values in layer.items():
            np.testing.assert_allclose(found["encoder"][name][part], values, rtol=1e-5)
    assert found["decoder"] is params["decoder"]


def test_a_layer_is_drawn_uniformly_within_its_bounds():
    layer = {"kernel": jnp.zeros((3, 2, 5, 400)), "bias": jnp.zeros(4000)}
    drawn = drawn_layer(KEY, layer)
    # The fan of a kernel is all axes but the last: 3 x 2 x 5 inputs.
    for part, bound in (("kernel", np.sqrt(6 / 30)), ("bias", np.sqrt(1 / 30))):
        values = np.array(drawn[part]).ravel()
        assert 0.99 * bound < np.abs(values).max() <= bound
        assert abs(values.mean()) < 0.05 * bound
        np.testing.assert_allclose(values.std(), bound / np.sqrt(3), rtol=0.05)
    assert abs(np.corrcoef(values[:2000], values[2000:])[0, 1]) < 0.1


def test_soft_reset_leaves_z_layer_decoder_and_batch_norm():
    network = Architecture(
        (2, 4, 1), (Conv2D(4, (2, 2)), Conv2D(3, (1, 3), "linear")), batch_norm=True
    )
    params = jax.tree.map(lambda leaf: leaf + 1, init_params(KEY, network))
    found = soft_reset(jax.random.key(1), params, architecture=network, keep=0.5)
    changed = {
        name
        for name, layer in found["encoder"].items()
        if any((layer[part] != params["encoder"][name][part]).any() for part in layer)
    }
    assert changed == {"conv_0"}
    for name in ("decoder", "batch_stats"):
        assert found[name] is params[name]


def test_soft_reset_moves_all_of_an_own_network():
    network = FunctionalNetwork(
        init=_init_own, encode=_encode_own, decode=None, input_shape=(8,)
    )
    params = network.init(KEY)
    found = soft_reset(jax.random.key(1), params, architecture=network, keep=0.25)
    expected = (
        0.25 * params["encoder"]["w"]
        + 0.75 * network.init(jax.random.key(1))["encoder"]["w"]
    )
    np.testing.assert_allclose(found["encoder"]["w"], expected, rtol=1e-6)


def _init_own(key):
    return {"encoder": {"w": jax.random.normal(key, (8, 3))}}


def _encode_own(params, x):
    return x @ params["w"]


@by_method
def test_a_reset_is_the_three_steps_one_after_the_other(start, x, objective):
    state = run(start, x, objective, ADAM, on_interval=lambda *_: True).state
    found = reset_clusters(state, x, **settings(objective, ADAM))
    key = jax.random.fold_in(jax.random.fold_in(state.key, 4), state.step)
    weights_key, _, means_key = jax.random.split(key, 3)
    params = soft_reset(weights_key, state.params, architecture=TINY, keep=0.8)
    z = embed(params, x, architecture=TINY)
    expected = k_means(means_key, z, 4, n_init=2).centroids
    np.testing.assert_array_equal(found.params["centroids"], expected)
    np.testing.assert_array_equal(
        found.params["encoder"]["dense_0"]["kernel"],
        params["encoder"]["dense_0"]["kernel"],
    )
    if isinstance(objective, DCN):
        assert found.params["counts"].tolist() == [objective.initial_count] * 4


def test_a_reset_drops_the_moments_of_the_centroids_alone(start, x):
    state = run(start, x, config=ADAM, on_interval=lambda *_: True).state
    found = reset_clusters(state, x, **settings(config=ADAM))
    for moments in (found.opt_state[0].mu, found.opt_state[0].nu):
        assert not moments["centroids"].any()
        assert moments["encoder"]["dense_0"]["kernel"].any()
    assert state.opt_state[0].mu["centroids"].any()


def test_many_samples_are_drawn_from_for_k_means(start, x):
    few = replace(ADAM, soft_reset=replace(RESET, max_samples=40))
    state = state_of(start, config=few)
    found = reset_clusters(state, x, **settings(config=few))
    key = jax.random.fold_in(jax.random.fold_in(state.key, 4), state.step)
    weights_key, rows_key, means_key = jax.random.split(key, 3)
    params = soft_reset(weights_key, state.params, architecture=TINY, keep=0.8)
    rows = jax.random.permutation(rows_key, 200)[:40]
    z = embed(params, x, architecture=TINY)[rows]
    expected = k_means(means_key, z, 4, n_init=2).centroids
    np.testing.assert_array_equal(found.params["centroids"], expected)


@pytest.mark.parametrize(
    ("every", "intervals", "expected"),
    [(2, 6, [2, 4]), (2, 7, [2, 4]), (20, 10, []), (20, 39, []), (3, 9, [3, 6])],
)
def test_resets_come_at_each_period_that_another_follows(
    start, every, intervals, expected
):
    reset = SoftReset(every=every)
    config = replace(ADAM, max_intervals=intervals, soft_reset=reset)
    state = state_of(start, config=config)
    due = [
        interval
        for interval in range(intervals)
        if is_reset_due(state._replace(step=jnp.int32(5 * interval)), config)
    ]
    assert due == expected


def test_training_resets_when_it_should(start, x):
    kernels = []

    def on_interval(state, _):
        kernels.append(np.array(state.params["encoder"]["dense_0"]["kernel"]))

    state = state_of(start, config=ADAM)
    result = train(state, x, **settings(config=ADAM), on_interval=on_interval)
    steps = [np.abs(b - a).mean() for a, b in zip(kernels, kernels[1:], strict=False)]
    # Five steps of Adam move each weight by at most 0.005; a reset by far more.
    assert [step > 0.01 for step in steps] == [False, True, False, True, False]
    assert result.n_steps == 30


def test_a_refresh_that_resets_never_stops_training(start, x):
    config = replace(ADAM, tolerance=0.9, patience=1)
    state = state_of(start, config=config)._replace(step=jnp.int32(10))
    new, _ = refresh(state, x, **settings(config=config))
    assert not new.converged and int(new.settled) == 0
    none = replace(config, soft_reset=None)
    new, _ = refresh(state, x, **settings(config=none))
    assert new.converged


@by_method
def test_a_resumed_run_is_equal_to_the_last_bit(start, x, objective):
    whole = run(start, x, objective, ADAM)
    kept = []

    def stop(state, _):
        kept.append(saved(state))
        return len(kept) == 3

    run(start, x, objective, ADAM, on_interval=stop)
    resumed = train(restored(kept[-1]), x, **settings(objective, ADAM))
    assert_states_equal(resumed.state, whole.state)


@pytest.mark.slow
def test_many_seeds_reset_as_single_ones(start, x):
    states = [state_of(start, config=ADAM, key=jax.random.key(seed)) for seed in (0, 1)]
    found = many_seeds.train(many_seeds.stack(states), x, **settings(config=ADAM))
    for state, result in zip(states, found, strict=True):
        alone = train(state, x, **settings(config=ADAM))
        np.testing.assert_array_equal(result.labels, alone.labels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every must be at least 1, got 0"),
        ({"n_init": 0}, "n_init must be at least 1, got 0"),
        ({"max_samples": 0}, "max_samples must be at least 1, got 0"),
        ({"keep": 1.5}, r"keep must be in \[0, 1\], got 1.5"),
    ],
)
def test_soft_reset_rejects_settings_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        SoftReset(**options)


@pytest.mark.parametrize(
    "options", [{"frozen_target_intervals": 1}, {"keep_cluster_sizes": True}]
)
def test_train_config_rejects_resets_of_clusters_that_must_stay(options):
    with pytest.raises(ValueError, match="soft_reset must be None with frozen_target"):
        TrainConfig(soft_reset=RESET, **options)


def test_init_state_rejects_resets_of_a_mixture(start):
    with pytest.raises(
        ValueError, match="soft_reset must be None with VaDE, which fits"
    ):
        init_state(KEY, *start, objective=VaDE(), config=ADAM)
    assert init_state(KEY, *start, objective=DEC(), config=ADAM).step == 0
