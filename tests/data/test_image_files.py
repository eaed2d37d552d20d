"""Files of a folder that are read, passed over, and never opened."""

import os
import sys

import numpy as np
import pytest
from image_files import RAMP, save
from PIL import Image

from dec_jax.data.images import load_image_folder

POSTSCRIPT = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
)


def test_other_files_are_counted_and_named(tmp_path):
    save(tmp_path / "a.png")
    for name in ("notes.txt", "phone.HEIC", "raw.dng"):
        (tmp_path / name).write_bytes(b"not read")
    (tmp_path / ".hidden").write_bytes(b"")
    (tmp_path / "labels.csv").write_text("filename,label\na.png,1\n")
    (note,) = load_image_folder(tmp_path).notes
    assert note.startswith("passed over 3 files: phone.HEIC (")
    assert note.endswith("), notes.txt, raw.dng")


def test_the_first_five_files_are_named_and_all_counted(tmp_path):
    save(tmp_path / "a.png")
    for index in range(1200):
        (tmp_path / f"{index}.txt").write_bytes(b"")
    assert load_image_folder(tmp_path).notes == (
        "passed over 1,200 files: 0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 1,195 more",
    )


def test_a_heic_file_says_which_package_reads_it(tmp_path, monkeypatch):
    save(tmp_path / "a.png")
    (tmp_path / "b.heic").write_bytes(b"not read")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert load_image_folder(tmp_path).notes == (
        'passed over 1 file: b.heic (pip install "dec_jax[heic]" reads it)',
    )


def test_a_folder_of_nothing_but_unreadable_kinds_is_refused(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"not read")
    with pytest.raises(ValueError, match=r"holds no images: .*other files: 1: a.heic"):
        load_image_folder(tmp_path)


@pytest.mark.parametrize("ending", ["jfif", "avif", "jp2", "heic", "heif"])
def test_photos_of_newer_formats_are_read(tmp_path, ending):
    formats = {"jfif": "JPEG", "avif": "AVIF", "jp2": "JPEG2000"}
    if ending.startswith("hei"):
        pytest.importorskip("pillow_heif").register_heif_opener()
    elif ending == "avif":
        from PIL import features

        if "avif" not in features.get_supported():
            pytest.skip("this Pillow has no AVIF")
    image = Image.new("RGB", (64, 64), (200, 40, 40))
    image.save(tmp_path / f"a.{ending}", formats.get(ending, "HEIF"))
    dataset = load_image_folder(tmp_path)
    np.testing.assert_allclose(dataset.x.mean(axis=0)[:3], [200, 40, 40], atol=4)
    assert dataset.notes == ()


