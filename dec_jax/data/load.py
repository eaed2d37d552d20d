"""Chooses the loader of a data set: by its name, or by the kind of a user's file."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dec_jax.data.arrays import load_arrays
from dec_jax.data.dataset import Dataset
from dec_jax.data.encoded import load_encoded_folder
from dec_jax.data.features import SIDE, check_sides, with_features
from dec_jax.data.image_files import IMAGE_SUFFIXES
from dec_jax.data.images import height_and_width, load_image_folder
from dec_jax.data.named import DATASETS, DatasetNotFoundError, load_digits, load_named
from dec_jax.data.reading import ImageReading
from dec_jax.data.row_names import with_names
from dec_jax.data.tables import TABLE_SUFFIXES, load_table

ARRAY_SUFFIXES = (".npz", ".npy")
# Options of each kind of data, with the values that stand for "not given".
FOLDER_OPTIONS = {
    "image_size": None,
    "image_mode": None,
    "image_fit": "crop",
    "encoder": None,
    "labels_csv": None,
    "folder_labels": False,
    "skip_unreadable": False,
}
TABLE_OPTIONS = {"label_column": None}
ARRAY_OPTIONS = {"names": None}
NUMBER_OPTIONS = {"standardize": True}


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

    `load_image_folder`, `load_table` and `load_arrays` read a user's own data; their
    docstrings explain the options. Labels are optional: they score, and never train.

    Args:
      name: `mnist`, `fashion_mnist`, `usps`, `coil20`, `stl10`, `reuters21578`,
        `reuters10k`, `digits` (bundled with scikit-learn, needs no folder), or the
        path of a folder of images, an image file, a `.csv`, `.tsv` or `.parquet` table, or a `.npz`
        or `.npy` file. A name of a set wins over a folder of the same name; write
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
      label_column: for a table, the column that holds the labels.
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
    folder_options = {
        "image_size": image_size,
        "image_mode": image_mode,
        "image_fit": image_fit,
        "encoder": encoder,
        "labels_csv": labels_csv,
        "folder_labels": folder_labels,
        "skip_unreadable": skip_unreadable,
    }
    path = None if name in DATASETS else own_path(name)
    is_table = path is not None and path.suffix.lower() in TABLE_SUFFIXES
    is_folder = path is not None and (
        path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES
    )
    if not is_folder:
        check_not_given(name, "a folder of images", folder_options, FOLDER_OPTIONS)
    if not is_table:
        given = {"label_column": label_column}
        check_not_given(name, "a table", given, TABLE_OPTIONS)
    if path is None or path.suffix.lower() not in ARRAY_SUFFIXES:
        check_not_given(name, "an array file", {"names": names}, ARRAY_OPTIONS)
    vectors = features is not None or encoder is not None or reading is not None
    if (path is None or is_folder) and not vectors:
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
        return load_table(path, label_column=label_column, standardize=standardize)
    arrays = load_arrays(path, standardize=standardize)
    if names is not None:
        arrays = with_names(arrays, Path(names))
    return described(arrays, reading, standardize, progress)


def load_images(
    path: Path,
    reading: ImageReading,
    *,
    standardize: bool,
    encoder_cache: str | os.PathLike[str] | None,
    progress: Callable[[int, int], object] | None,
    **options: Any,
) -> Dataset:
    """Loads the images of a folder as pixels, features or vectors, as `reading` says."""
    if reading.encoder is not None:
        for name, value in (
            ("features", reading.features),
            ("image_mode", reading.mode),
        ):
            # The reading of a model has the mode that its images had.
            if value is not None and reading.encoder_sha256 is None:
                raise ValueError(
                    f"encoder and {name} exclude each other, got "
                    f"encoder={reading.encoder!r} and {name}={value!r}."
                )
        return load_encoded_folder(
            path,
            reading.encoder,
            size=reading.size,
            fit=reading.fit,
            sha256=reading.encoder_sha256,
            standardize=standardize,
            cache=None if encoder_cache is None else Path(encoder_cache),
            progress=progress,
            **options,
        )
    size = reading.size
    if reading.features is not None:
        size = size or (SIDE, SIDE)
        check_sides(reading.features, *size)
    pixels = load_image_folder(
        path,
        size=size,
        mode=reading.mode,
        fit=reading.fit,
        levels=reading.levels,
        progress=progress,
        **options,
    )
    return described(pixels, reading, standardize, progress)


def described(
    dataset: Dataset,
    reading: ImageReading,
    standardize: bool,
    progress: Callable[[int, int], object] | None,
) -> Dataset:
    """Replaces the pixels of images by features, if `reading` names any."""
    if reading.features is None:
        return dataset
    return with_features(
        dataset, reading.features, standardize=standardize, progress=progress
    )


def own_path(name: str) -> Path | None:
    """Returns `name` as the path of a folder or file, or None for a bare name."""
    path = Path(name).expanduser()
    suffixes = (*ARRAY_SUFFIXES, *TABLE_SUFFIXES)
    is_image = path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES
    if path.is_dir() or is_image or path.suffix.lower() in suffixes:
        return path
    if path.suffix or path.is_file():
        raise ValueError(
            f"A data file must end in {', '.join(suffixes[:-1])} or {suffixes[-1]}, got "
            f"{name}; for images, give the folder that holds them."
        )
    # "./mnist" is a path, but Path("./mnist") drops the "./".
    if len(path.parts) > 1 or os.path.basename(name) != name:
        raise FileNotFoundError(f"The data folder {name} does not exist.")
    return None


def check_not_given(
    name: str, fitting: str, options: dict[str, Any], defaults: dict[str, Any]
) -> None:
    """Raises ValueError if an option was given that only other kinds of data take."""
    for option, value in options.items():
        if value is not defaults[option]:
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
