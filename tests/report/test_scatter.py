import numpy as np
import pytest

from dec_jax.report.scatter import cluster_colors, rows_to_draw, view_of_data


def test_all_samples_are_drawn_where_there_is_room():
    np.testing.assert_array_equal(rows_to_draw(np.zeros(7, int), 7), np.arange(7))


def test_small_clusters_are_whole_and_large_ones_thinned_alike():
    labels = np.repeat([0, 1, 2, 4], [6000, 3000, 100, 1])
    rows = rows_to_draw(labels, 1000)
    assert len(rows) <= 1000 and (np.diff(rows) > 0).all()
    counts = np.bincount(labels[rows])
    assert counts[[2, 4]].tolist() == [100, 1]
    # 1000 / 8 of each are certain; the rest is shared in proportion to what is left.
    left = 1000 - 2 * 125 - 101
    assert counts[0] == 125 + left * 5875 // 8750
    assert counts[1] == 125 + left * 2875 // 8750


def test_more_clusters_than_points_still_draw_some():
    np.testing.assert_array_equal(rows_to_draw(np.arange(100), 10), np.arange(100))


@pytest.mark.parametrize("k", [1, 10, 11, 20, 21, 300])
def test_each_cluster_has_a_color(k):
    colors = cluster_colors(k)
    assert len(colors) == k
    assert all(color.startswith("#") for color in colors)
    assert len(set(colors)) == min(k, 231) or k == 300


def test_axes_are_those_along_which_the_samples_vary_most():
    places = np.random.default_rng(0).normal(size=(50, 2)) * [9, 2]
    x = np.concatenate([places, np.zeros((50, 3))], axis=1)
    view = view_of_data("data", x)
    np.testing.assert_allclose(
        np.ptp(view.places[:, 0]), np.ptp(places[:, 0]), rtol=0.1
    )
    assert view.axes[0].startswith("first axis (9")


def test_wide_samples_are_placed_by_their_direction():
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(2, 100))
    lengths = rng.uniform(1, 100, 40)
    x = (lengths[:, None] * directions[np.arange(40) % 2]).astype(np.float32)
    view = view_of_data("data", x)
    apart = np.linalg.norm(view.places[0] - view.places[1])
    assert np.linalg.norm(view.places[0] - view.places[2]) < 1e-3 * apart
