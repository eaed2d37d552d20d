"""The parts of clustering: the first state, assignment, a step, an interval."""

from dataclasses import replace
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_training import (
    CONFIG,
    KEY,
    METHODS,
    TINY,
    by_method,
    fresh_start,
    run,
    settings,
    state_of,
)
from training_state import saved

from dec_jax.clustering.assignment import soft_assignment
from dec_jax.clustering.kmeans import k_means
from dec_jax.networks.architecture import Architecture, Conv2D, dense_architecture
from dec_jax.networks.autoencoder import encode, init_params
from dec_jax.objectives import DCN, DEC, IDEC
from dec_jax.training.augmentation import Augmentation
from dec_jax.training.cluster import assign, train, train_interval, train_step
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.refresh import refresh_targets
from dec_jax.training.state import init_state


def test_init_state_keeps_the_start(start):
    state = state_of(start)
    np.testing.assert_array_equal(state.params["centroids"], start[1])
    np.testing.assert_array_equal(state.labels, start[2])
    assert int(state.step) == 0 and not state.converged
    assert state.labels.dtype == jnp.int32


def test_init_state_copies_what_it_is_given(start, x):
    # The loop takes over the memory of its state.
    run(start, x, config=replace(CONFIG, max_intervals=1))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(start))


def test_optimizer_state_of_dec_holds_no_decoder(start):
    # DEC drops the decoder: weight decay or momentum must not move it either.
    config = replace(CONFIG, optimizer=Optimizer("sgd", 0.1))
    count = {
        type(objective): len(
            jax.tree.leaves(state_of(start, objective, config).opt_state)
        )
        for objective in METHODS
    }
    # Kernel and bias of two layers each way, and the centroids; DCN moves those by counts.
    assert count == {DEC: 5, IDEC: 9, DCN: 8}


def test_init_state_rejects_more_centroids_than_samples(start):
    params, centroids, labels = start
    with pytest.raises(ValueError, match="Cannot place 4 centroids on 3 samples"):
        init_state(KEY, params, centroids, labels[:3])


@pytest.mark.parametrize(
    "value, message",
    [
        (np.nan, "centroids must be finite: column 2"),
        (1e19, r"centroids must have rows of a norm .* got 1.0e\+19 in row 1; scale"),
    ],
)
def test_init_state_rejects_centroids_that_make_q_nan(start, value, message):
    params, centroids, labels = start
    with pytest.raises(ValueError, match=message):
        init_state(KEY, params, centroids.at[1, 2].set(value), labels)


