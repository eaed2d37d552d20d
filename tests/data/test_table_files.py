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
        ("x,y\n1,2,3,4\n", "must name all columns, got 2 names above 4 values"),
        ("x,y\n1,2\n1,2,3\n", "got 2 names above 3 values; .* separated by commas"),
        (
            "x,y\n" + "1,2\n" * 200 + "1,2,3\n",
            "a.csv cannot be read: Error tokenizing .* line 202, saw 3",
        ),
        (
            "x,y,x\n1,2,3\n",
            "a.csv: column 'x': is the name of 2 columns",
        ),
        ('x,y\n1,"2\n', "a.csv cannot be read: "),
        ("x,y\n1,\0\n", "a.csv cannot be read: it holds zero bytes"),
    ],
    ids=[
        "empty",
        "no rows",
        "no header",
        "no header but text",
        "short header",
        "long row",
        "long row far below",
        "same names",
        "open quote",
        "zero byte",
    ],
)
def test_load_table_rejects_a_csv_file(tmp_path, text, message):
    path = write(tmp_path / "a.csv", text)
    with pytest.raises(ValueError, match=message) as error:
        load_table(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"encoding": "utf-8"},
            r"it is not in the encoding utf-8 \(see byte 2\); another",
        ),
        ({"encoding": "utf8000"}, "a.csv cannot be read: unknown encoding: utf8000"),
        ({"separator": "::"}, "separator must be one character, got '::'"),
        ({"decimal": "'"}, 'decimal must be "." or ",", got'),
    ],
)
def test_load_table_rejects_an_option_of_a_file(tmp_path, options, message):
    path = tmp_path / "a.csv"
    path.write_bytes("größe,b\n1,2\n3,4\n".encode("latin-1"))
    with pytest.raises(ValueError, match=message):
        load_table(path, **options)


ROWS = "größe;ort\n1,5;Köln\n12,25;Bonn\n3,5;Köln\n"


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-8", None),
        ("utf-8-sig", None),
        ("latin-1", "encoding Windows-1252 (Latin-1)"),
        ("cp1252", "encoding Windows-1252 (Latin-1)"),
        ("utf-16", "encoding utf-16"),
        ("utf-16-le", "encoding utf-16-le"),
        ("utf-16-be", "encoding utf-16-be"),
    ],
)
@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_encoding_separator_and_decimal_comma_are_found_and_said(
    tmp_path, encoding, separator, said
):
    path = tmp_path / "a.csv"
    path.write_bytes(ROWS.replace(";", separator).encode(encoding))
    table = load_table(path, standardize=False)
    np.testing.assert_allclose(table.x[:, 0], [1.5, 12.25, 3.5])
    assert [it.title for it in table.columns] == ["größe", "ort"]
    assert table.columns[1].categories == ("Bonn", "Köln")
    assert table.notes[0].startswith("read with ")
    assert "decimal commas" in table.notes[0]
    assert said is None or said in table.notes[0]


def test_a_usual_file_needs_no_word_on_how_it_was_read(tmp_path):
    path = write(tmp_path / "a.csv", "größe,b\n1.5,2\n3,4\n")
    assert load_table(path).notes == ("columns: größe, b (number)",)


def test_encoding_separator_and_decimal_mark_can_be_given(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("größe;b\n1,500;2\n3,250;4\n".encode("cp850"))
    table = load_table(
        path, encoding="cp850", separator=";", decimal=".", standardize=False
    )
    assert table.columns[0].title == "größe"
    np.testing.assert_array_equal(table.x[:, 0], [1500, 3250])


def test_a_single_column_may_have_decimal_commas(tmp_path):
    path = write(tmp_path / "a.csv", "x\n" + "".join(f"{i},5\n" for i in (1, 7, 4)))
    x = load_table(path, standardize=False).x
    np.testing.assert_array_equal(x, [[1.5], [7.5], [4.5]])


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_may_end_in_each_way(tmp_path, end):
    path = tmp_path / "a.csv"
    path.write_bytes(f"x,y{end}1,2{end}3,5{end}".encode())
    np.testing.assert_array_equal(
        load_table(path, standardize=False).x, [[1, 2], [3, 5]]
    )


def test_a_line_that_tells_excel_the_separator_is_no_row(tmp_path):
    path = write(tmp_path / "a.csv", "sep=;\nx;y\n1;2\n3;4\n")
    np.testing.assert_array_equal(
        load_table(path, standardize=False).x, [[1, 2], [3, 4]]
    )


def test_commas_in_a_tsv_file_are_found(tmp_path):
    path = write(tmp_path / "a.tsv", "x,y\n1,2\n3,4\n")
    assert load_table(path).notes[0].startswith("read with columns separated by commas")


def test_commas_in_quotes_separate_nothing(tmp_path):
    path = write(tmp_path / "a.csv", '"a; b",c\n"1,5",2\n"2,5",3\n')
    np.testing.assert_array_equal(
        load_table(path, standardize=False).x, [[1.5, 2], [2.5, 3]]
    )


@pytest.mark.parametrize(
    "text",
    [",x,y\nana,5,2\nbob,7,4\n", "x,y\nana,5,2\nbob,7,4\n"],
    ids=["pandas", "R"],
)
def test_row_names_name_the_rows(tmp_path, text):
    table = load_table(write(tmp_path / "a.csv", text), standardize=False)
    assert (table.names, table.names_title) == (("ana", "bob"), "name")
    np.testing.assert_array_equal(table.x, [[5, 2], [7, 4]])
    assert "rows are named by the first column, which has no name" in table.notes


@pytest.mark.parametrize("text", ["x,y,\n1,2,\n3,4,\n", "x,y\n1,2,\n3,4,\n"])
def test_a_comma_at_the_end_of_each_row_makes_no_column(tmp_path, text):
    table = load_table(write(tmp_path / "a.csv", text), standardize=False)
    np.testing.assert_array_equal(table.x, [[1, 2], [3, 4]])
    assert "column 3 (empty)" in table.notes[-1]


def test_a_short_row_misses_its_last_values(tmp_path):
    table = load_table(write(tmp_path / "a.csv", "x,y\n1,2\n3\n5,6\n"))
    assert "missing: y (in 1 row)" in table.notes[1]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("x,y\n1,2\n3,5\n", [2, 3]),
        ("\n\nx,y\n1,2\n\n3,5\n\n", [4, 6]),
        ("sep=;\nx;y\n1;2\n3;5\n", [3, 4]),
        ('x,y\n"two\nlines",2\n"one",5\n', [2, 4]),
        ('x,y\n\n"two\n\nlines",2\n"one",5\n', [3, 6]),
        ("x,y\r\n1,2\r\n3,5", [2, 3]),
    ],
)
def test_rows_know_their_lines(tmp_path, text, lines):
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode())
    assert list(load_table(path).lines) == lines


def test_a_frame_and_a_parquet_file_have_no_lines(tmp_path):
    FRAME.to_parquet(tmp_path / "a.parquet")
    assert load_table(tmp_path / "a.parquet").lines is None
    assert load_table(FRAME).lines is None


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
