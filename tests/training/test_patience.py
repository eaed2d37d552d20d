from dataclasses import replace

import chex
import jax
import numpy as np
import pytest
from training_state import restored, saved

from dec_jax import DEC, TrainConfig, init_state, train
from dec_jax.training.optimizer import Optimizer

# Steps so small that no label ever changes.
CONFIG = TrainConfig(
    update_interval=2,
    max_intervals=9,
    batch_size=64,
    tolerance=0.0,
    patience=2,
    optimizer=Optimizer("sgd", 1e-6),
)


def run(start, x, architecture, config, state=None, **options):
    if state is None:
        state = init_state(jax.random.key(0), *start, objective=DEC(), config=config)
    settings = {"architecture": architecture, "objective": DEC(), "config": config}
    return train(state, x, **settings, **options)


def test_training_stops_once_no_label_changed_at_refreshes_in_a_row(
    start, x, architecture
):
    result = run(start, x, architecture, CONFIG)
    # The first refresh finds the labels of the start; the next two change none.
    np.testing.assert_array_equal(result.history.label_change, 0)
    assert len(result.history.loss) == 3 and result.n_steps == 4
    assert result.stop_reason == (
        "training ended once labels had settled: none changed at 2 refreshes in a row"
    )


def test_without_patience_a_tolerance_of_0_never_stops(start, x, architecture):
    result = run(start, x, architecture, replace(CONFIG, patience=None))
    assert len(result.history.loss) == CONFIG.max_intervals


def test_frozen_targets_do_not_count(start, x, architecture):
    config = replace(CONFIG, frozen_target_intervals=3)
    result = run(start, x, architecture, config)
    assert result.n_steps == (3 + 1) * CONFIG.update_interval


def test_patience_goes_on_counting_after_a_resume(start, x, architecture):
    states = []
    whole = run(
        start, x, architecture, CONFIG, on_interval=lambda s, _: states.append(saved(s))
    )
    resumed = run(start, x, architecture, CONFIG, restored(states[1]))
    chex.assert_trees_all_equal(saved(resumed.state), saved(whole.state))
    assert resumed.stop_reason == whole.stop_reason


def test_config_rejects_a_patience_of_0():
    with pytest.raises(ValueError, match="patience must be at least 1, got 0"):
        TrainConfig(patience=0)
