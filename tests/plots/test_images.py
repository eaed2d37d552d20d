import jax.numpy as jnp
import numpy as np
import pytest
from figures import drawn, texts, tick_labels

from dec_jax.plots.images import (
    cluster_members,
    decoded_centroids,
    reconstructions,
    samples_grid,
)

# Centroids as images.


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 1), (3, 4, 3)])
def test_decoded_centroids_draws_each_image_over_the_range_of_all(shape):
    images = np.random.default_rng(0).normal(size=(3, *shape))
    panels = drawn(decoded_centroids(images)).axes
    scaled = (images - images.min()) / (images.max() - images.min())
    expected = np.broadcast_to(scaled.reshape(3, 3, 4, -1), (3, 3, 4, 3))
    assert [panel.get_title() for panel in panels] == ["0", "1", "2"]
    for panel, image in zip(panels, expected, strict=True):
        np.testing.assert_allclose(panel.images[0].get_array(), image, atol=1e-6)


def test_decoded_centroids_shows_bytes_from_0_to_255():
    (panel,) = decoded_centroids(np.array([[[51, 102]]], np.uint8)).axes
    np.testing.assert_allclose(panel.images[0].get_array()[0, :, 0], [0.2, 0.4])


def test_decoded_centroids_clips_to_a_given_range():
    (panel,) = decoded_centroids(
        jnp.array([[[-1.0, 1.0, 9.0]]]), value_range=(0, 4)
    ).axes
    np.testing.assert_allclose(panel.images[0].get_array()[0, :, 0], [0, 0.25, 1])


def test_decoded_centroids_of_one_value_are_black():
    (panel,) = drawn(decoded_centroids(np.full((1, 2, 2), 0.7))).axes
    assert not panel.images[0].get_array().any()


def test_decoded_centroids_wraps_after_ten_and_writes_sizes():
    figure = drawn(decoded_centroids(np.zeros((12, 2, 2)), [1500, *([0] * 10), 500]))
    assert len(figure.axes) == 20
    assert [len(panel.images) for panel in figure.axes] == [1] * 12 + [0] * 8
    assert figure.axes[0].get_title() == "0\n1,500 (75.0%)"
    assert figure.axes[5].get_title() == "5\n0 (0.0%)"
    assert figure.axes[12].get_title() == ""


@pytest.mark.parametrize(
    ("images", "sizes", "message"),
    [
        (
            np.zeros((2, 6)),
            None,
            "images must have shape [k, h, w] or [k, h, w, c] and hold at least one, got "
            "shape (2, 6).",
        ),
        (
            np.zeros((0, 2, 2)),
            None,
            "images must have shape [k, h, w] or [k, h, w, c] and hold at least one, got "
            "shape (0, 2, 2).",
        ),
        (
            np.zeros((2, 3, 3)),
            [1, 2, 3],
            "sizes must have shape (2,), one size for each image, got shape (3,).",
        ),
        (
            np.zeros((2, 3, 3, 2)),
            None,
            "An image must have shape (h, w), (h, w, 1) or (h, w, 3), got (3, 3, 2).",
        ),
    ],
)
def test_decoded_centroids_rejects_shapes(images, sizes, message):
    with pytest.raises(ValueError) as caught:
        decoded_centroids(images, sizes)
    assert str(caught.value) == message


# Members as images. Sample i is one pixel of value i, so that a row can be read.


def members(figure, n_columns, n_certain):
    """Values of the one-pixel tiles of each row, None for an empty (white) one."""
    canvas = figure.axes[0].images[0].get_array()
    columns = [2 * j + 4 * (j >= n_certain) for j in range(n_columns)]
    return [
        [None if row[j].min() == 1 else round(255 * row[j, 0]) for j in columns]
        for row in canvas[::2]
    ]


PIXELS = np.arange(8, dtype=np.uint8)[:, None]
LABELS = np.array([0, 0, 0, 0, 0, 2, 2, 3])
CERTAINTY = np.array([0.5, 0.9, 0.6, 0.7, 0.8, 0.4, 0.3, 1.0])


ROWS = [
    # Five members, of which 2 does not fit.
    [1, 4, 2, 0],
    # None; fewer than fill the left group; one.
    [None] * 4,
    [5, 6, None, None],
    [7, None, None, None],
]


@pytest.mark.parametrize("x", [PIXELS, jnp.asarray(PIXELS), PIXELS.reshape(8, 1, 1, 1)])
def test_cluster_members_orders_by_certainty(x):
    figure = drawn(
        cluster_members(x, CERTAINTY, LABELS, (1, 1), n_per_cluster=2, n_uncertain=2)
    )
    (panel,) = figure.axes
    assert members(figure, 4, 2) == ROWS
    assert tick_labels(panel.yaxis) == ["0  (5)", "1  (0)", "2  (2)", "3  (1)"]
    assert texts(panel) == ["most certain", "least certain"]


def test_cluster_members_reads_each_certainty_from_q_and_keeps_all_rows_of_q():
    q = np.zeros((8, 5))
    q[np.arange(8), LABELS] = CERTAINTY
    q[:, 1] = 2.0
    figure = cluster_members(
        PIXELS, q, LABELS, (1, 1, 1), n_per_cluster=2, n_uncertain=2
    )
    assert members(figure, 4, 2) == [*ROWS, [None] * 4]


