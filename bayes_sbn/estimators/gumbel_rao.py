r"""Gumbel-Rao: straight-through Gumbel with its slope averaged over the noise given the state.

The slope of :mod:`bayes_sbn.estimators.gumbel_straight_through` depends on the noise beyond the
state that children see.  Its conditional expectation

    dx/da := E[(1 - r^2) / 2 s tau | x],     r = tanh((a - Z) / 2 s tau),

leaves the expectation of the gradient as it is and takes that part of the variance away.  It is
estimated from K values of the noise, those of

    t_k = t + k / K  modulo 1,     Z_k = x F^{-1}(P(x) t_k),     k = 0, ..., K - 1,

where t is what is left of the draw's own uniform (:mod:`bayes_sbn.estimators.residual_uniform`).
Each t_k is uniform given the state, so any K is as unbiased as independent draws would be; being
evenly spaced they miss the conditional expectation by O(1 / K) rather than O(1 / sqrt K), and they
need no randomness of their own.  With K = 1 this is straight-through Gumbel.

As tau goes to 0 the conditional expectation goes to ``F'(a) / P(x)``, which is
:mod:`bayes_sbn.estimators.trapezoid_straight_through`.
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
    noise_given_state,
    residual_and_probability,
)
from bayes_sbn.signs import hard_with_path


@register_estimator("gumbel_rao")
class GumbelRao(Estimator):
    """Hard draw, backward of the relaxed draw averaged given the state, derivatives in children.

    Biased: in expectation the same as straight-through Gumbel of that temperature.
    Reduces to: straight-through Gumbel for one draw of the noise; trapezoid straight-through for
    many, as the temperature goes to 0.
    Costs: one forward and one backward pass; of each site, as many evaluations of the relaxation as
    there are draws, without matrix products.

    Args:
        temperature: of the relaxation, in units of the noise's scale, positive.
        num_draws: values of the noise given the state that the slope is averaged over.
    """

    unbiased: ClassVar[bool | str] = False
    reference: ClassVar[str] = "Paulus et al. 2021"

    def __init__(self, *, temperature: float = 0.5, num_draws: int = 10) -> None:
        call = f"GumbelRao(temperature={temperature!r})"
        self.temperature = check_temperature(call, temperature)
        if not isinstance(num_draws, int) or isinstance(num_draws, bool) or num_draws < 1:
            raise ValueError(
                f"GumbelRao(num_draws={num_draws!r}): the number of draws is an integer of at "
                "least 1, such as 10."
            )
        self.num_draws = num_draws

    def draw(self, site: Site, uniform: Tensor) -> Tensor:
        """The hard draw with the mean slope of the relaxed ones."""
        check_uniforms(self.name, site, uniform, "the slope of its relaxation")
        fn, number = site.fn, self.num_draws
        hard = fn.draw(uniform)
        residual, probability = residual_and_probability(fn, hard, uniform)
        injected = [
            noise_given_state(fn, hard, probability, (residual + k / number) % 1)
            for k in range(number)
        ]
        return hard_with_path(hard, fn.relaxed_path(injected, self.temperature))

    def __repr__(self) -> str:
        return f"GumbelRao(temperature={self.temperature!r}, num_draws={self.num_draws})"
