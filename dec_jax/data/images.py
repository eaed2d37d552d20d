"""Folders of images, with or without labels, as samples."""

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dec_jax.data.dataset import Dataset, image_dataset
from dec_jax.data.image_labels import (
    find_labels,
    labels_of_csv,
    labels_of_folders,
    numbered,
)
from dec_jax.validation import check_choice, check_positive_int, one_line, require

if TYPE_CHECKING:
    from PIL import Image

IMAGE_SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".webp",
    ".pgm",
    ".ppm",
)
MODES = ("gray", "color")
GRAY_MODES = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N")
# Messages name this many files, and count the others.
NAMED = 5


def load_image_folder(
    folder: str | os.PathLike[str],
    *,
    size: int | Sequence[int] | None = None,
    mode: str | None = None,
    labels_csv: str | os.PathLike[str] | None = None,
    folder_labels: bool = False,
    skip_unreadable: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> Dataset:
    """Reads all images in a folder and its sub-folders as bytes; labels are optional.

    Images are the files that end in png, jpg, jpeg, bmp, gif, tif, tiff, webp, pgm or
    ppm, in upper or lower case. They are read in the order of their paths, with numbers
    compared by value: `a2.png` before `a10.png`. Hidden files and folders, and links to
    folders, are skipped.

    Each image is turned upright (EXIF), composited on white if it is transparent, and
    converted to 8 bits. 16-bit gray is divided by 257, so that 0 stays black and 65535
    stays white. Only the first frame or page of a file is read. With `size`, each image
    is cropped around its center to that aspect ratio and resized with Lanczos
    antialiasing, up as well as down; it is never stretched. (JPEG files are decoded
    directly to at least twice the size.)

    Without `labels_csv` and `folder_labels`, a `labels.csv` or `train.csv` with the
    columns filename and label is searched in the folder and the two above it. It is used
    only if its rows and the images match one to one. Otherwise there are no labels, and
    `source` says why. So a file that nobody named never removes an image.

    Args:
      folder: the folder.
      size: (height, width) in pixels, or one number for both; None if all images have
        the same size already.
      mode: `gray` (luma, 1 channel) or `color` (RGB, 3 channels); None is gray if every
        file is stored in gray, else color.
      labels_csv: a CSV file (UTF-8, commas) whose first line names the columns
        filename and label; other columns are ignored. A file name is relative to
        `folder`, or to the folder of the CSV file, or a bare name that only one image
        has. Only the images with a row are read; `source` counts the others.
      folder_labels: True makes the first sub-folder of each image its class. By default
        sub-folders are not labels.
      skip_unreadable: True skips files that cannot be read; `source` counts them.
      progress: called with (files read, number of files) after each file.

    Returns:
      Samples uint8 [n, height * width * channels] in the order of `names`, the paths
      relative to `folder` with forward slashes. Labels are kept if all are integers,
      else numbered in sorted order.

    Raises:
      FileNotFoundError: `folder` or `labels_csv` does not exist.
      ValueError: no images; files that cannot be read; images of different sizes
        without `size`; a row without an image, or with an image that another row
        has; an image without a class folder; an option out of range.
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
    require("PIL", extra="images", task="reading images")
    folder = Path(folder).expanduser()
    shape = None if size is None else height_and_width(size)
    if mode is not None:
        check_choice("mode", mode, MODES)
    if labels_csv is not None and folder_labels:
        raise ValueError(
            "labels_csv and folder_labels exclude each other, got "
            f"labels_csv={os.fspath(labels_csv)!r} and folder_labels=True."
        )
    names = find_images(folder)
    notes: list[str] = []
    labels: list[str] | None = None
    if labels_csv is not None:
        path = Path(labels_csv).expanduser()
        label_of = labels_of_csv(path, folder, names)
        notes.append(f"labels of {path}")
        if len(label_of) < len(names):
            notes.append(f"left out, having no row there: {len(names) - len(label_of)}")
        names = [name for name in names if name in label_of]
        labels = [label_of[name] for name in names]
    elif folder_labels:
        labels = labels_of_folders(folder, names)
        notes.append("sub-folders as labels")
    else:
        labels, note = find_labels(folder, names)
        notes += [note] if note else []

    images, failures = read_images(folder, names, shape, mode, progress)
    if failures:
        if not skip_unreadable or not images:
            raise ValueError(unreadable(folder, failures, len(names)))
        notes.append(f"left out, being unreadable: {len(failures)}")
    kept = [index for index, name in enumerate(names) if name not in failures]
    source = "; ".join([f"image folder {folder}", *notes])
    return image_dataset(
        folder.resolve().name,
        stacked(images),
        None if labels is None else numbered([labels[i] for i in kept], source),
        source,
        tuple(names[index] for index in kept),
    )


def height_and_width(size: int | Sequence[int]) -> tuple[int, int]:
    """Returns (height, width) of a `size` that may be one number for both."""
    both = size if isinstance(size, tuple | list) else (size, size)
    if len(both) != 2:
        raise ValueError(f"size must be (height, width) or one number, got {size!r}.")
    for value in both:
        check_positive_int("size", value)
    return int(both[0]), int(both[1])


def find_images(folder: Path) -> list[str]:
    """Finds all images below `folder`: relative paths, in natural order."""
    if not folder.is_dir():
        raise FileNotFoundError(f"The image folder {folder} does not exist.")
    names, others = [], 0
    for parent, folders, files in os.walk(folder, onerror=raise_error):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = Path(parent).relative_to(folder)
        for file in files:
            if file.startswith(".") or not file.lower().endswith(IMAGE_SUFFIXES):
                others += 1
            else:
                names.append((inside / file).as_posix())
    if not names:
        endings = ", ".join(suffix[1:] for suffix in IMAGE_SUFFIXES)
        raise ValueError(
            f"{folder} holds no images: no file in it or its sub-folders ends in "
            f"{endings}; other files: {others}."
        )
    return sorted(names, key=natural_key)


def raise_error(error: OSError) -> None:
    """Raises the error of a folder that `os.walk` cannot read and would skip."""
    raise error


def natural_key(name: str) -> tuple[object, ...]:
    """Key that sorts paths folder by folder, and numbers in them by value."""
    # Text and digits alternate, text first: text is compared with text only.
    key = [
        [int(piece) if at % 2 else piece for at, piece in enumerate(pieces)]
        for pieces in (
            re.split("([0-9]+)", part.casefold()) for part in name.split("/")
        )
    ]
    return key, name


def read_images(
    folder: Path,
    names: list[str],
    shape: tuple[int, int] | None,
    mode: str | None,
    progress: Callable[[int, int], object] | None,
) -> tuple[list[np.ndarray], dict[str, str]]:
    """Reads the pixels of all files, and {name: reason} of those it cannot read."""
    read = partial(read_image, shape=shape, mode=mode)
    images: list[np.ndarray] = []
    failures: dict[str, str] = {}
    sizes: dict[str, tuple[int, int]] = {}
    # Threads help: Pillow decodes and resizes without the interpreter's lock.
    pool = ThreadPoolExecutor()
    try:
        results = pool.map(read, [folder / name for name in names])
        for done, (name, image) in enumerate(zip(names, results, strict=True), 1):
            if isinstance(image, str):
                failures[name] = image
            else:
                images.append(image)
                if image.shape[:2] not in sizes.values():
                    sizes[name] = image.shape[:2]
                if len(sizes) > 1:
                    raise ValueError(different_sizes(folder, sizes))
            if progress is not None:
                progress(done, len(names))
    finally:
        pool.shutdown(cancel_futures=True)
    return images, failures


def read_image(
    path: Path, *, shape: tuple[int, int] | None, mode: str | None
) -> np.ndarray | str:
    """Reads pixels, uint8 [h, w] or [h, w, 3], or returns one line on why it cannot."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if shape is not None:
                # JPEG decodes at 1/2, 1/4 or 1/8 of its size in a fraction of the time.
                image.draft(None, (2 * max(shape), 2 * max(shape)))
            ImageOps.exif_transpose(image, in_place=True)
            flat = flattened(image, mode)
        if shape is not None:
            flat = ImageOps.fit(flat, shape[::-1], Image.Resampling.LANCZOS)
        return np.asarray(flat)
    except MemoryError:
        raise
    except UnidentifiedImageError:
        return "not an image that Pillow knows, or damaged at its beginning"
    except Exception as error:
        # Damaged bytes make decoders raise nearly anything: struct.error, EOFError ...
        return one_line(error)


def flattened(image: "Image.Image", mode: str | None) -> "Image.Image":
    """Converts an image to 8 bits, gray or RGB, on white if it is transparent."""
    from PIL import Image

    gray = mode == "gray" or (mode is None and is_gray(image))
    # Mode "I" holds 16 bits from these two formats, and 32 bits from others.
    is_16_bit = image.mode == "I" and image.format in ("PNG", "PPM")
    if image.mode.startswith("I;16") or is_16_bit:
        # Pillow's own conversion clips at 255 or shifts, depending on its version.
        pixels = (np.asarray(image).astype(np.uint32) + 128) // 257
        image = Image.fromarray(pixels.astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ValueError("32-bit pixels have no fixed range; save it with 8 or 16 bits")
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if gray else "RGB")


def is_gray(image: "Image.Image") -> bool:
    """Returns True if the file is stored in gray, as is or by a palette of grays."""
    if image.mode not in ("P", "PA"):
        return image.mode in GRAY_MODES
    palette = np.reshape(image.getpalette() or [], (-1, 3))
    return bool((palette == palette[:, :1]).all())


def stacked(images: list[np.ndarray]) -> np.ndarray:
    """Stacks images to [n, h, w, c]: one channel if all are gray, else three."""
    channels = max(1 if image.ndim == 2 else 3 for image in images)
    stack = np.empty((len(images), *images[0].shape[:2], channels), np.uint8)
    for index in reversed(range(len(images))):
        # Each is freed once it is copied, so that memory never holds all of them twice.
        image = images.pop()
        stack[index] = image if image.ndim == 3 else image[..., None]
    return stack


def different_sizes(folder: Path, sizes: dict[str, tuple[int, int]]) -> str:
    """Formats the error that names two files of different sizes."""
    (one, (height, width)), (other, (other_height, other_width)) = sizes.items()
    return (
        f"{folder}: all images must have one size, got {one} with height x width = "
        f"{height} x {width} and {other} with {other_height} x {other_width}; give the "
        "size to resize all to, such as size=32 (--image-size 32)."
    )


def unreadable(folder: Path, failures: dict[str, str], n: int) -> str:
    """Formats the error that names the first files that cannot be read, and a fix."""
    listed = [f"{name} ({reason})" for name, reason in failures.items()][:NAMED]
    more = f" and {len(failures) - NAMED} more" if len(failures) > NAMED else ""
    fix = (
        "repair or delete them, or skip them with skip_unreadable=True "
        "(--skip-unreadable)"
        if len(failures) < n
        else "none is left"
    )
    return (
        f"{folder}: {len(failures)} of {n} images cannot be read: "
        f"{', '.join(listed)}{more}; {fix}."
    )
