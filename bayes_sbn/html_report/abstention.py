"""What is gained by leaving the unsure rows to others: risk against coverage."""

from __future__ import annotations

from bayes_sbn import metrics, plots
from bayes_sbn.html_report.markup import Content, element, picture, table
from bayes_sbn.html_report.material import Material
from bayes_sbn.html_report.page import Section
from bayes_sbn.html_report.words import number, percent
from bayes_sbn.metrics.unusual import ScoreName

COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.5)
"""Shares of the rows that are accepted, in the table."""


def abstention(material: Material) -> Section:
    """Wrong rows among the surest, by the confidence and by the epistemic part."""
    pred, y = material.classes, material.y
    scores: list[ScoreName] = ["max_prob"] if material.draws < 2 else ["max_prob", "epistemic"]
    risks = {
        score: [metrics.risk_at_coverage(pred, y, c, score=score) for c in COVERAGES]
        for score in scores
    }
    rows = [
        (percent(coverage, 0), *(percent(risks[score][i]) for score in scores))
        for i, coverage in enumerate(COVERAGES)
    ]
    head = ("rows kept", *(_NAMES[score] for score in scores))
    axes = plots.risk_coverage(pred, y, scores=scores)
    caption = (
        "Share of wrong rows among those kept, against the share that is kept: lower is better. "
        "Grey: keeping rows at random; dotted: an order that knows which rows are wrong."
    )
    content: list[Content] = [
        element("p", "Wrong predictions among the surest rows, if the rest is left to others:"),
        table(head, rows),
        element(
            "div",
            picture(axes.figure, "Risk against coverage.", caption),
            class_="figures",
        ),
    ]
    areas = {score: metrics.aurc(pred, y, score=score) for score in scores}
    told = ", ".join(f"{_NAMES[score]} {number(area)}" for score, area in areas.items())
    content.append(element("p", f"Area under the curve: {told}.", class_="note"))
    numbers: dict[str, object] = {
        score: {
            "aurc": areas[score],
            "risk": dict(zip(map(str, COVERAGES), risks[score], strict=True)),
        }
        for score in scores
    }
    return Section("abstention", "Leaving rows to others", content, numbers)


_NAMES = {"max_prob": "by confidence", "epistemic": "by the epistemic part"}
