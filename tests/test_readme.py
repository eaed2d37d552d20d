"""The README's library example runs as it stands there, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_library_example_clusters_the_digits(capsys):
    first, *others = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len([line for line in first.splitlines() if line]) <= 12
    names = {}
    for example in (first, *others):
        exec(example, names)
    assert names["result"].labels.shape == (1797,)
    accuracy = float(capsys.readouterr().out.split()[-1])
    assert accuracy > 0.6


def test_links_of_the_readme_exist():
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("page", ["README.md", "TRIED.md"])
def test_files_named_by_the_experiments_pages_exist(page):
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "experiments" / page).read_text())
    assert links
    assert [link for link in links if not (ROOT / "experiments" / link).exists()] == []
