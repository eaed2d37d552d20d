"""`dec-jax export` writes a program, or one line on why it cannot."""

import jax.export
import numpy as np
import pytest
from programs import assert_refused, program
from small_models import METADATA, TINY, some_params, without

from dec_jax import model
from dec_jax.cli.main import main


@pytest.fixture
def saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = some_params(TINY)
    model.save("model.safetensors", params, architecture=TINY, metadata=METADATA)
    return tmp_path / "model.safetensors"


def export(*arguments):
    return program(main, "export", *arguments)


@pytest.mark.parametrize("given", ["model.safetensors", "."])
def test_export_writes_a_program_that_gives_the_labels(saved, given):
    done = export(given, "--out", "out.stablehlo")
    assert done.status == 0, done.err
    assert done.out.startswith("program: out.stablehlo (")
    found = jax.export.deserialize((saved.parent / "out.stablehlo").read_bytes())
    x = np.random.default_rng(0).normal(size=(7, 2)).astype(np.float32)
    labels, q, z = found.call(x)
    loaded = model.load(saved)
    np.testing.assert_array_equal(labels, model.predict(loaded, x))
    np.testing.assert_array_equal(q, model.predict_proba(loaded, x))
    np.testing.assert_array_equal(z, model.transform(loaded, x))


def test_export_names_the_program_after_the_model(saved):
    assert export(saved).status == 0
    assert (saved.parent / "model.stablehlo").is_file()
    assert_refused(export(saved), "--out model.stablehlo exists already; name another")


def test_export_refuses_bad_input_in_one_line(saved, tmp_path):
    model.save(
        "bare.safetensors", without(some_params(TINY), "centroids"), architecture=TINY
    )
    (tmp_path / "text.safetensors").write_text("no model")
    for arguments, message in [
        (("nowhere",), "nowhere"),
        (("bare.safetensors",), "The model has no centroids"),
        (("text.safetensors",), "text.safetensors"),
        ((saved, "--out", "no/folder/x"), "the folder no/folder does not exist"),
    ]:
        assert_refused(export(*arguments), message)
    assert not list(tmp_path.glob("*.stablehlo"))
