import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from finished_runs import change_results, image_data, write_run
from programs import read_csv

from dec_jax.data.tables import load_table
from dec_jax.report import page as report_page
from dec_jax.report.run_files import UsageError
from dec_jax.report.write import try_reports, write_report

SEVERAL = {"verdict": "several answers", "text": "several answers are possible: Ward"}
EVIL = "<img src=x onerror=alert(1)></script><script>alert(2)</script>@row ${x}\x1b[31m"


class Reader(HTMLParser):
    """Collects the headings, the text outside of scripts, and the tags of a page."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.tags, self.headings = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("img", "meta", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.text.append(data)
            if self.open and re.fullmatch("h[1-6]", self.open[-1]):
                self.headings.append(data)


def read(path):
    """Parses a page."""
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.words = " ".join(" ".join(reader.text).split())
    return reader


def evil_table():
    """A table whose names and values try to break out of the page."""
    values = np.where(np.arange(60) % 3 == 0, EVIL, "plain")
    frame = pd.DataFrame({"size": np.arange(60.0) % 3, EVIL: values})
    return load_table(frame, name=EVIL)


@pytest.fixture(scope="module")
def of_images(tmp_path_factory):
    data = image_data(names=tuple(f"photo {row}.png" for row in range(60)))
    folder = tmp_path_factory.mktemp("images")
    return write_report(write_run(folder, data, data.labels, 4, opinion=SEVERAL), data)


@pytest.fixture(scope="module")
def of_table(tmp_path_factory):
    data, folder = evil_table(), tmp_path_factory.mktemp("table")
    write_run(folder, data, np.arange(60) % 3)
    warnings = ["cluster 1 is empty: start again"]
    health = {"healthy": False, "warnings": warnings, "max_q": 0.5, "evenness": 0.1}
    change_results(folder, health={**health, "smallest": 0, "largest": 60})
    return write_report(folder, data)


def test_page_tells_what_was_clustered_and_how(of_images):
    found = read(of_images)
    assert "60 gray images of 5 x 6 pixels in 4 clusters" in found.words
    assert "Several answers. Ward. Try -k 3 and -k 5, or -k auto." in found.words
    assert "Stable. Clusters of 5 to 9 samples" in found.words
    assert "accuracy 0.900 , NMI 0.800" in found.words
    assert found.headings[0] == "Clusters of stripes"
    for heading in ("Map", "Clusters", "Classes and clusters", "Training", "Stages"):
        assert heading in found.headings


def test_page_needs_no_other_file(of_images):
    text = of_images.read_text(encoding="utf-8")
    found = read(of_images)
    loaded = [
        attributes.get("src", attributes.get("href", ""))
        for tag, attributes in found.tags
        if tag in ("img", "script", "link", "iframe")
    ]
    assert [it for it in loaded if it and not it.startswith("data:")] == []
    assert "@import" not in text
    assert len(text.encode()) < 3_000_000


def test_a_card_shows_mean_and_members_of_each_cluster(of_images):
    found = read(of_images)
    images = [attributes for tag, attributes in found.tags if tag == "img"]
    # The mean, and 20 members in three groups of at most 8, of three clusters.
    assert len(images) == 3 * (1 + 20)
    assert all("alt" in image for image in images)
    assert images[0]["alt"] == "Mean image of cluster 0"
    groups = [tag for tag in found.tags if tag[1].get("role") == "img"]
    words = [attributes.get("aria-label", "") for _, attributes in groups]
    assert any(it.startswith("8 images nearest to the center: photo ") for it in words)


def test_headings_have_no_gaps_and_buttons_have_states(of_images):
    found = read(of_images)
    levels = [int(tag[1]) for tag, _ in found.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    steps = np.diff(levels)
    assert steps.max() <= 1 or levels[1] == 3
    buttons = [attributes for tag, attributes in found.tags if tag == "button"]
    states = [it["aria-pressed"] for it in buttons if "data-cluster" in it]
    assert states == ["true"] * 3
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    links = [attributes["href"] for tag, attributes in found.tags if tag == "a"]
    assert {link[1:] for link in links if link != "#cluster-3"} <= set(ids)


def test_names_of_the_user_stay_text(of_table):
    found = read(of_table)
    assert not [tag for tag, attributes in found.tags if "onerror" in attributes]
    text = of_table.read_text(encoding="utf-8")
    assert "<script>alert" not in text and "\x1b" not in text
    # Shown as it was written, but for the control character.
    assert EVIL.replace("\x1b", "") in found.words


def test_cards_of_a_table_show_its_columns(of_table):
    found = read(of_table)
    assert "A decision tree of depth 3 puts 100 % of the samples" in found.words
    assert "plain 100%" in found.words
    assert "Classes and clusters" not in found.headings
    assert "accuracy" not in found.words


def test_clusters_csv_has_a_row_for_each_cluster(of_images, of_table):
    rows = read_csv(of_images.parent / "clusters.csv")
    titles = ["cluster", "size", "share", "sure", "conductance", "stability"]
    assert list(rows[0]) == [*titles, "content", "class", "class_share"]
    assert [row["size"] for row in rows] == ["20", "20", "20", "0"]
    assert rows[1]["class"] == "1" and rows[1]["class_share"] == "1.0000"
    assert (rows[3]["sure"], rows[3]["content"], rows[3]["class"]) == ("", "empty", "")
    rows = read_csv(of_table.parent / "clusters.csv")
    assert list(rows[0]) == [*titles, "content"]
    assert rows[2]["content"].startswith("size 2 (rest 0.5), ")


def test_names_stand_for_samples(of_images):
    assert "photo 30.png" in of_images.read_text(encoding="utf-8")
    rows = read_csv(of_images.parent / "clusters.csv")
    assert re.fullmatch(r"typical: (photo \d+\.png(, )?){3}", rows[0]["content"])


def test_unstable_training_is_told(of_table):
    words = read(of_table).words
    assert "Unstable. Cluster 1 is empty: start again." in words
    assert "No second opinion was asked" in words


def test_fewer_points_are_drawn_where_the_page_would_be_too_large(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(report_page, "MOST_BYTES", 1_000)
    monkeypatch.setattr(report_page, "FEWEST_POINTS", 30)
    data = image_data(90)
    path = write_report(write_run(tmp_path, data, data.labels), data)
    assert "30 of 90 samples are drawn, small clusters whole" in read(path).words


def test_write_report_rejects_other_data(tmp_path):
    data = image_data()
    write_run(tmp_path, data, data.labels)
    other = replace(data, x=255 - data.x)
    with pytest.raises(UsageError, match="got 60 samples of other content; give the"):
        write_report(tmp_path, other)
    assert not (tmp_path / "report.html").exists()


def test_a_report_that_fails_costs_one_line_and_keeps_the_old_one(
    tmp_path, monkeypatch, capsys
):
    data = image_data()
    write_run(tmp_path, data, data.labels)
    (tmp_path / "report.html").write_text("the old one")
    (tmp_path / "model.safetensors").write_text("damaged")
    try_reports(tmp_path, data)
    printed = capsys.readouterr()
    assert printed.err.startswith(f"warning: {tmp_path}/report.html was not written: ")
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert (tmp_path / "report.html").read_text() == "the old one"
    # The table of clusters needs no model.
    assert len(read_csv(tmp_path / "clusters.csv")) == 3
    assert not (tmp_path / "report.html.partial").exists()
