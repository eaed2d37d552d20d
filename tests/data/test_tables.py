import json
import sys

import numpy as np
import pandas as pd
import pytest

from dec_jax.data.dataset import columns_from_json, columns_to_json
from dec_jax.data.tables import load_table


def standardized_by_loops(column):
    """(value - mean) / standard deviation over all n rows, written out."""
    n = len(column)
    mean = sum(column) / n
    deviation = (sum((value - mean) ** 2 for value in column) / n) ** 0.5
    return [(value - mean) / deviation for value in column]


HEIGHTS = [1.5, 1.8, 1.2, 1.9]
AGES = [30, 40, 50, 10]
FRAME = pd.DataFrame({"height": HEIGHTS, "age": AGES})


# Numbers.


def test_load_table_standardizes_numbers():
    dataset = load_table(FRAME)
    assert dataset.x.dtype == np.float32
    expected = np.transpose([standardized_by_loops(c) for c in (HEIGHTS, AGES)])
    np.testing.assert_allclose(dataset.x, expected, rtol=1e-6)
    np.testing.assert_allclose(dataset.x.mean(axis=0), [0, 0], atol=1e-6)
    np.testing.assert_allclose(dataset.x.std(axis=0), [1, 1], rtol=1e-6)


def test_load_table_needs_no_labels():
    dataset = load_table(FRAME)
    assert dataset.labels is None
    assert dataset.names is None
    assert dataset.image_shape is None
    assert dataset.input_scale == 1.0
    assert (dataset.name, dataset.source) == ("table", "pandas DataFrame")


def test_standardize_false_leaves_numbers_as_they_are():
    x = load_table(FRAME, standardize=False).x
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, np.transpose([HEIGHTS, AGES]), rtol=1e-7)


def test_standardizing_keeps_the_digits_of_a_large_offset():
    # Seconds since 1970: float32 steps by 128 of them.
    seconds = [1_700_000_000 + second for second in (0, 1, 2, 3)]
    x = load_table(pd.DataFrame({"time": seconds})).x
    np.testing.assert_allclose(x[:, 0], standardized_by_loops([0, 1, 2, 3]), rtol=1e-6)


@pytest.mark.parametrize(
    "dtype", ["int8", "uint64", "float32", "Int64", "Float64", "object"]
)
def test_load_table_takes_each_type_of_number(dtype):
    frame = pd.DataFrame({"age": pd.Series(AGES, dtype=dtype)})
    np.testing.assert_array_equal(load_table(frame, standardize=False).x[:, 0], AGES)


@pytest.mark.parametrize("standardize", [True, False])
def test_a_constant_column_is_left_out_and_named(standardize):
    frame = FRAME.assign(country="CH", year=2024, version=0.1)
    dataset = load_table(frame, standardize=standardize)
    assert dataset.x.shape == (4, 2)
    note = "left out: country (constant), year (constant), version (constant)"
    assert dataset.notes[-1] == note


def test_load_table_does_not_change_the_frame():
    frame = FRAME.assign(kind=["a", "b", "a", "b"])
    before = frame.copy(deep=True)
    load_table(frame, label_column="kind")
    pd.testing.assert_frame_equal(frame, before)


# Categories.


@pytest.mark.parametrize(
    "values",
    [
        pd.Series(["red", "blue", "red", "green"]),
        pd.Series(["red", "blue", "red", "green"], dtype="string"),
        pd.Series(["red", "blue", "red", "green"], dtype=object),
        pd.Categorical(
            ["red", "blue", "red", "green"], ["red", "green", "blue", "unused"]
        ),
    ],
    ids=["text", "string", "object", "categorical"],
)
def test_text_becomes_one_column_a_category_in_sorted_order(values):
    x = load_table(pd.DataFrame({"color": values})).x
    assert x.dtype == np.float32
    # blue, green, red; two different rows lie at a distance of 1.
    expected = [[0, 0, 1], [1, 0, 0], [0, 0, 1], [0, 1, 0]]
    np.testing.assert_allclose(x, 0.5**0.5 * np.array(expected), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["bool", "boolean", "object"])
def test_booleans_are_0_and_1(dtype):
    frame = pd.DataFrame({"member": pd.Series([True, False, True], dtype=dtype)})
    table = load_table(frame)
    np.testing.assert_array_equal(table.x, [[1], [0], [1]])
    assert table.columns[0].kind == "yes/no"


