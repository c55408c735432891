"""The report of real targets: values, intervals by their definition, text and export."""

import json
import math
import warnings

import numpy as np
import pytest
from scipy import stats

from bayes_sbn import metrics
from bayes_sbn.metrics import NormalMixture, RegressionReport, UndefinedMetricWarning, report
from bayes_sbn.metrics.report_regression import CONVENTIONS
from bayes_sbn.predictions_nested import NestedRegressionPredictions
from bayes_sbn.predictions_regression import RegressionPredictions
from tests import chance
from tests.metrics.golden_cases import fractions, regression

MEAN, SCALE, Y = regression()
PRED = NormalMixture(MEAN, SCALE)

FUNCTIONS = {
    "rmse": metrics.rmse,
    "mae": metrics.mae,
    "r2": metrics.r2,
    "nlpd": metrics.nlpd,
    "crps": metrics.crps,
    "coverage": metrics.interval_coverage,
    "width": metrics.interval_width,
    "interval_score": metrics.interval_score,
    "miscalibration_area": metrics.miscalibration_area,
    "sharpness": metrics.sharpness,
}


def test_values_are_those_of_the_functions():
    found = report(PRED, Y, bootstrap=39, level=0.9)
    assert [row.metric for row in found] == list(FUNCTIONS) == list(CONVENTIONS)
    for name, function in FUNCTIONS.items():
        np.testing.assert_allclose(found[name].value, function(PRED, Y), rtol=1e-12, err_msg=name)


def test_draws_of_targets_have_the_values_of_the_functions_too():
    points = NormalMixture(MEAN, 0.0)
    with pytest.warns(UndefinedMetricWarning, match=r"report\(\): nlpd is NaN, since some draws"):
        found = report(points, Y, bootstrap=39, level=0.9, seed=3)
    for name, function in FUNCTIONS.items():
        if name == "nlpd":
            assert all(math.isnan(v) for v in (found[name].value, found[name].low))
            continue
        options = {"seed": 3} if name == "miscalibration_area" else {}
        expected = function(MEAN, Y, **options)
        np.testing.assert_allclose(found[name].value, expected, rtol=1e-12, err_msg=name)


def test_intervals_are_order_statistics_of_the_functions_on_resamples():
    found = report(PRED, Y, bootstrap=99, level=0.9, seed=11)
    resamples = np.random.default_rng(11).integers(30, size=(99, 30))
    for name, function in FUNCTIONS.items():
        values = sorted(function(NormalMixture(MEAN[:, r], SCALE[:, r]), Y[r]) for r in resamples)
        low, high = values[4], values[94]
        row = found[name]
        if name == "miscalibration_area":
            # Of bounded bias; these rows don't speak against calibration.
            low, high = 0, row.value + values[49] - values[4]
        np.testing.assert_allclose([row.low, row.high], [low, high], rtol=1e-9, err_msg=name)


def test_area_is_above_zero_where_the_rows_speak_against_calibration():
    narrow = report(NormalMixture(MEAN + 2, SCALE / 20), Y, bootstrap=199, level=0.9, seed=2)
    row = narrow["miscalibration_area"]
    assert 0 < row.low <= row.value <= row.high
    values = sorted(
        metrics.miscalibration_area(NormalMixture(MEAN[:, r] + 2, SCALE[:, r] / 20), Y[r])
        for r in np.random.default_rng(2).integers(30, size=(199, 30))
    )
    redraws = np.random.default_rng(np.random.SeedSequence(2).spawn(1)[0])
    by_chance = sorted(
        metrics.miscalibration_area(NormalMixture(np.zeros(30), 1.0), redraws.normal(size=30))
        for _ in range(199)
    )
    most = max(values[189] - values[99], by_chance[189])
    np.testing.assert_allclose(row.low, row.value - most, rtol=1e-9)


def test_lower_end_of_the_area_is_zero_as_often_as_the_level_says():
    # Calibrated laws, 40 rows: of 400 data sets the share with a lower end above 0 is at most
    # (1 - level) / 2, 0.1 here: the value must exceed a quantile of its law under calibration.
    generator = chance.numpy_generator("lower end of the area")
    rejected = 0
    for data_set in range(400):
        y = generator.normal(size=(40,))
        row = report(NormalMixture(np.zeros(40), 1.0), y, bootstrap=49, level=0.8, seed=data_set)
        rejected += row["miscalibration_area"].low > 0
    # With 49 redraws their 45th is exceeded with probability 5 / 50 exactly, if the area and those
    # redrawn are exchangeable.
    chance.BUDGET.spend()
    assert stats.binomtest(rejected, 400, 0.1, alternative="greater").pvalue > chance.FALSE_ALARM
    assert rejected > 10


def test_intervals_cover_the_population():
    # y ~ N(0, 1), said to be so: what each metric is for infinitely many rows is known.
    truth = {
        "rmse": 1,
        "mae": math.sqrt(2 / math.pi),
        "nlpd": 0.5 * math.log(2 * math.pi) + 0.5,
        "crps": 1 / math.sqrt(math.pi),
        "coverage": 0.9,
        "interval_score": 20 * stats.norm.pdf(stats.norm.ppf(0.95)) * 2,
    }
    generator = chance.numpy_generator("intervals of the report of real targets")
    covered = np.zeros(len(truth))
    law = NormalMixture(np.zeros(100), 1.0)
    for data_set in range(600):
        found = report(law, generator.normal(size=100), bootstrap=99, level=0.9, seed=data_set)
        covered += [found[name].low <= value <= found[name].high for name, value in truth.items()]
    # Percentile intervals of 100 rows cover somewhat less often than their level says.
    chance.assert_count(covered, 600, 0.88, detects=0.15)


