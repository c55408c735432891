"""The posterior of a model and its guide as they are now, exported anew only where they changed.

``Predictive`` runs the model with the parameters that it has at the call.  So does this: it keeps a
copy of the parameters and buffers that it exported, compares, and exports again if any differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bayes_sbn.posterior import Posterior
from bayes_sbn.posterior_protocol import ExportableGuide, ExportableModel
from bayes_sbn.predictive_function import FunctionNetwork, network_of_function

STOCK = "pyro.infer.Predictive(model, guide=guide, num_samples=...)"
"""What errors tell to use instead."""


@dataclass(frozen=True, eq=False)
class Exported:
    """What was exported.

    Args:
        posterior: the plain numbers.
        weight_sites: names of the weights of each layer; those that are no site have one, too.
        state: all that it depends on, or None if that is not known.
    """

    posterior: Posterior
    weight_sites: list[str]
    state: object


class KeptPosterior:
    """The posterior of the last call, for as long as it is that of the model and guide.

    Args:
        input_range: the largest magnitude of an input, or None for the model's own.
        is_calibrated: whether there are rows by which draws measure their statistics.
    """

    def __init__(self, input_range: float | None, *, is_calibrated: bool) -> None:
        self.input_range = input_range
        self.is_calibrated = is_calibrated
        self._kept: Exported | None = None

    def __call__(self, model: Any, guide: Any, x: Tensor) -> tuple[Exported, bool]:
        """The posterior, and whether it is another one than at the last call.

        Args:
            model: a model that states its architecture, or a function.
            guide: its guide.
            x: rows, of which dtype, device and width are used to run a function.

        Raises:
            ValueError: the numbers are not allowed, or statistics would be measured without rows.
        """
        stated = model if isinstance(model, ExportableModel) else network_of_function(model, x)
        architecture: Any = stated.architecture()
        state = _state(stated, guide, architecture)
        kept = self._kept
        if state is not None and kept is not None and _equal(state, kept.state):
            return kept, False
        if isinstance(stated, FunctionNetwork):
            guide = stated.guide_with_numbers(guide)
        posterior = Posterior.from_guide(stated, guide, input_range=self.input_range)
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
        sites = [str(entry["weight_site"]) for entry in architecture["layers"]]
        self._kept = Exported(posterior, sites, _copied(state))
        return self._kept, True


def check_exportable(model: object, guide: object, input_range: float | None) -> None:
    """Raise unless the guide states its numbers, and the grid of the inputs is known."""
    if not isinstance(model, ExportableModel) and input_range is None:
        raise ValueError(
            f"PackedPredictive(model, guide): {_name(model)} has no architecture() that states the "
            "range of its inputs, to whose 16-bit grid rows are rounded. Write PackedPredictive("
            "..., input_range=float(abs(x).max())), with the rows of training and prediction."
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


def _state(stated: object, guide: object, architecture: object) -> object:
    """All that the posterior depends on; None where it is not in the parameters of modules."""
    if not isinstance(guide, torch.nn.Module):
        return None
    if isinstance(stated, FunctionNetwork):  # the priors, which are the function's, draw nothing
        return [stated.numbers, guide.state_dict(), architecture]
    if isinstance(stated, torch.nn.Module):
        return [stated.state_dict(), guide.state_dict(), architecture]
    return None


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
