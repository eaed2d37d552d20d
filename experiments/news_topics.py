"""Clusters news of Reuters by their words, and prints the words of each cluster.

    python -m experiments.news_topics --reuters reuters21578
    python -m experiments.news_topics --limit 1000 -k 12 --out runs/news

Reads the files reut2-000.sgm to reut2-021.sgm of "Reuters-21578, Distribution 1.0" (D. D.
Lewis), or those of them that are there. Of the articles with a body and exactly one
topic, some are drawn at random, and written as one text file each, in a folder for each
topic. `dec-jax cluster` reads the texts alone; the topics are compared afterwards.
"""

import argparse
import html
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from dec_jax.runs.errors import UsageError, check_least, exit_status
from experiments.worked import check_command, new_parser, run_command

PROGRAM = "python -m experiments.news_topics"
TOPICS_SHOWN = 10


class Article(NamedTuple):
    """A piece of news with its only topic."""

    number: str
    topic: str
    text: str


def parser() -> argparse.ArgumentParser:
    """Makes the parser of the options."""
    out = new_parser(PROGRAM, "Clusters news of Reuters by their words.")
    add = out.add_argument
    what = "folder of the reut2-*.sgm files (default $DEC_JAX_DATA/reuters21578)"
    add("--reuters", metavar="DIR", help=what)
    what = "take N articles at random (default 2000)"
    add("--limit", metavar="N", type=int, default=2000, help=what)
    add("-k", "--n-clusters", metavar="K", type=int, default=10, help="default 10")
    return out


def main(arguments: list[str]) -> int:
    """Clusters; returns the exit status."""
    options, further = parser().parse_known_args(arguments)
    return exit_status(
        lambda: run(vars(options), further), "Stopped before the news were clustered."
    )


def run(options: dict[str, Any], further: list[str]) -> None:
    """Writes, clusters and compares."""
    check_command("cluster", "texts", *further)
    check_least(options, limit=20, n_clusters=2)
    articles = drawn(find_articles(options["reuters"]), options["limit"])
    # Only now, because it loads jax.
    from dec_jax.runs.folder import prepare

    default = "runs/news-topics"
    out = prepare(Path(options["out"] or default), explicit=options["out"] is not None)
    texts, found = out / "texts", out / "run"
    for article in articles:
        file = texts / article.topic / f"{article.number}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(article.text, encoding="utf-8")
    topics = len({article.topic for article in articles})
    print(f"{len(articles):,} articles of {topics} topics: {texts}")
    k = options["n_clusters"]
    given = ("-k", k, "--folder-labels", "--out", found)
    run_command("cluster", texts, *given, *further)
    compare(found, out / "topics.webp")


def find_articles(given: str | None) -> list[Article]:
    """Reads the articles of exactly one topic from all files of a folder.

    Args:
      given: the folder; None takes that in DEC_JAX_DATA.

    Raises:
      UsageError: there are none.
    """
    folder = Path(given or Path(os.environ.get("DEC_JAX_DATA", ".")) / "reuters21578")
    files = sorted(folder.glob("reut2-*.sgm"))
    if not files:
        raise UsageError(
            f"{folder} holds no reut2-000.sgm; unpack Reuters-21578, Distribution 1.0 "
            "(reuters21578.tar.gz of the UCI repository) there, or name its folder by "
            "--reuters."
        )
    return [article for file in files for article in read_articles(file)]


def read_articles(file: Path) -> Iterator[Article]:
    """Reads the articles of a file that have a body and exactly one topic."""
    text = file.read_text(encoding="latin-1")
    for number, inside in re.findall(
        r'<REUTERS [^>]*NEWID="(\d+)"[^>]*>(.*?)</REUTERS>', text, flags=re.DOTALL
    ):
        topics = re.findall(r"<D>(.*?)</D>", between(inside, "TOPICS"))
        body = between(inside, "BODY")
        if len(topics) == 1 and body:
            yield Article(number, topics[0], f"{between(inside, 'TITLE')}\n\n{body}\n")


def between(text: str, tag: str) -> str:
    """Returns what stands between a tag and its end, as plain text, or ""."""
    found = re.search(rf"<{tag}>(.*?)</{tag}>", text, flags=re.DOTALL)
    # Topics hold tags of their own, which stay.
    return html.unescape(found[1]).strip() if found else ""


def drawn(articles: list[Article], limit: int) -> list[Article]:
    """Draws articles at random; all where there are no more."""
    import numpy as np

    rows = np.random.default_rng(0).permutation(len(articles))[:limit]
    return [articles[row] for row in sorted(rows)]


def compare(found: Path, picture: Path) -> None:
    """Prints the words and the commonest topics of each cluster, and draws the topics."""
    import pandas as pd

    rows = pd.read_csv(found / "labels.csv")
    topics = rows["file"].str.partition("/")[0]
    print("\nwords that set each cluster apart (clusters.csv), and its topics")
    for one in pd.read_csv(found / "clusters.csv").itertuples():
        shares = topics[rows["cluster"] == one.cluster].value_counts(normalize=True)
        common = shares[shares >= 0.01][:3]
        words = ", ".join(f"{topic} {share:.0%}" for topic, share in common.items())
        print(f"cluster {one.cluster}, {one.size} articles: {one.content}\n  {words}")
    draw(topics, rows["cluster"], picture)
    print(f"picture: {picture}")


def draw(topics: Any, clusters: Any, path: Path) -> None:
    """Draws how the commonest topics are spread over the clusters."""
    import pandas as pd

    from dec_jax.plots.embedding import new_figure

    common = topics.value_counts().index[:TOPICS_SHOWN]
    shares = pd.crosstab(topics, clusters, normalize="index").loc[common]
    figure = new_figure(1.5 + 0.45 * shares.shape[1], 1 + 0.35 * len(shares))
    panel = figure.subplots()
    image = panel.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    figure.colorbar(image, ax=panel, label="share of the topic")
    sizes = topics.value_counts()
    names = [f"{topic} ({sizes[topic]:,})" for topic in common]
    panel.set_yticks(range(len(names)), names)
    panel.set_xticks(range(shares.shape[1]), shares.columns)
    panel.set(xlabel="cluster")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
