from functools import partial

import pytest

from benchmarks import precision
from dec_jax.data.load import load_dataset
from dec_jax.networks.architecture import dense_architecture
from dec_jax.recipes.dense import make_recipe


@pytest.mark.slow
def test_precision_compares_labels_and_scores(monkeypatch):
    small = dense_architecture(64, hidden=(32,), embedding_dim=5)
    monkeypatch.setattr(
        precision, "make_recipe", partial(make_recipe, architecture=small)
    )
    data = load_dataset("digits")
    recipe = precision.recipe_of(data, epochs=2, intervals=2)
    assert recipe.pretrain.epochs == 2 and recipe.train.max_intervals == 2
    found = precision.measure(data, recipe, seed=0)
    agree, scores = found[:2], found[2:]
    for row in agree:
        assert 90 < row["ours"] <= 100 and row["peer"] is None
    for row in scores:
        assert row["ours"] > 20
        assert row["ratio"] == pytest.approx(row["ours"] / row["peer"])
