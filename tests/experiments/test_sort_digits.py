from types import SimpleNamespace

import pytest
from programs import SHORT, program, write_network

from experiments import sort_digits


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A short run on 60 digits."""
    folder = tmp_path_factory.mktemp("sort")
    network = write_network(folder / "small.json", 64, 16, 4)
    short = ("--recipe", "dec", "--architecture", network, *SHORT)
    out = folder / "out"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("dec_jax.runs.folder.figures_of", lambda *_: {})
        run = program(sort_digits.main, "--limit", 60, "--out", out, *short)
    return SimpleNamespace(folder=out, **vars(run))


def test_pictures_are_copied_into_a_folder_for_each_cluster(finished):
    assert finished.status == 0
    photos = {path.name for path in (finished.folder / "photos").iterdir()}
    assert len(photos) == 60 and "0003-is-3.png" in photos
    into = [path.name for path in (finished.folder / "sorted").rglob("*.png")]
    assert len(into) == 60 and set(into) == photos


def test_purity_is_that_of_the_names_in_each_folder(finished):
    right = 0
    for folder in (finished.folder / "sorted").iterdir():
        digits = [path.name[-5] for path in folder.iterdir()]
        right += max(digits.count(digit) for digit in digits)
    last = finished.out.splitlines()[-1]
    assert last.startswith(f"purity of the folders {right / 60:.3f}, ")
    assert last.endswith(" s in all")


def test_commands_are_shown_and_leave_their_files(finished):
    shown = [line.split()[2] for line in finished.out.splitlines() if line[:1] == "$"]
    assert shown == ["cluster", "sort", "report"]
    assert (finished.folder / "run/report.html").is_file()
    assert (finished.folder / "sorted.webp").stat().st_size < 150_000


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (9, "error: --limit must be at least 10, got 9."),
        (1798, "error: --limit must be at most 1,797, got 1,798."),
    ],
)
def test_run_rejects_a_limit_in_one_line(tmp_path, limit, message):
    out = tmp_path / "out"
    run = program(sort_digits.main, "--limit", limit, "--out", out)
    assert (run.status, run.err) == (2, f"{message}\n")
    assert not out.exists()


def test_run_rejects_a_folder_that_is_not_empty(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    run = program(sort_digits.main, "--out", tmp_path)
    assert (run.status, run.err.count("\n")) == (2, 1)
    assert f"--out {tmp_path} is not an empty folder" in run.err
