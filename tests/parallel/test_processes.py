import jax
import numpy as np
import pytest

from dec_jax.parallel import processes, sharding


@pytest.fixture(scope="module")
def mesh():
    return sharding.data_mesh()


def test_join_rows_takes_the_rows_of_this_process(mesh):
    x = np.arange(24.0, dtype=np.float32).reshape(8, 3)
    mine = processes.rows_of_process(len(x), mesh)
    assert mine == slice(0, 8)
    joined = processes.join_rows(x[mine], mesh)
    assert joined.sharding == sharding.shard_rows(x, mesh).sharding
    np.testing.assert_array_equal(joined, x)


def test_one_process_is_the_first_and_gets_its_own_values():
    assert processes.is_first_process()
    tree = {"a": np.ones(2)}
    assert processes.from_first(tree) is processes.to_save(tree) is tree
    assert processes.text_from_first("text") == "text"
    assert processes.any_process(True) and not processes.any_process(False)


def test_rows_of_process_rejects_rows_that_do_not_divide(mesh):
    message = (
        "The number of rows must be a multiple of the 4 devices .* got 10; leave 2"
    )
    with pytest.raises(ValueError, match=message):
        processes.rows_of_process(10, mesh)


VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


@pytest.fixture
def joined(monkeypatch):
    """The processes that jax is asked to join; no variables are set."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    asked = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *call: asked.append(call))
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    return asked


def test_processes_are_taken_from_the_call_then_from_variables(joined, monkeypatch):
    for name, value in zip(VARIABLES, ("here:1", "4", "2"), strict=True):
        monkeypatch.setenv(name, value)
    processes.initialize_distributed()
    processes.initialize_distributed("there:2", 8, 0)
    assert joined == [("here:1", 4, 2), ("there:2", 8, 0)]


def test_processes_are_left_to_jax_where_nothing_is_said(joined):
    processes.initialize_distributed()
    assert joined == [(None, None, None)]


def test_initialize_distributed_rejects_half_of_the_variables(joined, monkeypatch):
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    message = "belong together, got no JAX_COORDINATOR_ADDRESS and no JAX_PROCESS_ID"
    with pytest.raises(ValueError, match=message):
        processes.initialize_distributed()


def test_initialize_distributed_rejects_a_number_that_is_none(joined, monkeypatch):
    monkeypatch.setenv("JAX_PROCESS_ID", "first")
    with pytest.raises(ValueError, match="JAX_PROCESS_ID must be .* got 'first'"):
        processes.initialize_distributed()


def test_initialize_distributed_rejects_where_no_cluster_is_known(joined, monkeypatch):
    def unknown(*_):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", unknown)
    message = "processes of this program are not known; set JAX_COORDINATOR_ADDRESS, .* or start them by SLURM"
    with pytest.raises(ValueError, match=message):
        processes.initialize_distributed()
