import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from dec_jax import model
from dec_jax.data.dataset import Dataset, image_dataset
from dec_jax.model.file import FORMAT, read_file, write_file
from dec_jax.networks import autoencoder
from dec_jax.networks.architecture import (
    Architecture,
    Conv2D,
    Dense,
    MaxPool2D,
    dense_architecture,
)
from dec_jax.networks.autoencoder import init_params
from dec_jax.objectives import DEC
from dec_jax.training.cluster import train
from dec_jax.training.state import TrainConfig, init_state

ROOT = Path(__file__).parents[2]
TINY = dense_architecture(2, hidden=(2,), embedding_dim=1)
CONVOLUTIONAL = Architecture(
    (6, 6, 1), (Conv2D(2, (3, 3)), MaxPool2D(), Dense(3, "linear")), batch_norm=True
)
# The decoder has no batch normalization: its part of "batch_stats" is empty.
HALF_NORMALIZED = Architecture(
    (5, 5, 1), (Conv2D(2, (3, 3)), Dense(3, "linear")), batch_norm=True
)
VARIATIONAL = Architecture((4,), (Dense(5), Dense(2, "linear")), variational=True)
METADATA = {
    "recipe": "dec",
    "seed": 3,
    "classes": ["zero", "eins"],
    "note": {"é": None},
}


