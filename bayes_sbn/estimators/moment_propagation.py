r"""Analytic propagation of moments (AP2): means in place of draws, variances carried along.

A ±1 site passes on its mean m, and with it its second moment, which is 1.  A dense layer of such
operands has the mean and the variance of :mod:`bayes_sbn.affines.moments`; a unit's noise absorbs
the variance, so that the mean of the next states is

    E[x_j] = 2 F( E[a_j] / sqrt(1 + Var[a_j] / Var[Z]) ) - 1,

and likelihoods are those of :mod:`bayes_sbn.distributions.likelihoods` under moments.  Nothing is
drawn: one pass gives one number and its exact gradient.  The approximations are that the units of a
layer are taken for independent given the data, their pre-activations for normal, and the noise
together with them for a stretched copy of the noise (exact for Gaussian noise).

At the weights alone, with activations drawn by another estimator, only the last two remain: the
rows of a layer's weights are independent, so that its units are independent given the states below.
That is the local reparametrisation of ±1 weights, whose normal pre-activation need not even be
drawn where a noisy sign follows.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from bayes_sbn.estimators.estimator import (
    Estimator,
    Site,
    refuse_values,
    register_estimator,
)


@register_estimator("ap2")
class MomentPropagation(Estimator):
    """The mean in place of a draw, for dense layers that propagate means and variances.

    Biased: the loss is that of an approximation, of which it is the exact gradient.
    Costs: one forward and one backward pass; of each layer, one or two more matrix products.
    """

    unbiased: ClassVar[bool | str] = False
    output: ClassVar[str] = "moments"
    reference: ClassVar[str] = "Shekhovtsov & Flach 2019; Peters & Welling 2018"

    def draw(self, site: Site, uniform: Tensor) -> Tensor:
        """``E[x]``; the uniforms are not used."""
        refuse_values(self.name, site, uniform)
        return site.fn.mean_path()
