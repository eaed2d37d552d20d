"""Files to samples: the named data sets of the clustering papers, and a user's own data."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dec_jax.data.arrays import load_arrays
from dec_jax.data.dataset import Dataset, image_dataset
from dec_jax.data.idx import IDX_FILES, find_idx, read_idx_pair
from dec_jax.data.images import load_image_folder
from dec_jax.data.reuters import load_reuters10k, load_reuters21578
from dec_jax.data.stl10 import FILES as STL10_FILES
from dec_jax.data.stl10 import load_stl10
from dec_jax.data.tables import TABLE_SUFFIXES, load_table
from dec_jax.validation import check_choice

DATASETS = (
    *("mnist", "fashion_mnist", "usps", "coil20", "stl10", "reuters21578"),
    *("reuters10k", "digits"),
)
IDX_SETS = ("mnist", "fashion_mnist")
# Of the sets that are found in a folder only: what has to lie in it, and what reads it.
SET_FILES = {
    "usps": ("usps.npz",),
    "coil20": ("coil20.npz",),
    "stl10": STL10_FILES,
    "reuters21578": ("counts.npz", "labels.npz"),
}
SET_READERS: dict[str, Callable[[Path], Dataset]] = {
    "usps": lambda folder: load_arrays(folder / "usps.npz", standardize=False),
    "coil20": lambda folder: load_arrays(folder / "coil20.npz", standardize=False),
    "stl10": load_stl10,
    "reuters21578": load_reuters21578,
}
DATA_DIR_VARIABLE = "DEC_JAX_DATA"
ARRAY_SUFFIXES = (".npz", ".npy")
# What each kind of the user's own data may be given, and what stands for "not given".
FOLDER_OPTIONS = {
    "image_size": None,
    "image_mode": None,
    "labels_csv": None,
    "folder_labels": False,
    "skip_unreadable": False,
}
TABLE_OPTIONS = {"label_column": None}
NUMBER_OPTIONS = {"standardize": True}


class DatasetNotFoundError(FileNotFoundError):
    """A named data set is neither in a folder nor to be had from TFDS."""


def load_dataset(
    name: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    *,
    image_size: int | Sequence[int] | None = None,
    image_mode: str | None = None,
    labels_csv: str | os.PathLike[str] | None = None,
    folder_labels: bool = False,
    skip_unreadable: bool = False,
    label_column: str | int | None = None,
    standardize: bool = True,
    progress: Callable[[int, int], object] | None = None,
) -> Dataset:
    """Loads a data set by its name, or a user's own images, table or arrays.

    A named set is looked for in `data_dir`, else in the folder that the
    environment variable DEC_JAX_DATA names, as `<folder>/<name>/...` or straight
    in that folder; then, for `mnist` and `fashion_mnist`, in what TFDS has
    prepared, and last in what TFDS downloads (without TensorFlow). `reuters10k` is
    drawn from scikit-learn's RCV1. The training part comes first, then the test
    part, as clustering papers use them.

    A folder of images is read by `load_image_folder`, a table by `load_table`:
    they say what their options mean. Own data need no labels.

    Args:
      name: `mnist`, `fashion_mnist`, `usps`, `coil20`, `stl10`, `reuters21578`,
        `reuters10k`, `digits` (bundled with scikit-learn, needs no folder), or the
        path of a folder of images, a `.csv`, `.tsv` or `.parquet` table, or a `.npz`
        or `.npy` file. A name wins over a folder that is called the same: `./mnist`
        is the folder.
        An npz holds `x` or `images` (or `train_x` and `test_x`) and may hold `y`
        or `labels` (or `train_y` and `test_y`). Samples of shape [n, d] are a
        table; [n, h, w] and [n, h, w, c] are images. A sparse matrix as
        `scipy.sparse.save_npz` writes it is a table without labels. Integer labels that fit
        int32 are kept, all others are numbered in sorted order.
      data_dir: a folder with data sets; for named sets only.
      image_size: for a folder, the `size` of `load_image_folder`.
      image_mode: for a folder, the `mode` of `load_image_folder`.
      labels_csv: for a folder, a CSV file with the columns filename and label.
      folder_labels: for a folder, whether sub-folders are classes.
      skip_unreadable: for a folder, whether damaged files are left out.
      label_column: for a table, the column that holds the labels.
      standardize: for a table, whether numbers get mean 0 and deviation 1; for an
        `.npz` or `.npy` file, whether numbers (not bytes) are divided by what makes the
        mean variance of a table's columns 1, or brings images to -1 to 1.
      progress: for a folder, called with (files done, files in all) after each
        file; all else is read at once, and never calls it.

    Returns:
      All samples, in the order of the files.

    Raises:
      DatasetNotFoundError: the set is nowhere; the message says how to get it.
      FileNotFoundError: a folder or file that was named does not exist.
      ValueError: an unknown name; an option that does not fit what is loaded; a
        damaged or mislabeled file; arrays that do not fit each other, or are
        not finite; what `load_image_folder` and `load_table` refuse.
      TypeError: samples that are not numbers.
      ImportError: `digits` without scikit-learn, images without Pillow, a table
        without pandas.
    """
    name = os.fspath(name)
    folder_options = {
        "image_size": image_size,
        "image_mode": image_mode,
        "labels_csv": labels_csv,
        "folder_labels": folder_labels,
        "skip_unreadable": skip_unreadable,
    }
    path = None if name in DATASETS else own_path(name)
    is_table = path is not None and path.suffix.lower() in TABLE_SUFFIXES
    is_folder = path is not None and path.is_dir()
    if not is_folder:
        check_not_given(name, "a folder of images", folder_options, FOLDER_OPTIONS)
    if not is_table:
        given = {"label_column": label_column}
        check_not_given(name, "a table", given, TABLE_OPTIONS)
    if path is None or is_folder:
        given = {"standardize": standardize}
        check_not_given(name, "a table or an array file", given, NUMBER_OPTIONS)
    if path is None:
        return load_named(name, data_dir)
    if data_dir is not None:
        raise ValueError(
            f"data_dir must not be given with a {'folder of images' if is_folder else 'file'}, "
            f"got {data_dir} and {name}."
        )
    if is_folder:
        return load_image_folder(
            path,
            size=image_size,
            mode=image_mode,
            labels_csv=labels_csv,
            folder_labels=folder_labels,
            skip_unreadable=skip_unreadable,
            progress=progress,
        )
    if is_table:
        return load_table(path, label_column=label_column, standardize=standardize)
    return load_arrays(path, standardize=standardize)


def own_path(name: str) -> Path | None:
    """The folder or file that `name` is the path of, or None for a mere name."""
    path = Path(name).expanduser()
    suffixes = (*ARRAY_SUFFIXES, *TABLE_SUFFIXES)
    if path.is_dir() or path.suffix.lower() in suffixes:
        return path
    if path.suffix or path.is_file():
        raise ValueError(
            f"A data file must end in {', '.join(suffixes[:-1])} or {suffixes[-1]}, got "
            f"{name}; images are given as the folder that holds them."
        )
    # "./mnist" is a path, and Path alone would make a name of it.
    if len(path.parts) > 1 or os.path.basename(name) != name:
        raise FileNotFoundError(f"The data folder {name} does not exist.")
    return None


def check_not_given(
    name: str, fitting: str, options: dict[str, Any], defaults: dict[str, Any]
) -> None:
    """Raises ValueError where an option was given that fits other data only."""
    for option, value in options.items():
        if value is not defaults[option]:
            raise ValueError(
                f"{option} is for {fitting}, got {option}={value!r} with {name}."
            )


def load_named(name: str, data_dir: str | os.PathLike[str] | None) -> Dataset:
    """A set of `DATASETS`: from a folder, from TFDS, or bundled with scikit-learn."""
    try:
        check_choice("dataset", name, DATASETS)
    except ValueError as error:
        raise ValueError(f"{error} No folder or file is called so either.") from error
    if name == "digits":
        # It needs no folder, but one that was named must exist all the same.
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
                "Run sklearn.datasets.fetch_rcv1() where there is a network (656 MB), "
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
            f"{DATA_DIR_VARIABLE}=<folder>, or let TFDS download it (a network and "
            "pip install 'dec_jax[data]'), or use the embedded --dataset digits."
        ) from error


def load_default_dataset(
    data_dir: str | os.PathLike[str] | None = None,
) -> tuple[Dataset, str | None]:
    """Loads MNIST where it can be had, else the embedded digits with the reason.

    A damaged MNIST, or a folder that was named and does not exist, is an error
    all the same.

    Args:
      data_dir: a folder with data sets, as in `load_dataset`.

    Returns:
      The data set, and None or one line that says why it is not MNIST.
    """
    try:
        return load_dataset("mnist", data_dir), None
    except DatasetNotFoundError as error:
        reason = " ".join(str(error).split())
        return load_digits(), f"digits (embedded) stand in for MNIST: {reason}"


def data_folder(data_dir: str | os.PathLike[str] | None) -> Path | None:
    """The folder to search, or None; one that was named and is missing is an error."""
    if data_dir is not None:
        given, origin = os.fspath(data_dir), "data_dir"
    else:
        given, origin = os.environ.get(DATA_DIR_VARIABLE, ""), DATA_DIR_VARIABLE
        if not given:
            return None
    folder = Path(given).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{origin} must name an existing folder, got {given!r}."
        )
    return folder


def load_from_folder(name: str, folder: Path) -> Dataset | None:
    """The named set from `<folder>/<name>`, or from `folder` itself, or None."""
    for own_folder in (folder / name, folder):
        if name in IDX_SETS:
            if holds_idx(name, own_folder):
                return load_idx(name, own_folder)
        elif all((own_folder / file).is_file() for file in SET_FILES[name]):
            return SET_READERS[name](own_folder)
    return None


def holds_idx(name: str, folder: Path) -> bool:
    """True where IDX files lie in `folder`, unless it is called after another set."""
    # All IDX sets have the same file names: only the folder tells them apart. The
    # folder above counts as well, for torchvision's FashionMNIST/raw.
    plain_names = {known.replace("_", ""): known for known in IDX_SETS}
    parts = [
        part.lower().replace("_", "").replace("-", "")
        for part in reversed(folder.resolve().parts[-2:])
    ]
    called = next((plain_names[part] for part in parts if part in plain_names), name)
    return called == name and any(find_idx(folder, *file) for file in IDX_FILES)


def load_idx(name: str, folder: Path) -> Dataset:
    """The four IDX files in `folder`, training part first."""
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


# Other sources.


def load_from_tfds(name: str) -> Dataset:
    """The set as TFDS has prepared it, or downloads it; OSError where it cannot."""
    try:
        from dec_jax.data import tfds
    except ImportError as error:
        raise ImportError(f"it cannot be imported ({error})") from error
    images, labels, source = tfds.load_tfds(name)
    return image_dataset(name, images, labels, source)


def load_digits() -> Dataset:
    """The 1,797 digits of 8 x 8 pixels that scikit-learn bundles, in steps of 1/16."""
    try:
        from sklearn.datasets import load_digits as bundled_digits
    except ImportError as error:
        raise ImportError(
            "The data set digits is bundled with scikit-learn, which is not installed; "
            "run pip install 'dec_jax[data]'."
        ) from error
    digits = bundled_digits()
    images = (digits.images / 16).astype(np.float32)
    labels = digits.target.astype(np.int32)
    return image_dataset("digits", images[..., None], labels, "scikit-learn (embedded)")
