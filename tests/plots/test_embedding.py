import io
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.colors import to_hex
from sklearn.decomposition import PCA

from dec_jax.plots.embedding import (
    confusion_matrix,
    latent_before_after,
    latent_scatter,
    new_figure,
    principal_axes,
)
from dec_jax.plots.images import (
    cluster_members,
    decoded_centroids,
    reconstructions,
    samples_grid,
)


def drawn(figure):
    """The figure, once all of it was drawn: what matplotlib warns of is an error."""
    figure.savefig(io.BytesIO(), format="png", dpi=30)
    return figure


def texts(panel):
    return [text.get_text() for text in panel.texts]


def tick_labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def legend_names(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def points_by_color(panel):
    """Points of the panel's first scatter, sorted, of each color."""
    scatter = panel.collections[0]
    points = np.asarray(scatter.get_offsets())
    colors = [to_hex(color) for color in scatter.get_facecolors()]
    return {
        color: sorted(points[[c == color for c in colors]].tolist())
        for color in set(colors)
    }


# The plane.


def test_principal_axes_equal_scikit_learn(blobs):
    z, _ = blobs
    pca = PCA(2).fit(z.astype(np.float64))
    axes = principal_axes(z)
    signs = np.sign(np.sum(axes.components * pca.components_, axis=1))
    np.testing.assert_allclose(axes.mean, pca.mean_, atol=1e-12)
    np.testing.assert_allclose(
        axes.components, signs[:, None] * pca.components_, atol=1e-9
    )
    np.testing.assert_allclose(axes.explained, pca.explained_variance_ratio_)


def test_principal_axes_have_their_largest_entry_positive(blobs):
    z, _ = blobs
    axes = principal_axes(z)
    flipped = principal_axes(-z)
    rows = axes.components[np.arange(2), np.abs(axes.components).argmax(axis=1)]
    assert (rows > 0).all()
    np.testing.assert_allclose(flipped.components, axes.components, atol=1e-12)


def test_principal_axes_of_one_column_leave_the_second_at_zero():
    axes = principal_axes(np.array([[1.0], [3.0]]))
    np.testing.assert_array_equal(axes.components, [[1], [0]])
    np.testing.assert_array_equal(axes.explained, [1, 0])


def test_principal_axes_of_samples_that_coincide_explain_nothing():
    np.testing.assert_array_equal(principal_axes(np.ones((5, 3))).explained, [0, 0])


def test_principal_axes_rejects_nan():
    with pytest.raises(ValueError, match="^z must be finite: column 1 holds NaN"):
        principal_axes(np.array([[0, np.nan]]))


# The embedding.


def test_latent_scatter_draws_each_sample_in_the_color_of_its_label(blobs):
    z, labels = blobs
    axes = principal_axes(z)
    figure = drawn(latent_scatter(z, labels, title="Blobs"))
    (panel,) = figure.axes
    plane = (z.astype(np.float64) - axes.mean) @ axes.components.T
    dots = [to_hex(dot.get_color()) for dot in figure.legends[0].legend_handles]
    groups = points_by_color(panel)
    assert panel.get_title(loc="left") == "Blobs"
    assert panel.get_title(loc="right") == ""
    assert (
        panel.get_xlabel() == f"first component ({axes.explained[0]:.0%} of variance)"
    )
    assert legend_names(figure) == ["0", "1", "2", "3"]
    assert len(set(dots)) == 4
    for label, color in enumerate(dots):
        np.testing.assert_allclose(
            groups[color], sorted(plane[labels == label].tolist())
        )


def test_latent_scatter_draws_at_most_max_points_and_says_so(blobs):
    z, labels = blobs
    (panel,) = latent_scatter(jnp.asarray(z), labels, max_points=30).axes
    assert len(panel.collections[0].get_offsets()) == 30
    assert panel.get_title(loc="right") == "30 of 200 samples"


def test_latent_scatter_marks_centroids_in_its_plane(blobs):
    z, labels = blobs
    centroids = np.stack([z[labels == label].mean(axis=0) for label in range(4)])
    axes = principal_axes(z[:100])
    (panel,) = drawn(latent_scatter(z, labels, centroids=centroids, axes=axes)).axes
    np.testing.assert_allclose(
        panel.collections[1].get_offsets(),
        (centroids.astype(np.float64) - axes.mean) @ axes.components.T,
    )
    assert texts(panel) == ["0", "1", "2", "3"]


@pytest.mark.parametrize("n_labels", [1, 10, 11, 20])
def test_latent_scatter_gives_up_to_20_labels_colors_of_their_own(n_labels):
    z = np.random.default_rng(0).normal(size=(40, 2))
    figure = latent_scatter(z, np.arange(40) % n_labels)
    assert len(points_by_color(figure.axes[0])) == n_labels
    assert len(legend_names(figure)) == n_labels


def test_latent_scatter_of_more_than_20_labels_has_no_legend():
    z = np.random.default_rng(0).normal(size=(84, 2))
    figure = drawn(latent_scatter(z, np.arange(84) % 21))
    assert len(points_by_color(figure.axes[0])) == 21
    assert figure.legends == []


def test_latent_scatter_takes_one_sample_and_names():
    figure = drawn(latent_scatter(np.ones((1, 1)), ["cat"]))
    assert legend_names(figure) == ["cat"]


def test_latent_before_after_has_two_panels_and_one_color_for_a_label(blobs):
    z, labels = blobs
    figure = drawn(
        latent_before_after(
            z, labels % 2, 2 * z, labels, titles=("A", "B"), centroids_after=z[:3]
        )
    )
    before, after = figure.axes
    groups = points_by_color(before), points_by_color(after)
    assert [panel.get_title(loc="left") for panel in (before, after)] == ["A", "B"]
    assert [len(panel.collections) for panel in (before, after)] == [1, 2]
    assert legend_names(figure) == ["0", "1", "2", "3"]
    assert set(groups[0]) < set(groups[1])
    assert {len(points) for points in groups[0].values()} == {100}


def test_latent_before_after_takes_3_and_3_0_as_one_label_and_names_last(blobs):
    z, labels = blobs
    names = np.array(["a", "b", "c", "d"])[labels]
    same = latent_before_after(z, labels, z, labels.astype(np.float64))
    mixed = latent_before_after(z, names, z, labels)
    assert legend_names(same) == ["0", "1", "2", "3"]
    assert legend_names(mixed) == ["0", "1", "2", "3", "a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"labels": np.zeros(3, int)},
            "labels must have shape (4,), one for each row of z, got shape (3,).",
        ),
        ({"labels": [0.0, 1.0, np.nan, 1.0]}, "labels must not hold NaN."),
        ({"max_points": 0}, "max_points must be at least 1, got 0."),
        (
            {"centroids": np.zeros((2, 3))},
            "z, centroids and axes must have the same width, got shape (2, 3) and axes "
            "of width 2.",
        ),
        (
            {"axes": principal_axes(np.eye(5))},
            "z, centroids and axes must have the same width, got shape (4, 2) and axes "
            "of width 5.",
        ),
    ],
)
def test_latent_scatter_rejects_what_does_not_fit(options, message):
    arguments = {"z": np.eye(4, 2), "labels": [0, 0, 1, 1]} | options
    with pytest.raises(ValueError) as caught:
        latent_scatter(**arguments)
    assert str(caught.value) == message


