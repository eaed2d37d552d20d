import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from programs import program, read_csv

from dec_jax import model
from dec_jax.cli.main import main
from dec_jax.cli.predict import default_out
from dec_jax.data.tables import load_table
from dec_jax.model.file import read_file, write_file
from dec_jax.networks.architecture import dense_architecture

ROOT = Path(__file__).parents[2]
CORNERS = np.array([[0, 0], [4, 0], [0, 4]], np.float32)


def predict(*arguments):
    """Runs `dec-jax predict` in this process."""
    return program(main, "predict", *arguments)


def identity_model(path, centroids, **metadata):
    """A network that gives back what it is given, so that z is x."""
    width = centroids.shape[1]
    network = dense_architecture(
        width, hidden=(), embedding_dim=width, input_scale=1 / 255
    )
    layer = {
        "dense_0": {
            "kernel": np.eye(width, dtype=np.float32),
            "bias": np.zeros(width, np.float32),
        }
    }
    params = {"encoder": layer, "decoder": layer, "centroids": centroids}
    return model.save(path, params, architecture=network, metadata=metadata)


@pytest.fixture
def corners(tmp_path):
    """A model of three clusters in the plane."""
    return identity_model(
        tmp_path / "model.safetensors", CORNERS, recipe="dec", dataset="corners", seed=3
    )


@pytest.fixture
def points(tmp_path):
    """Five points, each on a corner; cluster 0 is class 7, and one class is wrong."""
    x = CORNERS[[0, 1, 2, 2, 0]]
    np.savez(tmp_path / "points.npz", x=x, y=np.array([7, 8, 9, 9, 8]))
    np.savez(tmp_path / "unlabeled.npz", x=x)
    return tmp_path / "points.npz"


def test_clusters_of_all_samples_are_written(corners, points, tmp_path):
    out = tmp_path / "mine.csv"
    run = predict(corners, points, "--out", out)
    assert (run.status, run.err) == (0, "")
    rows = read_csv(out)
    assert [row["cluster"] for row in rows] == ["0", "1", "2", "2", "0"]
    assert [row["class"] for row in rows] == ["7", "8", "9", "9", "8"]
    # On a corner the kernels are 1, 1 / 17 and 1 / 17, or 1, 1 / 17 and 1 / 33.
    assert rows[0]["q"] == f"{1 / (1 + 2 / 17):.6f}"
    assert rows[1]["q"] == f"{1 / (1 + 1 / 17 + 1 / 33):.6f}"
    assert not list(tmp_path.glob("*.partial"))


def test_model_data_sizes_and_scores_are_printed(corners, points, tmp_path):
    out = tmp_path / "mine.csv"
    lines = predict(corners, points, "--out", out).out.splitlines()
    assert lines[0] == f"{corners}: 3 clusters, recipe dec, on corners, seed 3"
    assert lines[1] == f"points: 5 samples of 2 values (npz file {points})"
    assert lines[2].split() == ["cluster", "samples", "share", "sure"]
    assert [line.split()[:3] for line in lines[3:6]] == [
        ["0", "2", "40.0%"],
        ["1", "1", "20.0%"],
        ["2", "2", "40.0%"],
    ]
    # NMI and ARI of this table by scikit-learn.
    assert lines[6].startswith("(sure: mean share q")
    assert lines[7] == "ACC 0.800, NMI 0.737, ARI 0.375"
    assert lines[8:] == [f"clusters of all samples: {out}"]


def test_data_without_labels_are_not_scored(corners, points, tmp_path):
    out = tmp_path / "mine.csv"
    data = points.with_name("unlabeled.npz")
    run = predict(corners, data, "--out", out)
    assert run.status == 0
    assert "ACC" not in run.out
    assert set(read_csv(out)[0]) == {"index", "cluster", "q"}


def test_nothing_is_sure_in_an_empty_cluster(corners, tmp_path):
    np.save(tmp_path / "one.npy", CORNERS[:1])
    run = predict(corners, tmp_path / "one.npy", "--out", tmp_path / "mine.csv")
    assert run.out.splitlines()[4].split() == ["1", "0", "0.0%", "-"]


