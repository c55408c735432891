"""Scores and figures of real targets."""

from __future__ import annotations

from typing import Any

import numpy as np

from bayes_sbn import metrics, plots
from bayes_sbn.html_report.markup import Content, element, name_of, picture, table, text_of
from bayes_sbn.html_report.material import Material
from bayes_sbn.html_report.page import Section
from bayes_sbn.html_report.scores import Score, score_section
from bayes_sbn.html_report.words import counted, number, percent, short

LEVEL = 0.9
"""Level of the predictive intervals whose coverage is scored."""

LEVELS = (0.5, 0.8, 0.9, 0.95)
"""Levels of the table of coverage."""

CONVENTIONS = {
    "nlpd": "minus log predictive density of the target, nats, mean over rows; depends on its unit",
    "crps": "continuous ranked probability score of the mixture of the draws, in the target's unit",
    "rmse": "root mean squared error of the predicted mean, in the target's unit",
    "mae": "mean absolute error of the predicted mean, in the target's unit",
    "interval_score": f"width of the {LEVEL:.0%} interval and the penalty of its misses",
    "coverage": f"share of targets in the central {LEVEL:.0%} interval: it should be {LEVEL:g}",
    "sharpness": "root mean predictive variance, in the target's unit: whatever comes true",
}
"""What each score is, in words."""


def real_scores(material: Material) -> tuple[Section, list[tuple[str, str, str]]]:
    """The section of the scores of a real target, and the cards at the top."""
    pred, y = material.reals, material.y
    options: dict[str, Any] = {
        "bootstrap": material.bootstrap,
        "level": material.level,
        "seed": material.seed,
    }
    low, high = pred.interval(LEVEL)
    inside = ((low <= y) & (y <= high)).astype(np.float64)
    found = {
        name: metrics.bootstrap_interval(metric, pred, y, **options)
        for name, metric in (
            ("nlpd", metrics.nlpd),
            ("crps", metrics.crps),
            ("mae", metrics.mae),
            ("interval_score", metrics.interval_score),
        )
    }
    # The error of the mean needs no draws: their mean is one.
    mean = pred.mean[None]
    found["rmse"] = metrics.bootstrap_interval(metrics.rmse, mean, y, axis=1, **options)
    found["coverage"] = metrics.bootstrap_interval(_mean, inside, y, **options)
    scores = [
        Score(name, found[name].value, (found[name].low, found[name].high), CONVENTIONS[name])
        for name in ("nlpd", "crps", "rmse", "mae", "interval_score", "coverage")
    ]
    scores.append(Score("sharpness", metrics.sharpness(pred), None, CONVENTIONS["sharpness"]))
    spread = float(np.std(y))
    rmse = found["rmse"].value
    share = float(pred.epistemic.mean() / pred.variance.mean()) if pred.variance.any() else 0.0
    words = [
        f"Of {counted(len(y), 'test row')} the predicted mean of "
        f"{counted(material.draws, 'network')} is off by {short(rmse)} (root "
        f"mean square); the targets themselves have the standard deviation {short(spread)}.",
        f"{percent(float(inside.mean()))} of the targets lie in their {LEVEL:.0%} intervals. "
        f"{percent(share, 0)} of the predictive variance is epistemic: the networks disagree, "
        "which more data could change.",
    ]
    numbers = {
        "metrics": {s.metric: {"value": s.value, "interval": s.interval} for s in scores},
        "target_std": spread,
        "epistemic_share": share,
    }
    section = score_section(material, scores, words, numbers)
    names = (("rmse", "RMSE"), ("nlpd", "NLPD, nats a row"), ("crps", "CRPS"))
    top = [(words_, number(found[n].value), _ends(found[n])) for n, words_ in names]
    share_in = found["coverage"]
    ends = f"{percent(share_in.low)} to {percent(share_in.high)}"
    top.append((f"In the {LEVEL:.0%} interval", percent(share_in.value), ends))
    return section, top


def _mean(inside: Any, y: Any) -> float:
    del y
    return float(np.mean(inside))


def _ends(found: metrics.MetricInterval) -> str:
    return f"{number(found.low)} to {number(found.high)}"


def real_calibration(material: Material) -> Section:
    """Whether targets fall where the predicted laws say."""
    pred, y = material.reals, material.y
    test = metrics.pit_test(pred, y, seed=material.seed)
    rows = []
    coverage = {}
    for level in LEVELS:
        low, high = pred.interval(level)
        share = float(((low <= y) & (y <= high)).mean())
        coverage[f"{level:g}"] = share
        rows.append((percent(level, 0), percent(share), short(float((high - low).mean()))))
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
            plots.pit_histogram(metrics.pit(pred, y, seed=material.seed)).figure,
            "Histogram of the probability integral transforms of the targets.",
            "High at both ends: predictions are too narrow; high in the middle: too wide; high at "
            "one end: biased.",
        )
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
    caption = text_of(
        "Across: ",
        name_of(material.feature_names[0]),
        ". The inner band is the noise of the target, the outer one has the disagreement of the "
        "networks as well; dots are test rows.",
    )
    figure = picture(axes.figure, "The prediction along its input.", caption)
    return Section("band", "Along the input", [element("div", figure, class_="figures")])
