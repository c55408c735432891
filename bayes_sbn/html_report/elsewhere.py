"""Rows from elsewhere: whether the uncertainty of a prediction tells them from test rows."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from bayes_sbn import metrics, plots
from bayes_sbn.html_report.markup import Markup, element, picture, table
from bayes_sbn.html_report.material import Float64, Material
from bayes_sbn.html_report.page import Section
from bayes_sbn.html_report.words import number
from bayes_sbn.metrics.unusual import ScoreName


class RowScore(NamedTuple):
    """A score that is higher where a prediction is less sure.

    Attributes:
        words: what it is called.
        inside: of the test rows.
        outside: of the rows from elsewhere.
    """

    words: str
    inside: Float64
    outside: Float64


_OF_CLASSES: dict[ScoreName, str] = {
    "max_prob": "1 − confidence",
    "entropy": "the entropy",
    "epistemic": "the epistemic part",
    "variation_ratio": "the variation ratio",
}


def elsewhere(material: Material) -> Section | None:
    """Whether the uncertainty tells rows from elsewhere, where such rows were given."""
    if material.ood is None:
        return None
    outside = material.predict(material.ood)
    of_kind = _scores_of_classes if material.is_classes else _scores_of_reals
    scores = of_kind(material.predicted, outside, material.draws)
    found = {name: metrics.ood(each.inside, each.outside) for name, each in scores.items()}
    rows = [
        (
            scores[name].words,
            number(d.auroc),
            number(d.aupr_in),
            number(d.aupr_out),
            number(d.fpr95),
        )
        for name, d in found.items()
    ]
    best = max(found, key=lambda name: found[name].auroc)
    text = (
        f"Of a row of the test set and a row from elsewhere, {scores[best].words} is the larger "
        f"for the one from elsewhere with probability {number(found[best].auroc)} (0.5 is "
        "guessing, 1 perfect)."
    )
    note = (
        "FPR95: share of the rows from elsewhere that are let in where 95 % of the test rows are."
    )
    content = [
        element("p", text),
        table(("score", "AUROC", "AUPR in", "AUPR out", "FPR95"), rows),
        element("p", note, class_="note"),
        element("div", *_figures(material, scores, outside), class_="figures"),
    ]
    numbers: dict[str, Any] = {
        name: {
            "auroc": d.auroc,
            "aupr_in": d.aupr_in,
            "aupr_out": d.aupr_out,
            "fpr95": d.fpr95,
        }
        for name, d in found.items()
    }
    return Section("elsewhere", "Rows from elsewhere", content, numbers)


def _scores_of_classes(inside: Any, outside: Any, draws: int) -> dict[str, RowScore]:
    names = [name for name in _OF_CLASSES if draws > 1 or name != "epistemic"]
    return {
        name: RowScore(
            _OF_CLASSES[name],
            metrics.ood_score(inside, score=name),
            metrics.ood_score(outside, score=name),
        )
        for name in names
    }


def _scores_of_reals(inside: Any, outside: Any, draws: int) -> dict[str, RowScore]:
    words = {"std": "the standard deviation"}
    if draws > 1:
        words["epistemic_std"] = "its epistemic part"
    parts = {
        "std": (inside.std, outside.std),
        "epistemic_std": (np.sqrt(inside.epistemic), np.sqrt(outside.epistemic)),
    }
    return {name: RowScore(words[name], *parts[name]) for name in words}


def _figures(material: Material, scores: dict[str, RowScore], outside: Any) -> list[Markup]:
    figures = []
    kinds = ("entropy", "epistemic") if material.is_classes else ("std", "epistemic_std")
    for kind in kinds:
        if kind not in scores:
            continue
        if material.is_classes:
            axes = plots.ood_histogram(material.predicted, outside, score=kind)
            what = "entropy" if kind == "entropy" else "epistemic part of the entropy"
        else:
            axes = plots.ood_histogram(scores[kind].inside, scores[kind].outside)
            what = "standard deviation"
            what = what if kind == "std" else f"epistemic part of the {what}"
            axes.set_xlabel(what)
        figures.append(
            picture(
                axes.figure,
                f"Histograms of the {what} of rows of the test set and of rows from elsewhere.",
                f"The {what} of a prediction, in distribution and out of it; each histogram sums "
                "to 1.",
            )
        )
    return figures
