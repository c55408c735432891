"""A folder of folds: gone on from by the same fit of the same data, and by no other."""

import functools
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

import bayes_sbn as sbn
from bayes_sbn.analysis import kfold
from bayes_sbn.analysis.fit_identity import identity_of
from tests.analysis.networks import classifier

SHARE = 0.5


class Chance:
    """A fit whose prediction is chance of torch's own generator."""

    def __init__(self):
        self.fits, self.fails_at = 0, None

    def __call__(self, x, y):
        if self.fits == self.fails_at:
            raise KeyboardInterrupt
        self.fits += 1
        p = torch.rand(())
        return lambda new: torch.stack([p, 1 - p]).expand(len(new), 2)


def test_a_folder_goes_on_where_it_stopped(tmp_path):
    _, x, y = classifier(rows=8)
    whole = kfold(Chance(), (x, y), 4)
    fit, folder = Chance(), tmp_path / "folds" / "a"
    fit.fails_at = 2
    go_on = functools.partial(kfold, fit, folder=folder, name="chance")
    with pytest.raises(KeyboardInterrupt):
        go_on((x, y), 4)
    assert sorted(p.name for p in folder.iterdir()) == ["fold_0000.npz", "fold_0001.npz"]
    fit.fails_at = None
    found = go_on((x, y), 4)
    assert fit.fits == 4
    np.testing.assert_array_equal(found.mean, whole.mean)
    np.testing.assert_array_equal(found.elpd_per_row, whole.elpd_per_row)
    again = go_on((x, y), 4)
    assert fit.fits == 4
    np.testing.assert_array_equal(again.mean, whole.mean)
    go_on((x, y), 4, resume=False)
    assert fit.fits == 8
    for other, words in (
        (dict(data=(x + 1, y), k=4), "the inputs differ"),
        (dict(data=(x, 1 - y), k=4), "the targets differ"),
        (dict(data=(x, y), k=4, seed=1), "differ"),
        (dict(data=(x, y), k=4, num_draws=9), "num_draws differ"),
        (dict(data=(x, y), k=4, name="luck"), "fit_fn, 'chance' there and 'luck' now, differ"),
    ):
        with pytest.raises(ValueError, match=words):
            go_on(**other)
    path = folder / "fold_0003.npz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"fold_0003.npz is damaged .*Delete it"):
        go_on((x, y), 4)
    with pytest.raises(ValueError, match="is a file"):
        kfold(fit, (x, y), 4, folder=path)


def constant(share):
    def fit(x, y):
        return lambda new: np.tile([share, 1 - share], (len(new), 1))

    return fit


def test_another_fit_does_not_go_on(tmp_path):
    _, x, y = classifier(rows=6)
    first = kfold(constant(0.25), (x, y), 3, folder=tmp_path)
    again = kfold(constant(0.25), (x, y), 3, folder=tmp_path)
    np.testing.assert_array_equal(again.mean, first.mean)
    with pytest.raises(ValueError, match=r"the code of .*fit, or a value .*differs.*name="):
        kfold(constant(0.75), (x, y), 3, folder=tmp_path)
    other = kfold(constant(0.75), (x, y), 3, folder=tmp_path, resume=False)
    assert (other.mean[:, 0] == 0.75).all()
    with pytest.raises(ValueError, match=r"constant.<locals>.fit' there and .*reads_a_global' now"):
        kfold(reads_a_global, (x, y), 3, folder=tmp_path)
    with pytest.raises(TypeError, match="name=3"):
        kfold(reads_a_global, (x, y), 3, folder=tmp_path, name=3)


def reads_a_global(x, y):
    return helper(SHARE)


def helper(share):
    return lambda new: np.tile([share, 1 - share], (len(new), 1))


def other_helper(share):
    return lambda new: np.tile([1 - share, share], (len(new), 1))


def with_default(x, y, *, share=0.5):
    return helper(share)


class Held:
    """A fit that is an object."""

    def __init__(self, share):
        self.share = share

    def __call__(self, x, y):
        return helper(self.share)

    def fit(self, x, y):
        return helper(self.share)


def code_of(fit):
    return identity_of(fit, None)["fit_code"]


def network(seed):
    torch.manual_seed(seed)
    return torch.nn.Linear(2, 2)


def of_noise(noise):
    torch.manual_seed(0)
    return sbn.models.BinaryMLP(2, [2], 2, num_data=3, noise=noise)


DIFFERENT = {
    "closure": lambda a: constant(a),
    "partial": lambda a: functools.partial(with_default, share=a),
    "object": lambda a: Held(a),
    "method": lambda a: Held(a).fit,
    "array": lambda a: constant(np.array([a, 1.0])),
    "array_of_objects": lambda a: constant(np.array([a, "one"], dtype=object)),
    "tensor": lambda a: constant(torch.tensor([a, 1.0])),
    "containers": lambda a: constant({"one": [1, (a, {"two"})]}),
    "module": lambda a: constant(network(int(4 * a))),
    "noise_of_a_network": lambda a: constant(of_noise("logistic" if a < 0.5 else "gaussian")),
    "estimator": lambda a: constant(LogisticRegression(C=a)),
}


@pytest.mark.parametrize("kind", DIFFERENT)
def test_values_that_a_fit_holds_tell_fits_apart(kind):
    make = DIFFERENT[kind]
    assert code_of(make(0.25)) == code_of(make(0.25))
    assert code_of(make(0.25)) != code_of(make(0.75))


def test_code_globals_and_functions_of_its_module_tell_fits_apart(monkeypatch):
    before = code_of(reads_a_global)
    assert code_of(reads_a_global) == before
    assert len({code_of(lambda x, y: x + 1), code_of(lambda x, y: x + 2)}) == 2
    assert code_of(lambda x, y: x) == code_of(lambda x, y: x)  # a line further on, by another name
    monkeypatch.setitem(globals(), "SHARE", 0.75)
    assert code_of(reads_a_global) != before
    monkeypatch.setitem(globals(), "SHARE", 0.5)
    assert code_of(reads_a_global) == before
    monkeypatch.setattr(other_helper, "__qualname__", helper.__qualname__)
    monkeypatch.setitem(globals(), "helper", other_helper)
    assert code_of(reads_a_global) != before


def test_addresses_of_objects_do_not_count():
    assert "0x" in repr(torch.Generator())
    assert code_of(constant(torch.Generator())) == code_of(constant(torch.Generator()))


def test_functions_that_call_each_other_have_an_end():
    def even(n):
        return n == 0 or odd(n - 1)

    def odd(n):
        return n > 0 and even(n - 1)

    assert code_of(even) == code_of(even)


def test_digest_does_not_depend_on_the_order_of_sets():  # which differs between processes
    program = (
        "from bayes_sbn.analysis.fit_identity import identity_of\n"
        "def fit(x, y, known={'a', 'b', 'c', 'd'}):\n    return x in {'e', 'f', 'g', 'h'}\n"
        "print(identity_of(fit, None)['fit_code'])\n"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1
    assert len(found.pop().strip()) == 64
