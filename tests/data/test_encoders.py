"""Pretrained networks of the user's own: ONNX files and functions."""

import sys

import numpy as np
import pytest
from encoder_files import MODULE, write_module, write_onnx
from image_files import save, save_broken
from PIL import Image

from dec_jax.data.encoders import DEVIATION, MEAN, open_encoder
from dec_jax.data.load import load_dataset

COLORS = [(200, 10, 30), (0, 90, 255), (50, 50, 50)]


@pytest.fixture
def photos(tmp_path):
    """Three photos of one color each, of 40 x 20 pixels."""
    for at, color in enumerate(COLORS):
        save(tmp_path / "photos" / f"{at}.png", Image.new("RGB", (40, 20), color))
    return tmp_path / "photos"


@pytest.fixture
def module(tmp_path, monkeypatch, request):
    """The name of a module in the working folder, of its own for each test."""
    name = "encoder_" + "".join(c if c.isalnum() else "_" for c in request.node.name)
    write_module(tmp_path, name)
    monkeypatch.chdir(tmp_path)
    yield name
    sys.modules.pop(name, None)


def vectors(dataset):
    """Vectors as the encoder gave them, before they were divided."""
    return dataset.x * dataset.deviation


def test_a_function_takes_images_and_gives_vectors(photos, module):
    dataset = load_dataset(photos, encoder=f"{module}:embed", standardize=False)
    np.testing.assert_array_equal(dataset.x, COLORS)
    assert dataset.names == ("0.png", "1.png", "2.png")
    assert dataset.image_shape is None
    assert dataset.reading.encoder == f"{module}:embed"
    assert dataset.thumbnails.shape == (3, 64, 64, 3)
    assert dataset.source.endswith(f"; encoder {module}:embed")


def test_vectors_are_divided_by_one_number(photos, module):
    dataset = load_dataset(photos, encoder=f"{module}:embed")
    np.testing.assert_allclose(vectors(dataset), COLORS, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, [40, 20]), ({"image_size": 8}, [8, 8]), ({"image_size": (10, 30)}, [30, 10])],
)
def test_a_function_takes_images_of_the_size(photos, module, options, expected):
    encoder = f"{module}:sizes"
    dataset = load_dataset(photos, encoder=encoder, standardize=False, **options)
    np.testing.assert_array_equal(dataset.x[0], expected)


def test_large_images_are_reduced(tmp_path, module):
    save(tmp_path / "large" / "a.jpg", Image.new("RGB", (3000, 1500)))
    dataset = load_dataset(
        tmp_path / "large", encoder=f"{module}:sizes", standardize=False
    )
    np.testing.assert_array_equal(dataset.x, [[1024, 512]])


def test_gray_deep_and_transparent_images_become_colors(tmp_path, module):
    folder = tmp_path / "kinds"
    save(folder / "1.tif", np.array([[0, 4095]] * 2, np.uint16))
    save(folder / "2.png", np.full((2, 2), 7, np.uint8))
    save(folder / "3.png", np.zeros((2, 2, 4), np.uint8))
    dataset = load_dataset(folder, encoder=f"{module}:embed", standardize=False)
    np.testing.assert_array_equal(dataset.x, [[127.5] * 3, [7] * 3, [255] * 3])


def test_images_are_encoded_in_batches_with_progress(tmp_path, module):
    for at in range(70):
        save(tmp_path / "many" / f"{at}.png", np.full((4, 4), at, np.uint8))
    calls = []
    dataset = load_dataset(
        tmp_path / "many",
        encoder=f"{module}:embed",
        standardize=False,
        progress=lambda done, total: calls.append((done, total)),
    )
    np.testing.assert_array_equal(dataset.x[:, 0], np.arange(70))
    assert calls == [(32, 70), (64, 70), (70, 70)]
    assert sys.modules[module].calls == [32, 32, 6]


def test_labels_and_unreadable_files_are_as_of_pixels(photos, module):
    save_broken(photos / "1.png")
    (photos / "labels.csv").write_text("filename,label\n0.png,5\n1.png,6\n2.png,7\n")
    encoder = f"{module}:embed"
    with pytest.raises(ValueError, match=r"1 of 3 images cannot be read: 1.png"):
        load_dataset(photos, encoder=encoder)
    dataset = load_dataset(photos, encoder=encoder, skip_unreadable=True)
    assert dataset.names == ("0.png", "2.png")
    np.testing.assert_array_equal(dataset.labels, [5, 7])


