import pytest
from finished_runs import image_data, write_run
from programs import write_network

from benchmarks import soak


def test_runs_that_differ_are_told(tmp_path):
    data = image_data()
    one = write_run(tmp_path / "one", data, data.labels)
    same = write_run(tmp_path / "same", data, data.labels)
    assert soak.differences(one, same) == []
    other = write_run(tmp_path / "other", data, (data.labels + 1) % 3, n_clusters=4)
    told = ["labels.csv", "model.safetensors", "results.json"]
    assert soak.differences(one, other) == told


@pytest.mark.slow
def test_killed_runs_end_as_one_that_never_was(tmp_path, capsys):
    network = write_network(tmp_path / "network.json", 64, 8, 3)
    words = (f"--architecture={network}", "--recipe=dec", "--epochs=3")
    options = [f"--option={word}" for word in (*words, "--max-intervals=4")]
    assert soak.main(["--kills", "5", *options]) == 0
    told = capsys.readouterr().out
    assert told.endswith(" runs: 0 runs differ from the unbroken one\n")
