"""`fit` and its result take DataFrames and texts, new ones as in training."""

import numpy as np
import pandas as pd
import pytest

from dec_jax import dense_architecture, fit
from dec_jax.data.tables import load_table
from dec_jax.data.texts import dataset_from_texts
from dec_jax.evaluation.judge import method_space
from dec_jax.runs.k_search import find_n_clusters

QUICK = {"recipe": "dec", "epochs": 2, "max_intervals": 2, "baseline": False}
NETWORK = dense_architecture(36, hidden=(16,), embedding_dim=3)


def test_a_result_predicts_new_frames_in_the_columns_of_training():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "spend": rng.normal(900 + 4000 * (np.arange(90) % 2), 50),
            "plan": rng.choice(["basic", "plus"], 90),
        }
    )
    # With plan, of two columns, as wide as the tables of other tests.
    for index in range(33):
        frame[f"v{index}"] = rng.normal(size=90)
    result = fit(frame, 3, network=NETWORK, **QUICK)
    # Six rows have another mean, and here another order of columns.
    part = frame.iloc[:6, ::-1].reset_index(drop=True)
    np.testing.assert_array_equal(result.predict(part), result.labels[:6])
    np.testing.assert_allclose(result.predict_proba(part), result.q[:6], rtol=1e-5)
    with pytest.warns(UserWarning, match=r"training had not \('trial'\)"):
        result.predict(part.assign(plan="trial"))


@pytest.mark.slow
def test_a_wide_table_of_several_units_keeps_the_lengths_of_its_rows(with_opinion):
    # Three clusters in one direction, beside 80 tags that tell nothing.
    rng = np.random.default_rng(0)
    classes = np.repeat(np.arange(3), 30)
    numbers = 9.0 * classes[:, None] + rng.normal(0, 1, (90, 5))
    frame = pd.DataFrame(numbers * [1, 10, 100, 0.1, 1_000], columns=list("abcde"))
    tags = (rng.random((90, 80)) < rng.uniform(0, 0.1, (90, 1))).astype(int)
    tags = pd.DataFrame(tags).add_prefix("tag ")
    table = load_table(pd.concat([frame, tags.loc[:, tags.any()]], axis=1))
    assert table.x.shape[1] > 64
    network = dense_architecture(table.x.shape[1], hidden=(8,), embedding_dim=2)
    result = fit(table, 3, network=network, **QUICK | {"baseline": True})
    kept = method_space(table.x, by_direction=False)
    np.testing.assert_array_equal(result.alternatives.space, kept)
    assert len(set(zip(classes, result.alternatives.labels, strict=True))) == 3
    assert find_n_clusters(table, most=6).n_clusters == 3


def test_a_result_predicts_new_texts_by_the_terms_of_training():
    texts = [
        f"{a} {kind}" for a in ("red", "old") for kind in ("apples", "pears", "cars")
    ]
    width = dataset_from_texts(texts).x.shape[1]
    network = dense_architecture(width, hidden=(8,), embedding_dim=2)
    result = fit(texts, 2, network=network, **QUICK)
    np.testing.assert_allclose(result.predict_proba(texts[:3]), result.q[:3], rtol=1e-5)
