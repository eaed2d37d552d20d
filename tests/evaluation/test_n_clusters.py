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
    flat = dict.fromkeys(("eigengap", "support", "silhouette"), np.zeros(5))
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
    assert sweep.support[at] > 0.9


@pytest.mark.parametrize(
    "draw, d",
    [
        ("normal", 2),
        ("uniform", 5),
        pytest.param("normal", 12, marks=pytest.mark.slow),
        pytest.param("exponential", 5, marks=pytest.mark.slow),
    ],
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


def test_fewer_numbers_make_no_gap_clearer():
    z = np.random.default_rng(0).normal(size=(120, 3))
    few, more = (sweep_n_clusters(z, numbers) for numbers in ([2, 3], [2, 3, 4, 9]))
    assert few.noise_gap == more.noise_gap > 0


def test_a_gap_whose_clusters_halves_lose_is_named():
    sweep = sweep_of(eigengap=peak(4), support=peak(2))
    stability = np.where(sweep.n_clusters == 4, 0.7, 1.0)
    found = recommend(sweep._replace(stability=stability))
    assert (found.n_clusters, found.decided) == (2, True)
    assert found.reasons[0] == (
        "the eigengap is largest at k = 4: 1.0000, but halves of the data do not agree on "
        "its clusters (ARI 0.70)"
    )
    assert not any("almost as large" in reason for reason in found.reasons)


def test_sweep_has_a_number_for_each_k_in_the_order_given():
    seen = []
    sweep = sweep_n_clusters(blobs_of(3), [4, 2], on_k=seen.append)
    assert sweep.n_clusters.tolist() == seen == [4, 2]
    values = sweep.eigenvalues
    expected = [values[3] - values[4], values[1] - values[2]]
    np.testing.assert_allclose(sweep.eigengap, expected, rtol=1e-6)
    assert all(len(column) == 2 for column in sweep[:-2])


def test_recommend_names_what_agrees_and_what_does_not():
    sweep = sweep_of(eigengap=peak(4), support=peak(4), silhouette=peak(5))
    found = recommend(sweep)
    assert (found.n_clusters, found.decided) == (4, True)
    assert found.reasons == (
        "of those on which halves of the data agree, the eigengap is largest at k = 4: "
        "1.0000",
        "simple methods agree most on k = 4: support 1.00",
        "silhouette is highest at k = 5",
        "halves of the data agree on the clusters: ARI 1.00",
    )


def rivals():
    """Eigengaps that decide nothing."""
    gaps = peak(4)
    gaps[4] = 0.9
    return gaps


def test_high_support_of_one_number_alone_decides_it():
    shared = np.array([0.4, 0.6, 0.42, 0.4, 0.3])
    found = recommend(sweep_of(eigengap=rivals(), support=shared))
    assert (found.n_clusters, found.decided) == (3, True)
    for change in (
        {"support": shared + 0.05},  # another number has nearly as much
        {"support": 0.9 * shared},  # it is not high
        {"stability": np.full(5, 0.8)},  # halves do not agree
    ):
        other = recommend(
            sweep_of(**{"eigengap": rivals(), "support": shared} | change)
        )
        assert (other.n_clusters, other.decided) == (3, False)


def test_the_first_of_two_peaks_of_nearly_the_same_support_is_recommended():
    shared = np.array([0.3, 0.46, 0.3, 0.2, 0.5])
    found = recommend(sweep_of(eigengap=rivals(), support=shared, silhouette=peak(3)))
    assert (found.n_clusters, found.decided) == (3, False)
    assert found.reasons[1:4] == (
        "almost as large, or larger, at k = 6",
        "simple methods agree on k = 3 (support 0.46) nearly as much as on k = 6 (0.50)",
        "silhouette agrees",
    )
    # Numbers may come in any order.
    sweep = sweep_of(eigengap=rivals(), support=shared)
    turned = Sweep(*(column[::-1] for column in sweep[:5]), *sweep[5:])
    assert recommend(turned).n_clusters == 3


def test_a_gap_on_which_simple_methods_disagree_decides_nothing():
    shared = peak(3, 0.5)
    shared[2] = 0.34
    found = recommend(sweep_of(eigengap=peak(4), support=shared))
    assert (found.n_clusters, found.decided) == (3, False)
    assert "simple methods hardly agree on k = 4: support 0.34" in found.reasons
    shared[2] = 0.36
    found = recommend(sweep_of(eigengap=peak(4), support=shared))
    assert (found.n_clusters, found.decided) == (4, True)


def test_recommend_passes_over_what_does_not_repeat_itself():
    gaps = peak(4)
    gaps[1] = 0.5
    stability = np.where(np.arange(2, 7) == 4, 0.5, 1.0)
    # The unstable gap is a rival all the same.
    found = recommend(
        sweep_of(eigengap=gaps, stability=stability, support=peak(5, 0.5))
    )
    assert (found.n_clusters, found.decided) == (5, False)
    assert found.reasons[0].startswith("the eigengap is largest at k = 4: 1.0000, but")


def test_recommend_is_undecided_where_halves_disagree():
    sweep = sweep_of(eigengap=peak(3), support=peak(4), stability=np.full(5, 0.89))
    found = recommend(sweep)
    assert (found.n_clusters, found.decided) == (4, False)
