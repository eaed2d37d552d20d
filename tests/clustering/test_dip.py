"""The dip against linear programs that look for the nearest unimodal distribution."""

import numpy as np
import pytest
from scipy.optimize import linprog

from dec_jax.clustering.dip import LEVELS, QUANTILES, SIZES, dip, dip_p_value


def dip_by_linear_programs(x):
    """The least distance over all modes."""
    x = np.sort(np.asarray(x, float))
    return min(distance_to_mode(x, mode) for mode in range(len(x)))


def distance_to_mode(x, mode):
    """The distance to the nearest G with its mode at a sample, by a linear program.

    The variables are the values of G before (0 to n - 1) and after (n to 2n - 1) each
    sample, which differ at the mode alone, and the distance, the last one. G is convex up
    to the mode and concave after it.
    """
    n = len(x)
    rows, limits, equal = [], [], []

    def at_most(terms, limit):
        row = np.zeros(2 * n + 1)
        for place, factor in terms:
            row[place] += factor
        rows.append(row)
        limits.append(limit)

    for i in range(n):
        for place, value in ((i, i / n), (n + i, (i + 1) / n)):
            at_most([(place, 1), (2 * n, -1)], value)
            at_most([(place, -1), (2 * n, -1)], -value)
        at_most([(i, 1), (n + i, -1)], 0)
        if i != mode:
            equal.append(np.eye(2 * n + 1)[i] - np.eye(2 * n + 1)[n + i])
    for i in range(n - 1):
        at_most([(n + i, 1), (i + 1, -1)], 0)
    for i in range(1, n - 1):
        # The slope rises before the mode, and falls after it.
        sign = (i < mode) - (i > mode)
        one, two = sign / (x[i] - x[i - 1]), sign / (x[i + 1] - x[i])
        at_most([(i, one), (n + i - 1, -one), (i + 1, -two), (n + i, two)], 0)
    found = linprog(
        np.eye(2 * n + 1)[-1],
        A_ub=np.array(rows),
        b_ub=limits,
        A_eq=np.array(equal) if equal else None,
        b_eq=np.zeros(len(equal)) if equal else None,
        bounds=[(0, 1)] * (2 * n) + [(0, None)],
    )
    return found.fun


SAMPLES = {
    "uniform": np.random.default_rng(0).uniform(size=12),
    "normal": np.random.default_rng(1).normal(size=14),
    "two groups": np.concatenate(
        [np.random.default_rng(2).normal(i, 0.2, 7) for i in (0, 3)]
    ),
    "three groups": np.concatenate(
        [np.random.default_rng(3).normal(i, 0.1, 4) for i in range(3)]
    ),
    "uneven groups": np.concatenate([[0.0, 0.1, 0.15], np.linspace(5, 5.5, 9)]),
    "exponential": np.random.default_rng(4).exponential(size=13),
    "equal steps": np.arange(9.0),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_dip_is_the_distance_to_the_nearest_unimodal_distribution(name):
    x = SAMPLES[name]
    assert dip(x) == pytest.approx(dip_by_linear_programs(x), abs=1e-7)


@pytest.mark.parametrize("seed", range(20))
def test_dip_of_random_samples_is_that_distance(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=8) + 3 * rng.integers(0, 3, 8)
    assert dip(x) == pytest.approx(dip_by_linear_programs(x), abs=1e-7)


def test_dip_of_equal_steps_is_the_least():
    assert dip(np.arange(50.0)) == 1 / 100
    assert dip([3.0]) == 0.5 and dip(np.ones(10)) == 1 / 20


def test_dip_does_not_depend_on_place_scale_order_or_sign():
    x = np.random.default_rng(0).normal(size=200) ** 2
    for other in (x + 100, 1e3 * x, x[::-1], -x):
        assert dip(other) == pytest.approx(dip(x))


def test_dip_of_two_far_groups_is_near_a_quarter():
    x = np.concatenate([np.linspace(0, 1, 500), np.linspace(1000, 1001, 500)])
    assert 0.245 < dip(x) <= 0.25


def test_dip_rejects_what_are_no_numbers():
    with pytest.raises(
        ValueError, match=r"x must be finite numbers .* got shape \(0,\)"
    ):
        dip([])
    with pytest.raises(ValueError, match="with NaN or infinity"):
        dip([0.0, np.nan])


@pytest.mark.parametrize("n", [20, 150])
def test_p_values_of_uniform_samples_are_uniform(n):
    rng = np.random.default_rng(5)
    found = [dip_p_value(dip(rng.uniform(size=n)), n) for _ in range(400)]
    # The share of 400 uniform numbers below a level is within 0.1 of it, but for chance.
    for level in (0.1, 0.3, 0.5, 0.7, 0.9):
        assert abs(np.mean(np.array(found) < level) - level) < 0.1


def test_p_values_fall_with_the_dip_and_are_those_of_the_table():
    for n, row in zip(SIZES, QUANTILES, strict=True):
        p = [dip_p_value(value / np.sqrt(n), n) for value in row]
        np.testing.assert_allclose(p, 1 - np.array(LEVELS), atol=1e-9)
    assert dip_p_value(0.25, 10_000) == 0 and dip_p_value(1 / 200, 100) > 0.99


def test_benchmark_makes_the_table():
    from benchmarks.dip_table import quantiles

    found = quantiles(20, 400)
    np.testing.assert_allclose(found[2:-2], QUANTILES[1][2:-2], atol=0.05)
