"""Help, lists and mistyped options answer without jax."""

import argparse
import subprocess
import sys
from pathlib import Path

import pytest
from programs import program

from dec_jax.cli.main import VERBS, main
from dec_jax.cli.options import typed_path
from dec_jax.data.load import DATASETS
from dec_jax.data.named import DATASETS as NAMED
from dec_jax.networks.precision import PRECISIONS as KNOWN_PRECISIONS
from dec_jax.recipes.dense import RECIPES
from dec_jax.recipes.names import PRECISIONS, STARTS
from dec_jax.recipes.names import RECIPES as LISTED
from dec_jax.runs.phase_start import START_TITLES

ROOT = Path(__file__).parents[2]


def test_names_are_those_of_the_library():
    assert tuple(LISTED) == tuple(RECIPES)
    assert tuple(PRECISIONS) == tuple(KNOWN_PRECISIONS)
    assert ("k-means", *START_TITLES) == tuple(STARTS)
    assert tuple(NAMED) == tuple(DATASETS)


@pytest.mark.parametrize(
    "arguments",
    [["--help"], *([verb, "--help"] for verb in VERBS), ["recipes"], ["cluster", "-x"]],
    ids=" ".join,
)
def test_help_and_mistakes_load_no_jax(arguments):
    script = (
        "import sys\n"
        "from dec_jax.cli.main import main\n"
        f"try: sys.exit(main({arguments}))\n"
        "finally: print('loaded:', sorted({'jax', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == (2 if "-x" in arguments else 0), done.stderr
    assert done.stdout.endswith("loaded: []\n")


# Every argument that is a path.
PATHS = {
    "cluster": ["DATA", "--data-dir", "--out", "--resume", "--encoder", "--labels-csv"]
    + ["--names", "--architecture", "--pretrained"],
    "predict": ["RUN", "DATA", "--data-dir", "--out", "--encoder", "--labels-csv"]
    + ["--names"],
    "choose-k": ["DATA", "--data-dir", "--out", "--pretrained", "--encoder"]
    + ["--labels-csv", "--names"],
    "cut": ["RUN", "--out"],
    "evaluate": ["LABELS", "--truth", "--data", "--data-dir"],
    "export": ["RUN", "--out"],
    "sort": ["RUN", "--into", "--source"],
    "report": ["RUN", "--data", "--data-dir"],
    "architectures": ["ARCHITECTURE"],
}


@pytest.mark.parametrize(
    ("verb", "name"), [(verb, name) for verb, names in PATHS.items() for name in names]
)
def test_a_home_folder_that_does_not_exist_is_one_line(verb, name):
    path = "~nobody-here/x"
    places = {"predict": ["RUN", "DATA"]}.get(verb, ["RUN"])
    words = [path if place == name else "x" for place in places]
    if name in ("DATA", "ARCHITECTURE", "LABELS") and name not in places:
        words = [path]
    options = [name, path] if name.startswith("--") else []
    if verb == "cut":
        options += ["-k", "2"]
    if verb == "sort" and name != "--into":
        options += ["--into", "x"]
    printed = program(main, verb, *words, *options)
    assert printed.status == 2
    assert printed.err == (
        f"error: argument {name}: {path} begins with ~nobody-here, which names no home "
        f"folder here; write ./{path} for a file or folder of that name (see dec-jax "
        f"{verb} --help)\n"
    )


def test_every_option_with_a_path_reads_one():
    metavars = {"DATA", "RUN", "DIR", "PATH", "FILE", "ARCHITECTURE", "LABELS"}
    for verb, names in PATHS.items():
        one = argparse.ArgumentParser()
        VERBS[verb].add_options(one)
        found = {
            (it.option_strings or [it.metavar])[-1]
            for it in one._actions
            if it.type is typed_path
        }
        assert found == set(names)
        assert {
            (it.option_strings or [it.metavar])[-1]
            for it in one._actions
            if it.metavar in metavars
        } <= found


def test_help_of_cluster_lists_recipes_and_data_sets():
    printed = program(main, "cluster", "--help")
    assert printed.status == 0
    assert "recipes: dec, dec-paper, dec-keras" in printed.out
    assert "data sets: mnist, fashion_mnist, kmnist, usps, coil20," in printed.out


def test_main_rejects_an_unknown_option_and_verb():
    printed = program(main, "cluster", "--epoch-count", 3)
    assert printed.status == 2
    assert "there is no option --epoch-count (see dec-jax cluster --help" in printed.err
    printed = program(main, "clusters")
    assert printed.status == 2
    assert "there is no verb 'clusters'; did you mean 'cluster'?" in printed.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["clusetr", "x"], "there is no verb 'clusetr'; did you mean 'cluster'?"),
        (
            ["data.csv"],
            "no verb 'data.csv'; to find the clusters of it: dec-jax cluster",
        ),
        (["walk"], "there is no verb 'walk'; the verbs are cluster, predict, cut, "),
        (["cluster", "x", "--recpie", "best"], "--recpie; did you mean '--recipe'?"),
        (
            ["sort", "x", "--inot=y"],
            "there is no option --inot; did you mean '--into'?",
        ),
        (
            ["cluster", "x", "--precision", "flaot32"],
            "argument --precision: must be one of float32, bfloat16, got 'flaot32'; did you "
            "mean 'float32'?",
        ),
        (
            ["cluster", "dta.csv", "-k", "2"],
            "table dta.csv does not exist; did you mean",
        ),
        (["cluster", "data.cvs", "-k", "2"], "did you mean 'data.csv'?"),
        (["cluster", "fotos", "-k", "2"], "folder fotos; did you mean 'photos'?"),
        (
            ["cluster", "./phots", "-k", "2"],
            "./phots does not exist; did you mean 'photos'?",
        ),
        (["cluster", "phtos/a.npy", "-k", "2"], "did you mean 'photos/a.npy'?"),
        (
            ["cluster", "data.csv", "-k", "2", "--architecture", "smal.json"],
            "smal.json cannot be read: No such file or directory; did you mean 'small.json'?",
        ),
        (["cluster", "usps", "--data-dir", "photo"], "did you mean 'photos'?"),
        (["predict", "photo", "x"], "no run or model photo; did you mean 'photos'?"),
        (["report", "photo"], "got no folder; did you mean 'photos'?"),
        (["cluster", "--resume", "photo"], "no such run; did you mean 'photos'?"),
        (
            ["cluster", "data.csv", "-k", "2", "--recipe", "atuo"],
            "did you mean 'auto'?",
        ),
        (
            ["cluster", "data.csv", "-k", "auto", "--recipe", "atuo"],
            "did you mean 'auto'?",
        ),
    ],
    ids=lambda it: " ".join(it) if isinstance(it, list) else "",
)
def test_main_rejects_a_near_miss_and_names_what_may_be_meant(
    words, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.csv").write_text("a,b\n1,2\n3,5\n2,2\n4,1\n")
    (tmp_path / "small.json").touch()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.npy").touch()
    printed = program(main, *words)
    assert (printed.status, printed.out) == (2, "")
    assert printed.err.startswith("error: ") and printed.err.count("\n") == 1
    assert message in printed.err


def test_recipes_lists_each_on_a_line():
    lines = program(main, "recipes").out.splitlines()
    # The second line of each tells what to expect, under the first.
    assert [line.split()[0] for line in lines[::2]] == list(RECIPES)
    assert all(line.startswith("  ") for line in lines[1::2])


def test_info_shows_versions_and_the_faster_precision():
    printed = program(main, "info")
    assert printed.status == 0
    assert "jax " in printed.out and " is the faster one here" in printed.out


def test_architectures_lists_and_draws():
    assert "mnist-conv" in program(main, "architectures").out
    drawn = program(main, "architectures", "mnist-conv")
    assert drawn.status == 0 and "Conv2D" in drawn.out
    wrong = program(main, "architectures", "mnist-cnv")
    assert (wrong.status, wrong.err.count("\n")) == (2, 1)
    assert "did you mean 'mnist-conv'" in wrong.err
