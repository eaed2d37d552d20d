"""Numbers that may stand for a missing value: named, and missing where one says so."""

import json

import numpy as np
import pandas as pd
import pytest

from dec_jax.data.dataset import columns_from_json, columns_to_json
from dec_jax.data.sentinels import sentinels_of, typed
from dec_jax.data.tables import load_table

RNG = np.random.default_rng(0)
N = 400
AGES = RNG.integers(18, 90, N).astype(float)


def with_each(values, *sentinels, rows=8):
    """The values, of which each sentinel takes the place of so many."""
    found = np.array(values, float)
    for i, sentinel in enumerate(sentinels):
        found[i : i + len(sentinels) * rows : len(sentinels)] = sentinel
    return found


@pytest.mark.parametrize(
    ("values", "sentinels"),
    [
        (AGES, [-999]),
        (AGES, [999]),
        (AGES, [-1]),
        (AGES, [-9999, 9999]),
        (AGES, [-999, 999]),
        (AGES, [-9999, -999]),
        (RNG.normal(0, 5, N), [-99.5]),
        (RNG.normal(0, 5, N), [-1e20]),
        (RNG.poisson(30, N), [-1]),
        (RNG.lognormal(0, 1, N), [9999]),
    ],
)
def test_repeated_numbers_far_from_all_others_are_found(values, sentinels):
    found = sentinels_of(with_each(values, *sentinels))
    assert found == {typed(sentinel): 8 for sentinel in sentinels}


def test_a_sentinel_is_found_beside_other_rows_far_away():
    values = with_each(AGES, -999)
    values[[200, 300]] = 5_000, 7_000
    assert sentinels_of(values) == {"-999": 8}


@pytest.mark.parametrize(
    "values",
    [
        AGES,
        RNG.normal(0, 1, N),
        with_each(AGES, -999, rows=4),
        with_each(1_000 + AGES, 0),  # zeros, such as of a measurement that was not made
        RNG.poisson(0.05, N),  # counts, most of them 0
        RNG.poisson(30, N) * (RNG.random(N) < 0.1),
        np.minimum(RNG.lognormal(10, 1, N), 40_000),  # cut off at the top
        RNG.integers(0, 2, N),
        2 * RNG.integers(0, 2, N) - 1,
        RNG.integers(1, 6, N),
        with_each(RNG.integers(1, 6, N), 99),
        with_each(RNG.normal(0, 5, N), -1),  # not the only number below 0
        RNG.integers(-1, 29, N),  # a scale in equal steps
        np.full(N, -999),
        np.full(N, np.nan),
    ],
)
def test_ordinary_columns_have_none(values):
    assert sentinels_of(np.asarray(values, float)) == {}


def test_a_note_names_column_number_count_and_option():
    frame = pd.DataFrame({"age": with_each(AGES, -999), "pay": with_each(AGES, 9999)})
    frame["score"] = with_each(AGES, -1e20)
    note = load_table(frame).notes[-1]
    assert note == (
        "may stand for a missing value: age (-999 in 8 rows), pay (9999 in 8 rows), score "
        "(-1e+20 in 8 rows); taken as numbers, and --missing-value -999 --missing-value "
        "9999 --missing-value=-1e+20 takes them as missing"
    )
    assert (
        load_table(frame[["age"]])
        .notes[-1]
        .endswith("--missing-value -999 takes it as missing")
    )


@pytest.mark.parametrize("given", [-999, "-999", "-999.0"])
def test_a_value_is_missing_where_one_says_so(given):
    frame = pd.DataFrame({"age": with_each(AGES, -999), "pay": AGES[::-1]})
    table = load_table(frame, missing_value=[given])
    gaps = frame.assign(age=frame["age"].replace(-999, np.nan))
    np.testing.assert_array_equal(table.x, load_table(gaps).x)
    assert table.notes == load_table(gaps).notes


def test_a_value_is_missing_among_texts_of_a_file(tmp_path):
    ages = ["-999" if i < 8 else f"{age:.0f}" for i, age in enumerate(AGES)]
    plans = ["no answer" if i < 20 else "ab"[i % 2] for i in range(N)]
    days = ["1900-01-01" if i < 9 else f"2021-01-{1 + i % 28:02d}" for i in range(N)]
    frame = pd.DataFrame({"age": ages, "plan": plans, "day": days})
    frame.to_csv(tmp_path / "a.csv", index=False)
    given = ["-999", "no answer", "1900-01-01"]
    table = load_table(tmp_path / "a.csv", missing_value=given)
    filled = "missing: age (in 8 rows), day (in 9 rows); what is missing is filled by"
    assert table.notes[1].startswith(filled)
    assert table.notes[2].startswith("missing: plan (in 20 rows); what is missing is a")


def test_new_data_miss_the_same_values():
    frame = pd.DataFrame({"age": with_each(AGES, -999), "pay": AGES[::-1]})
    table = load_table(frame, missing_value=[-999])
    columns = columns_from_json(json.loads(json.dumps(columns_to_json(table.columns))))
    assert columns == table.columns
    np.testing.assert_array_equal(
        load_table(frame[:20], columns=columns).x, table.x[:20]
    )
    # No value of this column was missing in training.
    new = frame[:20].assign(pay=-999)
    with pytest.warns(UserWarning, match="'pay' is missing in 20 rows"):
        load_table(new, columns=columns)
    message = "column 'pay': is missing in 20 rows .index 0, 1, .* and 10 more., which"
    with pytest.raises(ValueError, match=message):
        load_table(new, columns=columns, missing="error")


def test_categories_of_training_can_be_asked_for():
    frame = pd.DataFrame({"age": AGES, "plan": np.array(list("ab"))[np.arange(N) % 2]})
    columns = load_table(frame).columns
    new = frame[:6].assign(plan=list("abcabd"))
    message = (
        r"column 'plan': holds what training had not \('c', 'd'\) in 2 rows \(index 2, 5\), "
        r"which unknown='error' \(--unknown error\) refuses\."
    )
    with pytest.raises(ValueError, match=message):
        load_table(new, columns=columns, unknown="error")
    load_table(frame[:6], columns=columns, unknown="error", missing="error")
