"""The CORP decomposition: exact sums, scikit-learn's isotonic regression, model-diagnostics'."""

import math

import numpy as np
import pytest
import torch
from sklearn.isotonic import IsotonicRegression

from bayes_sbn.metrics import (
    bootstrap_interval,
    brier,
    corp,
    corp_discrimination,
    corp_miscalibration,
    d2_brier,
    d2_nll,
    nll,
)
from bayes_sbn.metrics.corp import recalibrated
from bayes_sbn.plots.isotonic import isotonic_curve
from bayes_sbn.predictions import Predictions

EVERY = [(score, kind) for score in ("brier", "nll") for kind in ("classwise", "top")]


def two_classes(p) -> np.ndarray:
    p = np.asarray(p, dtype=np.float64)
    return np.stack([1 - p, p], axis=-1)


def binary_losses(p: np.ndarray, z: np.ndarray) -> dict[str, float]:
    """Mean losses of one event, a row at a time."""
    squares, logs = [], []
    for a, b in zip(p.tolist(), z.tolist(), strict=True):
        squares.append((a - b) ** 2)
        given = a if b else 1 - a
        logs.append(-math.log(given) if given > 0 else math.inf)
    return {"brier": math.fsum(squares) / len(p), "nll": math.fsum(logs) / len(p)}


