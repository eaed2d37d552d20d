"""DBCV and CVNN against slow versions of their definitions."""

import math

import numpy as np
import pytest
import sklearn.metrics

from dec_jax.evaluation.density import cvnn, dbcv, internal_scores
from dec_jax.evaluation.label_free import silhouette


def samples(seed, n=60, width=3):
    """Three blobs of different spread, of which some samples are in a wrong cluster."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    places = rng.normal(size=(3, width)) * 4
    z = places[labels] + rng.normal(size=(n, width)) * (0.3 + labels[:, None])
    labels[:3] = rng.integers(0, 3, 3)
    return z, labels


def distance(a, b):
    return math.sqrt(sum((one - other) ** 2 for one, other in zip(a, b, strict=True)))


def core_distance(z, i, group):
    """Definition 1 of Moulavi et al. (2014)."""
    width, total = len(z[0]), 0.0
    for j in group:
        if j != i:
            total += (1 / distance(z[i], z[j])) ** width
    return (total / (len(group) - 1)) ** (-1 / width)


def tree_by_prim(group, reach, apart):
    """The edges of the minimum spanning tree, found one sample at a time."""
    inside, edges = [group[0]], []
    while len(inside) < len(group):
        length, _, i, j = min(
            (reach(i, j), apart(i, j), i, j)
            for i in inside
            for j in group
            if j not in inside
        )
        edges.append((i, j, length))
        inside.append(j)
    return edges


def dbcv_by_loops(z, labels):
    """Definitions 1 to 8 of Moulavi et al. (2014), a pair of samples at a time."""
    groups = [np.flatnonzero(labels == c).tolist() for c in sorted(set(labels))]
    core = {i: core_distance(z, i, group) for group in groups for i in group}

    def apart(i, j):
        return distance(z[i], z[j])

    def reach(i, j):
        return max(core[i], core[j], apart(i, j))

    sparseness, internal = [], []
    for group in groups:
        edges = tree_by_prim(group, reach, apart)
        ends = [end for i, j, _ in edges for end in (i, j)]
        inner = [i for i in group if ends.count(i) > 1]
        lengths = [d for i, j, d in edges if i in inner and j in inner]
        internal.append(inner if lengths else group)
        sparseness.append(max(lengths or [d for *_, d in edges]))
    total = 0.0
    for c, group in enumerate(groups):
        separation = min(
            reach(i, j)
            for other in range(len(groups))
            if other != c
            for i in internal[c]
            for j in internal[other]
        )
        validity = (separation - sparseness[c]) / max(separation, sparseness[c])
        total += len(group) / len(z) * validity
    return total


def parts_by_loops(z, labels, m):
    """Separation and compactness of Liu et al. (2013)."""
    shares, compact = [], 0.0
    for cluster in sorted(set(labels)):
        group = np.flatnonzero(labels == cluster)
        share = 0.0
        for i in group:
            others = [j for j in range(len(z)) if j != i]
            near = sorted(others, key=lambda j: distance(z[i], z[j]))[:m]
            share += sum(labels[j] != cluster for j in near) / m
        shares.append(share / len(group))
        pairs = [distance(z[i], z[j]) for i in group for j in group if i != j]
        compact += sum(pairs) / (len(group) * (len(group) - 1))
    return max(shares), compact


@pytest.mark.parametrize("seed", range(5))
def test_dbcv_matches_its_definitions(seed):
    z, labels = samples(seed)
    assert math.isclose(dbcv(z, labels), dbcv_by_loops(z, labels), rel_tol=1e-9)


def test_dbcv_does_not_depend_on_the_order_of_the_samples():
    z, labels = samples(0)
    order = np.random.default_rng(0).permutation(60)
    assert math.isclose(dbcv(z[order], labels[order]), dbcv(z, labels))


def test_dbcv_of_stars_counts_all_their_samples():
    # In clusters of two samples no edge is between internal samples.
    z, labels = np.array([[0.0], [1.0], [9.0], [11.0]]), np.array([0, 0, 1, 1])
    assert math.isclose(dbcv(z, labels), dbcv_by_loops(z, labels))


def test_dbcv_takes_equal_samples_single_samples_and_wide_rows():
    z = np.zeros((7, 800))
    z[3:6] = 5
    z[6] = 1e3
    assert dbcv(z, [0, 0, 0, 1, 1, 1, 2]) == pytest.approx(6 / 7)
    assert dbcv(np.zeros((4, 2)), [0, 0, 1, 1]) == 0


def test_dbcv_prefers_rings_to_halves():
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    z = np.concatenate([ring, 3 * ring])
    rings, halves = np.repeat([0, 1], 60), (z[:, 0] > 0).astype(int)
    assert dbcv(z, rings) > 0.5 > 0 > dbcv(z, halves)
    assert silhouette(z, halves) > silhouette(z, rings)


def test_dbcv_of_many_samples_uses_some():
    z, labels = samples(0)
    some = dbcv(z, labels, max_samples=30)
    rows = np.sort(np.random.default_rng(0).permutation(60)[:30])
    assert some == dbcv(z[rows], labels[rows])


def test_dbcv_rejects_one_cluster_and_other_lengths():
    with pytest.raises(ValueError, match="dbcv needs at least 2 clusters .* got 1"):
        dbcv(np.eye(3), [0, 0, 0])
    with pytest.raises(ValueError, match="one for each of the 3 rows of z, got 2"):
        dbcv(np.eye(3), [0, 1])


@pytest.mark.parametrize("m", [1, 5])
def test_cvnn_matches_its_definition(m):
    z, labels = samples(1)
    other = np.arange(60) % 4
    parts = np.array([parts_by_loops(z, one, m) for one in (labels, other)])
    expected = (parts / parts.max(axis=0)).sum(axis=1)
    found = cvnn(z, [labels, other], n_neighbors=m)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_cvnn_rejects_no_labelings_and_too_many_neighbors():
    with pytest.raises(ValueError, match="labelings must hold at least one, got none"):
        cvnn(np.eye(3), [])
    with pytest.raises(ValueError, match="must be below the 3 samples used, got 3"):
        cvnn(np.eye(3), [[0, 0, 1]], n_neighbors=3)


def test_internal_scores_are_those_of_their_functions():
    z, labels = samples(2)
    found, one = internal_scores(z, [labels, np.zeros(60, int)])
    metrics = sklearn.metrics
    expected = {
        "silhouette": silhouette(z, labels),
        "davies_bouldin": metrics.davies_bouldin_score(z, labels),
        "calinski_harabasz": metrics.calinski_harabasz_score(z, labels),
        "dbcv": dbcv(z, labels),
        "cvnn": cvnn(z, [labels, np.zeros(60, int)])[0],
    }
    assert found == pytest.approx(expected)
    assert np.isnan(list(one.values())).all()
    assert np.isnan(internal_scores(z, [labels])[0]["cvnn"])
