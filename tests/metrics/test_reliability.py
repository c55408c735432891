"""Reliability curves of every set of events: scikit-learn's, and the errors as sums over them."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from bayes_sbn.metrics import ece, reliability_curve
from bayes_sbn.predictions import Predictions


@pytest.fixture(scope="module")
def case() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    probs = generator.dirichlet(np.ones(4), 300)
    return probs, (probs.cumsum(axis=1) ** 2 < generator.random((300, 1))).sum(axis=1)


@pytest.mark.parametrize("of", ["top", "all", 0, 3])
def test_curve_is_that_of_scikit_learn(case, of):
    probs, labels = case
    if of == "top":
        p, z = probs.max(axis=1), probs.argmax(axis=1) == labels
    elif of == "all":
        p, z = probs.ravel(), (labels[:, None] == np.arange(4)).ravel()
    else:
        p, z = probs[:, of], labels == of
    curve = reliability_curve(probs, labels, of=of, num_bins=10)
    share, mean = calibration_curve(z, p, n_bins=10)
    filled = curve.count > 0
    np.testing.assert_allclose(curve.accuracy[filled], share, rtol=1e-12)
    np.testing.assert_allclose(curve.confidence[filled], mean, rtol=1e-12)
    assert curve.count.sum() == len(p)


@pytest.mark.parametrize("bins", ["width", "mass"])
def test_errors_are_sums_over_the_curves(case, bins):
    probs, labels = case

    def error(of) -> float:
        curve = reliability_curve(probs, labels, of=of, bins=bins, num_bins=7)
        gaps = np.nan_to_num(np.abs(curve.confidence - curve.accuracy))
        return curve.count @ gaps / curve.count.sum()

    options = {"bins": bins, "num_bins": 7}
    np.testing.assert_allclose(error("top"), ece(probs, labels, **options), rtol=1e-12)
    of_all = ece(probs, labels, kind="marginal", **options)
    np.testing.assert_allclose(error("all"), of_all, rtol=1e-12)
    of_classes = ece(probs, labels, kind="classwise", **options)
    np.testing.assert_allclose(np.mean([error(c) for c in range(4)]), of_classes, rtol=1e-12)


def test_bins_of_equal_mass_hold_as_many_events_but_for_ties():
    probs = np.stack([np.linspace(0.51, 1, 20), np.linspace(0.49, 0, 20)], axis=1)
    curve = reliability_curve(probs, np.zeros(20, int), bins="mass", num_bins=5)
    np.testing.assert_array_equal(curve.count, [4] * 5)
    np.testing.assert_allclose(curve.edges, [0, *np.sort(probs[:, 0])[[3, 7, 11, 15]], 1])
    tied = np.tile([0.75, 0.25], (10, 1))
    curve = reliability_curve(Predictions(tied[None]), np.zeros(10, int), bins="mass", num_bins=3)
    np.testing.assert_array_equal(curve.count, [10, 0, 0])
    assert np.isnan(curve.accuracy[1:]).all()


def test_unknown_events_and_bins_are_refused(case):
    name = r"^reliability_curve\(\) needs "
    with pytest.raises(ValueError, match=name + r"of='top' or of='all', or the number .* 'class'"):
        reliability_curve(*case, of="class")
    with pytest.raises(ValueError, match=name + r"of in 0 ... 3 for 4 classes: received 4"):
        reliability_curve(*case, of=4)
    with pytest.raises(TypeError, match=name + "an integer of"):
        reliability_curve(*case, of=1.5)
    with pytest.raises(ValueError, match=name + "bins='width' or bins='mass'"):
        reliability_curve(*case, bins="equal")
