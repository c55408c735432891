"""The report: its values are the metrics', its intervals cover, its text and JSON say so."""

import doctest
import json
import math
import sys

import numpy as np
import pytest
from scipy import stats

from bayes_sbn import metrics
from bayes_sbn.metrics import Report, accuracy, brier, ece, mce, nll, report, rmsce
from bayes_sbn.metrics.report_classification import CONVENTIONS
from bayes_sbn.predictions import Predictions

NAMES = ["accuracy", "nll", "brier", "ece", "mce", "rmsce"]

# A population whose every metric is a finite sum: four kinds of rows, their share, the
# probabilities predicted for them and the true ones.
SHARE = np.array([0.4, 0.3, 0.2, 0.1])
PREDICTED = np.array([[0.97, 0.02, 0.01], [0.15, 0.8, 0.05], [0.1, 0.3, 0.6], [0.45, 0.35, 0.2]])
TRUE = np.array([[0.9, 0.06, 0.04], [0.24, 0.66, 0.1], [0.2, 0.3, 0.5], [0.5, 0.3, 0.2]])


def population(true: np.ndarray) -> dict[str, float]:
    """The metrics of ``PREDICTED`` on infinitely many rows; each kind has a bin of its own."""
    top = PREDICTED.argmax(axis=1)
    correct = true[np.arange(4), top]
    gap = np.abs(PREDICTED.max(axis=1) - correct)
    squares = (PREDICTED**2).sum(axis=1) - 2 * (true * PREDICTED).sum(axis=1) + 1
    return {
        "accuracy": SHARE @ correct,
        "nll": -SHARE @ (true * np.log(PREDICTED)).sum(axis=1),
        "brier": SHARE @ squares,
        "ece": SHARE @ gap,
        "mce": gap.max(),
        "rmsce": math.sqrt(SHARE @ gap**2),
    }


def sample(generator: np.random.Generator, true: np.ndarray, rows: int) -> tuple[np.ndarray, ...]:
    kind = generator.choice(4, size=rows, p=SHARE)
    label = (true[kind].cumsum(axis=1) < generator.random((rows, 1))).sum(axis=1)
    return PREDICTED[kind], label


@pytest.fixture(scope="module")
def case() -> tuple[np.ndarray, np.ndarray]:
    return sample(np.random.default_rng(0), TRUE, 360)


def test_report_values_are_those_of_the_metrics(case):
    result = report(*case)
    assert [row.metric for row in result] == NAMES
    assert len(result) == 6
    for function in (accuracy, nll, brier, ece, mce, rmsce):
        np.testing.assert_allclose(
            result[function.__name__].value, function(*case), rtol=1e-12, err_msg=function.__name__
        )


def test_report_intervals_contain_the_values_and_are_narrow(case):
    for row in report(*case):
        assert row.low <= row.value <= row.high
        assert row.high - row.low < 0.25
        assert row.low < row.high


def test_report_intervals_of_means_are_sorted_resampled_means(case):
    """The interval of the accuracy, from resamples of its own by a plain loop."""
    probs, labels = case
    correct = probs.argmax(axis=1) == labels
    generator = np.random.default_rng(99)
    means = sorted(correct[generator.integers(360, size=360)].mean() for _ in range(4000))
    row = report(probs, labels, bootstrap=3999)["accuracy"]
    # Two Monte-Carlo versions of one quantile, each with a standard error of about 0.0008.
    np.testing.assert_allclose([row.low, row.high], [means[99], means[3899]], atol=0.006)


