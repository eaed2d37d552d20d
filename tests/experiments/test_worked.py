"""The parts that all worked problems share: help without jax, commands, one picture."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from programs import program

from experiments import known_groups, news_topics, photo_patches, sort_digits, worked

ROOT = Path(__file__).parents[2]
MODULES = (known_groups, news_topics, photo_patches, sort_digits)


@pytest.mark.parametrize("module", MODULES)
def test_help_names_the_program(module):
    run = program(module.main, "--help")
    assert run.status == 0
    assert run.out.startswith(f"usage: {module.PROGRAM}")


@pytest.mark.parametrize("module", MODULES)
def test_help_loads_no_jax(module):
    script = (
        f"import sys, {module.__name__} as program\n"
        "try: program.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'jax', 'sklearn', 'pandas', 'matplotlib'}\n"
        "print('loaded:', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.endswith("loaded: []\n"), done.stderr


@pytest.mark.parametrize("module", MODULES)
def test_run_rejects_an_unknown_option_before_any_work(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = program(module.main, "--epoch-count", 3)
    assert (run.status, run.err.count("\n")) == (2, 1)
    assert run.err.startswith("error: unrecognized arguments: --epoch-count 3")
    assert list(tmp_path.iterdir()) == []


def test_a_command_is_shown_as_it_is_typed_and_its_failure_ends_the_program(capsys):
    with pytest.raises(SystemExit) as ended:
        worked.run_command("cluster", Path("no photos"), "-k", 3)
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == "\n$ dec-jax cluster 'no photos' -k 3\n"
    assert printed.err.startswith("error: ")


def test_picture_has_a_row_for_each_folder_and_frames_the_others(tmp_path):
    for name, color in (("a", "blue"), ("b", "green")):
        Image.new("RGB", (8, 8), color).save(tmp_path / f"{name}.png")
    a, b = tmp_path / "a.png", tmp_path / "b.png"
    path = tmp_path / "sheet.png"
    worked.draw_folders({"first": ([a, a], [b]), "second": ([b], [])}, path)
    with Image.open(path) as sheet:
        pixels = sheet.convert("RGB")
        colors = {color for _, color in pixels.getcolors(10_000)}
        assert pixels.height == worked.GAP + 2 * (32 + worked.GAP)
    assert {(0, 0, 255), (0, 128, 0), (255, 0, 0)} <= colors
