r"""The sign of a noisy pre-activation, relaxed: a smooth function of ``a`` for given noise.

A unit is ``x = sign(a - Z)``.  At a temperature tau, and for noise of scale s, its relaxation is

    x_tau(a) = tanh((a - Z) / 2 s tau),     dx_tau / da = (1 - x_tau^2) / 2 s tau.

For logistic noise this is the binary Concrete variable mapped to ±1: with ``L = -Z / s`` logistic,
``(1 + x_tau) / 2 = sigmoid((a / s + L) / tau)``.  As tau goes to 0 it goes to the sign, with the
same noise.  Estimators that average slopes need the mean over several given Z.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bayes_sbn.affines.function import UnitFunction


def relaxed_mean_and_slope(
    a: Tensor, injected: tuple[Tensor, ...], width: float
) -> tuple[Tensor, Tensor]:
    """The mean over the given noise of ``tanh((a - Z) / 2 width)``, and its derivative in a."""
    value = slope = torch.zeros((), dtype=a.dtype, device=a.device)
    for z in injected:
        v = (a - z) / width
        value = value + torch.tanh(v / 2)
        # 1 - tanh(v / 2)^2 without cancellation
        slope = slope + torch.sigmoid(v) * torch.sigmoid(-v)
    return value / len(injected), slope * (2 / (width * len(injected)))


@dataclass(frozen=True)
class RelaxedSign(UnitFunction):
    """``h(a)``, the mean over the given noise of ``tanh((a - Z) / 2 width)``.

    Args:
        injected: values of Z, each of the shape of ``a``.
        width: the temperature times the scale of the noise.
    """

    injected: tuple[Tensor, ...]
    width: float

    def value(self, a: Tensor) -> Tensor:
        """The mean; one graph however many values are averaged."""
        with torch.no_grad():
            value, slope = relaxed_mean_and_slope(a, self.injected, self.width)
        if not (a.requires_grad and torch.is_grad_enabled()):
            return value
        return value + (a - a.detach()) * slope

    def for_flips(self, arrange: Callable[[Tensor], Tensor]) -> RelaxedSign:
        """See :meth:`UnitFunction.for_flips`."""
        return RelaxedSign(tuple(arrange(z) for z in self.injected), self.width)