def test_postscript_is_never_interpreted(tmp_path, monkeypatch):
    # An interpreter that leaves a trace where it is started.
    save(tmp_path / "images" / "a.png")
    (tmp_path / "images" / "zz.png").write_bytes(POSTSCRIPT)
    fake = tmp_path / "bin" / "gs"
    fake.parent.mkdir()
    fake.write_text(f"#!/bin/sh\ntouch {tmp_path / 'started'}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(ValueError, match=r"1 of 2 .*zz.png \(not an image that Pillow"):
        load_image_folder(tmp_path / "images", size=4)
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("size", [None, 4])
@pytest.mark.parametrize("name", ["icon.png", "page.jpg", "film.tif"])
def test_other_formats_that_pillow_knows_are_no_images(tmp_path, name, size):
    save(tmp_path / "a.png")
    kinds = {"icon.png": "ICO", "page.jpg": "PDF", "film.tif": "TGA"}
    Image.fromarray(RAMP).convert("RGB").save(tmp_path / name, kinds[name])
    with pytest.raises(ValueError, match=f"{name} .not an image that Pillow knows"):
        load_image_folder(tmp_path, size=size)


def test_pipes_and_broken_links_are_passed_over(tmp_path):
    save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "b.png")
    (tmp_path / "c.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "d.png").symlink_to(tmp_path / "b.png")
    dataset = load_image_folder(tmp_path)
    assert dataset.names == ("a.png",)
    assert dataset.notes == (
        "passed over 3 files: b.png (no regular file), c.png (a link to nothing), "
        "d.png (no regular file)",
    )


def test_links_in_a_circle_end(tmp_path):
    save(tmp_path / "inner" / "a.png")
    (tmp_path / "b.png").symlink_to("b.png")
    (tmp_path / "inner" / "up").symlink_to("..")
    (tmp_path / "again").symlink_to(tmp_path)
    dataset = load_image_folder(tmp_path)
    assert dataset.names == ("inner/a.png",)
    assert dataset.notes == ("passed over 1 file: b.png (a link to nothing)",)


def test_links_to_images_are_read(tmp_path):
    save(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "b.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    assert load_image_folder(tmp_path / "photos").names == ("b.png",)


def test_an_image_of_too_many_pixels_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    save(tmp_path / "a.png", np.zeros((20, 20), np.uint8))
    message = r"a.png \(more than 200 pixels; make it smaller\)"
    with pytest.raises(ValueError, match=message):
        load_image_folder(tmp_path)


def test_a_large_image_is_read_without_a_warning(tmp_path, monkeypatch, recwarn):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
    save(tmp_path / "a.png", np.zeros((20, 20), np.uint8))
    assert len(load_image_folder(tmp_path).x) == 1
    assert not recwarn.list


def test_more_pixels_than_memory_should_hold_are_refused_at_once(tmp_path, monkeypatch):
    from dec_jax.data import images

    monkeypatch.setattr(images, "MOST_BYTES", 300)
    for name in ("a.png", "b.png", "c.png"):
        save(tmp_path / name, np.zeros((20, 10), np.uint8))
    message = r"3 images of 20 x 10 pixels take .* \(--image-size 64\)"
    with pytest.raises(ValueError, match=message):
        load_image_folder(tmp_path)


def test_photographs_of_a_camera_need_a_size(tmp_path):
    save(tmp_path / "a.png", np.zeros((20, 1100), np.uint8))
    message = "at most 1,024 pixels a side, got a.png with height x width = 20 x 1100"
    with pytest.raises(ValueError, match=message):
        load_image_folder(tmp_path)
    assert load_image_folder(tmp_path, size=8).image_shape == (8, 8, 1)


ESCAPE = "a\x1b[31m.png"
LATIN = os.fsdecode(b"gr\xfcn.png")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (ESCAPE, r"a\x1b[31m.png"),
        (LATIN, r"gr\udcfcn.png"),
        ("a\nb.png", r"a\nb.png"),
        ("a\u202egnp.png", r"a\u202egnp.png"),
        ("Größe\u202f3 \u200c東京.png", "Größe\u202f3 \u200c東京.png"),
    ],
)
def test_names_are_escaped_where_they_could_command_a_terminal(
    tmp_path, name, expected
):
    save(tmp_path / "images" / name)
    assert load_image_folder(tmp_path / "images").names == (expected,)
    (tmp_path / "images" / f"{name}.txt").write_bytes(b"")
    (note,) = load_image_folder(tmp_path / "images").notes
    assert note == f"passed over 1 file: {expected}.txt"


@pytest.mark.parametrize("name", [ESCAPE, LATIN])
def test_messages_escape_names(tmp_path, name):
    save(tmp_path / name / "a.png", RAMP)
    save(tmp_path / name / name, RAMP[:5])
    with pytest.raises(ValueError, match="must have one size") as error:
        load_image_folder(tmp_path / name)
    str(error.value).encode()
    assert "\x1b" not in str(error.value)
    (tmp_path / name / name).write_bytes(b"")
    with pytest.raises(ValueError, match="cannot be read") as error:
        load_image_folder(tmp_path / name)
    str(error.value).encode()
    assert "\x1b" not in str(error.value)


def test_one_image_file_is_a_folder_of_one(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "b.png")
    dataset = load_image_folder(tmp_path / "a.png")
    assert dataset.names == ("a.png",)
    assert dataset.source == f"image file {tmp_path / 'a.png'}"
