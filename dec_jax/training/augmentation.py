"""Random distortions of a batch, on the device: affine maps of images, and noise."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dec_jax.validation import check_positive_int


@dataclass(frozen=True)
class Augmentation:
    """Settings of the random distortions of a sample; the default does not distort.

    Values are drawn for each sample, anew in each step.

    Attributes:
      image_shape: (height, width, channels) of a sample, or None for a table, which has
        no affine distortions. It is never guessed from the number of columns.
      rotation: largest rotation in either direction, in degrees, in [0, 180).
      shift: largest shift in either direction, as a fraction of height and width, in
        [0, 1).
      scale: largest change of size in either direction, as a fraction, in [0, 1).
      shear: largest horizontal shear in either direction, in degrees, in [0, 80).
      masking: probability of setting a value to 0, in [0, 1) (the corruption of the
        denoising autoencoder: Vincent et al., JMLR 2010).
      salt_and_pepper: probability of setting a value to 0 or to 1, with equal chances, in
        [0, 1).

    Example:
      >>> Augmentation(image_shape=(28, 28, 1), rotation=10).moves_pixels
      True
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
                "image_shape must be (height, width, channels) for rotation, shift, scale "
                "and shear, got None; give it, or use only masking and salt_and_pepper "
                "for a table."
            )

    @property
    def moves_pixels(self) -> bool:
        """True if any affine distortion is on."""
        return any((self.rotation, self.shift, self.scale, self.shear))


def random_affine(
    key: jax.Array, x: Float[Array, "b d"], settings: Augmentation
) -> Float[Array, "b d"]:
    """Rotates, shears, scales and shifts each image by its own random amounts.

    Pixels are interpolated bilinearly. Beyond the edge, the nearest pixel of the edge is
    taken, as in the published recipes (Guo et al., DEC-DA, ACML 2018).

    Args:
      key: a `jax.random.key`.
      x: flattened images, of `settings.image_shape`.
      settings: the ranges of the distortions.

    Returns:
      The distorted images, flattened.

    Raises:
      ValueError: the number of columns of `x` is not that of `image_shape`.
    """
    assert settings.image_shape is not None  # checked by Augmentation
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

    # The inverse map gives the input coordinates of each output pixel, about the center.
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

    # The upper left one of the four pixels around the input coordinates. It is never in
    # the last row or column, so that its lower right neighbor exists.
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
    # Without the barrier, XLA on a CPU interpolates again for each use of the images.
    return jax.lax.optimization_barrier(moved)


def mask_inputs(
    key: jax.Array, x: Float[Array, "b d"], fraction: float
) -> Float[Array, "b d"]:
    """Sets each value to 0 with probability `fraction` (masking noise)."""
    return jnp.where(jax.random.bernoulli(key, 1 - fraction, x.shape), x, 0)


def salt_and_pepper(
    key: jax.Array, x: Float[Array, "b d"], fraction: float
) -> Float[Array, "b d"]:
    """Sets each value to 0 or to 1, each with probability `fraction` / 2."""
    draws = jax.random.uniform(key, x.shape)
    salted = jnp.where(draws < fraction / 2, 1.0, x)
    return jnp.where((draws >= fraction / 2) & (draws < fraction), 0.0, salted)


def corrupt(
    key: jax.Array, x: Float[Array, "b d"], settings: Augmentation
) -> Float[Array, "b d"]:
    """Adds the noise that a denoising autoencoder removes: masking, salt and pepper."""
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
      settings: the ranges of the distortions.

    Returns:
      The distorted samples, or `x` itself if all distortions are off.

    Raises:
      ValueError: the number of columns of `x` is not that of `settings.image_shape`.

    Example:
      >>> x = jnp.ones((2, 1000))
      >>> masked = augment(jax.random.key(0), x, Augmentation(masking=0.5))
      >>> 0.4 < float(masked.mean()) < 0.6
      True
    """
    affine_key, noise_key = jax.random.split(key)
    if settings.moves_pixels:
        x = random_affine(affine_key, x, settings)
    return corrupt(noise_key, x, settings)
