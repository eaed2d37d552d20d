from concurrent.futures import Future

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import (
    augment,
    convolution,
    cost_model,
    graph,
    kmeans,
    large,
    refresh,
    seeds,
    startup,
    stream,
    tables,
    train_step,
)
from dec_jax.runs.errors import UsageError


def test_flops_are_those_of_the_products_by_hand():
    # Two products a weight and sample backward, one forward; none for the pixels.
    weights = 784 * 500 + 500 * 500 + 500 * 2000 + 2000 * 10
    assert train_step.flops_per_sample("clustering") == 6 * weights - 2 * 784 * 500
    assert train_step.flops_per_sample("pretraining") == 12 * weights - 2 * 784 * 500


@pytest.mark.slow
def test_train_step_measures_every_program(narrow):
    found = train_step.measure(64, "float32", rounds=1)
    cases = [row["case"].split(", batch")[0] for row in found]
    if any("torch.compile" in case for case in cases):
        # PyTorch is no dependency; with it there is a row more.
        cases.remove("pretraining, beside torch.compile")
    assert cases == ["pretraining", "pretraining, moved images", "clustering"]
    for row in found:
        assert row["ours"] > 0 and row["limit_fraction"] > 0 and row["loss"] > 0
        assert (row["peer"] is None) == (row["ratio"] is None)


def test_a_compiler_that_fails_has_no_row(capsys):
    def broken():
        raise RuntimeError("no compiler\nof C++")

    programs = {"pretraining": lambda: 0.5, train_step.COMPILED: broken}
    found = train_step.first_calls(programs)
    assert list(found) == list(programs) == ["pretraining"]
    assert found["pretraining"]["loss"] == 0.5
    assert "torch.compile does not run here: no compiler\n" in capsys.readouterr().out
    with pytest.raises(RuntimeError, match="no compiler"):
        train_step.first_calls({"pretraining": broken})


@pytest.mark.slow
def test_convolution_compares_gradients_and_times():
    found = convolution.compare("mnist strided", 2, steps=1, rounds=1)
    beside = {row["case"].split(", beside ")[1]: row for row in found}
    assert beside[convolution.JAX]["gradient_difference"] < 1e-4
    for row in found:
        assert row["ratio"] == pytest.approx(row["peer"] / row["ours"])


@pytest.mark.parametrize("name", convolution.NETS)
def test_pytorch_has_the_same_network(name):
    pytest.importorskip("torch")
    size, encoder = convolution.NETS[name]
    keys = jax.random.split(jax.random.key(0))
    params = convolution.init_params(keys[0], encoder)
    x = jax.random.uniform(keys[1], (2, size, size, 1))
    loss = convolution.reconstruction_loss(params, x, encoder, convolution.OURS)
    theirs = convolution.torch_steps(params, x, name, 1)
    np.testing.assert_allclose(theirs(), loss, rtol=1e-4)


def test_refresh_holds_z_q_p_and_little_more():
    speed, memory = refresh.measure(3_000, 20, rounds=1)
    assert speed["ours"] > 0 and speed["limit_fraction"] > 0
    assert memory["z_q_p_bytes"] == 4 * 3_000 * (10 + 20 + 20)
    assert memory["limit_fraction"] > 0.9


@pytest.mark.slow
def test_kmeans_finds_clusters_as_good_as_the_peer():
    row = kmeans.compare("blobs", 300, 4, 3, n_init=3, rounds=2)
    assert row["case"] == "blobs n=300 d=4 k=3 n_init=3"
    assert row["inertia_ratio"] == pytest.approx(1, rel=0.05)
    assert row["ratio"] == pytest.approx(row["peer"] / row["ours"])


@pytest.mark.slow
def test_seeds_are_measured_at_once_and_one_after_another(narrow):
    x = jnp.asarray(train_step.images(64))
    found = seeds.measure(x, 2, 32, "float32", rounds=1, at_once=2)
    assert [row["case"] for row in found] == [
        f"{phase}, 2 seeds, batch 32, float32"
        for phase in ("pretraining", "clustering")
    ]
    for row in found:
        assert row["unit"] == "s" and row["one"] > 0
        np.testing.assert_allclose(row["ratio"], row["peer"] / row["ours"])
        np.testing.assert_allclose(row["limit_fraction"], row["one"] / row["ours"])


@pytest.mark.parametrize("share, remark", [(0.8, ""), (0.7, "takes 30%, above 25%")])
def test_augment_remarks_a_missed_goal(share, remark):
    assert remark in augment.remark({"limit_fraction": share})
    assert bool(augment.remark({"limit_fraction": share})) == bool(remark)


@pytest.mark.slow
def test_augment_measures_steps_with_and_without(narrow):
    found = augment.measure(32, "float32", rounds=1)
    assert [row["case"] for row in found] == [
        "pretraining, batch 32, float32",
        "clustering, batch 32, float32",
    ]
    for row in found:
        assert row["ours"] > 0 and row["still"] > 0 and row["moving"] > 0
        assert row["limit_fraction"] == pytest.approx(row["still"] / row["ours"])


def test_startup_fills_a_cache_of_its_own_and_reads_it(monkeypatch):
    ran = []
    monkeypatch.setattr(
        startup, "fresh", lambda *program, cache=None: ran.append((program, cache))
    )
    found = startup.measure(2, quick=False)
    assert [row["case"] for row in found] == [
        "import dec_jax",
        "first step",
        startup.DIGITS,
    ]
    caches = {cache for program, cache in ran if startup.FIRST_STEP in program}
    assert len(caches) == 2 and None in caches
    # Once to fill it, and two rounds.
    assert len(ran) == 3 * 6