def test_cluster_members_shows_no_member_twice_in_a_cluster_smaller_than_both_groups():
    figure = cluster_members(
        PIXELS[:3], CERTAINTY[:3], [0, 0, 0], (1, 1), n_per_cluster=2, n_uncertain=3
    )
    assert members(figure, 5, 2) == [[1, 2, 0, None, None]]


def test_cluster_members_without_uncertain_ones():
    figure = drawn(
        cluster_members(
            PIXELS,
            CERTAINTY,
            LABELS,
            (1, 1),
            n_per_cluster=3,
            n_uncertain=0,
            n_clusters=5,
        )
    )
    assert members(figure, 3, 9)[0] == [1, 4, 3]
    assert len(members(figure, 3, 9)) == 5
    assert texts(figure.axes[0]) == ["most certain"]


def test_cluster_members_keeps_the_colors_and_shape_of_rgb_images():
    images = np.random.default_rng(0).random((3, 3, 4, 3), np.float32)
    figure = drawn(
        cluster_members(
            images.reshape(3, -1),
            np.array([0.2, 0.9, 0.1]),
            [0, 0, 0],
            (3, 4, 3),
            n_per_cluster=2,
            n_uncertain=0,
            value_range=(0, 1),
        )
    )
    canvas = figure.axes[0].images[0].get_array()
    assert canvas.shape == (3, 9, 3)
    np.testing.assert_allclose(canvas[:, :4], images[1], atol=1e-6)
    np.testing.assert_allclose(canvas[:, 5:], images[0], atol=1e-6)
    np.testing.assert_array_equal(canvas[:, 4], 1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"image_shape": (2, 1)},
            ValueError,
            "x must hold 8 images of shape (2, 1), one for each label, got shape (8, 1).",
        ),
        (
            {"x": PIXELS[:7]},
            ValueError,
            "x must hold 8 images of shape (1, 1), one for each label, got shape (7, 1).",
        ),
        (
            {"image_shape": (1,)},
            ValueError,
            "An image must have shape (h, w), (h, w, 1) or (h, w, 3), got (1,).",
        ),
        (
            {"confidence": CERTAINTY[:7]},
            ValueError,
            "confidence must have shape [8] or [8, k], got shape (7,).",
        ),
        (
            {"confidence": np.ones((7, 4))},
            ValueError,
            "confidence must have shape [8] or [8, k], got shape (7, 4).",
        ),
        (
            {"confidence": np.ones((8, 3)), "n_clusters": 4},
            ValueError,
            "labels must be from 0 to n_clusters - 1 = 2, got 3.",
        ),
        (
            {"n_clusters": 3},
            ValueError,
            "labels must be from 0 to n_clusters - 1 = 2, got 3.",
        ),
        (
            {"labels": LABELS + 0.5},
            TypeError,
            "labels must be integers, got dtype float64; number them with "
            "numpy.unique(labels, return_inverse=True)[1].",
        ),
        ({"n_per_cluster": 0}, ValueError, "n_per_cluster must be at least 1, got 0."),
        ({"n_uncertain": -1}, ValueError, "n_uncertain must be at least 0, got -1."),
    ],
)
def test_cluster_members_rejects_what_does_not_fit(options, error, message):
    arguments = {
        "x": PIXELS,
        "confidence": CERTAINTY,
        "labels": LABELS,
        "image_shape": (1, 1),
    }
    with pytest.raises(error) as caught:
        cluster_members(**arguments | options)
    assert str(caught.value) == message


# Originals and what was made of them. Pixels of 1 x 2 images, a gap of 1 between.


def tiles(figure, n_columns, height=1, width=2):
    """The red values of the tiles of a grid, shape [rows, columns, height, width]."""
    canvas = np.asarray(figure.axes[0].images[0].get_array())[..., 0]
    rows = range(0, len(canvas), height + 1)
    columns = range(0, n_columns * (width + 1), width + 1)
    return np.array(
        [[canvas[r : r + height, c : c + width] for c in columns] for r in rows]
    )


ORIGINALS = np.array([[0.0, 4.0], [1.0, 2.0], [3.0, 4.0]], np.float32)


@pytest.mark.parametrize("asarray", [np.asarray, jnp.asarray])
def test_reconstructions_stand_below_their_inputs_and_originals(asarray):
    noisy, made = ORIGINALS + 1, ORIGINALS[::-1]
    figure = drawn(
        reconstructions(asarray(ORIGINALS), asarray(noisy), asarray(made), (1, 2))
    )
    expected = np.stack([ORIGINALS, np.minimum(noisy, 4), made])[:, :, None] / 4
    np.testing.assert_allclose(tiles(figure, 3), expected, atol=1e-6)
    names = ["original", "input", "reconstruction"]
    assert tick_labels(figure.axes[0].yaxis) == names
    np.testing.assert_array_equal(figure.axes[0].get_yticks(), [0, 2, 4])


