"""Files of tables: csv, tsv and parquet."""

import sys

import numpy as np
import pandas as pd
import pytest

from dec_jax.data.tables import load_table

FRAME = pd.DataFrame({"height": [1.5, 1.8, 1.2, 1.9], "age": [30, 40, 50, 10]})


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


# Files.


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "CSV"])
def test_load_table_reads_each_format(tmp_path, suffix):
    frame = FRAME.assign(color=["red", "blue", "red", "blue"], species=list("abab"))
    path = tmp_path / f"animals.{suffix}"
    if suffix == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, sep="\t" if suffix == "tsv" else ",", index=False)
    dataset = load_table(str(path), label_column="species")
    expected = load_table(frame, label_column="species")
    np.testing.assert_allclose(dataset.x, expected.x, rtol=1e-6)
    np.testing.assert_array_equal(dataset.labels, expected.labels)
    assert dataset.name == "animals"
    assert dataset.source == f"{suffix.lower()} file {path}"


@pytest.mark.parametrize("first", ['""', ""], ids=["R", "pandas"])
def test_a_first_column_without_a_name_is_the_index(tmp_path, first):
    # As DataFrame.to_csv and write.csv write it: row numbers would look like a column.
    path = write(tmp_path / "a.csv", f"{first},x,y\n1,5,2\n2,7,4\n")
    x = load_table(path, standardize=False).x
    np.testing.assert_array_equal(x, [[5, 2], [7, 4]])


def test_a_csv_file_may_have_empty_lines_and_a_mark_of_excel(tmp_path):
    path = write(tmp_path / "a.csv", '\ufeff\n"x",y\n\n1,2\n\n3,4\n')
    x = load_table(path, standardize=False).x
    np.testing.assert_array_equal(x, [[1, 2], [3, 4]])


def test_the_type_of_a_long_column_is_that_of_all_rows(tmp_path):
    # Read block by block (131,072 rows of 4 columns), it would be numbers, then text.
    rows = "\n".join(["1,1,1,1"] * 140_000 + ["a,1,1,1"])
    path = write(tmp_path / "a.csv", f"kind,b,c,d\n{rows}\n")
    assert load_table(path).x.shape == (140_001, 2)


@pytest.mark.parametrize(
    "titles", ["0,1,2", "country,2019,2020", "400.5,401,401.5,402", "kind,0", "x1,x2"]
)
def test_names_may_be_numbers_that_count_up(tmp_path, titles):
    n = titles.count(",") + 1
    rows = [",".join([str(row)] * n) for row in (3, 5)]
    path = write(tmp_path / "a.csv", "\n".join([titles, *rows]) + "\n")
    assert load_table(path).x.shape == (2, n)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.csv cannot be read: it is empty"),
        ("x,y\n", "the table must have rows, got none"),
        (
            "5.1,3.5\n4.9,3.0\n",
            "first line must name the columns, got values: 5.1, 3.5;",
        ),
        (
            "5.1,3.5,1.4,0.2,ape\n4.9,3.0,1.4,0.2,ape\n",
            "got values: 5.1, 3.5, 1.4, 0.2, ape",
        ),
        ("x;y\n1;2\n", "columns must be separated by commas, got the first line 'x;y'"),
        ("x\ty\n1\t2\n", "columns must be separated by commas"),
        ("x,y\n1,2,3\n", "must name all columns, got 2 names above 3 values"),
        (",x\n1,2,3\n", "must name all columns, got 2 names above 3 values"),
        ("x,y\n1,2\n1,2,3\n", "a.csv cannot be read: Error tokenizing .* saw 3"),
        ("x,y,\n1,2,\n", "a.csv cannot be read: column 3 has no name"),
        (",,x\n1,2,3\n", "a.csv cannot be read: column 2 has no name"),
        (
            "x,y,x\n1,2,3\n",
            "it must have columns of different names, got more than one x",
        ),
        ("x,y\n1,\n3,4\n", "a.csv: no value may be missing, got 1 of 2 .*column 'y'"),
        ('x,y\n1,"2\n', "a.csv cannot be read: "),
        ("x,y\n\xff,2\n", "a.csv cannot be read: .*utf-8"),
    ],
    ids=[
        "empty",
        "no rows",
        "no header",
        "no header but text",
        "semicolons",
        "tabs",
        "short header",
        "short header with index",
        "long row",
        "unnamed last",
        "two unnamed",
        "same names",
        "missing",
        "open quote",
        "not UTF-8",
    ],
)
def test_load_table_rejects_a_csv_file(tmp_path, text, message):
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=message) as error:
        load_table(path)
    assert "\n" not in str(error.value)


def test_load_table_rejects_commas_in_a_tsv_file(tmp_path):
    path = write(tmp_path / "a.tsv", "x,y\n1,2\n")
    with pytest.raises(ValueError, match="must be separated by tabs, got .*'x,y'"):
        load_table(path)


def test_load_table_rejects_a_damaged_parquet_file(tmp_path):
    FRAME.to_parquet(tmp_path / "a.parquet")
    content = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(content[:-20])
    with pytest.raises(ValueError, match="a.parquet cannot be read: "):
        load_table(tmp_path / "a.parquet")


def test_load_table_rejects_a_missing_file(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="The table .*nowhere.csv does not exist"
    ):
        load_table(tmp_path / "nowhere.csv")


def test_load_table_rejects_another_ending(tmp_path):
    path = write(tmp_path / "a.xlsx", "")
    with pytest.raises(
        ValueError, match=r"must end in .csv, .tsv or .parquet, got .*xlsx"
    ):
        load_table(path)


def test_load_table_says_that_pyarrow_is_not_installed(tmp_path, monkeypatch):
    FRAME.to_parquet(tmp_path / "a.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    message = r'reading parquet needs pyarrow: pip install "dec_jax\[tables\]"'
    with pytest.raises(ImportError, match=message):
        load_table(tmp_path / "a.parquet")
