"""Texts as numbers, dates, and yes or no."""

import numpy as np
import pandas as pd
import pytest

from dec_jax.data.cells import numbers_of_texts


@pytest.mark.parametrize(
    ("texts", "numbers", "unit"),
    [
        (["1", "-2.5", "1e3"], [1, -2.5, 1000], ""),
        (["$1,234.50", "-$3", "$0"], [1234.5, -3, 0], "$"),
        (["1.234,50 €", "3,10 €"], [1234.5, 3.1], "€"),
        (["CHF 1'200.-", "CHF 30.50"], [1200, 30.5], "CHF"),
        (["EUR 12", "EUR 1 500"], [12, 1500], "EUR"),
        (["12 %", "7%", "0"], [12, 7, 0], "%"),
        (["(1,200)", "30", "4-"], [-1200, 30, -4], ""),
        (["−5", "+3"], [-5, 3], ""),
        (["1 day", "3 days"], [1, 3], "day"),
        (["70 kg", "81.5 kg"], [70, 81.5], "kg"),
        (["1.5k", "900", "2M"], [1500, 900, 2_000_000], ""),
        (["1,23,456", "12"], [123456, 12], ""),
        (["1\u202f234,5", "2,5"], [1234.5, 2.5], ""),
        (["1,5", "12"], [1.5, 12], ""),
        (["1.234.567", "12"], [1_234_567, 12], ""),
        (["1,234", "12"], [1234, 12], ""),
    ],
)
def test_written_numbers_are_numbers(texts, numbers, unit):
    found = numbers_of_texts(texts)
    assert (found.kind, found.unit) == ("number", unit)
    np.testing.assert_allclose(found.values, numbers)


def test_the_decimal_mark_decides_where_both_fit():
    texts = ["1.234", "12.500", "950"]
    np.testing.assert_allclose(numbers_of_texts(texts).values, [1.234, 12.5, 950])
    found = numbers_of_texts(texts, decimal=",")
    np.testing.assert_allclose(found.values, [1234, 12500, 950])


@pytest.mark.parametrize(
    ("texts", "dates"),
    [
        (["2021-03-04", "2020-02-29"], ["2021-03-04", "2020-02-29"]),
        (["2021-03-04T06:00:00Z"], ["2021-03-04 06:00"]),
        (["2021/03/04", "2021/12/31"], ["2021-03-04", "2021-12-31"]),
        (["04.03.2021", "31.12.2020"], ["2021-03-04", "2020-12-31"]),
        (["4.3.21 12:00", "31.12.20 18:00"], ["2021-03-04 12:00", "2020-12-31 18:00"]),
        (["03/04/2021", "12/31/2020"], ["2021-03-04", "2020-12-31"]),
        (["04/03/2021", "31/12/2020"], ["2021-03-04", "2020-12-31"]),
        (["Mar 4, 2021", "Dec 31, 2020"], ["2021-03-04", "2020-12-31"]),
        (["4 March 2021", "31 December 2020"], ["2021-03-04", "2020-12-31"]),
        (["04-Mar-21", "31-Dec-20"], ["2021-03-04", "2020-12-31"]),
        (["3/4/2021 1:30 PM", "12/31/2020 2:00 AM"], ["2021-03-04 13:30", "2020-12-31 02:00"]),
    ],
)  # fmt: skip
def test_dates_are_days_since_1970(texts, dates):
    found = numbers_of_texts(texts)
    assert found.kind == "date"
    days = (pd.to_datetime(dates, format="ISO8601") - pd.Timestamp(0)).total_seconds()
    np.testing.assert_allclose(found.values, days / 86_400)


def test_the_day_goes_first_where_commas_are_decimal():
    assert numbers_of_texts(["03/04/2021"]).reading == "%m/%d/%Y"
    assert numbers_of_texts(["03/04/2021"], decimal=",").reading == "%d/%m/%Y"


def test_new_dates_are_read_as_those_of_training():
    first = numbers_of_texts(["31/12/2020", "03/04/2021"])
    again = numbers_of_texts(["03/04/2021"], reading=first.reading)
    assert again.values[0] == first.values[1]


@pytest.mark.parametrize(
    "texts",
    [
        *(["a", "b"], ["K001", "K002"], ["€5", "$5"], ["10-20", "20-30"], ["Q1", "Q2"]),
        *(["192.168.1.1"], ["1.2.3"], ["<18", "18+"], ["1st", "2nd"], []),
        ["1", "2", "none of these"],
    ],
)
def test_other_texts_are_no_numbers(texts):
    assert numbers_of_texts(texts) is None


def test_a_few_texts_among_many_numbers_are_missing():
    found = numbers_of_texts([*map(str, range(100)), "about 7", "n. k."])
    assert np.isnan(found.values[-2:]).all()
    np.testing.assert_array_equal(found.values[:100], range(100))


def test_numbers_with_one_open_class_are_categories():
    assert numbers_of_texts(["0", "1", "2", "3+"]) is None
