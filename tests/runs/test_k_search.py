"""Ways to look for the number of clusters, as `-k` names them."""

import numpy as np
import pytest
from programs import cluster, read_json

from dec_jax.cli.cluster import number_or_auto
from dec_jax.data.arrays import dataset_from_array
from dec_jax.networks.architecture import dense_architecture
from dec_jax.runs import k_search
from dec_jax.training.dipdeck import DipDECKResult


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    x = 9 * np.eye(3, 6)[np.arange(120) % 3] + rng.normal(size=(120, 6))
    return x.astype(np.float32)


def test_density_finds_the_number_of_groups(table):
    found = k_search.find_n_clusters(dataset_from_array(table), method="density")
    assert (found.n_clusters, found.decided) == (3, False)
    assert found.reasons == (
        "peaks of the density on a map by t-SNE (DDC): 3 clusters",
    )


def test_dip_starts_from_few_clusters_of_few_samples(table, monkeypatch):
    given = {}

    def stand_in(key, params, x, *, architecture, config):
        given.update(config=config, shape=x.shape, network=architecture)
        return DipDECKResult(np.zeros(1, np.int32), 5, np.zeros((1, 1)), params, [5])

    monkeypatch.setattr(k_search, "dipdeck", stand_in)
    network = dense_architecture(6, hidden=(8,), embedding_dim=2)
    found = k_search.find_n_clusters(
        dataset_from_array(table), method="dip", network=network, epochs=1
    )
    assert found.n_clusters == 5 and "dip tests (DipDECK): 5" in found.reasons[0]
    assert (given["config"].n_clusters, given["shape"]) == (30, (120, 6))


def test_find_n_clusters_rejects_a_single_cluster_and_unknown_ways(table, monkeypatch):
    monkeypatch.setattr(k_search, "density_clusters", lambda *_, **__: np.zeros(9, int))
    data = dataset_from_array(table)
    with pytest.raises(ValueError, match="find a single cluster; give n_clusters, or"):
        k_search.find_n_clusters(data, method="density")
    with pytest.raises(ValueError, match="Unknown method 'dips'; did you mean 'dip'"):
        k_search.find_n_clusters(data, method="dips")


def test_a_run_takes_the_number_that_density_finds(table, small, tmp_path, no_figures):
    np.save(tmp_path / "x.npy", np.tile(table, (1, 6)))
    options = ("--recipe", "dec", "--architecture", small, "--epochs", 2)
    out = tmp_path / "out"
    run = cluster(
        *(tmp_path / "x.npy", "-k", "density", *options),
        *("--max-intervals", 2, "--out", out),
    )
    assert run.status == 0, run.err
    assert "peaks of the density on a map by t-SNE (DDC): 3 clusters" in run.out
    assert read_json(out / "results.json")["n_clusters"] == 3


def test_the_option_takes_numbers_and_ways():
    assert number_or_auto("7") == 7 and number_or_auto("dip") == "dip"
    with pytest.raises(Exception, match="or one of auto, density, dip, got 'some'"):
        number_or_auto("some")
