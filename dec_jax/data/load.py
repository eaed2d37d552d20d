"""Chooses the loader of a data set: by its name, or by the kind of a user's file."""

import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from dec_jax.data.annotated import ANNOTATED_SUFFIX, load_annotated
from dec_jax.data.arrays import load_arrays
from dec_jax.data.dataset import Column, Dataset
from dec_jax.data.image_files import IMAGE_SUFFIXES, find_files
from dec_jax.data.image_samples import described, load_images
from dec_jax.data.images import height_and_width
from dec_jax.data.named import DATASETS, DatasetNotFoundError, load_digits, load_named
from dec_jax.data.reading import ImageReading
from dec_jax.data.row_names import with_names
from dec_jax.data.table_files import TABLE_SUFFIXES
from dec_jax.data.tables import load_table
from dec_jax.data.text_space import TextSpace
from dec_jax.data.texts import (
    TEXT_SUFFIX,
    dataset_from_texts,
    find_texts,
    load_texts,
)
from dec_jax.validation import expanded, near_path

ARRAY_SUFFIXES = (".npz", ".npy")
# Options of each kind of data, with the values that stand for "not given".
FOLDER_OPTIONS = {
    "image_size": None,
    "image_mode": None,
    "image_fit": "crop",
    "encoder": None,
    "labels_csv": None,
    "skip_unreadable": False,
}
ANY_FOLDER_OPTIONS = {"folder_labels": False}
TABLE_OPTIONS = dict.fromkeys(
    ("label_column", "id_column", "drop", "keep", "separator", "decimal")
    + ("missing", "missing_value")
)
TEXT_OPTIONS = {"encoding": None}
ARRAY_OPTIONS = {"names": None}
NUMBER_OPTIONS = {"standardize": True}


@runtime_checkable
class Frame(Protocol):
    """A DataFrame of pandas, for which pandas need not be imported."""

    @property
    def columns(self) -> Any:
        """Names of the columns."""


