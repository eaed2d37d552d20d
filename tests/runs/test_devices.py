import os
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from dec_jax.parallel.sharding import data_mesh
from dec_jax.recipes.dense import DataShape, make_recipe
from dec_jax.runs import devices
from dec_jax.runs.errors import UsageError
from dec_jax.runs.fit import check_batches, place


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No variables of a cluster."""
    for name in devices.COUNTS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def several(monkeypatch):
    """Two processes that find one another; the list holds exit statuses."""
    statuses = []
    monkeypatch.setattr(devices.processes, "initialize_distributed", lambda: None)
    monkeypatch.setattr(os, "_exit", statuses.append)
    return statuses


def test_one_cpu_device_needs_no_mesh():
    with devices.joined({}) as here:
        assert here == (None, None)


def test_devices_are_the_first_of_those_there_are():
    with devices.joined({"devices": 2}) as here:
        assert here.mesh.devices.tolist() == jax.devices()[:2]


def test_devices_rejects_more_than_there_are():
    with pytest.raises(UsageError, match="--devices 99: there are only 4"):
        devices.joined({"devices": 99}).__enter__()


def test_devices_rejects_a_number_that_no_machine_has():
    # JAX would begin to make a million of them.
    with pytest.raises(UsageError, match="--devices must be at most 512, got 1000000"):
        devices.joined({"devices": 1_000_000}).__enter__()


def test_devices_rejects_none():
    with pytest.raises(UsageError, match="--devices must be at least 1, got 0"):
        devices.joined({"devices": 0}).__enter__()


@pytest.mark.parametrize("name", devices.COUNTS)
def test_variables_of_a_cluster_join_without_the_option(several, monkeypatch, name):
    monkeypatch.setenv(name, "2")
    with devices.joined({}) as here:
        assert here.mesh.size == 4
        assert here.scratch is None


def test_distributed_rejects_a_number_of_devices(several):
    with pytest.raises(UsageError, match="several processes takes all devices"):
        devices.joined({"distributed": True, "devices": 2}).__enter__()


def test_distributed_rejects_processes_that_are_not_known(monkeypatch):
    def unknown():
        raise ValueError("Which processes belong together is not known.")

    monkeypatch.setattr(devices.processes, "initialize_distributed", unknown)
    with pytest.raises(UsageError, match="--distributed: Which processes"):
        devices.joined({"distributed": True}).__enter__()


def test_a_second_process_writes_elsewhere_and_prints_nothing(
    several, monkeypatch, capfd
):
    monkeypatch.setattr(devices.processes, "is_first_process", lambda: False)
    monkeypatch.setattr(os, "dup2", lambda *_: None)
    with devices.joined({"distributed": True}) as here:
        (here.scratch / "labels.csv").write_text("cluster\n")
        print("heard")
    assert not here.scratch.exists()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "error, status, said",
    [
        (
            ValueError(
                "UNKNOWN: Gloo all-reduce failed: Connection reset by peer\nmore"
            ),
            devices.PEER_ENDED,
            "process 0 cannot continue: another process of this run has ended (UNKNOWN: Gloo "
            "all-reduce failed: Connection reset by peer).\nStart all of them again with "
            "--resume",
        ),
        (UsageError("--seeds must be 1"), 2, "process 0: --seeds must be 1"),
        (KeyError("lost"), 1, "KeyError: 'lost'"),
    ],
)
def test_a_process_that_fails_says_why_and_waits_for_nobody(
    several, capsys, error, status, said
):
    with devices.joined({"distributed": True}):
        raise error
    assert several == [status]
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("n, rows", [(8, 2), (7, 7)])
def test_samples_are_spread_where_devices_divide_them(n, rows):
    x = np.arange(2.0 * n, dtype=np.float32).reshape(n, 2)
    placed = place(x, data_mesh())
    assert len(placed.addressable_shards) == 4
    assert placed.addressable_shards[0].data.shape == (rows, 2)
    np.testing.assert_array_equal(placed, x)
    assert place(x, None).sharding.device_set == {jax.devices()[0]}


def test_rows_on_devices_tells_how_many_each_has():
    assert devices.rows_on_devices(8000, data_mesh()) == "4 devices, 2,000 rows on each"
    assert "all rows on each, as" in devices.rows_on_devices(7, data_mesh())


def test_batches_of_a_recipe_rejects_what_devices_do_not_divide():
    recipe = make_recipe("dec", DataShape(n_samples=1000, input_dim=8, name="blobs"))
    check_batches(recipe, 1000, data_mesh())
    three = SimpleNamespace(size=3)
    with pytest.raises(ValueError, match="batch_size must be a multiple of the 3"):
        check_batches(recipe, 1000, three)
