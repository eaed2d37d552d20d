"""Density peaks against a slow version of their equations."""

import numpy as np
import pytest

from dec_jax.clustering import density_peaks as module
from dec_jax.clustering.density_peaks import density_clusters, density_peaks
from dec_jax.evaluation.metrics import adjusted_rand_index


def peaks_by_loops(points, ratio):
    """Equations 7 to 11 of Ren et al. (2020), a pair of points at a time."""
    n = len(points)
    d = [[float(np.linalg.norm(a - b)) for b in points] for a in points]
    cutoff = ratio * np.mean([d[i][j] for i in range(n) for j in range(i)])
    rho = [
        sum(np.exp(-((d[i][j] / cutoff) ** 2)) for j in range(n) if j != i)
        for i in range(n)
    ]

    def denser(j, i):
        return (rho[j], -j) > (rho[i], -i)

    nearest, peaks = {}, []
    for i in range(n):
        above = [j for j in range(n) if denser(j, i)]
        nearest[i] = min(above, key=lambda j: d[i][j]) if above else None
        delta = d[i][nearest[i]] if above else np.inf
        if delta > cutoff and (rho[i] > np.mean(rho) or not above):
            peaks.append(i)

    def peak_of(i):
        return i if i in peaks else peak_of(nearest[i])

    label = [peak_of(i) for i in range(n)]
    mean = {p: np.mean([rho[i] for i in range(n) if label[i] == p]) for p in peaks}
    core = [i for i in range(n) if rho[i] > mean[label[i]]]
    for i in core:
        for j in core:
            if d[i][j] < cutoff and label[i] != label[j]:
                old, new = label[i], label[j]
                label = [new if one == old else one for one in label]
    return np.array(label), np.array(rho), peaks


def blobs(seed, n=80, k=4, spread=0.35):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % k
    places = rng.normal(size=(k, 2)) * 3
    return places[labels] + spread * rng.normal(size=(n, 2)), labels


@pytest.mark.parametrize("ratio", [0.05, 0.1, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_density_peaks_match_the_equations(monkeypatch, seed, ratio):
    monkeypatch.setattr(module, "BLOCK", 32)
    points, _ = blobs(seed)
    labels, rho, peaks = peaks_by_loops(points, ratio)
    found = density_peaks(points, ratio=ratio)
    np.testing.assert_allclose(found.density, rho, rtol=1e-9)
    assert found.peaks.tolist() == peaks
    assert adjusted_rand_index(labels, found.labels) == 1
    assert (np.diff(np.bincount(found.labels)) <= 0).all()


def test_density_peaks_follow_a_curve_that_k_means_would_split():
    t = np.linspace(0, 1.5 * np.pi, 300)
    arc = np.stack([np.cos(t), np.sin(t)], axis=1)
    points = np.concatenate([arc, [[5.0, 0.0]] + arc])
    found = density_peaks(points, ratio=0.1)
    assert adjusted_rand_index(np.repeat([0, 1], 300), found.labels) == 1


def test_equal_points_are_one_cluster():
    found = density_peaks(np.ones((5, 2)))
    assert found.labels.tolist() == [0] * 5 and found.peaks.tolist() == [0]


def test_density_clusters_finds_the_number_of_blobs():
    rng = np.random.default_rng(0)
    truth = np.arange(200) % 5
    z = 12 * np.eye(5, 8)[truth] + rng.normal(size=(200, 8))
    assert adjusted_rand_index(truth, density_clusters(z)) == 1


def test_many_samples_are_labeled_by_some(monkeypatch):
    monkeypatch.setattr(module, "MOST_ROWS", 100)
    rng = np.random.default_rng(1)
    truth = np.arange(180) % 3
    z = 15 * np.eye(3)[truth] + rng.normal(size=(180, 3))
    assert adjusted_rand_index(truth, density_clusters(z)) == 1


@pytest.mark.parametrize("ratio", [0.0, -1.0, np.inf])
def test_density_clusters_rejects_ratios_and_few_samples(ratio):
    with pytest.raises(ValueError, match="ratio must be finite and above 0, got "):
        density_clusters(np.eye(5), ratio=ratio)
    with pytest.raises(ValueError, match="z must have at least 4 samples, got 3"):
        density_clusters(np.eye(3))
