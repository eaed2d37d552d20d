"""Columns that are left out, missing values, rows far away, and new data."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest

from dec_jax.data.dataset import columns_from_json, columns_to_json
from dec_jax.data.tables import load_table

RNG = np.random.default_rng(0)
N = 60
SPEND = np.round(RNG.normal(50, 9, N), 2)
COLORS = RNG.choice(["red", "green"], N)


def frame_with(**columns):
    """A table of 60 rows: a number, and more columns."""
    return pd.DataFrame({"spend": SPEND, **columns})


# Ids.


@pytest.mark.parametrize(
    "ids",
    [
        np.arange(1, N + 1),
        np.arange(N)[::-1],
        RNG.permutation(N) + 70_000,
        np.arange(N) * 1.0,
        [f"{i:05d}" for i in range(N)],
        np.arange(N) * 10_000 + 4_711,
        [str(10**17 + 7 * i * i) for i in range(N)],
    ],
    ids=["counting", "backwards", "shuffled", "floats", "digits", "steps", "long"],
)
def test_a_column_that_numbers_the_rows_names_them(ids):
    table = load_table(frame_with(client=ids))
    assert [it.title for it in table.columns] == ["spend"]
    assert table.names_title == "client"
    assert len(set(table.names)) == N
    assert "client (an id; names the rows); --keep COLUMN" in table.notes[-1]


def test_ids_far_apart_are_told_by_their_name():
    ids = RNG.choice(10**9, N, replace=False)
    for title in ("customerId", "ID", "id_client", "Order No"):
        assert len(load_table(frame_with(**{title: ids})).columns) == 1
    assert len(load_table(frame_with(income=ids)).columns) == 2


def test_numbers_that_are_different_by_chance_are_no_id():
    income = RNG.choice(100_000, N, replace=False)
    years = np.arange(N) % 30
    table = load_table(frame_with(income=income, years=years))
    assert [it.title for it in table.columns] == ["spend", "income", "years"]


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ([f"K{i}" for i in range(N)], "all texts differ; names the rows"),
        ([f"remark {i // 2 if i < 20 else i}" for i in range(N)], "50 different texts"),
        (["same"] * N, "constant"),
        ([None] * N, "empty"),
    ],
)
def test_a_text_that_makes_no_groups_is_left_out(texts, reason):
    table = load_table(frame_with(text=texts))
    assert [it.title for it in table.columns] == ["spend"]
    assert f"left out: text ({reason})" in table.notes[-1]


def test_keep_takes_a_column_nevertheless():
    frame = frame_with(client=np.arange(N), code=[f"K{i}" for i in range(N)])
    table = load_table(frame, keep=["client"])
    assert [it.title for it in table.columns] == ["spend", "client"]
    assert table.names_title == "code"


def test_drop_leaves_a_column_out():
    table = load_table(frame_with(color=COLORS), drop=["color"])
    assert [it.title for it in table.columns] == ["spend"]


def test_id_column_names_the_rows():
    table = load_table(frame_with(color=COLORS, client=range(N)), id_column="color")
    assert (table.names, table.names_title) == (tuple(COLORS), "color")
    assert [it.title for it in table.columns] == ["spend"]


def test_the_index_of_a_frame_names_the_rows():
    frame = frame_with().set_axis([f"row {i}" for i in range(N)], axis=0)
    table = load_table(frame)
    assert (table.names[:2], table.names_title) == (("row 0", "row 1"), "name")
    assert table.notes[-1] == "rows are named by the index"
    assert load_table(frame_with()).names is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop": ["spent"]}, "Unknown column to drop 'spent'; did you mean 'spend'"),
        ({"keep": ["spent"]}, "Unknown column to keep 'spent'; did you mean 'spend'"),
        ({"id_column": "spent"}, "Unknown id_column 'spent'; did you mean 'spend'"),
    ],
)
def test_load_table_rejects_an_unknown_column(options, message):
    with pytest.raises(ValueError, match=message):
        load_table(frame_with(), **options)


def test_a_table_of_ids_says_how_to_take_one():
    with pytest.raises(ValueError, match=r"left: a \(an id\). Take one .*--keep COL"):
        load_table(pd.DataFrame({"a": range(N)}))


# Missing values.


@pytest.mark.parametrize("none", [None, "", "NA", "n/a", "-", "?", "unknown", " "])
def test_a_missing_number_is_the_median_and_marked(none):
    values = [1.0, 2.0, 9.0, 4.0, none]
    table = load_table(pd.DataFrame({"a": values}), standardize=False)
    np.testing.assert_array_equal(table.x, [[1, 0], [2, 0], [9, 0], [4, 0], [3, 1]])
    assert table.columns[0].titles == ("a", "a missing")
    assert table.notes[1].startswith("missing: a (in 1 row); what is missing is filled")


def test_missing_values_do_not_set_the_scale():
    values = np.where(np.arange(N) % 3, SPEND, np.nan)
    x = load_table(pd.DataFrame({"a": values})).x
    assert x[np.arange(N) % 3 > 0, 0].std() == pytest.approx(1, rel=1e-5)


def test_a_missing_text_is_a_category_of_its_own():
    table = load_table(pd.DataFrame({"a": ["x", None, "y", "x", "NaN"]}))
    assert table.columns[0].categories == ("x", "y", "(missing)")
    np.testing.assert_array_equal(table.x[:, 2] > 0, [0, 1, 0, 0, 1])
    assert "is a category of its own, (missing)" in table.notes[1]


def test_dates_and_answers_may_miss_too():
    days = ["2021-01-01", "2021-01-03", "", "2021-01-02"]
    frame = pd.DataFrame({"day": days, "member": ["yes", "", "yes", "no"]})
    x = load_table(frame, standardize=False).x
    assert x[2].tolist() == [x[3, 0], 1, 1, 0]
    assert x[1, 2:].tolist() == [1, 1]


def test_texts_among_numbers_are_said():
    table = load_table(
        frame_with(age=[*map(str, range(200, 200 + 3 * N - 3, 3)), "old"])
    )
    assert "texts among numbers, taken as missing: age ('old')" in table.notes


# Rows far away.


@pytest.mark.parametrize("n", [60, 300, 3000])
def test_a_few_rows_far_away_do_not_set_the_scale(n):
    values = RNG.normal(size=n)
    values[[5, 9]] = 1e6, -1e7
    table = load_table(pd.DataFrame({"a": values}))
    others = np.delete(table.x[:, 0], [5, 9])
    assert others.std() == pytest.approx(1, rel=0.15)
    assert (table.x[5, 0], table.x[9, 0]) == (10, -10)
    assert "far away from all others: 2 rows (index 5, 9) in a" in table.notes[1]


def test_a_column_of_one_value_but_for_a_few_rows_is_finite():
    values = [0.0] * 994 + [1.0] + [1e9] * 5
    assert np.isfinite(load_table(pd.DataFrame({"a": values})).x).all()


# New data.


def test_a_category_that_training_had_not_is_none_of_them():
    first = load_table(frame_with(color=COLORS))
    frame = frame_with(color=COLORS).iloc[:5]
    frame.loc[[1, 3], "color"] = "blue"
    message = (
        r"category of 'color' that training had not \('blue'\) .* 2 rows \(index 1, 3\)"
    )
    with pytest.warns(UserWarning, match=message):
        table = load_table(frame, columns=first.columns)
    np.testing.assert_array_equal(table.x[[0, 2, 4]], first.x[[0, 2, 4]])
    assert not table.x[[1, 3], 1:].any()


def test_a_category_that_training_had_not_joins_the_rare_ones():
    words = ["red"] * 100 + ["blue"] * 96 + ["pink", "gray", "gold", "teal"]
    first = load_table(pd.DataFrame({"color": words}))
    table = load_table(pd.DataFrame({"color": ["mauve"]}), columns=first.columns)
    assert table.x[0].argmax() == first.columns[0].categories.index("(other)")


def test_numbers_that_miss_only_in_new_data_are_filled_and_told():
    first = load_table(frame_with(age=RNG.normal(40, 9, N)))
    frame = frame_with(age=np.nan).iloc[:3]
    with pytest.warns(
        UserWarning, match=r"'age' is missing in 3 rows \(index 0, 1, 2\)"
    ):
        table = load_table(frame, columns=first.columns)
    assert np.abs(table.x[:, 1]).max() < 0.5


def test_a_column_without_any_value_in_new_data_is_told_where_training_missed_some():
    ages = RNG.normal(40, 9, N)
    ages[:3] = np.nan
    first = load_table(frame_with(age=ages))
    with pytest.warns(
        UserWarning, match="'age' is missing in all 60 rows, and was not"
    ):
        load_table(frame_with(age=np.nan), columns=first.columns)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # A few rows may all lack it by chance.
        load_table(frame_with(age=np.nan).iloc[:3], columns=first.columns)


def test_new_texts_are_read_as_in_training(tmp_path):
    frame = frame_with(
        price=[f"{i % 7},{i % 10}" for i in range(N)],
        day=[f"{1 + i % 9:02d}/{1 + i % 27:02d}/2021" for i in range(N)],
    )
    first = load_table(frame)
    # A number and a date that by themselves could be read in two ways.
    part = frame.iloc[[0]].assign(price="1,000", day="03/04/2021")
    again = load_table(part, columns=columns_from_json(columns_to_json(first.columns)))
    price, day = first.columns[1], first.columns[2]
    assert again.x[0, 1] == pytest.approx((1 - price.mean) / price.deviation, rel=1e-5)
    march = (pd.Timestamp("2021-03-04") - pd.Timestamp(0)).days
    assert again.x[0, 2] == pytest.approx((march - day.mean) / day.deviation, rel=1e-5)


def test_an_odd_answer_in_new_data_is_missing_and_told():
    first = load_table(
        frame_with(member=["yes", "no"] * (N // 2), age=RNG.integers(20, 70, N))
    )
    frame = frame_with(member="yes", age="old").iloc[:3]
    frame.loc[[1, 2], "age"] = "7"
    frame.loc[2, "member"] = "maybe"
    with pytest.warns(UserWarning) as caught:
        table = load_table(frame, columns=first.columns)
    told = " ".join(str(warning.message) for warning in caught)
    assert "texts in 'member' that are no yes/no: 'maybe'" in told
    assert "'age' is missing in 1 row (index 0)" in told
    assert table.x[:2, 1].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("column", "new", "message"),
    [
        ("member", ["x"], "column 'member': must hold yes or no as before, got 'x'"),
        ("day", [5], "column 'day': must hold dates as before, got numbers"),
        ("day", ["x"], "column 'day': must hold dates as before, got 'x'"),
        ("spend", ["yes"], "column 'spend': must hold numbers as before, got 'yes'"),
    ],
)
def test_a_column_of_another_kind_is_refused(column, new, message):
    frame = frame_with(
        member=["yes", "no"] * (N // 2), day=["2021-03-04", "2020-01-02"] * (N // 2)
    )
    columns = load_table(frame).columns
    with pytest.raises(ValueError, match=message):
        load_table(frame.iloc[:1].assign(**{column: new}), columns=columns)


def test_rows_of_new_data_keep_their_names():
    first = load_table(frame_with(client=range(N)))
    frame = frame_with(client=range(700, 700 + N)).iloc[:4]
    table = load_table(frame, columns=first.columns)
    assert (table.names, table.names_title) == (("700", "701", "702", "703"), "client")


def test_columns_of_an_earlier_version_are_understood():
    stored = {"title": "a", "mean": 1.0, "deviation": 2.0, "categories": None}
    words = {"title": "b", "mean": 0.0, "deviation": 1.0, "categories": ["x", "y"]}
    columns = columns_from_json(json.loads(json.dumps([stored, words])))
    table = load_table(pd.DataFrame({"b": ["y"], "a": [5]}), columns=columns)
    assert table.x.tolist() == [[2, 0, 1]]
    with pytest.raises(ValueError, match="column 'a': misses 1 values"):
        load_table(pd.DataFrame({"b": ["y"], "a": [None]}), columns=columns)