# The cache.


def test_the_cache_spares_the_encoder(photos, module, tmp_path):
    options = {"encoder": f"{module}:embed", "encoder_cache": tmp_path / "encoded"}
    first = load_dataset(photos, **options)
    again = load_dataset(photos, **options)
    assert sys.modules[module].calls == [3]
    np.testing.assert_array_equal(first.x, again.x)
    np.testing.assert_array_equal(first.thumbnails, again.thumbnails)
    assert first.names == again.names


def test_a_new_file_is_not_in_the_cache(photos, module, tmp_path):
    options = {"encoder": f"{module}:embed", "encoder_cache": tmp_path / "encoded"}
    load_dataset(photos, **options)
    save(photos / "3.png", np.zeros((4, 4, 3), np.uint8))
    assert len(load_dataset(photos, **options).x) == 4
    assert sys.modules[module].calls == [3, 4]


@pytest.mark.parametrize("content", [b"", b"damaged", b"PK\x03\x04 damaged"])
def test_a_damaged_cache_is_made_again(photos, module, tmp_path, content):
    options = {"encoder": f"{module}:embed", "encoder_cache": tmp_path / "encoded"}
    first = load_dataset(photos, **options)
    (file,) = (tmp_path / "encoded").iterdir()
    file.write_bytes(content)
    np.testing.assert_array_equal(load_dataset(photos, **options).x, first.x)


def test_a_cache_that_cannot_be_written_is_no_error(photos, module, tmp_path):
    (tmp_path / "encoded").write_text("no folder")
    options = {"encoder": f"{module}:embed", "encoder_cache": tmp_path / "encoded"}
    assert len(load_dataset(photos, **options).x) == 3


def test_the_cache_keeps_what_was_encoded_beside_an_unreadable_file(
    photos, module, tmp_path
):
    save_broken(photos / "1.png")
    options = {"encoder": f"{module}:embed", "encoder_cache": tmp_path / "encoded"}
    with pytest.raises(ValueError, match="cannot be read"):
        load_dataset(photos, **options)
    dataset = load_dataset(photos, skip_unreadable=True, **options)
    assert dataset.names == ("0.png", "2.png")
    assert sys.modules[module].calls == [2]


# ONNX files.


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        (("b", 3, 8, 8), "FLOAT"),
        (("b", 3, "h", "w"), "FLOAT"),
        (("b", 8, 8, 3), "FLOAT"),
        ((2, 3, 8, 8), "FLOAT"),
        (("b", 3, 8, 8), "FLOAT16"),
    ],
)
def test_onnx_takes_colors_less_their_mean_over_imagenet(photos, tmp_path, shape, kind):
    pytest.importorskip("onnxruntime")
    path = write_onnx(tmp_path / "net.onnx", shape, kind=kind)
    dataset = load_dataset(photos, encoder=path, standardize=False)
    expected = (np.array(COLORS) / 255 - MEAN) / DEVIATION
    np.testing.assert_allclose(dataset.x, expected, atol=2e-3)


def test_onnx_of_bytes_takes_bytes(photos, tmp_path):
    pytest.importorskip("onnxruntime")
    path = write_onnx(tmp_path / "net.onnx", ("b", 8, 8, 3), kind="UINT8")
    dataset = load_dataset(photos, encoder=path, standardize=False)
    np.testing.assert_allclose(dataset.x, COLORS, rtol=1e-5)


@pytest.mark.parametrize("shape", [("b", 3, 8, 8), ("b", 8, 8, 3)])
def test_onnx_maps_are_averaged_over_their_places(photos, tmp_path, shape):
    pytest.importorskip("onnxruntime")
    path = write_onnx(tmp_path / "net.onnx", shape, kind="UINT8", pooled=False)
    dataset = load_dataset(photos, encoder=path, standardize=False)
    np.testing.assert_allclose(dataset.x, COLORS, rtol=1e-5)


def test_the_size_decides_where_the_onnx_file_leaves_it_open(tmp_path):
    pytest.importorskip("onnxruntime")
    open_size = write_onnx(tmp_path / "open.onnx", ("b", 3, "h", "w"))
    assert open_encoder(open_size).size == (224, 224)
    assert open_encoder(open_size, size=(16, 24)).size == (16, 24)
    fixed = write_onnx(tmp_path / "fixed.onnx")
    assert open_encoder(fixed).size == (8, 8)
    with pytest.raises(
        ValueError, match="takes images of 8 x 8, got image_size of 9 x 9"
    ):
        open_encoder(fixed, size=(9, 9))


