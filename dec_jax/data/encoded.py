"""Folders of images as the vectors of a pretrained network."""

import hashlib
import json
import os
import warnings
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dec_jax.data.arrays import standardized
from dec_jax.data.dataset import Dataset
from dec_jax.data.encoders import BATCH, Encoder, open_encoder, vectors_of
from dec_jax.data.image_pixels import FITS, fitted, read_colors
from dec_jax.data.images import (
    FolderImages,
    Progress,
    find_folder_images,
    folder_dataset,
    height_and_width,
    kept_rows,
    unreadable,
)
from dec_jax.data.reading import ImageReading
from dec_jax.validation import check_choice
from dec_jax.writing import whole_file

if TYPE_CHECKING:
    from PIL import Image

LEAST = 512  # pixels, which the shorter side of an image is reduced to
THUMBNAIL = (64, 64)


class Encoded(NamedTuple):
    """The vectors of the images that could be read."""

    x: np.ndarray  # [m, d] float32
    thumbnails: np.ndarray  # [m, 64, 64, 3] bytes
    kept: np.ndarray  # [m] their numbers among all images


def load_encoded_folder(
    folder: str | os.PathLike[str],
    encoder: str | os.PathLike[str],
    *,
    size: int | tuple[int, int] | None = None,
    fit: str = "crop",
    labels_csv: str | os.PathLike[str] | None = None,
    folder_labels: bool = False,
    skip_unreadable: bool = False,
    standardize: bool = True,
    sha256: str | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Reads all images in a folder as the vectors that a pretrained network makes of them.

    Each image is upright, in RGB of 8 bits, and on white where it is transparent. It is
    brought to `size` or, where there is none, its shorter side to at most 512 pixels.

    Args:
      folder: the folder, or one image file.
      encoder: an `.onnx` file, or `module:function` (see `open_encoder`).
      size: (height, width), or one number for both.
      fit: `crop`, `pad` or `stretch`, as in `load_image_folder`.
      labels_csv: as in `load_image_folder`.
      folder_labels: as in `load_image_folder`.
      skip_unreadable: as in `load_image_folder`.
      standardize: whether the vectors are divided by one number (see `load_arrays`).
      sha256: checksum that the file of the encoder must have, or None.
      cache: folder for the vectors, which another call with the same files and the same
        encoder takes from there; None keeps none.
      progress: called with (images done, number of images) after each batch.

    Returns:
      A table of vectors, with thumbnails of the images.

    Raises:
      FileNotFoundError, ValueError, ImportError: as `load_image_folder` and
        `open_encoder` do, or the encoder fails.
    """
    check_choice("fit", fit, FITS)
    shape = None if size is None else height_and_width(size)
    opened = open_encoder(encoder, size=shape, sha256=sha256)
    found = find_folder_images(folder, labels_csv, folder_labels)
    reading = ImageReading(
        shape, "color", fit, encoder=opened.name, encoder_sha256=opened.sha256
    )
    file = None if cache is None else cache / f"{key_of(found, reading)}.npz"
    encoded = None if file is None else read_cache(file)
    if encoded is None or (
        len(encoded.kept) < len(found.names) and not skip_unreadable
    ):
        encoded, failures = encode(found, opened, fit, progress)
        # Before an error, so that the next run need not make them again.
        if file is not None:
            write_cache(file, encoded)
        kept_rows(found, failures, skip_unreadable)
    found.source.append(f"encoder {os.fspath(encoder)}")
    table = folder_dataset(found, encoded.kept.tolist(), encoded.x, reading)
    table = replace(table, thumbnails=encoded.thumbnails)
    return standardized(table) if standardize else table


def encode(
    found: FolderImages, encoder: Encoder, fit: str, progress: Progress | None
) -> tuple[Encoded, dict[str, str]]:
    """Encodes the images in batches; also returns {name: reason} of the unreadable ones."""
    failures: dict[str, str] = {}
    vectors, pictures = [], []
    done = 0
    for names, batch in batches(found):
        images = []
        for name, image in zip(names, batch, strict=True):
            if isinstance(image, str):
                failures[name] = image
            else:
                size = encoder.size
                images.append(image if size is None else fitted(image, size, fit))
                pictures.append(np.asarray(fitted(image, THUMBNAIL, "pad", 255)))
        if images:
            vectors.append(vectors_of(encoder, images))
            if vectors[-1].shape[1] != vectors[0].shape[1]:
                raise ValueError(
                    f"encoder {encoder.name} must return vectors of one length, got "
                    f"{vectors[0].shape[1]} and {vectors[-1].shape[1]} numbers."
                )
        done += len(names)
        if progress is not None:
            progress(done, len(found.names))
    if not vectors:
        raise ValueError(unreadable(found.folder, failures, len(found.names)))
    kept = [at for at, name in enumerate(found.names) if name not in failures]
    return Encoded(
        np.concatenate(vectors), np.stack(pictures), np.array(kept)
    ), failures


def batches(
    found: FolderImages,
) -> Iterator[tuple[list[str], list["Image.Image | str"]]]:
    """Reads the images batch by batch, the next one while the last is encoded."""
    read = partial(read_colors, least=LEAST)
    groups = [found.names[at : at + BATCH] for at in range(0, len(found.names), BATCH)]
    pool = ThreadPoolExecutor()

    def start(group: list[str]) -> Iterator["Image.Image | str"]:
        return pool.map(read, [found.folder / name for name in group])

    with warnings.catch_warnings():
        # Pillow warns of images that are large, and refuses those that are too large.
        warnings.simplefilter("ignore")
        try:
            ahead = start(groups[0])
            for at, group in enumerate(groups):
                images = list(ahead)
                if at + 1 < len(groups):
                    ahead = start(groups[at + 1])
                yield group, images
        finally:
            pool.shutdown(cancel_futures=True)


def key_of(found: FolderImages, reading: ImageReading) -> str:
    """Computes the name of the cached vectors: of the encoder, the files and their dates."""
    files = []
    for name in found.names:
        status = (found.folder / name).stat()
        files.append([os.fsencode(name).hex(), status.st_size, status.st_mtime_ns])
    content = [
        reading.encoder_sha256,
        reading.encoder,
        reading.size,
        reading.fit,
        files,
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def read_cache(path: Path) -> Encoded | None:
    """Reads vectors that `write_cache` wrote; None if there are none, or they are damaged."""
    try:
        # Opened here, because NumPy leaves a damaged archive open.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return Encoded(*(file[name] for name in Encoded._fields))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def write_cache(path: Path, encoded: Encoded) -> None:
    """Writes vectors for another run, if the disk takes them."""
    # Without them, only the next run has to make them again.
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial_path, partial_path.open("wb") as file:
            np.savez(file, **encoded._asdict())
