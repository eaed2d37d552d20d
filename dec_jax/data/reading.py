"""The way from image files to samples, which a model keeps for new files."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class ImageReading:
    """Settings and measured numbers by which image files become samples.

    Attributes:
      size: (height, width) in pixels, or None if the files were not resized.
      mode: `gray`, `color`, or None for images of other numbers of channels.
      fit: `crop`, `pad` or `stretch`, the way to the shape of `size`.
      levels: pixel values that become 0 and 1, of files with more than 8 bits a value;
        None if there were no such files.
      features: `hog` if the samples are features of the images.
      encoder: file or function whose vectors the samples are.
      encoder_sha256: checksum of that file, or of the file of that function.
    """

    size: tuple[int, int] | None = None
    mode: str | None = None
    fit: str = "crop"
    levels: tuple[float, float] | None = None
    features: str | None = None
    encoder: str | None = None
    encoder_sha256: str | None = None


def reading_to_json(reading: ImageReading | None) -> dict[str, Any] | None:
    """Converts the way of reading to JSON values, to store in a file."""
    if reading is None:
        return None
    # JSON has lists, no tuples.
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(reading).items()
    }


def reading_from_json(stored: Mapping[str, Any] | None) -> ImageReading | None:
    """Converts the JSON values of `reading_to_json` back."""
    if stored is None:
        return None
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in stored.items()
    }
    return ImageReading(**values)
