from types import SimpleNamespace

import numpy as np
import pytest
from programs import SHORT, program, write_network

from dec_jax.report.write import write_report
from experiments import news_topics

WORDS = {
    "grain": ["wheat", "corn", "harvest", "tonnes", "farmers", "crop"],
    "interest": ["bank", "rate", "cut", "money", "lending", "pct"],
}
ARTICLE = """<REUTERS TOPICS="YES" LEWISSPLIT="TRAIN" OLDID="5" NEWID="{number}">
<TOPICS>{topics}</TOPICS>
<PLACES><D>usa</D></PLACES>
<TEXT>&#2;
<TITLE>{title}</TITLE>
<DATELINE> NEW YORK - </DATELINE><BODY>{body}
&#3;</BODY></TEXT>
</REUTERS>
"""


def article(number, topics, title="NEWS", body="Text of it."):
    marks = "".join(f"<D>{topic}</D>" for topic in topics)
    return ARTICLE.format(number=number, topics=marks, title=title, body=body)


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Two files of 20 articles of two topics, and of some that do not count."""
    folder = tmp_path_factory.mktemp("reuters")
    rng = np.random.default_rng(0)
    for part in range(2):
        text = '<!DOCTYPE lewis SYSTEM "lewis.dtd">\n'
        for number in range(20 * part, 20 * part + 20):
            topic = ("grain", "interest")[number % 2]
            body = " ".join(rng.permutation(WORDS[topic])[:4])
            text += article(number, [topic], title="", body=f"the {body} of the")
        text += article(900 + part, ["grain", "corn"]) + article(910 + part, [])
        (folder / f"reut2-00{part}.sgm").write_text(text, encoding="latin-1")
    return folder


@pytest.fixture(scope="module")
def finished(collection, tmp_path_factory):
    """A short run, with its report."""
    folder = tmp_path_factory.mktemp("news")
    # Twelve words have eleven directions.
    network = write_network(folder / "small.json", 11, 16, 3)
    short = ("--recipe", "dec", "--architecture", network, *SHORT)
    given = ("--reuters", collection, "-k", 2, "--out", folder / "out")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("dec_jax.report.write.try_reports", write_report)
        patched.setattr("dec_jax.runs.folder.figures_of", lambda *_: {})
        run = program(news_topics.main, *given, *short)
    return SimpleNamespace(folder=folder / "out", **vars(run))


def test_articles_of_one_topic_become_text_files(finished):
    assert finished.status == 0
    files = sorted((finished.folder / "texts").rglob("*.txt"))
    assert len(files) == 40
    assert {path.parent.name for path in files} == set(WORDS)
    assert "40 articles of 2 topics" in finished.out


def test_words_and_topics_of_each_cluster_are_printed(finished):
    at = finished.out.index("\nwords that set each cluster apart")
    lines = finished.out[at:].splitlines()[2:]
    assert [line.split(",")[0] for line in lines[:4:2]] == ["cluster 0", "cluster 1"]
    named = [set(line.partition(": ")[2].split(", ")) for line in lines[:4:2]]
    assert all(words & set(sum(WORDS.values(), [])) for words in named)
    assert all("%" in line for line in lines[1:4:2])
    assert (finished.folder / "topics.webp").stat().st_size < 150_000


def test_articles_are_read_as_plain_text(tmp_path):
    text = article(7, ["acq"], "A &lt;B> BUYS C", "AT&amp;T buys it.\n Reuter")
    text += article(8, ["acq", "earn"]) + article(9, ["acq"], body="")
    path = tmp_path / "reut2-000.sgm"
    path.write_text(text)
    found = list(news_topics.read_articles(path))
    expected = ("7", "acq", "A <B> BUYS C\n\nAT&T buys it.\n Reuter\n")
    assert found == [news_topics.Article(*expected)]


def test_drawn_are_random_and_in_their_order():
    articles = [news_topics.Article(str(n), "acq", "") for n in range(100)]
    numbers = [int(one.number) for one in news_topics.drawn(articles, 30)]
    assert len(set(numbers)) == 30 and numbers == sorted(numbers)
    assert numbers != list(range(30))
    assert news_topics.drawn(articles, 200) == articles


MISTAKES = {
    "files": ([], "holds no reut2-000.sgm; unpack Reuters-21578, Distribution 1.0"),
    "limit": (["--limit", "3"], "--limit must be at least 20, got 3."),
    "k": (["-k", "1"], "-k must be at least 2, got 1."),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_run_rejects_a_mistake_in_one_line(tmp_path, mistake):
    options, message = MISTAKES[mistake]
    out = tmp_path / "out"
    run = program(news_topics.main, "--reuters", tmp_path, "--out", out, *options)
    assert (run.status, run.err.count("\n")) == (2, 1)
    assert run.err.startswith("error: ") and message in run.err
    assert not out.exists()