@pytest.mark.parametrize("alpha", [1.0, 3.0])
def test_assign_equals_the_plain_functions(start, x, alpha):
    params = state_of(start).params
    q, labels = assign(params, x, architecture=TINY, objective=DEC(alpha=alpha))
    z = encode(params, x, architecture=TINY)
    expected = soft_assignment(z, params["centroids"], alpha=alpha)
    np.testing.assert_allclose(q, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(labels, expected.argmax(axis=1))


@by_method
def test_step_over_devices_equals_one_device(start, x, objective):
    state = state_of(start, objective)
    state = refresh_targets(state, x, **settings(objective))
    step = partial(train_step, **settings(objective))
    batch, p = x[:64], state.targets[:64]
    whole, losses = jax.jit(step)(state, batch, p, jnp.full(64, 1 / 64))
    over_devices = jax.pmap(
        partial(step, axis_name="devices"),
        "devices",
        in_axes=(None, 0, 0, 0),
        out_axes=None,
    )
    shares, mean_losses = jax.block_until_ready(
        over_devices(
            state,
            batch.reshape(4, 16, 8),
            p.reshape(4, 16, 4),
            jnp.full((4, 16), 1 / 16),
        )
    )
    chex.assert_trees_all_close(
        saved(shares)._asdict(), saved(whole)._asdict(), atol=1e-5
    )
    np.testing.assert_allclose(mean_losses, losses, rtol=1e-4, atol=1e-6)


def test_dcn_counts_every_sample_once_an_epoch(x):
    # 200 samples in batches of 64: the padding of the last one must not count.
    config = replace(CONFIG, update_interval=4, max_intervals=3)
    result = run(fresh_start(x, 4), x, DCN(initial_count=10.0), config)
    assert float(result.state.params["counts"].sum()) == 4 * 10 + 3 * 200


CONV = Architecture(
    (2, 4, 1), (Conv2D(4, (2, 2)), Conv2D(3, (1, 3), "linear")), batch_norm=True
)


@by_method
def test_batch_norm_moves_by_rule_and_labels_come_from_its_running_averages(
    x, objective
):
    options = {"architecture": CONV, "objective": objective, "config": CONFIG}
    params = init_params(KEY, CONV)
    clusters = k_means(KEY, encode(params, x, architecture=CONV), 4, n_init=2)
    state = init_state(
        KEY,
        params,
        clusters.centroids,
        clusters.labels,
        objective=objective,
        config=CONFIG,
    )
    result = train(state, x, **options)
    stats = result.state.params["batch_stats"]
    before = params["batch_stats"]
    assert not np.allclose(
        stats["encoder"]["batch_norm_0"]["mean"],
        before["encoder"]["batch_norm_0"]["mean"],
    )
    frozen = np.allclose(
        stats["decoder"]["batch_norm_0"]["mean"],
        before["decoder"]["batch_norm_0"]["mean"],
    )
    assert frozen == (objective == DEC())
    q, labels = assign(result.state.params, x, architecture=CONV, objective=objective)
    np.testing.assert_array_equal(result.labels, labels)
    np.testing.assert_allclose(result.q, q, atol=1e-6)


def masked_loss(state, x, p, **options):
    """Loss of a step in which half of the inputs are masked."""
    config = replace(CONFIG, augmentation=Augmentation(masking=0.5))
    weights = jnp.full(len(x), 1 / len(x))
    step = partial(train_step, **settings(IDEC(), config), **options)
    return step(state, x, p, weights)[1].total


def test_each_step_draws_its_own_distortion(start, x):
    state = refresh_targets(state_of(start, IDEC()), x, **settings(IDEC()))
    p = state.targets[:16]
    loss = jax.jit(masked_loss)
    first, again = (loss(state, x[:16], p) for _ in range(2))
    assert first == again
    assert first != loss(state._replace(step=state.step + 1), x[:16], p)


def test_each_device_draws_its_own_distortion(start, x):
    # The same samples everywhere: only the distortion can differ.
    state = refresh_targets(state_of(start, IDEC()), x, **settings(IDEC()))
    one, four = (
        jax.pmap(
            partial(masked_loss, axis_name="devices"),
            "devices",
            in_axes=(None, 0, 0),
            out_axes=None,
            devices=jax.devices()[:count],
        )(state, jnp.stack([x[:16]] * count), jnp.stack([state.targets[:16]] * count))
        for count in (1, 4)
    )
    assert abs(float(one) - float(four)) > 1e-4


@pytest.mark.slow
def test_interval_over_two_seeds_equals_each_alone(start, x):
    objective = IDEC()
    states = [state_of(start, objective, key=jax.random.key(seed)) for seed in (0, 1)]
    interval = partial(train_interval, x=x, **settings(objective))
    together, rows = jax.vmap(interval)(
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    )
    for i, state in enumerate(states):
        alone, row = jax.jit(interval)(state)
        mine = jax.tree.map(lambda leaf, i=i: leaf[i], (together.params, rows))
        chex.assert_trees_all_close(
            jax.device_get(mine),
            jax.device_get((alone.params, row)),
            rtol=1e-3,
            atol=1e-5,
        )


def test_interval_is_traced_once_for_equal_settings(start, x):
    interval = jax.jit(
        chex.assert_max_traces(train_interval, n=1),
        static_argnames=("architecture", "objective", "config"),
    )
    for _ in range(3):
        interval(
            state_of(start),
            x,
            architecture=dense_architecture(8, hidden=(16,), embedding_dim=3),
            objective=DEC(),
            config=replace(CONFIG),
        )
