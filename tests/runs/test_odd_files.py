import numpy as np
from PIL import Image
from programs import cluster, program, read_csv

from dec_jax.cli.main import main


def test_a_run_names_copies_and_far_rows(small, tmp_path, no_figures):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 36)).astype(np.float32)
    x[::2, :18] += 4
    x[40] = x[2]
    x[7] += 40
    np.save(tmp_path / "x.npy", x)
    options = ("--recipe", "dec", "--architecture", small, "--epochs", 2)
    out = tmp_path / "out"
    run = cluster(
        tmp_path / "x.npy", "-k", 3, *options, "--max-intervals", 3, "--out", out
    )
    assert run.status == 0, run.err
    assert read_csv(out / "duplicates.csv") == [
        {"group": "0", "index": "2", "equal": "yes"},
        {"group": "0", "index": "40", "equal": "yes"},
    ]
    far = read_csv(out / "outliers.csv")
    assert [row["index"] for row in far] == ["7"]
    assert float(far[0]["distance"]) > 1
    line = (
        "2 samples have copies, equal or nearly so, in 1 group (duplicates.csv); 1 of 89 "
        "samples lies far from all others (outliers.csv)"
    )
    assert line in run.out.splitlines()


def test_images_are_named_by_their_files_and_sorted(
    small, tmp_path, no_figures, monkeypatch
):
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(89):
        pixels = rng.integers(0, 256, (6, 6), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    Image.fromarray(pixels).save(folder / "copy.png")
    options = ("--recipe", "dec", "--architecture", small, "--epochs", 2)
    out = tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    run = cluster("photos", "-k", 3, *options, "--max-intervals", 3, "--out", out)
    assert run.status == 0, run.err
    rows = read_csv(out / "duplicates.csv")
    assert {row["file"] for row in rows} >= {"88.png", "copy.png"}
    assert all(row["equal"] in ("yes", "nearly") for row in rows)
    monkeypatch.chdir(folder)
    done = program(main, "sort", out, "--into", tmp_path / "sorted")
    assert (done.status, done.err) == (0, "")
    names = sorted(path.name for path in (tmp_path / "sorted").rglob("*.png"))
    assert names == sorted(path.name for path in folder.iterdir())
