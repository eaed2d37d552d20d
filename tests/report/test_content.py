import numpy as np
import pandas as pd
import pytest

from dec_jax.data.arrays import dataset_from_array
from dec_jax.data.tables import load_table
from dec_jax.data.texts import dataset_from_texts
from dec_jax.report.content import (
    ReadableColumn,
    Terms,
    distinctive_terms,
    in_words,
    plain,
    readable_columns,
    rules,
    terms_of,
    traits,
)

LABELS = np.array([0, 0, 0, 1, 1, 1])
SIZES = [1.0, 2.0, 3.0, 1001.0, 1002.0, 1003.0]
COLORS = ["red", "red", "blue", "blue", "blue", "blue"]


@pytest.fixture
def columns():
    frame = pd.DataFrame({"size": SIZES, "color": COLORS})
    return readable_columns(load_table(frame))


def test_columns_are_those_that_the_user_gave(columns):
    size, color = columns
    assert (size.title, color.title) == ("size", "color")
    np.testing.assert_allclose(size.values, SIZES, rtol=1e-5)
    assert color.texts(np.arange(6)) == COLORS
    assert size.texts(np.array([0, 3])) == ["1", "1,001"]


def test_dates_units_and_missing_numbers_are_told():
    frame = pd.DataFrame(
        {
            "price": ["$1,200", "$800", None, "$100"] * 5,
            "joined": ["2020-01-01", "2020-02-02", "2021-01-01", "2021-03-02"] * 5,
            "kind": ["a", "b", "b", None] * 5,
        }
    )
    columns = {it.title: it for it in readable_columns(load_table(frame))}
    assert columns["joined"].texts(np.arange(4)) == frame["joined"][:4].tolist()
    assert columns["kind"].texts(np.arange(4)) == ["a", "b", "b", "(missing)"]
    # What is missing is the median.
    assert columns["price ($)"].texts(np.arange(4)) == ["1,200", "800", "800", "100"]
    assert columns["price missing"].texts(np.arange(4)) == ["0", "0", "1", "0"]
    late = np.array([0, 0, 1, 1] * 5)
    (found,) = traits([columns["joined"]], late, 1)
    assert (found.here, found.rest) == ("2021-01-31", "2020-01-17")
    text = rules([columns["joined"]], late).text
    assert text.splitlines()[0] == "|--- joined <= 2020-07-18"


def test_columns_of_an_array_are_numbered_and_in_its_units():
    x = 1000 * np.random.default_rng(0).random((50, 2))
    first, second = readable_columns(dataset_from_array(x))
    assert (first.title, second.title) == ("column 0", "column 1")
    np.testing.assert_allclose(second.values, x[:, 1], rtol=1e-4)


def test_wide_arrays_have_no_readable_columns():
    x = np.random.default_rng(0).random((50, 65))
    assert readable_columns(dataset_from_array(x)) == []


def test_traits_compare_a_cluster_with_the_rest(columns):
    size, color = traits(columns, LABELS, 0)
    assert (size.title, size.here, size.rest) == ("size", "2", "1,002")
    assert size.difference == pytest.approx((2 - 1002) / np.std(SIZES), rel=1e-4)
    assert (color.title, color.here, color.rest) == ("color", "red 67%", "0%")
    red = np.array([1, 1, 0, 0, 0, 0])
    assert color.difference == pytest.approx((2 / 3) / red.std())


def test_yes_and_no_are_told_as_shares():
    (found,) = traits(
        [ReadableColumn("member", np.array([1.0, 1, 0, 0, 0, 0]))], LABELS, 0
    )
    assert (found.here, found.rest) == ("67%", "0%")


def test_traits_come_with_the_largest_difference_first():
    same = ReadableColumn("same", np.array([1.0, 2, 3, 1, 2, 3]))
    apart = ReadableColumn("apart", np.array(SIZES))
    found = traits([same, apart], LABELS, 1)
    assert [trait.title for trait in found] == ["apart", "same"]
    assert in_words(found) == "apart 1,002 (rest 2)"


def test_traits_of_the_only_cluster_are_those_of_all():
    column = ReadableColumn("size", np.array(SIZES))
    (found,) = traits([column], np.zeros(6, int), 0)
    assert found.difference == 0
    assert in_words([found]) == "like the rest"


def test_rules_name_columns_in_their_units(columns):
    found = rules(columns, LABELS)
    assert found.share == 1
    lines = [" ".join(line.split()) for line in found.text.splitlines()]
    assert lines == [
        "|--- size <= 502",
        "| |--- cluster 0",
        "|--- size > 502",
        "| |--- cluster 1",
    ]


def test_a_question_whose_answers_lead_to_one_cluster_is_left_out():
    # The two groups of cluster 0 beside each other differ in their shares of cluster 1.
    values = np.repeat([1.0, 2.0, 9.0], [20, 20, 20])
    labels = np.repeat([0, 1, 0, 1, 1], [20, 6, 14, 19, 1])
    text = rules([ReadableColumn("size", values)], labels).text
    lines = [line.removeprefix("|--- ") for line in text.splitlines()]
    assert lines == [
        "size <= 5.5",
        "|   |--- cluster 0",
        "size >  5.5",
        "|   |--- cluster 1",
    ]


def test_rules_name_categories():
    color = ReadableColumn("class: 1", np.array([0, 0, 1]), ("a = b", "c <= 0.5"))
    text = rules([color], np.array([4, 4, 7])).text
    assert text.splitlines()[0] in (
        "|--- class: 1 is not a = b",
        "|--- class: 1 is not c <= 0.5",
    )
    assert "--- cluster 4" in text and "--- cluster 7" in text


def test_one_cluster_has_no_rules(columns):
    assert rules(columns, np.zeros(6, int)) is None
    assert rules([], LABELS) is None


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a\x1b[31mred\x07", "a[31mred"),
        ("line\nbreak\ttab", "line break tab"),
        ("caf\u00e9 \u202egnp.exe", "caf\u00e9 gnp.exe"),
        ("no utf-8 \udcff", "no utf-8 "),
        ("\u65e5\u672c \U0001f600", "\u65e5\u672c \U0001f600"),
    ],
)
def test_plain_removes_what_a_terminal_or_a_page_would_obey(text, cleaned):
    assert plain(text) == cleaned


def test_terms_of_a_cluster_are_those_of_the_largest_difference():
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(6, 6)))[0][:4].astype(np.float32)
    x = rng.normal(size=(20, 4)).astype(np.float32)
    labels = np.arange(20) % 3
    weights = x @ directions
    difference = weights[labels == 2].mean(axis=0) - weights[labels != 2].mean(axis=0)
    names = tuple("abcdef")
    expected = [names[place] for place in np.argsort(-difference)]
    expected = expected[: (difference > 0).sum()]
    assert distinctive_terms(x, labels, 2, Terms(names, directions)) == expected


def test_texts_have_terms_and_no_columns():
    texts = ["red apples", "green apples", "fast cars", "slow cars"] * 5
    data = dataset_from_texts(texts)
    assert readable_columns(data) == []
    labels = np.array([0, 0, 1, 1] * 5)
    found = distinctive_terms(data.x, labels, 0, terms_of(data))
    assert found[0] == "apples" and "cars" not in found
