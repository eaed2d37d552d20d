"""The pages: Python blocks run, commands parse, links lead somewhere, numbers are kept ones."""

import ast
import re
import subprocess
import sys

import pytest
from pages import ROOT, blocks, check_command, commands, links, run_python

import dec_jax
from experiments import collect_results

DOCS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))
PAGES = [*DOCS, "CONTRIBUTING.md", "experiments/README.md", "experiments/TRIED.md"]
COMMANDS = [(page, words) for page in PAGES for words in commands(page)]
# Pages whose blocks take more than a few seconds.
SLOW = (
    *("docs/choosing-k.md", "docs/estimator.md", "docs/index.md"),
    *("docs/own-network.md", "docs/own-objective.md", "docs/scale.md"),
    "docs/which-recipe.md",
)
WITH_PYTHON = [
    pytest.param(page, marks=pytest.mark.slow if page in SLOW else ())
    for page in PAGES
    # The blocks of docs/export.md are two programs, with a test of their own.
    if "```python" in (ROOT / page).read_text() and page != "docs/export.md"
]


@pytest.mark.parametrize("page", WITH_PYTHON)
def test_python_blocks_run(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_python(page)


@pytest.mark.parametrize(
    ("page", "words"), COMMANDS, ids=[" ".join(words) for _, words in COMMANDS]
)
def test_command_parses(page, words, monkeypatch):
    check_command(words, monkeypatch)


@pytest.mark.slow
def test_the_second_program_of_the_export_runs_without_this_library(
    tmp_path, monkeypatch
):
    first, second = blocks("docs/export.md", "python")
    monkeypatch.chdir(tmp_path)
    exec(compile(first, "docs/export.md", "exec"), {"__name__": "first"})
    # No module of the library can be imported there.
    script = f"import sys\nsys.modules['dec_jax'] = None\n{second}"
    answer = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.endswith("(100, 10) (100, 10)\n")


def test_check_command_refuses_what_does_not_exist(monkeypatch):
    check_command(["JAX_PROCESS_ID=0", "dec-jax", "cluster", "mnist"], monkeypatch)
    with pytest.raises(SystemExit):
        check_command(["dec-jax", "cluster", "mnist", "--colour"], monkeypatch)
    module = ["python", "-m", "experiments.mnist_dec"]
    check_command([*module, "--seeds", "5"], monkeypatch)
    with pytest.raises(SystemExit):
        check_command([*module, "--seed-count", "5"], monkeypatch)
    for wrong in (["make", "nothing"], ["pip", "install", ".[none]"], ["rm", "-r"]):
        with pytest.raises(AssertionError):
            check_command(wrong, monkeypatch)


@pytest.mark.parametrize("page", PAGES)
def test_links_exist(page):
    folder = (ROOT / page).parent
    assert [link for link in links(page) if not (folder / link).exists()] == []


def test_the_kinds_of_input_name_tests_that_exist():
    rows = re.findall(
        r"^\| .+ \| .+ \| (`.+`) \|$", (ROOT / "docs/inputs.md").read_text(), re.M
    )
    assert len(rows) >= 80
    named = {name for row in rows for name in re.findall("`(.+?)`", row)}
    missing = [name for name in named if not (ROOT / "tests" / f"{name}.py").exists()]
    assert missing == []


def test_every_public_name_has_its_place_in_the_api():
    listed = re.findall(
        r"^::: dec_jax\.(\w+)$", (ROOT / "docs/api.md").read_text(), re.M
    )
    assert sorted(listed) == sorted(set(dec_jax.__all__) - {"__version__"})


def test_expected_ranges_are_those_of_the_kept_results():
    rows = re.findall(
        r"^\| (\w+) \| (`[^`]+`) \| .* \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$",
        (ROOT / "docs/reproducing.md").read_text(),
        re.M,
    )
    kept = {
        (run["dataset"], collect_results.called(run)): (
            collect_results.seeds_of(run),
            *(collect_results.mean_sd_range(run[score]) for score in ("acc", "nmi")),
        )
        for run in collect_results.kept_results().values()
        if "stages" in run and run.get("recipe") != "compare"
    }
    assert {(data, recipe): tuple(cells) for data, recipe, *cells in rows} == kept


def test_version_of_the_citation_is_that_of_the_library():
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {dec_jax.__version__}\n" in citation


def test_version_is_a_literal_that_a_build_reads_without_jax():
    tree = ast.parse((ROOT / "dec_jax/__init__.py").read_text())
    values = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and ast.unparse(node.targets[0]) == "__version__"
    ]
    assert values == [dec_jax.__version__]


def test_ci_runs_on_the_oldest_python_with_the_lowest_versions():
    setup = (ROOT / "setup.cfg").read_text()
    python = re.search(r"python_requires = >=(.*)", setup)[1]
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()
    assert f'python: "{python}", resolution: lowest-direct' in workflow


@pytest.mark.slow
def test_site_builds_strictly(tmp_path):
    answer = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    assert "dec_jax.soft_assignment" in (tmp_path / "api/index.html").read_text()
