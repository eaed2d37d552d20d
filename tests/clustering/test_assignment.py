from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from assignments import (
    CENTROIDS,
    D,
    K,
    N,
    Z,
    draw,
    soft_assignment_by_loops,
    squared_distances_by_loops,
    target_distribution_by_loops,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dec_jax.clustering.assignment import (
    confidence,
    equidistant_centroids,
    hard_assignment,
    label_change,
    log_soft_assignment,
    log_softmax_assignment,
    soft_assignment,
    squared_distances,
    target_distribution,
)


def sizes_of_intermediates(jaxpr):
    """Sizes of all arrays of a jaxpr and of the jaxprs inside it."""
    sizes = []
    for equation in jaxpr.eqns:
        sizes += [v.aval.size for v in equation.outvars if hasattr(v.aval, "size")]
        for value in equation.params.values():
            if hasattr(value, "jaxpr"):
                sizes += sizes_of_intermediates(value.jaxpr)
    return sizes


transforms = chex.variants(
    with_jit=True, without_jit=True, with_device=True, with_pmap=True
)


class TestUnderTransforms(chex.TestCase):
    @transforms
    def test_squared_distances_equal_differences(self):
        distances = self.variant(squared_distances)(Z, CENTROIDS)
        expected = squared_distances_by_loops(Z, CENTROIDS)
        np.testing.assert_allclose(distances, expected, rtol=1e-5)

    @transforms
    def test_soft_assignment_matches_equation_1(self):
        q = self.variant(soft_assignment)(Z, CENTROIDS)
        np.testing.assert_allclose(q, soft_assignment_by_loops(Z, CENTROIDS), rtol=1e-5)

    @transforms
    def test_log_soft_assignment_is_the_logarithm_of_q(self):
        log_q = self.variant(log_soft_assignment)(Z, CENTROIDS)
        expected = np.log(soft_assignment_by_loops(Z, CENTROIDS))
        np.testing.assert_allclose(log_q, expected, rtol=1e-5)

    @transforms
    def test_target_distribution_matches_equation_3(self):
        q = jnp.asarray(soft_assignment_by_loops(Z, CENTROIDS), jnp.float32)
        p = self.variant(target_distribution)(q)
        np.testing.assert_allclose(p, target_distribution_by_loops(q), rtol=1e-5)

    @transforms
    def test_hard_assignment_is_the_nearest_centroid(self):
        labels = self.variant(hard_assignment)(soft_assignment(Z, CENTROIDS))
        expected = squared_distances_by_loops(Z, CENTROIDS).argmin(axis=1)
        np.testing.assert_array_equal(labels, expected)

    @transforms
    def test_label_change_counts_the_changed_labels(self):
        labels = jnp.array([0, 1, 2, 0], jnp.int32)
        previous = jnp.array([0, 1, 1, 0], jnp.int32)
        assert self.variant(label_change)(labels, previous) == 0.25


@pytest.mark.parametrize("alpha", [0.5, 3.0])
def test_soft_assignment_follows_alpha(alpha):
    # An alpha that is accepted must also be used.
    q = soft_assignment(Z, CENTROIDS, alpha=alpha)
    expected = soft_assignment_by_loops(Z, CENTROIDS, alpha)
    np.testing.assert_allclose(q, expected, rtol=1e-5)
    assert np.abs(q - soft_assignment(Z, CENTROIDS)).max() > 0.01


def test_soft_assignment_takes_a_traced_alpha():
    q = jax.jit(lambda alpha: soft_assignment(Z, CENTROIDS, alpha=alpha))(2.0)
    np.testing.assert_allclose(q, soft_assignment(Z, CENTROIDS, alpha=2.0), rtol=1e-6)


def test_soft_assignment_under_vmap_equals_each():
    centroids = jnp.stack([CENTROIDS, draw(K, D, seed=2)])
    together = jax.vmap(soft_assignment, in_axes=(None, 0))(Z, centroids)
    for q, mu in zip(together, centroids, strict=True):
        np.testing.assert_allclose(q, soft_assignment(Z, mu), rtol=1e-5)


def test_soft_assignment_by_hand():
    # Kernels 1 / (1 + 0) and 1 / (1 + 3).
    q = soft_assignment(jnp.zeros((1, 1)), jnp.array([[0.0], [np.sqrt(3.0)]]))
    np.testing.assert_allclose(q, [[0.8, 0.2]], rtol=1e-6)


def test_hard_assignment_takes_the_first_of_equals():
    q = jnp.array([[0.4, 0.4, 0.2], [0.2, 0.4, 0.4], [1 / 3, 1 / 3, 1 / 3]])
    labels = hard_assignment(q)
    np.testing.assert_array_equal(labels, [0, 1, 0])
    assert labels.dtype == jnp.int32


def test_label_change_over_devices_equals_one_device():
    labels = jnp.arange(N, dtype=jnp.int32) % K
    previous = labels.at[:3].add(1)
    shares = jax.pmap(partial(label_change, axis_name="devices"), "devices")(
        labels.reshape(4, -1), previous.reshape(4, -1)
    )
    np.testing.assert_allclose(np.asarray(shares), np.full(4, 3 / N), rtol=1e-6)


@pytest.mark.parametrize("scale", [1e3, 1e10, 1e14, 1e18])
def test_soft_assignment_of_far_points_matches_equation_1(scale):
    z = draw(N, D, scale=scale)
    q = soft_assignment(z, CENTROIDS)
    np.testing.assert_allclose(q.sum(axis=1), np.ones(N), rtol=1e-6)
    np.testing.assert_allclose(q, soft_assignment_by_loops(z, CENTROIDS), atol=1e-3)


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e10, 1e18])
def test_gradient_of_log_q_is_finite_far_away(scale):
    gradients = jax.grad(lambda *a: log_soft_assignment(*a)[:, 0].sum(), (0, 1))(
        draw(N, D, scale=scale), CENTROIDS
    )
    chex.assert_tree_all_finite(gradients)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_gradient_on_a_centroid_is_finite(offset):
    # A square root would give NaN here.
    z = CENTROIDS + offset
    gradients = jax.grad(lambda *a: log_soft_assignment(*a)[:, 0].sum(), (0, 1))(z, z)
    chex.assert_tree_all_finite(gradients)


