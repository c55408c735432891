"""The posterior of a model and its guide as they are now, exported anew only where they changed.

``Predictive`` runs the model with the parameters that it has at the call.  So does this: it keeps a
copy of the parameters and buffers that it exported, compares, and exports again if any differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bayes_sbn.posterior import Posterior
from bayes_sbn.posterior_protocol import ExportableGuide, ExportableModel

STOCK = "pyro.infer.Predictive(model, guide=guide, num_samples=...)"
"""What errors tell to use instead."""


class KeptPosterior:
    """The posterior of the last call, for as long as it is that of the model and guide.

    Args:
        input_range: the largest magnitude of an input, or None for the model's own.
        is_calibrated: whether there are rows by which draws measure their statistics.
    """

    def __init__(self, input_range: float | None, *, is_calibrated: bool) -> None:
        self.input_range = input_range
        self.is_calibrated = is_calibrated
        self._kept: tuple[object, Posterior] | None = None

    def __call__(self, model: object, guide: object) -> tuple[Posterior, bool]:
        """The posterior, and whether it is another one than at the last call.

        Raises:
            ValueError: the numbers are not allowed, or statistics would be measured without rows.
        """
        state = _state(model, guide)
        if state is not None and self._kept is not None and _equal(state, self._kept[0]):
            return self._kept[1], False
        posterior = Posterior.from_guide(model, guide, input_range=self.input_range)
        layers = posterior.components[0].layers
        measured = [f'"{layer.name}"' for layer in layers if layer.is_recalibrated]
        if measured and not self.is_calibrated:
            raise ValueError(
                f"PackedPredictive: each draw measures the statistics of {', '.join(measured)} for "
                "itself, and needs rows to do so. Write PackedPredictive(..., calibrate=x), with "
                "rows of the training data."
            )
        if self.is_calibrated and not measured:
            raise ValueError(
                "PackedPredictive(calibrate=...): none of the layers is recalibrated; all have "
                "their scale and bias. Leave calibrate out."
            )
        self._kept = _copied(state), posterior
        return posterior, True


def check_exportable(model: object, guide: object) -> None:
    """Raise unless the two state their numbers."""
    if not isinstance(model, ExportableModel):
        raise TypeError(
            "PackedPredictive(model, guide) needs a model that states its architecture, such as "
            f"bayes_sbn.models.BinaryMLP: received {_name(model)}, which has no architecture(). "
            f"Write {STOCK} for a model of your own."
        )
    if not isinstance(guide, ExportableGuide):
        raise TypeError(
            "PackedPredictive(model, guide) needs a guide that states the probabilities of ±1 "
            f"weights, such as bayes_sbn.guides.AutoSignBernoulli: received {_name(guide)}. Write "
            f"{STOCK} for a guide of your own; without guide=guide it draws from the prior."
        )


def check_range(x: Tensor, posterior: Posterior) -> None:
    """Raise if there are rows that the grid of the posterior does not hold."""
    if not len(x):
        return
    largest = float(x.detach().abs().amax())
    if not largest < posterior.input_limit + posterior.input_scale / 2:  # NaN too
        raise ValueError(
            f"PackedPredictive: the largest magnitude of the rows is {largest:g}; the grid of the "
            f"inputs reaches to ±{posterior.input_limit:g}, some times what the model has seen in "
            "training. Write PackedPredictive(..., input_range=float(abs(x).max())), and drop or "
            "fill in values that are not finite."
        )


def _name(thing: object) -> str:
    return str(getattr(thing, "__name__", type(thing).__name__))


def _state(model: object, guide: object) -> object:
    """All that the posterior of two modules depends on; None if one is no module."""
    if not (isinstance(model, torch.nn.Module) and isinstance(guide, torch.nn.Module)):
        return None
    stated: Any = model
    return [model.state_dict(), guide.state_dict(), stated.architecture()]


def _equal(a: Any, b: Any) -> bool:
    """Whether two nested containers hold the same."""
    if isinstance(a, Tensor):
        return (
            isinstance(b, Tensor)
            and (a.dtype, a.device) == (b.dtype, b.device)
            and torch.equal(a, b)
        )
    if isinstance(a, Mapping):
        return (
            isinstance(b, Mapping)
            and a.keys() == b.keys()
            and all(_equal(a[key], b[key]) for key in a)
        )
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(_equal, a, b))
    return bool(a == b)


def _copied(a: Any) -> Any:
    """A nested container with its tensors copied."""
    if isinstance(a, Tensor):
        return a.detach().clone()
    if isinstance(a, Mapping):
        return {key: _copied(value) for key, value in a.items()}
    if isinstance(a, list):
        return [_copied(value) for value in a]
    return a
