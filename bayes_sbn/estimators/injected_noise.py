r"""The noise in a draw, and what is left of it once the state is known.

A draw is ``x = sign(argument - Z)`` with ``Z = F^{-1}(u)``.  Given the state, u is uniform on an
interval of length P(x) that ends at 0 (x = +1) or at 1 (x = -1), so that

    t = u / P(x)  where x = +1,     t = (1 - u) / P(x)  where x = -1

is again uniform on [0, 1] and independent of the state: fresh randomness without another source of
it.  As F is symmetric, ``Z = x F^{-1}(P(x) t)`` gives the noise back, and gives another value of it
with the same state for any other t.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bayes_sbn.distributions import SignDistribution
from bayes_sbn.estimators.estimator import Site


def injected_noise(fn: SignDistribution, uniform: Tensor) -> Tensor:
    """``F^{-1}(u)``, finite, a constant."""
    limits = torch.finfo(uniform.dtype)
    return fn.noise.quantile(uniform.detach().clamp(limits.tiny, 1 - limits.eps / 2))


def residual_uniform(fn: SignDistribution, state: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """What is left of the uniforms given the states that were drawn by them, and P(state)."""
    with torch.no_grad():
        probability = fn.noise.cdf(state * fn.argument)
        length = torch.where(state > 0, uniform, 1 - uniform)
        tiny = torch.finfo(probability.dtype).tiny
        return (length / probability.clamp_min(tiny)).clamp(0, 1), probability


def noise_given_state(
    fn: SignDistribution, state: Tensor, probability: Tensor, residual: Tensor
) -> Tensor:
    """``x F^{-1}(P(x) t)``: the noise that gives this state, finite, a constant."""
    return state * injected_noise(fn, probability * residual)


def check_uniforms(estimator: str, site: Site, uniform: Tensor, needed: str) -> None:
    """Raise where a draw was given by its value, so that its noise is not known.

    Args:
        estimator: its name.
        site: what is drawn.
        uniform: what it is drawn of.
        needed: what the estimator needs the uniforms for.
    """
    if bool(((uniform < 0) | (uniform > 1)).any()):
        raise ValueError(
            f'estimator "{estimator}", site "{site.name}": the draw was given by its value, but '
            f"{needed} needs its uniforms. Write "
            f"force_draws({{}}, uniforms={{{site.name!r}: ...}}) with numbers in [0, 1]."
        )


def check_temperature(call: str, temperature: float) -> float:
    """The temperature; raise unless it is a positive finite number.

    Args:
        call: the argument as it was written, to be named in the error.
        temperature: what came.
    """
    is_number = isinstance(temperature, (int, float)) and not isinstance(temperature, bool)
    if not is_number or not 0 < temperature < math.inf:
        raise ValueError(
            f"{call}: a temperature is a positive finite number, such as 0.5. At zero temperature "
            'relaxations have no derivative; "zgr" is the limit of their conditional slopes.'
        )
    return float(temperature)
