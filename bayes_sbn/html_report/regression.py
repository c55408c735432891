"""Scores and figures of real targets."""

from __future__ import annotations

import numpy as np

from bayes_sbn import metrics, plots
from bayes_sbn.html_report.markup import (
    Content,
    element,
    is_drawable,
    name_of,
    picture,
    table,
    text_of,
)
from bayes_sbn.html_report.material import Material
from bayes_sbn.html_report.page import Section
from bayes_sbn.html_report.scores import interval_note, score_table
from bayes_sbn.html_report.words import counted, number, percent, short
from bayes_sbn.metrics.report_regression import INTERVAL_LEVEL

LEVELS = (0.5, 0.8, 0.9, 0.95)
"""Levels of the table of coverage."""


def real_scores(material: Material) -> tuple[Section, list[tuple[str, str, str]]]:
    """The section of the scores of a real target, and the cards at the top."""
    pred, y = material.reals, material.y
    found = material.scores
    rmse, inside = found["rmse"].value, found["coverage"]
    spread = float(np.std(y))
    share = float(pred.epistemic.mean() / pred.variance.mean()) if pred.variance.any() else 0.0
    words = [
        f"Of {counted(len(y), 'test row')} the predicted mean of "
        f"{counted(material.draws, 'network')} is off by {short(rmse)} (root mean square); the "
        f"targets themselves have the standard deviation {short(spread)}.",
        f"{percent(inside.value)} of the targets lie in their {_LEVEL} intervals. "
        f"{percent(share, 0)} of the predictive variance is epistemic: the networks disagree, "
        "which more data could change.",
    ]
    numbers = {**found.to_dict(), "target_std": spread, "epistemic_share": share}
    content = [
        *(element("p", each) for each in words),
        score_table(found.rows, material),
        interval_note(found),
    ]
    top = []
    for metric, name in (("rmse", "RMSE"), ("nlpd", "NLPD, nats a row"), ("crps", "CRPS")):
        row = found[metric]
        top.append((name, short(row.value), f"{short(row.low)} to {short(row.high)}"))
    ends = f"{percent(inside.low)} to {percent(inside.high)}"
    top.append((f"In the {_LEVEL} interval", percent(inside.value), ends))
    return Section("scores", "Scores", content, numbers), top


_LEVEL = f"{100 * INTERVAL_LEVEL:g} %"


def real_calibration(material: Material) -> Section:
    """Whether targets fall where the predicted laws say."""
    pred, y = material.reals, material.y
    test = metrics.pit_test(pred, y, seed=material.seed)
    rows = []
    coverage = {}
    for level in LEVELS:
        share = metrics.interval_coverage(pred, y, level)
        coverage[f"{level:g}"] = share
        width = metrics.interval_width(pred, level=level)
        rows.append((percent(level, 0), percent(share), short(width)))
    text = (
        f"If the predicted laws are right, the probability integral transforms of the targets are "
        f"uniform. The Kolmogorov-Smirnov test of that has the p-value {number(test.p_value)}: "
        + (
            "they are not."
            if test.p_value < 0.01
            else "nothing here speaks against it."
            if test.p_value > 0.1
            else "a doubtful case."
        )
    )
    figures = [
        picture(
            plots.target_against_prediction(pred, y, level=INTERVAL_LEVEL).figure,
            "Targets against the means that were predicted for them.",
            f"Each test row with its {_LEVEL} interval; crosses are targets outside of it. On the "
            "dashed line a target is its predicted mean.",
        ),
        picture(
            plots.pit_histogram(metrics.pit(pred, y, seed=material.seed)).figure,
            "Histogram of the probability integral transforms of the targets.",
            "High at both ends: predictions are too narrow; high in the middle: too wide; high at "
            "one end: biased.",
        ),
    ]
    content: list[Content] = [
        element("p", text),
        table(("interval", "targets inside", "mean width"), rows),
        element("div", *figures, class_="figures"),
    ]
    numbers = {
        "coverage": coverage,
        "pit_statistic": test.statistic,
        "pit_p_value": test.p_value,
    }
    return Section("calibration", "Calibration", content, numbers)


def band(material: Material) -> Section | None:
    """The prediction along its one input, where there is one."""
    if material.x.shape[1] != 1:
        return None
    order = np.argsort(material.shown_x[:, 0], kind="stable")
    axes = plots.regression_band(
        material.reals.take(order), material.shown_x[order, 0], material.y[order]
    )
    name = material.feature_names[0]
    if material.has_feature_names and is_drawable(name):
        axes.set_xlabel(name, parse_math=False)
    axes.set_ylabel("target")
    caption = text_of(
        "Across: ",
        name_of(name),
        ". The inner band is the noise of the target, the outer one has the disagreement of the "
        "networks as well; dots are test rows.",
    )
    figure = picture(axes.figure, "The prediction along its input.", caption)
    return Section("band", "Along the input", [element("div", figure, class_="figures")])
