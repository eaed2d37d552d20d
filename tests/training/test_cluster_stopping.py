"""The ends of training: convergence, patience, epochs and stops."""

from dataclasses import replace

import chex
import numpy as np
import pytest
from tiny_training import CONFIG, fresh_start, run, settings
from training_state import assert_states_equal

from dec_jax.objectives import IDEC
from dec_jax.training.cluster import train
from dec_jax.training.loop import STOPPED
from dec_jax.training.optimizer import Optimizer


def test_training_stops_where_the_caller_says(start, x):
    result = run(start, x, on_interval=lambda state, _: int(state.step) == 10)
    assert result.stop_reason == STOPPED
    assert result.n_steps == 10


STEADY = replace(CONFIG, tolerance=0.1, optimizer=Optimizer("sgd", 1e-5))


def test_training_stops_once_labels_stop_changing(start, x):
    result = run(start, x, config=STEADY)
    assert result.stop_reason == (
        "training ended once labels had settled: 0.0000% of labels changed between two "
        "refreshes, below the tolerance of 10.0000%"
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
    assert result.stop_reason == "training ended as planned, after 4 intervals"


def test_a_limit_that_comes_before_convergence_is_told(start, x):
    config = replace(STEADY, max_intervals=1)
    assert run(start, x, config=config).stop_reason.startswith(
        "training ended at its limit of 1 interval, before labels had settled: "
    )


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
    assert result.stop_reason.startswith("training failed: the centroids are no")
