import os
import signal

import numpy as np
import pytest
from programs import read_json

from dec_jax.data.dataset import Dataset
from dec_jax.data.tables import load_table
from dec_jax.runs.callbacks import Stopped
from dec_jax.runs.errors import RunFailed, UsageError
from dec_jax.runs.experiment import (
    facts,
    open_folder,
    print_head,
    stoppable,
    take,
    take_first,
)


@pytest.fixture
def dataset():
    x = np.arange(8, dtype=np.float32).reshape(4, 2)
    labels = np.array([0, 1, 1, 0], np.int32)
    names = ("a.png", "b.png", "c.png", "d.png")
    return Dataset("four", x, labels, None, "a test", 1.0, names)


def test_take_keeps_samples_classes_and_names_together(dataset):
    part = take(dataset, np.array([2, 0]))
    assert part.x.tolist() == [[4, 5], [0, 1]]
    assert part.labels.tolist() == [1, 0]
    assert part.names == ("c.png", "a.png")


def test_take_keeps_the_lines_of_a_table(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,2\n3,5\n7,4\n")
    assert take(load_table(tmp_path / "a.csv"), range(1, 3)).lines == (3, 4)


def test_take_first_takes_all_without_a_limit(dataset):
    assert len(take_first(dataset, None).x) == 4
    assert take_first(dataset, 3).names == ("a.png", "b.png", "c.png")


def test_take_first_rejects_more_than_there_are(dataset):
    with pytest.raises(
        UsageError, match="--limit must be at most 4, the samples there"
    ):
        take_first(dataset, 5)


def test_facts_are_those_of_the_data(dataset):
    found = facts(dataset)
    assert (found["dataset"], found["n_samples"]) == ("four", 4)
    assert found["dataset_sha256"] == dataset.sha256
    assert {"dataset_source", "device", "versions", "commit"} <= set(found)


def test_open_folder_holds_the_config_and_numbers_a_default(tmp_path):
    default = str(tmp_path / "runs" / "four")
    first, second = (open_folder(None, default, {"epochs": n}) for n in (1, 2))
    assert [first.name, second.name] == ["four", "four-2"]
    assert read_json(second / "config.json") == {"epochs": 2}
    with pytest.raises(UsageError, match="is not an empty folder; take another"):
        open_folder(str(first), default, {})


def test_print_head_names_the_task_and_the_folder(dataset, tmp_path, capsys):
    print_head(dataset, "2 clusters", tmp_path, "float32")
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.startswith("dec_jax on ") and first.endswith(", float32")
    assert second == "four: 4 samples of 2 values (a test); 2 clusters"
    assert third == f"results: {tmp_path}"


def test_stoppable_asks_on_ctrl_c_and_restores_the_signal():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stoppable() as stop:
        assert not stop.asked
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked
        raise Stopped
    assert signal.getsignal(signal.SIGINT) is before


def test_stoppable_turns_a_loss_that_is_not_finite_into_a_failed_run():
    with pytest.raises(RunFailed, match="The loss is nan"), stoppable():
        raise FloatingPointError("The loss is nan.")
