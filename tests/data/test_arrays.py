import re
import struct
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from dec_jax.data.arrays import dataset_from_array
from dec_jax.data.load import load_dataset


def test_load_dataset_reads_a_table_from_npz(tmp_path):
    x = np.linspace(0, 1, 12, dtype=np.float32).reshape(4, 3)
    np.savez(tmp_path / "table.npz", x=x, y=[7, 5, 5, 2], other=np.zeros(3))
    dataset = load_dataset(tmp_path / "table.npz", standardize=False)
    assert dataset.name == "table"
    assert dataset.image_shape is None
    assert (dataset.input_scale, dataset.deviation) == (1.0, 1.0)
    np.testing.assert_array_equal(dataset.x, x)
    np.testing.assert_array_equal(dataset.labels, [7, 5, 5, 2])


@pytest.mark.parametrize(
    ("shape", "image_shape"), [((2, 4, 3), (4, 3, 1)), ((2, 4, 3, 3), (4, 3, 3))]
)
def test_load_dataset_reads_images_from_npz(tmp_path, shape, image_shape):
    images = np.arange(np.prod(shape)).astype(np.uint8).reshape(shape)
    np.savez_compressed(tmp_path / "photos.npz", images=images)
    dataset = load_dataset(str(tmp_path / "photos.npz"))
    assert dataset.image_shape == image_shape
    assert dataset.input_scale == 1 / 255
    assert dataset.labels is None
    assert dataset.n_classes is None
    np.testing.assert_array_equal(dataset.x, images.reshape(2, -1))


def test_load_dataset_joins_train_then_test_from_npz(tmp_path):
    np.savez(
        tmp_path / "parts.npz",
        test_x=[[5.0]],
        test_y=["zebra"],
        train_x=[[1.0], [2.0]],
        train_y=["cat", "ape"],
    )
    dataset = load_dataset(tmp_path / "parts.npz", standardize=False)
    np.testing.assert_array_equal(dataset.x, [[1.0], [2.0], [5.0]])
    np.testing.assert_array_equal(dataset.labels, [1, 0, 2])


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tables_of_arrays_get_a_mean_variance_of_1(tmp_path, dtype, factor):
    # More columns than are looked at together, of unequal means and deviations.
    rng = np.random.default_rng(0)
    x = rng.normal(rng.normal(size=100), rng.uniform(1, 9, 100), (50, 100)) * factor
    np.save(tmp_path / "x.npy", x.astype(dtype))
    dataset = load_dataset(tmp_path / "x.npy")
    variances = [np.mean((column - column.mean()) ** 2) for column in x.T]
    assert dataset.deviation == pytest.approx(np.mean(variances) ** 0.5, rel=1e-5)
    assert dataset.x.dtype == np.float32
    np.testing.assert_allclose(dataset.x, x / dataset.deviation, rtol=1e-5)


@pytest.mark.parametrize(
    ("x", "deviation"),
    [
        (np.array([[0, 4], [4, 0]], np.int64), 2.0),
        (np.array([[0, 255], [255, 0]], np.uint8), 1.0),
        (np.full((3, 2), 7.5), 1.0),
        (np.array([[[0.0, 0.5]]]), 1.0),
        (np.array([[[-1.0, 1.0]]]), 1.0),
        (np.array([[[0.0, 255.0]]], np.float32), 255.0),
        (np.array([[[-128, 5]]], np.int8), 128.0),
        (np.array([[[0, 60000]]], np.uint16), 60000.0),
    ],
    ids=[
        "integers",
        "bytes",
        "constant",
        "image in 0 to 1",
        "image in -1 to 1",
        "image of bytes as floats",
        "image of signed bytes",
        "image of 16 bits",
    ],
)
def test_numbers_of_arrays_are_divided_by(tmp_path, x, deviation):
    np.save(tmp_path / "x.npy", x)
    dataset = load_dataset(tmp_path / "x.npy")
    assert dataset.deviation == deviation
    np.testing.assert_allclose(dataset.x * deviation, x.reshape(len(x), -1), rtol=1e-6)
    if deviation == 1:
        assert dataset.x.dtype == x.dtype
    else:
        assert (dataset.x.dtype, dataset.input_scale) == (np.float32, 1.0)
    plain = load_dataset(tmp_path / "x.npy", standardize=False)
    np.testing.assert_array_equal(plain.x, x.reshape(len(x), -1))
    assert plain.x.dtype == x.dtype


def test_load_dataset_reads_a_sparse_matrix(tmp_path):
    x = np.array([[0, 2.5, 0], [1, 0, 0], [0, 0, -3]])
    scipy.sparse.save_npz(tmp_path / "terms.npz", scipy.sparse.csr_matrix(x))
    dataset = load_dataset(tmp_path / "terms.npz", standardize=False)
    np.testing.assert_array_equal(dataset.x, x)
    assert (dataset.name, dataset.labels, dataset.image_shape) == ("terms", None, None)


