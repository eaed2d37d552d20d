import numpy as np
import pytest

from dec_jax.evaluation.n_clusters import Sweep, recommend, sweep_n_clusters


def blobs_of(k, d=6, n=600, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.normal(scale=6, size=(k, d))
    x = centers[np.arange(n) % k] + rng.normal(size=(n, d))
    return x.astype(np.float32)


def sweep_of(**columns):
    ks = np.arange(2, 7)
    flat = dict.fromkeys(("eigengap", "modularity", "silhouette"), np.zeros(5))
    flat["stability"] = np.ones(5)
    return Sweep(
        n_clusters=ks, eigenvalues=np.ones(7), noise_gap=0.1, **{**flat, **columns}
    )


def peak(k, height=1.0):
    return np.where(np.arange(2, 7) == k, height, 0.1)


@pytest.mark.parametrize("k", [3, 5])
def test_finds_the_number_of_blobs(k):
    sweep = sweep_n_clusters(blobs_of(k), range(k - 1, k + 3))
    found = recommend(sweep)
    assert found.n_clusters == k
    assert found.decided
    at = list(sweep.n_clusters).index(k)
    assert sweep.stability[at] == 1
    assert sweep.silhouette.argmax() == at


@pytest.mark.parametrize(
    "draw, d", [("normal", 2), ("normal", 12), ("uniform", 5), ("exponential", 5)]
)
def test_noise_decides_nothing(draw, d):
    x = getattr(np.random.default_rng(0), draw)(size=(500, d))
    assert not recommend(sweep_n_clusters(x, range(2, 11))).decided


def test_the_largest_number_that_was_tried_is_not_decided():
    found = recommend(sweep_n_clusters(blobs_of(5), range(2, 6)))
    assert (found.n_clusters, found.decided) == (5, False)
    assert "k = 5 is the largest number that was tried" in found.reasons


def test_a_gap_that_noise_has_too_decides_nothing():
    sweep = sweep_of(eigengap=peak(4))._replace(noise_gap=0.6)
    found = recommend(sweep)
    assert not found.decided
    assert "noise without clusters has a gap of 0.6000 too" in found.reasons


def test_a_sweep_ends_where_it_is_told_to():
    sweep = sweep_n_clusters(blobs_of(3), [2, 3, 4], on_k=lambda k: k == 3)
    assert sweep.n_clusters.tolist() == [2, 3]
    assert len(sweep.stability) == 2


def test_sweep_has_a_number_for_each_k_in_the_order_given():
    seen = []
    sweep = sweep_n_clusters(blobs_of(3), [4, 2], on_k=seen.append)
    assert sweep.n_clusters.tolist() == seen == [4, 2]
    values = sweep.eigenvalues
    expected = [values[3] - values[4], values[1] - values[2]]
    np.testing.assert_allclose(sweep.eigengap, expected, rtol=1e-6)
    assert all(len(column) == 2 for column in sweep[:-2])


def test_recommend_names_what_agrees_and_what_does_not():
    sweep = sweep_of(eigengap=peak(4), modularity=peak(4), silhouette=peak(5))
    found = recommend(sweep)
    assert (found.n_clusters, found.decided) == (4, True)
    assert found.reasons == (
        "of those on which halves of the data agree, the eigengap is largest at k = 4: "
        "1.0000",
        "modularity agrees",
        "silhouette is highest at k = 5",
        "halves of the data agree on the clusters: ARI 1.00",
    )


def test_between_two_gaps_the_silhouette_helps_and_nothing_is_decided():
    gaps = peak(4)
    gaps[4] = 0.9
    gaps[1] = 0.2
    # Nearly the highest counts as well, and no more than nearly.
    width = np.array([0.8, 0.92, 0.8, 1.0, 0.8])
    found = recommend(sweep_of(eigengap=gaps, silhouette=width, modularity=peak(5)))
    assert (found.n_clusters, found.decided) == (3, False)
    assert found.reasons[1:5] == (
        "almost as large, or larger, at k = 6",
        "of those on which halves of the data agree, the silhouette is high at "
        "k = 3, 5; of these the eigengap is largest at k = 3",
        "modularity is highest at k = 5",
        "silhouette is highest at k = 5",
    )


def test_silhouettes_below_0_leave_a_number_to_name():
    gaps = peak(4)
    gaps[4] = 0.9
    width = np.array([-0.3, -0.3, -0.3, -0.2, -0.21])
    found = recommend(sweep_of(eigengap=gaps, silhouette=width))
    assert (found.n_clusters, found.decided) == (6, False)


def test_recommend_passes_over_what_does_not_repeat_itself():
    gaps = peak(4)
    gaps[1] = 0.5
    stability = np.where(np.arange(2, 7) == 4, 0.5, 1.0)
    # The unstable gap is a rival all the same; its silhouette is not.
    width = peak(4, 0.9)
    width[3] = 0.8
    found = recommend(sweep_of(eigengap=gaps, stability=stability, silhouette=width))
    assert (found.n_clusters, found.decided) == (5, False)
    assert found.reasons[1] == "almost as large, or larger, at k = 4"


def test_recommend_is_undecided_where_halves_disagree():
    sweep = sweep_of(eigengap=peak(3), silhouette=peak(4), stability=np.full(5, 0.89))
    found = recommend(sweep)
    assert (found.n_clusters, found.decided) == (4, False)
    assert found.reasons[1] == (
        "the silhouette is high at k = 4; of these the eigengap is largest at k = 4"
    )
    assert (
        found.reasons[-1] == "halves of the data do not agree on the clusters: ARI 0.89"
    )


@pytest.mark.parametrize(
    "options, message",
    [
        ({"n_clusters": []}, "n_clusters must name at least one number, got none"),
        ({"n_clusters": [3, 1]}, "n_clusters must be at least 2 each, got 1"),
        ({"n_clusters": [10]}, "Cannot place 10 centroids on 9 samples"),
        ({"n_halves": 1}, "n_halves must be at least 2, got 1"),
    ],
)
def test_sweep_rejects_a_value(options, message):
    given = {"n_clusters": [2], **options}
    with pytest.raises(ValueError, match=message):
        sweep_n_clusters(blobs_of(2, n=10), **given)
