"""Made-up rows for the tests of the study of calibration."""

import numpy as np

from studies.calibration.data import Rows


def line(rows=60, seed=0, noise=0.5):
    """A target that is linear in two inputs of other units, but for noise."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(rows, 2)) * [2.0, 5.0] + [3.0, -1.0]
    return Rows(x, 10 + 4 * x[:, 0] - x[:, 1] + noise * generator.normal(size=rows))