def test_a_fresh_process_uses_the_cache_that_it_is_given(tmp_path):
    program = "import jax; jax.jit(lambda x: x + 1)(1.0)"
    startup.fresh("-c", program, cache=tmp_path / "kept")
    assert list((tmp_path / "kept").glob("*-cache"))


@pytest.mark.slow
def test_startup_takes_a_step():
    startup.first_step()


def test_the_model_counts_the_flops_of_the_products():
    pretraining = cost_model.pretraining_step(256, devices=4)
    clustering = cost_model.clustering_step(256, devices=4)
    assert pretraining.flops == 64 * train_step.flops_per_sample("pretraining")
    # The distances to the centroids and their gradients are added.
    assert clustering.flops == 64 * (train_step.flops_per_sample("clustering") + 600)


def test_the_model_sends_nothing_on_one_device_and_no_more_than_twice_a_sum():
    for step in (cost_model.pretraining_step, cost_model.clustering_step):
        assert step(256).sent == 0
        summed = 4 * 2 * cost_model.weights() + 256 * (784 + 40)
        assert 0 < step(256, devices=8).sent <= 2 * summed


def test_what_overlaps_takes_as_long_as_its_longest_part():
    cost = cost_model.Cost(6.0, 4.0, 1.0)
    machine = cost_model.Machine(2.0, 1.0, 1.0, overlaps=False)
    assert cost_model.seconds(cost, machine) == 3 + 4 + 1
    assert cost_model.seconds(cost, machine._replace(overlaps=True)) == 4


def test_scaling_has_the_plan_that_the_model_makes():
    page = (tables.HERE / "SCALING.md").read_text()
    assert cost_model.plan() in page


@pytest.mark.slow
def test_the_model_is_compared_with_what_is_measured(narrow):
    found = cost_model.measure(64, rounds=1)
    assert len(found) == 2
    for row in found:
        assert row["ours"] > 0 and row["peer"] > 0


class SameProcess:
    """Runs functions here and at once, in place of a process of their own."""

    def __init__(self, *args, **options):
        pass

    __enter__ = lambda self: self  # noqa: E731
    __exit__ = lambda self, *error: None  # noqa: E731

    def submit(self, function, *args):
        done = Future()
        done.set_result(function(*args))
        return done


@pytest.mark.slow
def test_stream_measures_each_phase_and_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "ProcessPoolExecutor", SameProcess)
    monkeypatch.setattr(stream, "WIDTH", 12)
    settings = stream.Settings(batch=32, hidden=(8,))
    path = tmp_path / "rows.npy"
    found = list(stream.measure(path, 300, settings, fits=100, rounds=1))
    assert np.load(path).shape == (300, 12)
    assert [row["unit"] for row in found] == ["samples/s", "samples/s", "GB"]
    for row in found[:2]:
        np.testing.assert_allclose(row["ratio"], row["ours"] / row["peer"])
    assert 0.05 < found[2]["ours"] < 100


@pytest.mark.slow
def test_large_measures_each_phase_and_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(large, "ProcessPoolExecutor", SameProcess)
    monkeypatch.setattr(large, "SIDE", 8)
    recipe = large.recipe_of(300, steps=2, batch=32, graph=200)
    found = list(large.measure(tmp_path / "images.npy", 300, recipe))
    assert np.load(tmp_path / "images.npy").shape == (300, 8, 8)
    units = ["samples/s", "samples/s", "ACC", "s", "s", "GB", "GB"]
    assert [row["unit"] for row in found] == units
    assert all(row["ours"] > 0 for row in found)


@pytest.mark.slow
def test_graph_compares_labels_of_few_nodes_with_those_of_all(blobs):
    x, labels = blobs
    found = list(graph.compare(x, labels, 100, seeds=1, name="blobs"))
    assert [row["unit"] for row in found] == ["%", "%", "ACC", "s"]
    assert [row["ours"] for row in found[:3]] == [100, 100, 1]
    assert found[2]["peer"] == 1


def test_graph_rejects_data_without_an_autoencoder():
    with pytest.raises(UsageError, match="--folder must be given: that of a run"):
        graph.BENCHMARK.run([])


def test_stream_rejects_a_disk_without_room(tmp_path):
    with pytest.raises(UsageError, match=r"rows need [\d.]+ GB in .* fewer rows"):
        stream.check_room(tmp_path, 10**12)


def test_costs_of_best_are_those_of_its_loops_by_hand():
    n, m, e, k = 1000, 100, 10, 10
    assert cost_model.nearest_nodes(n, m).flops == 2 * n * m * e
    exact = cost_model.start_of_best(m, n)
    assert cost_model.start_of_best(m, m) == exact
    sampled = cost_model.start_of_best(n, m)
    # Means and votes.
    assert sampled.flops - exact.flops == pytest.approx(4 * n * m * e)
    columns = 2 * k + 4
    graphs = 20 * 10 * 24 * m * columns * (5 + 10 + 20)
    small = 3 * 10 * 8 * 4 * m * columns
    moved = sum(cost_model.spectrum(m, g).moved for g in (5, 10, 20))
    assert moved == pytest.approx(graphs + small)
