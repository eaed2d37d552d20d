import io
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image, ImageChops

from dec_jax.plots.animation import latent_frames, save_animation
from dec_jax.plots.embedding import new_figure, principal_axes

N_FRAMES = 4


def drawn(figure):
    """The figure, once all of it was drawn: what matplotlib warns of is an error."""
    figure.savefig(io.BytesIO(), format="png", dpi=30)
    return figure


def points(figure):
    return np.asarray(figure.axes[0].collections[0].get_offsets())


def colors(figure):
    faces = figure.axes[0].collections[0].get_facecolors()
    return [to_hex(color) for color in faces]


@pytest.fixture(scope="module")
def z_frames(blobs):
    """Blobs that part: the same samples, from one heap to four."""
    z, labels = blobs
    middle = np.array([z[labels == label].mean(axis=0) for label in range(4)])[labels]
    return [z - (1 - share) * middle for share in np.linspace(0, 1, N_FRAMES)]


@pytest.fixture(scope="module")
def frames(z_frames, blobs):
    return [drawn(figure) for figure in latent_frames(z_frames, blobs[1])]


# The frames.


def test_latent_frames_show_each_embedding_in_the_plane_of_the_last(
    frames, z_frames, blobs
):
    axes = principal_axes(z_frames[-1])
    order = np.random.default_rng(0).permutation(200)
    for figure, z in zip(frames, z_frames, strict=True):
        plane = (z[order].astype(np.float64) - axes.mean) @ axes.components.T
        np.testing.assert_allclose(points(figure), plane, atol=1e-9)
        assert figure.axes[0].get_xlabel() == "first component of the last frame"
        assert figure.axes[0].get_ylabel() == "second component of the last frame"


def test_latent_frames_of_the_first_plane(z_frames, blobs):
    axes = principal_axes(z_frames[0])
    *_, last = latent_frames(z_frames, blobs[1], axes_from="first")
    order = np.random.default_rng(0).permutation(200)
    plane = (z_frames[-1][order].astype(np.float64) - axes.mean) @ axes.components.T
    np.testing.assert_allclose(points(last), plane, atol=1e-9)
    assert last.axes[0].get_xlabel() == "first component of the first frame"


def test_latent_frames_change_nothing_but_points_and_title(frames):
    panels = [drawn(figure).axes[0] for figure in frames]
    still = [
        (
            panel.get_xlim(),
            panel.get_ylim(),
            panel.get_position().bounds,
            panel.get_xlabel(),
            colors(figure),
            [text.get_text() for text in figure.legends[0].get_texts()],
        )
        for figure, panel in zip(frames, panels, strict=True)
    ]
    assert all(other == still[0] for other in still[1:])
    titles = [panel.get_title(loc="left") for panel in panels]
    assert titles == [f"Frame {i} of 4" for i in range(1, 5)]
    assert still[0][-1] == ["0", "1", "2", "3"]


def test_latent_frames_color_each_sample_by_its_label(frames, blobs):
    labels = blobs[1][np.random.default_rng(0).permutation(200)]
    dots = [to_hex(dot.get_color()) for dot in frames[0].legends[0].legend_handles]
    assert colors(frames[-1]) == [dots[label] for label in labels]


def test_latent_frames_draw_the_same_few_points_of_many(z_frames, blobs):
    some = latent_frames(z_frames, blobs[1], max_points=20)
    every = latent_frames(z_frames, blobs[1])
    for few, all_points in zip(some, every, strict=True):
        np.testing.assert_array_equal(points(few), points(all_points)[:20])
        assert few.axes[0].get_title(loc="right") == "20 of 200 samples"


def test_latent_frames_draw_at_most_5000_points():
    z = np.random.default_rng(0).normal(size=(5001, 2))
    (figure,) = latent_frames([z], np.zeros(5001, int))
    assert len(points(figure)) == 5000


def test_latent_frames_keep_99_percent_of_each_frame_in_sight_despite_far_points():
    rng = np.random.default_rng(0)
    near, wide = rng.normal(size=(2, 1000, 3))
    wide = 5 * wide
    near[7], wide[7] = 1e4, -1e4
    figures = latent_frames([wide, near, near], np.arange(1000) % 2)
    low, high = np.transpose(
        [figures[0].axes[0].get_xlim(), figures[0].axes[0].get_ylim()]
    )
    for figure in figures:
        inside = (low <= points(figure)) & (points(figure) <= high)
        assert (inside.mean(axis=0) >= 0.99).all()
    assert (high - low < 60).all()


