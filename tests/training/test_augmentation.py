import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from dec_jax.training.augmentation import (
    Augmentation,
    augment,
    corrupt,
    mask_inputs,
    random_affine,
    salt_and_pepper,
)

KEY = jax.random.key(0)
SHAPE = (5, 7, 2)
IMAGES = np.random.default_rng(0).random((6, 5 * 7 * 2), np.float32)
ALL = Augmentation(SHAPE, rotation=40, shift=0.2, scale=0.3, shear=25)

# Each sample's share of the largest rotation, shear, scale and shift, in this order.
DRAWS = np.asarray(jax.random.uniform(KEY, (5, 6), minval=-1.0, maxval=1.0))


def affine_by_map_coordinates(x, settings, draws):
    """One image and one channel at a time: shear, then turn and scale, then shift."""
    height, width, channels = settings.image_shape
    center = np.array([height - 1, width - 1]) / 2
    moved = []
    for image, (turn, slant, size, down, right) in zip(x, draws.T, strict=True):
        angle = np.deg2rad(settings.rotation * turn)
        shear = np.tan(np.deg2rad(settings.shear * slant))
        rotation = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
        # Acts on (row, column): a horizontal shear moves columns in proportion to rows.
        forward = np.array(rotation) @ np.array([[1, 0], [-shear, 1]])
        inverse = np.linalg.inv((1 + settings.scale * size) * forward)
        shift = settings.shift * np.array([height * down, width * right])
        read_at = np.array(
            [
                inverse @ (np.array([row, column]) - center - shift) + center
                for row in range(height)
                for column in range(width)
            ]
        )
        planes = [
            ndimage.map_coordinates(plane, read_at.T, order=1, mode="nearest")
            for plane in np.moveaxis(image.reshape(settings.image_shape), 2, 0)
        ]
        moved.append(np.stack(planes, axis=1).ravel())
    return np.array(moved)


class TestUnderTransforms(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True, with_device=True)
    def test_augment_is_the_same_under_every_transform(self):
        settings = Augmentation(SHAPE, 40, 0.2, 0.3, 25, 0.5)
        distorted = self.variant(lambda key, x: augment(key, x, settings))(
            KEY, jnp.asarray(IMAGES)
        )
        affine_key, mask_key = jax.random.split(KEY)
        moved = random_affine(affine_key, jnp.asarray(IMAGES), settings)
        expected = mask_inputs(mask_key, moved, 0.5)
        np.testing.assert_allclose(distorted, expected, atol=1e-4)


def test_salt_and_pepper_sets_a_share_to_0_and_as_much_to_1():
    x = jnp.full((200, 500), 0.5)
    noisy = np.asarray(salt_and_pepper(KEY, x, 0.2))
    np.testing.assert_allclose((noisy == 0).mean(), 0.1, atol=0.005)
    np.testing.assert_allclose((noisy == 1).mean(), 0.1, atol=0.005)
    assert set(np.unique(noisy)) == {0.0, 0.5, 1.0}


def test_corrupt_masks_and_salts_and_moves_nothing():
    x = jnp.full((100, 70), 0.5)
    settings = Augmentation(SHAPE, rotation=40, masking=0.5, salt_and_pepper=0.2)
    noisy = np.asarray(corrupt(KEY, x, settings))
    assert set(np.unique(noisy)) == {0.0, 0.5, 1.0}
    np.testing.assert_allclose((noisy == 0.5).mean(), 0.5 * 0.8, atol=0.03)


@pytest.mark.parametrize(
    "options",
    [
        {"rotation": 40.0},
        {"shift": 0.3},
        {"scale": 0.5},
        {"shear": 30.0},
        {"rotation": 40.0, "shift": 0.2, "scale": 0.3, "shear": 25.0},
    ],
    ids=["rotation", "shift", "scale", "shear", "all"],
)
def test_random_affine_equals_the_inverse_map_by_loops(options):
    settings = Augmentation(SHAPE, **options)
    moved = random_affine(KEY, jnp.asarray(IMAGES), settings)
    expected = affine_by_map_coordinates(IMAGES, settings, DRAWS)
    np.testing.assert_allclose(moved, expected, atol=1e-4)


@pytest.mark.parametrize("height, width", [(1, 7), (7, 1), (2, 2)])
def test_random_affine_of_a_thin_image_equals_the_inverse_map_by_loops(height, width):
    settings = Augmentation((height, width, 1), rotation=40, shift=0.3)
    x = IMAGES[:, : height * width]
    moved = random_affine(KEY, jnp.asarray(x), settings)
    expected = affine_by_map_coordinates(x, settings, DRAWS)
    np.testing.assert_allclose(moved, expected, atol=1e-4)