def some_params(architecture, n_clusters=3, seed=0):
    """Random parameters, as training might leave them: no bias is 0."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(
        lambda key: init_params(key, architecture), jax.random.key(0)
    )
    params = jax.tree.map(
        lambda leaf: rng.uniform(-0.5, 1, leaf.shape).astype(np.float32), shapes
    )
    if "batch_stats" in params:
        # Running variances are positive.
        params["batch_stats"] = jax.tree.map(np.abs, params["batch_stats"])
    centroids = rng.normal(size=(n_clusters, architecture.embedding_dim))
    return jax.tree.map(
        jnp.asarray, {**params, "centroids": centroids.astype(np.float32)}
    )


def without(params, name):
    return {key: value for key, value in params.items() if key != name}


def assert_equal_bits(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for left, right in zip(
        jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True
    ):
        assert left.dtype == right.dtype
        assert np.asarray(left).tobytes() == np.asarray(right).tobytes()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def saved(path):
    """A small whole file."""
    return model.save(path, some_params(TINY), architecture=TINY, metadata=METADATA)


@pytest.fixture(scope="module")
def trained(blobs, architecture):
    """What `train` gives for parameters that are to move no further."""
    x, labels = blobs
    params = some_params(architecture, n_clusters=4)
    objective, config = DEC(alpha=2.0), TrainConfig()
    state = init_state(
        jax.random.key(0),
        without(params, "centroids"),
        params["centroids"],
        jnp.asarray(labels),
        objective=objective,
        config=config,
    )._replace(converged=jnp.array(True))
    return train(
        state, x, architecture=architecture, objective=objective, config=config
    )


# Round trip.


@pytest.mark.parametrize(
    "network",
    [TINY, CONVOLUTIONAL, HALF_NORMALIZED, VARIATIONAL],
    ids=["dense", "convolutional", "half normalized", "variational"],
)
def test_load_gives_back_what_was_saved(path, network):
    params = some_params(network)
    model.save(path, params, architecture=network, alpha=0.1, metadata=METADATA)
    loaded = model.load(path)
    assert_equal_bits(loaded.params, params)
    assert (loaded.architecture, loaded.alpha) == (network, 0.1)
    assert (loaded.metadata, loaded.n_clusters) == (METADATA, 3)


def test_load_gives_back_the_counts_of_dcn(path):
    params = {**some_params(TINY), "counts": jnp.array([100.0, 250.0, 1.5])}
    model.save(path, params, architecture=TINY)
    assert_equal_bits(model.load(path).params, params)


def test_load_gives_back_an_autoencoder_without_centroids(path):
    params = without(some_params(TINY), "centroids")
    model.save(path, params, architecture=TINY)
    loaded = model.load(path)
    assert_equal_bits(loaded.params, params)
    assert loaded.n_clusters is None


def test_load_gives_back_an_input_scale_of_its_own(path):
    network = dense_architecture(2, hidden=(2,), embedding_dim=1, input_scale=0.02)
    model.save(path, some_params(network), architecture=network)
    assert model.load(path).architecture.input_scale == 0.02


def test_load_tells_the_versions_that_wrote_the_file(saved):
    versions = model.load(saved).versions
    assert (versions["jax"], versions["numpy"]) == (jax.__version__, np.__version__)
    assert set(versions) == {"dec_jax", "jax", "numpy"}


def test_save_writes_arrays_in_any_order_of_their_axes(path):
    # safetensors reads an array's memory as if it were in C order.
    params = jax.tree.map(np.asfortranarray, some_params(TINY))
    assert not params["encoder"]["dense_0"]["kernel"].flags.c_contiguous
    model.save(path, params, architecture=TINY)
    assert_equal_bits(model.load(path).params, some_params(TINY))


def test_save_writes_the_same_bytes_again(tmp_path, saved):
    again = tmp_path / "again.safetensors"
    loaded = model.load(saved)
    model.save(again, loaded.params, architecture=TINY, metadata=loaded.metadata)
    assert again.read_bytes() == saved.read_bytes()


def test_save_makes_the_folder_and_leaves_nothing_else_in_it(tmp_path):
    path = tmp_path / "new" / "model.safetensors"
    assert model.save(str(path), some_params(TINY), architecture=TINY) == path
    assert os.listdir(path.parent) == ["model.safetensors"]


def test_save_that_fails_leaves_the_old_file(saved, monkeypatch):
    def full_disk(*_):
        raise OSError("No space left on device")

    before = saved.read_bytes()
    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="No space left"):
        model.save(saved, some_params(TINY, seed=1), architecture=TINY)
    assert os.listdir(saved.parent) == [saved.name]
    assert saved.read_bytes() == before


def test_safetensors_itself_reads_the_arrays(saved):
    with safe_open(saved, framework="numpy") as file:
        kernel = file.get_tensor("encoder.dense_0.kernel")
        architecture = json.loads(file.metadata()[FORMAT])["architecture"]
    np.testing.assert_array_equal(
        kernel, some_params(TINY)["encoder"]["dense_0"]["kernel"]
    )
    assert architecture["layers"][0] == {"type": "Input", "output_shape": [2]}


# q of a loaded model.


def test_loaded_model_gives_the_q_of_training(path, trained, blobs, architecture):
    model.save(path, trained.state.params, architecture=architecture, alpha=2.0)
    loaded = model.load(path)
    assert model.predict_proba(loaded, blobs[0]).tobytes() == trained.q.tobytes()
    np.testing.assert_array_equal(model.predict(loaded, blobs[0]), trained.labels)


def test_another_process_gives_the_same_q_and_the_same_file(
    path, trained, blobs, architecture
):
    model.save(path, trained.state.params, architecture=architecture, alpha=2.0)
    np.save(path.with_name("x.npy"), blobs[0])
    program = (
        "import numpy as np\n"
        "from dec_jax import model\n"
        "loaded = model.load('model.safetensors')\n"
        "np.save('q.npy', model.predict_proba(loaded, np.load('x.npy')))\n"
        "model.save('again', loaded.params, architecture=loaded.architecture,\n"
        "    alpha=loaded.alpha, metadata=loaded.metadata)\n"
    )
    subprocess.run(
        [sys.executable, "-c", program],
        cwd=path.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    q = np.load(path.with_name("q.npy"))
    assert q.tobytes() == trained.q.tobytes()
    assert path.with_name("again").read_bytes() == path.read_bytes()


# Damage.


def test_load_rejects_one_flipped_bit_wherever_it_is(saved):
    whole = saved.read_bytes()
    unnoticed = []
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        saved.write_bytes(damaged)
        try:
            model.load(saved)
            unnoticed.append(place)
        except model.ModelError as error:
            assert "\n" not in str(error)
    assert (len(whole) > 1000, unnoticed) == (True, [])


def test_load_rejects_a_truncated_file_whatever_is_left(saved):
    whole = saved.read_bytes()
    for size in [*range(16), *range(16, len(whole), 37), len(whole) - 1]:
        saved.write_bytes(whole[:size])
        with pytest.raises(model.ModelError, match="truncated or damaged"):
            model.load(saved)


def test_load_rejects_a_file_with_something_behind_it(saved):
    saved.write_bytes(saved.read_bytes() + b"\0")
    with pytest.raises(model.ModelError, match="is no safetensors file, or is trunc"):
        model.load(saved)


def test_load_rejects_a_pickle_without_running_it(path, tmp_path):
    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "was-run"),)

    path.write_bytes(pickle.dumps(Payload()))
    with pytest.raises(model.ModelError, match="is no safetensors file"):
        model.load(path)
    assert not (tmp_path / "was-run").exists()


def test_load_rejects_a_missing_file(path):
    with pytest.raises(FileNotFoundError, match=f"model file {path} does not exist"):
        model.load(path)


def test_load_rejects_a_folder(tmp_path):
    with pytest.raises(model.ModelError, match="must be a model file, got a folder"):
        model.load(tmp_path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}], ids=["none", "pt"])
def test_load_rejects_the_safetensors_of_others(path, metadata):
    save_file({"weight": np.ones(3, np.float64)}, path, metadata=metadata)
    with pytest.raises(model.ModelError, match="none that dec_jax wrote"):
        model.load(path)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{", "its entry dec_jax.model is wrong"),
        ("[]", "its entry dec_jax.model is wrong"),
        ("{}", "its entry dec_jax.model is wrong"),
        ('{"format_version": "1"}', "its format version is '1'"),
        ('{"format_version": 0}', "its format version is 0"),
        ('{"format_version": 1}', "its checksum is None"),
        ('{"format_version": 1, "sha256": ""}', "its checksum is ''"),
        ('{"format_version": 2}', "format version 2, .* up to version 1; upgrade dec"),
    ],
)
def test_load_rejects_a_header_that_is_not_ours(path, entry, message):
    save_file({"x": np.ones(1, np.float32)}, path, metadata={FORMAT: entry})
    with pytest.raises(model.ModelError, match=message):
        model.load(path)


# Whole files that no `save` wrote: their checksum is right.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder.dense_0.bias": None}, "and lack encoder.dense_0.bias"),
        ({"encoder.dense_7.bias": np.ones(2)}, "got encoder.dense_7.bias besides"),
        (
            {"encoder.dense_0.bias": np.ones(3)},
            r"encoder.dense_0.bias must be float32 of shape \(2,\), got .* \(3,\)",
        ),
        ({"centroids": np.ones((3, 2))}, r"centroids must be .* \(3, 1\), got .*3, 2"),
        ({"centroids": np.ones((0, 1))}, r"centroids must be .* \(1, 1\), got .*0, 1"),
        ({"counts": np.ones(2)}, r"counts must be .* \(3,\), got .*\(2,\)"),
        ({"centroids": None, "counts": np.ones(3)}, "got counts besides"),
        ({"centroids": np.full((3, 1), np.nan)}, "centroids must be finite, got NaN"),
    ],
)
def test_load_rejects_arrays_that_the_architecture_does_not_have(
    saved, change, message
):
    description, arrays = read_file(saved)
    changed = {
        name: np.asarray(v) for name, v in {**arrays, **change}.items() if v is not None
    }
    write_file(saved, changed, description)
    with pytest.raises(model.ModelError, match=f"cannot be used: .*{message}"):
        model.load(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": {"layers": []}}, "architecture: layers"),
        ({"architecture": None}, "architecture must be an object"),
        ({"alpha": -1.0}, "alpha must be finite and above 0, got -1.0"),
        ({"alpha": "1"}, "cannot be used"),
        ({"metadata": 3}, "cannot be used"),
    ],
)
def test_load_rejects_a_description_that_is_none(saved, change, message):
    description, arrays = read_file(saved)
    write_file(saved, arrays, {**description, **change})
    with pytest.raises(model.ModelError, match=message):
        model.load(saved)


def test_load_rejects_arrays_of_another_type(saved):
    content = saved.read_bytes()
    # As many bytes, and the checksum made right again.
    changed = content.replace(b'"F32","shape":[3,1]', b'"I32","shape":[3,1]')
    assert changed != content
    saved.write_bytes(with_right_checksum(changed))
    with pytest.raises(model.ModelError, match="centroids must be F32, got I32"):
        model.load(saved)


def with_right_checksum(content):
    import hashlib

    stated = content.split(b'sha256\\": \\"')[1][:64]
    blank = content.replace(stated, b"0" * 64)
    return blank.replace(b"0" * 64, hashlib.sha256(blank).hexdigest().encode(), 1)


# Clusters without a decoder.


def test_clusters_do_without_a_decoder(path):
    params = without(some_params(CONVOLUTIONAL), "decoder")
    model.save(path, params, architecture=CONVOLUTIONAL)
    loaded = model.load(path)
    assert_equal_bits(loaded.params, params)
    x = np.random.default_rng(1).uniform(size=(5, 36)).astype(np.float32)
    whole = model.Model(some_params(CONVOLUTIONAL), CONVOLUTIONAL)
    np.testing.assert_array_equal(
        model.predict_proba(loaded, x), model.predict_proba(whole, x)
    )
    with pytest.raises(ValueError, match="needs a model with a decoder, .* has none"):
        model.reconstruct(loaded, x)


def test_a_network_without_clusters_has_a_decoder(path):
    params = without(without(some_params(TINY), "decoder"), "centroids")
    with pytest.raises(ValueError, match="lack decoder.dense_0.bias and 3 more"):
        model.save(path, params, architecture=TINY)


# What is not saved.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"decoder": {"dense_0": {}}, "encoder": {}},
            "lack encoder.dense_0.bias and 3",
        ),
        ({"opt_state": jnp.zeros(2)}, "got opt_state besides"),
        ({"centroids": jnp.zeros((3, 1), jnp.bfloat16)}, "centroids must be float32"),
        ({"centroids": jnp.full((3, 1), jnp.inf)}, "centroids must be finite"),
        ({"centroids": jnp.zeros(())}, "centroids must be float32 of shape"),
    ],
)
def test_save_rejects_params_that_do_not_fit(path, change, message):
    with pytest.raises(ValueError, match=message):
        model.save(path, {**some_params(TINY), **change}, architecture=TINY)
    assert not path.exists()


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_save_rejects_an_alpha_without_a_kernel(path, alpha):
    with pytest.raises(
        ValueError, match=f"alpha must be finite and above 0, got {alpha}"
    ):
        model.save(path, some_params(TINY), architecture=TINY, alpha=alpha)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (
            {"shape": (28, 28)},
            r"metadata\['shape'\] must be text.*got \(28, 28\); JSON",
        ),
        ({"loss": float("nan")}, r"metadata\['loss'\] must be .* got nan"),
        ({"deep": {"seed": np.int64(3)}}, r"metadata\['deep'\]\['seed'\] must be"),
        ({"sizes": {1: 2}}, r"metadata\['sizes'\] must be .* keys of text"),
    ],
)
def test_save_rejects_metadata_that_json_would_change(path, metadata, message):
    with pytest.raises(ValueError, match=message):
        model.save(path, some_params(TINY), architecture=TINY, metadata=metadata)


@pytest.mark.parametrize(
    "use",
    [model.load, lambda path: model.save(path, some_params(TINY), architecture=TINY)],
    ids=["load", "save"],
)
def test_files_rejects_a_missing_package_with_the_way_to_get_it(path, monkeypatch, use):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(
        ImportError, match=r'needs safetensors: pip install "dec_jax\[model\]"'
    ):
        use(path)


# New data.


def bytes_model(network=TINY, **metadata):
    return model.Model(
        some_params(network), network, metadata={"input_dtype": "uint8", **metadata}
    )


def soft_assignment_by_loops(z, centroids, alpha):
    """Equation 1 of Xie et al. (2016), one sample and one cluster at a time."""
    q = np.empty((len(z), len(centroids)))
    for i, z_i in enumerate(z):
        distances = [((z_i - mu) ** 2).sum() for mu in centroids]
        kernel = [(1 + d / alpha) ** (-(alpha + 1) / 2) for d in distances]
        q[i] = kernel / np.sum(kernel)
    return q


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
        ValueError, match=r"2 columns, as in training, got shape \(7, 3"
    ):
        function(bytes_model(), np.zeros((7, 3), np.float32))


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
