"""Data as they are named on the command line: what is read, and what is told of other files."""

import csv
import gzip
import io
import struct

import numpy as np
import pytest
from sklearn import datasets

from bayes_sbn.cli_data import has_test_part, read_data
from bayes_sbn.cli_data_arrays import SETS, idx_array
from bayes_sbn.cli_data_csv import TextOptions, is_number


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


def idx_bytes(array, code):
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return head + array.tobytes()


# Text.


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


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "  "])
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
    "comma": ("a;b;y\n1;2,5;p\n", "'2,5', which is not a number"),
    "same_names": ("a,a,y\n1,2,p\n", "'a' more than once"),
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


# Arrays.


@pytest.mark.parametrize("y", [[0, 1, 2], [0.5, 1.5, 2.0], ["a", "b", "a"], [True, False, True]])
def test_an_archive_of_arrays(y, tmp_path):
    x = np.arange(12.0).reshape(3, 4)
    np.savez(tmp_path / "d.npz", x=x, y=np.array(y))
    table = read_data(str(tmp_path / "d.npz"))
    assert np.array_equal(table.x, x)
    assert table.target.tolist() == y
    assert table.columns.inputs == ("1", "2", "3", "4")
    assert table.place(1) == "row 2"
    assert not table.is_pixels
    np.savez_compressed(tmp_path / "e.npz", x=x)
    assert read_data(str(tmp_path / "e.npz")).target is None


def test_images_in_an_archive_are_rows_of_pixels(tmp_path):
    x = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    np.savez(tmp_path / "d.npz", x=x, y=[0, 1])
    table = read_data(str(tmp_path / "d.npz"))
    assert np.array_equal(table.x, x.reshape(2, 12))
    assert table.is_pixels


HOSTILE_ARRAYS = {
    "no_x": ({"inputs": np.ones((2, 2))}, "no array 'x'; its arrays are 'inputs'"),
    "flat": ({"x": np.ones(3)}, r"float64 of shape (3,)"),
    "text": ({"x": np.array([["a"]])}, "must be real numbers"),
    "complex": ({"x": np.ones((2, 2), complex)}, "must be real numbers"),
    "empty": ({"x": np.ones((0, 2))}, "at least one"),
    "lengths": ({"x": np.ones((2, 2)), "y": np.ones(3)}, "2 rows of inputs and 3 targets"),
    "targets": ({"x": np.ones((2, 2)), "y": np.ones((2, 2))}, "'y' is float64 of shape (2, 2)"),
    "nan": ({"x": np.array([[1, 2], [3, np.nan]])}, "row 2, column '2' is nan"),
    "infinite": ({"x": np.array([[np.inf, 2]])}, "row 1, column '1' is inf"),
    "nan_target": ({"x": np.ones((2, 2)), "y": np.array([1, np.nan])}, "target of row 2 is nan"),
    "objects": ({"x": np.array([[1, "a"]], dtype=object)}, "cannot be read as an NPZ archive"),
}


@pytest.mark.parametrize("case", HOSTILE_ARRAYS)
def test_arrays_that_are_no_table_are_an_error(case, tmp_path):
    arrays, words = HOSTILE_ARRAYS[case]
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(ValueError) as found:  # noqa: PT011
        read_data(str(tmp_path / "d.npz"))
    assert words in str(found.value)


def test_a_truncated_archive_is_an_error(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.random.default_rng(0).normal(size=(50, 3)))
    content = (tmp_path / "d.npz").read_bytes()
    for size in (3, 30, 500, len(content) - 10):
        (tmp_path / "d.npz").write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"d\.npz"):
            read_data(str(tmp_path / "d.npz"))


# IDX.


@pytest.mark.parametrize(
    ("code", "dtype"), [(8, "u1"), (9, "i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")]
)
def test_every_type_of_idx(code, dtype):
    array = np.arange(-6 if code > 8 else 0, 24 if code > 8 else 30).reshape(2, 3, 5).astype(dtype)
    assert np.array_equal(idx_array("f", idx_bytes(array, code)), array)


