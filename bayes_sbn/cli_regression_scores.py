"""Scores of predictions of a real target, with intervals from resampled rows.

Each is the mean of a loss over rows, or its root, so that resampling takes the losses alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bayes_sbn.cli_preprocessing import Float64

if TYPE_CHECKING:
    from bayes_sbn.predictions_regression import RegressionPredictions

COVERED = 0.9
"""Level of the predictive intervals whose coverage is scored."""

CONVENTIONS = {
    "rmse": "root of the mean square of target minus predicted mean",
    "mae": "mean of |target - predicted mean|",
    "nlpd": "minus log predictive density of the target, nats, mean over rows",
    "crps": "continuous ranked probability score, mean over rows",
    "coverage": f"share of targets in their central {100 * COVERED:g} % interval",
}
"""What each score is, in words."""


def regression_scores(
    pred: RegressionPredictions, y: Float64, *, level: float, seed: int
) -> tuple[str, dict[str, Any]]:
    """Errors, density, CRPS and coverage, as text and as plain values.

    Args:
        pred: predictions.
        y: the targets, (rows,).
        level: of the intervals of the scores.
        seed: of the resampling behind them.
    """
    from bayes_sbn.metrics import bootstrap_interval

    found = {
        name: bootstrap_interval(
            _root_of_mean if name == "rmse" else _mean, losses, y, level=level, seed=seed
        )
        for name, losses in _losses(pred, y).items()
    }
    draws, rows = pred.shape
    cells = [("metric", "value", f"{100 * level:g} % interval", "convention")]
    for name, each in found.items():
        ends = f"[{each.low:.4g}, {each.high:.4g}]"
        cells.append((name, f"{each.value:.4g}", ends, CONVENTIONS[name]))
    widths = [max(len(line[k]) for line in cells) for k in range(3)]
    bootstrap = found["rmse"].bootstrap
    lines = [
        f"{name:<{widths[0]}}  {value:>{widths[1]}}  {ends:<{widths[2]}}  {convention}"
        for name, value, ends, convention in cells
    ]
    text = "\n".join(
        [
            f"{rows} row{'s' * (rows != 1)}, mixture of {draws} draw{'s' * (draws != 1)}",
            *lines,
            f"Intervals: {bootstrap} resamples of the rows, seed {seed}.",
        ]
    )
    contents = {
        "num_rows": rows,
        "num_draws": draws,
        "bootstrap": bootstrap,
        "level": level,
        "seed": seed,
        "metrics": {
            name: {
                "value": each.value,
                "low": each.low,
                "high": each.high,
                "convention": CONVENTIONS[name],
            }
            for name, each in found.items()
        },
    }
    return text, contents


def _losses(pred: RegressionPredictions, y: Float64) -> dict[str, Float64]:
    """What each score is the mean of, or the root of it; (rows,)."""
    from bayes_sbn.metrics.crps import crps_of_rows

    low, high = pred.interval(COVERED)
    error = y - pred.mean
    return {
        "rmse": error**2,
        "mae": np.abs(error),
        "nlpd": -pred.log_prob(y),
        "crps": crps_of_rows(pred.mean_per_draw, pred.scale_per_draw, y),
        "coverage": ((low <= y) & (y <= high)).astype(np.float64),
    }


def _mean(losses: Float64, y: Float64) -> float:
    del y
    return float(losses.mean())


def _root_of_mean(squares: Float64, y: Float64) -> float:
    del y
    return float(np.sqrt(squares.mean()))
