import numpy as np
import pytest
from finished_runs import image_data, write_run

from dec_jax.report.run_files import read_run, read_settings, seed_folders
from dec_jax.runs.errors import UsageError
from dec_jax.runs.json_files import read_checked, write_checked


@pytest.fixture
def folder(tmp_path):
    data = image_data()
    return write_run(tmp_path / "run", data, data.labels)


def test_labels_and_ranks_are_those_that_the_run_wrote(folder):
    run = read_run(folder)
    assert run.labels.tolist() == [0, 1, 2] * 20
    assert sorted(run.typical[run.labels == 1]) == pytest.approx(np.linspace(0, 1, 20))
    assert run.history[0]["phase"] == "pretraining"
    assert (run.seeds, run.alternatives) == ((), ())


def test_settings_take_data_that_have_moved(folder):
    assert read_settings(folder).dataset == "stripes"
    assert read_settings(folder, "elsewhere.npz").dataset == "elsewhere.npz"


def test_seed_folders_are_those_of_finished_seeds(tmp_path):
    data = image_data()
    for seed in (2, 10):
        write_run(tmp_path / f"seed-{seed}", data, data.labels)
    (tmp_path / "seed-11").mkdir()
    names = [path.name for path in seed_folders(tmp_path)]
    assert names == ["seed-2", "seed-10"]


def test_seed_folders_rejects_a_folder_of_no_run(tmp_path):
    with pytest.raises(UsageError, match="must be the folder of a run, got no folder"):
        seed_folders(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"got no results\.json and no config\.json"):
        seed_folders(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UsageError, match="finish it by dec-jax cluster --resume "):
        seed_folders(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "results.json",
            "{",
            r"results\.json must be as .*; run dec-jax cluster again",
        ),
        ("results.json", "[]", r"results\.json must be as dec-jax wrote it"),
        ("results.json", "{}", r"results\.json must be as dec-jax wrote it"),
        ("config.json", "null", r"config\.json must be as dec-jax wrote it"),
        ("results.json", "\xff", r"results\.json must be as dec-jax wrote it"),
        ("config.json", None, r"config\.json cannot be read: No such file"),
        ("labels.csv", None, r"labels\.csv cannot be read: No such file"),
        ("labels.csv", "index,q\n0,1\n", r"labels\.csv is damaged"),
        ("labels.csv", "index,cluster,q\n0,9,1\n", r"labels\.csv is damaged"),
        ("labels.csv", "index,cluster,q\n0,x,1\n", r"labels\.csv is damaged"),
        ("alternatives.csv", "index,a\n99,1\n", r"alternatives\.csv is damaged"),
        ("alternatives.csv", "index,a\n1,\n", r"alternatives\.csv is damaged"),
    ],
)
def test_read_run_rejects_a_damaged_file_in_one_line(folder, name, content, message):
    path = folder / name
    if content is None:
        path.unlink()
    else:
        path.write_text(content, encoding="latin-1")
    with pytest.raises(UsageError, match=message):
        read_run(folder)


def test_a_run_before_second_opinions_is_read(folder):
    path = folder / "results.json"
    results = read_checked(path, "")
    del results["opinion"]
    write_checked(path, results)
    assert read_run(folder).results["opinion"] is None


def test_read_run_rejects_the_results_of_another_program(folder):
    write_checked(folder / "results.json", {"loss": 1})
    with pytest.raises(
        UsageError, match="of dec-jax cluster, got no entry 'recipe' in"
    ):
        read_run(folder)