@pytest.mark.parametrize(
    "values",
    [["yes", "No", "yes"], ["t", "f", "t"], ["TRUE", "FALSE", "TRUE"], [2, 1, 2]],
)
def test_two_answers_are_0_and_1(values):
    table = load_table(pd.DataFrame({"member": values}))
    np.testing.assert_array_equal(table.x, [[1], [0], [1]])
    assert table.notes == ("columns: member (yes/no)",)


def test_a_category_of_numbers_is_no_number():
    frame = pd.DataFrame({"ward": pd.Categorical([10, 9, 10])})
    table = load_table(frame)
    assert table.columns[0].titles == ("ward = 10", "ward = 9")
    np.testing.assert_array_equal(table.x > 0, [[1, 0], [0, 1], [1, 0]])


def test_columns_stay_in_their_order():
    frame = pd.DataFrame({"b": ["x", "z"], "a": [3.0, 1.0], "c": [True, False]})
    x = load_table(frame).x
    np.testing.assert_array_equal(np.sign(x), [[1, 0, 1, 1], [0, 1, -1, 0]])


def test_rare_categories_are_one_together():
    words = ["red"] * 120 + ["blue"] * 76 + ["pink", "gray", "gold", "teal"]
    table = load_table(pd.DataFrame({"color": words}), standardize=False)
    # Less than a hundredth of the 200 rows.
    assert table.columns[0].categories == ("blue", "red", "(other)")
    assert (table.x[-4:, 2] > 0).all()
    assert not table.x[:-4, 2].any()


def test_a_single_rare_category_keeps_its_name():
    words = ["red"] * 120 + ["blue"] * 179 + ["pink"]
    table = load_table(pd.DataFrame({"color": words}))
    assert table.columns[0].categories == ("blue", "pink", "red")


def test_at_most_twenty_categories_have_a_column_of_their_own():
    words = [f"word {i % 30:02d}" for i in range(615)]
    categories = load_table(pd.DataFrame({"word": words})).columns[0].categories
    assert len(categories) == 21
    # Of equally common ones the first in the order of letters.
    assert categories[:2] == ("word 00", "word 01")
    assert categories[-1] == "(other)"


def test_a_category_column_varies_less_than_a_number():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=500), "b": rng.choice(list("xyz"), 500)})
    variances = load_table(frame).x.var(axis=0)
    assert variances[0] == pytest.approx(1, rel=1e-5)
    assert variances[1:].sum() == pytest.approx(1 / 3, rel=0.01)


# Labels.


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3, 0, 3], [3, 0, 3]),
        (["dog", "ape", "dog"], [1, 0, 1]),
        ([True, False, True], [1, 0, 1]),
        ([0.5, -1.0, 0.5], [1, 0, 1]),
        (pd.Series([3, 0, 3], dtype="Int64"), [3, 0, 3]),
        (pd.Categorical(["dog", "ape", "dog"]), [1, 0, 1]),
    ],
    ids=["integers", "text", "booleans", "floats", "Int64", "categorical"],
)
def test_label_column_is_taken_out_of_x(values, expected):
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "species": values, "b": [1, 1, 4]})
    dataset = load_table(frame, label_column="species")
    assert dataset.x.shape == (3, 2)
    assert dataset.labels.dtype == np.int32
    np.testing.assert_array_equal(dataset.labels, expected)


def test_columns_may_be_called_by_numbers():
    frame = pd.DataFrame([[1, 7], [2, 5], [4, 7]])
    for label_column in (1, "1"):
        dataset = load_table(frame, label_column=label_column)
        np.testing.assert_array_equal(dataset.labels, [7, 5, 7])


def test_load_table_rejects_an_unknown_label_column():
    message = "Unknown label_column 'heigth'; did you mean 'height'"
    with pytest.raises(ValueError, match=message):
        load_table(FRAME, label_column="heigth")


def test_labels_of_a_file_keep_their_integers(tmp_path):
    (tmp_path / "a.csv").write_text("a,kind\n1.5,3\n2.5,0\n4,3\n")
    table = load_table(tmp_path / "a.csv", label_column="kind")
    np.testing.assert_array_equal(table.labels, [3, 0, 3])


