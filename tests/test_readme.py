"""The README's library example runs as it stands there, and its links lead somewhere."""

import re
from pathlib import Path

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


def test_files_named_by_the_experiments_readme_exist():
    text = (ROOT / "experiments/README.md").read_text()
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert [link for link in links if not (ROOT / "experiments" / link).exists()] == []
