import shutil

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


def test_the_place_of_a_kill_is_told_by_fresh_files(tmp_path):
    saves = tmp_path / "checkpoints"
    wanted = [
        ("config.json", "before it wrote anything"),
        ("checkpoints/.reserved", "inside a save"),
        ("checkpoints/pretrain0-000000001/arrays", "inside a save"),
        ("checkpoints/pretrain0-000000001/manifest.json", "in pretraining"),
        ("autoencoder.safetensors", "between pretraining and clustering"),
        ("checkpoints/train-000000001/arrays", "inside a save"),
        (
            "checkpoints/train-000000001/manifest.json",
            "in clustering, or between it and results",
        ),
        ("model.safetensors.partial", "while results were written"),
        ("results.json", "while figures were drawn"),
    ]
    for name, place in wanted:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
        assert soak.place_of(tmp_path, 0) == place
        (saves / ".reserved").unlink(missing_ok=True)
    later = (tmp_path / "results.json").stat().st_mtime_ns + 1
    assert soak.place_of(tmp_path, later) == "before it wrote anything"
    shutil.rmtree(saves)
    assert soak.place_of(tmp_path, 0) == "while the report was written"


@pytest.mark.slow
def test_killed_runs_end_as_one_that_never_was(tmp_path, capsys):
    network = write_network(tmp_path / "network.json", 64, 8, 3)
    words = (f"--architecture={network}", "--recipe=dec", "--epochs=3")
    options = [f"--option={word}" for word in (*words, "--max-intervals=4")]
    assert soak.main(["--kills", "5", *options]) == 0
    told = capsys.readouterr().out
    assert told.endswith(" runs: 0 runs differ from the unbroken one\n")