def largest_of_smallest_means(p: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Isotonic regression by its min-max formula; p rising and without ties."""
    order = np.argsort(p)
    z = z[order].astype(float)
    n = len(z)
    fit = [
        max(min(z[i : j + 1].mean() for j in range(k, n)) for i in range(k + 1)) for k in range(n)
    ]
    return np.array(fit)[np.argsort(order)]


@pytest.fixture(params=[2, 3, 10])
def case(request) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities with many ties, some of them 0 and 1 and right, and labels that often fit."""
    generator = np.random.default_rng(request.param)
    probs = generator.dirichlet(np.full(request.param, 0.5), 300)
    probs[:100] = generator.multinomial(20, probs[:100]) / 20 * 0.9 + 0.1 / request.param
    labels = (probs.cumsum(axis=1) < generator.random((300, 1))).sum(axis=1)
    labels = np.minimum(labels, request.param - 1)
    labels[100:140] = generator.integers(request.param, size=40)
    probs[:20] = np.eye(request.param)[labels[:20]]
    return probs, labels


@pytest.mark.parametrize(("score", "kind"), EVERY)
def test_parts_sum_to_the_score(case, score, kind):
    found = corp(*case, score=score, kind=kind)
    for parts in (found, *found.parts):
        total = parts.miscalibration - parts.discrimination + parts.uncertainty
        assert abs(total - parts.value) < 1e-10
        assert parts.miscalibration >= 0
        assert parts.discrimination >= 0
    assert found.miscalibration > 0.001
    assert found.discrimination > 0.001


def test_classwise_brier_is_the_brier_score(case):
    np.testing.assert_allclose(corp(*case).value, brier(*case), rtol=1e-12)


def test_nll_of_two_classes_is_the_nll():
    generator = np.random.default_rng(5)
    probs, labels = two_classes(generator.random(100)), generator.integers(2, size=100)
    found = corp(probs, labels, score="nll")
    np.testing.assert_allclose(found.value, nll(probs, labels), rtol=1e-12)
    assert len(found.parts) == 1
    # It does not matter which of the two classes is the event.
    mirrored = corp(probs[:, ::-1], 1 - labels, score="nll")
    np.testing.assert_allclose(found.parts, mirrored.parts, rtol=1e-12)


@pytest.mark.parametrize(("score", "kind"), EVERY)
def test_parts_equal_scikit_learn_isotonic_regression(case, score, kind):
    probs, labels = case
    if kind == "top":
        sets = [(probs.max(axis=1), probs.argmax(axis=1) == labels)]
    elif score == "nll" and probs.shape[1] == 2:
        sets = [(probs[:, 1], labels == 1)]
    else:
        sets = [(probs[:, c], labels == c) for c in range(probs.shape[1])]
    expected = np.zeros(4)
    for p, z in sets:
        fit = IsotonicRegression(y_min=0, y_max=1).fit(p, z).predict(p)
        before, after, constant = (
            binary_losses(q, z)[score] for q in (p, fit, np.full(len(z), z.mean()))
        )
        expected += [before, before - after, constant - after, constant]
    found = corp(probs, labels, score=score, kind=kind)
    np.testing.assert_allclose(
        [found.value, found.miscalibration, found.discrimination, found.uncertainty],
        expected,
        atol=1e-12,
    )
    assert len(found.parts) == len(sets)


def test_recalibrated_equals_the_min_max_formula():
    generator = np.random.default_rng(2)
    for rows in (1, 2, 3, 10, 40):
        p, z = generator.random(rows), generator.random(rows) < 0.5
        np.testing.assert_allclose(recalibrated(p, z), largest_of_smallest_means(p, z), atol=1e-14)


def test_recalibrated_pools_equal_probabilities():
    # Whatever the order of the rows, which a stable sort would let through.
    p, z = np.array([0.3, 0.3, 0.3, 0.6]), np.array([False, True, False, True])
    np.testing.assert_allclose(recalibrated(p, z), [1 / 3, 1 / 3, 1 / 3, 1], rtol=1e-15)
    np.testing.assert_allclose(recalibrated(p[::-1], z[::-1]), [1, 1 / 3, 1 / 3, 1 / 3], rtol=1e-15)


def test_parts_equal_model_diagnostics():
    # model-diagnostics 1.5.0: decompose(y_obs=z, y_pred=p, scoring_function=SquaredError(),
    # functional="mean"), and the same with LogLoss().
    p = [0.05, 0.2, 0.2, 0.35, 0.5, 0.55, 0.7, 0.8, 0.95, 0.99]
    z = [0, 0, 1, 0, 1, 0, 1, 1, 1, 1]
    golden = {
        "brier": (0.14901, 0.032343333333333335, 0.12333333333333338, 0.24000000000000005),
        "nll": (0.44474746765000256, 0.11516378104956965, 0.3434279804088234, 0.6730116670092563),
    }
    for score, expected in golden.items():
        found = corp(two_classes(p), z, score=score)
        # Ours sums the squares over both classes, theirs are of the event.
        part = found.parts[-1]
        np.testing.assert_allclose(part, expected, rtol=1e-12)
        factor = 2 if score == "brier" else 1
        np.testing.assert_allclose(found.value, factor * expected[0], rtol=1e-12)
        np.testing.assert_allclose(found.miscalibration, factor * expected[1], rtol=1e-12)


def test_parts_of_the_top_label_are_those_of_the_diagram(case):
    probs, labels = case
    curve = isotonic_curve(probs.max(axis=1), probs.argmax(axis=1) == labels)
    found = corp(probs, labels, kind="top")
    np.testing.assert_allclose(
        [found.miscalibration, found.discrimination, found.uncertainty],
        [curve.miscalibration, curve.discrimination, curve.uncertainty],
        atol=1e-13,
    )


def test_uncertainty_is_what_d2_divides_by(case):
    found = corp(*case)
    skill = (found.discrimination - found.miscalibration) / found.uncertainty
    np.testing.assert_allclose(skill, d2_brier(*case), rtol=1e-10)


def test_uncertainty_of_two_classes_is_the_entropy():
    generator = np.random.default_rng(1)
    probs, labels = two_classes(generator.random(50)), generator.integers(2, size=50)
    found = corp(probs, labels, score="nll")
    skill = (found.discrimination - found.miscalibration) / found.uncertainty
    np.testing.assert_allclose(skill, d2_nll(probs, labels), rtol=1e-10)


def test_increasing_change_of_probabilities_changes_miscalibration_alone():
    generator = np.random.default_rng(4)
    p = generator.random(200)
    labels = (generator.random(200) < p).astype(int)
    for score in ("brier", "nll"):
        honest = corp(two_classes(p), labels, score=score)
        bent = corp(two_classes(p**3), labels, score=score)
        assert bent.miscalibration > 3 * honest.miscalibration
        np.testing.assert_allclose(bent.discrimination, honest.discrimination, rtol=1e-12)
        assert bent.uncertainty == honest.uncertainty


@pytest.mark.parametrize(("score", "kind"), EVERY)
def test_recalibrated_predictions_have_no_miscalibration(score, kind):
    generator = np.random.default_rng(6)
    p = generator.random(200)
    labels = (generator.random(200) < p).astype(int)
    again = two_classes(recalibrated(p, labels == 1))
    found = corp(again, labels, score=score, kind=kind)
    if kind == "classwise":
        assert found.miscalibration == pytest.approx(0, abs=1e-14)
    else:  # the ranks of confidences are not those of probabilities of one class
        assert found.miscalibration < 0.05


def test_constant_prediction_discriminates_nothing():
    found = corp(np.full((10, 2), 0.5), [0] * 3 + [1] * 7)
    assert found.discrimination == 0
    np.testing.assert_allclose(found.miscalibration, 2 * 0.2**2, rtol=1e-12)


@pytest.mark.parametrize(("score", "kind"), EVERY)
def test_edges(score, kind):
    certain = corp(np.eye(3), [0, 1, 2], score=score, kind=kind)
    assert certain.value == certain.miscalibration == 0
    assert certain.discrimination == certain.uncertainty
    single = corp([[0.2, 0.8]], [1], score=score, kind=kind)
    assert single.uncertainty == single.discrimination == 0
    assert single.miscalibration == single.value > 0
    same = corp([[0.2, 0.8], [0.6, 0.4]], [1, 1], score=score, kind="classwise")
    assert same.uncertainty == same.discrimination == 0


@pytest.mark.parametrize("kind", ["classwise", "top"])
def test_excluded_label_is_infinite_miscalibration(kind):
    found = corp([[1.0, 0.0], [0.4, 0.6], [0.8, 0.2]], [1, 1, 0], score="nll", kind=kind)
    assert found.value == found.miscalibration == math.inf
    assert math.isfinite(found.discrimination)
    assert math.isfinite(found.uncertainty)


def test_float32_probabilities_sum_to_the_score_all_the_same():
    generator = np.random.default_rng(3)
    logits = torch.tensor(generator.normal(size=(100, 2)), dtype=torch.float32)
    probs, labels = logits.softmax(-1), generator.integers(2, size=100)
    for score, metric in (("brier", brier), ("nll", nll)):
        found = corp(probs, torch.tensor(labels), score=score)
        np.testing.assert_allclose(found.value, metric(probs, labels), rtol=1e-14)
        total = found.miscalibration - found.discrimination + found.uncertainty
        assert abs(total - found.value) < 1e-10


def test_parts_of_predictions_are_those_of_their_mean(case):
    probs, labels = case
    pred = Predictions(np.stack([probs, probs[::-1]]))
    assert corp(pred, labels) == corp(pred.mean, labels)


def test_parts_as_metrics(case):
    for score, kind in EVERY:
        found = corp(*case, score=score, kind=kind)
        assert corp_miscalibration(*case, score=score, kind=kind) == found.miscalibration
        assert corp_discrimination(*case, score=score, kind=kind) == found.discrimination
    interval = bootstrap_interval(corp_miscalibration, *case, bootstrap=39)
    assert interval.method == "bounded bias"
    assert 0 <= interval.low <= interval.value <= interval.high


def test_decomposition_prints_its_sum(case):
    words = str(corp([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]], [0, 0, 1, 1]))
    assert words == "brier (classwise) 0.3500 = MCB 0.1000 - DSC 0.2500 + UNC 0.5000"


def test_corp_refuses_unknown_scores_and_kinds(case):
    with pytest.raises(ValueError, match=r"corp\(\) needs score='brier' or score='nll': received"):
        corp(*case, score="crps")
    with pytest.raises(ValueError, match=r"corp\(\) needs kind='classwise' or kind='top': rece"):
        corp(*case, kind="marginal")
    with pytest.raises(ValueError, match=r"corp_miscalibration\(\) needs integer labels"):
        corp_miscalibration([[0.5, 0.5]], [0.5])
