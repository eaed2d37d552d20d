"""Words that people meet: names of methods, explained scores, what to do next."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from dec_jax.clustering.candidates import SimpleMethods
from dec_jax.evaluation.judge import choose_labels
from dec_jax.evaluation.n_clusters import Recommendation
from dec_jax.evaluation.second_opinion import Numbers, second_opinion
from dec_jax.runs.plain_words import (
    GLOSSARY,
    glossary_line,
    labelings_in,
    next_lines,
    search_lines,
)

X = 9 * np.eye(3)[np.arange(60) % 3] + np.random.default_rng(0).normal(size=(60, 3))
NAMES = list(SimpleMethods(X, 3).labels(3))


@pytest.fixture(scope="module")
def choice():
    return choose_labels(X, 3)


def test_every_explained_word_is_in_the_glossary_of_the_docs():
    page = (Path(__file__).parents[2] / "docs/report.md").read_text()
    words = re.findall(r"^\| ([^|`]+?) \| [^|]+ \|$", page, re.M)
    assert set(GLOSSARY) <= set(words)
    methods = {re.sub(r" \(.*| of dense.*", "", it) for it in NAMES}
    assert [it for it in methods if it.removesuffix(" linkage") not in page] == []


def test_methods_have_the_names_of_the_literature():
    assert {"k-means", "Ward linkage", "Genie linkage (Gini 0.1)"} <= set(NAMES)
    # A bare number or abbreviation after a comma tells nothing.
    assert [name for name in NAMES if "," in name or "diag " in name] == []


@pytest.mark.parametrize(
    ("numbers", "k"),
    [(Numbers({2: 0.9, 3: 0.2}), 2), (Numbers({}, parts=6), 6)],
    ids=["support", "parts"],
)
def test_another_number_of_clusters_is_named_as_the_next_to_try(
    choice, numbers, k, tmp_path
):
    found = second_opinion(choice.labels, choice.judgment, choice.space, numbers)
    assert found.verdict == "several answers"
    (line,) = next_lines(found.as_json(), 3, tmp_path / "alternatives.csv")
    assert line == f"next: try -k {k} in a new run, and compare the two reports"


def test_other_labelings_are_named_with_their_file(choice, tmp_path):
    halves = np.arange(60) // 20
    found = second_opinion(halves, choice.judgment, choice.space)
    assert found.verdict == "several answers"
    (tmp_path / "labels.csv").write_text("index,id,cluster,q\n")
    path = tmp_path / "alternatives.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerow(["index", "id", "k-means", "Ward linkage"])
    assert labelings_in(path) == ["k-means", "Ward linkage"]
    assert next_lines(found.as_json(), 3, path) == [
        f"next: look at {path}, which holds other answers: k-means, Ward linkage",
        "next: try -k 2 and -k 4, or -k auto",
    ]


def test_nothing_is_next_after_a_confident_opinion_and_much_after_none(tmp_path):
    opinion = {"verdict": "confident", "text": ""}
    assert next_lines(opinion, 3, tmp_path) == []
    lines = next_lines({"verdict": "no clusters", "text": ""}, 3, tmp_path)
    assert all(line.startswith("next: ") for line in lines) and len(lines) == 2


def test_a_search_explains_its_words():
    reasons = ("simple methods agree most on k = 2: support 0.37", "silhouette agrees")
    lines = search_lines(Recommendation(2, False, reasons))
    assert lines[2].startswith("  silhouette: how much nearer")
    assert lines[3].startswith("  support: how much simple methods agree")
    assert lines[4:] == ["recommended: 2 clusters; the data do not decide it"]
    assert search_lines(Recommendation(5, True, ("peaks",)))[-1].endswith("decide it")
    assert glossary_line("nothing to explain") == ""
