"""The units and ranges that a model remembers of its data, and forged files."""

import warnings

import numpy as np
import pytest

from dec_jax import model
from dec_jax.data.arrays import dataset_from_array
from dec_jax.data.dataset import Column, Dataset
from dec_jax.model.file import read_file, write_file
from dec_jax.model.metadata import outside_training, unsure
from dec_jax.networks.architecture import dense_architecture
from dec_jax.networks.autoencoder import init_params

TINY = dense_architecture(2, hidden=(), embedding_dim=2)
X = np.array([[0, 100], [4, 300], [2, 200]], np.float32)
TABLE = Dataset("table", X, None, None, "made here", 1.0)


@pytest.fixture(scope="module")
def params():
    import jax

    found = dict(init_params(jax.random.key(0), TINY))
    found["encoder"] = {
        "dense_0": {"kernel": np.eye(2, dtype=np.float32), "bias": np.zeros(2, "f4")}
    }
    return found | {"centroids": X[:2]}


def test_ranges_and_mean_q_are_remembered():
    q = np.array([[0.9, 0.1], [0.3, 0.7], [0.5, 0.5]], np.float32)
    found = model.data_metadata(TABLE, q)
    assert found["column_ranges"] == [[0, 4], [100, 300]]
    assert found["input_range"] == [0, 300]
    assert found["mean_q"] == pytest.approx(0.7)


def test_a_wide_table_has_one_range():
    wide = Dataset("wide", np.zeros((2, 1_001), np.float32), None, None, "here", 1.0)
    found = model.data_metadata(wide)
    assert found["column_ranges"] is None
    assert outside_training(found, np.full((1, 1_001), 9.0)).startswith("1 of 1 rows")


def test_values_a_little_outside_of_the_range_are_no_surprise():
    x = np.array([[-2, 0], [6, 400]], np.float32)
    assert outside_training(model.data_metadata(TABLE), x) is None


def test_values_far_outside_of_the_range_are_told():
    x = np.array([[0, 100], [-2.1, 200], [0, 401]], np.float32)
    assert outside_training(model.data_metadata(TABLE), x) == (
        "2 of 3 rows have values far outside the range of training, such as -2.1 in column 0 "
        "of row 1, where training had 0 to 4; the clusters of such rows mean little"
    )


def test_values_are_told_in_the_units_of_the_user():
    numbers = dataset_from_array(1_000 * np.random.default_rng(0).random((50, 3)))
    found = outside_training(model.data_metadata(numbers), np.full((1, 3), 9.0))
    assert "such as 2" in found
    columns = (
        Column("color", categories=("blue", "red")),
        Column("income", 50_000, 10_000),
    )
    x = np.array([[1, 0, -2], [0, 1, 3]], np.float32)
    table = Dataset("t", x, None, None, "here", 1.0, columns=columns)
    found = outside_training(model.data_metadata(table), np.array([[1, 0, 9.0]]))
    assert "such as 140000 in column 'income' of row 0" in found
    assert "training had 30000 to 80000;" in found


def test_a_column_that_was_constant_has_the_width_of_the_others():
    metadata = {"column_ranges": [[5, 5], [0, 10]]}
    assert outside_training(metadata, np.array([[9.0, 0]])) is None
    assert outside_training(metadata, np.array([[11.0, 0]])) is not None


@pytest.mark.parametrize(
    "metadata", [{}, {"input_dtype": "uint8", "input_range": [0, 1]}]
)
def test_unknown_ranges_and_bytes_are_not_compared(metadata):
    assert outside_training(metadata, np.array([[200.0]])) is None


def test_a_q_that_is_far_less_sure_is_told():
    sure, even = np.tile([0.9, 0.1], (10, 1)), np.full((10, 2), 0.5)
    assert unsure({"mean_q": 0.9}, sure) is None
    assert unsure({"mean_q": 0.9}, even[:9]) is None
    assert unsure({}, even) is None
    assert unsure({"mean_q": 0.9}, even) == (
        "the mean q of the own cluster is 0.50 of 1, and was 0.90 in training: these "
        "samples are unlike those of training, and their clusters mean little"
    )


@pytest.mark.parametrize(("found", "told"), [(0.24, True), (0.6, False), (0.9, False)])
def test_photographs_given_to_a_model_of_digits_are_told(found, told):
    # 0.24 was seen once, where training had 0.79.
    q = np.full((200, 10), (1 - found) / 9)
    q[:, 3] = found
    assert (unsure({"mean_q": 0.79}, q) is not None) == told