# Classes and clusters.


def cells(panel):
    """Count in each cell with a number, by (row, column)."""
    return {
        (int(text.get_position()[1]), int(text.get_position()[0])): int(text.get_text())
        for text in panel.texts
    }


def frames(panel):
    """(row, column) of each framed cell."""
    return sorted((patch.get_y() + 0.5, patch.get_x() + 0.5) for patch in panel.patches)


def test_confusion_matrix_orders_clusters_by_their_classes():
    figure = drawn(confusion_matrix(["a", "a", "b", "b", "c", "c"], [7, 7, 2, 2, 5, 2]))
    panel, _ = figure.axes
    assert tick_labels(panel.yaxis) == ["a", "b", "c"]
    assert tick_labels(panel.xaxis) == ["7", "2", "5"]
    assert cells(panel) == {(0, 0): 2, (1, 1): 2, (2, 1): 1, (2, 2): 1}
    assert frames(panel) == [(0, 0), (1, 1), (2, 2)]
    np.testing.assert_array_equal(
        panel.images[0].get_array(), [[1, 0, 0], [0, 1, 0], [0, 0.5, 0.5]]
    )
    assert figure.get_suptitle() == "Classes and clusters, ACC 0.833"


def test_confusion_matrix_puts_clusters_left_over_last_without_a_frame():
    labels_true = [0, 0, 0, 1, 1, 1]
    panel = drawn(confusion_matrix(labels_true, [4, 5, 5, 6, 6, 6])).axes[0]
    assert tick_labels(panel.xaxis) == ["5", "6", "4"]
    assert frames(panel) == [(0, 0), (1, 1)]
    assert cells(panel) == {(0, 0): 2, (1, 1): 3, (0, 2): 1}


