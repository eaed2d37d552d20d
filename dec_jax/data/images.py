"""Folders of images, with or without labels, as samples."""

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dec_jax.data.dataset import Dataset, input_scale_of
from dec_jax.data.image_files import FolderFiles, find_files, listed, passed_over_line
from dec_jax.data.image_labels import (
    find_labels,
    labels_of_csv,
    labels_of_folders,
    numbered,
)
from dec_jax.data.image_pixels import FITS, MODES, Picture, read_image
from dec_jax.data.image_stack import notes_on, stacked
from dec_jax.data.photographs import PHOTOGRAPHS, are_photographs
from dec_jax.data.reading import ImageReading
from dec_jax.validation import (
    check_choice,
    check_positive_int,
    expanded,
    require,
    shown,
)

Progress = Callable[[int, int], object]
MOST_BYTES = 8 * 2**30  # of all images
LARGEST_SIDE = 1024  # pixels; more values than that are no input of a network


class FolderImages(NamedTuple):
    """The images of a folder, before their pixels are read."""

    folder: Path
    names: list[str]
    labels: list[str] | None
    source: list[str]  # the parts of the line on the origin of the data
    notes: list[str]  # lines for people


def load_image_folder(
    folder: str | os.PathLike[str],
    *,
    size: int | Sequence[int] | None = None,
    mode: str | None = None,
    fit: str = "crop",
    labels_csv: str | os.PathLike[str] | None = None,
    folder_labels: bool = False,
    skip_unreadable: bool = False,
    levels: tuple[float, float] | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Reads all images in a folder and its sub-folders; labels are optional.

    Images are the files that end in png, jpg, jpeg, jfif, bmp, gif, tif, tiff, webp, pgm
    or ppm, in upper or lower case, and in avif, jp2, j2k, heic and heif where Pillow (with
    pillow-heif) reads them. They are read in the order of their paths, with numbers
    compared by value: `a2.png` before `a10.png`. `notes` names the other files. Hidden
    files and folders, and links to folders, are skipped.

    Each image is turned upright (EXIF), composited on white if it is transparent, and
    converted to 8 bits. Only the first frame or page of a file is read. With `size`,
    each image is resized with Lanczos antialiasing, up as well as down. (JPEG files are
    decoded directly to at least twice the size.)

    Files with more than 8 bits a value (16 bits, signed, floats) are scaled together: the
    least value in the folder becomes 0 and the largest 1, but for a few broken pixels, at
    most one of 2,000 at each end, that would widen the range to more than four times.
    Their opacity is dropped. TIFF files may have 2, 4 or more channels, which are all kept.

    Without `labels_csv` and `folder_labels`, a `labels.csv` or `train.csv` with the
    columns filename and label is searched in the folder and the two above it. It is used
    only if its rows and the images match one to one. Otherwise there are no labels, and
    `source` says why. So a file that nobody named never removes an image.

    Args:
      folder: the folder, or one image file.
      size: (height, width) in pixels, or one number for both; None if all images have
        the same size already.
      mode: `gray` (luma, 1 channel) or `color` (RGB, 3 channels); None is gray if every
        file is stored in gray, else color.
      fit: the way to the shape of `size`: `crop` keeps the center, `pad` keeps all and
        fills up with black, `stretch` keeps all and changes its proportions.
      labels_csv: a CSV file (UTF-8, commas) whose first line names the columns
        filename and label; other columns are ignored. A file name is relative to
        `folder`, or to the folder of the CSV file, or a bare name that only one image
        has. Only the images with a row are read; `source` counts the others.
      folder_labels: True makes the first sub-folder of each image its class. By default
        sub-folders are not labels.
      skip_unreadable: True skips files that cannot be read; `source` counts them.
      levels: values that become 0 and 1, in place of the least and the largest in the
        folder; as in the `reading` of other data.
      progress: called with (files read, number of files) after each file.

    Returns:
      Samples [n, height * width * channels] in the order of `names`, the paths relative
      to `folder` with forward slashes, in which control characters are escaped: uint8, or
      float32 from 0 to 1 if a file has more than 8 bits. Labels are kept if all are
      integers, else numbered in sorted order.

    Raises:
      FileNotFoundError: `folder` or `labels_csv` does not exist.
      ValueError: no images; files that cannot be read; images of different sizes
        without `size`; more pixels than memory should hold; a row without an image, or
        with an image that another row has; an image without a class folder; an option
        out of range.
      TypeError: `size` is not made of integers.
      ImportError: Pillow is not installed.

    Example:
      >>> import tempfile
      >>> from PIL import Image
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     for name in ("a2.png", "a10.png"):
      ...         Image.new("L", (4, 3), color=len(name)).save(Path(folder) / name)
      ...     images = load_image_folder(folder)
      >>> images.names, images.image_shape
      (('a2.png', 'a10.png'), (3, 4, 1))
      >>> images.x.dtype, images.x[:, 0].tolist()
      (dtype('uint8'), [6, 7])
    """
    shape = None if size is None else height_and_width(size)
    if mode is not None:
        check_choice("mode", mode, MODES)
    check_choice("fit", fit, FITS)
    if fit != "crop" and shape is None:
        raise ValueError(
            f"fit={fit!r} (--image-fit {fit}) needs the size to bring images to, such as "
            "size=64 (--image-size 64)."
        )
    found = find_folder_images(folder, labels_csv, folder_labels)
    reading = ImageReading(shape, mode, fit)
    pictures, failures = read_images(found, reading, progress)
    kept = kept_rows(found, failures, skip_unreadable)
    x, levels = stacked(pictures, levels)
    notes = [*found.notes, *notes_on(pictures, reading, levels)]
    if are_photographs(x):
        notes.append(PHOTOGRAPHS)
    channels = x.shape[-1]
    known = {1: "gray", 3: "color"}
    reading = ImageReading(x.shape[1:3], known.get(channels), fit, levels)
    return folder_dataset(found._replace(notes=notes), kept, x, reading)


def height_and_width(size: int | Sequence[int]) -> tuple[int, int]:
    """Returns (height, width) of a `size` that may be one number for both."""
    both = size if isinstance(size, tuple | list) else (size, size)
    if len(both) != 2:
        raise ValueError(f"size must be (height, width) or one number, got {size!r}.")
    for value in both:
        check_positive_int("size", value)
        if value > LARGEST_SIDE:
            raise ValueError(
                f"size must be at most {LARGEST_SIDE:,} pixels a side, got {value:,}."
            )
    return int(both[0]), int(both[1])


def find_folder_images(
    folder: str | os.PathLike[str],
    labels_csv: str | os.PathLike[str] | None = None,
    folder_labels: bool = False,
) -> FolderImages:
    """Finds the images of a folder, and their labels; arguments of `load_image_folder`."""
    require("PIL", extra="images", task="reading images")
    folder = expanded(folder)
    if labels_csv is not None and folder_labels:
        raise ValueError(
            "labels_csv and folder_labels exclude each other, got "
            f"labels_csv={os.fspath(labels_csv)!r} and folder_labels=True."
        )
    if folder.is_file():
        files, folder = FolderFiles([folder.name], {}), folder.parent
        source = [f"image file {folder / files.images[0]}"]
    else:
        files, source = find_files(folder), [f"image folder {folder}"]
    names = files.images
    labels: list[str] | None = None
    if labels_csv is not None:
        path = expanded(labels_csv)
        label_of = labels_of_csv(path, folder, names)
        source.append(f"labels of {path}")
        if len(label_of) < len(names):
            without = len(names) - len(label_of)
            source.append(f"left out, having no row there: {without}")
        names = [name for name in names if name in label_of]
        labels = [label_of[name] for name in names]
    elif folder_labels:
        labels = labels_of_folders(folder, names)
        source.append("sub-folders as labels")
    else:
        labels, note = find_labels(folder, names)
        source += [note] if note else []
    line = passed_over_line(files.passed_over)
    return FolderImages(folder, names, labels, source, [line] if line else [])


def kept_rows(
    found: FolderImages, failures: dict[str, str], skip_unreadable: bool
) -> list[int]:
    """Lists the images that were read; raises if others may not be left out."""
    kept = [at for at, name in enumerate(found.names) if name not in failures]
    if failures and not (skip_unreadable and kept):
        raise ValueError(unreadable(found.folder, failures, len(found.names)))
    return kept


def folder_dataset(
    found: FolderImages, kept: list[int], x: np.ndarray, reading: ImageReading
) -> Dataset:
    """Makes a data set of the images of a folder.

    Args:
      found: the images.
      kept: the numbers of those that were read.
      x: their pixels [n, h, w, c], or vectors [n, d].
      reading: the way from files to `x`.
    """
    parts = list(found.source)
    if len(kept) < len(found.names):
        parts.append(f"left out, being unreadable: {len(found.names) - len(kept)}")
    source = shown("; ".join(parts))
    labels = found.labels
    return Dataset(
        name=shown(found.folder.resolve().name),
        x=x.reshape(len(x), -1),
        labels=None if labels is None else numbered([labels[r] for r in kept], source),
        image_shape=None if x.ndim == 2 else (x.shape[1], x.shape[2], x.shape[3]),
        source=source,
        input_scale=input_scale_of(x),
        names=tuple(shown(found.names[row]) for row in kept),
        notes=tuple(found.notes),
        reading=reading,
    )


def read_images(
    found: FolderImages, reading: ImageReading, progress: Progress | None
) -> tuple[list[Picture], dict[str, str]]:
    """Reads the pixels of all files, and {name: reason} of those it cannot read."""
    names, folder = found.names, found.folder
    read = partial(read_image, reading=reading)
    pictures: list[Picture] = []
    failures: dict[str, str] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    # Threads help: Pillow decodes and resizes without the interpreter's lock.
    pool = ThreadPoolExecutor()
    with warnings.catch_warnings():
        # Pillow warns of images that are large, and refuses those that are too large.
        warnings.simplefilter("ignore")
        try:
            results = pool.map(read, [folder / name for name in names])
            for done, (name, picture) in enumerate(zip(names, results, strict=True), 1):
                if isinstance(picture, str):
                    failures[name] = picture
                else:
                    pictures.append(picture)
                    check_shapes(found, shapes, name, picture.pixels)
                if progress is not None:
                    progress(done, len(names))
        finally:
            pool.shutdown(cancel_futures=True)
    return pictures, failures


def check_shapes(
    found: FolderImages,
    shapes: dict[str, tuple[int, ...]],
    name: str,
    pixels: np.ndarray,
) -> None:
    """Raises ValueError for an image that does not fit the first, or too many large ones.

    Args:
      found: the images.
      shapes: the shape of the first image of each number of channels; this one is added.
      name: of the image.
      pixels: its pixels.
    """
    if max(pixels.shape[:2]) > LARGEST_SIDE:
        raise ValueError(
            f"{shown(str(found.folder))}: images must have at most {LARGEST_SIDE:,} pixels "
            f"a side, got {shown(name)} with height x width = {pixels.shape[0]} x "
            f"{pixels.shape[1]}; give the size to resize all to, such as size=64 "
            "(--image-size 64)."
        )
    if not shapes:
        n_bytes = len(found.names) * pixels.nbytes
        if n_bytes > MOST_BYTES:
            height, width = pixels.shape[:2]
            raise ValueError(
                f"{shown(str(found.folder))}: {len(found.names):,} images of {height} x "
                f"{width} pixels take {n_bytes / 2**30:.0f} GiB, at most "
                f"{MOST_BYTES >> 30} are read; give a smaller size, such as size=64 "
                "(--image-size 64)."
            )
    if pixels.shape in shapes.values():
        return
    shapes[name] = pixels.shape
    if len({shape[:2] for shape in shapes.values()}) > 1:
        raise ValueError(different_sizes(found.folder, shapes))
    channels = {(*shape, 1)[2]: file for file, shape in shapes.items()}
    if len(channels) > 1 and set(channels) != {1, 3}:
        (one, first), (other, second) = list(channels.items())[:2]
        raise ValueError(
            f"{shown(str(found.folder))}: all images must have the same channels, got "
            f"{shown(first)} with {one} and {shown(second)} with {other}; put them into "
            "folders of their own."
        )


def different_sizes(folder: Path, shapes: dict[str, tuple[int, ...]]) -> str:
    """Formats the error that names two files of different sizes."""
    one = next(iter(shapes))
    other = next(name for name in shapes if shapes[name][:2] != shapes[one][:2])
    (height, width), (other_height, other_width) = shapes[one][:2], shapes[other][:2]
    return (
        f"{shown(str(folder))}: all images must have one size, got {shown(one)} with height "
        f"x width = {height} x {width} and {shown(other)} with {other_height} x "
        f"{other_width}; give the size to resize all to, such as size=32 (--image-size 32)."
    )


def unreadable(folder: Path, failures: dict[str, str], n: int) -> str:
    """Formats the error that names the first files that cannot be read, and a fix."""
    fix = (
        "repair or delete them, or skip them with skip_unreadable=True "
        "(--skip-unreadable)"
        if len(failures) < n
        else "none is left"
    )
    return (
        f"{shown(str(folder))}: {len(failures)} of {n} images cannot be read: "
        f"{listed(failures)}; {fix}."
    )
