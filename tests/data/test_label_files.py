"""Files of labels, and the samples that two of them share."""

import numpy as np
import pytest

from dec_jax.data.label_files import CLASSES, match_labels, read_labels


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "index,file,cluster,q\n0,a.png,2,0.9\n1,b.png,0,0.8\n"),
        ("a.csv", "something\n2\n0\n"),
        ("a.tsv", "id\tlabel\nx\t2\ny\t0\n"),
        ("a.txt", "2\n0\n"),
        ("a.txt", "2\r\n0\r\n"),
    ],
)
def test_labels_are_read_from_texts(tmp_path, name, text):
    found = read_labels(write(tmp_path / name, text)).labels
    assert found.dtype == np.int64 and found.tolist() == [2, 0]


@pytest.mark.parametrize("labels", [np.array([2, 0]), np.array([["b"], ["a"]])])
def test_labels_are_read_from_arrays(tmp_path, labels):
    np.save(tmp_path / "a.npy", labels)
    assert read_labels(tmp_path / "a.npy").labels.tolist() == labels.ravel().tolist()
    np.savez(tmp_path / "a.npz", x=np.eye(2), y=labels.ravel())
    assert read_labels(tmp_path / "a.npz").labels.tolist() == labels.ravel().tolist()


def test_labels_of_words_stay_words(tmp_path):
    path = write(tmp_path / "a.csv", "cluster,class\n0,cat\n1,7\n")
    assert read_labels(path, usual=CLASSES).labels.tolist() == ["cat", "7"]
    assert read_labels(path, column="cluster").column == "cluster"


@pytest.mark.parametrize(
    ("name", "text", "column", "message"),
    [
        ("a.csv", "x,y\n1,2\n", None, r"no column cluster or label; .* \(--column y\)"),
        ("a.csv", "kind,y\n1,2\n", "kid", "no column 'kid'; did you mean 'kind'"),
        ("a.csv", "cluster\n", None, "holds no rows|cannot be read"),
        (
            "a.csv",
            "id,cluster\na,1\nb,\n",
            None,
            "a label in each row, got none in row 2",
        ),
        ("a.txt", "1\n\n2\n", None, "a label in each row, got none in row 2"),
        ("a.txt", "1\n", "kind", "column 'kind' must be left out"),
        ("a.json", "{}", None, "must be in a file that ends in .csv, .tsv"),
    ],
)
def test_read_labels_rejects_what_holds_none(tmp_path, name, text, column, message):
    with pytest.raises(ValueError, match=message):
        read_labels(write(tmp_path / name, text), column=column)


def test_read_labels_rejects_arrays_of_other_shapes_and_missing_files(tmp_path):
    np.save(tmp_path / "a.npy", np.eye(3))
    with pytest.raises(ValueError, match=r"one label a sample, .* got shape \(3, 3\)"):
        read_labels(tmp_path / "a.npy")
    np.savez(tmp_path / "a.npz", x=np.eye(2))
    with pytest.raises(ValueError, match="holds no labels; it must have an array y"):
        read_labels(tmp_path / "a.npz")
    with pytest.raises(FileNotFoundError, match=r"labels .*b\.csv does not exist"):
        read_labels(tmp_path / "b.csv")


def test_samples_are_matched_by_a_name_before_a_number(tmp_path):
    one = write(tmp_path / "a.csv", "index,file,cluster\n0,b.png,5\n1,a.png,6\n")
    two = "index,file,class\n0,a.png,cat\n1,b.png,dog\n2,c.png,emu\n"
    two = write(tmp_path / "b.csv", two)
    found = match_labels(read_labels(one), read_labels(two, usual=CLASSES))
    assert found.truth.tolist() == ["dog", "cat"]
    assert (found.by, found.unused) == ("file", 1)


def test_the_names_of_labels_for_images_are_those_that_a_run_writes(tmp_path):
    one = write(tmp_path / "a.csv", "index,file,cluster\n0,b.png,5\n1,a.png,6\n")
    two = write(tmp_path / "b.csv", "filename,label\na.png,cat\nb.png,dog\n")
    found = match_labels(read_labels(one), read_labels(two, usual=CLASSES))
    assert (found.truth.tolist(), found.by) == (["dog", "cat"], "file")


@pytest.mark.parametrize("head, line", [("class", "{1}"), ("index,class", "{0},{1}")])
def test_rows_of_a_limited_run_are_those_of_all_the_data(tmp_path, head, line):
    one = write(tmp_path / "a.csv", "index,row,cluster\n0,2,5\n1,3,6\n")
    lines = [line.format(row, name) for row, name in enumerate("vwxy")]
    two = write(tmp_path / "b.csv", "\n".join([head, *lines]))
    found = match_labels(read_labels(one), read_labels(two, usual=CLASSES))
    assert (found.truth.tolist(), found.by) == (["x", "y"], "row")


def test_samples_are_matched_by_order_without_a_shared_name(tmp_path):
    one = write(tmp_path / "a.csv", "file,cluster\nb.png,5\na.png,6\n")
    two = write(tmp_path / "b.txt", "dog\ncat\n")
    found = match_labels(read_labels(one), read_labels(two))
    assert (found.truth.tolist(), found.by) == (["dog", "cat"], "")


def test_match_labels_rejects_absent_samples_and_other_lengths(tmp_path):
    one = read_labels(write(tmp_path / "a.csv", "id,cluster\na,5\nb,6\n"))
    two = read_labels(write(tmp_path / "b.csv", "id,cluster\na,5\nc,6\n"))
    with pytest.raises(ValueError, match=r"got no id 'b' \(1 of 2 are missing\)"):
        match_labels(one, two)
    three = read_labels(write(tmp_path / "c.txt", "1\n2\n3\n"))
    with pytest.raises(ValueError, match="as many rows, or a column .* got 2 and 3"):
        match_labels(one, three)


def test_rows_are_put_in_the_order_of_the_data(tmp_path):
    rows = "\n".join(f"{i},{i % 3}" for i in reversed(range(12)))
    found = read_labels(write(tmp_path / "a.csv", f"index,cluster\n{rows}\n"))
    assert found.labels[found.order()].tolist() == [i % 3 for i in range(12)]
