"""Single test rows to look at: those that are least sure, and mistakes that are most sure.

A row is shown as its picture where inputs are images, else by the inputs that lie farthest from
their mean, in standard deviations of the training rows (of the test rows, where these are not
known).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bayes_sbn.html_report.markup import (
    Content,
    Markup,
    element,
    inline_image,
    join,
    name_of,
)
from bayes_sbn.html_report.material import Float64, Material
from bayes_sbn.html_report.page import Section
from bayes_sbn.html_report.words import number, percent, short

CASES = 12
"""Rows of each kind that are shown, at most."""

CLASSES = 4
"""Classes of a row whose probabilities are shown; the true one is, in any case."""

INPUTS = 6
"""Inputs of a row that are shown."""

IMAGE_WIDTH = 72


def class_cases(material: Material) -> Section:
    """The most uncertain rows, and the most confident mistakes."""
    pred, y = material.classes, material.y
    # Stable, so that rows of equal entropy come in their own order.
    unsure = np.argsort(-pred.entropy, kind="stable")[:CASES]
    confidence = pred.mean.max(axis=-1)
    wrong = np.flatnonzero(pred.mode != y)
    mistakes = wrong[np.argsort(-confidence[wrong], kind="stable")][:CASES]
    content: list[Content] = [
        element("h3", "Least sure"),
        element(
            "p",
            "The rows of largest predictive entropy. A bar is the mean probability of a class, the "
            "line on it runs from the 5 % to the 95 % quantile of the networks, and the true class "
            "is underlined. Epistemic is the share of the entropy in which the networks disagree.",
            class_="note",
        ),
        _cases(material, unsure),
        element("h3", "Sure and wrong"),
    ]
    if len(mistakes):
        text = f"The {len(mistakes)} of {len(wrong)} mistakes with the highest confidence."
        content += [element("p", text, class_="note"), _cases(material, mistakes)]
    else:
        content.append(element("p", "No test row is predicted wrong."))
    numbers = {
        "least_sure": [_numbers(material, int(row)) for row in unsure],
        "sure_and_wrong": [_numbers(material, int(row)) for row in mistakes],
    }
    return Section("cases", "Cases to look at", content, numbers)


def real_cases(material: Material) -> Section:
    """The rows with the widest predictions, and those whose target surprises most."""
    pred, y = material.reals, material.y
    std = pred.std
    unsure = np.argsort(-std, kind="stable")[:CASES]
    distance = np.abs(y - pred.mean) / np.where(std > 0, std, 1.0)
    surprises = np.argsort(-distance, kind="stable")[:CASES]
    note = (
        "Each row with its target, the predicted mean with its standard deviation, and the share "
        "of the variance that is epistemic."
    )
    content = [
        element("p", note, class_="note"),
        element("h3", "Least sure"),
        _cases(material, unsure),
        element("h3", "Farthest from the prediction"),
        element("p", "In standard deviations of the prediction.", class_="note"),
        _cases(material, surprises),
    ]
    numbers = {
        "least_sure": [_numbers(material, int(row)) for row in unsure],
        "farthest": [_numbers(material, int(row)) for row in surprises],
    }
    return Section("cases", "Cases to look at", content, numbers)


def _numbers(material: Material, row: int) -> dict[str, Any]:
    if not material.is_classes:
        pred = material.reals
        return {
            "row": row,
            "name": material.row_names[row],
            "target": float(material.y[row]),
            "mean": float(pred.mean[row]),
            "std": float(pred.std[row]),
            "epistemic": float(pred.epistemic[row]),
        }
    found = material.classes
    return {
        "row": row,
        "name": material.row_names[row],
        "true": int(material.y[row]),
        "predicted": int(found.mode[row]),
        "probabilities": found.mean[row].tolist(),
        "entropy": float(found.entropy[row]),
        "epistemic": float(found.epistemic[row]),
    }


def _cases(material: Material, rows: npt.NDArray[np.int64]) -> Markup:
    look = _class_case if material.is_classes else _real_case
    return element("div", join(look(material, int(row)) for row in rows), class_="cases")


def _class_case(material: Material, row: int) -> Markup:
    pred, names = material.classes, material.class_names
    label, predicted = int(material.y[row]), int(pred.mode[row])
    total = float(pred.entropy[row])
    share = float(pred.epistemic[row]) / total if total > 0 else 0.0
    is_right = label == predicted
    verdict = element(
        "div",
        element(
            "span", "✓ right" if is_right else "✗ wrong", class_="right" if is_right else "wrong"
        ),
        ": ",
        name_of(names[predicted]),
        *([] if is_right else [", true ", name_of(names[label])]),
    )
    facts = element("div", f"entropy {number(total, 3)}, epistemic {percent(share, 0)}")
    shown = np.argsort(-pred.mean[row], kind="stable")[:CLASSES].tolist()
    if label not in shown:
        shown[-1] = label
    low, high = np.quantile(pred.probs_per_draw[:, row], [0.05, 0.95], axis=0)
    bars = [
        _bar(names[c], float(pred.mean[row, c]), float(low[c]), float(high[c]), c == label)
        for c in shown
    ]
    return element(
        "div",
        _head(material, row, [verdict, facts]),
        element("ul", join(bars), class_="probs"),
        class_="case",
    )


def _real_case(material: Material, row: int) -> Markup:
    pred = material.reals
    variance = float(pred.variance[row])
    share = float(pred.epistemic[row]) / variance if variance > 0 else 0.0
    facts = [
        element("div", f"target {short(float(material.y[row]))}"),
        element("div", f"predicted {short(float(pred.mean[row]))} ± {short(float(pred.std[row]))}"),
        element("div", f"epistemic {percent(share, 0)}"),
    ]
    return element("div", _head(material, row, facts), class_="case")


def _head(material: Material, row: int, lines: Sequence[Content]) -> Markup:
    """Number and picture of a row beside what is said of it; or its unusual inputs below."""
    about = element("div", element("div", name_of(material.row_names[row]), class_="row"), *lines)
    if material.image_shape is not None:
        return element("div", _image(material, row), about, class_="head")
    return Markup(element("div", about, class_="head") + _inputs(material, row))


def _bar(name: str, mean: float, low: float, high: float, is_true: bool) -> Markup:
    track = element(
        "span",
        element("span", class_="fill", style=f"width:{100 * mean:.2f}%"),
        element(
            "span", class_="range", style=f"left:{100 * low:.2f}%;width:{100 * (high - low):.2f}%"
        ),
        class_="track",
        aria_hidden="true",
    )
    words = f"{mean:.2f} ({low:.2f}–{high:.2f})"
    who = element("span", name_of(name), class_="who true" if is_true else "who", title=name)
    return element("li", who, track, element("span", words, class_="number"))


def _image(material: Material, row: int) -> Markup:
    from matplotlib.image import imsave

    shape = material.image_shape
    assert shape is not None
    darkest, brightest = material.brightness
    pixels = material.shown_x[row].reshape(shape)
    if len(shape) == 3:
        pixels = (pixels - darkest) / (brightest - darkest if brightest > darkest else 1.0)
        pixels = np.clip(pixels, 0, 1)  # within rounding
    data = io.BytesIO()
    imsave(
        data,
        pixels,
        format="png",
        cmap="gray",
        vmin=darkest,
        vmax=brightest,
    )
    height = round(IMAGE_WIDTH * shape[0] / shape[1])
    return inline_image(data.getvalue(), f"input of {material.row_names[row]}", IMAGE_WIDTH, height)


def _inputs(material: Material, row: int) -> Markup:
    centre, spread = material.usual_inputs
    x = material.shown_x[row]
    unusual = _standardised(x, centre, spread)
    order = np.argsort(-np.abs(unusual), kind="stable")[:INPUTS]
    if len(x) <= INPUTS:
        order = np.arange(len(x))
    parts: list[Content] = []
    for j in order:
        parts += [", " if parts else "", name_of(material.feature_names[j])]
        parts.append(f" {short(float(x[j]))} ({unusual[j]:+.1f} sd)")
    return element("div", *parts, class_="values")


def _standardised(x: Float64, centre: Float64, spread: Float64) -> Float64:
    result: Float64 = (x - centre) / np.where(spread > 0, spread, 1.0)
    return result