@pytest.mark.parametrize("strength", [1.0, 1.3, 1.5, 3.0])
def test_report_intervals_equal_their_definition_on_the_same_resamples(strength):
    """A resample at a time, with the generators' own numbers."""
    generator = np.random.default_rng(4)
    true = generator.dirichlet(np.ones(3), 150)
    labels = (true.cumsum(axis=1) < generator.random((150, 1))).sum(axis=1)
    probs = true**strength / (true**strength).sum(axis=1, keepdims=True)
    resamples = np.random.default_rng(11).integers(150, size=(99, 150))
    redraws = np.random.default_rng(np.random.SeedSequence(11).spawn(1)[0])
    uniform = [redraws.random((150, 1)) for _ in range(99)]
    result = report(probs, labels, bootstrap=99, level=0.9, seed=11)
    for metric in (accuracy, nll, brier):
        values = sorted(metric(probs[rows], labels[rows]) for rows in resamples)
        row = result[metric.__name__]
        np.testing.assert_allclose([row.low, row.high], [values[4], values[94]], rtol=1e-12)
    redrawn = [(u >= probs.cumsum(axis=1)[:, :-1]).sum(axis=1) for u in uniform]
    for metric in (ece, mce, rmsce):
        value = metric(probs, labels)
        values = sorted(metric(probs[rows], labels[rows]) for rows in resamples)
        if_calibrated = sorted(metric(probs, fresh) for fresh in redrawn)
        over = values[94] - values[49]
        row = result[metric.__name__]
        expected = [
            max(0, value - max(over, if_calibrated[94])),
            value + values[49] - values[4],
        ]
        np.testing.assert_allclose([row.low, row.high], expected, rtol=1e-9, atol=1e-12)
    assert (result["ece"].low > 0) == (strength == 3.0)


def test_report_is_a_function_of_its_seed(case):
    first, same, other = report(*case), report(*case), report(*case, seed=1)
    assert first == same
    assert first.rows != other.rows
    assert [row.value for row in first] == [row.value for row in other]


def test_report_leaves_the_global_generator_alone(case):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    report(*case)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_report_in_blocks_of_resamples_equals_the_definition(case, monkeypatch):
    whole = report(*case, bootstrap=200)
    monkeypatch.setattr(sys.modules["bayes_sbn.metrics.resampling"], "_BLOCK", 360 * 7)
    np.testing.assert_allclose(
        [(row.low, row.high) for row in report(*case, bootstrap=200)],
        [(row.low, row.high) for row in whole],
        rtol=1e-12,
    )


def test_report_of_wider_level_has_wider_intervals(case):
    for narrow, wide in zip(report(*case, level=0.5), report(*case, level=0.99), strict=True):
        assert wide.low <= narrow.low
        assert wide.high >= narrow.high
        assert wide.high - wide.low > narrow.high - narrow.low


def test_report_of_an_infinite_loss_is_infinite_not_nan(case):
    probs, labels = case
    probs, labels = probs.copy(), labels.copy()
    probs[0], labels[0] = [1, 0, 0], 1
    row = report(probs, labels)["nll"]
    assert (row.value, row.high) == (math.inf, math.inf)
    assert math.isfinite(row.low)  # a resample leaves the one row out with probability 0.37
    probs[:], labels[:] = [1, 0, 0], 1
    assert report(probs, labels)["nll"].low == math.inf


@pytest.mark.parametrize("true", [TRUE, PREDICTED], ids=["miscalibrated", "calibrated"])
def test_report_intervals_cover_the_population(true):
    """Of 700 intervals of level 0.95 on 360 rows, how many hold the known population value?

    Each count must be one that a coverage of at least 0.87 (a resampling interval of finitely many
    rows covers less than its level, that of a binned error least) gives with probability above
    1e-6: the false alarms of the twelve counts together have probability at most 1.2e-5.  A
    coverage of 0.75 passes with probability below 1e-3.
    """
    generator = np.random.default_rng(1)
    truth = population(true)
    covered = dict.fromkeys(NAMES, 0)
    for repetition in range(700):
        for row in report(*sample(generator, true, 360), bootstrap=199, seed=repetition):
            covered[row.metric] += row.low <= truth[row.metric] <= row.high
    least = stats.binom.ppf(1e-6, 700, 0.87)
    assert stats.binom.sf(least - 1, 700, 0.75) < 1e-3
    for name, count in covered.items():
        assert count >= least, (name, count / 700)