def test_onnx_without_onnx_runtime_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "net.onnx").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        ImportError, match=r'onnxruntime: pip install "dec_jax\[onnx\]"'
    ):
        open_encoder(tmp_path / "net.onnx")


# Mistakes.


def test_an_encoder_is_a_file_or_a_function(photos, tmp_path):
    for wrong in ("resnet50", "my_encoder.py", "a:b:c", "os.system('ls')"):
        with pytest.raises(
            ValueError, match="encoder must be a file that ends in .onnx"
        ):
            load_dataset(photos, encoder=wrong)
    with pytest.raises(
        FileNotFoundError, match="encoder .*no.onnx: there is no such file"
    ):
        load_dataset(photos, encoder=tmp_path / "no.onnx")


def test_a_damaged_onnx_file_is_named(photos, tmp_path, capfd):
    pytest.importorskip("onnxruntime")
    (tmp_path / "net.onnx").write_bytes(b"damaged")
    with pytest.raises(
        ValueError, match="net.onnx is no network that ONNX Runtime reads"
    ):
        load_dataset(photos, encoder=tmp_path / "net.onnx")
    assert capfd.readouterr() == ("", "")


def test_onnx_of_other_inputs_is_named(photos, tmp_path):
    pytest.importorskip("onnxruntime")
    path = write_onnx(tmp_path / "net.onnx", ("b", 3, 8, 3), kind="INT64")
    message = r"one input of images .*got images tensor\(int64\) \['b', 3, 8, 3\]"
    with pytest.raises(ValueError, match=message):
        load_dataset(photos, encoder=path)
    for shape in (("b", 3, 60_000, 60_000), (2_000_000, 3, 64, 64)):
        path = write_onnx(tmp_path / "large.onnx", shape)
        with pytest.raises(ValueError, match="at most 268,435,456 numbers, got images"):
            load_dataset(photos, encoder=path)


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        ("nothing", ValueError, "has no function nothing"),
        ("value", ValueError, "has no function value"),
        ("broken", ValueError, "failed on 3 images: RuntimeError: out of luck"),
        ("one_too_few", ValueError, r"shape \[3, d\].* got float64 of shape \[2, 3\]"),
        ("texts", ValueError, r"must return numbers of shape \[3, d\]"),
        ("nan", ValueError, "returned NaN or infinite numbers"),
    ],
)
def test_what_is_wrong_with_a_function_is_named(
    photos, module, function, error, message
):
    with pytest.raises(error, match=message):
        load_dataset(photos, encoder=f"{module}:{function}")


def test_a_missing_or_failing_module_is_named(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ImportError, match="no module nowhere_at_all in this folder"):
        load_dataset(photos, encoder="nowhere_at_all:embed")
    write_module(tmp_path, "encoder_that_fails", "import nowhere_at_all")
    message = "importing encoder_that_fails failed: ModuleNotFoundError"
    with pytest.raises(ImportError, match=message):
        load_dataset(photos, encoder="encoder_that_fails:embed")


def test_another_file_than_in_training_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_module(tmp_path, "encoder_of_training")
    known = open_encoder("encoder_of_training:embed").sha256
    sys.modules.pop("encoder_of_training")
    trace = tmp_path / "run"
    write_module(
        tmp_path, "encoder_of_training", f"{MODULE}\nopen({str(trace)!r}, 'w')\n"
    )
    message = "is not what it was in training .encoder_of_training.py has changed"
    with pytest.raises(ValueError, match=message):
        open_encoder("encoder_of_training:embed", sha256=known)
    assert not trace.exists()


@pytest.mark.parametrize("options", [{"features": "hog"}, {"image_mode": "gray"}])
def test_an_encoder_excludes_other_ways(photos, module, options):
    with pytest.raises(ValueError, match="encoder and .* exclude each other"):
        load_dataset(photos, encoder=f"{module}:embed", **options)


def test_an_encoder_is_for_a_folder_of_images(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((4, 3)))
    with pytest.raises(ValueError, match="encoder is for a folder of images"):
        load_dataset(tmp_path / "x.npy", encoder="a:b")
