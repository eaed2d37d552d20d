import importlib
import json
import re

import jax
import jax.numpy as jnp
import pytest

from benchmarks import common, cost_model, tables
from benchmarks.common import Benchmark, Column, new_row
from dec_jax.runs.errors import UsageError

MODULES = {path.stem: path.read_text() for path in tables.HERE.glob("[a-z]*.py")}
# Those of speed have a table of one kind; the others are commands of their own.
NAMES = sorted(name for name, text in MODULES.items() if "\nBENCHMARK = " in text)
OTHERS = sorted(name for name, text in MODULES.items() if "\ndef main(" in text)
# Options that are no settings of a result, and settings that are no options.
UNSAVED, FOUND = {"folder"}, {"end_to_end": {"data"}}


def benchmark(name):
    return importlib.import_module(f"benchmarks.{name}").BENCHMARK


@pytest.mark.parametrize("name", NAMES)
def test_help_shows_the_question_and_the_options(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        benchmark(name).run(["--help"])
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: python -m benchmarks.{name} ")
    assert f"python -m benchmarks.{name}`" in shown or f".{name}\n" in shown
    assert all(flag in shown for flag in ("--rounds N", "--save"))
    assert all(flag in shown for flag in benchmark(name).options)


@pytest.mark.parametrize("name", OTHERS)
def test_help_of_the_others_shows_their_question(name, capsys):
    module = importlib.import_module(f"benchmarks.{name}")
    with pytest.raises(SystemExit, match="0"):
        module.main(["--help"])
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: python -m benchmarks.{name} ")
    assert module.__doc__.splitlines()[0] in shown


def test_each_benchmark_is_of_one_kind():
    assert not set(NAMES) & set(OTHERS)
    rest = {"common", "fuzz_files", "tables"}
    assert set(MODULES) == {*NAMES, *OTHERS, *rest}


@pytest.mark.parametrize("name", NAMES)
def test_settings_of_the_saved_results_are_the_options(name):
    options = set(vars(benchmark(name).parser().parse_args([])))
    paths = list(tables.RESULTS.glob(f"{name}-*.json"))
    assert paths
    for path in paths:
        saved = set(json.loads(path.read_text())["settings"])
        assert saved == options - UNSAVED | FOUND.get(name, set())


def test_commands_of_the_pages_are_accepted():
    pages = "".join((tables.HERE / name).read_text() for name in PAGES)
    commands = re.findall(r"`python -m benchmarks\.(\w+)([^`]*)`", pages)
    assert {name for name, _ in commands} >= set(NAMES)
    for name, arguments in commands:
        benchmark(name).parser().parse_args(arguments.split())


PAGES = ("README.md", "SCALING.md")


def rows_of(options):
    yield new_row("first", "s", 2.0, 3.0, seen=options.size)
    yield new_row("second", "s", 2.0)


EXAMPLE = Benchmark(
    "example",
    "Is it fast?",
    rows_of,
    rounds=2,
    options={"--size": {"default": [7]}, "--folder": {}},
    columns=[Column("size of it", "seen", "")],
    remark=lambda row: f"about {row['case']}",
)


@pytest.fixture
def saved(monkeypatch):
    found = []
    monkeypatch.setattr(tables, "save", lambda *what: found.append(what))
    return found


def test_a_benchmark_prints_a_line_for_each_row(saved, capsys):
    EXAMPLE.run([])
    _, head, first, second = capsys.readouterr().out.splitlines()
    names = ("case", "unit", "ours", "peer", "times as fast", "size of it")
    assert [name for name in names if name in head] == list(names)
    assert first.split() == [
        "first",
        "s",
        "2",
        "3",
        "1.5",
        "-",
        "[7]",
        "about",
        "first",
    ]
    assert second.split() == ["second", "s", "2", "-", "-", "-", "-", "about", "second"]
    assert head.index("size of it") + 10 == first.index("[7]") + 3
    assert not saved


def test_a_benchmark_saves_its_rows_with_their_settings(saved):
    EXAMPLE.run(["--rounds", "5", "--size", "9", "--folder", "here", "--save"])
    ((name, rows, settings),) = saved
    assert name == "example" and [row["case"] for row in rows] == ["first", "second"]
    assert settings == {"rounds": 5, "save": True, "size": 9}


def test_run_rejects_no_rounds():
    with pytest.raises(UsageError, match="--rounds must be at least 1, got 0."):
        EXAMPLE.run(["--rounds", "0"])


def test_a_mistake_is_told_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["example", "--rounds", "0"])
    with pytest.raises(SystemExit, match="2"):
        EXAMPLE.main()
    assert capsys.readouterr().err == "error: --rounds must be at least 1, got 0.\n"


@pytest.mark.parametrize(
    "unit, ratio", [("s", 0.25), ("ms", 0.25), ("samples/s", 4), ("%", None)]
)
def test_the_ratio_says_how_much_faster_ours_is(unit, ratio):
    assert new_row("", unit, 8.0, 2.0)["ratio"] == ratio
    assert new_row("", unit, 8.0)["ratio"] is None
    assert new_row("", unit, 8.0, 2.0, ratio=7.0)["ratio"] == 7


def test_in_turns_measures_each_program_in_each_round():
    order = []
    programs = {name: lambda name=name: order.append(name) for name in ("a", "b")}
    seconds = common.in_turns(programs, 3)
    assert order == ["a", "b"] * 3
    assert {name: len(found) for name, found in seconds.items()} == {"a": 3, "b": 3}
    assert min(map(min, seconds.values())) >= 0


def test_medians_are_those_of_the_rounds():
    assert common.medians({"a": [3, 1, 2], "b": [1, 2]}) == {"a": 2, "b": 1.5}
    assert common.median_ratio([2, 9, 8], [1, 3, 2]) == 3


def test_a_continued_program_starts_where_it_ended():
    values = []
    program = common.continued(lambda state: (2 * state, state[None]), jnp.ones(()))
    for _ in range(3):
        common.recorded(program, values)()
    assert values == [1, 2, 4]


@pytest.mark.parametrize("donated, arrays", [((), 2), ((0,), 1)])
def test_planned_bytes_count_a_donated_argument_once(donated, arrays):
    x = jnp.ones(1000)
    compiled = jax.jit(lambda x: x + 1, donate_argnums=donated).lower(x).compile()
    assert common.planned_bytes(compiled) == 4000 * arrays


def test_the_plan_is_printed_in_place_of_a_measurement(capsys):
    with pytest.raises(SystemExit):
        cost_model.BENCHMARK.run(["--plan"])
    assert capsys.readouterr().out == f"{cost_model.plan()}\n"