def test_reconstructions_without_inputs_shows_the_first_n_in_two_rows():
    figure = drawn(reconstructions(ORIGINALS, None, ORIGINALS + 1, (1, 2), n=2))
    # Of the two originals shown 0 is black and 4 is white.
    expected = [[[[0, 1]], [[0.25, 0.5]]], [[[0.25, 1]], [[0.5, 0.75]]]]
    np.testing.assert_allclose(tiles(figure, 2), expected, atol=1e-6)
    assert tick_labels(figure.axes[0].yaxis) == ["original", "reconstruction"]


def test_reconstructions_of_bytes_run_from_0_to_255():
    pixels = np.array([[51, 102]], np.uint8)
    figure = reconstructions(pixels, None, 2 * pixels, (1, 2, 1))
    np.testing.assert_allclose(tiles(figure, 1), [[[[0.2, 0.4]]], [[[0.4, 0.8]]]])


def test_reconstructions_keep_to_a_given_range_and_to_colors():
    images = np.random.default_rng(0).random((2, 4, 3, 3))
    figure = drawn(reconstructions(images, None, images, (4, 3, 3), value_range=(0, 2)))
    canvas = figure.axes[0].images[0].get_array()
    assert canvas.shape == (9, 7, 3)
    np.testing.assert_allclose(canvas[5:, 4:], images[1] / 2, atol=1e-6)


@pytest.mark.parametrize("n", [1, 12])
def test_reconstructions_keep_their_names_inside_the_figure(n):
    images = np.random.default_rng(0).random((n, 64))
    figure = reconstructions(images, images, images, (8, 8), n=n)
    figure.draw_without_rendering()
    for name in figure.axes[0].get_yticklabels():
        assert name.get_window_extent().x0 > 0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"reconstructed": ORIGINALS[:2]},
            ValueError,
            "originals, inputs and reconstructed must have equal lengths, got 3 as original "
            "and 2 as reconstruction.",
        ),
        (
            {"originals": ORIGINALS.astype(np.uint8)},
            TypeError,
            "originals, inputs and reconstructed must be on one scale, got uint8 as "
            "original and float32 as input; divide bytes by 255.",
        ),
        (
            {"inputs": np.ones((3, 3), np.float32)},
            ValueError,
            "input must hold images of shape (1, 2), at least one, got shape (3, 3).",
        ),
        (
            {"reconstructed": ORIGINALS * np.float32(np.nan)},
            ValueError,
            "reconstruction must be finite, got NaN or infinity.",
        ),
        (
            {"image_shape": (2,)},
            ValueError,
            "An image must have shape (h, w), (h, w, 1) or (h, w, 3), got (2,).",
        ),
        ({"n": 0}, ValueError, "n must be at least 1, got 0."),
    ],
)
def test_reconstructions_rejects_what_does_not_fit(options, error, message):
    arguments = {
        "originals": ORIGINALS,
        "inputs": ORIGINALS,
        "reconstructed": ORIGINALS,
        "image_shape": (1, 2),
    }
    with pytest.raises(error) as caught:
        reconstructions(**arguments | options)
    assert str(caught.value) == message


# Samples of a decoder.


@pytest.mark.parametrize("asarray", [np.asarray, jnp.asarray])
def test_samples_grid_fills_rows_and_leaves_the_end_white(asarray):
    images = np.arange(10, dtype=np.float32).reshape(5, 2)
    figure = drawn(samples_grid(asarray(images), (1, 2)))
    expected = np.concatenate([images / 9, [[1, 1]]]).reshape(2, 3, 1, 2)
    np.testing.assert_allclose(tiles(figure, 3), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("n", "n_columns", "rows_and_columns"),
    [(1, None, (1, 1)), (9, None, (3, 3)), (10, 4, (3, 4)), (3, 8, (1, 3))],
)
def test_samples_grid_has_so_many_rows_and_columns(n, n_columns, rows_and_columns):
    rows, columns = rows_and_columns
    figure = drawn(samples_grid(np.eye(n, 12), (3, 4), n_columns=n_columns))
    canvas = figure.axes[0].images[0].get_array()
    assert canvas.shape == (4 * rows - 1, 5 * columns - 1, 3)


def test_samples_grid_keeps_to_a_given_range():
    figure = samples_grid(np.array([[-1.0, 1.0]]), (1, 2), value_range=(0, 4))
    np.testing.assert_allclose(tiles(figure, 1), [[[[0, 0.25]]]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"images": np.ones((3, 5))},
            "images must hold images of shape (1, 2), at least one, got shape (3, 5).",
        ),
        (
            {"images": np.ones((0, 2))},
            "images must hold images of shape (1, 2), at least one, got shape (0, 2).",
        ),
        (
            {"images": np.array([[0, np.nan]])},
            "images must be finite, got NaN or infinity.",
        ),
        ({"n_columns": 0}, "n_columns must be at least 1, got 0."),
    ],
)
def test_samples_grid_rejects_what_does_not_fit(options, message):
    with pytest.raises(ValueError) as caught:
        samples_grid(**{"images": np.ones((3, 2)), "image_shape": (1, 2)} | options)
    assert str(caught.value) == message
