"""What a fit says of rows that it has not seen, whatever the fit returned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bayes_sbn.analysis.exact_posterior import ExactPosterior
from bayes_sbn.metrics.arguments import check_probabilities, to_numpy

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Rows that were predicted.

    Args:
        log_prob: log probability, or density, of each row's target, (rows,).
        mean: class probabilities (rows, classes), or means of real targets (rows,).
    """

    log_prob: Float64
    mean: Float64


def held_out(
    call: str, fitted: Any, x: Any, y: Any, x_train: Any, *, num_draws: int, seed: int
) -> HeldOut:
    """Predict rows and score their targets.

    Args:
        call: the call to name in errors.
        fitted: what a fit returned.
        x: new inputs.
        y: their targets.
        x_train: the inputs of the fit, on which recalibrated layers measure their statistics.
        num_draws: draws of a posterior.
        seed: of the draws.
    """
    from bayes_sbn.predictions import Predictions

    said = predict(call, fitted, x, x_train, num_draws=num_draws, seed=seed)
    if not hasattr(said, "log_prob"):
        if np.ndim(to_numpy(said)) != 2:
            raise TypeError(
                f"{call}: what fit_fn returned predicts {_named(said)}; a prediction has mean and "
                "log_prob(y), as sbn.Predictions and sbn.RegressionPredictions do, or is an array "
                "of class probabilities (rows, classes). Of means and a standard deviation make "
                "sbn.RegressionPredictions(mean[None], sigma)."
            )
        said = Predictions(check_probabilities(call, said, ("row", "class"))[None])
    if len(said) != len(x):
        raise ValueError(
            f"{call}: what fit_fn returned predicts {len(said)} rows for {len(x)}. Predict the "
            "rows that it is called with."
        )
    return HeldOut(
        np.asarray(to_numpy(said.log_prob(y)), np.float64),
        np.asarray(to_numpy(said.mean), np.float64),
    )


def predict(call: str, fitted: Any, x: Any, x_train: Any, *, num_draws: int, seed: int) -> Any:
    """The prediction of new rows, by whatever a fit returned."""
    from bayes_sbn.ensemble import Ensemble
    from bayes_sbn.ensemble_regression import RegressionEnsemble
    from bayes_sbn.posterior import Posterior

    if isinstance(fitted, ExactPosterior):
        return fitted.predictive(x)
    if isinstance(fitted, Posterior):
        is_measured = any(layer.is_recalibrated for layer in fitted.components[0].layers)
        rows = x_train if is_measured else None
        fitted = fitted.draw(num_draws, seed=seed, calibrate=rows)
    if isinstance(fitted, Ensemble | RegressionEnsemble):
        return fitted.predict(x, progress=False)
    is_of_pyro = hasattr(fitted, "weight_probabilities") or hasattr(fitted, "architecture")
    if is_of_pyro or not callable(fitted):
        raise TypeError(
            f"{call}: fit_fn returned {_named(fitted)}; it returns what predicts new rows. Write "
            "return sbn.Posterior.from_guide(model, guide), or return a function of x."
        )
    return fitted(x)


def _named(thing: object) -> str:
    return "None" if thing is None else type(thing).__name__
