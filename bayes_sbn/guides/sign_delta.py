r"""The point posterior over ±1 weights: a deterministic binary network, fitted as MAP.

    q(w) = 1 for w = sign(v),     loss = E[-log p(y | w, .)] - T log p(w),

since the divergence of a point mass from a discrete prior is ``-log p(w)``.  The real leaves v get
the gradient in the weights: the derivative (straight-through) or the exact difference between both
signs (PSA), and remember small steps until they have added up to a flip.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from pyro.nn import PyroModule
from torch import Tensor

from bayes_sbn.distributions import SignDelta
from bayes_sbn.guides.auto_sign import INITIAL_SPREAD, AutoSign
from bayes_sbn.guides.real_start import matched_layers, set_units, sign_start


class AutoSignDelta(AutoSign):
    """Deterministic ±1 weights, the signs of real leaves; activations stay random.

    Parameters, their being there from the start, and the arguments are those of
    :class:`AutoSignBernoulli`.  :class:`bayes_sbn.optim.MirrorDescent` steps the leaves as it steps
    natural parameters: ``v <- v - lr * gradient``, clamped; :class:`bayes_sbn.optim.LatentWeights`
    by any rule of torch, and :class:`bayes_sbn.optim.Bop` flips them.  A posterior of it has
    probabilities 0 and 1: all draws share their weights.

    Estimators: ``"psa"``, ``"st"``, ``"local"``, ``"bitflip1"``, ``"exact"``, and those by moments;
    others need weights that are spread out, and say so.

    Args:
        model: a Pyro model whose latent sites are ``SignBernoulli`` weights, outside subsampled
            plates, and ``NoisySign`` activations.
        example: arguments of one call of the model, to find the sites of a callable.
        init_scale: standard deviation of the leaves at the start: what a flip costs in steps.
        generator: of the initial values; default torch's global one.

    Example:
        >>> import bayes_sbn as sbn
        >>> model = sbn.models.BinaryMLP(4, [8], 3, num_data=100)
        >>> guide = sbn.guides.AutoSignDelta(model)
        >>> guide.weight_probabilities()["output.weight"].unique()
        tensor([0., 1.], dtype=torch.float64)
    """

    @classmethod
    def from_real(
        cls, model: PyroModule, network: torch.nn.Module, *, spread: float = INITIAL_SPREAD
    ) -> Self:
        """A guide that starts at the signs of a trained real network; the model's units do too.

        Scales are those that come nearest to the real weights, biases the real ones
        (:mod:`bayes_sbn.guides.real_start`).

        Args:
            model: a network of dense ±1 layers such as :class:`bayes_sbn.models.BinaryMLP`, whose
                scales and biases are overwritten.
            network: a ``torch.nn.Sequential`` of as many ``Linear`` layers of the same shapes, with
                ``Tanh``, ``Sigmoid`` or ``Hardtanh`` between them.
            spread: root mean square of the leaves of each unit: what a flip costs in steps.
        """
        guide = cls(model)
        shapes = {name: prior.shape for name, prior in guide._priors.items()}
        layers = matched_layers(f"{cls.__name__}.from_real", model, network, shapes)
        weights = {site: layer.weight for site, layer in layers.items()}
        set_units(model, layers, guide.start_from(weights, spread=spread))
        return guide

    def start_from(
        self, weights: Mapping[str, Tensor], *, spread: float = INITIAL_SPREAD
    ) -> dict[str, Tensor]:
        """Start sites at the signs of real weights; returns the scales that come nearest to them.

        Args:
            weights: real weights by site, of the sites' shapes; units are along dim 0.
            spread: root mean square of the leaves of each unit.

        Returns:
            The scales by site, (units,) in float64: the mean size of each unit's weights.
        """
        starts = {
            name: sign_start(call, weight, spread)
            for call, name, weight in self._checked_starts(weights)
        }
        for name, (latent, _) in starts.items():
            with torch.no_grad():
                self.leaf(name).copy_(latent)
        return {name: scale for name, (_, scale) in starts.items()}

    def law(self, leaf: Tensor) -> SignDelta:
        """All mass on the signs of ``leaf``."""
        return SignDelta(leaf)

    def _is_point(self) -> bool:
        return True

    def weight_probabilities(self) -> dict[str, Tensor]:
        """``P(w = +1)`` of each ±1 weight site, 0 or 1, in float64 on the CPU."""
        found = super().weight_probabilities()
        for name in found:
            if torch.isnan(self.leaf(name)).any():
                raise ValueError(
                    f'AutoSignDelta.weight_probabilities: leaves of site "{name}" are NaN, which '
                    "has no sign: the fit has diverged. Fit again with a smaller learning rate."
                )
        return found
