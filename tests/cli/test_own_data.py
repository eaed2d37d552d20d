"""Tables and texts, from the file of a user to labels of new data."""

from dataclasses import replace

import numpy as np
import pytest
from programs import assert_refused, cluster, program, read_csv, write_network

from dec_jax import model
from dec_jax.cli.main import main

QUICK = ("--recipe", "dec", "--epochs", 5, "--max-intervals", 2)


HEADER = ["client", "row", "spend", "visits", "size", "color", "country"]


def rows_of(n):
    """Rows of two far groups, as a shop would export them."""
    rng = np.random.default_rng(0)
    for i in range(n):
        spend = rng.normal(200 + 4000 * (i % 2), 50)
        visits = "" if i % 20 == 3 else str(rng.poisson(3 + 30 * (i % 2)))
        size = ("S", "M", "L")[rng.integers(3)]
        yield [f"C{i:04d}", str(i + 1), f'"${spend:,.2f}"', visits, size, "red", "CH"]


def write_table(path, rows):
    """Writes rows below the names of the columns."""
    path.write_text("".join(",".join(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """The folder of a run on a table with ids, currency, missing values and categories."""
    folder = tmp_path_factory.mktemp("shop")
    table = write_table(folder / "shop.csv", [HEADER, *rows_of(120)])
    network = write_network(folder / "net.json", 6, 8, 2)
    options = ("-k", 2, *QUICK, "--architecture", network, "--out", folder / "run")
    return folder, cluster(table, *options, "--drop", "color")


def test_a_run_tells_how_each_column_was_understood(shop):
    _, run = shop
    assert run.status == 0, run.err
    lines = [line.strip() for line in run.out.splitlines()]
    assert "columns: spend (number, $); visits (number); size (3 categories)" in lines
    missing = "missing: visits (in 6 rows); what is missing is filled by the median"
    assert any(line.startswith(missing) for line in lines)
    assert (
        "left out: client (all texts differ), row (an id; names the rows), country "
        "(constant); --keep COLUMN takes one in"
    ) in lines


def test_rows_keep_their_names_in_labels_csv(shop):
    folder, _ = shop
    rows = read_csv(folder / "run" / "labels.csv")
    assert list(rows[0]) == ["index", "row", "cluster", "q", "typical"]
    assert [row["row"] for row in rows[:3]] == ["1", "2", "3"]


def test_new_rows_are_matched_by_name_and_told_where_they_are_new(shop, tmp_path):
    folder, _ = shop
    rows = list(rows_of(6))
    rows[2][4] = "XXL"
    write_table(tmp_path / "new.csv", [row[::-1] for row in [HEADER, *rows]])
    run = program(
        main,
        "predict",
        folder / "run",
        tmp_path / "new.csv",
        "--out",
        tmp_path / "o.csv",
    )
    assert run.status == 0, run.err
    found = read_csv(tmp_path / "o.csv")
    before = read_csv(folder / "run" / "labels.csv")[:6]
    del found[2], before[2]
    assert [row["q"] for row in found] == [row["q"] for row in before]
    assert "a category of 'size' that training had not ('XXL')" in run.err
    start = (
        f"warning: {tmp_path / 'new.csv'}: a category of 'size' that training had not"
    )
    assert run.err.startswith(start)
    assert run.err.count("new.csv") == 1
    assert "counts as none in 1 row (line 4)" in run.err


def test_new_rows_without_a_column_are_refused(shop, tmp_path):
    folder, _ = shop
    (tmp_path / "new.csv").write_text("spend,Visits,size\n$5,3,S\n")
    out = tmp_path / "o.csv"
    run = program(main, "predict", folder / "run", tmp_path / "new.csv", "--out", out)
    assert run.status == 2
    words = (
        "column 'visits': missing, though the table of training had it (is it 'Visits'"
    )
    assert words in run.err and run.out == ""
    assert not out.exists()


def test_new_rows_are_refused_where_they_are_new_if_asked(shop, tmp_path):
    folder, _ = shop
    rows = list(rows_of(40))
    for row in rows[:12]:
        row[4] = "XXL"
    rows[20][2] = ""
    new = write_table(tmp_path / "new.csv", [HEADER, *rows])
    out = tmp_path / "o.csv"
    options = ("--unknown", "error", "--missing", "error", "--out", out)
    run = program(main, "predict", folder / "run", new, *options)
    assert (run.status, out.exists()) == (2, False)
    assert run.err == (
        f"error: csv file {new}: column 'spend': is missing in 1 row (line 22), which "
        "missing='error' (--missing error) refuses; column 'size': holds what training had "
        "not ('XXL') in 12 rows (lines 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 2 more), which "
        "unknown='error' (--unknown error) refuses.\n"
    )
    # The rows of `visits` that miss a value are as in training.
    rows[20][2] = "$9.00"
    for row in rows[:12]:
        row[4] = "S"
    write_table(new, [HEADER, *rows])
    assert program(main, "predict", folder / "run", new, *options).status == 0


def test_a_value_that_stands_for_a_missing_one_is_remembered(shop, tmp_path):
    folder, _ = shop
    rows = [[*row[:3], row[3] or "-999", *row[4:]] for row in rows_of(120)]
    table = write_table(tmp_path / "shop.csv", [HEADER, *rows])
    options = (
        "-k",
        2,
        *QUICK,
        "--architecture",
        folder / "net.json",
        "--drop",
        "color",
    )
    run = cluster(table, *options, "--out", tmp_path / "plain")
    # One number less: nothing is missing, so that the network does not fit.
    assert run.status == 2
    given = (*options, "--missing-value", -999, "--out", tmp_path / "run")
    run = cluster(table, *given)
    assert run.status == 0, run.err
    assert "missing: visits (in 6 rows)" in run.out
    labels = read_csv(tmp_path / "run" / "labels.csv")
    assert [row["q"] for row in labels] == [
        row["q"] for row in read_csv(folder / "run" / "labels.csv")
    ]
    out = tmp_path / "o.csv"
    run = program(main, "predict", tmp_path / "run", table, "--out", out)
    assert (run.status, run.err) == (0, "")
    assert [row["q"] for row in read_csv(out)] == [row["q"] for row in labels]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--missing", "error"),
            "column 'visits': is missing in 6 rows (lines 5, 25, 45,",
        ),
        (
            ("--drop", "xyz"),
            "Unknown column to drop 'xyz'; columns are client, row, spend, visits, size,",
        ),
        (("--drop", "colour"), "Unknown column to drop 'colour'; did you mean 'color'"),
        (
            ("--id-column", "clint"),
            "Unknown --id-column 'clint'; did you mean 'client'",
        ),
        (("--encoding", "utf-99"), "shop.csv cannot be read: unknown encoding: utf-99"),
        (("--separator", ",,"), "separator must be one character, got ',,'"),
    ],
)
def test_a_mistake_in_an_option_of_a_table_is_one_line(
    shop, tmp_path, options, message
):
    folder, _ = shop
    run = cluster(folder / "shop.csv", "-k", 2, *options, "--out", tmp_path / "out")
    assert_refused(run, message, tmp_path / "out")


