import json
import signal

import numpy as np
import pytest
from image_files import save
from programs import program

from dec_jax.cli.main import main
from dec_jax.clustering.candidates import best_cut
from dec_jax.evaluation import n_clusters


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Three blobs of a table, with their names."""
    rng = np.random.default_rng(0)
    classes = np.arange(240) % 3
    # All five columns tell the blobs apart: noise has no gap like that of the graph.
    x = 8 * np.eye(3)[classes][:, [0, 1, 2, 0, 1]] + rng.normal(size=(240, 5))
    path = tmp_path_factory.mktemp("data") / "blobs.csv"
    lines = ["a,b,c,d,e,kind"]
    lines += [
        f"{','.join(f'{value:.4f}' for value in row)},{'xyz'[label]}"
        for row, label in zip(x, classes, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_finds_the_number_of_clusters_of_a_table(table, tmp_path):
    out = tmp_path / "out"
    options = ("--label-column", "kind", "--most", 4, "--out", out)
    run = program(main, "choose-k", table, *options)
    assert run.status == 0, run.err
    printed = run.out
    assert printed.splitlines()[-1] == "recommended: 3 clusters; the data decide it"
    first = [line.split()[0] for line in printed.splitlines()]
    assert first[first.index("k") :][:4] == ["k", "2", "3", "4"]
    results = json.loads((out / "results.json").read_text())
    assert (results["recommended"], results["n_classes"]) == (3, 3)
    assert len(results["eigengap"]) == 3
    assert (out / "n_clusters.png").stat().st_size > 5_000


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--most", "1"], "--most must be at least 2, got 1."),
        (["--most", "1797"], "--most must be below the 1797 samples, got 1797."),
        (["--seed", str(2**63)], "--seed must be from 0 to 2^32 - 1, got 9223"),
        (["--pretrained", "none"], "--pretrained none: there is no such run."),
    ],
)
def test_rejects_a_mistake_in_one_line(arguments, message, tmp_path):
    run = program(main, "choose-k", "digits", *arguments, "--out", tmp_path / "out")
    assert run.status == 2
    assert run.err.startswith(f"error: {message}") and run.out == ""
    assert run.err.count("\n") == 1


def test_images_have_the_options_of_cluster(tmp_path):
    save(tmp_path / "photos" / "a.png")
    for options, message in (
        (("--image-fit", "pad"), "--image-fit pad) needs the size"),
        (("--image-size", "8x"), "such as 32 or 48x64"),
        (("--encoder", "resnet"), "--encoder must be a file that ends in .onnx"),
        (("--image-size", "8x6"), "At least 4 samples are needed to look for"),
        (("--image-size", "8x6", "--most", 2), "--most must be below the 1 samples"),
    ):
        run = program(
            main, "choose-k", tmp_path / "photos", *options, "--out", tmp_path / "out"
        )
        assert (run.status, message in run.err) == (2, True), run.err
        assert not (tmp_path / "out").exists()


def test_ctrl_c_ends_the_sweep_with_what_was_tried(table, tmp_path, monkeypatch):
    asked = []

    def press(key, *arguments):
        # As Ctrl-C in the midst of the first number.
        if not asked:
            asked.append(True)
            signal.raise_signal(signal.SIGINT)
        return best_cut(key, *arguments)

    monkeypatch.setattr(n_clusters, "best_cut", press)
    options = ("--label-column", "kind", "--most", 4, "--out", tmp_path / "out")
    run = program(main, "choose-k", table, *options)
    assert run.status == 0, run.err
    assert "Stopped after k = 2: of those that were tried," in run.out
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (results["n_clusters"], results["decided"]) == ([2], False)
