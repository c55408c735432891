r"""Straight-through Gumbel: a hard draw with the slope of its relaxation at the same noise.

Forward the draw ``x = sign(a - Z)``; backward that of the Concrete variable of the same noise,

    dx/da := (1 - r^2) / 2 s tau,     r = tanh((a - Z) / 2 s tau),

for a ±1 weight of mean mu ``dw/dmu := (1 - r^2) / tau (1 - mu^2)``.  Where the rest of the loss is
multilinear, the expectation is the derivative of ``E[r]``, straight-through's slope smoothed over
the width ``s tau`` of the relaxation; as tau goes to 0 it goes to straight-through's ``2 F'(a)``,
while the variance grows like 1 / tau.

Two generalisations are in files of their own: the slope averaged given the state
(:mod:`bayes_sbn.estimators.gumbel_rao`) and one temperature for each direction
(:mod:`bayes_sbn.estimators.decoupled_straight_through`).
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from bayes_sbn.estimators.estimator import (
    Estimator,
    Site,
    check_uniforms,
    register_estimator,
)
from bayes_sbn.estimators.injected_noise import (
    check_temperature,
    injected_noise,
)
from bayes_sbn.signs import hard_with_path


@register_estimator("gumbel_st")
class GumbelStraightThrough(Estimator):
    """Hard draw, backward of the relaxed draw of the same noise, derivatives in the children.

    Biased: also under a loss that is linear in one bit, where straight-through is exact.
    Reduces to: straight-through's expected slope for a given pre-activation, as the temperature
    goes to 0.
    Costs: one forward and one backward pass.

    Args:
        temperature: of the relaxation, in units of the noise's scale, positive.
    """

    unbiased: ClassVar[bool | str] = False
    reference: ClassVar[str] = "Jang et al. 2017"

    def __init__(self, *, temperature: float = 0.5) -> None:
        call = f"GumbelStraightThrough(temperature={temperature!r})"
        self.temperature = check_temperature(call, temperature)

    def draw(self, site: Site, uniform: Tensor) -> Tensor:
        """The hard draw with the slope of the relaxed one."""
        check_uniforms(self.name, site, uniform, "the slope of its relaxation")
        fn = site.fn
        path = fn.relaxed_path((injected_noise(fn, uniform),), self.temperature)
        return hard_with_path(fn.draw(uniform), path)

    def __repr__(self) -> str:
        return f"GumbelStraightThrough(temperature={self.temperature!r})"
