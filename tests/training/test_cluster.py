"""The loop of clustering: its intervals, resuming, the result and its history."""

from dataclasses import replace
from functools import partial

import chex
import jax
import numpy as np
import pytest
from tiny_training import (
    CONFIG,
    KEY,
    NAMES,
    ONE_QUICK,
    TINY,
    fresh_start,
    run,
    settings,
    state_of,
)
from training_state import assert_states_equal, restored, saved

from dec_jax.clustering.assignment import soft_assignment
from dec_jax.networks.autoencoder import encode
from dec_jax.objectives import DEC, IDEC
from dec_jax.training.cluster import _train_intervals, assign, train, train_step
from dec_jax.training.minibatches import minibatch_plan
from dec_jax.training.refresh import refresh_targets


@pytest.fixture(scope="module", params=ONE_QUICK, ids=NAMES)
def whole(request, start, x):
    """The method, its result after all intervals, and the state after each, saved."""
    states = []
    result = run(
        start, x, request.param, on_interval=lambda s, _: states.append(saved(s))
    )
    return request.param, result, states


def test_refresh_and_steps_by_hand_equal_two_intervals(whole, start, x):
    # A refresh resets neither the momentum nor the place in the epoch.
    objective, result, states = whole
    step = jax.jit(partial(train_step, **settings(objective)))
    refresh = jax.jit(partial(refresh_targets, **settings(objective)))
    state, losses = state_of(start, objective), []
    plan_key = jax.random.fold_in(state.key, 0)
    for interval in range(2):
        state = refresh(state, x)
        p, total, share = state.targets, 0.0, 0.0
        batches = minibatch_plan(
            plan_key, 5 * interval, num_steps=5, n_samples=200, batch_size=64
        )
        for indices, weights in zip(*batches, strict=True):
            state, batch_losses = step(state, x[indices], p[indices], weights)
            total, share = total + batch_losses.total, share + weights.sum()
        losses.append(float(total / share))
    chex.assert_trees_all_close(
        jax.device_get(state.params), states[1].params, rtol=1e-3, atol=1e-5
    )
    # The loss of an interval is the mean over all of its steps, not that of the last.
    np.testing.assert_allclose(losses, result.history.loss[:2], rtol=1e-4)


def test_p_is_held_fixed_within_an_interval(whole, x):
    # Section 3.1.3: p belongs to the parameters at the refresh, not to those of a step.
    objective, _, states = whole
    before, after = (restored(state) for state in states[1:3])
    expected = refresh_targets(before, x, **settings(objective)).targets
    later = refresh_targets(after, x, **settings(objective)).targets
    np.testing.assert_allclose(after.targets, expected, rtol=1e-4, atol=1e-6)
    assert np.abs(after.targets - later).max() > 1e-4


def test_training_moves_the_centroids_and_the_encoder(whole, start):
    objective, result, _ = whole
    before = state_of(start, objective).params
    for name in ("encoder", "centroids"):
        moved = jax.tree.map(
            lambda a, b: np.abs(a - b).max(), result.state.params[name], before[name]
        )
        assert max(jax.tree.leaves(moved)) > 1e-3


def test_only_dec_leaves_the_decoder_alone(whole, start):
    # DEC trains the encoder alone; a decoder that moves would be IDEC.
    objective, result, _ = whole
    moved = jax.tree.map(
        lambda a, b: np.abs(a - b).max(),
        result.state.params["decoder"],
        start[0]["decoder"],
    )
    assert (max(jax.tree.leaves(moved)) > 0) == (objective != DEC())


def test_all_intervals_are_one_program_for_equal_settings(start, x):
    config = replace(CONFIG, update_interval=2)
    before = _train_intervals._cache_size()
    for _ in range(2):
        run(start, x, DEC(), replace(config))
    assert _train_intervals._cache_size() == before + 1


def test_fifty_intervals_leave_no_buffer_behind(start, x):
    config = replace(CONFIG, update_interval=2, max_intervals=50)
    held = []

    def on_interval(state, rows):
        held.append(sum(array.nbytes for array in jax.live_arrays()))

    run(start, x, config=config, on_interval=on_interval)
    assert len(held) == 50
    # The first call may still make constants of its program.
    assert len(set(held[2:])) == 1


