"""A folder of images, with or without labels, to samples."""

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
from dec_jax.validation import check_choice, check_positive_int

if TYPE_CHECKING:
    from PIL import Image

IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".bmp", ".gif"),
    *(".tif", ".tiff", ".webp", ".pgm", ".ppm"),
)
MODES = ("gray", "color")
GRAY_MODES = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N")
# Messages name so many files, and count the others.
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
    """Reads every image in a folder and its sub-folders, in bytes; labels are not needed.

    Files are told by their endings (png, jpg, jpeg, bmp, gif, tif, tiff, webp, pgm,
    ppm, in any case) and read in the order of their paths, numbers by their value:
    `a2.png` before `a10.png`. Hidden files and folders, and links to folders, are
    passed over.

    Each image is turned upright (EXIF), laid on white where it is transparent, and
    brought to 8 bits: 16-bit gray is divided by 257, so that its darkest and lightest
    possible values stay black and white. Of an animation or a file of several pages
    the first counts. With `size`, the largest part of that aspect ratio is cut from
    the center and resized with Lanczos antialiasing, up as well as down; nothing is
    stretched. (JPEG files are unpacked straight to at least twice the size.)

    Without `labels_csv` and `folder_labels`, a `labels.csv` or `train.csv` with the
    columns filename and label is looked for in the folder and the two above it. It
    is used only where its rows and the images match one to one; where not, there
    are no labels, and `source` says why: no image is ever left out for a file that
    nobody named.

    Args:
      folder: the folder.
      size: (height, width) in pixels, or one number for both; None where all images
        are of one size already.
      mode: `gray` (luma, 1 channel) or `color` (RGB, 3 channels); None is gray where
        every file is stored in gray, and color else.
      labels_csv: a CSV file (UTF-8, commas) whose first line names the columns
        filename and label; others are passed over. A file name is relative to
        `folder`, or to the folder of the CSV file, or a bare name that only one
        image has. Only the images with a row are then read; `source` counts the
        others.
      folder_labels: True takes the first sub-folder of each image as its class.
        Sub-folders are no labels unless asked for.
      skip_unreadable: True leaves out files that cannot be read; `source` counts them.
      progress: called with (files done, files in all) after each file.

    Returns:
      Samples uint8 [n, height * width * channels] in the order of `names`, the paths
      relative to `folder` with forward slashes. Labels that are all integers are
      kept, others are numbered in sorted order.

    Raises:
      FileNotFoundError: `folder` or `labels_csv` does not exist.
      ValueError: no images; files that cannot be read; images of different sizes
        without `size`; a row without an image, or with an image that another row
        has; an image without a class folder; an option out of range.
      TypeError: `size` is not made of integers.
      ImportError: Pillow is not installed.
    """
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "Images are read with Pillow, which is not installed; run pip install "
            "'dec_jax[data]'."
        ) from error
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
    """(height, width) of a `size` that may be one number for both."""
    both = size if isinstance(size, tuple | list) else (size, size)
    if len(both) != 2:
        raise ValueError(f"size must be (height, width) or one number, got {size!r}.")
    for value in both:
        check_positive_int("size", value)
    return int(both[0]), int(both[1])


def find_images(folder: Path) -> list[str]:
    """Paths of all images below `folder`, relative to it, in natural order."""
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
    """Keeps `os.walk` from passing over a folder that it may not read."""
    raise error


def natural_key(name: str) -> tuple[object, ...]:
    """Sorts paths folder by folder, and the numbers in them by their value."""
    # Text and digits alternate, text first, so that like is compared with like.
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
    """Pixels of the readable files, and {name: reason} of the others."""
    read = partial(read_image, shape=shape, mode=mode)
    images: list[np.ndarray] = []
    failures: dict[str, str] = {}
    sizes: dict[str, tuple[int, int]] = {}
    # Pillow unpacks and resizes without the interpreter's lock.
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
    """Pixels, uint8 [h, w] or [h, w, 3], or one line that says why there are none."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if shape is not None:
                # JPEG unpacks at 1/2, 1/4 or 1/8 in a fraction of the time.
                image.draft(None, (2 * max(shape), 2 * max(shape)))
            ImageOps.exif_transpose(image, in_place=True)
            flat = flattened(image, mode)
        if shape is not None:
            flat = ImageOps.fit(flat, shape[::-1], Image.Resampling.LANCZOS)
        return np.asarray(flat)
    except MemoryError:
        raise
    except UnidentifiedImageError:
        return "not an image that Pillow knows, or damaged at its start"
    except Exception as error:
        # Damaged bytes make decoders raise nearly anything: struct.error, EOFError ...
        return " ".join(f"{type(error).__name__}: {error}".split())


def flattened(image: "Image.Image", mode: str | None) -> "Image.Image":
    """The image in 8 bits, gray or RGB, on white where it is transparent."""
    from PIL import Image

    gray = mode == "gray" or (mode is None and is_gray(image))
    # "I" is how Pillow reads 16 bits from these two formats, and 32 bits from others.
    is_16_bit = image.mode == "I" and image.format in ("PNG", "PPM")
    if image.mode.startswith("I;16") or is_16_bit:
        # Pillow's own conversion cuts off at 255 or shifts, by its version.
        pixels = (np.asarray(image).astype(np.uint32) + 128) // 257
        image = Image.fromarray(pixels.astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ValueError("32-bit pixels have no fixed range; save it with 8 or 16 bits")
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if gray else "RGB")


def is_gray(image: "Image.Image") -> bool:
    """True where the file is stored in gray, be it by a palette of grays."""
    if image.mode not in ("P", "PA"):
        return image.mode in GRAY_MODES
    palette = np.reshape(image.getpalette() or [], (-1, 3))
    return bool((palette == palette[:, :1]).all())


def stacked(images: list[np.ndarray]) -> np.ndarray:
    """All images, [n, h, w, c]: one channel where all are gray, else three."""
    channels = max(1 if image.ndim == 2 else 3 for image in images)
    stack = np.empty((len(images), *images[0].shape[:2], channels), np.uint8)
    for index in reversed(range(len(images))):
        # Each is let go once it is copied: memory never holds all of them twice.
        image = images.pop()
        stack[index] = image if image.ndim == 3 else image[..., None]
    return stack


def different_sizes(folder: Path, sizes: dict[str, tuple[int, int]]) -> str:
    """The message that names two files of different sizes."""
    (one, (height, width)), (other, (other_height, other_width)) = sizes.items()
    return (
        f"{folder}: all images must be of one size, got {one} with height x width = "
        f"{height} x {width} and {other} with {other_height} x {other_width}; give the "
        "size that all are brought to, such as size=32 (--image-size 32)."
    )


def unreadable(folder: Path, failures: dict[str, str], n: int) -> str:
    """The message that names the first files that cannot be read, and the way out."""
    listed = [f"{name} ({reason})" for name, reason in failures.items()][:NAMED]
    more = f" and {len(failures) - NAMED} more" if len(failures) > NAMED else ""
    fix = (
        "repair or delete them, or leave them out with skip_unreadable=True "
        "(--skip-unreadable)"
        if len(failures) < n
        else "none is left"
    )
    return (
        f"{folder}: {len(failures)} of {n} images cannot be read: "
        f"{', '.join(listed)}{more}; {fix}."
    )