def load_dataset(
    name: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    *,
    image_size: int | Sequence[int] | None = None,
    image_mode: str | None = None,
    image_fit: str = "crop",
    features: str | None = None,
    encoder: str | os.PathLike[str] | None = None,
    labels_csv: str | os.PathLike[str] | None = None,
    folder_labels: bool = False,
    skip_unreadable: bool = False,
    label_column: str | int | None = None,
    names: str | os.PathLike[str] | None = None,
    id_column: str | None = None,
    drop: Sequence[str] | None = None,
    keep: Sequence[str] | None = None,
    separator: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    missing: str | None = None,
    missing_value: Sequence[str | float] | None = None,
    standardize: bool = True,
    reading: ImageReading | None = None,
    encoder_cache: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Dataset:
    """Loads a data set by its name, or a user's own images, table or arrays.

    A named set is searched in `data_dir`, else in the folder that the environment
    variable DEC_JAX_DATA names: first in `<folder>/<name>`, then in the folder itself.
    `mnist` and `fashion_mnist` are also read from what TFDS has prepared, and are
    downloaded by TFDS otherwise (without TensorFlow). `reuters10k` is sampled from
    scikit-learn's RCV1. The training part comes first, then the test part; clustering
    papers use both.

    `load_image_folder`, `load_table`, `load_arrays`, `load_annotated` and `load_texts`
    read a user's own data; their docstrings explain the options. Labels are optional: they score, and never train.

    Args:
      name: `mnist`, `fashion_mnist`, `kmnist`, `usps`, `coil20`, `optdigits`, `stl10`,
        `reuters21578`, `reuters10k`, `digits` (bundled with scikit-learn, needs no folder),
        or the path of a folder of images, an image file, a `.csv`, `.tsv` or `.parquet` table, a
        `.npz`, `.npy` or `.h5ad` file, or a `.txt` file of one document a line or a folder
        of `.txt` files. A name of a set wins over a folder of the same name; write
        `./mnist` for the folder.
      data_dir: a folder with data sets; for named sets only.
      image_size: for a folder, the `size` of `load_image_folder`.
      image_mode: for a folder, the `mode` of `load_image_folder`.
      image_fit: for a folder, the `fit` of `load_image_folder`.
      features: for images, `hog` replaces their pixels by histograms of oriented gradients
        and a color map (see `with_features`), at 96 x 96 pixels unless a size is given.
      encoder: for a folder, an `.onnx` file or `module:function` that turns images into
        vectors, which replace the pixels (see `load_encoded_folder`).
      labels_csv: for a folder, a CSV file with the columns filename and label.
      folder_labels: for a folder, whether sub-folders are classes.
      skip_unreadable: for a folder, whether damaged files are skipped.
      label_column: for a table or a `.h5ad` file, the column that holds the labels.
      id_column: for a table, the column that names the rows.
      drop: for a table, columns to leave out.
      keep: for a table, columns to use although they seem to be ids or names.
      separator: for a table in a text file, what stands between columns.
      decimal: for a table, the mark of decimals, "." or ",".
      encoding: for a table or a text file, its encoding.
      missing: for a table, "error" refuses missing values, "impute" fills them.
      missing_value: for a table, values that stand for missing ones.
      names: for a `.npz` or `.npy` file, a text file with the name of each row, one a line.
      standardize: for a table, whether numeric columns are standardized; for a `.npz`
        or `.npy` file, whether numbers are divided by one scale (see `load_arrays`).
      reading: for images, the `reading` of other data, which takes the place of the size,
        the mode, the fit, the features and the encoder.
      encoder_cache: a folder that keeps the vectors of an encoder for another call.
      progress: for images, called with (files read, number of files) after each file, and
        again from 1 for the features. Other data never call it.

    Returns:
      All samples, in the order of the files.

    Raises:
      DatasetNotFoundError: the set is nowhere; the message lists the ways to get it.
      FileNotFoundError: a folder or file that was named does not exist.
      ValueError: an unknown name; an option that does not fit the data; a damaged or
        mislabeled file; arrays that do not fit each other or are not finite; whatever
        else `load_image_folder` and `load_table` reject.
      TypeError: samples that are not numbers.
      ImportError: a package is missing: scikit-learn for `digits`, Pillow for images,
        pandas for tables.

    Example:
      >>> digits = load_dataset("digits")
      >>> digits.x.shape, digits.image_shape, digits.n_classes
      ((1797, 64), (8, 8, 1), 10)
    """
    name = os.fspath(name)
    folder_options: dict[str, Any] = {
        "image_size": image_size,
        "image_mode": image_mode,
        "image_fit": image_fit,
        "encoder": encoder,
        "labels_csv": labels_csv,
        "skip_unreadable": skip_unreadable,
    }
    table_options = {
        "label_column": label_column,
        "id_column": id_column,
        "drop": drop,
        "keep": keep,
        "separator": separator,
        "decimal": decimal,
        "missing": missing,
        "missing_value": missing_value,
    }
    path = None if name in DATASETS else own_path(name)
    is_texts = path is not None and holds_texts(path)
    is_folder = path is not None and (
        path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES
    )
    is_table = (
        path is not None and not is_folder and path.suffix.lower() in TABLE_SUFFIXES
    )
    if not is_folder or is_texts:
        check_not_given(name, "a folder of images", folder_options, FOLDER_OPTIONS)
    if not is_folder:
        check_not_given(
            name, "a folder", {"folder_labels": folder_labels}, ANY_FOLDER_OPTIONS
        )
    is_annotated = path is not None and path.suffix.lower() == ANNOTATED_SUFFIX
    if not is_table:
        given = (
            {**table_options, "label_column": None} if is_annotated else table_options
        )
        check_not_given(name, "a table", given, TABLE_OPTIONS)
    if not (is_table or is_texts):
        check_not_given(
            name, "a table or a text file", {"encoding": encoding}, TEXT_OPTIONS
        )
    if path is None or path.suffix.lower() not in ARRAY_SUFFIXES:
        check_not_given(name, "an array file", {"names": names}, ARRAY_OPTIONS)
    if is_table or is_texts or is_annotated:
        given = {"features": features}
        check_not_given(name, "images", given, {"features": None})
    vectors = features is not None or encoder is not None or reading is not None
    if is_texts or ((path is None or is_folder) and not vectors):
        given = {"standardize": standardize}
        check_not_given(name, "a table or an array file", given, NUMBER_OPTIONS)
    if reading is None:
        size = None if image_size is None else height_and_width(image_size)
        reading = ImageReading(
            size,
            image_mode,
            image_fit,
            features=features,
            encoder=None if encoder is None else os.fspath(encoder),
        )
    if path is None:
        named = load_named(name, data_dir)
        return described(named, reading, standardize, progress)
    if data_dir is not None:
        raise ValueError(
            f"data_dir must not be given with a {'folder of images' if is_folder else 'file'}, "
            f"got {data_dir} and {name}."
        )
    if is_texts:
        return load_texts(path, encoding=encoding, folder_labels=folder_labels)
    if is_folder:
        return load_images(
            path,
            reading,
            labels_csv=labels_csv,
            folder_labels=folder_labels,
            skip_unreadable=skip_unreadable,
            standardize=standardize,
            encoder_cache=encoder_cache,
            progress=progress,
        )
    if is_table:
        return load_table(
            path,
            label_column=label_column,
            standardize=standardize,
            id_column=id_column,
            drop=drop or (),
            keep=keep or (),
            separator=separator,
            decimal=decimal,
            encoding=encoding,
            missing=missing or "impute",
            missing_value=missing_value or (),
        )
    if is_annotated:
        column = None if label_column is None else str(label_column)
        return load_annotated(path, label_column=column, standardize=standardize)
    arrays = load_arrays(path, standardize=standardize)
    if names is not None:
        arrays = with_names(arrays, Path(names))
    return described(arrays, reading, standardize, progress)


def own_path(name: str) -> Path | None:
    """Returns `name` as the path of a folder or file, or None for a bare name."""
    path = expanded(name)
    suffixes = (*ARRAY_SUFFIXES, ANNOTATED_SUFFIX, *TABLE_SUFFIXES, TEXT_SUFFIX)
    is_image = path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES
    if path.is_dir() or is_image or path.suffix.lower() in suffixes:
        return path
    if path.suffix or path.is_file():
        hint = "." if path.exists() else near_path(path)
        if hint != ".":
            raise FileNotFoundError(f"The data file {name} does not exist{hint}")
        raise ValueError(
            f"A data file must end in {', '.join(suffixes[:-1])} or {suffixes[-1]}, got "
            f"{name}; for images, give the folder that holds them."
        )
    # "./mnist" is a path, but Path("./mnist") drops the "./".
    if len(path.parts) > 1 or os.path.basename(name) != name:
        raise FileNotFoundError(
            f"The data folder {name} does not exist{near_path(path)}"
        )
    return None


def holds_texts(path: Path) -> bool:
    """Returns True for a text file, and for a folder that has text files but no images."""
    if not path.is_dir():
        return path.suffix.lower() == TEXT_SUFFIX
    try:
        find_files(path)
    except ValueError:
        return bool(find_texts(path))
    return False


def load_as_in_training(
    x: Any,
    columns: Sequence[Column] | None,
    text_space: TextSpace | None,
    **options: Any,
) -> Dataset | None:
    """Converts a new table or new texts as those of training.

    Args:
      x: a path, a DataFrame, a list of texts, or anything else.
      columns: the `Dataset.columns` of training.
      text_space: the `Dataset.text_space` of training.
      **options: of `load_table` for a table and of `load_texts` for texts; None stands
        for "not given".

    Returns:
      The new data; None if they are neither a table nor texts.

    Raises:
      ValueError: training was on data of another kind, an option does not fit, or what
        `load_table` and `load_texts` reject.
    """
    if isinstance(x, Dataset):
        return None
    path = None
    if isinstance(x, str | os.PathLike):
        path = None if os.fspath(x) in DATASETS else expanded(x)
    given = {name: value for name, value in options.items() if value}
    if isinstance(x, Frame) or (path and path.suffix.lower() in TABLE_SUFFIXES):
        if columns is None:
            raise ValueError(
                f"{path or 'DataFrame'}: the model was not trained on a table that dec_jax "
                "read, so it does not know the columns; give "
                f"{'texts' if text_space else 'a .npy or .npz file'}, as in training."
            )
        check_options(given, path, "a table", load_table)
        return load_table(path or x, columns=columns, **given)
    is_list = isinstance(x, list | tuple) and all(isinstance(one, str) for one in x)
    if not is_list and not (path and holds_texts(path)):
        return None
    if text_space is None:
        raise ValueError(
            f"{path or 'list of texts'}: the model was not trained on texts that dec_jax "
            f"read, so it does not know their terms; give {'a table' if columns else 'data'} "
            "as in training."
        )
    if path is None:
        return dataset_from_texts(x, space=text_space)
    check_options(given, path, "texts", load_texts)
    return load_texts(path, space=text_space, **given)


def check_options(
    given: dict[str, Any], path: Path | None, kind: str, loader: Callable[..., Dataset]
) -> None:
    """Raises ValueError for options that a loader does not take."""
    known = inspect.signature(loader).parameters
    for name, value in given.items():
        if name not in known:
            raise ValueError(
                f"{name} is not for {kind}, got {name}={value!r} with {path}."
            )


def check_not_given(
    name: str, fitting: str, options: dict[str, Any], defaults: dict[str, Any]
) -> None:
    """Raises ValueError if an option was given that only other kinds of data take."""
    for option, value in options.items():
        if value != defaults[option]:
            raise ValueError(
                f"{option} is for {fitting}, got {option}={value!r} with {name}."
            )


def load_default_dataset(
    data_dir: str | os.PathLike[str] | None = None,
) -> tuple[Dataset, str | None]:
    """Loads MNIST if it can be found, else the bundled digits and the reason.

    A damaged MNIST is still an error, and so is a missing `data_dir`.

    Args:
      data_dir: a folder with data sets, as in `load_dataset`.

    Returns:
      The data set, and None, or one line on why it is not MNIST.
    """
    try:
        return load_dataset("mnist", data_dir), None
    except DatasetNotFoundError as error:
        reason = " ".join(str(error).split())
        return load_digits(), f"digits (embedded) stand in for MNIST: {reason}"
