"""Tables from text: cells, names, missing values; what is told of a file that is no table."""

import csv
import gzip
import io

import numpy as np
import pytest

from bayes_sbn.cli_data import read_data
from bayes_sbn.cli_data_cells import is_number
from bayes_sbn.cli_data_csv import TextOptions


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_names_target_and_numbers_of_a_header(tmp_path):
    source = write(tmp_path / "t.csv", "size,kind,weight\n1,cat,2.5\n-3e2,dog,.5\n")
    table = read_data(source, TextOptions(target="kind"))
    assert table.columns.inputs == ("size", "weight")
    assert table.columns.target == "kind"
    assert table.columns.are_named
    assert np.array_equal(table.x, [[1, 2.5], [-300, 0.5]])
    assert table.target.tolist() == ["cat", "dog"]
    assert [table.place(0), table.place(1)] == ["line 2", "line 3"]


@pytest.mark.parametrize("target", ["kind", "2", "-2"])
def test_a_column_has_a_name_and_two_numbers(target, tmp_path):
    source = write(tmp_path / "t.csv", "size,kind,weight\n1,cat,2.5\n")
    table = read_data(source, TextOptions(target=target))
    assert table.columns.target == "kind"
    dropped = read_data(source, TextOptions(target="weight", drop=(target,)))
    assert dropped.columns.inputs == ("size",)


def test_a_name_goes_before_a_number(tmp_path):
    source = write(tmp_path / "t.csv", "2,y,1\n5,a,7\n")
    with pytest.raises(ValueError, match="line 1, column '2' is 'y'"):
        read_data(source)  # the first line looks like data, with text in column 2
    table = read_data(source, TextOptions(target="y", has_header=True))
    assert table.columns.inputs == ("2", "1")
    table = read_data(source, TextOptions(target="y", drop=("1",), has_header=True))
    assert table.columns.inputs == ("2",)


@pytest.mark.parametrize(
    ("text", "is_named"),
    [
        ("a,b\n1,2\n", True),
        ("1,2\n3,4\n", False),
        ("1,cat\n3,dog\n", False),
        ("a,b\n1,cat\n", True),
        (",b\n0,cat\n", False),  # an empty name, and text in both lines: nothing tells
        (",a,b\n0,1,cat\n", True),
        ("1990,1991,y\n3,4,5\n", True),
        ("1990,1991,1992\n3,4,5\n", False),
        ("1,nan,cat\n3,4,dog\n", False),
    ],
)
def test_a_header_is_found_out(text, is_named, tmp_path):
    source = write(tmp_path / "t.csv", text)
    options = TextOptions(target="-1", leave_out_missing=True)
    assert read_data(source, options).columns.are_named is is_named


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "  "])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_delimiters_and_line_ends(delimiter, end, tmp_path):
    lines = [("a", "b", "y"), ("1", "2", "p"), ("3", "4.5", "q")]
    text = end.join(delimiter.join(line) for line in lines) + end + end
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    table = read_data(str(tmp_path / "t.csv"))
    assert table.columns.inputs == ("a", "b")
    assert np.array_equal(table.x, [[1, 2], [3, 4.5]])
    assert table.target.tolist() == ["p", "q"]


def test_quoted_cells_are_read_as_csv_says(tmp_path):
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows([["a, b", 'the "class"'], [1, "x,\ny"], [2, 'p"q']])
    table = read_data(write(tmp_path / "t.csv", text.getvalue()))
    assert table.columns.inputs == ("a, b",)
    assert table.target.tolist() == ["x,\ny", 'p"q']


def test_compressed_text_is_read(tmp_path):
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a,y\n1,2\n3,4\n"))
    table = read_data(str(tmp_path / "t.csv.gz"))
    assert np.array_equal(table.target, [2, 4])


def test_rows_with_missing_cells_are_left_out_on_request_alone(tmp_path):
    text = "a,b,y\n1,2,p\n?,2,q\n3,NaN,p\n4,5,\n6,7,none\n"
    source = write(tmp_path / "t.csv", text)
    with pytest.raises(ValueError, match=r"line 3, column 'a' has no value \('\?'\)"):
        read_data(source)
    table = read_data(source, TextOptions(leave_out_missing=True))
    assert np.array_equal(table.x, [[1, 2], [6, 7]])
    assert table.target.tolist() == ["p", "none"]
    assert table.place(1) == "line 6"
    # a column that is left out may lack values
    kept = read_data(source, TextOptions(drop=("a",), leave_out_missing=True))
    assert np.array_equal(kept.x, [[2], [2], [7]])