def test_load_dataset_refuses_a_sparse_matrix_past_memory(tmp_path):
    x = scipy.sparse.csr_matrix((2**20 + 1, 2**11), dtype=np.float32)
    message = r"at most 8 GiB with its zeros, got 8.0 GiB of shape \(1048577, 2048\)"
    scipy.sparse.save_npz(tmp_path / "terms.npz", x)
    with pytest.raises(ValueError, match=message):
        load_dataset(tmp_path / "terms.npz")


@pytest.mark.parametrize("kind", ["csr", "unheard of"])
def test_load_dataset_refuses_a_damaged_sparse_matrix(tmp_path, kind):
    path = tmp_path / "terms.npz"
    np.savez(path, format=kind, shape=(2, 2), data=[1.0])
    with pytest.raises(ValueError, match=r"terms.npz cannot be read: "):
        load_dataset(path)


def save_csr(path, indices, indptr, shape):
    """Writes a sparse matrix of ones as `scipy.sparse.save_npz` does."""
    data = np.ones(len(indices), np.float32)
    parts = {"indices": np.array(indices, "i4"), "indptr": np.array(indptr, "i4")}
    np.savez(path, format=b"csr", shape=np.array(shape), data=data, **parts)


@pytest.mark.parametrize(
    ("indices", "indptr", "message"),
    [
        ([0, 10**8], [0, 1, 2], r"do not fit its shape \(2, 4\): indices must be < 4"),
        ([0, -(10**8)], [0, 1, 2], "do not fit its shape"),
        ([0, 1], [0, 1, 10**6], "terms.npz cannot be read: "),
        ([0, 1], [0, 2, 1], "terms.npz cannot be read: "),
    ],
    ids=["beyond the width", "negative", "beyond the data", "backwards"],
)
def test_load_dataset_refuses_sparse_indices_that_lie(
    tmp_path, indices, indptr, message
):
    save_csr(tmp_path / "terms.npz", indices, indptr, (2, 4))
    with pytest.raises(ValueError, match=message):
        load_dataset(tmp_path / "terms.npz")


def test_load_dataset_refuses_coordinates_that_lie(tmp_path):
    row, col = np.array([0, 10**8]), np.array([0, 1])
    parts = {"format": b"coo", "shape": (2, 4), "data": np.ones(2)}
    np.savez(tmp_path / "terms.npz", row=row, col=col, **parts)
    with pytest.raises(ValueError, match="terms.npz cannot be read: "):
        load_dataset(tmp_path / "terms.npz")


