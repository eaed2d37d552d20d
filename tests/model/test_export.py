"""A model as a program: it gives what `predict` gives, without this library."""

import subprocess
import sys
from dataclasses import replace
from functools import partial

import jax
import jax.export
import numpy as np
import pytest
from small_models import CONVOLUTIONAL, TINY, some_params, without

from dec_jax import fit, model
from dec_jax.data.dataset import Dataset
from dec_jax.data.load import load_dataset
from dec_jax.data.texts import dataset_from_texts
from dec_jax.model.export import export_program
from dec_jax.networks.architecture import dense_architecture
from dec_jax.networks.precision import PRECISIONS

RNG = np.random.default_rng(0)
# jaxlib 0.10 compiles a program that was loaded in another way: its last bits differ.
OLD = tuple(map(int, jax.__version__.split(".")[:2])) < (0, 12)
assert_equal = partial(np.testing.assert_allclose, rtol=1e-5 * OLD, atol=1e-6 * OLD)

# Runs a program as a user without dec_jax does.
WITHOUT_LIBRARY = """
import sys
sys.modules["dec_jax"] = None
import jax.export
import numpy as np
program, x, out = sys.argv[1:]
with open(program, "rb") as file:
    loaded = jax.export.deserialize(file.read())
labels, q, z = loaded.call(np.load(x))
np.savez(out, labels=labels, q=q, z=z)
"""


def program_of(a_model):
    return jax.export.deserialize(export_program(a_model))


def assert_same(a_model, raw, dataset):
    """The program of the raw numbers gives what the model gives of the data set."""
    labels, q, z = program_of(a_model).call(raw)
    np.testing.assert_array_equal(labels, model.predict(a_model, dataset))
    assert_equal(q, model.predict_proba(a_model, dataset))
    assert_equal(z, model.transform(a_model, dataset))
    assert labels.dtype == np.int32 and q.dtype == z.dtype == np.float32


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("n", [1, 5, 300])
def test_program_of_images_equals_predict_bit_for_bit(n, precision):
    network = replace(CONVOLUTIONAL, precision=precision, input_scale=1 / 255)
    a_model = model.Model(
        some_params(network),
        network,
        metadata={"input_dtype": "uint8", "image_shape": [6, 6, 1]},
    )
    x = RNG.integers(0, 256, (n, 6, 6, 1), np.uint8)
    assert_same(a_model, x, x)


def test_program_takes_another_alpha_and_a_mixture():
    x = RNG.normal(size=(9, 2)).astype(np.float32)
    assert_same(model.Model(some_params(TINY), TINY, alpha=3.0), x, x)
    params = some_params(TINY)
    k, e = params["centroids"].shape
    mixture = {
        "log_variances": jax.numpy.zeros((k, e)),
        "log_weights": jax.numpy.zeros(k),
    }
    network = replace(TINY, variational=True)
    params = {**some_params(network), **mixture}
    assert_same(model.Model(params, network), x, x)


def test_program_divides_as_training_did(tmp_path):
    """One deviation for all columns, and one for each."""
    same = RNG.normal(5, 30, (60, 4)).astype(np.float32)
    units = (same * [1, 50, 3000, 0.01]).astype(np.float32)
    for x in (same, units):
        np.save(tmp_path / "x.npy", x)
        dataset = load_dataset(tmp_path / "x.npy")
        network = dense_architecture(4, hidden=(8,), embedding_dim=2)
        metadata = model.data_metadata(dataset)
        assert np.ndim(metadata["deviation"]) == (x is units)
        assert_same(
            model.Model(some_params(network), network, 1.0, metadata), x, dataset
        )


def test_program_standardizes_numeric_columns_of_a_table(tmp_path):
    """A column with gaps, one with a row far away, one of yes and no."""
    n = 200
    numbers = np.stack([RNG.normal(3, 2, n), RNG.normal(size=n), RNG.random(n) > 0.5])
    numbers = numbers.T.astype(np.float32)
    numbers[7, 0] = np.nan
    numbers[3, 1] = 1e4
    rows = ["a,b,c"]
    for a, b, c in numbers.tolist():
        rows.append(f"{'' if np.isnan(a) else repr(a)},{b!r},{int(c)}")
    (tmp_path / "x.csv").write_text("\n".join(rows) + "\n")
    dataset = load_dataset(tmp_path / "x.csv")
    assert dataset.x.shape == (n, 4)
    network = dense_architecture(4, hidden=(8,), embedding_dim=2)
    metadata = model.data_metadata(dataset)
    assert_same(
        model.Model(some_params(network), network, 1.0, metadata), numbers, dataset
    )


@pytest.mark.slow
def test_program_of_a_fit_runs_without_the_library(blobs, architecture, tmp_path):
    result = fit(
        blobs[0], 4, recipe="dec", network=architecture, epochs=2, max_intervals=2
    )
    (tmp_path / "model.stablehlo").write_bytes(model.export_program(result.model))
    np.save(tmp_path / "x.npy", blobs[0])
    script = [sys.executable, "-c", WITHOUT_LIBRARY]
    paths = [tmp_path / name for name in ("model.stablehlo", "x.npy", "out.npz")]
    done = subprocess.run(
        [*script, *map(str, paths)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "out.npz") as out:
        np.testing.assert_array_equal(out["labels"], result.labels)
        # The four devices of the tests' process may add products in another order.
        for name, own in (("q", result.predict_proba), ("z", result.transform)):
            np.testing.assert_allclose(out[name], own(blobs[0]), rtol=1e-5, atol=1e-6)


def test_program_is_for_all_platforms():
    found = program_of(model.Model(some_params(TINY), TINY))
    assert found.platforms == ("cpu", "cuda", "tpu")
    assert str(found.in_avals[0].shape) == "(n, 2)"


def test_export_rejects_a_model_without_clusters():
    params = without(some_params(TINY), "centroids")
    with pytest.raises(
        ValueError, match="The model has no centroids, .* export a model"
    ):
        export_program(model.Model(params, TINY))


def test_export_rejects_texts_categories_and_features(tmp_path):
    texts = dataset_from_texts(["red apple pie", "green apple tart", "blue car"] * 9)
    width = texts.x.shape[1]
    network = dense_architecture(width, hidden=(), embedding_dim=1)
    a_model = model.Model(
        some_params(network), network, 1.0, model.data_metadata(texts)
    )
    with pytest.raises(
        ValueError, match="trained on texts, and a program takes numbers"
    ):
        export_program(a_model)
    (tmp_path / "x.csv").write_text("a,color\n" + "1.5,red\n2,blue\n4,red\n" * 9)
    table = load_dataset(tmp_path / "x.csv")
    network = dense_architecture(table.x.shape[1], hidden=(), embedding_dim=1)
    a_model = model.Model(
        some_params(network), network, 1.0, model.data_metadata(table)
    )
    with pytest.raises(ValueError, match="the column 'color' holds categories"):
        export_program(a_model)
    features = Dataset("hog", np.zeros((3, 2), np.float32), None, None, "here", 1.0)
    metadata = {**model.data_metadata(features), "reading": {"features": "hog"}}
    with pytest.raises(ValueError, match="features of images, which are made before"):
        export_program(model.Model(some_params(TINY), TINY, 1.0, metadata))
