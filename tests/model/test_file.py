"""A model's file: what is saved and loaded, and the q of a loaded model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from small_models import (
    CONVOLUTIONAL,
    HALF_NORMALIZED,
    METADATA,
    TINY,
    some_params,
    without,
)

from dec_jax import model
from dec_jax.model.file import FORMAT
from dec_jax.networks.architecture import Architecture, Dense, dense_architecture
from dec_jax.objectives import DEC
from dec_jax.training.cluster import train
from dec_jax.training.state import TrainConfig, init_state

ROOT = Path(__file__).parents[2]
VARIATIONAL = Architecture((4,), (Dense(5), Dense(2, "linear")), variational=True)


def assert_equal_bits(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for left, right in zip(
        jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True
    ):
        assert left.dtype == right.dtype
        assert np.asarray(left).tobytes() == np.asarray(right).tobytes()


@pytest.fixture(scope="module")
def trained(blobs, architecture):
    """The result of `train` for parameters that are to move no further."""
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
