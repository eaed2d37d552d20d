"""Training on a stream equals training in memory."""

import re
import threading
from dataclasses import replace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_training
from tiny_training import KEY, TINY
from training_state import restored, saved

from dec_jax import streaming
from dec_jax.clustering.assignment import soft_assignment
from dec_jax.networks.architecture import Architecture, Dense, dense_architecture
from dec_jax.objectives import DCN, DEC, IDEC
from dec_jax.objectives.reconstruction import Variational
from dec_jax.objectives.vade import VaDE
from dec_jax.streaming import passes, training
from dec_jax.training import state as train_state
from dec_jax.training.augmentation import Augmentation
from dec_jax.training.cluster import train
from dec_jax.training.loop import STOPPED
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.pretrain import PretrainConfig, pretrain_end_to_end

# 200 samples of 32 bytes in batches of 64, two steps a block: intervals end within an
# epoch, epochs and intervals within a block.
READING = streaming.Reading(block_bytes=2 * 64 * 32)
CONFIG = replace(tiny_training.CONFIG, augmentation=Augmentation(masking=0.1))
METHODS = [DEC(alpha=1.5), IDEC(), DCN(clustering_weight=0.1)]
by_method = pytest.mark.parametrize(
    "objective",
    [METHODS[0], *(pytest.param(one, marks=pytest.mark.slow) for one in METHODS[1:])],
    ids=["dec", "idec", "dcn"],
)


def run(start, source, objective=METHODS[0], config=CONFIG, state=None, **options):
    if state is None:
        state = streaming.init_state(KEY, *start, objective=objective, config=config)
    settings = {"architecture": TINY, "objective": objective, "config": config}
    return streaming.train(state, source, reading=READING, **settings, **options)


# Pretraining.

PRETRAIN = PretrainConfig(
    epochs=3, batch_size=64, augmentation=Augmentation(masking=0.2)
)


def test_pretrain_equals_the_in_memory_run_bit_for_bit(blobs, source):
    expected = pretrain_end_to_end(KEY, blobs[0], architecture=TINY, config=PRETRAIN)
    settings = {"architecture": TINY, "config": PRETRAIN, "reading": READING}
    found = streaming.pretrain(KEY, source, **settings)
    chex.assert_trees_all_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1].loss, expected[1].loss, rtol=1e-6)


@pytest.mark.slow
def test_pretrain_watches_validation_data_as_in_memory(blobs, source):
    x, validation = blobs[0], blobs[0][:20]
    config = replace(PRETRAIN, epochs=6, patience=1, optimizer=Optimizer("adam", 0.5))
    settings = {"architecture": TINY, "config": config, "validation": validation}
    expected = pretrain_end_to_end(KEY, x, **settings)
    found = streaming.pretrain(KEY, source, reading=READING, **settings)
    chex.assert_trees_all_equal(found[0], expected[0])
    assert len(found[1].loss) == len(expected[1].loss) < 6


def test_pretrain_resumes_exactly(source):
    states = []
    settings = {"architecture": TINY, "config": PRETRAIN, "reading": READING}
    whole, _ = streaming.pretrain(
        KEY, source, on_epoch=lambda s, _: states.append(saved(s)), **settings
    )
    for state in states:
        resumed, losses = streaming.pretrain(
            KEY, source, state=restored(state), **settings
        )
        chex.assert_trees_all_equal(resumed, whole)
    assert len(losses.loss) == 0


def test_pretrain_stops_for_its_caller(source):
    _, losses = streaming.pretrain(
        KEY, source, architecture=TINY, config=PRETRAIN, on_epoch=lambda *_: True
    )
    assert len(losses.loss) == 1


# Clustering.


@by_method
def test_train_equals_the_in_memory_run_bit_for_bit(objective, blobs, source, start):
    state = train_state.init_state(KEY, *start, objective=objective, config=CONFIG)
    settings = {"architecture": TINY, "objective": objective, "config": CONFIG}
    expected = train(state, blobs[0], **settings)
    found = run(start, source, objective)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.q, expected.q)
    chex.assert_trees_all_equal(found.state.params, expected.state.params)
    assert (found.n_steps, found.stop_reason) == (20, expected.stop_reason)
    for name, rows, others in zip(
        expected.history._fields, found.history, expected.history, strict=True
    ):
        assert rows.dtype == others.dtype, name
        np.testing.assert_allclose(rows, others, rtol=1e-4, err_msg=name)
    # Something was learned: this is no comparison of two starts.
    assert np.abs(found.centroids - start[1]).max() > 1e-3


# As of the recipe `best`.
LEARNING = replace(
    CONFIG, max_intervals=6, frozen_target_intervals=2, keep_cluster_sizes=True
)


def test_learning_of_labels_equals_the_in_memory_run(blobs, source, start):
    state = train_state.init_state(KEY, *start, config=LEARNING)
    expected = train(state, blobs[0], architecture=TINY, config=LEARNING)
    found = run(start, source, DEC(), LEARNING)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.q, expected.q, atol=1e-6)
    np.testing.assert_allclose(found.state.shares, expected.state.shares, rtol=1e-6)
    np.testing.assert_array_equal(found.state.targets[:, 0], start[2])
    for rows, others in zip(found.history, expected.history, strict=True):
        np.testing.assert_allclose(rows, others, rtol=1e-4)


