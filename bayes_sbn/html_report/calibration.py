"""Figures of class probabilities: calibration, and the plane of two inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bayes_sbn import plots
from bayes_sbn.html_report.markup import Content, element, is_drawable, name_of, picture, text_of
from bayes_sbn.html_report.material import Material
from bayes_sbn.html_report.page import Section
from bayes_sbn.html_report.words import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def calibration(material: Material) -> Section:
    """Whether confidences are what they claim to be."""
    pred, y = material.classes, material.y
    error = material.scores["ece"].value
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
    _name_axes(axes, material)
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


def _name_axes(axes: Axes, material: Material) -> None:
    """The names of inputs and classes at the picture itself, where its font has them."""
    first, second = material.feature_names
    if material.has_feature_names and is_drawable(first) and is_drawable(second):
        axes.set_xlabel(first, parse_math=False)
        axes.set_ylabel(second, parse_math=False)
    legend = axes.get_legend()
    if legend is None or not material.has_class_names:
        return
    for text, label in zip(legend.get_texts(), np.unique(material.y), strict=True):
        if is_drawable(material.class_names[label]):
            text.set_text(material.class_names[label])
            text.set_parse_math(False)


def _limits(material: Material) -> tuple[tuple[float, float], tuple[float, float]]:
    """A quarter of the test rows' range beyond them, as far as the networks know inputs."""
    low, high = material.x.min(axis=0), material.x.max(axis=0)
    margin = np.where(high > low, 0.25 * (high - low), 0.5)
    known = material.posterior.input_limit
    ends = np.stack([np.maximum(low - margin, -known), np.minimum(high + margin, known)])
    (a, b), (c, d) = np.sort(material.shown(ends), axis=0).T.tolist()
    return (a, b), (c, d)
