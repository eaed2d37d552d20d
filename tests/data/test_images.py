import os
import re
import subprocess
import sys
import threading

import numpy as np
import pytest
from image_files import COLORS, RAMP, one_image, save, save_broken
from PIL import Image

from dec_jax.data import images as image_folder
from dec_jax.data.images import load_image_folder, read_image

# Which files, and in which order.


def test_load_image_folder_gives_bytes_names_and_no_labels(tmp_path):
    save(tmp_path / "photos" / "b.png", RAMP + 1)
    save(tmp_path / "photos" / "a.png", RAMP)
    dataset = load_image_folder(tmp_path / "photos")
    assert dataset.x.dtype == np.uint8
    np.testing.assert_array_equal(dataset.x, [RAMP.ravel(), RAMP.ravel() + 1])
    assert dataset.names == ("a.png", "b.png")
    assert dataset.labels is None
    assert dataset.image_shape == (8, 8, 1)
    assert dataset.input_scale == 1 / 255
    assert dataset.name == "photos"
    assert dataset.source == f"image folder {tmp_path / 'photos'}"


def test_load_image_folder_reads_subfolders_in_natural_order(tmp_path):
    names = ["10.png", "2.png", "a/img10.png", "a/img9.png", "B/1.png", "a/1/x.png"]
    for name in names:
        save(tmp_path / name)
    found = load_image_folder(str(tmp_path)).names
    expected = ("2.png", "10.png", "a/1/x.png", "a/img9.png", "a/img10.png", "B/1.png")
    assert found == expected


ENDINGS = ("png", "jpg", "jpeg", "bmp", "gif", "tif", "tiff", "webp", "pgm", "ppm")


@pytest.mark.parametrize("ending", [*ENDINGS, "PNG", "JPG"])
def test_load_image_folder_reads_each_format(tmp_path, ending):
    gray = np.full((8, 8), 77, np.uint8)
    save(tmp_path / f"image.{ending}", gray)
    np.testing.assert_allclose(one_image(tmp_path, mode="gray"), gray, atol=1)


def test_load_image_folder_passes_over_hidden_and_other_files(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / ".b.png")
    save(tmp_path / ".thumbnails" / "c.png")
    (tmp_path / "notes.txt").write_text("no image")
    assert load_image_folder(tmp_path).names == ("a.png",)


def test_load_image_folder_does_not_follow_links_to_folders(tmp_path):
    save(tmp_path / "a.png")
    (tmp_path / "again").symlink_to(tmp_path)
    assert load_image_folder(tmp_path).names == ("a.png",)


def test_load_image_folder_reads_a_hidden_folder_that_was_named(tmp_path):
    save(tmp_path / ".cache" / "a.png")
    assert load_image_folder(tmp_path / ".cache").names == ("a.png",)


def test_load_image_folder_expands_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save(tmp_path / "photos" / "a.png")
    assert load_image_folder("~/photos").names == ("a.png",)


def test_load_image_folder_keeps_rows_and_names_together(tmp_path):
    # Many files on several threads: each row must be that of its own file.
    for value in range(100):
        save(tmp_path / f"{value}.png", np.full((4, 4), value, np.uint8))
    dataset = load_image_folder(tmp_path)
    for name, row in zip(dataset.names, dataset.x, strict=True):
        assert (row == int(name.removesuffix(".png"))).all()


def test_load_image_folder_reports_progress_file_by_file(tmp_path):
    for index in range(3):
        save(tmp_path / f"{index}.png")
    calls = []
    load_image_folder(
        tmp_path, progress=lambda done, total: calls.append((done, total))
    )
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_load_image_folder_rejects_a_missing_folder(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="image folder .*nowhere does not exist"
    ):
        load_image_folder(tmp_path / "nowhere")


def test_load_image_folder_rejects_a_folder_without_images(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(
        ValueError, match=r"holds no images: .*png, jpg.*other files: 1"
    ):
        load_image_folder(tmp_path)


def test_load_image_folder_rejects_a_folder_it_may_not_read(tmp_path, monkeypatch):
    save(tmp_path / "a.png")
    save(tmp_path / "locked" / "b.png")
    scandir = os.scandir

    def refuse(path):
        # Bits of a folder would not do: root may read them all.
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError, match="locked"):
        load_image_folder(tmp_path)


def test_an_interrupt_does_not_wait_for_the_files_that_are_left(tmp_path, monkeypatch):
    n = 400
    for index in range(n):
        save(tmp_path / f"{index}.png")
    read, stopped = [], threading.Event()

    def counting(path, **options):
        if path.name != "0.png":
            stopped.wait(10)
        read.append(path)
        return read_image(path, **options)

    def interrupt(done, total):
        stopped.set()
        raise KeyboardInterrupt

    monkeypatch.setattr(image_folder, "read_image", counting)
    with pytest.raises(KeyboardInterrupt):
        load_image_folder(tmp_path, progress=interrupt)
    assert len(read) < n


def test_load_image_folder_says_that_pillow_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(
        ImportError, match=r'images needs Pillow: pip install "dec_jax\[images\]"'
    ):
        load_image_folder(tmp_path)


# Sizes.


def test_size_brings_images_of_all_sizes_to_one(tmp_path):
    save(tmp_path / "a.png", np.full((30, 20), 10, np.uint8))
    save(tmp_path / "b.png", np.full((3, 7), 20, np.uint8))
    dataset = load_image_folder(tmp_path, size=(6, 4))
    assert dataset.image_shape == (6, 4, 1)
    np.testing.assert_array_equal(dataset.x, [[10] * 24, [20] * 24])


