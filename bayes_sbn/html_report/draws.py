"""Whether there are enough draws: scores against their number, and the bias of a finite one.

Of S draws the plug-in epistemic variance of a real target, that of the draws' means, is too small
by the factor (S - 1) / S on average; the epistemic part of an entropy is corrected by the
jackknife.
"""

from __future__ import annotations

from bayes_sbn import plots
from bayes_sbn.html_report.markup import Content, element, picture
from bayes_sbn.html_report.material import Material
from bayes_sbn.html_report.page import Section
from bayes_sbn.html_report.words import number, short


def enough_draws(material: Material) -> Section | None:
    """Scores against the number of draws; None of a single draw."""
    if material.draws < 2:
        return None
    plug_in = float(material.predicted.epistemic.mean())
    if material.is_classes:
        parts = material.classes.decompose(correction="jackknife")
        corrected = float(parts.epistemic.mean())
        what, words = "part of the entropy", "Accuracy and NLL"
        told = f"{number(plug_in)} nats", number(corrected)
    else:
        corrected = plug_in * material.draws / (material.draws - 1)
        what, words = "variance", "CRPS and log density"
        told = short(plug_in), short(corrected)
    text = (
        f"The mean epistemic {what} is {told[0]} as these draws have it, and {told[1]} when "
        "corrected for their finite number. If the two are close, and the lines below have become "
        "flat, more draws would change little."
    )
    figure = plots.score_against_draws(material.predicted, material.y, seed=material.seed)
    content: list[Content] = [
        element("p", text),
        picture(
            figure,
            f"{words} against the number of draws.",
            "Scores of random subsets of the draws: their median and their middle 90 %.",
            wide=True,
        ),
    ]
    numbers = {"epistemic": plug_in, "epistemic_corrected": corrected}
    return Section("draws", "Are there enough draws?", content, numbers)
