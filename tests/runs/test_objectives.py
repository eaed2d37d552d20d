"""Runs of the recipes whose clusters are not those of DEC, from start to prediction."""

from dataclasses import replace

import numpy as np
import pytest
from programs import blob_table, cluster, read_json

from dec_jax import dense_architecture, fit, make_recipe
from dec_jax.recipes import dense
from dec_jax.recipes.recipe import DataShape

X, CLASSES = blob_table()
SHAPE = DataShape(len(X), X.shape[1], input_scale=1.0, n_clusters=3)
SMALL = dense_architecture(X.shape[1], hidden=(16,), embedding_dim=3)
# DEN takes the columns of z in pairs.
PAIRS = dense_architecture(X.shape[1], hidden=(16,), embedding_dim=4)


def short(name):
    """The recipe with a small network and few steps; what starts from nothing still does."""
    given = {"imsat": None, "den": PAIRS}.get(name, SMALL)
    recipe = make_recipe(name, SHAPE, given)
    train = replace(recipe.train, update_interval=4, max_intervals=3, batch_size=30)
    if recipe.pretrain is None:
        small = replace(SMALL, batch_norm=True, input_scale=1.0)
        return replace(recipe, architecture=small, learner=small, train=train)
    pretrain = replace(recipe.pretrain, epochs=10)
    return replace(recipe, pretrain=pretrain, train=train)


@pytest.mark.parametrize(
    "name",
    [
        "dkm",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("aec", "ace-dec", "den", "imsat")
        ),
    ],
)
def test_new_samples_get_the_labels_that_training_ended_with(name):
    result = fit(X, 3, recipe=short(name))
    np.testing.assert_array_equal(result.predict(X), result.labels)
    # Clusters are numbered by size after training: distances are rounded in another way,
    # which the inverse temperature of DKM multiplies by 1,000.
    np.testing.assert_allclose(result.predict_proba(X), result.q, atol=1e-3)
    assert (np.diff(np.bincount(result.labels, minlength=3)) <= 0).all()


def test_a_run_from_nothing_tells_of_k_means_on_x(monkeypatch, tmp_path, no_figures):
    made = short("imsat")
    monkeypatch.setitem(dense.RECIPES, "imsat", lambda *_: made)
    np.savez(tmp_path / "blobs.npz", x=X, y=CLASSES)
    out = tmp_path / "out"
    run = cluster(tmp_path / "blobs.npz", "--recipe", "imsat", "--out", out)
    assert run.status == 0, run.err
    results = read_json(out / "results.json")
    names = [stage["name"] for stage in results["stages"]]
    assert names == ["k-means on the data", "k-means on x", "imsat"]
    assert not results["pretraining_loss"]
