r"""Priors of ±1 weights as plain numbers by site, among them an earlier posterior.

    p(w_i = +1) = p_i     given as a dict    {site: number or one for each weight}

With the posterior of earlier data as the prior, ``KL(q || p)`` holds the weights where these data
had decided them, and lets go of those that they left open: variational continual learning (Nguyen,
Li, Bui & Turner 2018).  With exact posteriors it is Bayes' rule, datum after datum.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bayes_sbn.models.binary_layer import BinaryLinear


def sign_layers(model: torch.nn.Module) -> dict[str, BinaryLinear]:
    """The layers of ±1 weights of a model by their sites."""
    return {
        f"{name}.weight": layer
        for name, layer in model.named_modules()
        if isinstance(layer, BinaryLinear)
    }


def prior_of(layer: BinaryLinear) -> Tensor:
    """``P(w = +1)`` of each weight of a layer, (out, in), in float64 on the CPU."""
    logit = layer.prior_logit.detach().to("cpu", torch.float64)
    return torch.sigmoid(logit).expand(layer.out_features, layer.in_features)


def set_priors(
    call: str, layers: Mapping[str, BinaryLinear], probabilities: Mapping[str, Tensor | float]
) -> None:
    """Give layers their priors, all or none.

    Args:
        call: for messages.
        layers: by weight site.
        probabilities: ``P(w = +1)`` by weight site.
    """
    logits = {}
    for site, given in probabilities.items():
        if site not in layers:
            raise ValueError(
                f'{call}: "{site}" is no site of ±1 weights; these are '
                f"{', '.join(map(repr, layers))}."
            )
        p = torch.as_tensor(given, dtype=torch.float64).detach()
        shape = (layers[site].out_features, layers[site].in_features)
        if p.shape not in ((), shape):
            raise ValueError(
                f'{call}: the prior of "{site}" has shape {tuple(p.shape)}; it is one number for '
                f"all its weights, or of their shape {shape}."
            )
        if not bool(((p > 0) & (p < 1)).all()):
            raise ValueError(
                f'{call}: the prior of "{site}" has probabilities from {float(p.min()):g} to '
                f"{float(p.max()):g}; they lie strictly between 0 and 1, since a certain weight "
                "can learn nothing. Write probabilities.clamp(1e-6, 1 - 1e-6)."
            )
        logits[site] = torch.logit(p)
    for site, logit in logits.items():
        layers[site].set_prior_logit(logit)
