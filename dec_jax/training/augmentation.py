"""Random distortions of a batch, on the device: affine maps of images, and noise."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dec_jax.validation import check_positive_int


@dataclass(frozen=True)
class Augmentation:
    """How a sample may be distorted; the default leaves it as it is.

    Each sample draws its own values, anew in each step.

    Attributes:
      image_shape: (height, width, channels) of a sample, or None for a table, which
        can only be masked. Never guessed from the number of columns.
      rotation: largest rotation either way, in degrees.
      shift: largest shift either way, as a fraction of the height and the width.
      scale: largest change of size either way, as a fraction, below 1.
      shear: largest horizontal shear either way, in degrees.
      masking: probability with which an input is set to 0, in [0, 1) (the denoising
        autoencoder's corruption: Vincent et al., JMLR 2010).
      salt_and_pepper: probability with which an input is set to 0 or to 1, as likely
        as not, in [0, 1).
    """

    image_shape: tuple[int, int, int] | None = None
    rotation: float = 0.0
    shift: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    masking: float = 0.0
    salt_and_pepper: float = 0.0

    def __post_init__(self) -> None:
        limits = {"rotation": 180, "shift": 1, "scale": 1, "shear": 80, "masking": 1}
        limits["salt_and_pepper"] = 1
        for name, limit in limits.items():
            value = getattr(self, name)
            if not 0 <= value < limit:
                raise ValueError(f"{name} must be in [0, {limit}), got {value}.")
        if self.image_shape is not None:
            if len(self.image_shape) != 3:
                raise ValueError(
                    "image_shape must be (height, width, channels), got "
                    f"{self.image_shape}."
                )
            for size in self.image_shape:
                check_positive_int("image_shape", size)
        elif self.moves_pixels:
            raise ValueError(
                "rotation, shift, scale and shear need the shape of an image: "
                "give image_shape=(height, width, channels), or only masking for a table."
            )

    @property
    def moves_pixels(self) -> bool:
        """True if there is an affine part."""
        return any((self.rotation, self.shift, self.scale, self.shear))


def random_affine(
    key: jax.Array, x: Float[Array, "b d"], settings: Augmentation
) -> Float[Array, "b d"]:
    """Rotates, shears, scales and shifts each image by its own random amounts.

    Bilinear interpolation about the image's center; beyond the edge the nearest
    pixel, as in the published recipes (Guo et al., DEC-DA, ACML 2018).

    Args:
      key: a `jax.random.key`.
      x: flattened images, of `settings.image_shape`.
      settings: the ranges.

    Returns:
      The distorted images, flattened.

    Raises:
      ValueError: `x` does not have the width that `image_shape` says.
    """
    assert settings.image_shape is not None  # held by Augmentation itself
    height, width, channels = settings.image_shape
    if x.shape[1] != height * width * channels:
        raise ValueError(
            f"image_shape {settings.image_shape} needs {height * width * channels} "
            f"columns, got x of shape {tuple(x.shape)}."
        )
    batch = len(x)
    draws = jax.random.uniform(key, (5, batch), minval=-1.0, maxval=1.0)
    angle = jnp.deg2rad(settings.rotation) * draws[0]
    slant = jnp.tan(jnp.deg2rad(settings.shear) * draws[1])
    size = 1 + settings.scale * draws[2]
    down = settings.shift * height * draws[3]
    right = settings.shift * width * draws[4]

    # Where each output pixel is read: the inverse map, output -> input coordinates.
    cos, sin = jnp.cos(angle) / size, jnp.sin(angle) / size
    rows = jnp.arange(height) - (height - 1) / 2
    columns = jnp.arange(width) - (width - 1) / 2
    y = rows[None, :, None] - down[:, None, None]
    u = columns[None, None, :] - right[:, None, None]
    source_row = cos[:, None, None] * y - sin[:, None, None] * u
    source_column = sin[:, None, None] * y + cos[:, None, None] * u
    source_column = source_column + slant[:, None, None] * source_row
    source_row = jnp.clip(source_row + (height - 1) / 2, 0, height - 1)
    source_column = jnp.clip(source_column + (width - 1) / 2, 0, width - 1)

    top = jnp.minimum(jnp.floor(source_row), height - 2).astype(jnp.int32)
    left = jnp.minimum(jnp.floor(source_column), width - 2).astype(jnp.int32)
    row_part = (source_row - top).reshape(batch, -1, 1)
    column_part = (source_column - left).reshape(batch, -1, 1)
    corner = (top * width + left).reshape(batch, -1)
    pixels = x.reshape(batch, height * width, channels)

    def read(offset: int) -> Float[Array, "b p c"]:
        return jnp.take_along_axis(pixels, (corner + offset)[:, :, None], axis=1)

    upper = read(0) * (1 - column_part) + read(1) * column_part
    lower = read(width) * (1 - column_part) + read(width + 1) * column_part
    moved = (upper * (1 - row_part) + lower * row_part).reshape(batch, -1)
    # Else XLA on CPU reads the pixels again for every use of the image in a step.
    return jax.lax.optimization_barrier(moved)


def mask_inputs(
    key: jax.Array, x: Float[Array, "b d"], fraction: float
) -> Float[Array, "b d"]:
    """Sets each input to 0 with probability `fraction` (masking noise)."""
    return jnp.where(jax.random.bernoulli(key, 1 - fraction, x.shape), x, 0)


def salt_and_pepper(
    key: jax.Array, x: Float[Array, "b d"], fraction: float
) -> Float[Array, "b d"]:
    """Sets each input with probability `fraction` to 0 or to 1, as likely as not."""
    draws = jax.random.uniform(key, x.shape)
    salted = jnp.where(draws < fraction / 2, 1.0, x)
    return jnp.where((draws >= fraction / 2) & (draws < fraction), 0.0, salted)


def corrupt(
    key: jax.Array, x: Float[Array, "b d"], settings: Augmentation
) -> Float[Array, "b d"]:
    """The noise that a denoising autoencoder has to undo: masking, salt and pepper."""
    if settings.masking:
        x = mask_inputs(key, x, settings.masking)
    if settings.salt_and_pepper:
        salt_key = jax.random.fold_in(key, 1)
        x = salt_and_pepper(salt_key, x, settings.salt_and_pepper)
    return x


def augment(
    key: jax.Array, x: Float[Array, "b d"], settings: Augmentation
) -> Float[Array, "b d"]:
    """Distorts each sample of a batch by its own random amounts.

    Args:
      key: a `jax.random.key`.
      x: samples as floats, one a row.
      settings: what may happen to them.

    Returns:
      The distorted samples; `x` itself where the settings say nothing.
    """
    affine_key, noise_key = jax.random.split(key)
    if settings.moves_pixels:
        x = random_affine(affine_key, x, settings)
    return corrupt(noise_key, x, settings)
