r"""A dense layer with real weights: ``a_j = sum_i w_ji x_i + b_j``, ``w_ji ~ Normal(0, s^2)``.

The weights are a ``PyroSample`` like those of a ±1 layer, and the pre-activation the same lazy one,
so that estimators flip the ±1 inputs of the layer exactly; the weights themselves are drawn by
reparameterisation and get ordinary derivatives.  The prior scale is ``1 / sqrt(inputs)``, so that
pre-activations of inputs of unit size have unit variance, as those of ±1 layers at their start.
There is no scale beside the weights: they have one of their own.
"""

from __future__ import annotations

import math

import torch
from pyro.distributions import Distribution, Normal
from pyro.nn import PyroModule, PyroParam, PyroSample
from torch import Tensor

from bayes_sbn.affines import Affine, affine


class RealWeightPrior:
    """``Normal(0, scale)`` for every weight of a layer; a picklable PyroSample prior."""

    def __init__(self, scale: float) -> None:
        if not (math.isfinite(scale) and scale > 0):
            raise ValueError(
                f"RealWeightPrior(scale={scale}): a standard deviation is a positive finite "
                "number. Leave it out for 1 / sqrt(inputs)."
            )
        self.scale = scale

    def __call__(self, layer: RealLinear) -> Distribution:
        """The prior of the layer's weights."""
        bias = layer._parameters["bias_unconstrained"]
        assert bias is not None
        shape = torch.Size([layer.out_features, layer.in_features])
        law = Normal(bias.new_zeros(()), bias.new_full((), self.scale), validate_args=False)
        prior: Distribution = law.expand(shape).to_event(2)
        return prior


class RealLinear(PyroModule):
    """Dense layer with real weights and a bias per unit.

    Args:
        in_features: number of inputs.
        out_features: number of units.
        prior_scale: standard deviation of the weights in the prior; by default 1 / sqrt(inputs).
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self, in_features: int, out_features: int, *, prior_scale: float | None = None
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.prior_scale = 1 / math.sqrt(in_features) if prior_scale is None else prior_scale
        self.bias = PyroParam(torch.zeros(out_features))
        self.weight = PyroSample(RealWeightPrior(self.prior_scale))

    @property
    def scale(self) -> Tensor:
        """What multiplies the products, 1 for every unit: the weights have a scale of their own."""
        return torch.ones_like(self.bias)

    def forward(self, x: Tensor) -> Affine:
        """The lazy pre-activation."""
        return affine(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """For printing."""
        return f"{self.in_features}, {self.out_features}, prior_scale={self.prior_scale:.4g}"
