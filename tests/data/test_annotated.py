"""h5ad files: the matrix, the names of the observations, and labels."""

import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from dec_jax.data.arrays import dataset_from_array
from dec_jax.data.load import load_dataset

anndata = pytest.importorskip("anndata")
X = np.array([[0, 2, 0], [1, 0, 3], [5, 0, 0], [0, 4, 1]], np.float32)


@pytest.fixture(params=[np.asarray, scipy.sparse.csr_matrix], ids=["dense", "sparse"])
def path(tmp_path, request):
    """Four cells of three genes, of two types."""
    obs = pd.DataFrame(
        {"kind": pd.Categorical(["b", "t", "b", "t"]), "half": ["x", None, "y", "x"]},
        index=[f"cell {i}" for i in range(4)],
    )
    file = tmp_path / "cells.h5ad"
    with warnings.catch_warnings():
        # anndata sets an option of pandas that newer versions deprecate.
        warnings.simplefilter("ignore")
        anndata.AnnData(request.param(X), obs=obs).write_h5ad(file)
    return file


def test_cells_are_rows_with_names_and_labels(path):
    data = load_dataset(path, label_column="kind")
    np.testing.assert_array_equal(data.x, dataset_from_array(X).x)
    assert (data.names[3], data.names_title) == ("cell 3", "observation")
    assert data.labels.tolist() == [0, 1, 0, 1]
    assert load_dataset(path).labels is None
    np.testing.assert_array_equal(load_dataset(path, standardize=False).x, X)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_column": "kid"}, "Unknown label_column 'kid'; did you mean 'kind'"),
        ({"label_column": "half"}, "'half' holds the labels, and 1 of 4 are missing"),
        ({"drop": ["kind"]}, "drop is for a table, got drop"),
    ],
)
def test_load_dataset_rejects_an_option_of_cells(path, options, message):
    with pytest.raises(ValueError, match=message):
        load_dataset(path, **options)


def test_load_dataset_rejects_a_damaged_or_missing_file(path):
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(ValueError, match="cells.h5ad cannot be read: ") as error:
        load_dataset(path)
    assert "\n" not in str(error.value)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="cells.h5ad does not exist"):
        load_dataset(path)


def test_load_dataset_rejects_cells_of_an_unknown_encoding(path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "r+") as file:
        file["X"].attrs["encoding-type"] = "scroll"
    with pytest.raises(ValueError, match="cells.h5ad cannot be read: ") as error:
        load_dataset(path)
    assert "\n" not in str(error.value)


def test_load_dataset_says_that_anndata_is_not_installed(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(ImportError, match=r'anndata: pip install "dec_jax\[anndata\]"'):
        load_dataset(path)
