import os
import sys
from pathlib import Path

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter
from PIL import Image

from dec_jax.data.images import load_image_folder
from dec_jax.streaming import mapped_rows
from dec_jax.streaming.mapped_rows import MappedRows
from dec_jax.streaming.sources import (
    ArrayRecordSource,
    ArraySource,
    ImageFolderSource,
    NpySource,
    Source,
    source_of,
    write_npy,
)

X = np.random.default_rng(0).integers(0, 256, (300, 12), np.uint8)
ORDERS = [
    slice(0, 300),
    slice(7, 20),
    np.array([5]),
    np.array([299, 0, 3, 3, 150]),
    np.random.default_rng(1).permutation(300),
]


def npy(folder, x=X):
    path = folder / "x.npy"
    np.save(path, x)
    return path


def array_records(folder, x=X, name="x.array_record"):
    path = folder / name
    writer = ArrayRecordWriter(str(path), "group_size:1")
    for row in x:
        writer.write(row.tobytes())
    writer.close()
    return path


def doubled(record):
    return 2.0 * np.frombuffer(record, np.uint8).reshape(3, 4)


def array_source(folder):
    return ArraySource(X), X


def npy_source(folder):
    return NpySource(npy(folder)), X


def npy_images(folder):
    return NpySource(npy(folder, X.reshape(300, 2, 3, 2))), X


def npy_of_the_other_byte_order(folder):
    return NpySource(npy(folder, X.astype(">f4"))), X.astype(np.float32)


def record_source(folder):
    return ArrayRecordSource(array_records(folder)), X


def two_record_files(folder):
    paths = [
        array_records(folder, X[:100], "a.array_record"),
        array_records(folder, X[100:], "b.array_record"),
    ]
    return ArrayRecordSource(paths, dtype="uint16"), X.view(np.uint16)


def decoded_records(folder):
    return ArrayRecordSource(array_records(folder), decode=doubled), 2.0 * X


@pytest.mark.parametrize(
    "make",
    [
        array_source,
        npy_source,
        npy_images,
        npy_of_the_other_byte_order,
        record_source,
        two_record_files,
        decoded_records,
    ],
)
def test_a_source_gives_the_rows_in_the_order_asked_for(make, tmp_path):
    source, expected = make(tmp_path)
    assert isinstance(source, Source)
    assert source.shape == expected.shape and source.dtype == expected.dtype
    for rows in ORDERS:
        found = source.read(rows)
        np.testing.assert_array_equal(found, expected[rows])
        assert found.dtype == expected.dtype


def test_image_folder_source_gives_what_the_loader_gives(tmp_path):
    rng = np.random.default_rng(0)
    for number, size in enumerate([(6, 8), (9, 5), (4, 4)]):
        pixels = rng.integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    source = ImageFolderSource(tmp_path, size=(4, 5), mode="color")
    loaded = load_image_folder(tmp_path, size=(4, 5), mode="color")
    assert isinstance(source, Source)
    assert source.shape == loaded.x.shape and source.image_shape == loaded.image_shape
    assert source.names == loaded.names
    rows = np.array([2, 0, 2])
    np.testing.assert_array_equal(source.read(rows), loaded.x[rows])
    np.testing.assert_array_equal(source.read(slice(1, 3)), loaded.x[1:])
    gray = ImageFolderSource(tmp_path, size=4, mode="gray")
    expected = load_image_folder(tmp_path, size=4, mode="gray").x
    np.testing.assert_array_equal(gray.read(slice(0, 3)), expected)


