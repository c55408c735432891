"""Every example in a docstring of the package runs and prints what it says."""

import doctest
import importlib
import pkgutil

import pytest
import torch

import bayes_sbn
from bayes_sbn.estimators.estimator import REGISTRY

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(bayes_sbn.__path__, "bayes_sbn.")
    if not module.name.endswith(".libbsbn")  # the kernel library is no Python module
)


@pytest.fixture(autouse=True)
def _as_a_user(tmp_path, monkeypatch):
    """Float32, an empty folder, and no estimator left behind."""
    torch.set_default_dtype(torch.float32)
    monkeypatch.chdir(tmp_path)
    before = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(before)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert result.failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = sum(
        len(test.examples)
        for name in MODULES
        for test in finder.find(importlib.import_module(name))
    )
    assert examples >= 20