def test_prediction_warns_where_data_are_unlike_those_of_training(params):
    metadata = {**model.data_metadata(TABLE), "mean_q": 0.9}
    found = model.Model(params, TINY, metadata=metadata)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.predict(found, X[:2]).tolist() == [0, 1]
    with pytest.warns(model.UnlikeTraining, match="1 of 1 rows has values far outside"):
        model.predict(found, np.array([[1680.0, 0]]))
    between = np.tile(X[:2].mean(axis=0), (20, 1))
    with pytest.warns(model.UnlikeTraining, match="own cluster is 0.50 of 1"):
        model.predict(found, between)


def test_save_remembers_the_data_set(params, path):
    model.save(path, params, architecture=TINY, dataset=TABLE, metadata={"seed": 3})
    loaded = model.load(path)
    assert loaded.metadata == {**model.data_metadata(TABLE), "seed": 3}
    with pytest.warns(model.UnlikeTraining, match="far outside the range of training"):
        model.predict(loaded, np.array([[1680.0, 0]]))


def test_save_takes_a_model_with_all_that_it_knows(params, path, tmp_path):
    known = model.Model(params, TINY, 2.0, model.data_metadata(TABLE))
    model.save(path, known, metadata={"seed": 3})
    loaded = model.load(path)
    assert (loaded.alpha, loaded.metadata) == (2.0, {**known.metadata, "seed": 3})
    other = tmp_path / "other.safetensors"
    model.save(other, loaded)
    assert other.read_bytes() == path.read_bytes()


def test_save_rejects_a_model_with_another_network(params, path):
    message = "architecture and alpha must not be given with a Model, which has them"
    with pytest.raises(TypeError, match=message):
        model.save(path, model.Model(params, TINY), architecture=TINY)
    assert not path.exists()


def test_save_rejects_parameters_without_a_network(params, path):
    with pytest.raises(TypeError, match="save needs an Architecture, .* got NoneType"):
        model.save(path, params)


FORGED = [
    ("image_shape", [100_000, 100_000, 3]),
    ("image_shape", [2, 1]),
    ("image_shape", [2, 1, 1.0]),
    ("image_shape", [-1, -2, 1]),
    ("image_shape", "2x1x1"),
    ("deviation", 0),
    ("deviation", -1.0),
    ("deviation", [1.0, 0.0]),
    ("deviation", [1.0]),
    ("deviation", True),
    ("deviation", 10**400),
    ("input_dtype", 8),
    ("input_range", [1, 0]),
    ("input_range", [0]),
    ("column_ranges", [[0, 1]]),
    ("column_ranges", [[0, 1], [0, "a"]]),
    ("mean_q", 0),
    ("mean_q", 2),
    ("columns", 3),
    ("columns", [{"title": "a", "deviation": 0, "categories": None}]),
    ("columns", [{"title": "a", "mean": "x", "categories": None}]),
    ("columns", [{"name": "a", "categories": None}]),
    ("columns", [{"title": 3, "categories": None}]),
    ("columns", [{"title": "a", "categories": ["x", 3]}]),
    ("columns", [{"title": "a", "categories": ["x", "y", "z"]}]),
    ("columns", [{"title": "a", "categories": ["x", "y"], "missing": [3]}]),
    ("text_space", {"terms": ["a"]}),
    ("text_space", 3),
]


@pytest.mark.parametrize(("name", "value"), FORGED)
def test_load_rejects_what_data_metadata_would_not_write(params, path, name, value):
    model.save(path, params, architecture=TINY, dataset=TABLE)
    description, arrays = read_file(path)
    description["metadata"][name] = value
    write_file(path, arrays, description)
    message = rf"{path} cannot be used: metadata\['{name}'\] must be .*, got "
    with pytest.raises(model.ModelError, match=message) as caught:
        model.load(path)
    assert len(str(caught.value).replace(str(path), "")) < 250


def test_load_rejects_metadata_that_are_no_dictionary(params, path):
    model.save(path, params, architecture=TINY)
    description, arrays = read_file(path)
    description["metadata"] = [1]
    write_file(path, arrays, description)
    with pytest.raises(model.ModelError, match="cannot be used"):
        model.load(path)


def test_large_values_in_known_units_are_predicted(params):
    numbers = dataset_from_array(80.0 * np.array([[0, 1], [2, 4], [3, 1.0]]))
    metadata = model.data_metadata(numbers)
    assert metadata["deviation"] > 4
    found = model.Model(params, TINY, metadata=metadata)
    far = dataset_from_array(np.full((1, 2), 1e5), standardize=False)
    with pytest.warns(
        model.UnlikeTraining, match="such as 100000 in column 0 of row 0"
    ):
        assert model.predict(found, far).shape == (1,)
