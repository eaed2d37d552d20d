from collections import Counter

import numpy as np
import pytest

from benchmarks import damage
from dec_jax.runs import folder as run_folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(run_folder, "figures_of", lambda *_: {})
        yield damage.Runs(tmp_path_factory.mktemp("damage"))


@pytest.mark.parametrize("kind", damage.READERS)
def test_whole_files_are_read_right(runs, kind):
    runs.renew()
    assert damage.READERS[kind](runs) == "right"


@pytest.mark.parametrize("kind", damage.READERS)
def test_one_flipped_bit_is_noticed(runs, kind):
    runs.renew()
    part = "stopped" if kind == damage.CHECKPOINTS else "run"
    files = [path for path in (runs.work / part).rglob("*") if path.is_file()]
    path = max(
        (path for path in files if kind in str(path)), key=lambda p: p.stat().st_size
    )
    content = bytearray(path.read_bytes())
    place = len(content) // 2
    if path.suffix == ".json" and b'"seed": ' in content:
        # In the middle may be the last digit of a float, which decides nothing.
        place = content.index(b'"seed": ') + len('"seed": ')
    content[place] ^= 1
    path.write_bytes(content)
    assert damage.READERS[kind](runs) in ("refused", "fell back")


def test_a_change_that_no_checksum_shows_would_be_wrong(runs):
    runs.renew()
    labels = runs.work / "run" / "labels.csv"
    labels.write_text(labels.read_text().replace("0,", "1,", 1))
    assert damage.READERS[damage.RESULTS](runs) == "wrong"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_nothing_loads_wrong_after_twenty_damages(runs, tmp_path, capfd):
    rows = damage.measure(runs, 20, seed=0)
    told = capfd.readouterr()
    assert "Traceback" not in told.out + told.err
    assert [row["file"] for row in rows] == list(damage.READERS)
    total = sum(
        (Counter(row) for row in map(dict.copy, rows) if row.pop("file")), Counter()
    )
    assert total["wrong"] == 0, told.out
    assert sum(total.values()) == 20 and total["refused"] >= 10


def test_each_way_changes_or_removes_a_file(tmp_path):
    rng, seen = np.random.default_rng(0), set()
    other = tmp_path / "other"
    other.write_bytes(b"other")
    for turn in range(40):
        path = tmp_path / str(turn)
        path.write_bytes(bytes(range(1, 200)))
        way = damage.damage(rng, path, [other])
        assert path.exists() == (way != "missing")
        if path.exists():
            assert path.read_bytes() != bytes(range(1, 200)), way
        seen.add(way)
    assert seen == set(damage.WAYS)