def test_image_folder_source_scales_files_of_12_bits_by_the_levels(tmp_path):
    values = np.array([[0, 1365], [2730, 4095]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.tif")
    levels = (0, 4095)
    source = ImageFolderSource(tmp_path, size=2, mode="gray", levels=levels)
    np.testing.assert_array_equal(source.read(slice(0, 1)), [[0, 85, 170, 255]])
    source = ImageFolderSource(tmp_path, size=2, mode="gray")
    message = "a.tif has more than 8 bits a value, from 0 to 4095; give levels="
    with pytest.raises(ValueError, match=message):
        source.read(slice(0, 1))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_mapped_file_leaves_no_page_resident(tmp_path):
    x = np.zeros((4096, 4096), np.uint8)
    source = NpySource(npy(tmp_path, x))

    def resident():
        mapping = Path("/proc/self/smaps").read_text().partition("x.npy")[2]
        return int(mapping.partition("Rss:")[2].split()[0])

    # The file is mapped, and what is counted here does grow with what is touched.
    assert source._rows.x.sum() == 0 and resident() > 4096
    source.read(slice(0, 4096))
    assert resident() == 0
    source.read(np.arange(4096)[::-3])
    assert resident() == 0


def test_a_gathered_read_is_cut_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(mapped_rows, "ROWS_AT_ONCE", 7)
    rows = np.random.default_rng(0).permutation(300)[:50]
    np.testing.assert_array_equal(NpySource(npy(tmp_path)).read(rows), X[rows])


@pytest.fixture
def far_apart(monkeypatch):
    """Rows count as far apart at any distance; the numbers of those that are read."""
    fetched, fetch = [], MappedRows._fetch

    def note(self, rows, *rest):
        fetched.extend(rows.tolist())
        fetch(self, rows, *rest)

    monkeypatch.setattr(mapped_rows, "MAPPED_AT_ONCE", 0)
    monkeypatch.setattr(MappedRows, "_fetch", note)
    return fetched


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="the system has no preadv")
@pytest.mark.parametrize("dtype", ["u1", ">f4", "f8"])
def test_rows_that_are_far_apart_are_read_past_the_map(far_apart, dtype, tmp_path):
    rows = np.random.default_rng(0).permutation(300)[:200]
    found = NpySource(npy(tmp_path, X.astype(dtype))).read(rows)
    np.testing.assert_array_equal(found, X[rows])
    assert sorted(far_apart) == sorted(rows.tolist())


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="the system has no preadv")
def test_a_file_that_was_cut_since_it_was_opened_is_told(far_apart, tmp_path):
    source = NpySource(npy(tmp_path))
    os.truncate(tmp_path / "x.npy", 1000)
    with pytest.raises(
        OSError, match="keep its size .* got an end before row 290; write"
    ):
        source.read(np.array([290, 0, 10]))


def test_a_source_closes_its_file(tmp_path):
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("reads /proc")
    source = NpySource(npy(tmp_path))

    def opened():
        return sum("x.npy" in str(link.resolve()) for link in folder.iterdir())

    assert opened() > 0
    del source
    assert opened() == 0


def test_write_npy_writes_what_numpy_would(tmp_path):
    source = ArrayRecordSource(array_records(tmp_path))
    write_npy(tmp_path / "out.npy", source, rows_at_once=77)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), X)
    write_npy(tmp_path / "out.npy", X.astype(np.float32))
    np.testing.assert_array_equal(
        NpySource(tmp_path / "out.npy").read(slice(0, 300)), X
    )


def test_source_of_takes_arrays_and_leaves_sources_alone():
    source = ArraySource(X)
    assert source_of(source) is source
    np.testing.assert_array_equal(source_of(X).read(np.array([3, 1])), X[[3, 1]])


# What is refused.


def truncated(folder):
    path = npy(folder)
    path.write_bytes(path.read_bytes()[:-1])
    return path


def not_npy(folder):
    path = folder / "x.npy"
    path.write_bytes(b"a,b\n1,2\n")
    return path


def text_npy(folder):
    return npy(folder, np.array([["a", "b"]]))


def flag_npy(folder):
    return npy(folder, np.zeros((3, 2), bool))


def flat_npy(folder):
    return npy(folder, X[0])


