import numpy as np
import pytest
from finished_runs import change_results, image_data, write_run
from scipy.sparse import csr_matrix

from dec_jax.evaluation.judge import conductance
from dec_jax.report.clusters import cluster_numbers, conductances, few_rows
from dec_jax.report.run_files import read_run


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


def test_stability_is_that_of_the_run(tmp_path):
    data = image_data()
    write_run(tmp_path, data, data.labels)
    change_results(tmp_path, stability=[0.5, None, 1.0])
    found = cluster_numbers(read_run(tmp_path), data.x)
    assert found.compared_with == "simple methods"
    np.testing.assert_array_equal(found.stability, [0.5, np.nan, 1])


def test_alternatives_of_an_older_run_are_compared_with(tmp_path):
    data = image_data()
    write_run(tmp_path, data, data.labels)
    lines = [f"{row},{row % 3},{row % 2}" for row in range(0, 60, 2)]
    text = "\n".join(["index,k-means,Ward", *lines])
    (tmp_path / "alternatives.csv").write_text(text + "\n")
    found = cluster_numbers(read_run(tmp_path), data.x)
    assert found.compared_with == "methods in alternatives.csv"
    # k-means agrees with all of each cluster; Ward has one cluster of all rows seen.
    np.testing.assert_allclose(found.stability, (1 + 1 / 3) / 2)


def test_other_seeds_are_compared_with_first(tmp_path):
    data = image_data()
    for seed, labels in enumerate((data.labels, data.labels, np.arange(60) % 2)):
        write_run(tmp_path / f"seed-{seed}", data, labels)
    change_results(tmp_path / "seed-0", stability=[0.0, 0.0, 0.0])
    found = cluster_numbers(read_run(tmp_path / "seed-0"), data.x)
    assert found.compared_with == "2 other seeds"
    np.testing.assert_allclose(found.stability, (1 + 10 / 40) / 2)


def test_few_rows_are_fewer_where_samples_are_large():
    rows = few_rows(np.broadcast_to(np.float32(0), (5000, 60_000)), 3000)
    assert len(rows) == 500 and (np.diff(rows) > 0).all()
    assert len(few_rows(np.zeros((5000, 2)), 3000)) == 3000
    np.testing.assert_array_equal(few_rows(np.zeros((7, 2)), 3000), np.arange(7))
