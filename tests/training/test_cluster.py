from dataclasses import replace
from functools import partial
from itertools import pairwise

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training_state import restored, saved

from dec_jax.clustering.assignment import (
    match_cluster_sizes,
    soft_assignment,
    target_distribution,
)
from dec_jax.clustering.kmeans import k_means
from dec_jax.clustering.spectral import cluster_means
from dec_jax.evaluation.metrics import clustering_accuracy
from dec_jax.networks.architecture import Architecture, Conv2D, dense_architecture
from dec_jax.networks.autoencoder import encode, init_params
from dec_jax.objectives import DCN, DEC, IDEC
from dec_jax.training.augmentation import Augmentation
from dec_jax.training.cluster import (
    _train_intervals,
    assign,
    train,
    train_interval,
    train_step,
)
from dec_jax.training.minibatches import minibatch_plan
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.pretrain import PretrainConfig, pretrain_end_to_end
from dec_jax.training.refresh import refresh_targets
from dec_jax.training.state import TrainConfig, init_state

KEY = jax.random.key(0)
TINY = dense_architecture(8, hidden=(16,), embedding_dim=3)
# 200 samples in batches of 64, the last one partial; intervals end within an epoch.
CONFIG = TrainConfig(
    update_interval=5,
    max_intervals=4,
    batch_size=64,
    tolerance=0.0,
    optimizer=Optimizer("sgd", 0.1),
)
METHODS = [DEC(), IDEC(), DCN(clustering_weight=0.1)]
NAMES = ["dec", "idec", "dcn"]
by_method = pytest.mark.parametrize("objective", METHODS, ids=NAMES)


def state_of(start, objective=METHODS[0], config=CONFIG, key=KEY):
    return init_state(key, *start, objective=objective, config=config)


def settings(objective=METHODS[0], config=CONFIG):
    return {"architecture": TINY, "objective": objective, "config": config}


def run(start, x, objective=METHODS[0], config=CONFIG, **options):
    state = state_of(start, objective, config)
    return train(state, x, **settings(objective, config), **options)


@pytest.fixture(scope="module", params=METHODS, ids=NAMES)
def whole(request, start, x):
    """The method, its result after all intervals, and the state after each, saved."""
    states = []
    result = run(
        start, x, request.param, on_interval=lambda s, _: states.append(saved(s))
    )
    return request.param, result, states


def assert_states_equal(one, other):
    chex.assert_trees_all_equal(saved(one), saved(other))


# The parts.


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


