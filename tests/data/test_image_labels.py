import numpy as np
import pytest
from image_files import RAMP, save, save_broken

from dec_jax.data.images import load_image_folder


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
        ((*ROWS, "9.png,1"), "line 5: 9.png is not an image in"),
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
        ("filename,label\n1.png,1\n7.png,1\n", "line 3: 7.png is not an image in"),
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