def test_gradient_of_a_distance_on_its_centroid_is_zero():
    z_gradient, centroid_gradient = jax.grad(
        lambda *a: squared_distances(*a).sum(), (0, 1)
    )(CENTROIDS[:1], CENTROIDS[:1])
    np.testing.assert_array_equal(z_gradient, np.zeros((1, D)))
    np.testing.assert_array_equal(centroid_gradient, np.zeros((1, D)))


def test_gradient_of_distances_is_twice_the_difference():
    # The mean of the centroids is subtracted from both: no gradient through it.
    gradient = jax.grad(lambda mu: squared_distances(Z, mu).sum())(CENTROIDS)
    expected = -2 * (np.asarray(Z)[:, None] - np.asarray(CENTROIDS)[None]).sum(axis=0)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("offset", [1.0, 1e3, 1e4])
def test_squared_distances_are_never_negative(offset):
    # The expansion of a distance to itself rounds below 0.
    z = draw(N, D) + offset
    assert squared_distances(z, z).min() >= 0


@pytest.mark.parametrize("offset", [1e3, 1e4])
def test_squared_distances_far_from_the_origin_equal_differences(offset):
    z, centroids = Z + offset, CENTROIDS + offset
    np.testing.assert_allclose(
        squared_distances(z, centroids),
        squared_distances_by_loops(z, centroids),
        rtol=1e-4,
    )


def test_one_centroid_far_away_costs_the_others_no_digits():
    far = jnp.full((1, D), 1e6)
    near = np.asarray(squared_distances(Z, CENTROIDS))
    found = np.asarray(squared_distances(Z, jnp.concatenate([far, CENTROIDS])))
    np.testing.assert_allclose(found[:, 1:], near, rtol=1e-3)
    np.testing.assert_allclose(found[:, 0], 1e12 * D, rtol=1e-3)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_squared_distances_of_short_floats_are_those_of_float32(dtype):
    z, centroids = Z.astype(dtype), (20 + 10 * CENTROIDS).astype(dtype)
    distances = squared_distances(z, centroids)
    assert distances.dtype == jnp.float32
    expected = squared_distances_by_loops(z, centroids)
    np.testing.assert_allclose(distances, expected, rtol=1e-4, atol=1e-5)


def test_soft_assignment_has_no_array_of_samples_by_clusters_by_columns():
    n, k, d = 101, 17, 13
    shapes = [jax.ShapeDtypeStruct(shape, "float32") for shape in ((n, d), (k, d))]
    sizes = sizes_of_intermediates(jax.make_jaxpr(soft_assignment)(*shapes).jaxpr)
    assert max(sizes) == n * k


def test_one_cluster_takes_every_sample():
    q = soft_assignment(Z, CENTROIDS[:1])
    np.testing.assert_array_equal(q, np.ones((N, 1)))
    np.testing.assert_array_equal(target_distribution(q), np.ones((N, 1)))
    np.testing.assert_array_equal(hard_assignment(q), np.zeros(N))


def test_equal_centroids_share_equally():
    q = soft_assignment(Z, jnp.tile(CENTROIDS[:1], (4, 1)))
    np.testing.assert_allclose(q, np.full((N, 4), 0.25), rtol=1e-6)


def test_equal_samples_get_equal_rows():
    q = soft_assignment(jnp.tile(Z[:1], (5, 1)), CENTROIDS)
    p = target_distribution(q)
    np.testing.assert_array_equal(q, np.tile(q[:1], (5, 1)))
    np.testing.assert_array_equal(p, np.tile(p[:1], (5, 1)))


@pytest.mark.parametrize("function", [squared_distances, soft_assignment])
@pytest.mark.parametrize("shape", [(K, D + 1), (K, D, 1), (D,)])
def test_distances_rejects_centroids_of_another_shape(function, shape):
    with pytest.raises(ValueError, match="same width, got z of shape.*centroids of"):
        function(Z, jnp.zeros(shape))