def test_infinite_densities_are_infinite_and_not_nan():
    y = np.array([0.0, 0.0, 1e150])
    found = report(NormalMixture(np.zeros(3), 1e-10), y, bootstrap=39, level=0.9)["nlpd"]
    assert found.value == math.inf
    assert found.low < found.high == math.inf


def test_targets_all_alike_have_no_r2():
    with pytest.warns(UndefinedMetricWarning, match=r"report\(\): r2 is NaN, since all targets"):
        found = report(NormalMixture(np.zeros(5), 1.0), np.full(5, 0.1), bootstrap=39, level=0.9)
    assert math.isnan(found["r2"].value)
    assert math.isnan(found["r2"].high)
    assert json.loads(found.to_json())["metrics"]["r2"]["value"] == "NaN"


def test_resamples_without_variance_are_left_out():
    # Two distinct targets in three rows: one resample in nine has one target alone.
    y = np.array([0.1, 0.1, 0.7])
    found = report(NormalMixture(np.array([0.1, 0.2, 0.5]), 1.0), y, bootstrap=199, level=0.9)
    assert found["r2"].low <= found["r2"].value <= found["r2"].high <= 1


def test_one_row():
    with pytest.warns(UndefinedMetricWarning, match="r2 is NaN"):
        found = report(NormalMixture([1.0], 2.0), [3.0], bootstrap=39, level=0.9)
    assert found["rmse"].low == found["rmse"].value == found["rmse"].high == 2
    assert str(found).startswith("1 row, real target, 1 draw\n")


def test_text():
    lines = str(report(PRED, Y)).splitlines()
    assert lines[0] == "30 rows, real target, mixture of 5 draws"
    assert lines[1].split() == ["metric", "value", "95", "%", "interval", "convention"]
    assert lines[2].startswith("rmse                   1.2272  [")
    assert lines[5].endswith("minus log density of the mixture of the draws, nats, mean over rows")
    assert lines[-1] == (
        "Intervals: 1000 resamples of the rows, seed 0; that of the miscalibration area allows for "
        "what chance alone makes."
    )
    starts = {line.index(CONVENTIONS[name]) for name, line in zip(CONVENTIONS, lines[2:], strict=0)}
    assert len(starts) == 1


def test_large_and_small_units_are_legible():
    for unit in (1e6, 1e-6):
        found = report(NormalMixture(unit * MEAN, unit * SCALE), unit * Y, bootstrap=39, level=0.9)
        assert f"{unit * 1.2272114:.5g}" in str(found)


def test_export_holds_every_number():
    found = report(PRED, Y, bootstrap=39, level=0.9, seed=4)
    contents = found.to_dict()
    assert json.loads(found.to_json()) == contents
    found_fields = {key: value for key, value in contents.items() if key != "metrics"}
    expected = {"num_rows": 30, "num_draws": 5, "bootstrap": 39, "level": 0.9, "seed": 4}
    assert found_fields == expected
    assert contents["metrics"]["crps"] == {
        "value": found["crps"].value,
        "low": found["crps"].low,
        "high": found["crps"].high,
        "convention": CONVENTIONS["crps"],
    }


def test_same_seed_same_report_and_predictions_as_arrays():
    once = report(PRED, Y, bootstrap=39, level=0.9, seed=1)
    assert once == report(RegressionPredictions(MEAN, SCALE), Y, bootstrap=39, level=0.9, seed=1)
    assert once != report(PRED, Y, bootstrap=39, level=0.9, seed=2)
    assert isinstance(once, RegressionReport)
    assert len(once) == 10


def test_no_warning_where_all_is_defined():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report(PRED, Y, bootstrap=39, level=0.9)


def test_calibrated_laws_cover_as_claimed():
    y = MEAN[0] + SCALE[0] * stats.norm.ppf(fractions(30))
    found = report(NormalMixture(MEAN[0], SCALE[0]), y)
    assert found["coverage"].low <= 0.9 <= found["coverage"].high
    assert found["miscalibration_area"].low == 0


def test_unknown_rows_list_the_known():
    found = report(PRED, Y, bootstrap=39, level=0.9)
    with pytest.raises(KeyError, match=r"report\['ece'\]: the report has rmse, mae, r2"):
        found["ece"]


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"^report\(\) needs one target a row"):
        report(PRED, Y[:-1])
    with pytest.raises(ValueError, match=r"^report\(\) needs finite numbers: y\[0\] is nan"):
        report(PRED, Y * np.nan)
    with pytest.raises(ValueError, match=r"^report\(\) needs at least 39 resamples"):
        report(PRED, Y, bootstrap=10)
    with pytest.raises(ValueError, match=r"^report\(\) needs a level strictly"):
        report(PRED, Y, level=1.0)
    with pytest.raises(TypeError, match=r"pass pred\.predictions"):
        report(NestedRegressionPredictions(MEAN[None], 1.0), Y)
