"""Ways to look for the number of clusters, as `-k` names them."""

import warnings

import numpy as np
import pytest
from programs import assert_refused, cluster, interrupt_at, read_csv, read_json
from sklearn.datasets import load_wine
from sklearn.exceptions import ConvergenceWarning

import dec_jax
from dec_jax.cli.cluster import number_or_auto
from dec_jax.data.arrays import dataset_from_array
from dec_jax.evaluation.n_clusters import Sweep
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


@pytest.mark.slow
def test_fit_estimator_and_command_find_one_number(tmp_path, no_figures, monkeypatch):
    # With its own seed each, the search finds 3 clusters of the wines or 2.
    monkeypatch.setattr(k_search, "MOST", 4)
    x = load_wine().data
    np.save(tmp_path / "wine.npy", x)
    short = {"max_intervals": 2, "baseline": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = dec_jax.fit(x, "auto", seed=7, **short)
        estimator = dec_jax.DeepEmbeddedClustering("auto", random_state=7, **short)
        estimator.fit(x)
    run = cluster(
        *(tmp_path / "wine.npy", "-k", "auto", "--max-intervals", 2, "--seed", 7),
        *("--out", tmp_path / "out"),
    )
    assert run.status == 0, run.err
    k = read_json(tmp_path / "out/results.json")["n_clusters"]
    assert k == len(found.centroids) == len(estimator.cluster_centers_)
    assert estimator.recommendation_ == found.recommendation
    lines = [f"  {reason}\n" for reason in found.recommendation.reasons]
    assert "".join(lines) in run.out
    np.testing.assert_array_equal(estimator.labels_, found.labels)
    labels = [int(row["cluster"]) for row in read_csv(tmp_path / "out/labels.csv")]
    np.testing.assert_array_equal(labels, found.labels)


@pytest.mark.parametrize(
    ("support", "words"),
    [
        ([0.2, 0.37, 0.1, 0.36], "worth a try too: 5 clusters"),
        ([0.1, 0.37, 0.1, 0.1], "worth a try too: 2 and 4 clusters"),
    ],
)
def test_undecided_numbers_name_others_that_are_worth_a_try(support, words):
    found = k_search.recommended(a_sweep(support))
    assert (found.n_clusters, found.decided) == (3, False)
    assert found.reasons[-1] == words


def a_sweep(support, *, eigengap=(0.1,) * 4, noise_gap=1.0):
    """Scores of 2 to 5 clusters, all of them stable."""
    flat = np.full(4, 0.1)
    scores = (np.array(eigengap), np.array(support), flat, np.ones(4))
    return Sweep(np.arange(2, 6), *scores, np.ones(8), noise_gap)


def test_a_clear_gap_without_support_is_worth_a_try_first():
    sweep = a_sweep([0.7, 0.6, 0.3, 0.2], eigengap=[0, 0.1, 0.3, 0.1], noise_gap=0.15)
    found = k_search.recommended(sweep)
    assert (found.n_clusters, found.decided, found.others) == (2, False, (4, 3))
    assert found.reasons[-1] == "worth a try too: 3 and 4 clusters"
    noisy = sweep._replace(noise_gap=0.2)
    assert k_search.recommended(noisy).others == (3,)


def test_a_clear_gap_of_small_clusters_is_worth_a_try():
    # Halves of the data lose a small cluster, whose gap the graph has all the same.
    sweep = a_sweep([0.7, 0.6, 0.3, 0.2], eigengap=[0, 0, 0.3, 0], noise_gap=0.01)
    found = k_search.recommended(sweep._replace(stability=np.array([1, 1, 0.7, 1])))
    assert (found.n_clusters, found.decided, found.others) == (2, False, (4, 3))


@pytest.mark.parametrize("decided", [False, True], ids=["open", "decided"])
def test_an_open_number_is_no_confident_answer(
    decided, table, no_figures, with_opinion, tmp_path, monkeypatch
):
    support = [0.1, 0.9, 0.1, 0.2 if decided else 0.8]
    sweep = a_sweep(support)
    monkeypatch.setattr(k_search, "sweep_n_clusters", lambda *_, **__: sweep)
    data, out = tmp_path / "table.npy", tmp_path / "out"
    np.save(data, table)
    start = (data, "-k", "auto", "--max-intervals", 2, "--out", out)
    with monkeypatch.context() as patched:
        interrupt_at(patched, "clustering", 1)
        assert cluster(*start).status == 130
    run = cluster("--resume", out)
    opinion = read_json(out / "results.json")["opinion"]
    if decided:
        assert opinion["verdict"] == "confident"
        assert "second opinion: confident: " in run.out
        return
    assert (opinion["verdict"], opinion["other_number"]) == ("several answers", 5)
    words = "but the data do not decide their number: 5 is worth a try too"
    assert words in opinion["text"] and words in run.out
    assert "next: try -k 5 in a new run" in run.out
    result = dec_jax.fit(table, "auto", max_intervals=2)
    assert result.opinion.text.endswith(words)


def test_mistakes_are_told_before_the_search(table, tmp_path):
    (tmp_path / "mine").write_text("mine")
    np.save(tmp_path / "table.npy", table)
    run = cluster(tmp_path / "table.npy", "-k", "auto", "--out", tmp_path / "mine")
    assert_refused(run, "is not an empty folder; take another")
    assert run.out == ""


def test_find_n_clusters_rejects_a_single_cluster_and_unknown_ways(table, monkeypatch):
    monkeypatch.setattr(k_search, "density_clusters", lambda *_, **__: np.zeros(9, int))
    data = dataset_from_array(table)
    with pytest.raises(ValueError, match="find a single cluster; give n_clusters, or"):
        k_search.find_n_clusters(data, method="density")
    with pytest.raises(ValueError, match="Unknown method 'dips'; did you mean 'dip'"):
        k_search.find_n_clusters(data, method="dips")


def test_a_run_takes_the_number_that_density_finds(table, small, tmp_path, no_figures):
    np.save(tmp_path / "x.npy", np.tile(table[:90], (1, 6)))
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
