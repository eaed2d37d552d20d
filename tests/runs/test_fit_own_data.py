"""`fit` and its result take DataFrames and texts, new ones as in training."""

import numpy as np
import pandas as pd
import pytest

from dec_jax import dense_architecture, fit
from dec_jax.data.texts import dataset_from_texts

QUICK = {"recipe": "dec", "epochs": 2, "max_intervals": 2, "baseline": False}


def test_a_result_predicts_new_frames_in_the_columns_of_training():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "spend": rng.normal(900 + 4000 * (np.arange(60) % 2), 50),
            "plan": rng.choice(["basic", "plus"], 60),
        }
    )
    network = dense_architecture(3, hidden=(8,), embedding_dim=2)
    result = fit(frame, 2, network=network, **QUICK)
    # Six rows have another mean, and here another order of columns.
    part = frame.iloc[:6, ::-1].reset_index(drop=True)
    np.testing.assert_array_equal(result.predict(part), result.labels[:6])
    np.testing.assert_allclose(result.predict_proba(part), result.q[:6], rtol=1e-5)
    with pytest.warns(UserWarning, match=r"training had not \('trial'\)"):
        result.predict(part.assign(plan="trial"))


def test_a_result_predicts_new_texts_by_the_terms_of_training():
    texts = [
        f"{a} {kind}" for a in ("red", "old") for kind in ("apples", "pears", "cars")
    ]
    width = dataset_from_texts(texts).x.shape[1]
    network = dense_architecture(width, hidden=(8,), embedding_dim=2)
    result = fit(texts, 2, network=network, **QUICK)
    np.testing.assert_allclose(result.predict_proba(texts[:3]), result.q[:3], rtol=1e-5)
