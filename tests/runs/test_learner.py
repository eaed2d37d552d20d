"""A network that learns the labels of another."""

from types import SimpleNamespace

import numpy as np
import pytest
from programs import cluster, interrupt_at, read_csv, read_json

from dec_jax import load_dataset, model
from dec_jax.recipes import dense

pytestmark = pytest.mark.slow
LEARN = ("digits", "--recipe", "best", "--epochs", 20, "--max-intervals", 6)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """An unbroken run in which a second network learns the clusters of the graph of z."""
    folder = tmp_path_factory.mktemp("learned")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(dense, "FEWEST_TO_LEARN", 1_000)
        run = cluster(*LEARN, "--out", folder / "out")
    return SimpleNamespace(folder=folder / "out", **vars(run))


def test_a_learner_ends_near_the_labels_that_it_was_given(learned):
    assert learned.status == 0, learned.err
    results = read_json(learned.folder / "results.json")
    names = ["k-means on pixels", "k-means on z", "spectral on z", "best"]
    assert [stage["name"] for stage in results["stages"]] == names
    given, found = (stage["acc"] for stage in results["stages"][2:])
    assert found > given - 0.05
    # At first it knew nothing: that is no sign of collapse.
    history = read_csv(learned.folder / "history.csv")
    first = next(row for row in history if row["phase"] == "clustering")
    assert float(first["acc"]) < 0.5
    assert "mean max q" not in learned.err


def test_a_learner_leaves_a_model_of_itself_and_the_autoencoder(learned):
    data = load_dataset("digits")
    one = model.load(learned.folder / "model.safetensors")
    labels = [int(row["cluster"]) for row in read_csv(learned.folder / "labels.csv")]
    np.testing.assert_array_equal(model.predict(one, data), labels)
    assert type(one.architecture.layers[0]).__name__ == "Conv2D"
    assert "decoder" not in one.params
    assert "decoder" in model.load(learned.folder / "autoencoder.safetensors").params
    assert (learned.folder / "centroids.png").exists()


def test_a_learner_resumes_exactly(learned, no_figures, tmp_path, monkeypatch):
    monkeypatch.setattr(dense, "FEWEST_TO_LEARN", 1_000)
    interrupt_at(monkeypatch, "clustering", 3)
    out = tmp_path / "out"
    before = ("--pretrained", learned.folder)
    stopped = cluster(*LEARN, *before, "--out", out)
    assert stopped.status == 130
    monkeypatch.undo()
    monkeypatch.setattr(dense, "FEWEST_TO_LEARN", 1_000)
    assert cluster("--resume", out).status == 0
    for name in ("labels.csv", "model.safetensors"):
        assert (out / name).read_bytes() == (learned.folder / name).read_bytes(), name
