import math

import numpy as np
import pytest
import sklearn.metrics

from dec_jax.evaluation import label_free
from dec_jax.evaluation.label_free import cluster_sizes, evenness, silhouette


def silhouette_by_loops(z, labels):
    """Rousseeuw's mean silhouette, one sample at a time."""
    widths = []
    for i, z_i in enumerate(z):
        distance = [math.dist(z_i, z_j) for z_j in z]
        members = {
            label: [j for j in range(len(z)) if labels[j] == label and j != i]
            for label in set(labels)
        }
        means = {
            label: sum(distance[j] for j in others) / len(others)
            for label, others in members.items()
            if others
        }
        own = means.pop(labels[i], None)
        nearest = min(means.values())
        widths.append(0 if own is None else (nearest - own) / max(own, nearest))
    return sum(widths) / len(widths)


# Sizes and their evenness.


def test_cluster_sizes_counts_empty_clusters():
    sizes = cluster_sizes([0, 2, 2, 4], 6)
    np.testing.assert_array_equal(sizes, [1, 0, 2, 0, 1, 0])
    assert sizes.dtype == np.int64


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64])
def test_cluster_sizes_takes_integers_of_any_width(dtype):
    labels = (np.arange(300) % 3).astype(dtype)
    np.testing.assert_array_equal(cluster_sizes(labels, 3), [100, 100, 100])


@pytest.mark.parametrize(
    ("labels", "n_clusters", "error", "message"),
    [
        ([], 3, ValueError, "labels is empty."),
        (
            [[0, 1]],
            3,
            ValueError,
            "labels must have shape [n], got shape (1, 2); use .ravel() for a column, "
            ".argmax(axis=1) for scores.",
        ),
        (
            [0.0, 1.0],
            3,
            TypeError,
            "labels must be integers, got dtype float64; number them with "
            "numpy.unique(labels, return_inverse=True)[1].",
        ),
        (
            [True, False],
            3,
            TypeError,
            "labels must be integers, got dtype bool; number them with "
            "numpy.unique(labels, return_inverse=True)[1].",
        ),
        (
            [0, 3],
            3,
            ValueError,
            "labels must be from 0 to n_clusters - 1 = 2, got 3.",
        ),
        (
            [-1, 2],
            3,
            ValueError,
            "labels must be from 0 to n_clusters - 1 = 2, got -1.",
        ),
        ([0], 0, ValueError, "n_clusters must be at least 1, got 0."),
        ([0], 2.0, TypeError, "n_clusters must be an integer, got 2.0."),
        ([0], True, TypeError, "n_clusters must be an integer, got True."),
    ],
)
def test_cluster_sizes_rejects_arguments(labels, n_clusters, error, message):
    with pytest.raises(error) as caught:
        cluster_sizes(labels, n_clusters)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("labels", "n_clusters", "expected"),
    [
        ([0, 1, 2, 3], 4, 1.0),
        ([0, 0, 1, 1], 4, 0.5),
        ([0, 0, 0], 1, 1.0),
        ([0, 0, 0, 1], 2, 2 - 0.75 * math.log2(3)),
    ],
)
def test_evenness_by_hand(labels, n_clusters, expected):
    sizes = cluster_sizes(labels, n_clusters)
    assert evenness(sizes) == pytest.approx(expected, rel=1e-14)


def test_evenness_of_one_full_cluster_is_zero_without_a_sign():
    assert f"{evenness(np.array([0, 0, 3, 0, 0])):.1f}" == "0.0"


# Silhouette.


def test_silhouette_of_four_samples_by_hand():
    # At 0 and 1, and at 5 and 6: within 1; between 5.5, 4.5, 4.5, 5.5.
    z = np.array([[0.0], [1.0], [5.0], [6.0]])
    expected = (4.5 / 5.5 + 3.5 / 4.5) / 2
    assert silhouette(z, [0, 0, 1, 1]) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("n", [3, 10, 511, 512, 513, 1100])
