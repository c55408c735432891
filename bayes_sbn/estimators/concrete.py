r"""The Concrete relaxation: a real number between -1 and 1 in place of the draw.

With the noise ``Z = F^{-1}(u)`` that would decide the draw ``sign(a - Z)``, a unit of noise scale s
takes the value

    x = tanh((a - Z) / 2 s tau),

and back-propagation goes through it.  For logistic noise this is the binary Concrete variable of
temperature tau on ±1; for other noises it smooths the same comparison.  A ±1 weight of natural
parameter lam is the unit with ``a = 2 lam`` and logistic noise, ``w = tanh((lam - Z / 2) / tau)``,
and the gradient arrives in its mean: ``dw/dmu = (1 - w^2) / tau (1 - mu^2)``.

What is differentiated, without bias, is the expected loss of the *relaxed* network.  It tends to
that of the binary network as tau goes to 0, where the variance of the gradient grows like 1 / tau.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from bayes_sbn.estimators.estimator import (
    Estimator,
    Site,
    check_uniforms,
    register_estimator,
)
from bayes_sbn.estimators.injected_noise import (
    check_temperature,
    injected_noise,
)


@register_estimator("concrete")
class Concrete(Estimator):
    """Relaxed draw, back-propagation through it; children receive real numbers.

    Biased: it differentiates another network, the relaxed one, whose value the loss is, too.  The
    bias goes to 0 with the temperature, and the variance then to infinity.
    Reduces to: the hard draws of the same uniforms, as the temperature goes to 0.
    Costs: one forward and one backward pass, on real numbers.

    Args:
        temperature: in units of the noise's scale, positive.
    """

    unbiased: ClassVar[bool | str] = False
    output: ClassVar[str] = "relaxed"
    reference: ClassVar[str] = "Maddison et al. 2017; Jang et al. 2017"

    def __init__(self, *, temperature: float = 0.5) -> None:
        self.temperature = check_temperature(f"Concrete(temperature={temperature!r})", temperature)

    def draw(self, site: Site, uniform: Tensor) -> Tensor:
        """``tanh((a - Z) / 2 s tau)``."""
        check_uniforms(self.name, site, uniform, "its relaxation")
        return site.fn.relaxed_path((injected_noise(site.fn, uniform),), self.temperature)

    def __repr__(self) -> str:
        return f"Concrete(temperature={self.temperature!r})"
