"""The longer report: the usual rows as they are, further metrics, tests, text and export."""

import csv
import io
import json
import math
from dataclasses import fields
from functools import partial

import numpy as np
import pytest

from bayes_sbn import metrics
from bayes_sbn.metrics import (
    CalibrationTestRow,
    DetailedReport,
    NormalMixture,
    Report,
    UndefinedMetricWarning,
    report,
)
from bayes_sbn.metrics.report_detail import CONVENTIONS, TEST_CONVENTIONS
from bayes_sbn.predictions import Predictions

FUNCTIONS = {
    "spherical": metrics.spherical,
    "d2_nll": metrics.d2_nll,
    "d2_brier": metrics.d2_brier,
    "ece_classwise": partial(metrics.ece, kind="classwise"),
    "ece_mass": partial(metrics.ece, bins="mass"),
    "debiased_rmsce": metrics.debiased_rmsce,
    "smooth_ece": metrics.smooth_ece,
    "corp_miscalibration": metrics.corp_miscalibration,
    "corp_discrimination": metrics.corp_discrimination,
    "corp_uncertainty": lambda pred, y: metrics.corp(pred, y).uncertainty,
}
CALIBRATION = [name for name in FUNCTIONS if "ece" in name or "rmsce" in name] + [
    "corp_miscalibration"
]
TESTS = (metrics.spiegelhalter, metrics.kolmogorov_smirnov, metrics.kuiper)


def rows(strength: float, seed: int = 0, count: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Rows of three classes whose probabilities are sharpened by a power, true for 1."""
    generator = np.random.default_rng(seed)
    true = generator.dirichlet(np.ones(3), count)
    labels = (true.cumsum(axis=1) < generator.random((count, 1))).sum(axis=1)
    return true**strength / (true**strength).sum(axis=1, keepdims=True), labels


@pytest.fixture(scope="module")
def case() -> tuple[np.ndarray, np.ndarray]:
    return rows(3.0)


@pytest.fixture(scope="module")
def detailed(case) -> DetailedReport:
    return report(*case, detail=True, bootstrap=39, level=0.9, seed=5)


def test_usual_rows_are_those_of_the_usual_report(case, detailed):
    usual = report(*case, bootstrap=39, level=0.9, seed=5)
    assert type(usual) is Report
    assert detailed.rows[: len(usual)] == usual.rows
    for field in fields(usual):
        if field.name != "rows":
            assert getattr(detailed, field.name) == getattr(usual, field.name)


def test_further_values_are_those_of_the_functions(case, detailed):
    assert [row.metric for row in detailed.rows[6:]] == list(FUNCTIONS) == list(CONVENTIONS)
    for name, function in FUNCTIONS.items():
        np.testing.assert_allclose(
            detailed[name].value, function(*case), rtol=1e-9, atol=1e-14, err_msg=name
        )
        assert detailed[name].convention == CONVENTIONS[name]


def test_intervals_are_those_of_bootstrap_interval(case, detailed):
    # Of overconfident rows: errors are beyond what chance makes.
    for name, function in FUNCTIONS.items():
        found = metrics.bootstrap_interval(function, *case, bootstrap=39, level=0.9, seed=5)
        row = detailed[name]
        np.testing.assert_allclose(
            [row.low, row.high], [found.low, found.high], rtol=1e-9, err_msg=name
        )
        assert row.low > 0 or name not in CALIBRATION


def test_errors_of_calibrated_rows_begin_at_zero():
    probs, labels = rows(1.0, seed=3, count=1000)
    found = report(probs, labels, detail=True, bootstrap=39)
    for name in CALIBRATION:
        assert found[name].low == 0, name
        assert found[name].high > 0, name


def test_tests_are_those_of_the_functions(case, detailed):
    assert [row.test for row in detailed.tests] == [test.__name__ for test in TESTS]
    for row, test in zip(detailed.tests, TESTS, strict=True):
        found = test(*case)
        assert (row.statistic, row.p_value) == (found.statistic, found.p_value)
        assert row.convention == TEST_CONVENTIONS[row.test]
        assert isinstance(row, CalibrationTestRow)
        assert row.p_value < 0.01


def test_text_has_every_row_and_test(detailed):
    text = str(detailed)
    usual, tests = text.split("\n\n")
    assert usual == str(Report(**{f.name: getattr(detailed, f.name) for f in fields(Report)}))
    for name in CONVENTIONS:
        assert f"\n{name} " in usual
    for row in detailed.tests:
        assert f"\n{row.test} " in tests
        assert f"{row.p_value:.2g}" in tests
    assert max(map(len, text.splitlines())) < 130


def test_export_has_every_row_and_test(detailed):
    contents = detailed.to_dict()
    assert list(contents["metrics"]) == [row.metric for row in detailed]
    assert contents["tests"]["kuiper"] == {
        "statistic": detailed.tests[2].statistic,
        "p_value": detailed.tests[2].p_value,
        "convention": TEST_CONVENTIONS["kuiper"],
    }
    assert json.loads(detailed.to_json()) == contents


def test_csv_has_every_row(case, detailed):
    for found in (detailed, report(*case, bootstrap=39)):
        lines = list(csv.DictReader(io.StringIO(found.to_csv())))
        assert [line["metric"] for line in lines] == [row.metric for row in found]
        for line, row in zip(lines, found, strict=True):
            assert list(line) == ["metric", "value", "low", "high", "convention"]
            numbers = [float(line[name]) for name in ("value", "low", "high")]
            assert numbers == [row.value, row.low, row.high]
            assert line["convention"] == row.convention


def test_same_seed_gives_the_same_report(case, detailed):
    assert report(*case, detail=True, bootstrap=39, level=0.9, seed=5) == detailed
    assert report(*case, detail=True, bootstrap=39, level=0.9, seed=6) != detailed


def test_predictions_are_averaged(case):
    probs, labels = case
    pred = Predictions(np.stack([probs[:30], probs[::-1][:30]]))
    found = report(pred, labels[:30], detail=True, bootstrap=39)
    assert found.num_draws == 2
    np.testing.assert_allclose(found["spherical"].value, metrics.spherical(pred, labels[:30]))


def test_certain_rows_have_no_tests_and_say_so():
    probs, labels = np.eye(2)[[0, 1] * 10], [0, 1] * 10
    with pytest.warns(UndefinedMetricWarning, match=r"\(\): no row of the 20") as caught:
        found = report(probs, labels, detail=True, bootstrap=39)
    assert len(caught) == 3
    assert all(math.isnan(row.p_value) for row in found.tests)
    assert json.loads(found.to_json())["tests"]["kuiper"]["p_value"] == "NaN"
    assert found["smooth_ece"].value == found["smooth_ece"].low == 0


def test_excluded_label_is_minus_infinity_in_json():
    probs = np.array([[1.0, 0.0], [0.25, 0.75], [0.5, 0.5], [0.5, 0.5]] * 5)
    found = report(probs, [1, 1, 0, 0] * 5, detail=True, bootstrap=39)
    assert found["d2_nll"].value == -math.inf
    assert json.loads(found.to_json())["metrics"]["d2_nll"]["value"] == "-Infinity"


def test_detail_of_real_targets_is_refused():
    with pytest.raises(ValueError, match=r"report\(\) knows detail=True of class probabilities"):
        report(NormalMixture([0.0, 0.0], 1.0), [0.1, 0.2], detail=True)
