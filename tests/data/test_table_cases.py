"""Tables as they are exported: simple methods find in the rows what was planted."""

import csv

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans

from dec_jax import clustering_accuracy, load_dataset
from dec_jax.data.tables import load_table


def write(path, header, rows, **options):
    """Writes a table, by default with commas and in UTF-8."""
    with path.open("w", newline="", encoding=options.pop("encoding", "utf-8")) as file:
        csv.writer(file, **options).writerows([header, *rows])
    return path


def accuracy_of_k_means(x, classes, k):
    labels = KMeans(k, n_init=10, random_state=0).fit_predict(x)
    return clustering_accuracy(classes, labels)


@pytest.fixture(scope="module")
def customers(tmp_path_factory):
    """Four segments in age, income, visits and date, beside unrelated columns."""
    rng = np.random.default_rng(3)
    n = 800
    segment = rng.integers(0, 4, n)
    age = np.array([25, 38, 52, 67])[segment] + rng.normal(0, 3, n)
    income = np.array([22e3, 61e3, 95e3, 34e3])[segment] + rng.normal(0, 5e3, n)
    visits = np.array([30, 12, 5, 18])[segment] + rng.normal(0, 2, n)
    rows = [
        (
            f"K{i:05d}",
            "" if rng.random() < 0.05 else round(age[i]),
            f"${income[i]:,.2f}",
            round(max(visits[i], 0)),
            f"{int(100 * rng.random())}%",
            f"20{19 + segment[i]}-{rng.integers(1, 13):02d}-{rng.integers(1, 28):02d}",
            ["yes", "no"][rng.integers(2)],
            ["basic", "plus", "family"][rng.integers(3)],
            ["AT", "BE", "CH", "DE", "ES", "FR", "IT", "NL"][rng.integers(8)],
            f"a remark of their own, {i}",
        )
        for i in range(n)
    ]
    header = "id age income visits discount signed_up newsletter plan country remark"
    path = tmp_path_factory.mktemp("customers") / "customers.csv"
    return write(path, header.split(), rows), segment


def test_customers_are_read_at_once(customers):
    table = load_dataset(customers[0])
    assert table.notes == (
        "columns: age, visits (number); income (number, $); discount (number, %); "
        "signed_up (date, in days); newsletter (yes/no); plan (3 categories); country (8 "
        "categories)",
        f"missing: age (in {(table.x[:, 1] > 0).sum()} rows); what is missing is filled by "
        "the median, and marked in a further column",
        "left out: id (all texts differ; names the rows), remark (free text: "
        "cluster it as a .txt file); --keep COLUMN takes one in",
    )
    assert (table.names[0], table.names_title) == ("K00000", "id")


def test_segments_of_customers_are_found_beside_unrelated_categories(customers):
    path, segment = customers
    numbers = load_table(path, drop=["newsletter", "plan", "country"]).x
    among_numbers = accuracy_of_k_means(numbers, segment, 4)
    assert among_numbers > 0.97
    assert accuracy_of_k_means(load_table(path).x, segment, 4) >= among_numbers


def test_groups_that_categories_tell_are_found():
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, 600)
    words = [
        np.where(rng.random(600) < 0.9, kind, rng.integers(0, 3, 600)) for _ in range(4)
    ]
    frame = pd.DataFrame(
        {f"w{i}": np.array(list("abc"))[w] for i, w in enumerate(words)}
    )
    frame["noise"] = rng.normal(size=600)
    assert accuracy_of_k_means(load_table(frame).x, kind, 3) > 0.97


def test_groups_are_told_apart_beside_a_few_rows_far_away(tmp_path):
    rng = np.random.default_rng(0)
    groups = [rng.normal(size=(200, 6)), rng.normal(size=(200, 6)) + 6]
    rows = np.concatenate([*groups, 1e6 * rng.normal(size=(3, 6))])
    path = write(tmp_path / "a.csv", list("abcdef"), rows.tolist())
    table = load_table(path)
    assert "far away from all others: 3 rows (lines 402, 403, 404)" in table.notes[1]
    labels = KMeans(3, random_state=0).fit_predict(table.x)
    assert clustering_accuracy(np.repeat([0, 1], 200), labels[:400]) > 0.97


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-8-sig"])
def test_a_table_of_europe_is_read(tmp_path, encoding):
    rows = [
        (
            f"{1 + i % 7},{i % 10}",
            f"1.{50 * (i % 2) + 100},50 €",
            f"{1 + i % 27}.3.2021",
        )
        for i in range(60)
    ]
    header = ["größe", "preis", "geburtstag"]
    path = write(tmp_path / "a.csv", header, rows, delimiter=";", encoding=encoding)
    table = load_table(path, standardize=False)
    assert table.notes[1] == (
        "columns: größe (number); preis (number, €); geburtstag (date, in days)"
    )
    np.testing.assert_allclose(table.x[:2, :2], [[1, 1100.5], [2.1, 1150.5]])