@pytest.mark.parametrize("function", [squared_distances, soft_assignment])
@pytest.mark.parametrize("value", [1e20, -3e38, float("inf"), float("nan")])
def test_distances_rejects_what_has_none(function, value):
    z = Z.at[3, 1].set(value)
    message = (
        r"finite and have norms below 1e19, .* got (inf|nan) from row 3 of z to ce"
    )
    with pytest.raises(ValueError, match=message):
        function(z, CENTROIDS)
    with pytest.raises(ValueError, match=r"got (inf|nan) from row 0 of z to centroid"):
        function(Z, CENTROIDS.at[1, 0].set(value))


def test_hard_assignment_rejects_nan():
    q = jnp.array([[0.5, 0.5], [jnp.nan, jnp.nan], [0.1, 0.9]])
    with pytest.raises(ValueError, match="q must hold no NaN, got one in row 1; look"):
        hard_assignment(q)


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_soft_assignment_rejects_an_alpha_without_a_kernel(alpha):
    with pytest.raises(ValueError, match=f"alpha must be .*above 0, got {alpha}"):
        soft_assignment(Z, CENTROIDS, alpha=alpha)


def confidence_by_loops(q):
    """Mean largest q and mean entropy over log k, one sample at a time."""
    largest = [max(row) for row in q]
    entropies = [-sum(share * np.log(share) for share in row if share) for row in q]
    return np.mean(largest), np.mean(entropies) / np.log(q.shape[1])


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_confidence_equals_loops(transform):
    q = soft_assignment(Z, CENTROIDS).at[0].set(jnp.array([0.0, 1.0, 0.0, 0.0]))
    expected = confidence_by_loops(np.asarray(q, np.float64))
    np.testing.assert_allclose(transform(confidence)(q), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "q, expected",
    [
        (jnp.full((3, 4), 0.25), (0.25, 1.0)),
        (jnp.eye(4), (1.0, 0.0)),
        (jnp.ones((3, 1)), (1.0, 0.0)),
    ],
)
def test_confidence_at_its_ends(q, expected):
    np.testing.assert_allclose(confidence(q), expected, atol=1e-6)


def test_confidence_over_devices_equals_one_device():
    q = soft_assignment(Z, CENTROIDS)
    shares = jax.pmap(partial(confidence, axis_name="devices"), "devices")(
        q.reshape(4, 5, K)
    )
    for share, whole in zip(shares, confidence(q), strict=True):
        np.testing.assert_allclose(share, np.full(4, whole), rtol=1e-6)


floats = st.floats(-100, 100, width=32)
embeddings = arrays(np.float32, (6, 2), elements=floats).map(jnp.asarray)
centers = arrays(np.float32, (3, 2), elements=floats).map(jnp.asarray)
rows = arrays(np.float32, 4, elements=st.floats(2**-10, 1, width=32))
jitted_q, jitted_p = jax.jit(soft_assignment), jax.jit(target_distribution)


@given(embeddings, centers)
def test_rows_of_q_and_p_sum_to_one(z, centroids):
    q = jitted_q(z, centroids)
    np.testing.assert_allclose(q.sum(axis=1), np.ones(6), rtol=1e-5)
    np.testing.assert_allclose(jitted_p(q).sum(axis=1), np.ones(6), rtol=1e-5)


@given(embeddings, centers, st.permutations(range(3)))
def test_permuting_the_centroids_permutes_the_columns(z, centroids, order):
    order = np.array(order)
    q = jitted_q(z, centroids)
    permuted = jitted_q(z, centroids[order])
    np.testing.assert_allclose(permuted, q[:, order], rtol=2e-3, atol=1e-6)


@given(embeddings, centers, st.permutations(range(6)))
def test_permuting_the_samples_permutes_the_rows(z, centroids, order):
    order = np.array(order)
    p = jitted_p(jitted_q(z, centroids))
    permuted = jitted_p(jitted_q(z[order], centroids))
    np.testing.assert_allclose(permuted, p[order], rtol=1e-4, atol=1e-6)


@given(rows)
def test_target_is_sharper_than_a_balanced_q(row):
    # All rotations of one row: every cluster has the same frequency.
    row = row / row.sum()
    q = jnp.stack([jnp.roll(jnp.asarray(row), shift) for shift in range(4)])
    p = jitted_p(q)
    assert (p.max(axis=1) >= q.max(axis=1) - 1e-5).all()
    assert (p.min(axis=1) <= q.min(axis=1) + 1e-5).all()


def test_softmax_assignment_takes_distances_as_they_are_unless_told():
    weights = np.exp(-squared_distances_by_loops(Z, CENTROIDS))
    expected = weights / weights.sum(axis=1, keepdims=True)
    q = np.exp(log_softmax_assignment(Z, CENTROIDS))
    np.testing.assert_allclose(q, expected, rtol=1e-4, atol=1e-7)


def test_a_sample_on_an_equidistant_centroid_has_the_q_that_is_claimed():
    centroids = equidistant_centroids(10)
    q = soft_assignment(centroids, centroids)
    # Nine others at a squared distance of 32.
    np.testing.assert_allclose(np.diagonal(q), 1 / (1 + 9 / 33), rtol=1e-5)