def test_latent_frames_have_one_scale_on_both_axes():
    z = np.random.default_rng(0).normal(size=(50, 2)) * [100, 1]
    (figure,) = latent_frames([z], np.zeros(50, int))
    figure.draw_without_rendering()
    panel = figure.axes[0]
    box = panel.get_window_extent()
    assert np.ptp(panel.get_xlim()) / box.width == pytest.approx(
        np.ptp(panel.get_ylim()) / box.height
    )


def test_latent_frames_take_one_point_and_arrays_of_jax_and_names():
    figures = latent_frames([jnp.ones((1, 1)), jnp.zeros((1, 1))], ["cat"])
    low, high = drawn(figures[0]).axes[0].get_xlim()
    assert low < 0 < 1 < high


def test_latent_frames_keep_a_tall_title_inside_and_the_panel_still(z_frames, blobs):
    titles = ["Start", "Interval 1\nof clustering"]
    figures = latent_frames(z_frames[:2], blobs[1], titles=titles)
    for figure in figures:
        figure.draw_without_rendering()
    panels = [figure.axes[0] for figure in figures]
    assert panels[0].get_position().bounds == panels[1].get_position().bounds
    assert panels[1]._left_title.get_window_extent().y1 <= figures[1].bbox.y1
    assert [panel.get_title(loc="left") for panel in panels] == titles


@pytest.mark.parametrize("scale", [1, 200])
def test_latent_frames_keep_their_labels_inside(scale):
    z = scale * np.random.default_rng(0).normal(size=(50, 3))
    (figure,) = latent_frames([z], np.array(["Ankle boot", "Bag"])[np.arange(50) % 2])
    figure.draw_without_rendering()
    for axis in (figure.axes[0].xaxis, figure.axes[0].yaxis):
        extent = axis.label.get_window_extent()
        assert min(extent.x0, extent.y0) > 2


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"z_frames": []}, ValueError, "z_frames is empty."),
        (
            {"z_frames": [np.eye(4, 3), np.eye(4, 2)]},
            ValueError,
            "z_frames must all have the same shape, got (4, 3) and, at index 1, (4, 2).",
        ),
        (
            {"z_frames": [np.eye(4), np.full((4, 4), np.inf)]},
            ValueError,
            "z_frames[1] must be finite: column 0 and 3 more columns holds NaN or "
            "infinity (4 of 4 rows in column 0).",
        ),
        (
            {"z_frames": [[[1.0, 2.0]]]},
            TypeError,
            "z_frames[0] must be an array, got list; use numpy.asarray(z_frames[0]).",
        ),
        (
            {"labels": [0, 1]},
            ValueError,
            "labels must have shape (4,), one for each row of z, got shape (2,).",
        ),
        (
            {"titles": ["one"]},
            ValueError,
            "titles must be 2, one for each frame, got 1.",
        ),
        (
            {"axes_from": "lst"},
            ValueError,
            "Unknown axes_from 'lst'; did you mean 'last'? Known: first, last.",
        ),
        ({"max_points": 0}, ValueError, "max_points must be at least 1, got 0."),
    ],
)
def test_latent_frames_rejects_what_does_not_fit(options, error, message):
    arguments = {"z_frames": [np.eye(4), np.eye(4)], "labels": [0, 0, 1, 1]}
    with pytest.raises(error) as caught:
        latent_frames(**arguments | options)
    assert str(caught.value) == message


# The files.


def pixels(figure, dpi):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return Image.open(buffer).convert("RGB")


def test_save_animation_writes_each_frame_into_a_gif_that_starts_again(
    frames, tmp_path
):
    path = tmp_path / "moving.GIF"
    save_animation(path, frames, seconds_per_frame=0.25, dpi=40)
    with Image.open(path) as animation:
        assert animation.n_frames == N_FRAMES
        assert animation.size == (256, 216)
        assert animation.info["loop"] == 0
        for index, figure in enumerate(frames):
            animation.seek(index)
            assert animation.info["duration"] == 250
            difference = ImageChops.difference(
                animation.convert("RGB"), pixels(figure, 40)
            )
            # 256 colors for all frames: close, and far from any other frame.
            assert np.asarray(difference, int).max() < 40


