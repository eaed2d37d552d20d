"""Names of the rows of an array file, and embeddings of other types."""

import numpy as np
import pytest

from dec_jax.data.load import load_dataset


@pytest.fixture
def rows(tmp_path):
    """Three rows in an npy file."""
    np.save(tmp_path / "x.npy", np.eye(3, dtype=np.float32))
    return tmp_path / "x.npy"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a\nb c\n\xc3\xa9t\xc3\xa9\n", ("a", "b c", "été")),
        (b"a\r\nb\r\nc", ("a", "b", "c")),
        (b"\xef\xbb\xbfa\n\nc\n", ("a", "", "c")),
        (b"a\x1b[31m\nb\nc\n", (r"a\x1b[31m", "b", "c")),
    ],
)
def test_each_line_names_a_row(rows, content, expected):
    (rows.parent / "names.txt").write_bytes(content)
    dataset = load_dataset(rows, names=rows.parent / "names.txt")
    assert dataset.names == expected
    assert dataset.names_title == "name"


@pytest.mark.parametrize("content", [b"a\nb\n", b"a\nb\nc\nd\n", b""])
def test_another_number_of_lines_is_refused(rows, content):
    (rows.parent / "names.txt").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"a line for each of the 3 rows of x, got [124]"
    ):
        load_dataset(rows, names=rows.parent / "names.txt")


def test_a_missing_or_binary_file_of_names_is_refused(rows):
    with pytest.raises(
        FileNotFoundError, match="names .*none.txt: there is no such file"
    ):
        load_dataset(rows, names=rows.parent / "none.txt")
    with pytest.raises(ValueError, match="x.npy is not UTF-8 text.*save it as UTF-8"):
        load_dataset(rows, names=rows)


def test_names_are_for_array_files(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(ValueError, match="names is for an array file"):
        load_dataset(tmp_path / "x.csv", names="names.txt")
    with pytest.raises(ValueError, match="names is for an array file"):
        load_dataset("digits", names="names.txt")


@pytest.mark.parametrize("dtype", [np.float16, np.int8, np.float64, np.float32])
@pytest.mark.parametrize("width", [384, 1536])
def test_embeddings_of_each_type_keep_their_geometry(tmp_path, dtype, width):
    rng = np.random.default_rng(0)
    x = rng.normal(0, 30, (20, width)).clip(-127, 127).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    dataset = load_dataset(tmp_path / "x.npy")
    assert dataset.x.dtype == np.float32
    exact = x.astype(np.float64)
    np.testing.assert_allclose(dataset.x * dataset.deviation, exact, rtol=2e-6)
    assert abs(float(dataset.x.var(axis=0).mean()) - 1) < 1e-3


def test_options_of_a_stored_command_are_not_given(rows):
    # A text that JSON gave back is equal to the default, but another object.
    assert len(load_dataset(rows, image_fit="".join("crop")).x) == 3