def header_of(shape):
    """The header of an npy file of float32 that claims a shape."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    head = text.ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head


@pytest.mark.parametrize("shape", [(8 * 10**12, 1), (10**40, 2), (-5, 2)])
def test_load_dataset_refuses_a_header_that_lies(tmp_path, shape):
    content = header_of(shape) + bytes(64)
    (tmp_path / "x.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", content)
    for name in ("x.npy", "x.npz"):
        with pytest.raises(
            ValueError, match=f"{name} cannot be read: .*it has 19"
        ) as e:
            load_dataset(tmp_path / name)
        assert "\n" not in str(e.value)


def test_load_dataset_refuses_an_archive_that_unpacks_to_gigabytes(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header_of((2**29, 2)) + bytes(2**20))
    # The sizes that the archive tells are what counts, before anything is unpacked.
    content = path.read_bytes()
    true, told = struct.pack("<I", 128 + 2**20), struct.pack("<I", 2**32 - 2**10)
    path.write_bytes(content.replace(true, told))
    with pytest.raises(ValueError, match=r"x.npy would unpack to 4.0 GiB, \d+ times"):
        load_dataset(path)


def test_load_dataset_refuses_a_member_that_is_no_array(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", b"text")
    with pytest.raises(ValueError, match="cannot be read: x.npy is no array"):
        load_dataset(tmp_path / "x.npz")


@pytest.mark.parametrize("offset", [6, 8], ids=["encrypted", "unknown packing"])
def test_load_dataset_refuses_a_member_that_python_cannot_read(tmp_path, offset):
    path = tmp_path / "x.npz"
    np.savez(path, x=np.eye(3))
    content = bytearray(path.read_bytes())
    # The flags, or the packing, in both headers of the member.
    for start, shift in ((0, 0), (content.index(b"PK\1\2"), 2)):
        content[start + offset + shift] = 1 if offset == 6 else 99
    path.write_bytes(content)
    with pytest.raises(ValueError, match="x.npz cannot be read: "):
        load_dataset(path)


@pytest.mark.parametrize("dtype", ["uint8", "bool"])
def test_bytes_and_booleans_of_a_table_are_numbers(tmp_path, dtype):
    bits = np.random.default_rng(0).random((50, 6)) < 0.3
    np.save(tmp_path / "bits.npy", bits.astype(dtype))
    np.save(tmp_path / "floats.npy", bits.astype("float32"))
    found, floats = (load_dataset(tmp_path / f"{n}.npy") for n in ("bits", "floats"))
    np.testing.assert_array_equal(found.x, floats.x)
    assert (found.input_scale, found.deviation) == (1.0, floats.deviation)


def test_bytes_are_pixels_where_they_are_bright_or_images():
    assert dataset_from_array(np.array([[0, 128], [9, 4]], "u1")).input_scale < 1
    assert dataset_from_array(np.ones((2, 2, 2), "u1")).input_scale < 1


def test_load_dataset_reads_npy(tmp_path):
    np.save(tmp_path / "z.npy", np.ones((3, 2), ">f4"))
    dataset = load_dataset(tmp_path / "z.npy")
    assert dataset.x.dtype == np.float32
    assert dataset.x.dtype.isnative
    assert dataset.source == f"npy file {tmp_path / 'z.npy'}"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.array([2, -1, 9], np.int64), [2, -1, 9]),
        (np.array([2, 0, 2**40]), [1, 0, 2]),
        (np.array([0.5, -3.0, 0.5]), [1, 0, 1]),
        (np.array(["b", "a", "b"]), [1, 0, 1]),
        (np.array([True, False, True]), [1, 0, 1]),
    ],
    ids=["integers", "large integers", "floats", "text", "bools"],
)
def test_load_dataset_makes_int32_labels(tmp_path, labels, expected):
    np.savez(tmp_path / "table.npz", x=np.eye(3), labels=labels)
    found = load_dataset(tmp_path / "table.npz").labels
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, expected)


WITH_NAN = np.ones((4, 3))
WITH_NAN[2, 1] = np.nan


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        (dict(a=np.eye(2), b=np.eye(2)), ValueError, "must hold one of x.*has: a, b"),
        (dict(), ValueError, "it has: no arrays"),
        (dict(x=np.eye(2), images=np.eye(2)), ValueError, "it has: x, images"),
        (dict(x=np.eye(2), y=[0, 1], labels=[0, 1]), ValueError, "x, y, labels"),
        (dict(train_x=np.eye(2)), ValueError, "it has: train_x"),
        (
            dict(train_x=np.eye(2), test_x=np.eye(2), train_y=[0, 1]),
            ValueError,
            "train_y with test_y; it has: train_x, test_x, train_y",
        ),
        (
            dict(train_x=np.eye(2), test_x=np.eye(3)),
            ValueError,
            r"train_x and test_x must fit, got float64 \(2, 2\) and float64 \(3, 3\)",
        ),
        (
            dict(train_x=np.eye(2), test_x=np.eye(2, dtype=np.uint8)),
            ValueError,
            "must fit, got float64 .* and uint8",
        ),
        (
            dict(x=np.eye(3), y=[0, 1]),
            ValueError,
            r"table.npz: y must hold one label for each row of x, got shapes \(2,\)",
        ),
        (dict(x=np.eye(2), y=[0, np.nan]), ValueError, "float64 with NaN or infinity"),
        (dict(x=np.eye(2), y=[0j, 1j]), ValueError, "labels must be .* complex128"),
        (dict(x=WITH_NAN), ValueError, "table.npz: x must be finite: column 1 holds"),
        (dict(x=np.array([["a"]])), TypeError, "table.npz: x must be numeric"),
        (dict(x=np.eye(2) * 1j), TypeError, "table.npz: x must be real"),
        (dict(x=np.array([[{}]])), ValueError, "table.npz cannot be read: Object arr"),
        (dict(x=np.zeros((0, 3))), ValueError, "table.npz: x is empty"),
        (dict(x=np.zeros((0, 3, 3))), ValueError, "table.npz: x is empty"),
        (dict(x=np.zeros(3)), ValueError, r"x must have shape \[n, d\] .*got \[3\]"),
        (dict(x=np.float32(3)), ValueError, r"x must have shape \[n, d\] .*got \[\]"),
        (dict(x=np.zeros((1, 2, 2, 2, 2))), ValueError, r"got \[1, 2, 2, 2, 2\]"),
    ],
)
def test_load_dataset_rejects_a_bad_npz(tmp_path, arrays, error, message):
    np.savez(tmp_path / "table.npz", **arrays)
    with pytest.raises(error, match=message):
        load_dataset(tmp_path / "table.npz")


@pytest.mark.parametrize("ending", ["npz", "npy"])
def test_load_dataset_rejects_a_truncated_array_file(tmp_path, ending):
    path = tmp_path / f"table.{ending}"
    if ending == "npz":
        np.savez(path, x=np.eye(50))
    else:
        np.save(path, np.eye(50))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=f"table.{ending} (is not an|cannot be read)"):
        load_dataset(path)


def test_load_dataset_rejects_damage_inside_an_npz(tmp_path):
    path = tmp_path / "table.npz"
    np.savez(path, x=np.eye(50))
    content = bytearray(path.read_bytes())
    content[5000] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ValueError, match="table.npz cannot be read: Bad CRC-32"):
        load_dataset(path)


@pytest.mark.parametrize("ending", ["npz", "npy"])
def test_load_dataset_rejects_a_file_of_another_kind(tmp_path, ending):
    path = tmp_path / f"table.{ending}"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=f"table.{ending} is not an {ending} file"):
        load_dataset(path)


def test_load_dataset_rejects_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.npz does not exist"):
        load_dataset(tmp_path / "nowhere.npz")


# Arrays in memory.


@pytest.mark.parametrize("asarray", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32", "float16", "bool"])
@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 3), (6, 4, 3, 2)])
def test_dataset_from_array_equals_the_file_of_that_array(
    tmp_path, asarray, dtype, shape
):
    x = np.random.default_rng(0).integers(0, 9, shape).astype(dtype)
    np.savez(tmp_path / "x.npz", x=x, y=[3, 1, 4, 1, 5, 9])
    for standardize in (True, False):
        file = load_dataset(tmp_path / "x.npz", standardize=standardize)
        dataset = dataset_from_array(
            asarray(x), labels=[3, 1, 4, 1, 5, 9], standardize=standardize
        )
        assert dataset.sha256 == file.sha256
        for name in ("image_shape", "input_scale", "deviation"):
            assert getattr(dataset, name) == getattr(file, name)
    assert (dataset.name, dataset.source) == ("array", "array in memory")


def test_booleans_are_the_numbers_0_and_1():
    x = np.array([[True, False], [False, False]])
    table = dataset_from_array(x, standardize=False)
    assert (table.x.dtype, table.input_scale) == (np.float32, 1.0)
    np.testing.assert_array_equal(table.x, [[1, 0], [0, 0]])
    # Variances 1/4 and 0.
    assert dataset_from_array(x).deviation == pytest.approx(0.125**0.5)
    image = dataset_from_array(x[None])
    np.testing.assert_array_equal(image.x, [[1, 0, 0, 0]])
    assert image.image_shape == (2, 2, 1)


def test_bfloat16_becomes_float32():
    dataset = dataset_from_array(jnp.array([[1.5, 2.0], [0.5, 2.0]], jnp.bfloat16))
    assert dataset.x.dtype == np.float32
    assert dataset.deviation == pytest.approx(0.125**0.5)


@pytest.mark.parametrize("image_shape", [(2, 3), (2, 3, 1)])
@pytest.mark.parametrize("shape", [(4, 6), (4, 2, 3)])
def test_image_shape_makes_images_of_rows(shape, image_shape):
    x = np.arange(24, dtype=np.uint8).reshape(shape)
    dataset = dataset_from_array(x, image_shape=image_shape)
    assert dataset.image_shape == (2, 3, 1)
    np.testing.assert_array_equal(dataset.x, x.reshape(4, 6))


@pytest.mark.parametrize(
    ("shape", "image_shape"),
    [
        ((4, 6), (2, 2)),
        ((4, 6), (6,)),
        ((4, 6), (1, 2, 3, 1)),
        ((4, 2, 3), (3, 2)),
        ((4, 2, 3, 3), (2, 3)),
        ((4, 2, 3, 1, 1), (2, 3, 1)),
    ],
)
def test_dataset_from_array_rejects_another_image_shape(shape, image_shape):
    got = re.escape(f"got {image_shape} for x of shape {list(shape)}.")
    message = f"array in memory: image_shape must be .*{got}"
    with pytest.raises(ValueError, match=message):
        dataset_from_array(np.zeros(shape), image_shape=image_shape)


@pytest.mark.parametrize(
    ("x", "labels", "error", "message"),
    [
        (np.zeros(3), None, ValueError, r"array in memory: x must have shape \[n, d\]"),
        (np.zeros((0, 3)), None, ValueError, "array in memory: x is empty"),
        (np.array([["a"]]), None, TypeError, "x must be numeric, got dtype <U1"),
        (np.eye(2) * 1j, None, TypeError, "x must be real"),
        (np.full((2, 2), np.nan), None, ValueError, "x must be finite: column 0"),
        (np.eye(2), [1, 2, 3], ValueError, r"labels must be int32 of shape \(2,\)"),
    ],
)
def test_dataset_from_array_rejects_what_no_file_may_hold(x, labels, error, message):
    with pytest.raises(error, match=message):
        dataset_from_array(x, labels=labels)