def test_save_animation_keeps_white_white_and_what_stands_still(frames, tmp_path):
    path = tmp_path / "moving.gif"
    save_animation(str(path), frames, dpi=40)
    with Image.open(path) as animation:
        images = []
        for index in range(N_FRAMES):
            animation.seek(index)
            images.append(np.asarray(animation.convert("RGB")))
    for image in images:
        np.testing.assert_array_equal(image[0, 0], [255, 255, 255])
        # The legend, and the axis with its ticks and label.
        np.testing.assert_array_equal(image[:, 215:], images[0][:, 215:])
        np.testing.assert_array_equal(image[195:], images[0][195:])


def test_save_animation_shows_a_frame_given_twice_for_twice_as_long(frames, tmp_path):
    path = tmp_path / "moving.gif"
    save_animation(path, [frames[0], frames[1], frames[1]], dpi=30)
    with Image.open(path) as animation:
        durations = []
        for index in range(animation.n_frames):
            animation.seek(index)
            durations.append(animation.info["duration"])
    assert durations == [500, 1000]


def test_save_animation_of_one_frame_replaces_the_file(frames, tmp_path):
    path = tmp_path / "still.gif"
    path.write_bytes(b"old")
    save_animation(path, frames[:1], dpi=30)
    with Image.open(path) as animation:
        assert animation.n_frames == 1


@pytest.fixture
def ffmpeg(tmp_path, monkeypatch):
    """A program of that name that writes down its arguments and what it is sent."""
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        'for last; do :; done\necho "$@" > "$last.arguments"\n/bin/cat > "$last"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))


def test_save_animation_sends_each_frame_to_ffmpeg(frames, tmp_path, ffmpeg):
    path = tmp_path / "moving.mp4"
    save_animation(path, frames, seconds_per_frame=0.4, dpi=40)
    sent = np.frombuffer(path.read_bytes(), np.uint8).reshape(N_FRAMES, 216, 256, 4)
    arguments = (tmp_path / "moving.mp4.arguments").read_text().split()
    assert arguments[arguments.index("-framerate") + 1] == "2.5"
    assert arguments[arguments.index("-pix_fmt") + 1] == "rgba"
    for image, figure in zip(sent, frames, strict=True):
        np.testing.assert_array_equal(image[..., :3], pixels(figure, 40))


def test_save_animation_rejects_an_mp4_where_there_is_no_ffmpeg(
    frames, tmp_path, monkeypatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "moving.mp4"
    with pytest.raises(ValueError) as caught:
        save_animation(path, frames)
    assert str(caught.value) == (
        f"path must end in .gif if the program ffmpeg is not on PATH, got {str(path)!r}; "
        "or install ffmpeg."
    )
    assert not path.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "moving.avi"}, "path must end in .gif or .mp4, got 'moving.avi'."),
        ({"path": "moving"}, "path must end in .gif or .mp4, got 'moving'."),
        ({"frames": []}, "frames is empty."),
        (
            {"frames": [new_figure(3, 2), new_figure(3, 2), new_figure(3, 2.5)]},
            "frames must all have the same size, got (3.0, 2.0) and, at index 2, (3.0, "
            "2.5) inches.",
        ),
        (
            {"seconds_per_frame": 0.01},
            "seconds_per_frame must be finite and at least 0.02, got 0.01.",
        ),
        (
            {"seconds_per_frame": float("nan")},
            "seconds_per_frame must be finite and at least 0.02, got nan.",
        ),
        ({"dpi": 0}, "dpi must be finite and above 0, got 0."),
    ],
)
def test_save_animation_rejects_what_does_not_fit(
    options, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError) as caught:
        save_animation(**{"path": "moving.gif", "frames": [new_figure(3, 2)]} | options)
    assert str(caught.value) == message
    assert not list(tmp_path.iterdir())


def test_save_animation_says_that_pillow_is_not_installed(
    frames, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    message = r'writing a GIF needs Pillow: pip install "dec_jax\[plots\]"'
    with pytest.raises(ImportError, match=message):
        save_animation(tmp_path / "a.gif", frames)
