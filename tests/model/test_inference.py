"""A model meets new data."""

from dataclasses import replace

import numpy as np
import pytest
from assignments import soft_assignment_by_loops
from small_models import CONVOLUTIONAL, HALF_NORMALIZED, TINY, some_params, without

from dec_jax import model
from dec_jax.data.dataset import Column, Dataset, columns_to_json, image_dataset
from dec_jax.networks import autoencoder
from dec_jax.networks.architecture import dense_architecture


def bytes_model(network=TINY, **metadata):
    return model.Model(
        some_params(network), network, metadata={"input_dtype": "uint8", **metadata}
    )


X = np.random.default_rng(0).random((7, 2), np.float32)


def test_transform_is_the_encoder(blobs, architecture):
    params = some_params(architecture)
    z = model.transform(model.Model(params, architecture), blobs[0])
    expected = autoencoder.encode(params, blobs[0], architecture=architecture)
    np.testing.assert_allclose(z, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("alpha", [1.0, 3.0])
def test_predict_proba_matches_equation_1(alpha):
    a_model = model.Model(some_params(TINY), TINY, alpha)
    centroids = np.asarray(a_model.params["centroids"])
    expected = soft_assignment_by_loops(model.transform(a_model, X), centroids, alpha)
    np.testing.assert_allclose(model.predict_proba(a_model, X), expected, rtol=1e-5)


def test_predict_is_the_nearest_centroid(blobs, architecture):
    a_model = model.Model(some_params(architecture, n_clusters=5), architecture)
    z = model.transform(a_model, blobs[0])
    differences = z[:, None] - np.asarray(a_model.params["centroids"])[None]
    labels = model.predict(a_model, blobs[0])
    np.testing.assert_array_equal(labels, (differences**2).sum(axis=2).argmin(axis=1))
    assert labels.dtype == np.int32 and len(set(labels.tolist())) > 1


def test_reconstruct_is_the_decoder_of_the_embedding():
    params = some_params(CONVOLUTIONAL)
    x = np.random.default_rng(0).random((5, 36), np.float32)
    x_hat = model.reconstruct(model.Model(params, CONVOLUTIONAL), x)
    expected = autoencoder.reconstruct(params, x, architecture=CONVOLUTIONAL)
    np.testing.assert_allclose(x_hat, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
@pytest.mark.parametrize("function", [model.predict, model.predict_proba])
def test_new_data_rejects_rows_that_overflow(function):
    x = X.copy()
    x[2] = 3e38
    message = (
        r"x must have values that the network .* q of NaN in row 2 and 0 more; leave"
    )
    with pytest.raises(ValueError, match=message):
        function(model.Model(some_params(TINY), TINY), x)


def test_bytes_are_scaled_as_in_training():
    x = np.array([[0, 255], [51, 102]], np.uint8)
    floats = np.array([[0, 1], [0.2, 0.4]], np.float32)
    np.testing.assert_allclose(
        model.transform(bytes_model(), x),
        model.transform(bytes_model(), floats),
        rtol=1e-6,
    )


def test_data_set_gives_what_its_samples_give():
    dataset = Dataset("table", X, None, None, "made here", 1.0)
    a_model = model.Model(some_params(TINY), TINY)
    np.testing.assert_array_equal(
        model.predict_proba(a_model, dataset), model.predict_proba(a_model, X)
    )


def test_network_without_centroids_still_embeds_and_reconstructs():
    a_model = model.Model(without(some_params(TINY), "centroids"), TINY)
    assert model.transform(a_model, X).shape == (7, 1)
    assert model.reconstruct(a_model, X).shape == (7, 2)


def test_data_metadata_of_images_survive_a_file(path):
    images = np.arange(2 * 5 * 5, dtype=np.uint8).reshape(2, 5, 5, 1)
    dataset = image_dataset("squares", images, None, "made here")
    metadata = model.data_metadata(dataset)
    model.save(
        path,
        some_params(HALF_NORMALIZED),
        architecture=HALF_NORMALIZED,
        metadata=metadata,
    )
    assert model.load(path).metadata == {
        "dataset": "squares",
        "dataset_sha256": dataset.sha256,
        "n_samples": 2,
        "input_dtype": "uint8",
        "input_range": [0.0, 49.0],
        "column_ranges": None,
        "image_shape": [5, 5, 1],
        "columns": None,
        "text_space": None,
        "deviation": 1.0,
        "reading": None,
    }


def divided_by(deviation, dtype="float32"):
    """A model of data that were divided so."""
    metadata = {"deviation": deviation, "input_dtype": dtype}
    return model.Model(some_params(TINY), TINY, metadata=metadata)


@pytest.mark.parametrize("trained", [0.05, 1.0, 80.0])
@pytest.mark.parametrize("found", [0.05, 1.0, 80.0])
def test_data_set_is_brought_to_the_units_of_training(trained, found):
    numbers = 2 * trained * X
    dataset = Dataset("x", numbers / found, None, None, "made here", 1.0)
    dataset = replace(dataset, deviation=found)
    np.testing.assert_allclose(
        model.predict_proba(divided_by(trained), dataset),
        model.predict_proba(model.Model(some_params(TINY), TINY), 2 * X),
        rtol=1e-4,
    )


def test_bytes_that_were_saved_as_floats_are_those_of_training():
    x = np.array([[0, 255], [51, 102]], np.uint8)
    floats = Dataset("x", (x / 204).astype(np.float32), None, None, "made here", 1.0)
    np.testing.assert_allclose(
        model.transform(bytes_model(), replace(floats, deviation=204.0)),
        model.transform(bytes_model(), x),
        rtol=1e-5,
    )


@pytest.mark.parametrize("deviation", [0.05, 80.0])
def test_new_data_rejects_numbers_that_were_not_divided(deviation):
    x = np.array([[1.5, -0.5], [0.5, -2]], np.float32)
    a_model = divided_by(deviation)
    assert model.predict(a_model, x).shape == (2,)
    message = f"x must be as in training, divided by {deviation:.4g}, got float32 from"
    with pytest.raises(ValueError, match=message):
        model.predict(a_model, x * deviation)


def test_new_data_rejects_columns_that_were_not_divided():
    message = r"divided by one number a column \(metadata\['deviation'\]\), got float64"
    with pytest.raises(ValueError, match=message):
        model.predict(divided_by([80.0, 5.0]), np.array([[80.0, -500.0]]))


def test_data_metadata_of_a_table_have_no_image_shape():
    dataset = Dataset("table", X, None, None, "made here", 1.0)
    metadata = model.data_metadata(dataset)
    assert (metadata["image_shape"], metadata["input_dtype"]) == (None, "float32")


@pytest.mark.parametrize("function", [model.predict, model.predict_proba])
def test_clusters_rejects_a_model_without_centroids(function):
    a_model = model.Model(without(some_params(TINY), "centroids"), TINY)
    with pytest.raises(ValueError, match="no centroids, because it was saved before"):
        function(a_model, X)


FUNCTIONS = [model.predict, model.predict_proba, model.transform, model.reconstruct]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_new_data_rejects_another_width(function):
    with pytest.raises(
        ValueError,
        match="must have 2 columns, as the data of training, got 3, 1 too many",
    ):
        function(bytes_model(), np.zeros((7, 3), np.float32))


def test_new_data_rejects_another_width_whatever_is_known_of_training():
    scaled = divided_by([80.0, 5.0])
    wide = Dataset("w", np.ones((3, 4)), None, None, "w", 1.0, deviation=(1, 2, 3, 4))
    with pytest.raises(ValueError, match="must have 2 columns, .*, got 4, 2 too many"):
        model.predict(scaled, wide)
    columns = columns_to_json((Column("age"), Column("income")))
    known = {"columns": columns, "dataset": "customers"}
    of_table = replace(bytes_model(), metadata=known)
    message = (
        "that the data 'customers' of training became, from age, income, got 1, 1 too"
    )
    with pytest.raises(ValueError, match=message):
        model.predict(of_table, np.ones((3, 1), np.float32))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_new_data_rejects_nan(function):
    with pytest.raises(ValueError, match="x must be finite: column 1"):
        function(bytes_model(), np.array([[0, np.nan]], np.float32))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_new_data_rejects_bytes_that_come_as_floats(function):
    message = "bytes from 0 to 255 or floats from 0 to 1, got float32 from 0 to 255"
    with pytest.raises(ValueError, match=message):
        function(bytes_model(), np.array([[0, 255]], np.float32))


@pytest.mark.parametrize("x", [[[0, 256]], [[-1, 4]]])
def test_new_data_rejects_integers_that_are_no_bytes(x):
    with pytest.raises(ValueError, match="as in training, bytes from 0 to 255 .*int64"):
        model.predict(bytes_model(), np.array(x))


def test_new_data_rejects_bytes_where_training_had_floats_up_to_1():
    network = dense_architecture(2, hidden=(2,), embedding_dim=1, input_scale=1.0)
    metadata = {"input_dtype": "float32", "input_range": [0.0, 1.0]}
    a_model = model.Model(some_params(network), network, metadata=metadata)
    message = "float32 from 0 to 1, got uint8 from 3 to 200; use x / 255"
    with pytest.raises(ValueError, match=message):
        model.predict(a_model, np.array([[3, 200]], np.uint8))


@pytest.mark.filterwarnings("ignore::dec_jax.model.UnlikeTraining")
@pytest.mark.parametrize(
    ("metadata", "x"),
    [
        ({"input_dtype": "uint8"}, np.array([[-0.1, 1.2]], np.float32)),
        ({"input_dtype": "uint8"}, np.array([[0, 255]], np.int64)),
        (
            {"input_dtype": "float32", "input_range": [-2.0, 3.0]},
            np.array([[40, -9]], np.float32),
        ),
        (
            {"input_dtype": "float32", "input_range": [0.0, 1.0]},
            np.array([[7, 0]], np.float32),
        ),
        (
            {"input_dtype": "float32", "input_range": [0.0, 1.0]},
            np.array([[255, 0]], np.uint8),
        ),
        ({}, np.array([[500, 0]], np.float32)),
    ],
    ids=[
        "contrast",
        "bytes",
        "outlier",
        "outlier of [0, 1]",
        "scaled bytes",
        "unknown",
    ],
)
def test_new_data_may_be_what_can_be_meant(metadata, x):
    a_model = model.Model(some_params(TINY), TINY, metadata=metadata)
    assert model.predict(a_model, x).shape == (1,)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("shape", [(3, 6, 6), (3, 6, 6, 1)])
def test_images_in_their_own_shape_equal_flat_rows(function, shape):
    a_model = bytes_model(CONVOLUTIONAL, image_shape=[6, 6, 1])
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    expected = function(a_model, images.reshape(3, -1))
    np.testing.assert_array_equal(function(a_model, images), expected)


@pytest.mark.parametrize("shape", [(3, 4, 9), (3, 9, 4, 1), (3, 1, 6, 6)])
def test_new_data_rejects_images_of_the_right_size_in_another_shape(shape):
    a_model = bytes_model(CONVOLUTIONAL, image_shape=[6, 6, 1])
    message = r"images of shape \(6, 6, 1\), as in training, got \("
    with pytest.raises(ValueError, match=message):
        model.predict(a_model, np.zeros(shape, np.uint8))


def test_new_data_rejects_images_that_the_network_does_not_take():
    a_model = bytes_model(CONVOLUTIONAL)
    with pytest.raises(ValueError, match=r"shape \[n, 36\] or \[n, 6, 6, 1\]"):
        model.predict(a_model, np.zeros((3, 4, 9), np.uint8))


def test_new_data_rejects_images_of_another_shape():
    a_model = bytes_model(CONVOLUTIONAL, image_shape=[6, 6, 1])
    dataset = image_dataset("x", np.zeros((2, 4, 9, 1), np.uint8), None, "made here")
    message = r"images of shape \(6, 6, 1\), as in training, got \(4, 9, 1\)"
    with pytest.raises(ValueError, match=message):
        model.predict(a_model, dataset)
