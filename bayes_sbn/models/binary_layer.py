r"""A dense layer with ±1 weights: ``a_j = s_j sum_i w_ji x_i + b_j``.

The weights are a ``PyroSample`` with a Bernoulli prior, whose log-odds are a buffer; the scale of
each unit (positive) and its bias are real parameters.  The scale starts at ``1 / sqrt(inputs)``, so
that pre-activations of ±1 inputs start with unit variance and the injected noise neither drowns nor
vanishes.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from pyro.distributions import constraints
from pyro.nn import PyroModule, PyroParam, PyroSample
from torch import Tensor

from bayes_sbn.affines import Affine, affine
from bayes_sbn.distributions import SignBernoulli


class WeightPrior:
    """``P(w = +1) = sigmoid(layer.prior_logit)``; a picklable PyroSample prior."""

    def __call__(self, layer: BinaryLinear) -> SignBernoulli:
        """The prior of the layer's weights."""
        logit = layer._buffers["prior_logit"]
        assert logit is not None
        shape = torch.Size([layer.out_features, layer.in_features])
        return SignBernoulli(logits=logit, validate_args=False).expand(shape).to_event(2)


class BinaryLinear(PyroModule):
    """Dense layer with ±1 weights, a scale and a bias per unit.

    Args:
        in_features: number of inputs.
        out_features: number of units.
        prior_logit: log-odds of +1 in the prior.
    """

    prior_logit: Tensor
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
        self.register_buffer("prior_logit", torch.full((), float(prior_logit)))
        self.weight = PyroSample(WeightPrior())

    def set_prior_logit(self, logit: Tensor) -> None:
        """Another prior: log-odds of +1, of shape () or that of the weights."""
        like = self.prior_logit
        self._buffers["prior_logit"] = logit.detach().clone().to(like.device, like.dtype)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        saved = state_dict.get(f"{prefix}prior_logit")
        if saved is not None and saved.shape in ((), (self.out_features, self.in_features)):
            self.set_prior_logit(saved)  # one number or many, whatever this layer has so far
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(self, x: Tensor) -> Affine:
        """The lazy pre-activation."""
        return affine(x, self.weight, self.bias, scale=self.scale)

    def extra_repr(self) -> str:
        """For printing."""
        return f"{self.in_features}, {self.out_features}"
