r"""RELAX: REBAR with a control that is learned.

    k(r) = eta c(r) + s n(r, a),

where c(r) is the cost of the relaxed network, as in :mod:`bayes_sbn.estimators.rebar`, n a network
of the relaxed draw r and of the parameters a of the site's law, and s the deviation of the site's
costs at earlier steps, so that n sees and gives numbers of size 1 whatever the loss is scaled by.
The estimate is unbiased whatever n is; n is trained on its square, whose expectation is the
variance and a constant, in the step that uses it.

The default network has one hidden layer for each site,

    n(r, a) = v_0 + sum_h v_h tanh(V_h (r, mu, 1)),      mu = 2 F(a) - 1,

with ``v = 0`` at the start, where RELAX is REBAR.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from bayes_sbn.estimators.estimator import Rerun, Site, register_estimator
from bayes_sbn.estimators.rebar import Rebar
from bayes_sbn.estimators.site_tensors import SiteTensors


@register_estimator("relax")
class Relax(Rebar):
    """Hard draw without gradient; ``log q`` weighed by the cost less a learned control.

    Unbiased: always, whatever has been learned.  It starts as REBAR and is trained on the square of
    the estimate.  The first step of a site has no learned part.
    Costs: two passes, and a backward pass through the second; one where ``eta`` is 0.

    A torch module, whose parameters ``TraceEstimator_ELBO`` shows to SVI.  They belong to one
    network: give a fresh instance to another.

    Args:
        network: a torch module that is called with the relaxed draw and the parameters of the
            site's law (pre-activations of units, natural parameters of weights), each of shape
            (*batch, number of bits), and returns one number a batch element; it must be
            differentiable in the former.  None: a small one for each site.
        width: hidden units of the default network.
        temperature: of the relaxation, in units of the noise's scale, positive.
        eta: how much of the relaxed cost is subtracted, a number, or ``"learned"``.
    """

    unbiased: ClassVar[bool | str] = True
    passes: ClassVar[int | str] = 2
    reference: ClassVar[str] = "Grathwohl et al. 2018"

    def __init__(
        self,
        network: torch.nn.Module | None = None,
        *,
        width: int = 16,
        temperature: float = 1.0,
        eta: float | str = 1.0,
    ) -> None:
        if network is not None and not isinstance(network, torch.nn.Module):
            raise TypeError(
                f"Relax(network={network!r}): the network is a torch module or None, which makes a "
                "small one for each site."
            )
        if not isinstance(width, int) or isinstance(width, bool) or width < 1:
            raise ValueError(
                f"Relax(width={width!r}): the width is a whole number of at least 1, such as 16."
            )
        super().__init__(temperature=temperature, eta=eta)
        self.network = network
        self.width = width
        self.inner = SiteTensors(trained=True)
        """The first layers of default networks by site, (width, 2 bits + 1)."""
        self.outer = SiteTensors(trained=True)
        """Their last layers by site, (1 + width,)."""

    @property
    def is_learned(self) -> bool:
        """Always."""
        return True

    def control(
        self, site: Site, relaxed: Tensor, deviation: Tensor | None, rerun: Rerun
    ) -> tuple[Tensor, Tensor]:
        """``eta c(r) + s n(r, a)`` and its derivative in r, in the graph of what is learned."""
        if self.eta == 0:
            value = relaxed.new_zeros(site.fn.batch_shape)
            slope = torch.zeros_like(relaxed)
        else:
            value, slope = super().control(site, relaxed, deviation, rerun)
        number = self._number(site, relaxed)
        if deviation is None:
            return value, slope
        (change,) = torch.autograd.grad(
            number.sum(), relaxed, create_graph=True, allow_unused=True, materialize_grads=True
        )
        return value + deviation * number, slope + deviation * change

    def _number(self, site: Site, relaxed: Tensor) -> Tensor:
        """What the network makes of a draw, in deviations of the costs."""
        batch = site.fn.batch_shape
        bits = relaxed.reshape(*batch, -1)
        if self.network is None:
            return self._default(site, bits)
        given = site.fn.parameter.detach().expand(site.shape).reshape(*batch, -1)
        number: Tensor = self.network(bits, given)
        if number.shape == (*batch, 1):
            number = number.squeeze(-1)
        if number.shape != batch:
            raise ValueError(
                f'estimator "relax", site "{site.name}": the network was given twice '
                f"{tuple(bits.shape)} and returned {tuple(number.shape)}; it must return "
                f"{tuple(batch)}, or that with a last dim of 1."
            )
        return number

    def _default(self, site: Site, bits: Tensor) -> Tensor:
        mean = site.fn.mean_path().detach().expand(site.shape).reshape(bits.shape)
        features = torch.cat([bits, mean, torch.ones_like(bits[..., :1])], -1)
        if site.name not in self.inner:
            self.inner[site.name] = _first_layer(self.width, features)
            self.outer[site.name] = features.new_zeros(1 + self.width)
        inner, outer = self.inner[site.name], self.outer[site.name]
        return outer[0] + torch.tanh(features @ inner.T) @ outer[1:]

    def __repr__(self) -> str:
        network = type(self.network).__name__ if self.network is not None else None
        return (
            f"Relax({network}, width={self.width}, temperature={self.temperature!r}, "
            f"eta={self.eta!r})"
        )


def _first_layer(width: int, features: Tensor) -> Tensor:
    """Numbers of variance 1 / inputs, always the same ones: no chance of the caller's is used."""
    inputs = features.shape[-1]
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(width, inputs, generator=generator, dtype=torch.float64)
    scaled: Tensor = start / math.sqrt(inputs)
    return scaled.to(features)