def test_percentile_intervals_of_calibration_errors_would_miss_a_calibrated_model():
    """Why those intervals are not percentile ones: every resampled error exceeds the true 0."""
    probs, labels = sample(np.random.default_rng(2), PREDICTED, 360)
    generator = np.random.default_rng(3)
    resampled = []
    for _ in range(200):
        rows = generator.integers(360, size=360)
        resampled.append(ece(probs[rows], labels[rows]))
    assert population(PREDICTED)["ece"] == 0
    assert min(resampled) > 0
    assert np.mean(resampled) > ece(probs, labels)  # the bias, added once more
    assert report(probs, labels)["ece"].low == 0


def test_report_lower_end_leaves_zero_where_calibration_is_rejected():
    confident, wrong = np.tile([0.99, 0.01], (200, 1)), np.arange(200) % 2
    for name in ("ece", "mce", "rmsce"):
        assert report(confident, wrong)[name].low > 0.35


def test_report_prints_a_table(case):
    draws = np.stack([case[0], case[0]])
    lines = str(report(Predictions(draws), case[1], level=0.9)).splitlines()
    assert lines[0] == "360 rows, 3 classes, mean of 2 draws"
    assert lines[1].split()[:4] == ["metric", "value", "90", "%"]
    assert [line.split()[0] for line in lines[2:8]] == NAMES
    assert len({line.index("[") for line in lines[2:8]}) == 1  # the columns are aligned
    assert len({line.index("]") for line in lines[2:8]}) == 1
    assert "not halved" in lines[4]
    assert "15 equal-width bins (a, b]" in lines[5]
    assert lines[8].startswith("Intervals: 1000 resamples of the rows, seed 0")
    assert len(lines) == 9


def test_report_of_an_array_speaks_of_no_draws(case):
    assert str(report(*case)).startswith("360 rows, 3 classes\n")
    assert report(*case).num_draws is None
    assert "1 row, 3 classes, mean of 1 draw\n" in str(report(Predictions([[[1, 0, 0]]]), [0]))


def test_report_names_its_conventions(case):
    for row in report(*case):
        assert row.convention == CONVENTIONS[row.metric]


def test_report_to_dict_and_json_hold_the_same(case):
    result = report(*case)
    contents = result.to_dict()
    assert contents["num_rows"] == 360
    assert contents["metrics"]["ece"]["low"] == result["ece"].low
    assert json.loads(result.to_json()) == contents
    assert list(contents["metrics"]) == NAMES


def test_report_json_is_strict_where_a_number_is_infinite():
    text = report([[1.0, 0.0]], [1]).to_json()

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    row = json.loads(text, parse_constant=refuse)["metrics"]["nll"]
    assert row["value"] == row["low"] == row["high"] == "Infinity"
    assert float(row["value"]) == math.inf


def test_report_by_unknown_name_lists_the_known(case):
    with pytest.raises(KeyError, match="the report has accuracy, nll, brier, ece, mce, rmsce"):
        report(*case)["auroc"]


@pytest.mark.parametrize("level", [0, 1, 95, float("nan")])
def test_report_refuses_levels_outside(case, level):
    with pytest.raises(ValueError, match=r"report\(\) needs a level strictly between 0 and 1"):
        report(*case, level=level)


def test_report_refuses_too_few_resamples(case):
    assert report(*case, bootstrap=39).bootstrap == 39
    with pytest.raises(ValueError, match=r"at least 39 resamples .*received bootstrap=38. Write"):
        report(*case, bootstrap=38)
    with pytest.raises(ValueError, match=r"at least 199 resamples for intervals of level 0.99"):
        report(*case, bootstrap=100, level=0.99)
    with pytest.raises(
        TypeError, match=r"needs an integer number of resamples: received bootstrap"
    ):
        report(*case, bootstrap=100.0)


def test_report_is_the_function_and_its_class_is_public():
    assert metrics.report is report
    assert isinstance(report([[0.5, 0.5]], [0]), Report)


def test_report_example_runs():
    results = doctest.testmod(sys.modules["bayes_sbn.metrics.report"])
    assert results.failed == 0
    assert results.attempted > 0
