import numpy as np
import pytest

from dec_jax import dense_architecture, fit
from dec_jax.data.arrays import dataset_from_array, far_rows

RNG = np.random.default_rng(0)
NORMAL = RNG.normal(size=(200, 3))


def test_columns_of_one_unit_share_a_scale():
    x = NORMAL * [1.0, 2.0, 5.0]
    dataset = dataset_from_array(x)
    assert dataset.deviation == pytest.approx(x.var(axis=0).mean() ** 0.5)


def test_columns_of_different_units_have_a_scale_each():
    x = NORMAL * [1.0, 300.0, 0.02]
    dataset = dataset_from_array(x)
    np.testing.assert_allclose(dataset.deviation, x.std(axis=0))
    np.testing.assert_allclose(dataset.x.std(axis=0), 1, rtol=1e-5)


def test_a_constant_column_keeps_its_values():
    x = np.column_stack([NORMAL[:, 0], 300 * NORMAL[:, 1], np.full(200, 7.0)])
    dataset = dataset_from_array(x)
    assert dataset.deviation[2] == 1
    np.testing.assert_array_equal(dataset.x[:, 2], 7)


def test_embeddings_keep_the_ratios_of_their_distances():
    x = RNG.normal(size=(50, 65)) * np.linspace(0.01, 10, 65)
    assert isinstance(dataset_from_array(x).deviation, float)


def test_a_few_rows_far_away_do_not_set_the_scale():
    x = np.concatenate([np.tile(NORMAL, (5, 1)), 1e6 * np.ones((2, 3))])
    expected = NORMAL.var(axis=0).mean() ** 0.5
    assert dataset_from_array(x).deviation == pytest.approx(expected, rel=0.05)


def test_dataset_rejects_a_row_too_far_away_for_the_scale_of_the_others():
    x = np.concatenate([1e-40 * NORMAL, np.ones((1, 3))])
    message = "got 1 in row 200, column 0, which divided by the deviation of the other"
    with pytest.raises(ValueError, match=message):
        dataset_from_array(x)


def test_a_long_tail_sets_the_scale():
    x = np.exp(3 * NORMAL[:, :1])
    expected = x.var(axis=0).mean() ** 0.5
    assert dataset_from_array(x).deviation == pytest.approx(expected)


def test_standardize_false_leaves_the_numbers():
    x = NORMAL * [1.0, 300.0, 0.02]
    dataset = dataset_from_array(x, standardize=False)
    assert dataset.deviation == 1
    np.testing.assert_array_equal(dataset.x, x)


def test_predict_takes_columns_in_the_units_of_fit():
    classes = np.arange(200) % 4
    units = np.array([1.0, 300.0, 0.02, 1.0, 1.0, 1.0, 1.0, 1.0])
    x = (RNG.normal(size=(200, 8)) + 8 * np.eye(4, 8)[classes]) * units
    network = dense_architecture(8, hidden=(16,), embedding_dim=3)
    settings = {"recipe": "dec", "epochs": 2, "max_intervals": 2, "baseline": False}
    result = fit(x, 4, network=network, **settings)
    assert len(result.model.metadata["deviation"]) == 8
    np.testing.assert_array_equal(result.predict(x), result.labels)
    np.testing.assert_array_equal(result.predict(x[:9]), result.labels[:9])


def test_far_rows_are_counted_and_long_tails_are_not():
    assert far_rows(np.concatenate([NORMAL, NORMAL, [[0, 1e4, 0]]])) == 1
    assert far_rows(NORMAL) == far_rows(np.exp(3 * NORMAL)) == 0
