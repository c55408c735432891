"""What to know before a report is relied upon, gathered from its sections to stand at its top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bayes_sbn.html_report.markup import Markup, element, join
from bayes_sbn.html_report.page import Section
from bayes_sbn.html_report.words import counted

FEW_ROWS = 100
"""Test rows below which the chance among them is pointed out."""

DOUBTFUL = 0.01
"""p-values below it speak against calibration."""


class Caution(NamedTuple):
    """A sentence, and the section that says more.

    Attributes:
        section: its name.
        text: the sentence.
    """

    section: str
    text: str


def cautions(sections: Sequence[Section]) -> list[Caution]:
    """What the numbers of the sections warn of, the gravest first."""
    numbers = {section.name: section.numbers for section in sections}
    return [
        *_of_data(numbers["data"]),
        *_of_scores(numbers["scores"]),
        *_of_classes(numbers.get("classes", {})),
        *_of_laws(numbers["calibration"]),
        *_of_model(numbers["model"]),
        *_of_diagnosis(numbers.get("diagnostics", {})),
    ]


def caution_list(found: Sequence[Caution], sections: Sequence[Section]) -> list[Markup]:
    """The same as a list with links; nothing where there is none."""
    if not found:
        return []
    titles = {section.name: section.title for section in sections}
    items = [
        element("li", each.text, " ", element("a", titles[each.section], href=f"#{each.section}"))
        for each in found
    ]
    return [element("h3", "Before you rely on it"), element("ul", join(items), class_="flags")]


def _of_data(data: Mapping[str, Any]) -> list[Caution]:
    repeated = data.get("test_rows_in_training", 0)
    if not repeated:
        return []
    verb = "is a training row as well" if repeated == 1 else "are training rows as well"
    return [Caution("data", f"{counted(repeated, 'test row')} {verb}: the scores flatter.")]


def _of_scores(scores: Mapping[str, Any]) -> list[Caution]:
    found = []
    rows = scores["num_rows"]
    if rows < FEW_ROWS:
        text = f"{counted(rows, 'test row')}: look at the intervals more than at the values."
        found.append(Caution("scores", text))
    if "mean_confidence" in scores:
        gap = scores["mean_confidence"] - scores["metrics"]["accuracy"]["value"]
        if abs(gap) > 2 * scores["chance_spread"]:
            way = "too sure" if gap > 0 else "not sure enough"
            text = (
                f"Predictions are {way}: the mean confidence is {100 * abs(gap):.1f} points "
                f"{'above' if gap > 0 else 'below'} the accuracy."
            )
            found.append(Caution("calibration", text))
    return found


def _of_classes(classes: Mapping[str, Any]) -> list[Caution]:
    empty = [
        name
        for name, row in zip(
            classes.get("class_names", ()), classes.get("confusions", ()), strict=True
        )
        if not sum(row)
    ]
    if not empty:
        return []
    names = counted(len(empty), "class", "classes")
    return [Caution("classes", f"No test row is of {names}: nothing is known of how they fare.")]


def _of_laws(calibration: Mapping[str, Any]) -> list[Caution]:
    if calibration.get("pit_p_value", 1.0) >= DOUBTFUL:
        return []
    return [Caution("calibration", "Targets do not fall where the predicted laws say.")]


def _of_model(model: Mapping[str, Any]) -> list[Caution]:
    temperature = model["temperature"]
    if temperature is None or temperature == 1:
        return []
    way = "narrower" if temperature < 1 else "wider"
    text = (
        f"The fit multiplied the KL by {temperature:.3g}: the posterior is {way} than the one that "
        "prior and likelihood ask for."
    )
    return [Caution("model", text)]


def _of_diagnosis(diagnosis: Mapping[str, Any]) -> list[Caution]:
    flags = diagnosis.get("flags", ())
    if not flags:
        return []
    text = f"The diagnosis of the posterior has {counted(len(flags), 'flag')}."
    return [Caution("diagnostics", text)]