# Values that are refused.


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (
            [1.0, np.inf, -np.inf, 2.0],
            "column 'extra': must be finite, got 2 of 4 values",
        ),
        (
            [1.0, 1e39, 0.0, 2.0],
            "column 'extra': must be finite, got 1 of 4 .*beyond 3.4",
        ),
        ([1j, 2j, 3j, 4j], "column 'extra': must hold real numbers, got complex128"),
        ([[1], [2], [3], [4]], r"'extra': must hold numbers, .* such as \[1\]"),
        ([b"a", b"b", b"a", b"b"], "'extra': must hold numbers, .* such as b'a'"),
        (["1.5", "2.5", "1e999", "4"], "'extra': must be finite"),
    ],
    ids=["infinite", "beyond float32", "complex", "list", "bytes", "infinite text"],
)
def test_load_table_rejects_a_column(column, message):
    with pytest.raises(ValueError, match=message):
        load_table(FRAME.assign(extra=column))


def test_all_that_is_wrong_is_told_at_once():
    frame = FRAME.assign(a=[[1]] * 4, b=[[1]] * 4, kind=["x", None, "y", "x"])
    with pytest.raises(ValueError) as error:
        load_table(frame.assign(c=[1, np.inf, 2, 3]), label_column="kind")
    assert str(error.value) == (
        "pandas DataFrame: column 'kind': holds the labels, and 1 of 4 are missing; columns "
        "'a', 'b': must hold numbers, text, dates, categories or booleans, got values such "
        "as [1]; column 'c': must be finite, got 1 of 4 values that are infinite or beyond "
        "3.4e38. Mend the columns, or leave them out by drop=['a', 'b', 'c'] (--drop a "
        "--drop b --drop c)."
    )


def test_load_table_rejects_a_table_with_several_faults_in_one_line(tmp_path):
    n = 100
    days = [
        f"2021-01-{1 + i % 28:02d}" if i % 2 else f"{1 + i % 28}/7/2021"
        for i in range(n)
    ]
    days = [
        day if i % 3 else f"{1 + i % 28}. March 19{i:02d}" for i, day in enumerate(days)
    ]
    frame = pd.DataFrame(
        {
            "spend": [f"{i}.5" for i in range(n)],
            "note": "",
            "code": [f"K{i // 2}{i % 2}" for i in range(n)],
            "ratio": ["inf" if i == 7 else str(i % 13) for i in range(n)],
            "day": days,
            "age": ["old" if i == 9 else str(20 + i) for i in range(n)],
            "pay": range(n),
        }
    )
    text = frame.to_csv(index=False).replace("age,pay", "age,spend", 1)
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(ValueError) as error:
        load_table(tmp_path / "bad.csv", drop=["nonsense"], id_column="kode")
    assert str(error.value) == (
        f"csv file {tmp_path / 'bad.csv'}: column 'spend': is the name of 2 columns; column "
        "'ratio': must be finite, got 'inf'. Unknown column to drop "
        "'nonsense'; columns are spend, note, code, ratio, day, age, spend. Unknown "
        "id_column 'kode'; did you mean 'code'? Left out anyway: note (empty), code (all "
        "texts differ), day (dates in several forms: write them as YYYY-MM-DD). Texts among "
        "numbers, taken as missing: age ('old'). Mend the columns, or leave them out by "
        "drop=['spend', 'ratio'] (--drop spend --drop ratio)."
    )


def test_an_unknown_column_is_told_with_those_that_there_are():
    frame = pd.DataFrame({f"value {i}": [1, 2.5, 4] for i in range(13)})
    message = (
        "Unknown column to drop 'xyz'; columns are value 0, value 1, value 2, value 3, "
        "value 4, value 5, value 6, value 7, value 8, value 9 and 3 more."
    )
    with pytest.raises(ValueError, match=message):
        load_table(frame, drop=["xyz"])


def test_load_table_rejects_a_table_that_never_varies():
    frame = pd.DataFrame({"a": [1, 1], "b": ["x", "x"], "label": [0, 1]})
    message = r"must vary, and none is left: a \(constant\); b \(constant\)"
    with pytest.raises(ValueError, match=message):
        load_table(frame, label_column="label")


