import os
import re
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from dec_jax.data import images as image_folder
from dec_jax.data.images import load_image_folder, read_image

RAMP = np.arange(8 * 8, dtype=np.uint8).reshape(8, 8)
COLORS = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)


def save(path, pixels=RAMP, **options):
    """Writes an image file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return path


def save_broken(path):
    """A PNG file that ends in the middle of its pixels."""
    save(path, np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    path.write_bytes(path.read_bytes()[:6000])


def one_image(folder, **options):
    """The only image of a folder, [h, w] or [h, w, 3]."""
    dataset = load_image_folder(folder, **options)
    assert len(dataset.x) == 1
    image = dataset.x.reshape(dataset.image_shape)
    return image[..., 0] if image.shape[-1] == 1 else image


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
    with pytest.raises(ImportError, match=r"run pip install 'dec_jax\[data\]'"):
        load_image_folder(tmp_path)


# Modes.


def test_mode_is_gray_where_all_files_are_gray(tmp_path):
    save(tmp_path / "1.png", Image.fromarray(RAMP).convert("1"))
    save(tmp_path / "2.png", Image.fromarray(RAMP).convert("LA"))
    save(tmp_path / "3.gif", RAMP)
    palette = Image.fromarray(RAMP // 32).convert("P")
    palette.putpalette([value for gray in (0, 200) for value in (gray,) * 3])
    save(tmp_path / "4.png", palette)
    dataset = load_image_folder(tmp_path)
    assert dataset.image_shape == (8, 8, 1)
    np.testing.assert_array_equal(dataset.x[1], RAMP.ravel())
    np.testing.assert_array_equal(dataset.x[3], 200 * (RAMP.ravel() // 32))


def test_mode_is_color_where_one_file_is(tmp_path):
    save(tmp_path / "a.png", RAMP)
    save(tmp_path / "b.png", COLORS)
    dataset = load_image_folder(tmp_path)
    assert dataset.image_shape == (8, 8, 3)
    images = dataset.x.reshape(2, 8, 8, 3)
    np.testing.assert_array_equal(images[0], np.stack([RAMP] * 3, axis=-1))
    np.testing.assert_array_equal(images[1], COLORS)


def test_mode_gray_takes_the_luma_of_colors(tmp_path):
    save(tmp_path / "a.png", COLORS)
    luma = COLORS @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(one_image(tmp_path, mode="gray"), luma, atol=1)


def test_mode_color_makes_three_channels_of_gray(tmp_path):
    save(tmp_path / "a.png", RAMP)
    image = one_image(tmp_path, mode="color")
    np.testing.assert_array_equal(image, np.stack([RAMP] * 3, axis=-1))


def test_one_bit_is_black_and_white(tmp_path):
    bits = RAMP % 3 == 0
    save(tmp_path / "a.png", Image.fromarray(bits))
    np.testing.assert_array_equal(one_image(tmp_path), 255 * bits)


def test_a_palette_gives_its_colors(tmp_path):
    palette = Image.fromarray(RAMP % 2).convert("P")
    palette.putpalette([10, 20, 30, 200, 100, 0])
    save(tmp_path / "a.png", palette)
    expected = np.array([[10, 20, 30], [200, 100, 0]])[RAMP % 2]
    np.testing.assert_array_equal(one_image(tmp_path), expected)


def test_transparent_pixels_are_laid_on_white(tmp_path):
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 0] = 100
    rgba[0, :, 3] = [255, 51, 0]
    save(tmp_path / "a.png", rgba)
    # 51 / 255 = 1/5 of the color and 4/5 of white.
    expected = [[[100, 0, 0], [224, 204, 204], [255, 255, 255]]]
    np.testing.assert_array_equal(one_image(tmp_path), expected)


def test_the_transparent_entry_of_a_palette_is_white(tmp_path):
    palette = Image.fromarray(RAMP % 2).convert("P")
    palette.putpalette([10, 20, 30, 200, 100, 0])
    save(tmp_path / "a.png", palette, transparency=0)
    expected = np.array([[255, 255, 255], [200, 100, 0]])[RAMP % 2]
    np.testing.assert_array_equal(one_image(tmp_path), expected)


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_16_bit_gray_keeps_black_and_white(tmp_path, ending):
    # Pillow writes 16 bits of pgm from its 32-bit mode only.
    dtype = np.int32 if ending == "pgm" else np.uint16
    values = np.array([[0, 128, 129, 257, 32768, 65535]], dtype)
    save(tmp_path / f"a.{ending}", values)
    np.testing.assert_array_equal(one_image(tmp_path), [[0, 0, 1, 1, 128, 255]])


def test_cmyk_becomes_rgb(tmp_path):
    save(tmp_path / "a.tif", Image.new("CMYK", (2, 2), (255, 0, 0, 0)))
    np.testing.assert_array_equal(
        one_image(tmp_path), np.full((2, 2, 3), [0, 255, 255])
    )


def test_the_first_frame_of_an_animation_counts(tmp_path):
    frames = [Image.new("L", (4, 4), value) for value in (50, 100, 150)]
    save(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert (one_image(tmp_path) == 50).all()


# The eight ways to hold a camera, as `stored` must be turned to be upright.
UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.T,
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].T,
    8: lambda stored: np.rot90(stored),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_images_are_turned_upright(tmp_path, orientation):
    stored = RAMP[:5]
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(tmp_path / "a.png", stored, exif=exif)
    np.testing.assert_array_equal(one_image(tmp_path), UPRIGHT[orientation](stored))


def test_16_bit_and_palette_images_are_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "a.png", RAMP[:5].astype(np.uint16) * 257, exif=exif)
    save(tmp_path / "b.png", Image.fromarray(RAMP[:5]).convert("P"), exif=exif)
    dataset = load_image_folder(tmp_path)
    for row in dataset.x:
        np.testing.assert_array_equal(row, np.rot90(RAMP[:5], -1).ravel())


def test_broken_exif_is_no_reason_to_refuse_a_photo(tmp_path):
    save(tmp_path / "a.jpg", exif=b"Exif\0\0neither big nor little endian")
    assert one_image(tmp_path).shape == (8, 8)


def test_load_image_folder_rejects_an_unknown_mode(tmp_path):
    save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="Unknown mode 'gray'; did you mean 'gray'"):
        load_image_folder(tmp_path, mode="gray")


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


def test_load_image_folder_rejects_pixels_of_no_fixed_range(tmp_path):
    save(tmp_path / "a.tif", np.zeros((4, 4), np.float32))
    save(tmp_path / "b.tif", np.zeros((4, 4), np.int32))
    with pytest.raises(ValueError, match=r"2 of 2 .*a.tif \(.*32-bit pixels.*b.tif"):
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


def test_skip_unreadable_keeps_labels_with_their_images(tmp_path):
    save(tmp_path / "a.png", RAMP)
    (tmp_path / "b.png").write_text("not a picture")
    save(tmp_path / "c.png", RAMP)
    (tmp_path / "labels.csv").write_text("filename,label\na.png,5\nb.png,6\nc.png,7\n")
    dataset = load_image_folder(tmp_path, skip_unreadable=True)
    assert dataset.names == ("a.png", "c.png")
    np.testing.assert_array_equal(dataset.labels, [5, 7])


# Labels.


def write_csv(path, *rows, header="filename,label"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def photos(tmp_path):
    """Three images in images/train, without labels."""
    for name in ("1.png", "2.png", "10.png"):
        save(tmp_path / "images" / "train" / name)
    return tmp_path


ROWS = ("10.png,3", "1.png,4", "2.png,9")


@pytest.mark.parametrize(
    ("folder", "place"),
    [
        ("images/train", "images/train"),
        ("images/train", "images"),
        ("images/train", "."),
        ("images", "images"),
        ("images", "."),
        (".", "."),
    ],
)
def test_labels_are_found_beside_and_above_the_images(photos, folder, place):
    path = write_csv(photos / place / "train.csv", *ROWS)
    dataset = load_image_folder(photos / folder)
    np.testing.assert_array_equal(dataset.labels, [4, 9, 3])
    assert dataset.labels.dtype == np.int32
    assert dataset.source.endswith(f"; labels of {path}")


@pytest.mark.parametrize(
    "row",
    [
        "10.png",
        "train/10.png",
        "images/train/10.png",
        "./10.png",
        r"images\train\10.png",
    ],
)
def test_labels_csv_rows_may_be_written_in_each_way(photos, row):
    # Relative to the folder of the CSV file, to the image folder, or a bare name.
    path = write_csv(photos / "mine.csv", f"{row},7")
    folder = photos / "images" / ("train" if row == "./10.png" else "")
    dataset = load_image_folder(folder, labels_csv=path)
    assert dataset.names[0].endswith("10.png")
    np.testing.assert_array_equal(dataset.labels, [7])


def test_labels_csv_prefers_the_path_from_the_image_folder(tmp_path):
    save(tmp_path / "a.png", RAMP)
    save(tmp_path / "a" / "a.png", RAMP + 1)
    path = write_csv(tmp_path / "a" / "mine.csv", "a.png,1")
    assert load_image_folder(tmp_path, labels_csv=path).names == ("a.png",)


def test_labels_csv_leaves_out_images_without_a_row_and_says_so(photos):
    path = write_csv(photos / "mine.csv", "1.png,0", "10.png,1")
    dataset = load_image_folder(photos, labels_csv=path)
    assert dataset.names == ("images/train/1.png", "images/train/10.png")
    np.testing.assert_array_equal(dataset.labels, [0, 1])
    assert dataset.source.endswith(
        f"labels of {path}; left out, having no row there: 1"
    )


def test_labels_csv_does_not_read_images_without_a_row(photos):
    save_broken(photos / "images" / "train" / "3.png")
    path = write_csv(photos / "mine.csv", *ROWS)
    assert len(load_image_folder(photos, labels_csv=path).x) == 3


def test_labels_csv_may_have_other_columns_and_a_mark_of_excel(photos):
    header = "\ufefflabel, filename ,remark"
    path = write_csv(
        photos / "mine.csv", '"dog", 1.png,"a, b"', "", 'cat, "2.png"', header=header
    )
    np.testing.assert_array_equal(
        load_image_folder(photos, labels_csv=path).labels, [1, 0]
    )


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["7", "-1", "7"], [7, -1, 7]),
        (["cat", "ape", "dog"], [1, 0, 2]),
        (["1", "ape", "2"], [0, 2, 1]),
        (["01", "1", "2"], [0, 1, 2]),
        (["1.5", "0.5", "1.5"], [1, 0, 1]),
        ([str(2**40), "0", "1"], [2, 0, 1]),
    ],
    ids=["integers", "text", "mixed", "leading zero", "decimals", "large"],
)
def test_labels_csv_keeps_integers_and_numbers_the_rest(photos, labels, expected):
    names = ["1.png", "2.png", "10.png"]
    rows = [f"{name},{label}" for name, label in zip(names, labels, strict=True)]
    path = write_csv(photos / "mine.csv", *rows)
    dataset = load_image_folder(photos, labels_csv=path)
    assert dataset.labels.dtype == np.int32
    np.testing.assert_array_equal(dataset.labels, expected)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (ROWS[:2], "has no row for 1 of 3 images, such as images/train/2.png"),
        ((*ROWS, "9.png,1"), "line 5: 9.png is no image in"),
        ((*ROWS, "1.png,1"), "line 5: images/train/1.png has a row already"),
    ],
    ids=["a row is missing", "an image is missing", "twice"],
)
def test_labels_that_do_not_match_one_to_one_are_not_taken(photos, rows, reason):
    write_csv(photos / "labels.csv", *rows)
    dataset = load_image_folder(photos)
    assert len(dataset.x) == 3
    assert dataset.labels is None
    assert "; no labels, because " in dataset.source
    assert reason in dataset.source
    assert "\n" not in dataset.source


def test_a_train_csv_of_another_kind_is_passed_over(photos):
    write_csv(photos / "train.csv", "1,2", header="pixel0,pixel1")
    dataset = load_image_folder(photos)
    assert dataset.labels is None
    assert dataset.source == f"image folder {photos}"


def test_a_binary_labels_csv_that_nobody_named_is_no_error(photos):
    (photos / "labels.csv").write_bytes(b"\xff\xfe\x00")
    dataset = load_image_folder(photos)
    assert dataset.labels is None
    assert "labels.csv is not UTF-8 text" in dataset.source


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "name,class\n1.png,1\n",
            "mine.csv: the first line must name the columns file",
        ),
        (
            "1.png,1\n2.png,1\n",
            "the first line must name the columns filename and label",
        ),
        ("filename;label\n1.png;1\n", "with commas between columns"),
        ("", "the first line must name the columns"),
        ("filename,label\n", "mine.csv has no rows below its first line"),
        ("filename,label\n1.png,1\n7.png,1\n", "line 3: 7.png is no image in"),
        ("filename,label\n1.png,\n", "line 2: filename and label must not be empty"),
        ("filename,label\n1.png\n", "must not be empty, got '1.png'"),
        ("filename,label\n1.png,1\n1.png,2\n", "line 3: .*1.png has a row already"),
        ("filename,label\n1.png,\xff\n", "mine.csv is not UTF-8 text"),
        ('filename,label\n1.png,"' + "x" * 140_000, "mine.csv, line 2: field larger"),
    ],
)
def test_labels_csv_rejects(photos, content, message):
    (photos / "mine.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=message):
        load_image_folder(photos, labels_csv=photos / "mine.csv")


def test_labels_csv_rejects_a_bare_name_of_two_images(photos):
    save(photos / "images" / "test" / "1.png")
    path = write_csv(photos / "mine.csv", "1.png,1")
    message = "1.png may be images/test/1.png or images/train/1.png; write it with its"
    with pytest.raises(ValueError, match=message):
        load_image_folder(photos, labels_csv=path)


def test_labels_csv_rejects_a_missing_file(photos):
    with pytest.raises(FileNotFoundError, match="labels file .*nowhere.csv does not"):
        load_image_folder(photos, labels_csv=photos / "nowhere.csv")


def test_folder_labels_are_the_first_subfolders(tmp_path):
    for name in ("dog/1.png", "cat/b/3.png", "cat/2.png"):
        save(tmp_path / name)
    dataset = load_image_folder(tmp_path, folder_labels=True)
    assert dataset.names == ("cat/2.png", "cat/b/3.png", "dog/1.png")
    np.testing.assert_array_equal(dataset.labels, [0, 0, 1])
    assert dataset.source.endswith("; sub-folders as labels")


def test_subfolders_are_no_labels_unless_asked_for(tmp_path):
    save(tmp_path / "dog" / "1.png")
    assert load_image_folder(tmp_path).labels is None


def test_folder_labels_keep_digits(tmp_path):
    for name in ("10", "3"):
        save(tmp_path / name / "a.png")
    np.testing.assert_array_equal(
        load_image_folder(tmp_path, folder_labels=True).labels, [3, 10]
    )


def test_folder_labels_rejects_an_image_without_a_class(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "dog" / "1.png")
    with pytest.raises(ValueError, match="folder_labels .*got 1 .*such as a.png"):
        load_image_folder(tmp_path, folder_labels=True)


def test_folder_labels_rejects_a_labels_csv_beside_it(photos):
    with pytest.raises(ValueError, match="labels_csv and folder_labels exclude each"):
        load_image_folder(photos, labels_csv="mine.csv", folder_labels=True)


def test_importing_the_library_loads_neither_pillow_nor_pandas():
    code = "import sys, dec_jax.data.load; print({'PIL', 'pandas'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