def test_the_table_is_named_after_the_data(corners, points, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    plain = points.with_name("unlabeled.npz")
    for data, name in (
        ((points,), "points-labels.csv"),
        ((plain,), "unlabeled-labels.csv"),
        ((points, plain), "points-and-1-more-labels.csv"),
    ):
        run = predict(corners, *data)
        assert (run.status, run.err) == (0, "")
        assert run.out.endswith(f"clusters of all samples: {name}\n")
        assert len(read_csv(Path(name))) == 5 * len(data)


def test_a_table_that_is_there_is_kept(corners, points, monkeypatch):
    monkeypatch.chdir(points.parent)
    assert predict(corners, points).status == 0
    before = Path("points-labels.csv").read_bytes()
    run = predict(corners, points)
    assert (run.status, run.err) == (
        2,
        "error: points-labels.csv exists already; name another file by --out.\n",
    )
    assert Path("points-labels.csv").read_bytes() == before


def test_default_out_names_folders_by_their_whole_name(tmp_path, monkeypatch):
    folder = tmp_path / "photos.2024"
    folder.mkdir()
    assert default_out([f"{folder}/"]) == "photos.2024-labels.csv"
    assert default_out(["mnist", "usps", "x.csv"]) == "mnist-and-2-more-labels.csv"
    monkeypatch.chdir(folder)
    assert default_out(["."]) == "photos.2024-labels.csv"


def test_images_are_read_in_the_size_and_colors_of_training(tmp_path):
    image = pytest.importorskip("PIL.Image")
    folder = tmp_path / "images"
    folder.mkdir()
    image.new("RGB", (8, 6), "black").save(folder / "a.png")
    image.new("RGB", (5, 9), "white").save(folder / "b.png")
    centroids = np.array([[1] * 6, [0] * 6], np.float32)
    path = identity_model(
        tmp_path / "m.safetensors",
        centroids,
        image_shape=[2, 3, 1],
        input_dtype="uint8",
    )
    out = tmp_path / "mine.csv"
    run = predict(path, folder, "--out", out)
    assert (run.status, run.err) == (0, "")
    assert "2 samples of 6 values" in run.out
    assert [row["cluster"] for row in read_csv(out)] == ["1", "0"]


def test_a_data_set_by_name_is_looked_for_in_the_data_dir(tmp_path, corners):
    (tmp_path / "usps").mkdir()
    np.savez(tmp_path / "usps/usps.npz", x=CORNERS)
    out = tmp_path / "mine.csv"
    run = predict(corners, "usps", "--data-dir", tmp_path, "--out", out)
    assert (run.status, len(read_csv(out))) == (0, 3)


def test_many_files_come_into_one_table(corners, points, tmp_path):
    out, plain = tmp_path / "mine.csv", points.with_name("unlabeled.npz")
    run = predict(corners, points, plain, "--out", out)
    assert (run.status, run.err) == (0, "")
    rows = read_csv(out)
    assert [row["data"] for row in rows] == [str(points)] * 5 + [str(plain)] * 5
    assert [row["index"] for row in rows] == [*"01234", *"01234"]
    assert [row["cluster"] for row in rows] == [*"01220", *"01220"]
    assert [row["class"] for row in rows] == [*"78998", *[""] * 5]
    assert "ACC" not in run.out
    assert [line.split()[1] for line in run.out.splitlines()[4:7]] == [*"424"]
    assert not list(tmp_path.glob("*.partial"))


def test_the_chosen_seed_of_a_run_is_taken(corners, points, tmp_path):
    several = tmp_path / "several"
    for seed in (1, 2):
        (several / f"seed-{seed}").mkdir(parents=True)
        copy = several / f"seed-{seed}" / "model.safetensors"
        copy.write_bytes(corners.read_bytes())
    out = tmp_path / "mine.csv"
    message = (
        f"{several} holds 2 seeds, of which none was chosen; give the folder of one,"
    )
    assert_rejected(predict(several, points, "--out", out), message, out=out)
    (several / "summary.json").write_text('{"chosen_seed": 2}')
    run = predict(several, points, "--out", out)
    assert run.out.startswith(f"{several / 'seed-2/model.safetensors'}: 3 clusters")


def test_raw_values_given_to_a_model_of_standardized_ones_are_told(tmp_path):
    rng = np.random.default_rng(0)
    raw = np.array([100, 2]) * rng.normal(size=(40, 2)) + np.array([1_000, 7])
    rows = "\n".join(f"{a:.3f},{b:.3f}" for a, b in raw)
    (tmp_path / "wine.csv").write_text(f"proline,hue\n{rows}\n")
    table = load_table(tmp_path / "wine.csv")
    metadata = model.data_metadata(table)
    file = identity_model(tmp_path / "model.safetensors", table.x[:2], **metadata)
    np.save(tmp_path / "raw.npy", raw)
    out = tmp_path / "mine.csv"
    run = predict(file, tmp_path / "raw.npy", "--out", out)
    assert run.status == 0
    start = (
        f"warning: {tmp_path / 'raw.npy'}: 40 of 40 rows have values far outside the"
    )
    assert run.err.startswith(start)
    assert "column 'proline' of row 0, where training had " in run.err
    assert "give the table itself if these are its numbers as they are" in run.err
    assert run.err.count("\n") == 1
    out.unlink()
    assert predict(file, tmp_path / "wine.csv", "--out", out).err == ""


def test_a_row_of_a_table_far_outside_is_told_by_its_line(tmp_path):
    rows = [f"{i},{i * i % 7}" for i in range(10, 50)]
    old = tmp_path / "old.csv"
    old.write_text("\n".join(["a,b", *rows]))
    table = load_table(old, keep=["a"])
    metadata = model.data_metadata(table)
    file = identity_model(tmp_path / "model.safetensors", table.x[:2], **metadata)
    new = tmp_path / "new.csv"
    new.write_text("\n".join(["a,b", *rows[:5], "9000,3", *rows[5:]]))
    run = predict(file, new, "--out", tmp_path / "mine.csv")
    assert run.err.startswith(
        f"warning: {new}: 1 of 41 rows has values far outside the range of training, such as "
        "9000 in column 'a' of line 7, where training had 10 to 49;"
    )


def test_a_low_q_is_told(tmp_path):
    path = identity_model(tmp_path / "model.safetensors", CORNERS, mean_q=0.95)
    np.save(tmp_path / "middle.npy", np.tile(CORNERS.mean(axis=0), (10, 1)))
    out = tmp_path / "mine.csv"
    run = predict(path, tmp_path / "middle.npy", "--out", out)
    assert "mean q of the own cluster is 0.52 of 1, and was 0.95 in training" in run.err


# Mistakes: one line, status 2, nothing written.


def assert_rejected(run, message, *, out):
    assert run.status == 2
    assert run.err.startswith(f"error: {message}"), run.err
    assert run.err.count("\n") == 1
    # What is refused is refused before anything is told of the data.
    assert run.out == ""
    assert not out.exists()


@pytest.fixture
def out(tmp_path):
    return tmp_path / "mine.csv"


def test_predict_rejects_a_missing_model(tmp_path, points, out):
    run = predict(tmp_path / "none", points, "--out", out)
    assert_rejected(run, f"There is no run or model {tmp_path / 'none'}.", out=out)


def test_predict_rejects_a_damaged_model(corners, points, out):
    content = bytearray(corners.read_bytes())
    content[-1] ^= 1
    corners.write_bytes(content)
    run = predict(corners, points, "--out", out)
    assert_rejected(run, f"{corners} is damaged: its content", out=out)


def test_predict_rejects_a_model_that_was_only_pretrained(corners, points, out):
    params = {
        name: value
        for name, value in model.load(corners).params.items()
        if name != "centroids"
    }
    model.save(corners, params, architecture=model.load(corners).architecture)
    run = predict(corners, points, "--out", out)
    assert_rejected(run, "The model has no centroids", out=out)


def test_predict_rejects_the_data_before_the_run(corners, points, tmp_path, out):
    (tmp_path / "mine").mkdir()
    run = corners.rename(tmp_path / "mine" / "model.safetensors").parent
    message = f"the run comes before the data: dec-jax predict {run} {points}"
    assert_rejected(predict(points, run, "--out", out), message, out=out)


def test_predict_rejects_a_folder_that_is_no_run(tmp_path, points, out):
    message = (
        f"{tmp_path} holds no model.safetensors; give the folder of a run that came"
    )
    assert_rejected(predict(tmp_path, points, "--out", out), message, out=out)


def test_predict_rejects_a_forged_model(tmp_path, points, out):
    path = identity_model(tmp_path / "model.safetensors", CORNERS)
    description, arrays = read_file(path)
    for name, value in (("deviation", 0), ("image_shape", [90_000, 90_000, 1])):
        write_file(path, arrays, {**description, "metadata": {name: value}})
        run = predict(path, points, "--out", out)
        assert_rejected(run, f"{path} cannot be used: metadata['{name}'] must", out=out)


def test_predict_rejects_one_file_of_many_and_names_it(corners, points, tmp_path, out):
    np.save(tmp_path / "wide.npy", np.zeros((4, 3), np.float32))
    run = predict(corners, points, tmp_path / "wide.npy", "--out", out)
    message = f"{tmp_path / 'wide.npy'}: x must have 2 columns, as the data "
    assert_rejected(run, message, out=out)


def test_predict_rejects_data_of_another_width(corners, tmp_path, out):
    np.save(tmp_path / "wide.npy", np.zeros((4, 3), np.float32))
    run = predict(corners, tmp_path / "wide.npy", "--out", out)
    message = (
        "x must have 2 columns, as the data 'corners' of training, got 3, 1 too many."
    )
    assert_rejected(run, message, out=out)


def test_predict_rejects_an_unknown_data_set(corners, out):
    run = predict(corners, "minst", "--out", out)
    assert_rejected(run, "Unknown dataset 'minst'; did you mean 'mnist'", out=out)


def test_a_new_table_is_scaled_as_the_one_of_training(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "old.csv").write_text(
        "a,b\n" + "\n".join(f"{x:.3f},{y:.3f}" for x, y in rng.normal(9, 4, (50, 2)))
    )
    old = load_table(tmp_path / "old.csv")
    # By the new table's own mean both of its rows would be in the middle of nothing.
    rows = (tmp_path / "old.csv").read_text().splitlines()
    new = [f"{row},{kind}" for row, kind in zip(rows[11:32:20], "xy", strict=True)]
    (tmp_path / "new.csv").write_text("\n".join([f"{rows[0]},kind", *new]))
    centroids = old.x[[10, 30, 5]]
    file = identity_model(
        tmp_path / "model.safetensors", centroids, **model.data_metadata(old)
    )
    out = tmp_path / "mine.csv"
    arguments = (tmp_path / "new.csv", "--out", out)
    run = predict(file, *arguments, "--label-column", "kind")
    assert run.status == 0, run.err
    assert "ACC 1.000" in run.out
    assert [row["cluster"] for row in read_csv(out)] == ["0", "1"]


def test_a_damaged_image_is_named_and_can_be_left_out(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, gray in (("dark", 0), ("light", 255)):
        Image.new("L", (3, 1), gray).save(folder / f"{name}.png")
    (folder / "broken.png").write_bytes(b"no image")
    file = identity_model(
        tmp_path / "model.safetensors",
        np.array([[1, 1], [0, 0]], np.float32),
        image_shape=[1, 2, 1],
    )
    out = tmp_path / "mine.csv"
    arguments = (file, folder, "--out", out)
    message = f"{folder}: 1 of 3 images cannot be read: broken.png"
    assert_rejected(predict(*arguments), message, out=out)
    assert predict(*arguments, "--skip-unreadable").status == 0
    found = {row["file"]: row["cluster"] for row in read_csv(out)}
    assert found == {"dark.png": "1", "light.png": "0"}


def test_predict_rejects_a_table_whose_scale_in_training_is_unknown(
    corners, tmp_path, out
):
    (tmp_path / "new.csv").write_text("a,b\n1,2\n3,4\n")
    run = predict(corners, tmp_path / "new.csv", "--out", out)
    message = f"{tmp_path / 'new.csv'}: the model was not trained on a table"
    assert_rejected(run, message, out=out)


def test_predict_rejects_a_file_that_is_there(corners, points, out):
    out.write_text("kept")
    run = predict(corners, points, "--out", out)
    assert (run.status, run.err) == (
        2,
        f"error: --out {out} exists already; name another file.\n",
    )
    assert out.read_text() == "kept"


def test_predict_rejects_a_path_with_a_zero_character(corners, points, out):
    run = predict(corners, points, "--out", "a\0b")
    message = "argument --out: must be a path, got a zero character in it (see dec-jax"
    assert_rejected(run, message, out=out)


def test_predict_rejects_options_of_tables_with_an_array(corners, points, out):
    for option in ("--unknown", "--missing"):
        run = predict(corners, points, option, "error", "--out", out)
        message = f"{option} is for a table, got {option[2:]}='error' with {points}."
        assert_rejected(run, message, out=out)


def test_predict_rejects_a_folder_that_is_not_there(corners, points, tmp_path):
    out = tmp_path / "none" / "mine.csv"
    run = predict(corners, points, "--out", out)
    assert_rejected(run, f"--out {out}: the folder {out.parent} does not", out=out)


def test_interrupt_writes_nothing(corners, points, out, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(model, "load", interrupted)
    run = predict(corners, points, "--out", out)
    assert (run.status, run.err) == (130, "\nStopped; nothing was written.\n")
    assert not out.exists()


def test_predict_rejects_a_command_without_data(corners):
    run = predict(corners)
    assert run.status == 2
    assert "required: DATA" in run.err


def test_module_predicts(corners, points, out):
    module = [sys.executable, "-m", "dec_jax.cli.main", "predict"]
    command = [*module, *map(str, (corners, points, "--out", out))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ACC 0.800" in done.stdout
