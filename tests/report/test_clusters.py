import numpy as np
import pytest
from finished_runs import image_data, write_run
from scipy.sparse import csr_matrix

from dec_jax.evaluation.judge import conductance
from dec_jax.report.clusters import cluster_numbers, conductances, jaccard_stability
from dec_jax.report.run_files import OtherLabels, read_run


def jaccard_by_sets(labels, other, cluster):
    """The largest Jaccard index of a cluster with one of another labeling."""
    own = set(np.flatnonzero(labels == cluster))
    others = [set(np.flatnonzero(other == name)) for name in set(other.tolist())]
    return max(len(own & one) / len(own | one) for one in others)


def test_stability_is_the_mean_of_the_largest_jaccard_index():
    rng = np.random.default_rng(0)
    labels, first, second = rng.integers(0, 4, (3, 50))
    rows = np.arange(50)
    others = [OtherLabels("a", rows, first), OtherLabels("b", rows, second)]
    expected = [
        np.mean([jaccard_by_sets(labels, one, cluster) for one in (first, second)])
        for cluster in range(4)
    ]
    np.testing.assert_allclose(jaccard_stability(labels, others, 4), expected)


def test_stability_counts_only_the_rows_of_the_other_labeling():
    other = OtherLabels("a", np.array([0, 1, 2]), np.array([7, 7, 8]))
    found = jaccard_stability(np.array([0, 0, 1, 2]), [other], 3)
    np.testing.assert_allclose(found, [1, 1, np.nan])


def test_without_other_labelings_there_is_no_stability():
    assert np.isnan(jaccard_stability(np.array([0, 1]), [], 2)).all()


def test_mean_of_the_conductances_is_the_conductance():
    rng = np.random.default_rng(0)
    weights = np.triu(rng.random((20, 20)) * (rng.random((20, 20)) < 0.4), 1)
    graph = csr_matrix(weights + weights.T)
    labels = rng.integers(0, 3, 20)
    assert conductances(graph, labels, 3).mean() == pytest.approx(
        conductance(graph, labels)
    )


def test_numbers_of_a_run_with_an_empty_cluster(tmp_path):
    data = image_data()
    run = read_run(write_run(tmp_path, data, data.labels, 4))
    found = cluster_numbers(run, data.x)
    assert found.sizes.tolist() == [20, 20, 20, 0]
    assert found.compared_with == ""
    # The stripes are far apart.
    np.testing.assert_allclose(found.conductance[:3], 0)
    assert np.isnan([found.sure[3], found.conductance[3], *found.stability]).all()
    q = [run.q[run.labels == cluster].mean() for cluster in range(3)]
    np.testing.assert_allclose(found.sure[:3], q)


def test_alternatives_are_compared_with(tmp_path):
    data = image_data()
    write_run(tmp_path, data, data.labels)
    lines = [f"{row},{row % 3},{row % 2}" for row in range(0, 60, 2)]
    text = "\n".join(["index,k-means,Ward", *lines])
    (tmp_path / "alternatives.csv").write_text(text + "\n")
    found = cluster_numbers(read_run(tmp_path), data.x)
    assert found.compared_with == "simple methods"
    # k-means agrees with all of each cluster; Ward has one cluster of all rows seen.
    np.testing.assert_allclose(found.stability, (1 + 1 / 3) / 2)


def test_other_seeds_are_compared_with_first(tmp_path):
    data = image_data()
    for seed, labels in enumerate((data.labels, data.labels, np.arange(60) % 2)):
        write_run(tmp_path / f"seed-{seed}", data, labels)
    (tmp_path / "seed-0/alternatives.csv").write_text("index,Ward\n0,0\n")
    found = cluster_numbers(read_run(tmp_path / "seed-0"), data.x)
    assert found.compared_with == "other seeds"
    np.testing.assert_allclose(found.stability, (1 + 10 / 40) / 2)
