"""Commands run in this process, as a user's would: float32, an empty folder to work in."""

import json

import numpy as np
import pytest
import torch

from bayes_sbn import cli


@pytest.fixture(autouse=True)
def _as_a_user(tmp_path, monkeypatch):
    torch.set_default_dtype(torch.float32)
    monkeypatch.chdir(tmp_path)


class Program:
    """The program in this process."""

    def __init__(self, capsys):
        self.capsys = capsys

    def __call__(self, *arguments, code=0):
        """Run it; gives what it printed on standard output and standard error."""
        self.capsys.readouterr()
        try:
            found = cli.main([str(each) for each in arguments])
        except SystemExit as stopped:
            found = stopped.code
        out, err = self.capsys.readouterr()
        assert found == code, err
        return out, err

    def json(self, *arguments):
        """Run it with --json; gives the one object, beside which nothing is printed."""
        out, _ = self(*arguments, "--json", "--quiet")
        return json.loads(out)

    def error(self, *arguments, code=1):
        """Run it; gives the one line of its error."""
        out, err = self(*arguments, code=code)
        assert out == ""
        if code == 1:
            assert err.startswith("bayes-sbn: ")
            assert len(err.strip().splitlines()) == 1
        assert "Traceback" not in err
        return err


@pytest.fixture
def program(capsys):
    return Program(capsys)


@pytest.fixture
def two_classes():
    """60 rows of 3 inputs whose class is plain, as arrays."""
    generator = np.random.default_rng(0)
    y = np.repeat([0, 1], 30)
    x = generator.normal(size=(60, 3)) + 4 * y[:, None]
    order = generator.permutation(60)
    return x[order], y[order]


def write_csv(path, x, y, names=("a", "b", "c", "kind"), words=("cat", "dog")):
    """A CSV file with a header, classes by their words."""
    lines = [",".join(names)] if names else []
    lines += [
        ",".join([*map(repr, map(float, row)), words[int(label)]])
        for row, label in zip(x, y, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def csv_file(tmp_path, two_classes):
    return write_csv(tmp_path / "animals.csv", *two_classes)
