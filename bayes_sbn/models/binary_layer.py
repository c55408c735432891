r"""A dense layer with ±1 weights: ``a_j = s_j sum_i w_ji x_i + b_j``.

The weights are a ``PyroSample`` with a Bernoulli prior; the scale of each unit (positive) and its
bias are real parameters.  The scale starts at ``1 / sqrt(inputs)``, so that pre-activations of ±1
inputs start with unit variance and the injected noise neither drowns nor vanishes.
"""

from __future__ import annotations

import math

import torch
from pyro.distributions import constraints
from pyro.nn import PyroModule, PyroParam, PyroSample
from torch import Tensor

from bayes_sbn.affines import Affine, affine
from bayes_sbn.distributions import SignBernoulli


class WeightPrior:
    """``P(w = +1) = sigmoid(logit)`` for every weight of a layer; a picklable PyroSample prior."""

    def __init__(self, logit: float = 0.0) -> None:
        self.logit = logit

    def __call__(self, layer: BinaryLinear) -> SignBernoulli:
        """The prior of the layer's weights."""
        bias = layer._parameters["bias_unconstrained"]
        assert bias is not None
        one = torch.full((), self.logit, dtype=bias.dtype, device=bias.device)
        shape = torch.Size([layer.out_features, layer.in_features])
        return SignBernoulli(logits=one, validate_args=False).expand(shape).to_event(2)


class BinaryLinear(PyroModule):
    """Dense layer with ±1 weights, a scale and a bias per unit.

    Args:
        in_features: number of inputs.
        out_features: number of units.
        prior_logit: log-odds of +1 in the prior.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, in_features: int, out_features: int, *, prior_logit: float = 0.0) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        start = torch.full((out_features,), 1 / math.sqrt(in_features))
        self.scale = PyroParam(start, constraint=constraints.positive)
        self.bias = PyroParam(torch.zeros(out_features))
        self.weight = PyroSample(WeightPrior(prior_logit))

    def forward(self, x: Tensor) -> Affine:
        """The lazy pre-activation."""
        return affine(x, self.weight, self.bias, scale=self.scale)

    def extra_repr(self) -> str:
        """For printing."""
        return f"{self.in_features}, {self.out_features}"
