r"""Uniformly scaled straight-through: the derivative sampled along the bit's whole interval.

For a function f of one bit,

    [f(+1) - f(-1)] / 2 = 1/2 int_{-1}^{1} f'(s) ds = E[f'(t x) / 2 P(x)],   t uniform on [0, 1],

so that ``s = t x`` with the importance weight ``1 / 2 P(x)`` gives the derivative of an expectation
without bias, whatever f is: ``dx/da := F'(a) / P(x)``, and ``dx/dmu := 1 / (1 + x mu)`` for a ±1
weight.  Children must be differentiated at ``t x``, hence it is ``t x`` that they receive: the site
is relaxed.  t is what is left of the draw's uniform once the state is known
(:mod:`bayes_sbn.estimators.residual_uniform`).

In a layer of several bits the others are scaled too, where the identity asks for their states, and
the estimate is biased.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bayes_sbn.estimators.estimator import (
    Estimator,
    Site,
    check_uniforms,
    register_estimator,
)
from bayes_sbn.estimators.injected_noise import residual_and_probability
from bayes_sbn.signs import hard_with_path


@register_estimator("importance_st")
class ImportanceStraightThrough(Estimator):
    """The draw scaled by a uniform number, backward of the mean over ``2 P(x)``.

    Unbiased: one ±1 variable under any differentiable loss.  Biased elsewhere, under a multilinear
    loss of several bits too, as all are scaled at once.  The loss is that of the scaled states.
    Costs: one forward and one backward pass, on real numbers.  The variance has the factor of
    trapezoid straight-through, which grows without bound as P(x) goes to 0.
    """

    unbiased: ClassVar[bool | str] = "one bit, any loss"
    output: ClassVar[str] = "relaxed"
    reference: ClassVar[str] = "Pervez et al. 2020 (the core of FouST)"

    def draw(self, site: Site, uniform: Tensor) -> Tensor:
        """``t x``, backward of the mean over ``2 P(x)``."""
        check_uniforms(self.name, site, uniform, "its scaled state")
        fn = site.fn
        hard, mean = fn.draw(uniform), fn.mean_path()
        residual, probability = residual_and_probability(fn, hard, uniform)
        # uniforms have no finer resolution, so that no draw is less probable than that
        factor = 0.5 / probability.clamp_min(torch.finfo(probability.dtype).eps)
        return hard_with_path(hard * residual, mean * factor)