@pytest.mark.slow
def test_learning_of_labels_in_several_groups_gives_the_labels_of_one(
    source, start, small_blocks, monkeypatch
):
    found = run(start, source, DEC(), LEARNING)
    with monkeypatch.context() as patch:
        patch.setattr(passes, "GROUP_VALUES", 2**23)
        expected = run(start, source, DEC(), LEARNING)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.q, expected.q, atol=1e-4)


def test_learning_of_labels_resumes_exactly(source, start):
    states = []
    keep = {"on_interval": lambda s, _: states.append(saved(s))}
    whole = run(start, source, DEC(), LEARNING, **keep)
    # While p is frozen, and after it.
    for state in (states[0], states[3]):
        resumed = run(start, source, DEC(), LEARNING, state=restored(state))
        chex.assert_trees_all_equal(saved(resumed.state), saved(whole.state))
        np.testing.assert_array_equal(resumed.q, whole.q)


def test_train_in_several_groups_gives_the_labels_of_one(
    source, start, small_blocks, monkeypatch
):
    found = run(start, source)
    with monkeypatch.context() as patch:
        patch.setattr(passes, "GROUP_VALUES", 2**23)
        expected = run(start, source)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.q, expected.q, atol=1e-5)
    for rows, others in zip(found.history, expected.history, strict=True):
        np.testing.assert_allclose(rows, others, rtol=1e-4)


@by_method
def test_train_resumes_exactly(objective, source, start):
    states = []
    whole = run(
        start, source, objective, on_interval=lambda s, _: states.append(saved(s))
    )
    assert len(states) == 4
    resumed = run(start, source, objective, state=restored(states[1]))
    chex.assert_trees_all_equal(saved(resumed.state), saved(whole.state))
    np.testing.assert_array_equal(resumed.q, whole.q)
    assert len(resumed.history.loss) == 2


def test_the_same_plan_by_runs_gives_the_same_from_file_and_array(blobs, source, start):
    settings = {"architecture": TINY, "config": CONFIG}
    reading = replace(READING, run_length=5)
    state = streaming.init_state(KEY, *start, config=CONFIG)
    one = streaming.train(state, source, reading=reading, **settings)
    other = streaming.train(state, blobs[0], reading=reading, **settings)
    chex.assert_trees_all_equal(one.state.params, other.state.params)
    shuffled = streaming.train(state, source, reading=READING, **settings)
    assert np.abs(one.centroids - shuffled.centroids).max() > 1e-6


def test_train_by_runs_resumes_exactly(source, start):
    states = []
    settings = {"architecture": TINY, "config": CONFIG}
    settings["reading"] = replace(READING, run_length=5)
    whole = streaming.train(
        streaming.init_state(KEY, *start, config=CONFIG),
        source,
        on_interval=lambda s, _: states.append(saved(s)),
        **settings,
    )
    resumed = streaming.train(restored(states[1]), source, **settings)
    chex.assert_trees_all_equal(saved(resumed.state), saved(whole.state))


def test_labels_are_shared_with_the_state_and_left_alone(source, start):
    state = streaming.init_state(KEY, *start, config=CONFIG)
    before = np.array(start[2])
    given = np.array(start[2])
    copied = streaming.init_state(KEY, start[0], start[1], given, config=CONFIG)
    given[:] = 0
    np.testing.assert_array_equal(copied.labels, before)
    found = run(start, source, state=state)
    np.testing.assert_array_equal(state.labels, before)
    for labels in (state.labels, copied.labels, found.state.labels):
        assert isinstance(labels, jax.Array) and labels.dtype == jnp.int32
    assert isinstance(found.labels, np.ndarray) and found.labels.dtype == np.int32


def test_train_ends_once_labels_stop_changing(source, start):
    config = replace(CONFIG, tolerance=0.9, max_intervals=50)
    found = run(start, source, config=config)
    assert found.stop_reason.endswith("below the tolerance of 90.0000%")
    np.testing.assert_array_equal(found.history.converged, [False, True])
    assert np.isnan(found.history.loss[1]) and found.n_steps == 5
    # What is told belongs to the final parameters, without another pass.
    q, labels = streaming.assign(
        found.state.params, source, architecture=TINY, objective=METHODS[0]
    )
    np.testing.assert_array_equal(found.q, q)
    np.testing.assert_array_equal(found.labels, labels)


def test_a_converged_state_takes_no_step(source, start):
    config = replace(CONFIG, tolerance=0.9)
    first = run(start, source, config=config)
    again = run(start, source, config=config, state=first.state)
    assert again.n_steps == first.n_steps and len(again.history.loss) == 0
    np.testing.assert_array_equal(again.labels, first.labels)


def test_train_stops_for_its_caller_and_leaves_the_state(source, start):
    state = streaming.init_state(KEY, *start, config=CONFIG)
    found = run(start, source, state=state, on_interval=lambda *_: True)
    assert found.stop_reason == STOPPED and found.n_steps == 5
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(start))