def empty_npy(folder):
    return npy(folder, X[:0])


def columns_npy(folder):
    return npy(folder, np.asfortranarray(X))


def no_npy(folder):
    return folder / "none.npy"


@pytest.mark.parametrize(
    "make, error, message",
    [
        (no_npy, FileNotFoundError, "none.npy does not exist"),
        (not_npy, ValueError, "x.npy is not an npy file of numbers"),
        (
            truncated,
            ValueError,
            r"x.npy is truncated: 300 samples of 12 values \(uint8\) take 3728 bytes, "
            "got 3727; copy or write it again",
        ),
        (text_npy, TypeError, "x.npy must be numeric, got dtype <U1"),
        (flag_npy, TypeError, "x.npy must be numeric, got bool"),
        (flat_npy, ValueError, r"of shape \[n, d\] or images, got \[12\]"),
        (empty_npy, ValueError, r"x.npy is empty: its shape is \[0, 12\]"),
        (columns_npy, ValueError, "stored by columns .* numpy.ascontiguousarray"),
    ],
)
def test_npy_source_rejects_what_is_no_file_of_rows(make, error, message, tmp_path):
    with pytest.raises(error, match=message):
        NpySource(make(tmp_path))


def test_array_source_rejects_what_is_not_finite():
    with pytest.raises(ValueError, match="data must be finite: column 1"):
        ArraySource(np.array([[0.0, np.nan]]), "data")


def test_array_record_source_rejects_damaged_and_missing_files(tmp_path):
    path = array_records(tmp_path)
    with pytest.raises(FileNotFoundError, match="none.array_record does not exist"):
        ArrayRecordSource([path, tmp_path / "none.array_record"])
    with pytest.raises(
        ValueError, match="x.array_record cannot be read: .*element size"
    ):
        ArrayRecordSource(path, dtype="float64")
    path.write_bytes(path.read_bytes()[: os.path.getsize(path) // 2])
    with pytest.raises(ValueError, match="x.array_record cannot be read: "):
        ArrayRecordSource(path)
    empty = array_records(tmp_path, X[:0], "empty.array_record")
    with pytest.raises(ValueError, match="empty.array_record is empty: it holds no"):
        ArrayRecordSource(empty)


def test_array_record_source_rejects_records_of_another_length(tmp_path):
    source = ArrayRecordSource(array_records(tmp_path, [X[0], X[1], X[2, :5]]))
    with pytest.raises(
        ValueError,
        match=r"got 12 values \(uint8\) in record 0 and 5 \(uint8\) in record 2",
    ):
        source.read(slice(0, 3))


def test_image_folder_source_rejects_what_it_cannot_read(tmp_path):
    with pytest.raises(FileNotFoundError, match="none does not exist"):
        ImageFolderSource(tmp_path / "none", size=4, mode="gray")
    with pytest.raises(ValueError, match="holds no images"):
        ImageFolderSource(tmp_path, size=4, mode="gray")
    with pytest.raises(ValueError, match="Unknown mode 'grey'; did you mean 'gray'"):
        ImageFolderSource(tmp_path, size=4, mode="grey")
    (tmp_path / "a.png").write_bytes(b"no image")
    source = ImageFolderSource(tmp_path, size=4, mode="gray")
    with pytest.raises(
        ValueError, match="a.png cannot be read: .*; repair or delete it"
    ):
        source.read(slice(0, 1))


@pytest.mark.parametrize(
    "module, extra, make",
    [
        (
            "PIL",
            "images",
            lambda folder: ImageFolderSource(folder, size=4, mode="gray"),
        ),
        (
            "array_record.python.array_record_data_source",
            "data",
            lambda folder: ArrayRecordSource(folder / "x"),
        ),
    ],
)
def test_a_source_rejects_a_missing_package(module, extra, make, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf'pip install "dec_jax\[{extra}\]"'):
        make(tmp_path)
