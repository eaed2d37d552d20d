import re

import numpy as np
import pytest
from programs import blob_table, cluster, read_csv, read_json

from dec_jax import adjusted_rand_index, fit, make_recipe
from dec_jax.recipes.recipe import DataShape

ANGLE = np.linspace(0, 2 * np.pi, 50, endpoint=False)
CIRCLE = np.stack([np.cos(ANGLE), np.sin(ANGLE)], axis=1)
RINGS = np.concatenate([CIRCLE, 4 * CIRCLE]).astype(np.float32)
CLASSES = np.repeat([0, 1], 50)


@pytest.fixture(scope="module")
def rings(with_opinion):
    """The default on data that k-means and mixtures get wrong."""
    return fit(RINGS, 2)


def test_the_default_finds_and_learns_what_simple_methods_agree_on(rings):
    assert adjusted_rand_index(CLASSES, np.asarray(rings.start.labels)) == 1
    assert adjusted_rand_index(CLASSES, rings.labels) == 1
    np.testing.assert_array_equal(rings.predict(RINGS), rings.labels)


def test_no_autoencoder_is_trained(rings):
    assert rings.pretraining_loss == [] and "pretraining" not in rings.seconds
    assert "decoder" not in rings.model.params
    assert [stage["name"] for stage in rings.stages][::2] == [
        "k-means on the data",
        "auto",
    ]


def test_the_second_opinion_names_a_method_and_the_labelings(rings):
    assert rings.opinion.method == rings.alternatives.judgment.names[0]
    assert rings.opinion.agreement == pytest.approx(1)
    np.testing.assert_array_equal(rings.alternatives.rows, np.arange(100))


def test_a_run_writes_verdict_and_alternatives(tmp_path, no_figures, with_opinion):
    x, _ = blob_table()
    np.save(tmp_path / "blobs.npy", x)
    out = tmp_path / "out"
    (tmp_path / "names.txt").write_text("".join(f"row {i}\n" for i in range(90)))
    options = ("-k", 3, "--max-intervals", 4, "--names", tmp_path / "names.txt")
    run = cluster(tmp_path / "blobs.npy", *options, "--out", out)
    assert run.status == 0, run.err
    assert "no pretraining; training ended as planned, after 4 intervals\n" in run.out
    assert re.search(r"\nstart: \S.* +30 +30 +1\.000", run.out)
    assert re.search(r"\ndone in [0-9]+ s\n$", run.out)
    assert "second opinion: confident: " in run.out
    results = read_json(out / "results.json")
    assert results["recipe"] == "auto"
    assert results["opinion"]["verdict"] == "confident"
    # All methods find the three blobs.
    assert results["stability"] == [1, 1, 1]
    rows = read_csv(out / "alternatives.csv")
    # A method that finds the run's own clusters is no alternative.
    assert len(rows) == 90 and list(rows[0]) == ["index", "name"]
    labels = read_csv(out / "labels.csv")
    assert [row["name"] for row in rows] == [row["name"] for row in labels]
    assert results["seconds"]["run"] >= results["seconds"]["total"]


def test_auto_is_best_for_images():
    shape = DataShape(9_000, 784, (28, 28, 1))
    auto, best = (make_recipe(name, shape) for name in ("auto", "best"))
    assert (auto.train, auto.learner, auto.start) == (
        best.train,
        best.learner,
        "spectral",
    )


def test_epochs_are_refused_where_nothing_is_pretrained():
    with pytest.raises(ValueError, match="epochs must not be given here: the recipe"):
        fit(RINGS, 2, epochs=3)


def test_few_samples_have_no_second_opinion(with_opinion):
    result = fit(RINGS[::5], 2, max_intervals=2)
    assert result.opinion is None and result.labels.shape == (20,)
