import json

import pytest

from benchmarks import determinism
from benchmarks.determinism import WAYS, Way
from dec_jax.runs.errors import RunFailed

NETWORK = {
    "layers": [
        {"type": "Input", "output_shape": [64]},
        {"type": "Dense", "num_units": 4, "non_linearity": "linear"},
    ]
}


@pytest.mark.slow
def test_on_one_core_and_beside_other_work_a_short_run_is_the_same(tmp_path):
    network = tmp_path / "network.json"
    network.write_text(json.dumps(NETWORK))
    words = ["digits", "--recipe", "dec", "--architecture", str(network)]
    words += ["--epochs", "1", "--max-intervals", "1", "--limit", "200"]
    ways = [WAYS[0], next(way for way in WAYS if way.name == "on one core")]
    first, second = (
        determinism.run_once(way, words, tmp_path / str(number))
        for number, way in enumerate(ways)
    )
    assert len(first) > 3
    assert first == second


def test_a_difference_is_told(monkeypatch, tmp_path):
    def run_once(way, words, out):
        changed = b"b" if way.name == "on one core" else b"a"
        return {"labels": b"0", "encoder": changed, "decoder": b"a"}

    monkeypatch.setattr(determinism, "run_once", run_once)
    rows = {row["way"]: row for row in determinism.measure([], tmp_path)}
    assert len(rows) == len(WAYS)
    assert rows["again"]["arrays equal"] == 2
    assert rows["on one core"]["arrays equal"] == 1
    assert rows["on one core"]["labels equal"]


def test_a_run_that_fails_is_told_in_its_own_words(tmp_path):
    with pytest.raises(RunFailed, match="again: error: "):
        determinism.run_once(Way("again"), ["nothing"], tmp_path / "out")


def test_cores_are_busy_only_meanwhile():
    with determinism.busy_cores(True) as others:
        assert others and all(other.poll() is None for other in others)
    assert all(other.poll() is not None for other in others)
    with determinism.busy_cores(False) as others:
        assert others == []
