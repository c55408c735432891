"""The rows by which the draws of a posterior measure their statistics, checked, on the grid.

What is measured is in :mod:`bayes_sbn.kernels.reference.calibration`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from numpy.typing import ArrayLike

from bayes_sbn.kernels.reference.inputs import Inputs, round_inputs
from bayes_sbn.posterior_chain import Layer


def calibration_rows(
    num_draws: int,
    layers: Sequence[Layer],
    calibrate: ArrayLike | torch.Tensor | None,
    input_scale: float,
) -> Inputs | None:
    """The rows in steps of the inputs; None where all layers have their scale and bias.

    Args:
        num_draws: of the call, for messages.
        layers: of the posterior.
        calibrate: what was given.
        input_scale: the step.

    Raises:
        ValueError: rows that are missing, or not used, or too few.
    """
    names = ", ".join(f'"{layer.name}"' for layer in layers if layer.is_recalibrated)
    if not names and calibrate is not None:
        raise ValueError(
            f"Posterior.draw({num_draws}, calibrate=...): none of the layers is recalibrated; "
            f"all have their scale and bias. Write posterior.draw({num_draws})."
        )
    if names and calibrate is None:
        raise ValueError(
            f"Posterior.draw({num_draws}): each draw measures the statistics of the layers "
            f"{names} for itself, and needs rows to do so. Write posterior.draw({num_draws}, "
            "calibrate=x), with rows of the training data."
        )
    if calibrate is None:
        return None
    call = "Posterior.draw(calibrate=...)"
    rows = round_inputs(call, calibrate, layers[0].num_inputs, input_scale)
    if len(rows) < 2:
        raise ValueError(
            f"{call}: {len(rows)} rows have no variance. Give at least two, better hundreds, of "
            "the training data."
        )
    return rows
