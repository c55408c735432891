"""A prediction of ten classes, its inputs and labels, all of stated seeds."""

import numpy as np
import pytest

from bayes_sbn.predictions import Predictions

ROWS = 90


@pytest.fixture(scope="package")
def pred() -> Predictions:
    concentration = np.random.default_rng(0).choice([0.05, 0.3, 2.0], (1, ROWS, 1))
    draws = np.random.default_rng(1).gamma(concentration * np.ones((8, ROWS, 10))) + 1e-9
    return Predictions(draws / draws.sum(axis=-1, keepdims=True))


@pytest.fixture(scope="package")
def x() -> np.ndarray:
    return np.random.default_rng(2).random((ROWS, 64))


@pytest.fixture(scope="package")
def y() -> np.ndarray:
    return np.random.default_rng(3).integers(10, size=ROWS)
