"""Annotated matrices of single cells: the h5ad files of anndata."""

import math
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from dec_jax.data.array_files import MAX_DENSE
from dec_jax.data.arrays import dataset_from_array
from dec_jax.data.dataset import Dataset
from dec_jax.validation import check_choice, near_path, require

ANNOTATED_SUFFIX = ".h5ad"


def load_annotated(
    path: Path, *, label_column: str | None = None, standardize: bool = True
) -> Dataset:
    """Reads the matrix X of an h5ad file, and the names of its observations.

    X is taken as it is: normalize counts, and keep a few thousand variable genes or
    their principal components, before.

    Args:
      path: the file.
      label_column: column of `obs` that holds the labels; they score, and never train.
      standardize: as in `load_arrays`.

    Returns:
      The data set, made by `dataset_from_array`.

    Raises:
      FileNotFoundError: the file does not exist.
      ValueError: it cannot be read, has no X, or X is too large with its zeros; an
        unknown `label_column`; whatever `dataset_from_array` rejects.
      ImportError: anndata is not installed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"The data file {path} does not exist{near_path(path)}")
    anndata = require("anndata", extra="anndata", task="reading h5ad files")
    try:
        with warnings.catch_warnings():
            # Names that repeat, and files of earlier versions, are no matter here.
            warnings.simplefilter("ignore")
            content = anndata.read_h5ad(path)
    # anndata answers damage with errors of many types.
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ValueError(f"{path} cannot be read: {reason}.") from error
    x, source = content.X, f"h5ad file {path}"
    if x is None:
        raise ValueError(f"{source}: it must have a matrix X, got none.")
    size = math.prod(x.shape) * x.dtype.itemsize
    if size > MAX_DENSE:
        raise ValueError(
            f"{source}: X must take at most {MAX_DENSE >> 30} GiB with its zeros, got "
            f"{size / 2**30:.1f} GiB of shape {x.shape}; keep the most variable genes."
        )
    labels = None
    if label_column is not None:
        check_choice("label_column", label_column, map(str, content.obs.columns))
        column = content.obs[label_column]
        if column.isna().any():
            raise ValueError(
                f"{source}: column {label_column!r} holds the labels, and "
                f"{column.isna().sum()} of {len(column)} are missing."
            )
        labels = np.asarray(column.tolist())
    dataset = dataset_from_array(
        x.toarray() if hasattr(x, "toarray") else x,
        labels=labels,
        name=path.stem,
        source=source,
        standardize=standardize,
    )
    names = tuple(map(str, content.obs_names))
    return replace(dataset, names=names, names_title="observation")
