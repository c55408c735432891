r"""The noise in a draw, and other values of it that give the same state.

A draw is ``x = sign(argument - Z)`` with ``Z = F^{-1}(u)``.  With what the uniform has left once
the state is known, t (:mod:`bayes_sbn.estimators.residual_uniform`), ``Z = x F^{-1}(P(x) t)`` gives
the noise back, as F is symmetric, and any other t gives another value of it with the same state.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bayes_sbn.distributions import SignDistribution
from bayes_sbn.estimators.residual_uniform import residual_uniform


def injected_noise(fn: SignDistribution, uniform: Tensor) -> Tensor:
    """``F^{-1}(u)``, finite, a constant."""
    limits = torch.finfo(uniform.dtype)
    return fn.noise.quantile(uniform.detach().clamp(limits.tiny, 1 - limits.eps / 2))


def residual_and_probability(
    fn: SignDistribution, state: Tensor, uniform: Tensor
) -> tuple[Tensor, Tensor]:
    """What is left of the uniforms given the states that were drawn by them, and P(state)."""
    with torch.no_grad():
        probability = fn.noise.cdf(state * fn.argument)
    return residual_uniform(uniform, state > 0, probability), probability


def noise_given_state(
    fn: SignDistribution, state: Tensor, probability: Tensor, residual: Tensor
) -> Tensor:
    """``x F^{-1}(P(x) t)``: the noise that gives this state, finite, a constant."""
    return state * injected_noise(fn, probability * residual)


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
