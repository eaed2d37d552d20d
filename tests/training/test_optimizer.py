import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dec_jax.training.optimizer import OPTIMIZERS, SCHEDULES, Optimizer


def rates(optimizer, num_steps):
    """Learning rates of the steps: how far SGD without momentum goes at gradient 1."""
    transformation = optimizer.build(num_steps)
    update = jax.jit(transformation.update)
    state = transformation.init(jnp.zeros(()))
    steps = []
    for _ in range(num_steps):
        step, state = update(jnp.ones(()), state)
        steps.append(-float(step))
    return steps


def sgd(schedule):
    return Optimizer("sgd", 0.5, momentum=0.0, schedule=schedule)


def test_constant_schedule_stays():
    np.testing.assert_allclose(rates(sgd("constant"), 5), [0.5] * 5)


def test_cosine_schedule_goes_down_to_zero():
    expected = [0.25 * (1 + np.cos(np.pi * step / 20)) for step in range(20)]
    np.testing.assert_allclose(rates(sgd("cosine"), 20), expected, atol=1e-6)


def test_step_schedule_drops_at_a_rate_and_not_below_the_least():
    stepped = Optimizer(
        "sgd",
        0.5,
        momentum=0.0,
        schedule="step",
        decay_every=2,
        decay_rate=0.4,
        least_rate=0.1,
    )
    expected = [0.5, 0.5, 0.2, 0.2, 0.1, 0.1, 0.1]
    np.testing.assert_allclose(rates(stepped, 7), expected, rtol=1e-6)


def test_one_cycle_schedule_rises_for_three_tenths_and_falls_to_almost_zero():
    steps = rates(sgd("one-cycle"), 20)
    assert steps[6] == max(steps) == 0.5
    assert steps[:7] == sorted(steps[:7])
    assert steps[6:] == sorted(steps[6:], reverse=True)
    assert 0 < steps[0] < 0.05 and 0 <= steps[-1] < 0.01


@pytest.mark.parametrize("num_steps", [1, 2, 3, 4])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedule_of_a_few_steps_is_finite(schedule, num_steps):
    assert np.isfinite(rates(sgd(schedule), num_steps)).all()


def test_momentum_sums_past_gradients():
    steps = rates(Optimizer("sgd", 0.5, momentum=0.9), 3)
    np.testing.assert_allclose(steps, [0.5, 0.5 * 1.9, 0.5 * 2.71], rtol=1e-6)


def test_sgd_without_momentum_keeps_no_trace():
    state = Optimizer("sgd", 0.5, momentum=0.0).build(3).init(jnp.zeros(4))
    assert jax.tree.leaves(state) == []


def test_adam_is_that_of_optax():
    # The first step of Adam is the learning rate, whatever the gradient.
    np.testing.assert_allclose(rates(Optimizer("adam", 0.01), 1), [0.01], rtol=1e-5)
    state = Optimizer("adam", 0.01).build(3).init(jnp.zeros(4))
    assert isinstance(state[0], optax.ScaleByAdamState)


def test_epsilon_of_adam_is_added_to_the_root_of_the_second_moment():
    # Both moments of the first step are corrected to 1: the step is 1 / (1 + epsilon).
    steps = rates(Optimizer("adam", 0.01, epsilon=1.0), 1)
    np.testing.assert_allclose(steps, [0.005], rtol=1e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_are_equal_and_hash_by_value(name):
    one, same = Optimizer(name, 0.5), Optimizer(name, 0.5)
    assert one == same and hash(one) == hash(same)
    assert one != Optimizer(name, 0.25)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"name": "sdg"}, "Unknown optimizer 'sdg'; did you mean 'sgd'"),
        ({"schedule": "cosin"}, "Unknown schedule 'cosin'; did you mean 'cosine'"),
        ({"learning_rate": 0.0}, "learning_rate must be .*above 0, got 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be .*above 0, got nan"),
        ({"learning_rate": float("inf")}, "learning_rate must be .*above 0, got inf"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\), got 1.0"),
        ({"momentum": -0.1}, r"momentum must be in \[0, 1\), got -0.1"),
        ({"decay_rate": 0.0}, r"decay_rate must be in \(0, 1\], got 0.0"),
        ({"decay_rate": 1.5}, r"decay_rate must be in \(0, 1\], got 1.5"),
        ({"least_rate": 0.1}, "least_rate must be from 0 to .* = 0.001, got 0.1"),
        ({"epsilon": 0.0}, "epsilon must be finite and above 0, got 0.0"),
    ],
)
def test_optimizer_rejects_a_value(options, message):
    with pytest.raises(ValueError, match=message):
        Optimizer(**options)
