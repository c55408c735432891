r"""The mean in place of a ±1 weight: the forward pass of PMF, MD-softmax and MD-tanh.

    w = E[w] = mu = tanh(lam),      gradient dL/dmu at w = mu.

Nothing is drawn at the weights: the network that is trained has real weights in (-1, 1), and an
optimiser that anneals (:mod:`bayes_sbn.optim.md_tanh`) drives them to ±1.  Activations are
drawn by another estimator.

References:
    Ajanthan, Dokania, Hartley, Torr. Proximal mean-field for neural network quantization. ICCV
        2019.
    Ajanthan, Gupta, Torr, Hartley, Dokania. Mirror descent view for neural network quantization.
        AISTATS 2021.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from bayes_sbn.estimators.estimator import Site, refuse_values, register_estimator
from bayes_sbn.estimators.weights_alone import WeightsAlone


@register_estimator("mean")
class MeanWeights(WeightsAlone):
    """Means in place of draws of the weights; activations by another estimator.

    Biased: the loss is that of a network of real weights, and its gradient that at the mean, which
    is the expectation's where the loss is linear in each weight.
    Reduces to: the estimator of the activations, on fixed weights, as the means go to ±1.
    Costs: what the estimator of the activations does.  PSA's flips of inputs are those of real
    weights, which are evaluated entry by entry: ``activations="st"``, the default, is cheaper.

    Args:
        activations: the estimator of all sites that are not weights, a registered name or an
            instance.
    """

    unbiased: ClassVar[bool | str] = False
    output: ClassVar[str] = "relaxed"
    reference: ClassVar[str] = "Ajanthan et al. 2019, 2021"

    def draw(self, site: Site, uniform: Tensor) -> Tensor:
        """``E[w]``; the uniforms are not used."""
        refuse_values(self.name, site, uniform)
        return site.fn.mean_path()

    def __repr__(self) -> str:
        return f"MeanWeights({self.activations!r})"
