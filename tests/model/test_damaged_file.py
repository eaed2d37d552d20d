"""Files that are damaged, of others, or wrong inside, which `load` refuses."""

import os
import pickle

import numpy as np
import pytest
from safetensors.numpy import save_file

from dec_jax import model
from dec_jax.model.file import FORMAT, read_file, write_file


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
        ({"shared.rotation": np.ones((1, 1))}, "and lack shared.logits"),
        ({"shared.other": np.ones(1)}, "got shared.other besides"),
        (
            {"shared.inverse_temperature": np.ones(1)},
            r"shared.inverse_temperature must be float32 of shape \(\), got .*\(1,\)",
        ),
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