@pytest.mark.parametrize("n_clusters", [1, 2])
def test_confusion_matrix_of_two_classes_keeps_its_title_inside(n_clusters):
    labels = np.arange(6) % 2
    figure = confusion_matrix(labels, labels % n_clusters)
    figure.draw_without_rendering()
    title = figure._suptitle.get_window_extent()
    assert figure.bbox.x0 <= title.x0 and title.x1 <= figure.bbox.x1
    assert len(frames(figure.axes[0])) == n_clusters


def test_confusion_matrix_leaves_classes_left_over_without_a_frame():
    panel = drawn(confusion_matrix([0, 1, 1, 2, 2, 2], [0, 1, 1, 0, 0, 0])).axes[0]
    assert tick_labels(panel.yaxis) == ["0", "1", "2"]
    assert tick_labels(panel.xaxis) == ["1", "0"]
    assert frames(panel) == [(1, 0), (2, 1)]


def test_confusion_matrix_of_more_than_25_clusters_has_no_numbers():
    panel = drawn(confusion_matrix(np.arange(52) % 26, np.arange(52) % 26)).axes[0]
    assert (texts(panel), len(panel.patches)) == ([], 26)


@pytest.mark.parametrize(
    ("labels", "class_names"),
    [
        ([0, 1], ["cat", "dog"]),
        ([0.0, 1.0], ("cat", "dog")),
        ([-1, 9], {-1: "cat", 9: "dog"}),
    ],
)
def test_confusion_matrix_names_classes(labels, class_names):
    panel = confusion_matrix(labels, [0, 1], class_names).axes[0]
    assert tick_labels(panel.yaxis) == ["cat", "dog"]


@pytest.mark.parametrize("label", [-1, 2, "cat", 0.5])
def test_confusion_matrix_rejects_a_class_without_a_name(label):
    with pytest.raises(ValueError) as caught:
        confusion_matrix([label], [0], ["cat", "dog"])
    message = (
        f"class_names must name each class, got no name for {label!r} among 2 names."
    )
    assert str(caught.value) == message


def test_confusion_matrix_rejects_lengths_that_differ():
    with pytest.raises(ValueError, match="must have the same length, got 2 and 1"):
        confusion_matrix([0, 1], [0])


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
            "originals, inputs and reconstructed must be equally many, got 3 as original "
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


# What is loaded.


def test_new_figure_has_the_size_asked_for():
    assert new_figure(3, 2).get_size_inches().tolist() == [3, 2]


def test_plots_load_matplotlib_when_called_and_pyplot_never(tmp_path):
    program = """
import io, sys
import numpy as np
from dec_jax import animation, curves, image_plots, plots
print("matplotlib" in sys.modules)
z, labels = np.eye(4), np.arange(4)
for figure in (
    plots.latent_before_after(z, labels, z, labels),
    curves.training_curves([1.0], [1.0], [0.0], tolerance=0.1),
    plots.confusion_matrix(labels, labels),
    image_plots.decoded_centroids(z.reshape(4, 2, 2)),
    image_plots.cluster_members(z, z, labels, (2, 2)),
    image_plots.reconstructions(z, None, z, (2, 2)),
    image_plots.samples_grid(z, (2, 2)),
    curves.loss_curves([1.0]),
):
    figure.savefig(io.BytesIO(), dpi=30)
animation.save_animation(sys.argv[1], animation.latent_frames([z, z], labels), dpi=30)
print("matplotlib" in sys.modules, "matplotlib.pyplot" in sys.modules)
"""
    answer = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "moving.gif")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert answer.stdout.split() == ["False", "True", "False"], answer.stderr
