import json
import re

import numpy as np
import pytest

from dec_jax.cli import choose_k


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Three blobs of a table, with their names."""
    rng = np.random.default_rng(0)
    classes = np.arange(240) % 3
    x = 8 * np.eye(3, 5)[classes] + rng.normal(size=(240, 5))
    path = tmp_path_factory.mktemp("data") / "blobs.csv"
    lines = ["a,b,c,d,e,kind"]
    lines += [
        f"{','.join(f'{value:.4f}' for value in row)},{'xyz'[label]}"
        for row, label in zip(x, classes, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_finds_the_number_of_clusters_of_a_table(table, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["--dataset", str(table), "--label-column", "kind", "--epochs", "30"]
    assert choose_k.main([*arguments, "--most", "4", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == "recommended: 3 clusters; the data decide it"
    rows = [line.split()[0] for line in printed.splitlines()[3:7]]
    assert rows == ["k", "2", "3", "4"]
    results = json.loads((out / "results.json").read_text())
    assert (results["recommended"], results["n_classes"]) == (3, 3)
    assert len(results["eigengap"]) == 3
    assert (out / "n_clusters.png").stat().st_size > 5_000


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--most", "1"], "--most must be at least 2, got 1."),
        (["--most", "1797"], "--most must be below the 1797 samples, got 1797."),
        (["--pretrained", "none"], "--pretrained none: no autoencoder.safetensors"),
    ],
)
def test_rejects_a_mistake_in_one_line(arguments, message, tmp_path, capsys):
    out = ["--out", str(tmp_path / "out")]
    assert choose_k.main(["--dataset", "digits", *arguments, *out]) == 2
    error = capsys.readouterr().err
    assert re.match(rf"error: {re.escape(message)}", error)
    assert error.count("\n") == 1
