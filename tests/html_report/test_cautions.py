"""What stands above a report's sections, so that nobody misses it."""

import re

import numpy as np
import pytest

import bayes_sbn as sbn
from bayes_sbn.html_report.cautions import cautions
from bayes_sbn.html_report.page import Section
from tests.html_report.parsed import Page
from tests.html_report.posteriors import labels, of_classes, of_reals, rows
from tests.html_report.test_page import made

SOUND = {
    "scores": {
        "num_rows": 200,
        "mean_confidence": 0.91,
        "chance_spread": 0.02,
        "metrics": {"accuracy": {"value": 0.9}},
    },
    "classes": {"class_names": ["a", "b"], "confusions": [[3, 0], [1, 2]]},
    "calibration": {"ece": 0.02},
    "data": {"test_rows_in_training": 0},
    "model": {"temperature": 1.0},
    "diagnostics": {"flags": []},
}
"""Numbers of sections with nothing to warn of."""

UNSOUND = {
    "repeated": ("data", {"test_rows_in_training": 1}, "data", "1 test row is a training row"),
    "few": ("scores", {"num_rows": 99}, "scores", "99 test rows: look at the intervals"),
    "too sure": (
        "scores",
        {"mean_confidence": 0.95},
        "calibration",
        "too sure: .* 5.0 points",
    ),
    "unsure": (
        "scores",
        {"mean_confidence": 0.8},
        "calibration",
        "not sure enough: .* 10.0",
    ),
    "empty": ("classes", {"confusions": [[3, 0], [0, 0]]}, "classes", "No test row is of 1 class:"),
    "laws": ("calibration", {"pit_p_value": 0.001}, "calibration", "Targets do not fall"),
    "cold": ("model", {"temperature": 0.02}, "model", "the KL by 0.02: the posterior is narrower"),
    "warm": ("model", {"temperature": 2.0}, "model", "wider than"),
    "flags": ("diagnostics", {"flags": ["a", "b"]}, "diagnostics", "has 2 flags"),
}


def sections(numbers):
    return [Section(name, name.title(), [], each) for name, each in numbers.items()]


def test_a_sound_report_warns_of_nothing(tmp_path):
    assert cautions(sections(SOUND)) == []
    assert cautions(sections({**SOUND, "model": {"temperature": None}})) == []
    real = {name: SOUND[name] for name in ("data", "model")}
    scores, calibration = {"num_rows": 100}, {"pit_p_value": 0.01}
    assert cautions(sections({**real, "scores": scores, "calibration": calibration})) == []


@pytest.mark.parametrize("case", UNSOUND)
def test_each_number_that_warns_is_told_with_its_section(case):
    name, changes, where, words = UNSOUND[case]
    (found,) = cautions(sections({**SOUND, name: {**SOUND[name], **changes}}))
    assert found.section == where
    assert re.search(words, found.text)


def test_they_stand_above_the_sections_and_lead_to_them(tmp_path):
    found = made(tmp_path / "r.html", train=(rows()[:3], labels()[:3]))
    assert found.to_dict()["cautions"] == list(found.cautions)
    assert found.cautions[0].startswith("3 test rows are training rows as well")
    page = Page(found.path.read_text("utf-8"))
    places = [page.text.index(each) for each in found.cautions]
    assert places == sorted(places)
    assert page.text.index("Before you rely on it") < places[0]
    assert places[-1] < page.text.index("Of 40 test rows")
    links = [a["href"] for a in page.of("a")]
    assert links.count("#data") == links.count("#model") == 2


def test_labels_of_the_networks_own_law_are_not_too_surely_predicted(tmp_path):
    """Labels drawn from the predicted probabilities: only those of a power of them are unsure."""
    posterior, x = of_classes(), rows(number=400)
    probs = posterior.draw(5, seed=0).predict(x).mean
    generator = np.random.default_rng(3)
    y = np.array([generator.choice(3, p=p) for p in probs])
    options = {"draws": 5, "bootstrap": 50, "detail": False, "diagnosis": False}
    fair = sbn.report(posterior, x, y, tmp_path / "a.html", **options)
    assert not [each for each in fair.cautions if "sure" in each]
    sharp = sbn.report(posterior, x, probs.argmax(-1), tmp_path / "b.html", **options)
    assert [each for each in sharp.cautions if "not sure enough" in each]


def test_targets_far_from_the_predictions_are_pointed_out(tmp_path):
    y = 30 + rows(1, seed=5)[:, 0]
    found = sbn.report(of_reals(), rows(4), y, tmp_path / "r.html", draws=3, bootstrap=50)
    assert "Targets do not fall where the predicted laws say." in found.cautions
