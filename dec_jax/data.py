"""Files to samples: the named data sets of the clustering papers, and a user's own arrays."""

import hashlib
import math
import os
import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from dec_jax.idx import IDX_FILES, find_idx, read_idx_pair
from dec_jax.validation import check_choice, check_samples

DATASETS = ("mnist", "fashion_mnist", "usps", "coil20", "digits")
IDX_SETS = ("mnist", "fashion_mnist")
DATA_DIR_VARIABLE = "DEC_JAX_DATA"
# What an npz file may call its samples and its labels.
X_NAMES: tuple[tuple[str, ...], ...] = (("x",), ("images",), ("train_x", "test_x"))
Y_NAMES: tuple[tuple[str, ...], ...] = (("y",), ("labels",), ("train_y", "test_y"))
UNREADABLE = (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile, zlib.error)


class DatasetNotFoundError(FileNotFoundError):
    """A named data set is neither in a folder nor to be had from TFDS."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples, their labels where there are any, and where they came from.

    Attributes:
      name: what results call it, such as "mnist".
      x: samples, shape [n, d], in their own type: pixels that are bytes stay bytes.
      labels: classes, shape [n], int32, or None. They score; they never train.
      image_shape: (height, width, channels), or None for a table.
      source: one line for people, such as "scikit-learn (embedded)".
      input_scale: the factor that turns `x` into network input: 1/255 for
        bytes, 1.0 for numbers that are already in the range to be used.

    Raises:
      TypeError: `x` is not an array of real numbers.
      ValueError: `x` is not [n, d], is empty or not finite; `labels` or
        `image_shape` do not fit it.
    """

    name: str
    x: np.ndarray
    labels: np.ndarray | None
    image_shape: tuple[int, int, int] | None
    source: str
    input_scale: float

    def __post_init__(self) -> None:
        check_samples(self.x, f"{self.source}: x")
        n, d = self.x.shape
        if self.image_shape is not None and math.prod(self.image_shape) != d:
            raise ValueError(
                f"{self.source}: image_shape must multiply to the {d} columns of x, "
                f"got {self.image_shape}."
            )
        if self.labels is None:
            return
        if self.labels.shape != (n,) or self.labels.dtype != np.int32:
            raise ValueError(
                f"{self.source}: labels must be int32 of shape ({n},), one for each "
                f"sample, got {self.labels.dtype} of shape {self.labels.shape}."
            )

    @property
    def n_classes(self) -> int | None:
        """The number of distinct labels, or None without labels."""
        return None if self.labels is None else len(np.unique(self.labels))

    @cached_property
    def sha256(self) -> str:
        """Fingerprint of `x` and `labels`: their types, shapes and bytes, in hexadecimal."""
        digest = hashlib.sha256()
        for array in (self.x, self.labels):
            if array is not None:
                digest.update(f"{array.dtype.str} {array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def load_dataset(
    name: str | os.PathLike[str], data_dir: str | os.PathLike[str] | None = None
) -> Dataset:
    """Loads a data set by its name, or arrays from a file.

    A named set is looked for in `data_dir`, else in the folder that the
    environment variable DEC_JAX_DATA names, as `<folder>/<name>/...` or straight
    in that folder; then, for `mnist` and `fashion_mnist`, in what TFDS has
    prepared, and last in what TFDS downloads (without TensorFlow). The training
    part comes first, then the test part, as clustering papers use them.

    Args:
      name: `mnist`, `fashion_mnist`, `usps`, `coil20`, `digits` (bundled with
        scikit-learn, needs no folder), or the path of a `.npz` or `.npy` file.
        An npz holds `x` or `images` (or `train_x` and `test_x`) and may hold `y`
        or `labels` (or `train_y` and `test_y`). Samples of shape [n, d] are a
        table; [n, h, w] and [n, h, w, c] are images. Integer labels that fit
        int32 are kept, all others are numbered in sorted order.
      data_dir: a folder with data sets.

    Returns:
      All samples, in the order of the files.

    Raises:
      DatasetNotFoundError: the set is nowhere; the message says how to get it.
      FileNotFoundError: a folder or file that was named does not exist.
      ValueError: an unknown name; a damaged or mislabelled file; arrays that do
        not fit each other, or are not finite.
      TypeError: samples that are not numbers.
      ImportError: `digits` without scikit-learn.
    """
    name = os.fspath(name)
    if name.lower().endswith((".npz", ".npy")):
        if data_dir is not None:
            raise ValueError(
                f"data_dir must not be given with a file, got {data_dir} and {name}."
            )
        return load_arrays(Path(name).expanduser())
    if Path(name).suffix or len(Path(name).parts) > 1:
        raise ValueError(
            f"A data file must end in .npz or .npy, got {name}; save it with numpy."
        )
    check_choice("dataset", name, DATASETS)
    if name == "digits":
        # It needs no folder, but one that was named must exist all the same.
        if data_dir is not None:
            data_folder(data_dir)
        return load_digits()
    folder = data_folder(data_dir)
    loaded = None if folder is None else load_from_folder(name, folder)
    if loaded is not None:
        return loaded
    missing = "no folder was given" if folder is None else f"it is not in {folder}"
    if name not in IDX_SETS:
        raise DatasetNotFoundError(
            f"{name} was not found: {missing}. Put {name}.npz into <folder>/{name} and "
            f"pass data_dir=<folder>, or set {DATA_DIR_VARIABLE}=<folder>."
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
        if name in IDX_SETS and holds_idx(name, own_folder):
            return load_idx(name, own_folder)
        if name not in IDX_SETS and (own_folder / f"{name}.npz").is_file():
            return load_arrays(own_folder / f"{name}.npz")
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
        from dec_jax import tfds_sets
    except ImportError as error:
        raise ImportError(f"it cannot be imported ({error})") from error
    images, labels, source = tfds_sets.load_tfds(name)
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


def image_dataset(
    name: str, images: np.ndarray, labels: np.ndarray | None, source: str
) -> Dataset:
    """A `Dataset` of images [n, h, w, c]."""
    _, height, width, channels = images.shape
    return Dataset(
        name=name,
        x=images.reshape(len(images), height * width * channels),
        labels=labels,
        image_shape=(height, width, channels),
        source=source,
        input_scale=input_scale_of(images),
    )


def input_scale_of(x: np.ndarray) -> float:
    """1/255 for bytes; every other type is taken as it is."""
    return 1 / 255 if x.dtype == np.uint8 else 1.0


def load_arrays(path: Path) -> Dataset:
    """A table or images, and labels where there are any, from an npz or npy file."""
    if not path.is_file():
        raise FileNotFoundError(f"The data file {path} does not exist.")
    if path.suffix.lower() == ".npz":
        x, labels = read_npz(path)
    else:
        x, labels = read_npy(path), None
    # JAX takes native byte order only; the values stay the same.
    x = x.astype(x.dtype.newbyteorder("="), copy=False)
    source = f"{path.suffix[1:].lower()} file {path}"
    labels = None if labels is None else integer_labels(labels, source)
    if x.ndim == 2:
        return Dataset(path.stem, x, labels, None, source, input_scale_of(x))
    if x.ndim not in (3, 4):
        raise ValueError(
            f"{source}: x must have shape [n, d] (a table), [n, h, w] or [n, h, w, c] (images), "
            f"got {list(x.shape)}."
        )
    return image_dataset(path.stem, x if x.ndim == 4 else x[..., None], labels, source)


def read_npy(path: Path) -> np.ndarray:
    """The array of an npy file; pickled objects are refused."""
    # Without this NumPy takes every unknown file for a pickle and says so.
    with path.open("rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise ValueError(
                f"{path} is not an npy file: it does not start as numpy.save writes."
            )
    try:
        return np.load(path, allow_pickle=False)
    except UNREADABLE as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def read_npz(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Samples and labels of an npz file, the training part first."""
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"{path} is not an npz file: it is no zip archive, or a truncated one."
        )
    known = {name for names in (*X_NAMES, *Y_NAMES) for name in names}
    try:
        with np.load(path, allow_pickle=False) as file:
            present = list(file.files)
            arrays = {name: file[name] for name in present if name in known}
    except UNREADABLE as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    x_names = next((names for names in X_NAMES if names[0] in arrays), ())
    y_names = next((names for names in Y_NAMES if names[0] in arrays), ())
    fitting = not y_names or len(y_names) == len(x_names)
    if not x_names or not fitting or set(arrays) != {*x_names, *y_names}:
        raise ValueError(
            f"{path} must hold one of x, images, or train_x with test_x, and may hold "
            "one of y, labels, or train_y with test_y; "
            f"it has: {', '.join(present) or 'no arrays'}."
        )
    for x_name, y_name in zip(x_names, y_names, strict=False):
        if arrays[y_name].shape != arrays[x_name].shape[:1]:
            raise ValueError(
                f"{path}: {y_name} must hold one label for each row of {x_name}, got "
                f"shapes {arrays[y_name].shape} and {arrays[x_name].shape}."
            )
    x = joined(path, {name: arrays[name] for name in x_names})
    if not y_names:
        return x, None
    return x, joined(path, {name: arrays[name] for name in y_names})


def joined(path: Path, parts: dict[str, np.ndarray]) -> np.ndarray:
    """The parts one after the other; they must agree in type and in all but length."""
    arrays = list(parts.values())
    # `char` is the type without the length of the text.
    if len({(array.dtype.char, array.shape[1:]) for array in arrays}) > 1:
        found = " and ".join(f"{array.dtype} {array.shape}" for array in arrays)
        raise ValueError(f"{path}: {' and '.join(parts)} must fit, got {found}.")
    return np.concatenate(arrays) if len(arrays) > 1 else arrays[0]


def integer_labels(labels: np.ndarray, source: str) -> np.ndarray:
    """int32 labels: integers as they are, all else numbered in sorted order."""
    kind = labels.dtype.kind
    if kind not in "biufUS" or (kind == "f" and not np.isfinite(labels).all()):
        raise ValueError(
            f"{source}: labels must be integers, text or finite floats, got "
            f"{labels.dtype}{' with NaN or infinity' if kind == 'f' else ''}."
        )
    if kind in "biu" and labels.size:
        limits = np.iinfo(np.int32)
        if limits.min <= int(labels.min()) and int(labels.max()) <= limits.max:
            return labels.astype(np.int32)
    return np.unique(labels, return_inverse=True)[1].astype(np.int32)