@pytest.mark.parametrize("size", [4, [4, 4], (4, 4)])
def test_size_may_be_one_number_for_both_sides(tmp_path, size):
    save(tmp_path / "a.png", np.zeros((9, 8), np.uint8))
    assert load_image_folder(tmp_path, size=size).image_shape == (4, 4, 1)


def test_size_cuts_the_center_and_stretches_nothing(tmp_path):
    # Left and right of a square of 0 lies 255, of which only the rim may see a trace.
    wide = np.full((20, 60), 255, np.uint8)
    wide[:, 20:40] = 0
    save(tmp_path / "wide" / "a.png", wide)
    save(tmp_path / "tall" / "a.png", np.ascontiguousarray(wide.T))
    for folder in ("wide", "tall"):
        image = one_image(tmp_path / folder, size=10)
        assert image.shape == (10, 10)
        assert image.max() < 20
        assert image[1:-1, 1:-1].max() < 3


def test_size_leaves_an_image_of_that_size_as_it_is(tmp_path):
    save(tmp_path / "a.png", COLORS)
    np.testing.assert_array_equal(one_image(tmp_path, size=8), COLORS)


def test_size_is_antialiased(tmp_path):
    # A fine grating becomes its mean, not every fourth of its columns.
    grating = np.tile(np.array([0, 255], np.uint8), (32, 16))
    save(tmp_path / "a.png", grating)
    np.testing.assert_allclose(one_image(tmp_path, size=8)[:, 1:-1], 127.5, atol=8)


def test_size_counts_after_turning_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.zeros((20, 40), np.uint8)
    stored[:, 20:] = 255
    save(tmp_path / "a.png", stored, exif=exif)
    image = one_image(tmp_path, size=(8, 4))
    np.testing.assert_allclose(image[:3], 0, atol=16)
    np.testing.assert_allclose(image[5:], 255, atol=16)


def test_size_of_a_large_jpeg_is_that_of_its_full_decoding(tmp_path):
    # JPEG is unpacked at a part of its size, which must not be seen.
    y, x = np.mgrid[:640, :800]
    waves = (127 + 60 * np.sin(x / 9) + 60 * np.cos(y / 7)).astype(np.uint8)
    save(tmp_path / "jpeg" / "a.jpg", waves, quality=95)
    save(tmp_path / "png" / "a.png", waves)
    small = one_image(tmp_path / "jpeg", size=128).astype(int)
    np.testing.assert_allclose(small, one_image(tmp_path / "png", size=128), atol=3)


def test_load_image_folder_rejects_images_of_different_sizes(tmp_path):
    save(tmp_path / "a.png", RAMP)
    save(tmp_path / "b.png", RAMP)
    save(tmp_path / "sub" / "c.png", RAMP[:5])
    message = (
        r"a.png with height x width = 8 x 8 and sub/c.png with 5 x 8; .*size=32 "
        r"\(--image-size 32\)"
    )
    with pytest.raises(ValueError, match=message):
        load_image_folder(tmp_path)


@pytest.mark.parametrize(
    ("size", "error", "message"),
    [
        (0, ValueError, "size must be at least 1, got 0"),
        ((8, -1), ValueError, "size must be at least 1, got -1"),
        ((8, 8, 3), ValueError, r"size must be .height, width.*got \(8, 8, 3\)"),
        ("32", TypeError, "size must be an integer, got '32'"),
        (2.5, TypeError, "size must be an integer, got 2.5"),
    ],
)
def test_load_image_folder_rejects_a_size_that_is_none(tmp_path, size, error, message):
    save(tmp_path / "a.png")
    with pytest.raises(error, match=message):
        load_image_folder(tmp_path, size=size)


# Files that cannot be read.


def broken_folder(tmp_path, n_broken=1):
    save(tmp_path / "a.png", np.zeros((64, 64, 3), np.uint8))
    for index in range(n_broken):
        save_broken(tmp_path / f"broken{index}.png")
    return tmp_path


def test_load_image_folder_rejects_a_truncated_file(tmp_path):
    message = (
        r"1 of 2 images cannot be read: broken0.png \(OSError: .*truncated.*--skip"
    )
    with pytest.raises(ValueError, match=message):
        load_image_folder(broken_folder(tmp_path))


def test_load_image_folder_rejects_a_text_called_png(tmp_path):
    save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("not a picture")
    (tmp_path / "c.png").write_bytes(b"")
    message = (
        r"2 of 3 .*b.png \(not an image.*c.png \(not an image.*skip_unreadable=True"
    )
    with pytest.raises(ValueError, match=message):
        load_image_folder(tmp_path)


def test_load_image_folder_names_five_unreadable_files_and_counts_all(tmp_path):
    with pytest.raises(ValueError) as error:
        load_image_folder(broken_folder(tmp_path, 7))
    message = str(error.value)
    assert "7 of 8 images cannot be read" in message
    assert re.findall(r"broken\d.png", message) == [f"broken{i}.png" for i in range(5)]
    assert "and 2 more" in message
    assert "\n" not in message


def test_skip_unreadable_leaves_them_out_and_says_so(tmp_path):
    dataset = load_image_folder(broken_folder(tmp_path, 2), skip_unreadable=True)
    assert dataset.names == ("a.png",)
    assert dataset.x.shape == (1, 64 * 64 * 3)
    assert dataset.source.endswith("; left out, being unreadable: 2")


def test_skip_unreadable_rejects_a_folder_with_nothing_left(tmp_path):
    save_broken(tmp_path / "a.png")
    with pytest.raises(ValueError, match="1 of 1 images cannot be read.*none is left"):
        load_image_folder(tmp_path, skip_unreadable=True)


def test_importing_the_library_loads_neither_pillow_nor_pandas():
    code = "import sys, dec_jax.data.load; print({'PIL', 'pandas'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
