"""Images of more than 8 bits a value, signed, of floats, and of 2 and more channels."""

import sys
from pathlib import Path

import numpy as np
import pytest
from image_files import COLORS, RAMP, one_image, save
from PIL import Image

from dec_jax.data.images import load_image_folder

tifffile = pytest.importorskip("tifffile")
imagecodecs = pytest.importorskip("imagecodecs")

TWELVE_BITS = np.arange(64, dtype=np.uint16).reshape(8, 8) * 65  # 0 to 4095
UNIT = np.arange(64, dtype=np.float32).reshape(8, 8) / 63


def write_tiff(path, values, **options):
    """Writes a TIFF file with tifffile, which knows more kinds than Pillow."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, values, **options)
    return path


@pytest.mark.parametrize("ending", ["tif", "png", "jp2"])
def test_12_bits_in_files_of_16_keep_all_their_levels(tmp_path, ending):
    if ending == "jp2":
        encoded = imagecodecs.jpeg2k_encode(TWELVE_BITS, level=0)
        (tmp_path / "a.jp2").write_bytes(encoded)
    else:
        save(tmp_path / f"a.{ending}", TWELVE_BITS)
    dataset = load_image_folder(tmp_path)
    np.testing.assert_allclose(dataset.x.reshape(8, 8), UNIT, atol=1e-6)
    assert dataset.reading.levels == (0, 4095)
    assert dataset.input_scale == 1
    assert dataset.notes == (
        "values from 0 to 4095 of files with more than 8 bits become 0 to 1",
    )


def test_the_range_is_that_of_the_whole_folder(tmp_path):
    save(tmp_path / "1.tif", np.full((4, 4), 1000, np.uint16))
    save(tmp_path / "2.tif", np.full((4, 4), 3000, np.uint16))
    save(tmp_path / "3.tif", np.full((4, 4), 2000, np.uint16))
    np.testing.assert_allclose(load_image_folder(tmp_path).x[:, 0], [0, 1, 0.5])


def test_levels_of_other_data_take_the_place_of_the_range(tmp_path):
    save(tmp_path / "1.tif", np.full((4, 4), 1000, np.uint16))
    dataset = load_image_folder(tmp_path, levels=(0, 4000))
    np.testing.assert_allclose(dataset.x, 0.25)
    assert dataset.reading.levels == (0, 4000)


def test_broken_pixels_do_not_set_the_range(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("1.tif", "2.tif"):
        values = rng.integers(0, 4096, (64, 64)).astype(np.uint16)
        values[3, 4] = 65535
        save(tmp_path / name, values)
    dataset = load_image_folder(tmp_path)
    assert 4080 < dataset.reading.levels[1] <= 4095
    assert dataset.x.max() == 1
    assert dataset.x.mean() == pytest.approx(0.5, abs=0.02)
    (note,) = dataset.notes
    assert note.endswith(
        "beyond them lie values from 0 to 65535, which count as 0 and 1"
    )


def test_bright_spots_of_more_pixels_do(tmp_path):
    values = np.random.default_rng(0).integers(0, 4096, (64, 64)).astype(np.uint16)
    values[3:6, 4] = 65535
    save(tmp_path / "a.tif", values)
    assert load_image_folder(tmp_path).reading.levels[1] == 65535


def test_new_values_beyond_the_levels_are_told(tmp_path):
    save(tmp_path / "1.tif", np.array([[0, 9000]], np.uint16))
    dataset = load_image_folder(tmp_path, levels=(1000, 4000))
    np.testing.assert_array_equal(dataset.x, [[0, 1]])
    (note,) = dataset.notes
    assert "beyond them lie values from 0 to 9000" in note


def test_bytes_beside_deeper_files_are_scaled_by_255(tmp_path):
    save(tmp_path / "1.tif", TWELVE_BITS)
    save(tmp_path / "2.png", np.full((8, 8), 51, np.uint8))
    np.testing.assert_allclose(load_image_folder(tmp_path).x[1], 0.2)


def test_a_folder_without_contrast_has_no_nan(tmp_path):
    save(tmp_path / "a.tif", np.full((4, 4), 9, np.uint16))
    np.testing.assert_array_equal(one_image(tmp_path), np.zeros((4, 4)))


@pytest.mark.parametrize(
    "values",
    [
        (TWELVE_BITS.astype(np.int32) - 2048).astype(np.int16),
        TWELVE_BITS.astype(np.int32) - 2048,
        (TWELVE_BITS // 65 * 4 - 128).astype(np.int8),
        TWELVE_BITS.astype(np.uint32) * 1_000_000,
        TWELVE_BITS.astype(np.float32) / 4096,
        TWELVE_BITS.astype(np.float64) * 1e5 - 7e6,
        TWELVE_BITS.astype(np.float16),
    ],
    ids=lambda values: str(values.dtype),
)
def test_tiff_of_each_type_is_scaled_to_0_to_1(tmp_path, values):
    write_tiff(tmp_path / "a.tif", values)
    np.testing.assert_allclose(one_image(tmp_path), UNIT, atol=2e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"bigtiff": True},
        {"compression": "lzw"},
        {"compression": "zlib"},
        {"tile": (16, 16)},
    ],
    ids=str,
)
def test_tiff_of_each_layout_is_read(tmp_path, options):
    write_tiff(tmp_path / "a.tif", TWELVE_BITS, **options)
    np.testing.assert_allclose(one_image(tmp_path), UNIT, atol=1e-6)


def test_tiff_whose_zero_is_white_is_inverted(tmp_path):
    write_tiff(tmp_path / "a.tif", TWELVE_BITS, photometric="miniswhite")
    np.testing.assert_allclose(one_image(tmp_path), 1 - UNIT, atol=1e-6)


def test_tiff_with_a_tag_of_orientation_is_turned_upright(tmp_path):
    extra = [(274, "H", 1, 6, True)]
    write_tiff(tmp_path / "a.tif", TWELVE_BITS[:5].astype(np.float64), extratags=extra)
    expected = np.rot90(UNIT[:5], -1) / UNIT[4, 7]
    np.testing.assert_allclose(one_image(tmp_path), expected, atol=1e-6)


def deep_colors():
    """[8, 8, 3] of 12 bits in 16, from 0 to 4095."""
    colors = COLORS.astype(np.uint16) * 16
    colors[0, 0], colors[7, 7] = 0, 4095
    return colors


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("ending", ["tif", "png"])
def test_colors_of_12_bits_keep_all_their_levels(tmp_path, ending, alpha):
    colors = deep_colors()
    opacity = np.full((8, 8, 1), 65535, np.uint16)
    stored = np.concatenate([colors, opacity], axis=-1) if alpha else colors
    if ending == "png":
        (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(stored))
    else:
        write_tiff(tmp_path / "a.tif", stored, photometric="rgb")
    np.testing.assert_allclose(one_image(tmp_path), colors / 4095, atol=1e-6)


def test_mode_gray_of_deep_colors_is_their_luma(tmp_path):
    write_tiff(tmp_path / "a.tif", deep_colors(), photometric="rgb")
    luma = deep_colors() @ np.array([0.299, 0.587, 0.114])
    expected = (luma - luma.min()) / np.ptp(luma)
    np.testing.assert_allclose(one_image(tmp_path, mode="gray"), expected, atol=1e-5)


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_all_channels_of_a_tiff_are_kept(tmp_path, channels):
    values = np.random.default_rng(0).integers(0, 256, (8, 8, channels), np.uint8)
    write_tiff(
        tmp_path / "a.tif", values, photometric="minisblack", planarconfig="contig"
    )
    np.testing.assert_array_equal(one_image(tmp_path), values)


def test_channels_in_pages_of_their_own_are_one_image(tmp_path):
    values = np.random.default_rng(0).integers(0, 4096, (4, 8, 9)).astype(np.uint16)
    values[0, 0, :2] = 0, 4095
    write_tiff(tmp_path / "a.tif", values, imagej=True, metadata={"axes": "CYX"})
    expected = np.moveaxis(values, 0, -1) / 4095
    np.testing.assert_allclose(one_image(tmp_path), expected, atol=1e-6)


def test_the_first_of_other_pages_counts(tmp_path):
    pages = np.stack([TWELVE_BITS, 0 * TWELVE_BITS])
    write_tiff(tmp_path / "a.tif", pages, metadata={"axes": "ZYX"})
    np.testing.assert_allclose(one_image(tmp_path), UNIT, atol=1e-6)


def test_opacity_of_gray_is_no_channel(tmp_path):
    save(tmp_path / "a.png", Image.fromarray(RAMP).convert("LA"))
    assert one_image(tmp_path).shape == (8, 8)


def test_channels_that_are_no_colors_reject_a_mode(tmp_path):
    values = np.zeros((8, 8, 5), np.uint8)
    write_tiff(
        tmp_path / "a.tif", values, photometric="minisblack", planarconfig="contig"
    )
    with pytest.raises(ValueError, match="5 channels, which are neither gray nor red"):
        load_image_folder(tmp_path, mode="color")


def test_images_of_different_channels_are_named(tmp_path):
    save(tmp_path / "a.png", RAMP)
    values = np.zeros((8, 8, 5), np.uint8)
    write_tiff(
        tmp_path / "b.tif", values, photometric="minisblack", planarconfig="contig"
    )
    with pytest.raises(
        ValueError, match="same channels, got a.png with 1 and b.tif with 5"
    ):
        load_image_folder(tmp_path)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_deep_images_are_resized_within_their_range(tmp_path, fit):
    values = np.zeros((20, 40), np.uint16)
    values[:, 20:] = 4095
    save(tmp_path / "a.tif", values)
    image = one_image(tmp_path, size=10, fit=fit)
    assert image.shape == (10, 10)
    assert (image.min(), image.max()) == (0, 1)


def test_nan_is_named(tmp_path):
    save(tmp_path / "a.tif", np.full((4, 4), np.nan, np.float32))
    with pytest.raises(ValueError, match=r"a.tif \(ValueError: NaN or infinite pixels"):
        load_image_folder(tmp_path)


def test_a_tiff_that_claims_to_be_huge_is_refused(tmp_path):
    path = write_tiff(tmp_path / "a.tif", np.zeros((4, 4), np.float64))
    content = path.read_bytes()
    with tifffile.TiffFile(path) as file:
        for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            tag = file.pages[0].tags[name]
            size = {3: 2, 4: 4}[tag.dtype]
            at, large = tag.valueoffset, (60_000).to_bytes(size, "little")
            content = content[:at] + large + content[at + size :]
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match="more than 536,870,912 values; make it smaller"
    ):
        load_image_folder(tmp_path)


@pytest.mark.parametrize(
    ("package", "write"),
    [
        (
            "tifffile",
            lambda folder: write_tiff(folder / "a.tif", UNIT.astype(np.float64)),
        ),
        (
            "imagecodecs",
            lambda folder: Path(folder / "a.png").write_bytes(
                imagecodecs.png_encode(deep_colors())
            ),
        ),
    ],
)
def test_a_missing_package_is_named(tmp_path, monkeypatch, package, write):
    write(tmp_path)
    monkeypatch.setitem(sys.modules, package, None)
    message = rf'needs {package}: pip install "dec_jax\[deep-images\]"'
    with pytest.raises(ValueError, match=message):
        load_image_folder(tmp_path)


def test_gray_of_16_bits_needs_pillow_alone(tmp_path, monkeypatch):
    save(tmp_path / "a.tif", TWELVE_BITS)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    np.testing.assert_allclose(one_image(tmp_path), UNIT, atol=1e-6)
