import json

import pytest

from dec_jax.runs.errors import UsageError
from dec_jax.runs.json_files import CHECKSUM, read_checked, write_checked

CONTENT = {"seed": 3, "loss": [0.5, float("nan")], "name": "größe", "none": None}


@pytest.fixture
def path(tmp_path):
    write_checked(tmp_path / "results.json", CONTENT)
    return tmp_path / "results.json"


def test_content_comes_back_without_its_checksum(path):
    assert str(read_checked(path, "")) == str(CONTENT)
    assert list(json.loads(path.read_text()))[-1] == CHECKSUM


def test_tuples_and_lists_have_one_checksum(path):
    write_checked(path, {"size": (3, 4)})
    assert read_checked(path, "") == {"size": [3, 4]}


def test_read_checked_rejects_every_flipped_bit_that_changes_the_content(path):
    whole = path.read_bytes()
    loaded = []
    for place in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            loaded.append(str(read_checked(path, "")))
        except UsageError:
            continue
    # A space may become another one.
    assert set(loaded) <= {str(CONTENT)}
    assert len(loaded) < len(whole)


@pytest.mark.parametrize("size", [0, 1, 20, -70, -2])
def test_read_checked_rejects_what_is_cut_off(path, size):
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(
        UsageError, match=r"results.json must be as .*versions; redo it"
    ):
        read_checked(path, "redo it")


@pytest.mark.parametrize("text", ["{}", "[]", "null", "3", '"a"', "[" * 9000, "\xff"])
def test_read_checked_rejects_json_of_another_kind(path, text):
    path.write_text(text, encoding="latin-1")
    with pytest.raises(UsageError, match="results.json must be as dec-jax wrote it"):
        read_checked(path, "redo it")


def test_read_checked_rejects_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_checked(tmp_path / "results.json", "")
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        read_checked(tmp_path, "")
