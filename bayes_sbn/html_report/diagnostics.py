"""What can be relied upon in the posterior: ``sbn.diagnose`` of its training rows, in its words."""

from __future__ import annotations

from typing import Any

from bayes_sbn.analysis import diagnose, to_arviz
from bayes_sbn.html_report.markup import Content, element, join
from bayes_sbn.html_report.material import Material
from bayes_sbn.html_report.page import Section

LEAST_DRAWS = 20
"""Draws below which nothing is diagnosed: tails cannot be seen in fewer."""


def diagnostics(material: Material) -> Section | None:
    """The diagnosis, where the training rows are known and draws are not too few."""
    if material.train is None or material.draws < LEAST_DRAWS:
        return None
    x, y = material.train
    y_test = material.y
    if material.rescale is not None:
        scale, shift = material.rescale
        y, y_test = (y - shift) / scale, (y_test - shift) / scale
    exported = to_arviz(
        material.posterior,
        x,
        y,
        num_draws=material.draws,
        seed=material.seed,
        x_test=material.x,
        y_test=y_test,
        backend=material.backend,
        progress=material.progress,
    )
    found = diagnose(exported)
    content: list[Content] = [
        element(
            "p",
            "These checks ask whether the posterior is the one that model and data ask for, and "
            "whether data drawn from it look like those that were fitted. A flag takes nothing "
            "from the scores of the test rows above, which need neither. It says which further use "
            "is not supported: where k-hat is above its limit the draws cannot stand for the exact "
            "posterior, so that leave-one-out scores, evidences and statements on single weights "
            "that need it cannot be had from them. Of thousands of weights that is the rule.",
        )
    ]
    if found.flags:
        content.append(element("p", "What should not be relied upon:"))
        flags = join(element("li", flag) for flag in found.flags)
        content.append(element("ul", flags, class_="flags"))
    else:
        content.append(element("p", "Nothing was found that should not be relied upon."))
    # The text is paragraphs of a question and its answer; the last one is of the flags.
    first, *paragraphs, _ = str(found).split("\n\n")
    unit = "" if material.rescale is None else " Densities are of the standardised target."
    content.append(element("p", f"Of the training rows, {first}.{unit}", class_="note"))
    for paragraph in paragraphs:
        question, *lines = paragraph.splitlines()
        content.append(element("h3", question.rstrip(":")))
        content.append(
            element("pre", "\n".join(line.removeprefix("  ") for line in lines), tabindex="0")
        )
    numbers: dict[str, Any] = found.to_dict()
    return Section("diagnostics", "Diagnostics", content, numbers)
