"""Histograms of oriented gradients and color maps."""

import numpy as np
import pytest
from image_files import save

from dec_jax.data.dataset import image_dataset
from dec_jax.data.features import cell_means, hog_and_colors, with_features
from dec_jax.data.image_stack import thumbnails
from dec_jax.data.load import load_dataset

pytest.importorskip("skimage")


def gratings(n, side=32):
    """Gray gratings, of lines that lie in even images and stand in odd ones."""
    wave = 127 + 100 * np.sin(np.arange(side))[:, None] * np.ones(side)
    images = np.stack([wave if at % 2 == 0 else wave.T for at in range(n)])
    noise = np.random.default_rng(0).normal(0, 5, images.shape)
    return (images + noise).clip(0, 255).astype(np.uint8)


def test_gradients_tell_directions_apart_at_any_brightness():
    lying, standing = gratings(2).astype(np.float32)[..., None] / 255
    dark = 0.3 * lying
    near = np.linalg.norm(hog_and_colors(lying) - hog_and_colors(dark))
    far = np.linalg.norm(hog_and_colors(lying) - hog_and_colors(standing))
    assert near < 0.2 * far


def test_colors_are_those_of_a_grid_of_8_by_8():
    # ITU-R BT.601: Cb and Cr of pure red lie at 128 - 43 and 128 + 127.5.
    image = np.zeros((32, 32, 3), np.float32)
    image[:4, :4, 0] = 1
    colors = hog_and_colors(image)[-128:].reshape(8, 8, 2) * 10
    np.testing.assert_allclose(colors[0, 0], [127.5, -43.0], atol=0.1)
    np.testing.assert_allclose(colors[1:], 0, atol=1e-4)


def test_gray_images_have_gradients_alone():
    assert hog_and_colors(np.zeros((32, 32, 1), np.float32)).shape == (324,)
    assert hog_and_colors(np.zeros((32, 32, 3), np.float32)).shape == (324 + 128,)


@pytest.mark.parametrize("shape", [(16, 16), (21, 30), (96, 96)])
def test_cell_means_equal_loops(shape):
    image = np.random.default_rng(0).random((*shape, 3))
    tops = [at * shape[0] // 8 for at in range(9)]
    lefts = [at * shape[1] // 8 for at in range(9)]
    expected = [
        [
            image[tops[i] : tops[i + 1], lefts[j] : lefts[j + 1]].mean(axis=(0, 1))
            for j in range(8)
        ]
        for i in range(8)
    ]
    np.testing.assert_allclose(cell_means(image, 8), expected)


def test_a_folder_becomes_features_with_names_labels_and_thumbnails(tmp_path):
    for at, image in enumerate(gratings(4)):
        save(tmp_path / f"{at}.png", image)
    (tmp_path / "labels.csv").write_text(
        "filename,label\n" + "".join(f"{at}.png,{at % 2}\n" for at in range(4))
    )
    calls = []
    dataset = load_dataset(
        tmp_path,
        features="hog",
        image_mode="color",
        progress=lambda done, total: calls.append((done, total)),
    )
    # 96 x 96 pixels: 11 x 11 blocks of 4 cells with 9 directions, and the colors.
    assert dataset.x.shape == (4, 11 * 11 * 4 * 9 + 128)
    assert (dataset.image_shape, dataset.input_scale) == (None, 1.0)
    assert dataset.reading.size == (96, 96)
    assert dataset.reading.features == "hog"
    assert dataset.names == ("0.png", "1.png", "2.png", "3.png")
    assert dataset.labels.tolist() == [0, 1, 0, 1]
    assert dataset.thumbnails.shape == (4, 48, 48, 3)
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)] * 2
    distances = np.linalg.norm(dataset.x[:, None] - dataset.x, axis=-1)
    assert distances[0, 2] < distances[0, 1]


def test_images_of_a_file_become_features(tmp_path):
    np.savez(tmp_path / "x.npz", x=gratings(3))
    dataset = load_dataset(tmp_path / "x.npz", features="hog")
    assert dataset.x.shape == (3, 324)
    assert dataset.reading.features == "hog"


def test_standardize_divides_all_by_one_number(tmp_path):
    np.savez(tmp_path / "x.npz", x=gratings(3))
    plain = load_dataset(tmp_path / "x.npz", features="hog", standardize=False)
    divided = load_dataset(tmp_path / "x.npz", features="hog")
    np.testing.assert_allclose(divided.x * divided.deviation, plain.x, rtol=1e-5)


def test_thumbnails_are_means_of_at_most_64_pixels_a_side():
    images = np.random.default_rng(0).integers(0, 256, (2, 130, 70, 3), np.uint8)
    small = thumbnails(images)
    assert small.shape == (2, 43, 23, 3)
    np.testing.assert_allclose(
        small[1, 2, 5], images[1, 6:9, 15:18].mean(axis=(0, 1)), atol=0.5
    )
    np.testing.assert_array_equal(
        thumbnails(images[:, :60, :60] / 255)[0, 0, 0], images[0, 0, 0]
    )


@pytest.mark.parametrize("side", [8, 300])
def test_features_need_images_of_a_fitting_size(side):
    images = np.zeros((2, side, side, 1), np.uint8)
    with pytest.raises(
        ValueError, match=f"16 to 256 pixels a side, got {side} x {side}"
    ):
        with_features(image_dataset("x", images, None, "made"), "hog")
    five = np.zeros((2, 32, 32, 5), np.uint8)
    with pytest.raises(ValueError, match="1 or 3 channels, got 5"):
        with_features(image_dataset("x", five, None, "made"), "hog")


def test_a_size_that_does_not_fit_is_told_before_images_are_read(tmp_path):
    save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"got 8 x 300; .*--image-size 96"):
        load_dataset(tmp_path, features="hog", image_size=(8, 300))


def test_features_are_for_images(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((4, 3)))
    with pytest.raises(
        ValueError, match="features is for images, got features='hog' with x"
    ):
        load_dataset(tmp_path / "x.npy", features="hog")
    with pytest.raises(ValueError, match="Unknown features 'sift'"):
        load_dataset("digits", features="sift")
