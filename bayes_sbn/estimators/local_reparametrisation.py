r"""Local reparametrisation of ±1 weights: pre-activations by their moments, weights never drawn.

Given the states below, the pre-activation of a unit is a sum over its row of independent ±1 weights
of means mu, for ±1 inputs

    a_j ~ N( s_j sum_i mu_ji x_i + b_j,  s_j^2 sum_i (1 - mu_ji^2) ),

by the central limit theorem.  The classical estimator draws a_j, and a stochastic binary unit then
``sign(a_j - Z_j)``; here the two are one draw, of the noise that has absorbed the variance
(:mod:`bayes_sbn.affines.moments`): exactly the same law for Gaussian noise, one of the same
variance for others.  Units of a layer have rows of their own, so they are independent as before,
and their states may be drawn and differentiated by any estimator of activations.
"""

from __future__ import annotations

from typing import ClassVar

from bayes_sbn.estimators.estimator import Estimator, register_estimator
from bayes_sbn.estimators.moment_propagation import MomentPropagation
from bayes_sbn.estimators.weights_alone import WeightsAlone


@register_estimator("local_reparametrisation")
class LocalReparametrisation(WeightsAlone, MomentPropagation):
    """Weights by their moments, activations by another estimator.

    Biased: as the sum over the weights of a unit is not normal, and by what the estimator of the
    activations is.  The draws of the weights add no variance.
    Reduces to: the estimator of the activations, on fixed weights, as the means go to ±1.
    Costs: what the estimator of the activations does, and one more matrix product where inputs are
    real; draws of the weights are spared.  PSA's flips of inputs are those of real weights, the
    means, which are evaluated entry by entry: ``activations="st"`` is cheaper.

    Args:
        activations: the estimator of all sites that are not weights, a registered name or an
            instance.
    """

    unbiased: ClassVar[bool | str] = False
    output: ClassVar[str] = "moments"
    reference: ClassVar[str] = "Kingma et al. 2015; Peters & Welling 2018 (±1 weights)"

    def __init__(self, activations: str | Estimator = "psa") -> None:
        super().__init__(activations)

    def __repr__(self) -> str:
        return f"LocalReparametrisation({self.activations!r})"
