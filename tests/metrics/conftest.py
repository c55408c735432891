"""Predictions that several files of tests look at."""

import numpy as np
import pytest


@pytest.fixture(params=[2, 3, 10])
def case(request) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(request.param)
    probs = generator.dirichlet(np.full(request.param, 0.4), 500)
    probs[:20] = np.eye(request.param)[generator.integers(request.param, size=20)]
    return probs, generator.integers(request.param, size=500)
