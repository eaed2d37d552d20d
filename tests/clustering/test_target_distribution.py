"""The target distribution p, plain and with the shares of its clusters kept."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from assignments import CENTROIDS, D, K, N, Z, draw, target_distribution_by_loops

from dec_jax.clustering.assignment import (
    match_cluster_sizes,
    shares_of,
    sharpen,
    soft_assignment,
    target_distribution,
)


def test_target_distribution_under_vmap_equals_each():
    q = jnp.stack([soft_assignment(Z, draw(K, D, seed=seed)) for seed in (1, 2)])
    together = jax.vmap(target_distribution)(q)
    for i in range(2):
        np.testing.assert_allclose(together[i], target_distribution(q[i]), rtol=1e-6)


def test_target_distribution_by_hand():
    # f = (1.2, 0.8): 0.64 / 1.2 to 0.04 / 0.8 is 32 to 3; 0.16 / 1.2 to 0.36 / 0.8, 8 to 27.
    p = target_distribution(jnp.array([[0.8, 0.2], [0.4, 0.6]]))
    np.testing.assert_allclose(p, [[32 / 35, 3 / 35], [8 / 35, 27 / 35]], rtol=1e-6)


def test_target_distribution_of_all_samples_differs_from_that_of_batches():
    # f sums over the data, not over a minibatch.
    q = soft_assignment(Z, CENTROIDS)
    halves = [target_distribution(half) for half in (q[: N // 2], q[N // 2 :])]
    assert np.abs(target_distribution(q) - jnp.concatenate(halves)).max() > 1e-3


def test_target_distribution_over_devices_equals_one_device():
    # f must be summed over all devices: each device's own share would give another p.
    q = soft_assignment(Z, CENTROIDS)
    shares = jax.pmap(partial(target_distribution, axis_name="devices"), "devices")(
        q.reshape(4, N // 4, K)
    )
    np.testing.assert_allclose(
        np.asarray(shares).reshape(N, K), target_distribution(q), rtol=1e-6
    )


def test_target_distribution_passes_no_gradient():
    gradient = jax.grad(lambda q: (target_distribution(q) ** 2).sum())(
        soft_assignment(Z, CENTROIDS)
    )
    np.testing.assert_array_equal(gradient, np.zeros((N, K)))


def test_target_distribution_of_an_empty_cluster_gives_it_nothing():
    q = jnp.array([[0.7, 0.3, 0.0], [0.2, 0.8, 0.0]])
    np.testing.assert_allclose(
        target_distribution(q), target_distribution_by_loops(q), rtol=1e-6
    )


def test_target_distribution_survives_a_q_whose_square_underflows():
    q = jnp.array([[1.0, 1e-30], [1.0, 3e-30]])
    np.testing.assert_allclose(
        target_distribution(q), target_distribution_by_loops(q), rtol=1e-5
    )


def test_sharpen_of_some_rows_is_their_p_of_all():
    q = soft_assignment(Z, CENTROIDS)
    p = sharpen(q[3:7], q.sum(axis=0))
    np.testing.assert_allclose(p, target_distribution_by_loops(q)[3:7], rtol=1e-5)


# p whose clusters keep their shares.


SHARES = jnp.array([0.45, 0.1, 0.25, 0.2])


def kept_by_loops(p, shares):
    """Columns and rows scaled in turn until nothing moves any more."""
    p = np.array(p, np.float64)
    n, k = p.shape
    before = np.zeros_like(p)
    while np.abs(p - before).max() > 1e-13:
        before = p.copy()
        for j in range(k):
            p[:, j] *= shares[j] * n / sum(p[:, j])
        for i in range(n):
            p[i] /= sum(p[i])
    return p


def test_p_with_shares_matches_slow_scaling():
    p = target_distribution(soft_assignment(Z, CENTROIDS))
    kept = jax.jit(match_cluster_sizes)(p, SHARES)
    # It stops within 0.0001 of the shares.
    np.testing.assert_allclose(kept, kept_by_loops(p, SHARES), atol=2e-3)
    np.testing.assert_allclose(kept.mean(axis=0), SHARES, atol=1e-4)
    np.testing.assert_allclose(kept.sum(axis=1), np.ones(N), rtol=1e-6)


def test_p_with_shares_is_the_nearest_to_p():
    # Any step that keeps rows and columns as they are leads further away.
    p = target_distribution(soft_assignment(Z, CENTROIDS))
    kept = kept_by_loops(match_cluster_sizes(p, SHARES), SHARES)

    def divergence(other):
        return (other * np.log(other / np.asarray(p, np.float64))).sum()

    rng = np.random.default_rng(0)
    for _ in range(20):
        step = rng.normal(size=kept.shape)
        step -= step.mean(axis=1, keepdims=True)
        step -= step.mean(axis=0, keepdims=True)
        step *= 0.5 * kept.min() / np.abs(step).max()
        assert divergence(kept + step) > divergence(kept)


def test_p_that_has_its_shares_stays_as_it_is():
    p = target_distribution(soft_assignment(Z, CENTROIDS))
    np.testing.assert_array_equal(match_cluster_sizes(p, p.mean(axis=0)), p)


def test_shares_count_an_empty_cluster_as_one_sample():
    shares = shares_of(jnp.array([0, 0, 2, 2, 2]), 3)
    np.testing.assert_allclose(shares, [2 / 6, 1 / 6, 3 / 6], rtol=1e-6)


def test_p_with_shares_is_finite_where_they_cannot_be_had():
    p = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.2, 0.8]])
    kept = match_cluster_sizes(p, jnp.array([0.1, 0.9]))
    np.testing.assert_allclose(kept.sum(axis=1), np.ones(3), rtol=1e-6)