def test_random_affine_turns_a_square_image_by_90_degrees():
    one = DRAWS[0].argmax()
    settings = Augmentation((6, 6, 1), rotation=float(90 / DRAWS[0, one]))
    x = np.random.default_rng(0).random((6, 36), np.float32)
    turned = random_affine(KEY, jnp.asarray(x), settings)[one].reshape(6, 6)
    image = x[one].reshape(6, 6)
    np.testing.assert_allclose(turned, np.rot90(image, -1), atol=1e-4)


@pytest.mark.parametrize("axis", [0, 1], ids=["down", "right"])
def test_random_affine_shifts_by_whole_pixels_and_repeats_the_edge(axis):
    # An image that is constant along the other axis shows the shift along this one.
    one = DRAWS[3 + axis].argmax()
    settings = Augmentation((5, 5, 1), shift=float(2 / 5 / DRAWS[3 + axis, one]))
    line = np.array([3.0, 1.0, 4.0, 1.0, 5.0], np.float32)
    image = np.stack([line] * 5, axis=1 - axis)
    x = np.tile(image.ravel(), (6, 1))
    shifted = random_affine(KEY, jnp.asarray(x), settings)[one].reshape(5, 5)
    expected = np.stack([np.array([3.0, 3.0, 3.0, 1.0, 4.0])] * 5, axis=1 - axis)
    np.testing.assert_allclose(shifted, expected, atol=1e-4)


def test_random_affine_keeps_to_the_range_of_the_image():
    moved = random_affine(KEY, jnp.asarray(IMAGES), ALL)
    assert moved.min() >= IMAGES.min() and moved.max() <= IMAGES.max() + 1e-6


def test_random_affine_leaves_a_constant_image_as_it_is():
    x = jnp.full((6, 70), 0.25)
    np.testing.assert_allclose(random_affine(KEY, x, ALL), x, rtol=1e-5)


def test_random_affine_draws_for_each_sample():
    x = jnp.tile(IMAGES[:1], (6, 1))
    moved = np.asarray(random_affine(KEY, x, ALL))
    assert len({row.tobytes() for row in moved}) == 6


def test_augment_leaves_samples_as_they_are_by_default():
    x = jnp.asarray(IMAGES)
    np.testing.assert_array_equal(augment(KEY, x, Augmentation()), x)


def test_augment_of_a_square_table_moves_nothing():
    # A table of 16 columns must not be taken for an image of 4 x 4.
    x = jnp.asarray(IMAGES[:, :16])
    distorted = np.asarray(augment(KEY, x, Augmentation(masking=0.5)))
    kept = distorted != 0
    np.testing.assert_array_equal(distorted[kept], np.asarray(x)[kept])


def test_augment_depends_on_the_key():
    x = jnp.asarray(IMAGES)
    settings = Augmentation(SHAPE, rotation=40, masking=0.5)
    once, again = (augment(KEY, x, settings) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, augment(jax.random.key(1), x, settings))


@pytest.mark.parametrize("fraction", [0.2, 0.5])
def test_mask_inputs_sets_the_fraction_to_zero(fraction):
    masked = np.asarray(mask_inputs(KEY, jnp.ones((200, 200)), fraction))
    np.testing.assert_allclose((masked == 0).mean(), fraction, atol=0.01)
    assert set(np.unique(masked)) == {0.0, 1.0}


def test_augment_masks_what_was_moved():
    settings = Augmentation(SHAPE, shift=0.2, masking=0.5)
    distorted = np.asarray(augment(KEY, jnp.asarray(IMAGES) + 1, settings))
    np.testing.assert_allclose((distorted == 0).mean(), 0.5, atol=0.1)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"rotation": 180.0}, r"rotation must be in \[0, 180\), got 180.0"),
        ({"rotation": -1.0}, r"rotation must be in \[0, 180\), got -1.0"),
        ({"shift": 1.0}, r"shift must be in \[0, 1\), got 1.0"),
        ({"scale": 1.0}, r"scale must be in \[0, 1\), got 1.0"),
        ({"shear": 80.0}, r"shear must be in \[0, 80\), got 80.0"),
        ({"masking": 1.0}, r"masking must be in \[0, 1\), got 1.0"),
        ({"masking": float("nan")}, r"masking must be in \[0, 1\), got nan"),
        (
            {"rotation": 9.0, "image_shape": None},
            r"image_shape must be .* for rotation, .* got None; give",
        ),
        ({"image_shape": (5, 7)}, r"must be \(height, width, channels\), got \(5, 7\)"),
        ({"image_shape": (5, 0, 1)}, "image_shape must be at least 1, got 0"),
    ],
)
def test_augmentation_rejects_a_value(options, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**({"image_shape": SHAPE} | options))


def test_random_affine_rejects_another_width():
    with pytest.raises(
        ValueError, match=r"\(5, 7, 2\) needs 70 columns, got x of shap"
    ):
        random_affine(KEY, jnp.zeros((6, 35)), ALL)
