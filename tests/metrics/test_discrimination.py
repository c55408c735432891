"""AUROC of labels: scikit-learn, pairs counted by loops, classes without rows."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from bayes_sbn.metrics import UndefinedMetricWarning, auroc
from bayes_sbn.predictions import Predictions


@pytest.fixture(scope="module", params=[2, 3, 6])
def case(request) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities in twentieths, so that many are tied, and labels drawn from them."""
    generator = np.random.default_rng(request.param)
    probs = generator.multinomial(20, generator.dirichlet(np.ones(request.param), 150)) / 20
    return probs, (probs.cumsum(axis=1) < generator.random((150, 1))).sum(axis=1)


def test_auroc_equals_scikit_learn(case):
    probs, y = case
    if probs.shape[1] == 2:
        expected = roc_auc_score(y, probs[:, 1])
    else:
        expected = roc_auc_score(y, probs, multi_class="ovr", average="macro")
    np.testing.assert_allclose(auroc(probs, y), expected, rtol=1e-12)


def test_auroc_equals_counting(case):
    probs, y = case
    areas = []
    for c in range(probs.shape[1]):
        own, rest = probs[y == c, c], probs[y != c, c]
        wins = [(a > b) + 0.5 * (a == b) for a, b in itertools.product(own, rest)]
        areas.append(np.mean(wins))
    expected = areas[1] if len(areas) == 2 else np.mean(areas)
    np.testing.assert_allclose(auroc(probs, y), expected, rtol=1e-12)


def test_predictions_and_tensors(case):
    probs, y = case
    value = auroc(probs, y)
    assert auroc(Predictions(probs[None]), y) == value
    assert auroc(torch.tensor(probs), torch.tensor(y)) == value


@pytest.mark.parametrize("y", [[0, 0, 0], [1, 1, 1]])
def test_labels_of_one_class_give_nan_with_a_warning(y):
    with pytest.warns(UndefinedMetricWarning, match=rf"auroc\(\): class {1 - y[0]} has none"):
        value = auroc([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]], y)
    assert np.isnan(value)


def test_a_class_without_rows_gives_nan_with_a_warning():
    with pytest.warns(UndefinedMetricWarning, match="class 1 has none of the 2 rows"):
        assert np.isnan(auroc([[0.5, 0.2, 0.3], [0.1, 0.2, 0.7]], [0, 2]))
