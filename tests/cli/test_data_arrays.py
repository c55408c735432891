"""Tables from arrays: NPZ archives, and IDX files with their labels."""

import gzip
import struct

import numpy as np
import pytest

from bayes_sbn.cli_data import has_test_part, read_data
from bayes_sbn.cli_data_arrays import idx_array


def idx_bytes(array, code):
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return head + array.tobytes()


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
    "targets": ({"x": np.ones((2, 2)), "y": np.ones((2, 2))}, "(2,). Write y.argmax(1)"),
    "nan": ({"x": np.array([[1, 2], [3, np.nan]])}, "row 2, column '2' is nan"),
    "infinite": ({"x": np.array([[np.inf, 2]])}, "row 1, column '1' is inf"),
    "nan_target": ({"x": np.ones((2, 2)), "y": np.array([1, np.nan])}, "target of row 2 is nan"),
    "objects": (
        {"x": np.array([[1, "a"]], dtype=object)},
        "numbers (Object arrays cannot",
    ),
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