@pytest.mark.parametrize("is_compressed", [False, True])
def test_images_find_their_labels(is_compressed, tmp_path):
    x = np.arange(40, dtype=np.uint8).reshape(5, 2, 4)
    y = np.array([3, 1, 4, 1, 5], np.uint8)
    end, pack = (".gz", gzip.compress) if is_compressed else ("", bytes)
    (tmp_path / f"train-images-idx3-ubyte{end}").write_bytes(pack(idx_bytes(x, 8)))
    images = str(tmp_path / f"train-images-idx3-ubyte{end}")
    assert read_data(images).target is None
    (tmp_path / f"train-labels-idx1-ubyte{end}").write_bytes(pack(idx_bytes(y, 8)))
    for source in (images, str(tmp_path)):
        table = read_data(source)
        assert np.array_equal(table.x, x.reshape(5, 8))
        assert np.array_equal(table.target, y)
        assert table.is_pixels
    assert not has_test_part(str(tmp_path))
    (tmp_path / f"t10k-images-idx3-ubyte{end}").write_bytes(pack(idx_bytes(x[:2], 8)))
    assert has_test_part(str(tmp_path))
    assert len(read_data(str(tmp_path), part="t10k")) == 2
    (tmp_path / "others").write_bytes(idx_bytes(y[::-1].copy(), 8))
    table = read_data(images, labels=str(tmp_path / "others"))
    assert np.array_equal(table.target, y[::-1])


HOSTILE_IDX = {
    "short": (b"\0\0\x08", "truncated"),
    "type": (b"\0\0\x07\x01\0\0\0\x01a", "not an IDX file"),
    "no_dims": (b"\0\0\x08\0", "truncated in its header"),
    "header": (b"\0\0\x08\x03\0\0\0\x01\0\0", "truncated in its header"),
    "few": (idx_bytes(np.zeros((2, 3), np.uint8), 8)[:-1], "6 bytes, and 5 follow"),
    "many": (idx_bytes(np.zeros((2, 3), np.uint8), 8) + b"x", "6 bytes, and 7 follow"),
    "enormous": (b"\0\0\x0e\x03" + b"\xff" * 12, "and 0 follow"),
    "labels": (idx_bytes(np.zeros(4, np.uint8), 8), "as labels have"),
    "none": (idx_bytes(np.zeros((0, 4), np.uint8), 8), "give the file of the images"),
}


@pytest.mark.parametrize("case", HOSTILE_IDX)
def test_damaged_idx_is_an_error(case, tmp_path):
    content, words = HOSTILE_IDX[case]
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(ValueError) as found:  # noqa: PT011
        read_data(str(tmp_path / "t"))
    assert words in str(found.value)


def test_damaged_compression_is_an_error(tmp_path):
    content = gzip.compress(b"a,y\n1,2\n" * 100)
    for bad in (content[:-12], content[:10] + b"\xff" * 20):
        (tmp_path / "t.gz").write_bytes(bad)
        with pytest.raises(ValueError, match="cannot be decompressed"):
            read_data(str(tmp_path / "t.gz"))


# Sets and places.


@pytest.mark.parametrize("name", SETS)
def test_the_sets_are_those_of_scikit_learn(name):
    table = read_data(name)
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    assert np.array_equal(table.x, x)
    assert table.is_real is (name == "diabetes")
    if table.is_real:
        assert np.array_equal(table.target, y)
    else:
        names = getattr(datasets, f"load_{name}")().target_names
        assert table.target.tolist() == [str(names[k]) for k in y]
    assert len(table.columns.inputs) == x.shape[1]


def test_a_set_goes_before_a_folder_of_its_name(tmp_path):
    (tmp_path / "iris").mkdir()
    assert len(read_data("iris")) == 150
    with pytest.raises(ValueError, match="is a folder without train-images"):
        read_data("./iris")


def test_what_is_not_there_is_told_with_the_sets_there_are():
    with pytest.raises(ValueError, match="no such file, and the data sets by name are breast_can"):
        read_data("irs")


def test_equal_tables_have_equal_digests(tmp_path):
    a = read_data(write(tmp_path / "a.csv", "a,b,y\n1,2,p\n3,4,q\n"))
    b = read_data(write(tmp_path / "b.csv", "1.0;2;p\n3;4e0;q\n"))
    np.savez(tmp_path / "c.npz", x=np.array([[1, 2], [3, 4]]), y=np.array(["p", "q"]))
    c = read_data(str(tmp_path / "c.npz"))
    assert a.digest() == b.digest() == c.digest()
    others = ["1,2,p\n3,4,p\n", "1,2,p\n3,5,q\n", "3,4,q\n1,2,p\n", "1,2,1\n3,4,2\n"]
    found = {read_data(write(tmp_path / "d.csv", text)).digest() for text in others}
    assert len(found | {a.digest()}) == 5