def test_load_table_rejects_two_columns_of_one_name():
    frame = pd.DataFrame([[1, 2, 3], [4, 5, 7]], columns=["a", "b", "a"])
    message = r"DataFrame: column 'a': is the name of 2 columns\. Mend .* \(--drop a\)"
    with pytest.raises(ValueError, match=message):
        load_table(frame)
    np.testing.assert_array_equal(load_table(frame, drop=["a"]).x, [[-1], [1]])


def test_load_table_rejects_a_table_without_rows():
    with pytest.raises(
        ValueError, match="DataFrame: the table must have rows, got none"
    ):
        load_table(FRAME[:0])


@pytest.mark.parametrize("table", [np.eye(3), None, {"a": [1, 2]}])
def test_load_table_rejects_what_is_no_table(table):
    with pytest.raises(TypeError, match="must be a path or a pandas DataFrame, got"):
        load_table(table)


def test_name_is_what_the_caller_calls_it(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x,y\n1,2\n3,4\n")
    assert load_table(path, name="animals").name == "animals"
    assert load_table(FRAME, name="animals").name == "animals"


def test_the_index_of_a_frame_is_no_column(tmp_path):
    frame = FRAME.set_axis(list("abcd"), axis=0)
    frame.to_parquet(tmp_path / "a.parquet")
    assert load_table(frame).x.shape == (4, 2)
    assert load_table(tmp_path / "a.parquet").x.shape == (4, 2)


def test_load_table_says_that_pandas_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(
        ImportError, match=r'tables needs pandas: pip install "dec_jax\[tables\]"'
    ):
        load_table("a.csv")


# Missing values that are refused.


def test_load_table_rejects_gaps_if_asked(tmp_path):
    rows = [f"{i},{'' if i % 8 == 3 else 'ab'[i % 2]}" for i in range(100)]
    (tmp_path / "a.csv").write_text("\n".join(["n,kind", *rows]) + "\n")
    load_table(tmp_path / "a.csv", keep=["n"])
    message = (
        r"column 'kind': is missing in 13 rows \(lines 5, 13, 21, 29, 37, 45, 53, 61, 69, 77 "
        r"and 3 more\), which missing='error' \(--missing error\) refuses\. Mend .*--drop kind"
    )
    with pytest.raises(ValueError, match=message):
        load_table(tmp_path / "a.csv", keep=["n"], missing="error")
    assert load_table(FRAME, missing="error").x.shape == (4, 2)


@pytest.mark.parametrize("option", ["missing", "unknown"])
def test_load_table_rejects_an_unknown_policy(option):
    with pytest.raises(ValueError, match=f"Unknown {option} 'drop'. Known: "):
        load_table(FRAME, **{option: "drop"})


# New data.


def frame_of_two_kinds(rows):
    rng = np.random.default_rng(rows)
    return pd.DataFrame(
        {
            "size": rng.normal(50, 9, rows),
            "same": 3,
            "color": rng.choice(["red", "green"], rows),
            "sold": rng.random(rows) < 0.5,
        }
    )


def test_new_rows_become_samples_as_the_first_ones_did():
    frame = frame_of_two_kinds(40)
    first = load_table(frame)
    # A part of the rows has another mean, and the other columns in another order.
    part = frame.iloc[3:9, ::-1].assign(more=1)
    again = load_table(part, columns=first.columns)
    np.testing.assert_array_equal(again.x, first.x[3:9])
    assert again.columns == first.columns


def test_columns_come_back_from_json():
    columns = load_table(frame_of_two_kinds(40)).columns
    stored = json.loads(json.dumps(columns_to_json(columns)))
    assert columns_from_json(stored) == columns
    assert columns_from_json(columns_to_json(None)) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda frame: frame.drop(columns="size"),
            "'size': missing, though the table of",
        ),
        (
            lambda frame: frame.drop(columns=["size", "color"]),
            "columns 'size', 'color': missing",
        ),
        (
            lambda frame: frame.assign(size="big"),
            "column 'size': must hold numbers as before, got 'big'",
        ),
    ],
)
def test_load_table_rejects_new_data_of_another_kind(change, message):
    frame = frame_of_two_kinds(40)
    columns = load_table(frame).columns
    with pytest.raises(ValueError, match=message):
        load_table(change(frame), columns=columns)
