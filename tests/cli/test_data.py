"""Data as they are named on the command line: sets, files that are none, equal tables."""

import gzip

import numpy as np
import pytest
from sklearn import datasets

from bayes_sbn.cli_data import read_data
from bayes_sbn.cli_data_arrays import SETS
from tests.cli.test_data_csv import write


def test_damaged_compression_is_an_error(tmp_path):
    content = gzip.compress(b"a,y\n1,2\n" * 100)
    for bad in (content[:-12], content[:10] + b"\xff" * 20):
        (tmp_path / "t.gz").write_bytes(bad)
        with pytest.raises(ValueError, match="cannot be decompressed"):
            read_data(str(tmp_path / "t.gz"))


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


@pytest.mark.parametrize("name", ["t.xlsx", "t.XLS", "t.ods"])
def test_a_spreadsheet_is_told_to_become_csv(name, tmp_path):
    (tmp_path / name).write_bytes(b"PK\3\4")
    with pytest.raises(ValueError, match="is a spreadsheet, which is not read"):
        read_data(str(tmp_path / name))


def test_an_array_alone_is_told_to_become_an_archive(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"arrays by numpy.savez\(path, x=inputs, y=targets\)"):
        read_data(str(tmp_path / "x.npy"))