def test_silhouette_equals_scikit_learn(n):
    rng = np.random.default_rng(n)
    labels = rng.integers(0, 5, n) if n > 3 else np.array([0, 0, 1])
    z = rng.normal(size=(n, 4)) + labels[:, None] + 100
    expected = sklearn.metrics.silhouette_score(z, labels)
    assert silhouette(z, labels) == pytest.approx(expected, abs=1e-10)


def test_silhouette_equals_loops_with_a_cluster_of_one_and_names():
    z = np.random.default_rng(0).normal(size=(25, 3)).astype(np.float32)
    labels = ["lonely", *(["a", "b", "c"] * 8)]
    expected = silhouette_by_loops(z.astype(np.float64), labels)
    assert silhouette(z, labels) == pytest.approx(expected, abs=1e-12)


def test_silhouette_of_a_subsample_equals_scikit_learn_on_it(blobs):
    z, labels = blobs
    chosen = np.random.default_rng(3).permutation(200)[:50]
    expected = sklearn.metrics.silhouette_score(
        z[chosen].astype(np.float64), labels[chosen]
    )
    score = silhouette(z, labels, max_samples=50, seed=3)
    assert score == pytest.approx(expected, abs=1e-10)
    assert score != silhouette(z, labels, max_samples=50, seed=4)


def test_silhouette_uses_all_samples_up_to_max_samples(blobs):
    z, labels = blobs
    assert silhouette(z, labels, max_samples=200, seed=1) == silhouette(z, labels)


def test_silhouette_of_samples_that_coincide_is_zero():
    assert silhouette(np.ones((6, 2)), [0, 0, 0, 1, 1, 1]) == 0


def test_silhouette_keeps_its_digits_far_from_the_origin(blobs):
    z, labels = blobs[0].astype(np.float64), blobs[1]
    assert silhouette(z + 1e6, labels) == pytest.approx(silhouette(z, labels), abs=1e-7)


def test_silhouette_ignores_scale_and_order_of_the_samples(blobs):
    z, labels = blobs
    order = np.random.default_rng(0).permutation(200)
    score = silhouette(1000 * z[order], labels[order])
    assert score == pytest.approx(silhouette(z, labels), rel=1e-6)


def with_nan(n):
    z = np.zeros((n, 2))
    z[-1, 1] = np.nan
    return z


@pytest.mark.parametrize(
    ("z", "labels", "message"),
    [
        (
            np.zeros((3, 2)),
            [0, 1],
            "z must have shape [n, d] with n = 2, the number of labels, got shape "
            "(3, 2).",
        ),
        (
            np.zeros(3),
            [0, 1, 1],
            "z must have shape [n, d] with n = 3, the number of labels, got shape (3,).",
        ),
        (with_nan(4), [0, 0, 1, 1], "z must be finite, got NaN or infinity."),
        (
            np.zeros((4, 2)),
            [1, 1, 1, 1],
            "silhouette needs at least 2 clusters and fewer clusters than samples, got "
            "1 clusters in the 4 samples used.",
        ),
        (
            np.zeros((3, 2)),
            [0, 1, 2],
            "silhouette needs at least 2 clusters and fewer clusters than samples, got "
            "3 clusters in the 3 samples used.",
        ),
        (np.zeros((0, 2)), [], "labels is empty."),
    ],
)
def test_silhouette_rejects_samples(z, labels, message):
    with pytest.raises(ValueError) as caught:
        silhouette(z, labels)
    assert str(caught.value) == message


def test_silhouette_rejects_nan_in_a_sample_that_it_would_not_draw():
    for seed in range(5):
        with pytest.raises(ValueError, match="z must be finite"):
            silhouette(with_nan(40), np.arange(40) % 2, max_samples=3, seed=seed)


def test_silhouette_rejects_too_small_a_subsample():
    with pytest.raises(ValueError, match=r"^max_samples must be at least 3, got 2\.$"):
        silhouette(np.zeros((4, 1)), [0, 0, 1, 1], max_samples=2)


def test_silhouette_of_blocks_equals_that_of_one(blobs, monkeypatch):
    z, labels = blobs
    whole = silhouette(z, labels)
    monkeypatch.setattr(label_free, "_SILHOUETTE_ROWS", 7)
    assert silhouette(z, labels) == pytest.approx(whole, rel=1e-12)
