"""Images as samples: pixels, features, or the vectors of an encoder."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dec_jax.data.dataset import Dataset
from dec_jax.data.encoded import load_encoded_folder
from dec_jax.data.features import SIDE, check_sides, with_features
from dec_jax.data.images import load_image_folder
from dec_jax.data.reading import ImageReading


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
