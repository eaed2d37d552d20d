import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from figures import drawn, texts, tick_labels
from matplotlib.colors import to_hex
from sklearn.decomposition import PCA

from dec_jax.plots.embedding import (
    confusion_matrix,
    latent_before_after,
    latent_scatter,
    new_figure,
    principal_axes,
)


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


# What is loaded.


def test_new_figure_has_the_size_asked_for():
    assert new_figure(3, 2).get_size_inches().tolist() == [3, 2]


def test_plots_load_matplotlib_when_called_and_pyplot_never(tmp_path):
    program = """
import io, sys
import numpy as np
from dec_jax import plots
print("matplotlib" in sys.modules)
z, labels = np.eye(4), np.arange(4)
for figure in (
    plots.latent_before_after(z, labels, z, labels),
    plots.training_curves([1.0], [1.0], [0.0], tolerance=0.1),
    plots.confusion_matrix(labels, labels),
    plots.decoded_centroids(z.reshape(4, 2, 2)),
    plots.cluster_members(z, z, labels, (2, 2)),
    plots.reconstructions(z, None, z, (2, 2)),
    plots.samples_grid(z, (2, 2)),
    plots.loss_curves([1.0]),
):
    figure.savefig(io.BytesIO(), dpi=30)
plots.save_animation(sys.argv[1], plots.latent_frames([z, z], labels), dpi=30)
print("matplotlib" in sys.modules, "matplotlib.pyplot" in sys.modules)
"""
    answer = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "moving.gif")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert answer.stdout.split() == ["False", "True", "False"], answer.stderr


def test_figures_say_that_matplotlib_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    message = r'drawing figures needs matplotlib: pip install "dec_jax\[plots\]"'
    with pytest.raises(ImportError, match=message):
        latent_scatter(np.zeros((2, 2)), [0, 1])
