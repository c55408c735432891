"""The divergence of a guide from its prior by Monte Carlo, with its error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class DivergenceEstimate:
    """A divergence in nats.

    Args:
        value: the mean over draws.
        standard_error: of that mean.
        num_samples: how many draws.
    """

    value: float
    standard_error: float
    num_samples: int

    def __str__(self) -> str:
        return f"{self.value:.4g} ± {self.standard_error:.2g} nats ({self.num_samples} draws)"


def estimate(call: str, draw: Callable[[int], Tensor], num_samples: int) -> DivergenceEstimate:
    """The mean of draws.

    Args:
        call: for the message.
        draw: from the number of a draw to its value.
        num_samples: at least 2.
    """
    if isinstance(num_samples, bool) or not isinstance(num_samples, int) or num_samples < 2:
        raise ValueError(
            f"{call}(num_samples={num_samples!r}): at least 2 draws, for a standard error."
        )
    values = torch.stack([draw(index) for index in range(num_samples)]).double()
    return DivergenceEstimate(
        float(values.mean()), float(values.std()) / num_samples**0.5, num_samples
    )


def log_prior(values: Mapping[str, Tensor], priors: Mapping[str, Tensor]) -> Tensor:
    """``ln p(w)`` of one joint state, from ``P(w = +1)`` by site."""
    total = torch.zeros((), dtype=torch.float64)
    for name, value in values.items():
        chance = torch.where(value > 0, priors[name], 1 - priors[name])
        total = total + chance.log().sum()
    return total
