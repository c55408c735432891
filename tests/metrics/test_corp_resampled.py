"""The CORP parts of resamples are those of the decomposition of the resampled rows."""

import numpy as np
import pytest

from bayes_sbn.metrics import corp
from bayes_sbn.metrics.corp_resampled import ClassesInOrder


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("rounded", [False, True])
def test_parts_of_a_resample_are_those_of_its_rows(classes, rounded):
    generator = np.random.default_rng(classes)
    probs = generator.dirichlet(np.full(classes, 0.5), 80)
    if rounded:  # ties
        probs = generator.multinomial(10, probs) / 10
    labels = generator.integers(classes, size=80)
    in_order = ClassesInOrder(probs, labels)
    for rows in (np.arange(80), *generator.integers(80, size=(5, 80)), np.zeros(80, dtype=int)):
        times = np.bincount(rows, minlength=80).astype(np.float64)
        found = corp(probs[rows], labels[rows])
        expected = [found.miscalibration, found.discrimination, found.uncertainty]
        np.testing.assert_allclose(in_order.parts(times), expected, atol=1e-12)