@pytest.mark.parametrize("intervals_per_call", [3, 9])
def test_many_intervals_at_once_equal_one_at_a_time(
    whole, start, x, intervals_per_call
):
    objective, result, _ = whole
    at_once = run(start, x, objective, intervals_per_call=intervals_per_call)
    assert_states_equal(at_once.state, result.state)
    chex.assert_trees_all_equal(at_once.history, result.history)
    assert at_once.stop_reason == result.stop_reason


@pytest.mark.parametrize("interval", [1, 3, 4])
def test_resuming_from_a_saved_state_equals_the_unbroken_run(whole, x, interval):
    objective, result, states = whole
    resumed = train(restored(states[interval - 1]), x, **settings(objective))
    assert_states_equal(resumed.state, result.state)
    np.testing.assert_array_equal(resumed.labels, result.labels)
    chex.assert_trees_all_equal(
        resumed.history,
        jax.tree.map(lambda column: column[interval:], result.history),
    )


def test_the_same_key_gives_the_same_result(whole, start, x):
    objective, result, _ = whole
    assert_states_equal(run(start, x, objective).state, result.state)


def test_another_key_gives_another_shuffle(start, x):
    config = replace(CONFIG, max_intervals=1)
    results = [
        train(state_of(start, config=config, key=key), x, **settings(config=config))
        for key in (KEY, jax.random.key(1))
    ]
    assert not np.array_equal(results[0].centroids, results[1].centroids)


def test_the_state_given_stays_usable(start, x):
    state = state_of(start)
    first, again = (train(state, x, **settings()) for _ in range(2))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    assert_states_equal(first.state, again.state)


def test_result_belongs_to_the_final_parameters(whole, x):
    # Labels of the last refresh would not belong to the final weights.
    _, result, _ = whole
    params = result.state.params
    z = encode(params, x, architecture=TINY)
    q = soft_assignment(z, params["centroids"])
    np.testing.assert_allclose(result.q, q, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(result.labels, result.q.argmax(axis=1))
    np.testing.assert_array_equal(result.centroids, params["centroids"])
    assert result.n_steps == int(result.state.step) == 20


def test_result_has_the_labels_of_the_final_parameters(x):
    # Here they differ from the labels of the last refresh.
    result = run(fresh_start(x, 4), x, config=replace(CONFIG, max_intervals=1))
    assert (result.labels != result.state.labels).any()
    np.testing.assert_array_equal(result.labels, result.q.argmax(axis=1))


def test_history_has_a_row_an_interval(whole):
    _, result, _ = whole
    history = result.history
    assert history.loss.shape == history.label_change.shape == (4,)
    assert np.isfinite(history.loss).all() and not history.converged.any()
    np.testing.assert_array_equal(history.cluster_sizes.sum(axis=1), [200] * 4)


def test_history_has_what_q_was_at_each_refresh(whole, start, x):
    objective, result, states = whole
    before = [state_of(start, objective), *map(restored, states[:-1])]
    for row, state in enumerate(before):
        q = assign(state.params, x, architecture=TINY, objective=objective)[0]
        q = np.asarray(q, np.float64)
        entropy = -(q * np.log(q)).sum(axis=1).mean() / np.log(4)
        history = result.history
        np.testing.assert_allclose(history.max_q[row], q.max(axis=1).mean(), rtol=1e-5)
        np.testing.assert_allclose(history.q_entropy[row], entropy, rtol=1e-4)
    np.testing.assert_array_equal(result.history.reseeded, np.zeros(4))


def test_history_has_the_terms_of_the_loss(whole):
    objective, result, _ = whole
    history = result.history
    if objective == DEC():
        expected = history.clustering
        np.testing.assert_array_equal(history.reconstruction, np.zeros(4))
    else:
        # DCN has half of its weight before the squared distance.
        weight = 0.1 if objective == IDEC() else 0.05
        expected = history.reconstruction + weight * history.clustering
    np.testing.assert_allclose(history.loss, expected, rtol=1e-5)


def test_on_interval_sees_the_new_rows(start, x):
    seen = []
    result = run(
        start, x, intervals_per_call=3, on_interval=lambda _, rows: seen.append(rows)
    )
    assert [len(rows.loss) for rows in seen] == [3, 1]
    np.testing.assert_array_equal(
        np.concatenate([rows.loss for rows in seen]), result.history.loss
    )


def test_training_stops_at_max_intervals(whole):
    _, result, _ = whole
    assert result.stop_reason == "training ended as planned, after 4 intervals"
    assert len(result.history.loss) == 4
