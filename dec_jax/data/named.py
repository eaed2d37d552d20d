"""The named data sets of the clustering papers: their files, and how they are found."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dec_jax.data.arrays import load_arrays
from dec_jax.data.dataset import Dataset, image_dataset
from dec_jax.data.idx import IDX_FILES, find_idx, read_idx_pair
from dec_jax.data.optdigits import FILES as OPTDIGITS_FILES
from dec_jax.data.optdigits import load_optdigits
from dec_jax.data.reuters import load_reuters10k, load_reuters21578
from dec_jax.data.stl10 import FILES as STL10_FILES
from dec_jax.data.stl10 import load_stl10
from dec_jax.validation import (
    check_choice,
    did_you_mean,
    expanded,
    near_path,
    require,
)

DATASETS = (
    "mnist",
    "fashion_mnist",
    "kmnist",
    "usps",
    "coil20",
    "optdigits",
    "stl10",
    "reuters21578",
    "reuters10k",
    "digits",
)
IDX_SETS = ("mnist", "fashion_mnist", "kmnist")
# Files of the sets that are read from a folder only, never downloaded.
SET_FILES = {
    "kmnist": tuple(
        f"{part}-{kind}-idx{ndim}-ubyte.gz" for part, kind, ndim in IDX_FILES
    ),
    "usps": ("usps.npz",),
    "coil20": ("coil20.npz",),
    "optdigits": OPTDIGITS_FILES,
    "stl10": STL10_FILES,
    "reuters21578": ("counts.npz", "labels.npz"),
}
SET_READERS: dict[str, Callable[[Path], Dataset]] = {
    "usps": lambda folder: load_arrays(folder / "usps.npz", standardize=False),
    "coil20": lambda folder: load_arrays(folder / "coil20.npz", standardize=False),
    "optdigits": load_optdigits,
    "stl10": load_stl10,
    "reuters21578": load_reuters21578,
}
DATA_DIR_VARIABLE = "DEC_JAX_DATA"


class DatasetNotFoundError(FileNotFoundError):
    """Raised for a named data set that is in no folder and cannot be downloaded."""


def load_named(name: str, data_dir: str | os.PathLike[str] | None) -> Dataset:
    """Loads one of `DATASETS` from a folder, from TFDS or from scikit-learn.

    Args:
      name: one of `DATASETS`.
      data_dir: a folder with data sets; None is the folder in DEC_JAX_DATA, if any.

    Raises:
      ValueError: an unknown name, or a damaged file.
      DatasetNotFoundError: the set is nowhere; the message lists the ways to get it.
      FileNotFoundError: the folder does not exist.
      ImportError: the set needs an optional package.
    """
    try:
        check_choice("dataset", name, DATASETS)
    except ValueError as error:
        if did_you_mean(name, DATASETS) == "." != (hint := near_path(name)):
            text = f"There is no data set, file or folder {name}{hint}"
            raise FileNotFoundError(text) from error
        raise ValueError(f"{error} No folder or file has that name either.") from error
    if name == "digits":
        # digits needs no folder, but a missing data_dir is still the user's mistake.
        if data_dir is not None:
            data_folder(data_dir)
        return load_digits()
    folder = data_folder(data_dir)
    if name == "reuters10k":
        try:
            return load_reuters10k()
        except OSError as error:
            raise DatasetNotFoundError(
                f"reuters10k was not found: scikit-learn has no RCV1 yet, and {error}. "
                "Run sklearn.datasets.fetch_rcv1() on a machine with a network (656 MB), "
                "and set SCIKIT_LEARN_DATA to the folder that it wrote."
            ) from error
    loaded = None if folder is None else load_from_folder(name, folder)
    if loaded is not None:
        return loaded
    missing = "no folder was given" if folder is None else f"it is not in {folder}"
    if name in SET_FILES:
        raise DatasetNotFoundError(
            f"{name} was not found: {missing}. Put {', '.join(SET_FILES[name])} into "
            f"<folder>/{name} and pass data_dir=<folder>, or set "
            f"{DATA_DIR_VARIABLE}=<folder>."
        )
    try:
        return load_from_tfds(name)
    except (OSError, ImportError) as error:
        raise DatasetNotFoundError(
            f"{name} was not found: {missing}; TFDS: {error}. Put its four IDX files "
            f"into <folder>/{name} and pass data_dir=<folder> or set "
            f"{DATA_DIR_VARIABLE}=<folder>, or let TFDS download it (this needs a network "
            'and pip install "dec_jax[data]"), or use the bundled --dataset digits.'
        ) from error


def data_folder(data_dir: str | os.PathLike[str] | None) -> Path | None:
    """Finds the folder with data sets: `data_dir`, else DEC_JAX_DATA, else None.

    Raises:
      FileNotFoundError: the folder that was named does not exist.
    """
    if data_dir is not None:
        given, origin = os.fspath(data_dir), "data_dir"
    else:
        given, origin = os.environ.get(DATA_DIR_VARIABLE, ""), DATA_DIR_VARIABLE
        if not given:
            return None
    folder = expanded(given)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{origin} must name an existing folder, got {given!r}{near_path(folder)}"
        )
    return folder


def load_from_folder(name: str, folder: Path) -> Dataset | None:
    """Loads a named set from `<folder>/<name>` or from `folder` itself, else None."""
    for own_folder in (folder / name, folder):
        if name in IDX_SETS:
            if holds_idx(name, own_folder):
                return load_idx(name, own_folder)
        elif all((own_folder / file).is_file() for file in SET_FILES[name]):
            return SET_READERS[name](own_folder)
    return None


def holds_idx(name: str, folder: Path) -> bool:
    """Returns True if `folder` holds IDX files and is not named after another set."""
    # The files of all IDX sets have the same names, so the folder's name decides. Its
    # parent counts as well: torchvision writes FashionMNIST/raw.
    plain_names = {known.replace("_", ""): known for known in IDX_SETS}
    parts = [
        part.lower().replace("_", "").replace("-", "")
        for part in reversed(folder.resolve().parts[-2:])
    ]
    called = next((plain_names[part] for part in parts if part in plain_names), name)
    return called == name and any(find_idx(folder, *file) for file in IDX_FILES)


def load_idx(name: str, folder: Path) -> Dataset:
    """Loads the four IDX files in `folder`, the training part first."""
    paths = []
    for part, kind, ndim in IDX_FILES:
        path = find_idx(folder, part, kind, ndim)
        if path is None:
            raise DatasetNotFoundError(
                f"{folder} holds only a part of {name}: {part}-{kind}-idx{ndim}-ubyte.gz is "
                "missing; all four files are needed."
            )
        paths.append(path)
    train_x, train_labels = read_idx_pair(paths[0], paths[1])
    test_x, test_labels = read_idx_pair(paths[2], paths[3])
    if train_x.shape[1:] != test_x.shape[1:]:
        raise ValueError(
            f"{paths[2]}: images must be as large as those in {paths[0].name}, "
            f"{train_x.shape[1:]}, got {test_x.shape[1:]}."
        )
    images = np.concatenate([train_x, test_x])
    labels = np.concatenate([train_labels, test_labels]).astype(np.int32)
    return image_dataset(name, images[..., None], labels, f"IDX files in {folder}")


def load_from_tfds(name: str) -> Dataset:
    """Loads a set that TFDS has prepared or can download.

    Raises:
      OSError: TFDS does not have it and cannot download it.
      ImportError: TFDS is not installed.
    """
    require("tensorflow_datasets", extra="data", task=f"downloading {name}")
    from dec_jax.data import tfds

    images, labels, source = tfds.load_tfds(name)
    return image_dataset(name, images, labels, source)


def load_digits() -> Dataset:
    """Loads the 1,797 digits of 8 x 8 pixels that scikit-learn bundles, in [0, 1]."""
    datasets = require("sklearn.datasets", extra="data", task="the data set digits")
    digits = datasets.load_digits()
    # Pixels are integers from 0 to 16.
    images = (digits.images / 16).astype(np.float32)
    labels = digits.target.astype(np.int32)
    return image_dataset("digits", images[..., None], labels, "scikit-learn (embedded)")