def test_a_resumed_run_has_the_options_of_its_table(shop):
    folder, _ = shop
    run = cluster("--resume", folder / "run", "--drop", "size")
    assert run.status == 2
    assert "that run has --drop ['color'], not ['size']" in run.err


def test_texts_are_clustered_and_new_ones_labeled(tmp_path):
    kinds = ("the {} apple on the {} tree is sweet", "a {} engine drives the {} car")
    words = ("red", "green", "old", "small")
    texts = [kind.format(a, b) for a in words for b in words for kind in kinds]
    # As many texts and directions as the table above has rows and columns.
    texts = (4 * texts)[:120]
    (tmp_path / "docs.txt").write_text("\n".join(texts) + "\n")
    (tmp_path / "new.txt").write_text("\n".join(texts[:4]) + "\n")
    # Ten words, of which some stand in the same texts: six directions.
    network = write_network(tmp_path / "net.json", 6, 8, 2)
    options = ("--architecture", network, "--out", tmp_path / "run")
    run = cluster(tmp_path / "docs.txt", "-k", 2, *QUICK, *options)
    assert run.status == 0, run.err
    assert "  texts: 10 words, without English stop words, weighed by TF-IDF" in run.out
    rows = read_csv(tmp_path / "run" / "labels.csv")
    assert rows[1]["text"] == "a red engine drives the red car"
    out = tmp_path / "new.csv"
    run = program(main, "predict", tmp_path / "run", tmp_path / "new.txt", "--out", out)
    assert run.status == 0, run.err
    assert [row["q"] for row in read_csv(out)] == [row["q"] for row in rows[:4]]


def test_no_name_reaches_a_terminal_raw(tmp_path):
    # Letters in red, and from right to left.
    bad = "\x1b[31m\u202e"
    rows = [f"row{bad}{i},kind{bad}{i % 4},{i % 7},{5 * (i % 2)}" for i in range(120)]
    network = write_network(tmp_path / "net.json", 6, 8, 2)
    data, out = tmp_path / f"t{bad}.csv", tmp_path / f"out{bad}"
    data.write_text("\n".join([f"id{bad},kind{bad},b{bad},c", *rows]))
    runs = [cluster(data, "-k", 2, *QUICK, "--architecture", network, "--out", out)]
    runs += [cluster(data, "--out", out), cluster("--resume", out)]
    runs += [program(main, "report", out)]
    forged = model.load(out / "model.safetensors")
    forged = replace(forged, metadata={**forged.metadata, "recipe": bad})
    model.save(tmp_path / "forged.safetensors", forged)
    new = ("--out", tmp_path / "new.csv")
    runs += [program(main, "predict", tmp_path / "forged.safetensors", data, *new)]
    assert [run.status for run in runs] == [0, 2, 0, 0, 0], runs[0].err
    for run in runs:
        assert "\x1b" not in run.out + run.err and "\u202e" not in run.out + run.err
    assert "\x1b" not in (out / "report.html").read_text()
