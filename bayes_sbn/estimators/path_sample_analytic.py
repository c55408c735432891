r"""Path sample-analytic (PSA): one sampled path, and exact flips along it.

**Theorem** (Shekhovtsov, Yanush, Flach, 2020).  For a layer of independent ±1 units with
``P(x_i = +1) = p_i(theta)`` and any function V of the layer,

    dE[V]/dtheta = E_x sum_i (dp_i / dtheta) [V(x | x_i = +1) - V(x | x_i = -1)].

Where V is the expected loss through further layers, the difference is pushed down by keeping
only the terms in which one unit's factor differs,

    g^{k-1}_i = sum_j [F(a^k_j | x_i = +1) - F(a^k_j | x_i = -1)] g^k_j,
    g^L_j     = f(x | x_j = +1) - f(x | x_j = -1),

along one jointly sampled path.  The last hidden layer is exact, and so is everything where a flip
changes at most one unit of the next layer; elsewhere the bias is of second order in the effects of
single flips.

In an autograd graph ``g / 2`` is the gradient in x.  The draw is therefore straight-through's, and
only the children differ: they answer with flips (:mod:`bayes_sbn.affines.flips`,
:mod:`bayes_sbn.affines.convolution_flips`) where straight-through takes derivatives.  With ±1
weights on ±1 inputs all flips of a layer, of its inputs and of its weights, are one matrix product
or convolution each.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from bayes_sbn.estimators.estimator import Estimator, Site, register_estimator
from bayes_sbn.estimators.straight_through import straight_through
from bayes_sbn.signs import FlipRule


@register_estimator("psa")
class PathSampleAnalytic(Estimator):
    """Hard draw, backward of the mean, exact flips in the children.

    Unbiased: one hidden layer (±1 or real weights), and chains in which each flip reaches one unit
    of the next layer.  Biased, to second order in the flips, in deeper networks, and for ±1 kernels
    of convolutions, whose flips reach many units, bits with two paths to the loss (skips), and
    windows of a max pooling that overlap.
    Reduces to: straight-through, where F is linear on the flips and the head is affine.
    Costs: one forward and one backward pass; ±1 weights need no more products than
    straight-through.

    Args:
        real_inputs: how ±1 weights flip on real inputs, ``"series"`` (two terms) or ``"exact"``.
        rao_blackwell: whether the log-likelihood of observed data is averaged over redraws of one
            bit of the last layer: the same expectation, and less variance of the value and of the
            gradients of the head's parameters; all other gradients stay what they are.
    """

    unbiased: ClassVar[bool | str] = "one dense hidden layer; width-1 chains"
    reference: ClassVar[str] = "Shekhovtsov, Yanush & Flach 2020"

    def __init__(self, *, real_inputs: str = "series", rao_blackwell: bool = False) -> None:
        if not isinstance(rao_blackwell, bool):
            raise TypeError(
                f"PathSampleAnalytic(rao_blackwell={rao_blackwell!r}): it is True or False."
            )
        self.flip = FlipRule(real_inputs=real_inputs, rao_blackwell=rao_blackwell)

    def draw(self, site: Site, uniform: Tensor) -> Tensor:
        """Straight-through's draw; the flip rule is in what the children do with it."""
        return straight_through(site.fn, uniform)

    def __repr__(self) -> str:
        rule = self.flip or FlipRule()
        options = f"real_inputs={rule.real_inputs!r}, rao_blackwell={rule.rao_blackwell}"
        return f"PathSampleAnalytic({options})"
