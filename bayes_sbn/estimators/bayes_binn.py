r"""The weights of BayesBiNN: relaxed, with the derivative as its published code computes it.

    w = tanh((lam + delta) / tau),      delta = logit(u) / 2,      mu = tanh(lam),
    dw/dmu := (1 - w^2 + 1e-10) / tau / (1 - mu^2 + 1e-10).

Without the two 1e-10 this is the Concrete relaxation (:mod:`bayes_sbn.estimators.concrete`), whose
derivatives here do not cancel.  With them, and computed as written, it is what the published
results were obtained with; the step that goes with it is :mod:`bayes_sbn.optim.bayes_binn`.

**Degeneracy.**  At the published temperature, tau = 1e-10, ``1 - w^2`` is 0 in float32 for all
weights, and ``1 - mu^2`` for all that have decided, which at the published start, lam = ±10, is
every one.  The derivative is then the constant ``1e-10 / tau / 1e-10``, and lam a running average
of ``-gradient / tau`` beside which delta is nothing: the forward weights are the signs of that
average, as those of :class:`bayes_sbn.optim.Bop` with threshold 0, and no posterior is inferred.
At moderate lam the derivative is ``1 / (1 - mu^2)``, which is that of no expectation either.  A
draw in which more than half of the ``1 - w^2`` are 0 warns.

Reference:
    Meng, Bachmann, Khan. Training binary neural networks using the Bayesian learning rule. ICML
    2020.
"""

from __future__ import annotations

import warnings
from typing import ClassVar

import torch
from torch import Tensor

from bayes_sbn.estimators.estimator import Estimator, Site, check_uniforms, register_estimator
from bayes_sbn.estimators.injected_noise import check_temperature, injected_noise
from bayes_sbn.estimators.weights_alone import WeightsAlone

OFFSET = 1e-10
"""What the published code adds to ``1 - w^2`` and to ``1 - mu^2``."""

PUBLISHED_TEMPERATURE = 1e-10
"""That of the published experiments on images, but for CIFAR-100 (1e-8)."""

DEGENERATE = 0.5
"""The share of vanished derivatives from which a draw warns."""


@register_estimator("bayes_binn")
class BayesBiNN(WeightsAlone):
    """Relaxed weights with BayesBiNN's derivative; activations by another estimator.

    Biased: as the Concrete relaxation is, and by the numbers that are added to its derivative.
    Reduces to: ``"concrete"`` at the weights, at temperatures near 1; the sign of a running average
    of gradients at small ones and a decided start, of which it warns.
    Costs: one forward and one backward pass, on real weights.

    Args:
        temperature: of the relaxation, positive; published results are at 1e-10, toy problems at
            1.
        activations: the estimator of all sites that are not weights, a registered name or an
            instance.
    """

    unbiased: ClassVar[bool | str] = False
    output: ClassVar[str] = "relaxed"
    reference: ClassVar[str] = "Meng et al. 2020"

    def __init__(self, *, temperature: float = 1.0, activations: str | Estimator = "st") -> None:
        super().__init__(activations)
        self.temperature = check_temperature(f"BayesBiNN(temperature={temperature!r})", temperature)
        self._warned: set[str] = set()

    def draw(self, site: Site, uniform: Tensor) -> Tensor:
        """``tanh((lam + delta) / tau)``."""
        check_uniforms(self.name, site, uniform, "its relaxation")
        with torch.no_grad():
            half = site.fn.argument / 2  # lam
            delta = injected_noise(site.fn, uniform) / -2
            w = torch.tanh((half + delta) / self.temperature)
            mu = torch.tanh(half)
            rest = 1 - w * w
            mean_rest = 1 - mu * mu
            slope = (rest + OFFSET) / self.temperature / (mean_rest + OFFSET)
        self._look(site, rest, mean_rest)
        mean = site.fn.mean_path()
        return w + (mean - mean.detach()) * slope

    def _look(self, site: Site, rest: Tensor, mean_rest: Tensor) -> None:
        """Warn, once a site, where most derivatives of the relaxation have vanished."""
        if site.name in self._warned:
            return
        share = float((rest == 0).to(rest.dtype).mean())
        if share <= DEGENERATE:
            return
        self._warned.add(site.name)
        decided = float(((rest == 0) & (mean_rest == 0)).to(rest.dtype).mean())
        warnings.warn(
            f'estimator "{self.name}", site "{site.name}": at temperature {self.temperature} the '
            f"derivative 1 - w^2 of the relaxation is 0 in {str(rest.dtype).removeprefix('torch.')}"
            f" for {share:.1%} of the weights, and their gradient is what BayesBiNN adds to it, "
            f"{OFFSET}. For {decided:.1%} of the weights 1 - mu^2 is 0, too: they follow the sign "
            "of a running average of minus the gradient, as under sbn.optim.Bop with threshold 0, "
            'and have no posterior. Write sbn.optim.MirrorDescent with "psa", or a temperature '
            "near 1.",
            stacklevel=3,
        )

    def __repr__(self) -> str:
        return f"BayesBiNN(temperature={self.temperature!r}, activations={self.activations!r})"
