import inspect
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs

from dec_jax.clustering import kmeans
from dec_jax.clustering.kmeans import k_means, kmeans_plus_plus

KEY = jax.random.key(0)


def blobs(n=500, d=4, k=6, seed=0):
    return make_blobs(n, d, centers=k, cluster_std=2.0, random_state=seed)[0].astype(
        np.float32
    )


def squared_distances_by_differences(x, centroids):
    return ((x[:, None, :] - centroids[None, :, :]) ** 2).sum(axis=2)


def lloyd_by_loops(x, centroids, num_steps):
    """Lloyd's algorithm written out; an empty cluster takes the farthest sample."""
    x, centroids = x.astype(np.float64), centroids.astype(np.float64).copy()
    for _ in range(num_steps):
        distances = squared_distances_by_differences(x, centroids)
        labels = distances.argmin(axis=1)
        farthest = list(np.argsort(-distances.min(axis=1)))
        for j in range(len(centroids)):
            if not (labels == j).any():
                labels[farthest.pop(0)] = j
        for j in range(len(centroids)):
            centroids[j] = x[labels == j].mean(axis=0)
    return centroids


@partial(jax.jit, static_argnames="block_size")
def lloyd(x, centroids, num_steps, tolerance=0.0, *, block_size=64):
    """The library's iterations, from given centroids in the coordinates of `x`."""
    samples = kmeans.in_blocks(x, block_size)
    initial = centroids - samples.mean[None, :]
    state = kmeans._lloyd(samples, initial[None], num_steps, tolerance, 1)
    return state.centroids[0] + samples.mean[None, :], state.n_iter[0]


def sizes_of_arrays(jaxpr):
    """Sizes of all the arrays of a jaxpr and of the jaxprs inside it."""
    sizes = []
    for equation in jaxpr.eqns:
        sizes += [math.prod(v.aval.shape) for v in equation.outvars]
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=is_jaxpr):
            if is_jaxpr(inner):
                sizes += sizes_of_arrays(getattr(inner, "jaxpr", inner))
    return sizes


def is_jaxpr(parameter):
    return hasattr(parameter, "eqns")


def test_k_means_clusters_four_points():
    x = np.array([[0.0, 0.0], [0.0, 1.0], [10.0, 0.0], [10.0, 1.0]], np.float32)
    result = k_means(KEY, x, 2)
    order = np.argsort(result.centroids[:, 0])
    np.testing.assert_allclose(result.centroids[order], [[0, 0.5], [10, 0.5]])
    np.testing.assert_array_equal(result.labels, order[[0, 0, 1, 1]])
    assert result.inertia == 1.0
    assert result.n_iter <= 2


def test_k_means_returns_float32_and_int32():
    result = k_means(KEY, blobs(), 6)
    assert result.centroids.dtype == result.inertia.dtype == jnp.float32
    assert result.labels.dtype == result.n_iter.dtype == jnp.int32


@pytest.mark.parametrize("num_steps", [1, 4])
def test_lloyd_equals_lloyd_by_loops(num_steps):
    x = blobs()
    centroids, n_iter = lloyd(x, x[:6], num_steps)
    np.testing.assert_allclose(
        centroids, lloyd_by_loops(x, x[:6], num_steps), atol=1e-4
    )
    assert n_iter == num_steps


