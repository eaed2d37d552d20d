"""Faults of files that `python -m benchmarks.fuzz` found."""

import numpy as np
import pytest

from dec_jax.data.load import load_dataset


@pytest.mark.parametrize("header", [b"{'descr': x", b"{\0", b"((((", b"\xff" * 9])
def test_damaged_header_of_npy_is_refused_in_one_line(header, tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((3, 2), np.float32))
    content = path.read_bytes()
    path.write_bytes(content[:10] + header + content[10 + len(header) :])
    with pytest.raises(
        ValueError, match=r"x\.npy cannot be read: its header is damaged"
    ):
        load_dataset(path)


def test_long_reason_of_a_damaged_npz_is_shortened(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, x=np.zeros((3, 2), np.float32))
    content = bytearray(path.read_bytes())
    # The length of the member's name, in its own header.
    content[26:28] = (200).to_bytes(2, "little")
    path.write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read") as raised:
        load_dataset(path)
    assert len(str(raised.value)) < 300 + len(str(path))
    assert "\n" not in str(raised.value)


def test_long_titles_make_no_long_message(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(f"{'9' * 900};b\n1;1\n1;1\n")
    with pytest.raises(ValueError, match="none is left: 999") as raised:
        load_dataset(path)
    assert len(str(raised.value)) < 450 + len(str(path))
