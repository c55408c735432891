"""What is said of the metrics: all public scalars have properties, and they are true."""

import functools
import inspect

import numpy as np
import pytest

from bayes_sbn import metrics
from bayes_sbn.metrics import NormalMixture, bootstrap_interval, chance_alone, compare, properties
from bayes_sbn.metrics.properties import metric_properties, properties_of
from tests.metrics.golden_cases import classification, regression

SCALARS = {
    name: function
    for name in metrics.__all__
    if inspect.isfunction(function := getattr(metrics, name))
    and list(inspect.signature(function).parameters)[:2] == ["pred", "y"]
    and inspect.signature(function).return_annotation == "float"
}
OF_REGRESSION = {
    name for name, metric in SCALARS.items() if "Regression" in str(inspect.signature(metric))
}


def case_of(name: str):
    if name in OF_REGRESSION:
        mean, scale, y = regression()
        return NormalMixture(mean, scale), y
    return classification()


def worse_case_of(name: str):
    """Predictions of the same rows that are worse: off by a lot, and wider."""
    if name in OF_REGRESSION:
        mean, scale, y = regression()
        return NormalMixture(mean + 20, 6 * scale), y
    probs, y = classification()
    # The last column of each row goes first; a third of each is spread evenly.
    return 2 / 3 * np.roll(probs, 1, axis=1) + 1 / 9, y


def test_the_scalars_are_found():
    assert {"accuracy", "ece", "auroc", "aurc", "coverage_at_risk"} <= SCALARS.keys()
    assert {"rmse", "r2", "sharpness", "crps", "interval_width", "pinball"} <= OF_REGRESSION
    assert "nll" not in OF_REGRESSION


@pytest.mark.parametrize("name", SCALARS)
def test_every_public_scalar_has_properties(name):
    known = properties_of(SCALARS[name])
    assert known is not None
    assert known.better in ("less", "greater") or name == "interval_coverage"
    assert SCALARS[name](*case_of(name)) >= known.minimum


@pytest.mark.parametrize("name", SCALARS)
def test_every_public_scalar_gets_an_interval_and_a_comparison(name):
    pred, y = case_of(name)
    found = bootstrap_interval(SCALARS[name], pred, y, bootstrap=39, level=0.9)
    assert found.low <= found.value <= found.high
    better = "greater" if name == "interval_coverage" else None
    worse = worse_case_of(name)[0]
    compared = compare(SCALARS[name], pred, worse, y, bootstrap=39, level=0.9, better=better)
    assert compared.difference == found.value - SCALARS[name](worse, y)
    assert compared.low <= compared.difference <= compared.high


@pytest.mark.parametrize("name", SCALARS)
def test_the_better_prediction_is_better(name):
    pred, y = case_of(name)
    value, of_worse = SCALARS[name](pred, y), SCALARS[name](*worse_case_of(name))
    better = properties_of(SCALARS[name]).better
    if name == "interval_coverage":
        assert better is None
    elif better == "less":
        assert value < of_worse
    else:
        assert value > of_worse


@pytest.mark.parametrize(
    "name", [name for name, metric in SCALARS.items() if properties_of(metric).row_losses]
)
def test_row_losses_are_what_the_metric_is_the_mean_of(name):
    metric, case = SCALARS[name], case_of(name)
    losses = properties_of(metric).row_losses
    assert np.shape(losses(*case)) == (len(case[1]),)
    np.testing.assert_allclose(np.mean(losses(*case)), metric(*case), rtol=1e-14)
    # They take the metric's options, with the same defaults: functools.partial hands them on.
    options = inspect.signature(metric).parameters
    of_losses = inspect.signature(losses).parameters
    assert {k: p.default for k, p in of_losses.items()} == {
        k: p.default for k, p in options.items()
    }


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("crps", {"fair": True}),
        ("interval_score", {"level": 0.5}),
        ("interval_width", {"level": 0.5}),
        ("interval_coverage", {"level": 0.5}),
        ("pinball", {"q": [0.1, 0.7]}),
        ("mae", {"point": "median"}),
    ],
)
def test_options_reach_the_row_losses(name, options):
    metric, case = functools.partial(SCALARS[name], **options), case_of(name)
    known = properties_of(metric)
    np.testing.assert_allclose(np.mean(known.row_losses(*case)), metric(*case), rtol=1e-14)
    assert metric(*case) != SCALARS[name](*case)
    assert known.better == properties_of(SCALARS[name]).better
    fast = bootstrap_interval(metric, *case, bootstrap=39, level=0.9)
    slow = bootstrap_interval(lambda p, y: metric(p, y), *case, bootstrap=39, level=0.9)
    np.testing.assert_allclose([fast.low, fast.high], [slow.low, slow.high], rtol=1e-12)


def test_nothing_is_known_of_other_functions():
    assert properties_of(np.mean) is None
    assert properties_of(functools.partial(np.mean, axis=0)) is None
    with pytest.raises(ValueError, match="does not know which way <lambda> is better"):
        compare(lambda p, y: 0.0, *[classification()[0]] * 2, classification()[1])


def test_where_neither_way_is_better_one_must_be_named():
    pred, y = case_of("interval_coverage")
    with pytest.raises(ValueError, match="does not know which way interval_coverage is better"):
        compare(metrics.interval_coverage, pred, pred, y)


def test_a_metric_of_ones_own_can_be_noted(monkeypatch):
    monkeypatch.setattr(properties, "_PROPERTIES", {})

    @metric_properties(better="less", minimum=0, chance=chance_alone.of_labels)
    def error_rate(pred, y):
        return float(np.mean(np.argmax(pred, axis=-1) != y))

    assert properties_of(error_rate).chance is chance_alone.of_labels
    found = bootstrap_interval(error_rate, *classification(), bootstrap=39, level=0.9)
    assert found.method == "bounded bias"
