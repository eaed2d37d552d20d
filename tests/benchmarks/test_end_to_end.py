import re
import sys

import pytest

from benchmarks import end_to_end, tables
from benchmarks.end_to_end import PHASES, Run, Settings
from dec_jax.data.dataset import Dataset
from dec_jax.data.load import DatasetNotFoundError
from dec_jax.runs.errors import UsageError

pytestmark = pytest.mark.usefixtures("narrow")
TINY = Settings(rows=300, epochs=2, clustering_epochs=3, mnist=False)
SECONDS = {"load": 9.0, "pretraining": 4.0, "k-means on z": 2.0, PHASES[5]: 6.0}


@pytest.fixture
def peer(monkeypatch):
    """A peer with known seconds."""
    run = Run({**SECONDS, "total": 21.0}, 0.5)
    monkeypatch.setattr(end_to_end, "clustpy", lambda settings: lambda: run)


@pytest.fixture
def alone(monkeypatch):
    """No peer."""
    monkeypatch.setattr(end_to_end, "clustpy", lambda settings: None)


@pytest.mark.slow
def test_a_run_has_the_seconds_of_each_phase_and_finds_the_patterns():
    run = end_to_end.ours(TINY, "float32")
    assert set(run.seconds) == set(PHASES) and min(run.seconds.values()) > 0
    parts = [run.seconds[name] for name in (*PHASES[:3], PHASES[5])]
    assert run.seconds["total"] == pytest.approx(sum(parts))
    assert run.seconds[PHASES[5]] == pytest.approx(
        run.seconds["clustering"] + run.seconds["final labels"]
    )
    assert run.accuracy > 0.5


def test_the_work_is_what_was_asked_for():
    recipe = end_to_end.recipe_of(TINY, "bfloat16")
    assert recipe.architecture.precision == "bfloat16"
    assert recipe.pretrain.epochs == 2 and recipe.pretrain.batch_size == 256
    # Two batches of 300 rows, the last one partial.
    assert recipe.train.update_interval == 2 and recipe.train.max_intervals == 3
    assert recipe.train.tolerance == 0
    for config in (recipe.pretrain, recipe.train):
        assert not config.augmentation.moves_pixels


@pytest.mark.slow
def test_phases_of_both_are_compared(peer):
    found = {row["case"]: row for row in end_to_end.measure(TINY, rounds=1)}
    assert list(found) == [
        f"{name}, {precision}"
        for precision in ("float32", "bfloat16")
        for name in (*PHASES, "accuracy")
    ]
    assert {name: row["peer"] for name, row in found.items() if row["peer"]} == {
        "pretraining, float32": 4.0,
        "k-means on z, float32": 2.0,
        "clustering and final labels, float32": 6.0,
        "total, float32": 21.0,
        "accuracy, float32": 0.5,
    }
    row = found["total, float32"]
    assert row["ratio"] == pytest.approx(21.0 / row["ours"])
    assert row["first_call"] > 0 and row["peer_first_call"] == 21.0
    assert found["accuracy, float32"]["unit"] == "ACC"


@pytest.mark.slow
def test_without_the_peer_its_columns_are_empty(alone, monkeypatch):
    monkeypatch.setattr(end_to_end, "PRECISIONS", ("float32",))
    for row in end_to_end.measure(TINY, rounds=1):
        assert row["ours"] > 0 and row["peer"] is row["ratio"] is None


def test_the_peer_is_none_where_it_is_missing(monkeypatch):
    for module in ("torch", "clustpy.deep"):
        monkeypatch.setitem(sys.modules, module, None)
    assert end_to_end.clustpy(TINY) is None


@pytest.mark.filterwarnings("default")
def test_the_peer_runs_and_separates_its_phases():
    pytest.importorskip("clustpy")
    run = end_to_end.clustpy(TINY._replace(rows=40, epochs=1))()
    assert list(run.seconds) == [*SECONDS, "total"]
    assert min(run.seconds.values()) > 0
    assert run.accuracy >= 0.1


def test_digits_are_those_of_mnist_or_made_up(monkeypatch):
    x, labels = end_to_end.made_up(50)
    assert x.shape == (50, 784) and x.dtype == "uint8"
    assert sorted(set(labels)) == list(range(10))
    found = Dataset("mnist", x, labels, (28, 28, 1), "here", 1 / 255)
    monkeypatch.setattr(end_to_end, "load_dataset", lambda name: found)
    assert end_to_end.has_mnist()
    images, classes = end_to_end.digits(TINY._replace(rows=20, mnist=True))
    assert (images == x[:20]).all() and (classes == labels[:20]).all()


def test_a_run_reports_that_the_images_are_made_up(alone, monkeypatch, capsys):
    def missing(name):
        raise DatasetNotFoundError(name)

    saved = []
    monkeypatch.setattr(end_to_end, "load_dataset", missing)
    monkeypatch.setattr(tables, "save", lambda *what: saved.append(what))
    monkeypatch.setattr(end_to_end, "PRECISIONS", ("float32",))
    options = "--rows 300 --epochs 2 --clustering-epochs 3 --rounds 1 --save"
    end_to_end.BENCHMARK.run(options.split())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "300 rows of made-up bytes, as MNIST is not here"
    assert lines[3].startswith("load, float32") and len(lines) == 3 + 8
    ((name, rows, settings),) = saved
    assert name == "end_to_end" and len(rows) == 8
    assert settings["rows"] == 300 and settings["data"].startswith("made-up")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("--rows 9", "--rows must be at least 10, got 9."),
        ("--epochs 0", "--epochs must be at least 1, got 0."),
        ("--clustering-epochs 0", "--clustering-epochs must be at least 1, got 0."),
        ("--rounds 0", "--rounds must be at least 1, got 0."),
    ],
)
def test_run_rejects_what_is_no_work(arguments, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        end_to_end.BENCHMARK.run(arguments.split())


def test_run_rejects_more_rows_than_mnist_has(monkeypatch):
    x, labels = end_to_end.made_up(50)
    found = Dataset("mnist", x, labels, (28, 28, 1), "here", 1 / 255)
    monkeypatch.setattr(end_to_end, "load_dataset", lambda name: found)
    with pytest.raises(UsageError, match="--rows 51: MNIST has 50 images"):
        end_to_end.BENCHMARK.run(["--rows", "51"])