# Accelerators sum in another way, with the same result.
@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_lloyd_relocates_empty_clusters(backend, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    x = blobs()
    initial = np.concatenate([x[:4], np.full((2, 4), 1e3, np.float32)])
    centroids, _ = lloyd(x, initial, 1)
    np.testing.assert_allclose(centroids, lloyd_by_loops(x, initial, 1), atol=1e-4)


def test_lloyd_stops_once_all_centroids_together_move_less_than_the_tolerance():
    x = blobs(k=12)
    places = [lloyd_by_loops(x, x[:6], step) for step in range(9)]
    shifts = [
        ((new - old) ** 2).sum() for old, new in zip(places, places[1:], strict=False)
    ]
    # Between two shifts, in units of the mean variance of the columns.
    tolerance = 0.5 * (shifts[3] + shifts[4]) / x.var(axis=0).mean()
    assert min(shifts[:4]) > shifts[4] > shifts[3] / 24
    assert lloyd(x, x[:6], 300, tolerance)[1] == 5


def test_the_tolerance_is_that_of_scikit_learn():
    default = inspect.signature(k_means).parameters["tolerance"].default
    assert default == KMeans().tol


def test_lloyd_freezes_a_converged_restart():
    x = blobs()
    samples = kmeans.in_blocks(jnp.asarray(x), 64)
    initial = jnp.stack([x[:6], x[6:12], x[12:18]])
    centered = initial - samples.mean[None, None, :]
    run = jax.jit(kmeans._lloyd, static_argnums=4)
    together = run(samples, centered, 300, 0.0, 2)
    alone = [lloyd(x, c, 300) for c in initial]
    assert together.converged.all()
    assert len(np.unique(together.n_iter)) > 1
    np.testing.assert_array_equal(together.n_iter, [n_iter for _, n_iter in alone])
    centroids = together.centroids + samples.mean[None, None, :]
    np.testing.assert_allclose(centroids, np.stack([c for c, _ in alone]), atol=1e-4)


@pytest.mark.parametrize("seed", [0, 1])
def test_k_means_matches_sklearn_on_blobs(seed):
    x = blobs(seed=seed)
    peer = KMeans(6, n_init=20, random_state=seed).fit(x)
    result = k_means(jax.random.key(seed), x, 6)
    np.testing.assert_allclose(result.inertia, peer.inertia_, rtol=5e-3)


def test_k_means_labels_and_inertia_are_those_of_its_centroids():
    x = blobs()
    result = k_means(KEY, x, 6)
    distances = squared_distances_by_differences(x, np.asarray(result.centroids))
    np.testing.assert_array_equal(result.labels, distances.argmin(axis=1))
    np.testing.assert_allclose(result.inertia, distances.min(axis=1).sum(), rtol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_k_means_is_never_worse_with_more_restarts(seed):
    x, key = blobs(k=12), jax.random.key(seed)
    one, twenty = k_means(key, x, 6, n_init=1), k_means(key, x, 6, n_init=20)
    assert twenty.inertia <= one.inertia * (1 + 1e-6)


def test_k_means_depends_on_the_key_only():
    x = blobs(k=12)
    once, again = (k_means(KEY, x, 6, n_init=1) for _ in range(2))
    other = k_means(jax.random.key(1), x, 6, n_init=1)
    np.testing.assert_array_equal(once.centroids, again.centroids)
    assert not np.array_equal(once.labels, other.labels)


@pytest.mark.parametrize("max_iter", [1, 2])
def test_k_means_stops_at_max_iter(max_iter):
    result = k_means(KEY, blobs(k=12), 6, n_init=1, max_iter=max_iter, tolerance=0.0)
    assert result.n_iter == max_iter


def test_k_means_of_one_cluster_is_the_mean():
    x = blobs()
    result = k_means(KEY, x, 1, n_init=2)
    np.testing.assert_allclose(result.centroids[0], x.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(result.inertia, x.var(axis=0).sum() * len(x), rtol=1e-5)


def test_k_means_with_a_cluster_a_sample_has_no_inertia():
    result = k_means(KEY, blobs(n=12), 12, n_init=1)
    np.testing.assert_array_equal(np.sort(result.labels), np.arange(12))
    assert result.inertia < 1e-9


def test_k_means_of_fewer_distinct_samples_than_clusters_is_finite():
    x = np.resize(blobs(n=3), (500, 4))
    result = k_means(KEY, x, 6)
    assert np.isfinite(result.centroids).all()
    assert len(np.unique(result.labels)) == 3
    assert result.inertia < 1e-6
    assert result.n_iter < 5


def test_k_means_ignores_a_constant_column():
    x = blobs()
    x[:, 3] = 7.3
    result = k_means(KEY, x, 6)
    peer = KMeans(6, n_init=20, random_state=0).fit(x[:, :3])
    np.testing.assert_allclose(result.inertia, peer.inertia_, rtol=5e-3)
    np.testing.assert_allclose(result.centroids[:, 3], 7.3, rtol=1e-6)


def test_k_means_is_accurate_far_from_the_origin():
    # Multiples of 1/8 are exact in float32 up to 2^20.
    x = np.round(blobs() * 8) / 8
    near, far = k_means(KEY, x, 6), k_means(KEY, x + np.float32(1e6), 6)
    np.testing.assert_allclose(far.inertia, near.inertia, rtol=1e-3)
    distances = squared_distances_by_differences(
        x.astype(np.float64) + 1e6, np.asarray(far.centroids, np.float64)
    )
    np.testing.assert_allclose(far.inertia, distances.min(axis=1).sum(), rtol=1e-5)


def test_k_means_of_uint8_equals_float32():
    x = np.random.default_rng(0).integers(0, 255, (500, 4), dtype=np.uint8)
    jax.tree.map(
        np.testing.assert_array_equal,
        k_means(KEY, x, 6, n_init=1),
        k_means(KEY, x.astype(np.float32), 6, n_init=1),
    )


@pytest.mark.parametrize("k", [6, kmeans.ADDED_FROM + 1])
@pytest.mark.parametrize("block_size", [64, 100])
def test_k_means_does_not_depend_on_the_block_size(block_size, k):
    # 500 samples: a padded last block, five blocks of exactly 100. Few clusters are
    # summed by a product, many by adding.
    x = blobs()
    initial = x[:k]
    centroids, _ = lloyd(x, initial, 3, block_size=block_size)
    np.testing.assert_allclose(centroids, lloyd_by_loops(x, initial, 3), atol=1e-4)


def test_nearest_is_the_first_of_the_lowest():
    scores = jnp.array([[3.0, 1.0, jnp.inf], [2.0, 1.0, jnp.inf], [2.0, 5.0, jnp.inf]])
    np.testing.assert_array_equal(kmeans._nearest(scores), scores.argmin(axis=0))
    # No score at all is still a cluster.
    assert kmeans._nearest(jnp.full((3, 1), jnp.nan)) == 2


def test_k_means_in_many_blocks_labels_every_sample():
    # 500 samples in eight blocks of 63, the last one padded.
    x = blobs()
    result = kmeans._k_means(KEY, jnp.asarray(x), 6, 1, 300, 1e-4, 1, 64)
    distances = squared_distances_by_differences(x, np.asarray(result.centroids))
    np.testing.assert_array_equal(result.labels, distances.argmin(axis=1))
    np.testing.assert_allclose(result.inertia, distances.min(axis=1).sum(), rtol=1e-5)


def test_k_means_is_the_same_under_jit_and_vmap():
    x = blobs()
    fit = partial(k_means, z=x, n_clusters=6, n_init=1)
    keys = jax.random.split(KEY, 2)
    expected = [fit(key) for key in keys]
    jitted = [jax.jit(fit)(key) for key in keys]
    mapped = jax.vmap(fit)(keys)
    for i in range(2):
        np.testing.assert_array_equal(jitted[i].labels, expected[i].labels)
        np.testing.assert_array_equal(mapped.labels[i], expected[i].labels)
        np.testing.assert_allclose(mapped.inertia[i], expected[i].inertia, rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.uint8])
def test_k_means_has_no_array_of_samples_by_clusters_by_columns(dtype):
    n, d, k = 50_000, 64, 100
    x = jax.ShapeDtypeStruct((n, d), dtype)
    jaxpr = jax.make_jaxpr(lambda x: k_means(KEY, x, k))(x)
    sizes = sizes_of_arrays(jaxpr.jaxpr)
    assert len(sizes) > 100
    # Nothing is larger than the samples with their padding, some rows.
    assert n * d <= max(sizes) < 1.01 * n * d


def test_kmeans_plus_plus_draws_distinct_samples():
    x = blobs()
    centroids = kmeans_plus_plus(KEY, x, 6)
    distances = squared_distances_by_differences(x, np.asarray(centroids))
    np.testing.assert_allclose(distances.min(axis=0), 0, atol=1e-9)
    assert len(np.unique(distances.argmin(axis=0))) == 6


def test_kmeans_plus_plus_draws_in_proportion_to_the_squared_distance():
    # With one trial: after a start at 0, the sample 3 is 9 times as likely as 1.
    x = np.array([[0.0], [1.0], [3.0]], np.float32)
    draw = partial(kmeans_plus_plus, z=x, n_clusters=2, n_local_trials=1)
    first, second = np.asarray(jax.vmap(draw)(jax.random.split(KEY, 6000)))[:, :, 0].T
    np.testing.assert_allclose((first == 0).mean(), 1 / 3, atol=0.03)
    np.testing.assert_allclose((second[first == 0] == 3).mean(), 9 / 10, atol=0.03)
    np.testing.assert_allclose((second[first == 3] == 0).mean(), 9 / 13, atol=0.05)


def test_kmeans_plus_plus_keeps_the_best_of_its_trials():
    x = blobs()
    inertias = np.array(
        [
            squared_distances_by_differences(x, np.asarray(c)).min(axis=1).sum()
            for key in jax.random.split(KEY, 32)
            for c in (
                kmeans_plus_plus(key, x, 6),
                kmeans_plus_plus(key, x, 6, n_local_trials=1),
            )
        ]
    ).reshape(32, 2)
    assert inertias[:, 0].mean() < 0.95 * inertias[:, 1].mean()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"n_clusters": 8}, "Cannot place 8 centroids on 7 samples"),
        ({"n_clusters": 0}, "n_clusters must be at least 1, got 0"),
        ({"n_init": 0}, "n_init must be at least 1, got 0"),
        ({"max_iter": 0}, "max_iter must be at least 1, got 0"),
        ({"tolerance": -1.0}, "tolerance must be at least 0, got -1.0"),
        ({"tolerance": float("nan")}, "tolerance must be at least 0, got nan"),
        ({"z": np.full((7, 2), np.nan)}, "z must be finite: column 0 and 1 more"),
        (
            {"z": np.full((7, 2), 1e20)},
            r"z must have rows of a norm of at most 1.7e\+18, so that sums .* float32, "
            r"got 1.4e\+20 in row 0; scale z down",
        ),
        ({"z": np.zeros(7)}, r"z must have shape \[n, d\]"),
        ({"z": np.zeros((7, 0))}, "z is empty"),
    ],
)
def test_k_means_rejects_a_value(options, message):
    with pytest.raises(ValueError, match=message):
        k_means(KEY, **({"z": np.zeros((7, 2)), "n_clusters": 2} | options))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"n_clusters": 2.0}, "n_clusters must be an integer, got 2.0"),
        ({"n_init": True}, "n_init must be an integer, got True"),
        ({"max_iter": None}, "max_iter must be an integer, got None"),
        ({"z": [[0.0, 1.0]]}, "z must be an array, got list"),
        ({"z": np.array([["a"], ["b"]])}, "z must be numeric"),
    ],
)
def test_k_means_rejects_a_type(options, message):
    with pytest.raises(TypeError, match=message):
        k_means(KEY, **({"z": np.zeros((7, 2)), "n_clusters": 2} | options))


def test_k_means_clusters_the_largest_values_that_it_accepts():
    z = np.float32([[-1, 0], [-1, 0.01], [1, 0], [1, 0.01]]) * 2.2e18
    result = k_means(KEY, z, 2)
    assert np.isfinite(result.inertia)
    assert result.labels[0] == result.labels[1] != result.labels[2] == result.labels[3]


def test_kmeans_plus_plus_rejects_its_own_arguments():
    with pytest.raises(ValueError, match="z must have rows of a norm of at most"):
        kmeans_plus_plus(KEY, np.full((7, 2), 1e20), 2)
    with pytest.raises(ValueError, match="Cannot place 8 centroids on 7 samples"):
        kmeans_plus_plus(KEY, np.zeros((7, 2)), 8)
    with pytest.raises(ValueError, match="n_local_trials must be at least 1, got 0"):
        kmeans_plus_plus(KEY, np.zeros((7, 2)), 2, n_local_trials=0)
