"""Words for people who have data and no field of study: methods, scores, what to do next."""

import csv
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dec_jax.evaluation.n_clusters import Recommendation

SCORES = ("ACC", "NMI", "ARI")
AGREEMENT = "how well clusters agree with the known classes, 1 at most"
# Words of results that need one, as terminal, report and docs/report.md explain them.
GLOSSARY = {
    "ACC": "share of samples in the cluster of their class, 1 at most",
    "NMI": "agreement of clusters and classes, 1 at most",
    "ARI": "agreement of two labelings, 1 at most and 0 by chance",
    "evenness": "1 where clusters are equally large",
    "silhouette": "how much nearer samples are to their own cluster than to the next, "
    "from -1 to 1",
    "eigengap": "how clearly the graph of nearest neighbors falls into k parts",
    "support": "how much simple methods agree on an answer, 1 at most",
    "least sure": "clusters that simple methods find least, with the share found",
}


def glossary_line(text: str) -> str:
    """Explains the words of `GLOSSARY` that a text holds, on one line; "" for none.

    Example:
      >>> glossary_line("simple methods agree (mean ARI 0.64)")
      '(ARI: agreement of two labelings, 1 at most and 0 by chance)'
    """
    parts = "; ".join(glossary_of(text))
    return f"({parts})" if parts else ""


def glossary_of(text: str) -> list[str]:
    """Explains the words of `GLOSSARY` that a text holds, one each."""
    used = [word for word in GLOSSARY if re.search(rf"\b{word}\b", text)]
    if set(SCORES) <= set(used):
        return [f"{', '.join(SCORES)}: {AGREEMENT}"]
    return [f"{word}: {GLOSSARY[word]}" for word in used]


def search_lines(found: Recommendation) -> list[str]:
    """Tells what a search for the number of clusters found, and what its words mean."""
    meanings = [f"  {it}" for it in glossary_of(" ".join(found.reasons))]
    return [*found.reasons, *meanings, found.text]


def next_lines(
    opinion: Mapping[str, Any], n_clusters: int, alternatives: Path
) -> list[str]:
    """Tells what to do after a second opinion that is not confident, one line each.

    Args:
      opinion: the entry of results.json.
      n_clusters: k of the run.
      alternatives: the file of other labelings, if there are any.
    """
    if opinion["verdict"] == "confident":
        return []
    if opinion["verdict"] == "no clusters":
        return [
            "next: take the clusters as a summary of the data, not as groups that are there",
            "next: try other columns, or for images and texts the vectors of an encoder",
        ]
    lines = []
    if others := labelings_in(alternatives):
        lines.append(
            f"next: look at {alternatives}, which holds other answers: {', '.join(others)}"
        )
    if k := opinion.get("other_number"):
        lines.append(f"next: try -k {k} in a new run, and compare the two reports")
    else:
        lines.append(
            f"next: try -k {max(2, n_clusters - 1)} and -k {n_clusters + 1}, or -k auto"
        )
    return lines


def labelings_in(alternatives: Path) -> list[str]:
    """Names the labelings in an alternatives.csv, next to the labels.csv of its run."""
    described = titles_of(alternatives.with_name("labels.csv"))
    return [title for title in titles_of(alternatives) if title not in described]


def titles_of(table: Path) -> list[str]:
    """Reads the first line of a table; none where it is not there."""
    try:
        with table.open(newline="", encoding="utf-8") as file:
            return next(csv.reader(file), [])
    except (OSError, ValueError, csv.Error):
        return []
