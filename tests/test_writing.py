import pytest

from dec_jax.writing import whole_file


def test_a_file_that_is_whole_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("old")
    with whole_file(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["labels.csv"]


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()])
def test_a_file_that_fails_leaves_the_old_one(tmp_path, error):
    path = tmp_path / "labels.csv"
    path.write_text("old")
    with pytest.raises(type(error)), whole_file(path) as partial:
        partial.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["labels.csv"]


def test_a_folder_that_is_gone_is_the_error_that_is_told(tmp_path):
    path = tmp_path / "gone" / "labels.csv"
    with pytest.raises(FileNotFoundError), whole_file(path) as partial:
        partial.write_text("new")