HOSTILE_TEXT = {
    "empty": ("", "is empty"),
    "blank": ("\n  \n\n", "is empty"),
    "header_alone": ("a,b\n", "a header in line 1 and no rows"),
    "one_column": ("a\n1\n", "no column of inputs"),
    "long_line": ("a,b,y\n1,2,p\n1,2,3,q\n", "line 3 has 4 cells where the first line has 3"),
    "short_line": ("1,2,p\n1,p\n", "line 2 has 2 cells"),
    "text_cell": (
        "a,b,y\n1,2,p\n1,Rome,q\n",
        "line 3, column 'b' is 'Rome', which is not a number",
    ),
    "missing": ("a,b,y\n1,,p\n", "line 2, column 'b' has no value"),
    "missing_target": ("a,b,y\n1,2,p\n1,2,\n", "line 3 has no target"),
    "infinite": ("a,b,y\n1,inf,p\n", "line 2, column 'b' is inf"),
    "huge": ("a,b,y\n1,1e999,p\n", "line 2, column 'b' is 1e999"),
    "underscore": ("a,b,y\n1,1_000,p\n", "'1_000', which is not a number"),
    "comma": ("a;b;y\n1;2,5;p\n", "'2,5', which is not a number. Write numbers with a point"),
    "same_names": ("a,a,y\n1,2,p\n", "'a' more than once"),
    "thousands": ('a,y\n"1,234.5",p\n', "with no mark between thousands"),
    "comma_at_the_end": ("a,y,\n1,p,\n2,q,\n", "the last column has neither a name nor a value"),
    "nameless": ("a,,y\n1,,p\n2,,q\n", "column 2 has neither a name nor a value"),
    "comment": ("# made by hand\na,b,y\n1,2,p\n", "4, parted by blanks. Every line needs as many"),
    "unparted": ("a:b:y\n1:2:p\n", "what parts them is commas, semicolons, tabs, bars or blanks"),
    "open_quote": ('a,y\n1,"p\n2,q\n', "cannot be read"),
    "stray_quote": ('a,y\n1,"p"x\n', "line 2 cannot be read"),
    "long_cell": ("a,y\n" + "1" * 200_000 + ",p\n", "line 2"),
}


@pytest.mark.parametrize("case", HOSTILE_TEXT)
def test_text_that_is_no_table_is_an_error(case, tmp_path):
    text, words = HOSTILE_TEXT[case]
    source = write(tmp_path / "t.csv", text)
    with pytest.raises(ValueError) as found:  # noqa: PT011
        read_data(source)
    assert words in str(found.value)
    assert "t.csv" in str(found.value)
    assert len(str(found.value)) < 500


@pytest.mark.parametrize("content", [b"\xff\xfe\x00a", bytes(range(128, 256)) * 20, b"\x80,1\n"])
def test_bytes_that_are_no_text_are_an_error(content, tmp_path):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ValueError, match="is not text in UTF-8"):
        read_data(str(tmp_path / "t.csv"))


def test_what_a_cell_is():
    assert all(map(is_number, ["1", " 2.5 ", "-1e-3", "+4", "nan", "inf", ".5", "5."]))
    assert not any(map(is_number, ["", "a", "1,5", "1_0", "0x10", "1 2"]))


# Columns by those of an earlier table.


def test_columns_are_found_by_name(tmp_path):
    first = read_data(write(tmp_path / "a.csv", "a,b,y\n1,2,p\n"))
    new = read_data(write(tmp_path / "b.csv", "y,other,b,a\nq,x,4,3\n"), like=first.columns)
    assert np.array_equal(new.x, [[3, 4]])
    assert new.target.tolist() == ["q"]
    assert new.columns == first.columns
    with pytest.raises(ValueError, match="lacks the columns 'a', 'b'"):
        read_data(write(tmp_path / "c.csv", "y,c\np,1\n"), like=first.columns)


@pytest.mark.parametrize(
    ("text", "has_target"), [("1,5,2\n", True), ("1,5\n", False), ("9,1,5,2\n", True)]
)
def test_columns_are_found_by_place(text, has_target, tmp_path):
    options = TextOptions(target="4", drop=("1",))
    first = read_data(write(tmp_path / "a.csv", "9,1,5,2\n9,2,6,3\n"), options)
    if len(text.split(",")) == 3:
        text, has_target = "9,1,5\n", False
    new = read_data(write(tmp_path / "b.csv", text), like=first.columns)
    assert np.array_equal(new.x, [[1, 5]])
    assert (new.target is not None) is has_target


def test_a_number_of_columns_that_fits_nothing_is_an_error(tmp_path):
    first = read_data(write(tmp_path / "a.csv", "1,2,3\n"))
    with pytest.raises(ValueError, match="has 5 columns; the model was fitted to 2 inputs"):
        read_data(write(tmp_path / "b.csv", "1,2,3,4,5\n"), like=first.columns)


def test_what_is_wrong_later_is_told_with_what_helps_there(tmp_path):
    """Rows to predict have no --drop and no --drop-missing."""
    first = read_data(write(tmp_path / "a.csv", "a,b,y\n1,2,p\n"))
    for line, words in (("1,,p", "take such lines out"), ("1,Rome,p", "fitted to numbers there")):
        with pytest.raises(ValueError, match=words) as found:
            read_data(write(tmp_path / "b.csv", f"a,b,y\n{line}\n"), like=first.columns)
        assert "--drop" not in str(found.value)
