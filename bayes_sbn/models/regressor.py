r"""A fully connected network of ±1 weights and ±1 activations with a real target.

    x_0 = data,   x_k = sign(s_k * (W_k x_{k-1}) + b_k - Z_k),
    y ~ Normal(s * (W x_L) + b, sigma^2),

all W in {-1, +1}: the network of :class:`bayes_sbn.models.BinaryMLP` with one output and another
likelihood.  ``sigma`` is a parameter, one number for all rows; what rows have of their own is the
spread of the mean over weights and activations.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import pyro
import torch
from pyro.nn import PyroParam
from torch import Tensor
from torch.distributions import constraints

from bayes_sbn.affines import PreActivation
from bayes_sbn.distributions import AffineNormal
from bayes_sbn.models.mlp import BinaryMLP
from bayes_sbn.noise import Noise


class BinaryRegressor(BinaryMLP):
    """Fully connected network with ±1 weights and activations, and a real target.

    Args:
        in_features: number of inputs; centre them and scale them to about unit size.
        hidden: numbers of units of the hidden layers.
        num_data: number of training rows, by which mini-batches scale the likelihood.
        sigma: where the standard deviation of the target's noise begins; it is learned with the
            scales and biases.  Give the model targets of mean 0 and standard deviation 1, and
            predictions their units back by :meth:`bayes_sbn.RegressionPredictions.rescaled`.
        noise: law of the activations' noise, by name or as an object.
        prior_logit: log-odds of +1 of every ±1 weight in the prior.
        real: names of layers with real weights, as in :class:`bayes_sbn.models.BinaryMLP`.
        real_prior_scale: standard deviation of the real weights in the prior.
        normalisation: of the hidden layers, as in :class:`bayes_sbn.models.BinaryMLP`.

    Example:
        >>> import torch, bayes_sbn as sbn
        >>> model = sbn.models.BinaryRegressor(8, [50], num_data=506)
        >>> model(torch.randn(5, 8)).shape  # draws from the prior predictive
        torch.Size([5])
    """

    _target = "number"

    def __init__(
        self,
        in_features: int,
        hidden: Sequence[int],
        *,
        num_data: int | None = None,
        sigma: float = 1.0,
        noise: str | Noise = "logistic",
        prior_logit: float = 0.0,
        real: Collection[str] = (),
        real_prior_scale: float | None = None,
        normalisation: str | None = None,
    ) -> None:
        if not (isinstance(sigma, int | float) and math.isfinite(sigma) and sigma > 0):
            raise ValueError(
                f"BinaryRegressor(sigma={sigma!r}): the standard deviation of the targets' noise "
                "begins at a positive finite number. Write sigma=1.0 for targets of unit size."
            )
        super().__init__(
            in_features,
            hidden,
            1,
            num_data=num_data,
            noise=noise,
            prior_logit=prior_logit,
            real=real,
            real_prior_scale=real_prior_scale,
            normalisation=normalisation,
        )
        with pyro.settings.context(module_local_params=True):
            self.sigma = PyroParam(
                torch.tensor(float(sigma), dtype=self.output.bias.dtype), constraints.positive
            )

    def _observe(self, pre: PreActivation, y: Tensor | None) -> Tensor:
        """Sample the targets of the rows, or score them: the site has shape (rows, 1)."""
        law = AffineNormal(pre, self.sigma)
        target: Tensor = pyro.sample("y", law, obs=None if y is None else y.unsqueeze(-1))
        return target.squeeze(-1)

    def _check_outputs(self, number: int) -> None:
        """One output is what there is."""

    def _check_target(self, y: Tensor) -> None:
        """Raise if a target is not a finite number of the model's dtype."""
        wanted = self.output.bias.dtype
        if y.dtype != wanted:
            raise TypeError(
                f"BinaryRegressor(x, y): y is {y.dtype} but the model's parameters are {wanted}. "
                f"Write y.to({wanted})."
            )
        is_wrong = ~torch.isfinite(y)
        if is_wrong.any():
            raise ValueError(
                f"BinaryRegressor(x, y): y has NaN or infinite values, first in row "
                f"{int(is_wrong.nonzero()[0])}. Drop such rows."
            )

    def example(self) -> tuple[Tensor, Tensor]:
        """The arguments of one step on few rows, for what needs no more than their shapes."""
        x, _ = super().example()
        return x, x.new_zeros(len(x))

    def _likelihood(self) -> dict[str, Any]:
        """What the architecture says of the law of a target."""
        return {"likelihood": "normal", "sigma": self.sigma.detach().clone()}