@pytest.mark.parametrize("alpha", [1.0, 3.0])
def test_assign_equals_the_plain_functions(start, x, alpha):
    params = state_of(start).params
    q, labels = assign(params, x, architecture=TINY, objective=DEC(alpha=alpha))
    z = encode(params, x, architecture=TINY)
    expected = soft_assignment(z, params["centroids"], alpha=alpha)
    np.testing.assert_allclose(q, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(labels, expected.argmax(axis=1))


@pytest.mark.parametrize("alpha", [1.0, 3.0])
def test_refresh_takes_p_of_all_samples(start, x, alpha):
    objective = DEC(alpha=alpha)
    state = state_of(start, objective)
    refreshed = refresh_targets(state, x, **settings(objective))
    z = encode(state.params, x, architecture=TINY)
    p = target_distribution(soft_assignment(z, state.params["centroids"], alpha=alpha))
    np.testing.assert_allclose(refreshed.targets, p, rtol=1e-4, atol=1e-6)


def test_refresh_measures_the_change_of_labels(start, x):
    params, centroids, _ = start
    labels = assign(state_of(start).params, x, architecture=TINY)[1]
    labels = labels.at[:10].set((labels[:10] + 1) % 4)
    state = state_of((params, centroids, labels))
    refreshed = refresh_targets(state, x, **settings())
    np.testing.assert_allclose(refreshed.label_change, 10 / 200)


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


def test_p_is_the_labeling_at_the_start_for_as_long_as_it_is_fixed(start, x):
    params, centroids, labels = start
    # Another labeling than q gives, which no refresh would bring back.
    given = (labels + 1) % 4
    config = replace(
        CONFIG, frozen_target_intervals=2, max_intervals=3, tolerance=0.999
    )
    seen = []
    train(
        init_state(KEY, params, centroids, given, config=config),
        x,
        **settings(config=config),
        on_interval=lambda state, _: seen.append(saved(state)),
    )
    # A tolerance that every refresh is below ends training as soon as p is free.
    assert [int(state.step) for state in seen] == [5, 10, 10]
    for state in seen[:2]:
        np.testing.assert_array_equal(state.targets, np.eye(4)[given])
    free = refresh_targets(restored(seen[1]), x, **settings(config=config))
    np.testing.assert_allclose(seen[2].targets, free.targets, rtol=1e-4, atol=1e-6)


def test_p_keeps_the_shares_that_its_clusters_have_at_first(start, x):
    # Of the refresh that first makes p of q, the second here; not those at the start.
    config = replace(CONFIG, keep_cluster_sizes=True, frozen_target_intervals=1)
    params, centroids, labels = start
    given = jnp.where(jnp.arange(len(labels)) < 40, 0, labels)
    states = []
    train(
        init_state(KEY, params, centroids, given, config=config),
        x,
        **settings(config=config),
        on_interval=lambda state, _: states.append(saved(state)),
    )
    np.testing.assert_array_equal(states[0].targets, np.eye(4)[given])
    shares = np.bincount(states[1].labels, minlength=4) / len(x)
    assert np.abs(shares - np.bincount(given) / len(x)).max() > 0.02
    for before, state in pairwise(states):
        np.testing.assert_allclose(state.shares, shares, rtol=1e-6)
        plain = refresh_targets(restored(before), x, **settings()).targets
        expected = match_cluster_sizes(plain, jnp.asarray(state.shares))
        np.testing.assert_allclose(state.targets, expected, rtol=1e-3, atol=1e-4)
        assert np.abs(state.targets - plain).max() > 1e-3


def test_fixed_targets_teach_the_labeling_at_the_start(start, x, blobs):
    params, _, _ = start
    labels = jnp.asarray(blobs[1])
    z = encode(params, x, architecture=TINY)
    config = replace(
        CONFIG,
        update_interval=20,
        max_intervals=3,
        frozen_target_intervals=2,
        optimizer=Optimizer("adam", 1e-2),
    )
    means = cluster_means(z, labels, 4)
    state = init_state(KEY, params, means, labels, config=config)
    result = train(state, x, **settings(config=config))
    assert np.mean(result.labels == blobs[1]) > 0.99


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


# The whole loop.


def test_all_intervals_are_one_program_for_equal_settings(start, x):
    config = replace(CONFIG, update_interval=3)
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


# Why it stops.


def test_training_stops_at_max_intervals(whole):
    _, result, _ = whole
    assert result.stop_reason == "max_intervals = 4 reached"
    assert len(result.history.loss) == 4


def test_training_stops_where_the_caller_says(start, x):
    result = run(start, x, on_interval=lambda state, _: int(state.step) == 10)
    assert result.stop_reason == "stopped by the caller"
    assert result.n_steps == 10


STEADY = replace(CONFIG, tolerance=0.1, optimizer=Optimizer("sgd", 1e-5))


def test_training_stops_once_labels_stop_changing(start, x):
    result = run(start, x, config=STEADY)
    assert result.stop_reason == (
        "0.0000% of labels changed between two refreshes, below the tolerance of 10.0000%"
    )
    np.testing.assert_array_equal(result.history.converged, [False, True])
    assert np.isnan(result.history.loss[1])


def test_the_first_refresh_never_stops_training(start, x):
    # Its labels are those of k-means: nothing has changed, because nothing was trained.
    result = run(start, x, config=STEADY)
    assert result.history.label_change[0] == 0
    assert result.n_steps == 5


def test_no_tolerance_never_stops_training(start, x):
    result = run(start, x, config=replace(STEADY, tolerance=0.0))
    assert result.stop_reason == "max_intervals = 4 reached"


def test_a_converged_state_is_not_trained_on(start, x):
    result = run(start, x, config=STEADY)
    again = train(result.state, x, **settings(config=STEADY))
    assert_states_equal(again.state, result.state)
    assert len(again.history.loss) == 0
    assert again.history.cluster_sizes.shape == (0, 4)
    assert again.stop_reason == result.stop_reason


@pytest.mark.parametrize("intervals_per_call", [3, 4])
def test_convergence_in_many_intervals_at_once_equals_one_at_a_time(
    x, intervals_per_call
):
    # Labels still change where training ends: a look later, they would not.
    config = replace(CONFIG, tolerance=0.9)
    one = run(fresh_start(x, 4), x, config=config)
    assert 0 < one.state.label_change < 0.9 and len(one.history.loss) == 2
    at_once = run(
        fresh_start(x, 4), x, config=config, intervals_per_call=intervals_per_call
    )
    assert_states_equal(at_once.state, one.state)
    chex.assert_trees_all_equal(at_once.history, one.history)
    assert at_once.stop_reason == one.stop_reason


@pytest.mark.parametrize("intervals_per_call", [1, 4])
def test_training_stops_where_parameters_are_no_longer_finite(
    start, x, intervals_per_call
):
    config = replace(CONFIG, tolerance=0.5, optimizer=Optimizer("sgd", 1e30))
    result = run(start, x, IDEC(), config, intervals_per_call=intervals_per_call)
    assert result.stop_reason.startswith("the centroids are no longer finite; lower")


# Any data.


@pytest.fixture(scope="module")
def pretrained(x):
    config = PretrainConfig(30, 64, Optimizer("adam", 0.01))
    params, _ = pretrain_end_to_end(KEY, x, architecture=TINY, config=config)
    return params


@by_method
def test_blobs_are_clustered_from_pixels_to_labels(pretrained, blobs, objective):
    x, labels = blobs
    z = encode(pretrained, jnp.asarray(x), architecture=TINY)
    clusters = k_means(KEY, z, 4, n_init=5)
    config = TrainConfig(20, 10, 64, optimizer=Optimizer("adam", 1e-3))
    start = (pretrained, clusters.centroids, clusters.labels)
    result = run(start, x, objective, config)
    assert clustering_accuracy(labels, result.labels) > 0.95


def test_augmented_steps_keep_targets_of_the_samples_as_they_are(start, x):
    masked = replace(CONFIG, augmentation=Augmentation(masking=0.5))
    state = state_of(start)
    clean, distorted = (
        jax.jit(partial(train_interval, **settings(config=config)))(state, x)[0]
        for config in (CONFIG, masked)
    )
    np.testing.assert_array_equal(clean.targets, distorted.targets)
    assert not np.array_equal(clean.params["centroids"], distorted.params["centroids"])


def test_bytes_equal_their_scaled_floats():
    x = np.random.default_rng(0).integers(0, 256, (200, 8)).astype(np.uint8)
    as_floats = jnp.asarray(x, jnp.float32) / 255
    params = init_params(KEY, TINY)
    clusters = k_means(KEY, encode(params, as_floats, architecture=TINY), 4)
    start = (params, clusters.centroids, clusters.labels)
    one, other = (run(start, data) for data in (x, as_floats))
    np.testing.assert_allclose(one.centroids, other.centroids, atol=1e-4)
    np.testing.assert_array_equal(one.labels, other.labels)


def fresh_start(x, n_clusters):
    """Network, first samples as centroids, and all samples in cluster 0."""
    params = init_params(KEY, TINY)
    z = encode(params, jnp.asarray(x), architecture=TINY)
    return params, z[:n_clusters], jnp.zeros(len(x), jnp.int32)


# A multiple of the batch (no partial batch), fewer samples than the batch, n = k.
@pytest.mark.parametrize("n", [128, 40, 4])
def test_any_number_of_samples_will_do(x, n):
    result = run(fresh_start(x[:n], 4), x[:n])
    assert result.labels.shape == (n,)
    chex.assert_tree_all_finite((result.state.params, result.q, result.history.loss))


def test_one_cluster_has_nothing_to_learn(x):
    result = run(fresh_start(x, 1), x)
    np.testing.assert_array_equal(result.labels, np.zeros(200))
    np.testing.assert_allclose(result.history.loss, np.zeros(4), atol=1e-7)


@by_method
def test_duplicate_rows_stay_finite(x, objective):
    # All on each other and on all centroids.
    same = jnp.tile(x[:1], (200, 1))
    result = run(fresh_start(same, 4), same, objective)
    chex.assert_tree_all_finite((result.state.params, result.q, result.history.loss))


@by_method
def test_constant_columns_stay_finite(x, objective):
    constant = x.at[:, 2:].set(1.0)
    result = run(fresh_start(constant, 4), constant, objective)
    chex.assert_tree_all_finite((result.state.params, result.q, result.history.loss))


@by_method
def test_an_empty_cluster_stays_finite(start, x, objective):
    params, centroids, labels = start
    far = centroids.at[0].set(1e4)
    result = run((params, far, labels), x, objective)
    assert (result.history.cluster_sizes[:, 0] == 0).all()
    chex.assert_tree_all_finite((result.state.params, result.q, result.history.loss))


# What is turned away.


@pytest.mark.parametrize(
    "samples, error, message",
    [
        (
            np.zeros((200, 7)),
            ValueError,
            r"x must have shape \(200, 8\).*got \(200, 7\)",
        ),
        (
            np.zeros((199, 8)),
            ValueError,
            r"x must have shape \(200, 8\).*got \(199, 8\)",
        ),
        (np.full((200, 8), np.nan), ValueError, "x must be finite: column 0"),
        (
            np.full((200, 8), 1e19),
            ValueError,
            r"x must have rows of a norm of at most 3.3e\+17, .* got 2.8e\+19 in row 0; "
            r"scale x down",
        ),
        (np.zeros((200, 2, 4)), ValueError, r"x must have shape \[n, d\]"),
        (np.zeros((0, 8)), ValueError, "x is empty"),
        (np.full((200, 8), "a"), TypeError, "x must be numeric"),
        ([[0.0] * 8] * 200, TypeError, "x must be an array, got list"),
    ],
)
def test_train_rejects_samples(start, samples, error, message):
    before = _train_intervals._cache_size()
    with pytest.raises(error, match=message):
        train(state_of(start), samples, **settings())
    assert _train_intervals._cache_size() == before


@pytest.mark.parametrize("count, error", [(0, ValueError), (1.0, TypeError)])
def test_train_rejects_intervals_per_call(start, x, count, error):
    with pytest.raises(error, match=f"intervals_per_call must be .*got {count}"):
        train(state_of(start), x, **settings(), intervals_per_call=count)


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


def test_train_rejects_centroids_of_another_width(start, x):
    params, centroids, labels = start
    with pytest.raises(ValueError, match="z and centroids must be .*the same width"):
        run((params, centroids[:, :2], labels), x)


@pytest.mark.parametrize(
    "options, error, message",
    [
        (
            {"update_interval": 0},
            ValueError,
            "update_interval must be at least 1, got 0",
        ),
        ({"max_intervals": 0}, ValueError, "max_intervals must be at least 1, got 0"),
        (
            {"frozen_target_intervals": -1},
            ValueError,
            "frozen_target_intervals must be at least 0, got -1",
        ),
        (
            {"frozen_target_intervals": 4, "max_intervals": 3},
            ValueError,
            "max_intervals must be above frozen_target_intervals = 4, got 3; use "
            "max_intervals = 5 or more",
        ),
        (
            {"frozen_target_intervals": 143},
            ValueError,
            "max_intervals must be above frozen_target_intervals = 143, got 143; use "
            "max_intervals = 144",
        ),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"batch_size": 2.5}, TypeError, "batch_size must be an integer, got 2.5"),
        ({"tolerance": 1.0}, ValueError, r"tolerance must be in \[0, 1\), got 1.0"),
        ({"tolerance": -0.1}, ValueError, r"tolerance must be in \[0, 1\), got -0.1"),
        (
            {"reseed_below": 1.0},
            ValueError,
            r"reseed_below must be in \[0, 1\), a share of .* n / k, got 1.0; 0 turns",
        ),
        ({"reseed_below": -0.1}, ValueError, r"reseed_below must be .*, got -0.1; 0"),
        (
            {"reseed_below": float("nan")},
            ValueError,
            r"reseed_below must be .*, got nan; 0",
        ),
    ],
)
def test_train_config_rejects_a_value(options, error, message):
    with pytest.raises(error, match=message):
        TrainConfig(**options)
