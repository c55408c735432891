r"""What estimators of ±1 weights alone have in common: they leave activations to another one."""

from __future__ import annotations

import torch

from bayes_sbn.distributions import SignBernoulli, SignDistribution
from bayes_sbn.estimators.estimator import Estimator, get_estimator


class WeightsAlone(Estimator, torch.nn.Module):
    """An estimator of weights, and the one of all other sites.

    A torch module, of which an estimator of the activations with state is a part, so that what it
    has learned is saved and trained with the rest.

    Args:
        activations: the estimator of all sites that are not weights, a registered name or an
            instance.
    """

    def __init__(self, activations: str | Estimator = "st") -> None:
        torch.nn.Module.__init__(self)
        self.activations = get_estimator(activations)

    def for_site(self, fn: SignDistribution) -> Estimator:
        """Itself for weights, which are :class:`~bayes_sbn.SignBernoulli`."""
        return self if isinstance(fn, SignBernoulli) else self.activations.for_site(fn)
