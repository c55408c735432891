"""Figures of class probabilities: calibration, and whether there are enough draws."""

from __future__ import annotations

from typing import Any

import numpy as np

from bayes_sbn import metrics, plots
from bayes_sbn.html_report.markup import Content, element, name_of, picture, table, text_of
from bayes_sbn.html_report.material import Material
from bayes_sbn.html_report.page import Section
from bayes_sbn.html_report.words import number
from bayes_sbn.metrics.unusual import ScoreName


def calibration(material: Material) -> Section:
    """Whether confidences are what they claim to be."""
    pred, y = material.classes, material.y
    error = metrics.ece(pred, y)
    figures = [
        picture(
            plots.reliability_diagram(pred, y).figure,
            f"Reliability diagram; the expected calibration error is {number(error)}.",
            "Accuracy against confidence, in 15 bins of equal width. Bars below the dashed "
            "diagonal are of predictions that are too sure. The strip above counts the rows.",
        ),
        picture(
            plots.confidence_histogram(pred, y).figure,
            "Histograms of the confidence of right and of wrong predictions.",
            "Where the wrong predictions lie left of the right ones, a low confidence warns of a "
            "mistake. Each histogram sums to 1.",
        ),
    ]
    content = [element("div", *figures, class_="figures")]
    return Section("calibration", "Calibration", content, {"ece": error})


def enough_draws(material: Material) -> Section | None:
    """Scores against the number of draws; None of a single draw."""
    if material.draws < 2:
        return None
    pred, y = material.classes, material.y
    figure = plots.score_against_draws(pred, y, seed=material.seed)
    parts = pred.decompose(correction="jackknife")
    plug_in, corrected = float(pred.epistemic.mean()), float(parts.epistemic.mean())
    text = (
        f"The mean epistemic part of the entropy is {number(plug_in)} nats as these draws have it, "
        f"and {number(corrected)} when corrected for their finite number. If the two are close, "
        "and the lines below have become flat, more draws would change little."
    )
    content: list[Content] = [
        element("p", text),
        picture(
            figure,
            "Accuracy and NLL against the number of draws.",
            "Scores of random subsets of the draws: their median and their middle 90 %.",
            wide=True,
        ),
    ]
    numbers = {"epistemic": plug_in, "epistemic_corrected": corrected}
    return Section("draws", "Are there enough draws?", content, numbers)


def elsewhere(material: Material) -> Section | None:
    """Whether the uncertainty tells rows from elsewhere, where such rows were given."""
    if material.ood is None:
        return None
    inside, outside = material.classes, material.predict(material.ood)
    names: list[ScoreName] = ["max_prob", "entropy", "variation_ratio"]
    if material.draws > 1:
        names.insert(2, "epistemic")
    found = [metrics.ood(inside, outside, score=name) for name in names]
    rows = [
        (_SCORES[d.score], number(d.auroc), number(d.aupr_in), number(d.aupr_out), number(d.fpr95))
        for d in found
    ]
    best = max(found, key=lambda d: d.auroc)
    text = (
        f"Of a row of the test set and a row from elsewhere, {_SCORES[best.score]} is the larger "
        f"for the one from elsewhere with probability {number(best.auroc)} (0.5 is guessing, 1 "
        "perfect)."
    )
    head = ("score", "AUROC", "AUPR in", "AUPR out", "FPR95")
    kinds = ["entropy", "epistemic"] if material.draws > 1 else ["entropy"]
    figures = [
        picture(
            plots.ood_histogram(inside, outside, score=kind).figure,
            f"Histograms of the {kind} of rows of the test set and of rows from elsewhere.",
            f"The {'entropy' if kind == 'entropy' else 'epistemic part of the entropy'} of a "
            "prediction, in distribution and out of it; each histogram sums to 1.",
        )
        for kind in kinds
    ]
    note = (
        "FPR95: share of the rows from elsewhere that are let in where 95 % of the test rows are."
    )
    content = [
        element("p", text),
        table(head, rows),
        element("p", note, class_="note"),
        element("div", *figures, class_="figures"),
    ]
    numbers: dict[str, Any] = {
        d.score: {
            "auroc": d.auroc,
            "aupr_in": d.aupr_in,
            "aupr_out": d.aupr_out,
            "fpr95": d.fpr95,
        }
        for d in found
    }
    return Section("elsewhere", "Rows from elsewhere", content, numbers)


_SCORES = {
    "max_prob": "1 − confidence",
    "entropy": "the entropy",
    "epistemic": "the epistemic part",
    "variation_ratio": "the variation ratio",
}


def surface(material: Material) -> Section | None:
    """The plane of the inputs, where there are two of them."""
    if material.x.shape[1] != 2:
        return None
    score = "epistemic" if material.draws > 1 else "entropy"
    scale, shift = material.rescale_inputs
    axes = plots.decision_surface(
        lambda rows: material.predict((rows - shift) / scale),
        material.shown_x,
        material.y,
        score=score,
        limits=_limits(material),
    )
    first, second = material.feature_names
    what = "epistemic part of the entropy" if score == "epistemic" else "entropy"
    caption = text_of(
        "Across: ",
        name_of(first),
        ". Up: ",
        name_of(second),
        ". Lines are borders of the predicted classes, markers test rows by their class. The shade "
        f"is the {what} of the prediction, in nats: bright where the networks are unsure.",
    )
    content: list[Content] = [
        element(
            "div", picture(axes.figure, "The plane of the two inputs.", caption), class_="figures"
        )
    ]
    if material.has_class_names:
        named = [
            piece
            for i, name in enumerate(material.class_names)
            for piece in (f"{', ' if i else 'Classes: '}{i} ", name_of(name))
        ]
        content.append(element("p", *named, ".", class_="note"))
    return Section("surface", "The plane of the inputs", content)


def _limits(material: Material) -> tuple[tuple[float, float], tuple[float, float]]:
    """A quarter of the test rows' range beyond them, as far as the networks know inputs."""
    low, high = material.x.min(axis=0), material.x.max(axis=0)
    margin = np.where(high > low, 0.25 * (high - low), 0.5)
    known = material.posterior.input_limit
    ends = np.stack([np.maximum(low - margin, -known), np.minimum(high + margin, known)])
    (a, b), (c, d) = np.sort(material.shown(ends), axis=0).T.tolist()
    return (a, b), (c, d)