@pytest.mark.slow
def test_intervals_share_their_programs(source, start):
    before = training._train_block._cache_size()
    run(start, source, DEC(alpha=3.25))
    # Two steps at a time, and the one that is left over of five.
    assert training._train_block._cache_size() == before + 2


def test_history_keeps_its_rows_while_training_goes_on(source, start):
    kept = []
    result = run(
        start,
        source,
        on_interval=lambda _, row: kept.append((row, jax.tree.map(np.array, row))),
    )
    for row, copied in kept:
        chex.assert_trees_all_equal(row, copied)
    assert len(result.history.loss) == 4


def test_init_state_holds_no_target_and_copies(start):
    state = streaming.init_state(KEY, *start, config=CONFIG)
    expected = train_state.init_state(KEY, *start, config=CONFIG)
    assert state.targets.shape == (1, 4)
    chex.assert_trees_all_equal(
        saved(state._replace(targets=expected.targets)), saved(expected)
    )


def test_bytes_and_images_stay_bytes(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (50, 2, 4), np.uint8)
    np.save(tmp_path / "x.npy", x)
    net = dense_architecture(8, hidden=(16,), embedding_dim=3, input_scale=1 / 255)
    source = streaming.NpySource(tmp_path / "x.npy")
    config = PretrainConfig(epochs=1, batch_size=16)
    params, _ = streaming.pretrain(KEY, source, architecture=net, config=config)
    expected, _ = pretrain_end_to_end(
        KEY, x.reshape(50, 8), architecture=net, config=config
    )
    chex.assert_trees_all_equal(params, expected)


# What is refused.


class Spoilt(streaming.ArraySource):
    """A source whose last row is not finite, which only reading it shows."""

    def read(self, rows):
        x = super().read(rows).copy()
        last = np.arange(self.shape[0])[rows] == self.shape[0] - 1
        x[last, 2] = np.nan
        return x


def test_train_rejects_a_row_that_is_not_finite_and_ends_its_thread(blobs, start):
    before = threading.active_count()
    with pytest.raises(ValueError, match="blobs must be finite: column 2"):
        run(start, Spoilt(blobs[0], "blobs"))
    assert threading.active_count() == before


def test_pretrain_rejects_a_row_that_is_not_finite(blobs):
    with pytest.raises(ValueError, match="x must be finite: column 2"):
        streaming.pretrain(KEY, Spoilt(blobs[0], "blobs"), architecture=TINY)


def test_pretrain_rejects_pixels_out_of_range_for_bernoulli(blobs):
    net = Architecture(
        (8,), (Dense(3, "linear"),), variational=True, output_activation="sigmoid"
    )
    config = PretrainConfig(objective=Variational())
    with pytest.raises(ValueError, match=r"must be in \[0, 1\] for Bernoulli"):
        streaming.pretrain(KEY, blobs[0], architecture=net, config=config)


@pytest.mark.parametrize(
    "function", [streaming.pretrain, streaming.embed, streaming.assign]
)
def test_a_stream_rejects_another_width(function, start, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((9, 7), np.float32))
    source = streaming.NpySource(tmp_path / "x.npy")
    first = KEY if function is streaming.pretrain else start[0]
    with pytest.raises(
        ValueError, match="x.npy must have 8 values a sample, .* input, got 7"
    ):
        function(first, source, architecture=TINY)


def test_train_rejects_another_number_of_samples(blobs, start):
    with pytest.raises(ValueError, match="x must have the state's 200 samples, got 9"):
        run(start, blobs[0][:9])


@pytest.mark.parametrize(
    "setting", [{"reseed_below": 0.1}, {"soft_reset": train_state.SoftReset()}]
)
def test_train_rejects_settings_that_need_all_in_memory(setting, source, start):
    ((name, value),) = setting.items()
    off = getattr(CONFIG, name)
    with pytest.raises(
        ValueError,
        match=f"{name} must be {off} in a stream, .* got {re.escape(str(value))}",
    ):
        run(start, source, config=replace(CONFIG, **setting))


def test_train_rejects_a_method_that_fits_to_all_samples(source, start):
    net = replace(TINY, variational=True, output_activation="linear")
    state = streaming.init_state(KEY, *start, config=CONFIG)
    with pytest.raises(ValueError, match="VaDE cannot learn from a stream: it fits "):
        streaming.train(state, source, architecture=net, objective=VaDE())
    with pytest.raises(
        ValueError, match="DEC needs an architecture with variational=F"
    ):
        streaming.train(state, source, architecture=net, objective=DEC())


def test_init_state_rejects_more_centroids_than_samples(start):
    with pytest.raises(ValueError, match="Cannot place 4 centroids on 3 samples"):
        streaming.init_state(KEY, start[0], start[1], start[2][:3])


def test_soft_assignment_is_what_the_result_holds(source, start):
    found = run(start, source, config=replace(CONFIG, max_intervals=1))
    z = streaming.embed(found.state.params, source, architecture=TINY)
    q = soft_assignment(jnp.asarray(z), jnp.asarray(found.centroids), alpha=1.5)
    np.testing.assert_allclose(found.q, q, rtol=1e-4, atol=1e-6)
