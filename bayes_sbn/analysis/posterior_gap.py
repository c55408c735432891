r"""How far a law over few ±1 weights is from their exact posterior, all states listed.

For laws q and π over the same states, and the temperature T at which q was fitted to π,

.. math::
    \mathrm{TV} = \tfrac12 \sum_w |q(w) - \pi(w)|, \qquad
    \mathrm{KL}(q \,\|\, \pi) = \sum_w q(w) \log \frac{q(w)}{\pi(w)}, \qquad
    \mathrm{ELBO}_T(q) = T \log Z - T\, \mathrm{KL}(q \,\|\, \pi) .
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bayes_sbn.analysis.small_network import Float64, SmallNetwork, log_product
from bayes_sbn.metrics.arguments import to_numpy


@dataclass(frozen=True)
class PosteriorGap:
    """Distances of a law q over ±1 weights from their exact posterior; nats.

    Args:
        total_variation: the largest difference of the probabilities of any event, 0 to 1.
        kl_from: KL(q || posterior), what the ELBO of q loses, divided by the temperature; infinite
            where q has states that the posterior rules out.
        kl_to: KL(posterior || q); infinite where q rules out states that the posterior has.
        elbo: the bound that q attains, ``log_evidence - temperature * kl_from``.
    """

    total_variation: float
    kl_from: float
    kl_to: float
    elbo: float


def gap_between(
    log_q: Float64, log_p: Float64, temperature: float, log_evidence: float
) -> PosteriorGap:
    """The distances of q from the posterior p, both as log probabilities of all states."""
    return PosteriorGap(
        total_variation=float(0.5 * np.abs(np.exp(log_q) - np.exp(log_p)).sum()),
        kl_from=(kl_from := divergence(log_q, log_p)),
        kl_to=divergence(log_p, log_q),
        elbo=log_evidence - temperature * kl_from,
    )


def divergence(log_q: Float64, log_p: Float64) -> float:
    """``sum q log(q / p)``; states that q does not have count nothing."""
    there = log_q > -np.inf
    if np.any(log_p[there] == -np.inf):
        return math.inf
    total = (np.exp(log_q[there]) * (log_q[there] - log_p[there])).sum()
    return max(float(total), 0.0)  # below it by rounding only


def log_probs_of(call: str, q: Any, network: SmallNetwork) -> Float64:
    """Log probability of every state of the network's weights under q.

    Args:
        call: the call to name in errors.
        q: a guide, a posterior, or ``P(w = +1)`` by site.
        network: whose weights they are.
    """
    from bayes_sbn.posterior import Posterior

    if isinstance(q, Posterior):
        each = [
            (component.weight, _of_layers(call, component.layers, network))
            for component in q.components
        ]
    elif hasattr(q, "naturals_and_loadings"):
        raise _no_closed_form(call, type(q).__name__)
    elif hasattr(q, "component_weights"):
        weights = to_numpy(q.component_weights()).tolist()
        named = q.component_probabilities()
        each = [(w, _flat(call, own, network)) for w, own in zip(weights, named, strict=True)]
    elif hasattr(q, "weight_probabilities"):
        each = [(1.0, _flat(call, q.weight_probabilities(), network))]
    elif isinstance(q, Mapping):
        each = [(1.0, _flat(call, q, network))]
    else:
        raise TypeError(
            f"{call} needs a law over ±1 weights: received {type(q).__name__}. Pass a guide such "
            "as sbn.guides.AutoSignBernoulli, a sbn.Posterior, or a dict of P(w = +1) by site."
        )
    found = np.full(2**network.num_weights, -np.inf)
    for weight, p in each:
        if weight > 0:
            np.logaddexp(found, math.log(weight) + log_product(p), out=found)
    return found


def _flat(call: str, named: Mapping[str, object], network: SmallNetwork) -> Float64:
    """Probabilities by site as those of all weights in their order."""
    sites = network.sites
    if set(named) != set(sites):
        raise ValueError(
            f"{call}: the law has weights at {', '.join(named) or 'no site'}, and the exact "
            f"posterior at {', '.join(sites)}. Pass the guide of the same model."
        )
    found = []
    for site, shape in sites.items():
        p = to_numpy(named[site]).astype(np.float64)
        if p.shape != shape:
            raise ValueError(
                f'{call}: the law of "{site}" has shape {p.shape} and the weights {shape}. Pass '
                "P(w = +1) for each weight."
            )
        if not ((p >= 0) & (p <= 1)).all():
            raise ValueError(
                f'{call}: P(w = +1) of "{site}" reaches from {p.min():g} to {p.max():g}; '
                "probabilities lie in [0, 1]. A mean mu of ±1 weights is (1 + mu) / 2."
            )
        found.append(p.ravel())
    return np.concatenate(found)


def _of_layers(call: str, layers: Any, network: SmallNetwork) -> Float64:
    """Probabilities of the ±1 weights of a posterior's layers, matched by their order."""
    from bayes_sbn.posterior_layer import PosteriorLayer

    signs = [layer for layer in layers if layer.num_weights]
    for layer in signs:
        if not isinstance(layer, PosteriorLayer):
            raise _no_closed_form(call, f'layer "{layer.name}"')
    shapes = [layer.probabilities.shape for layer in signs]
    if shapes != list(network.sites.values()):
        raise ValueError(
            f"{call}: the posterior has ±1 weights of shapes {shapes}, and the exact posterior of "
            f"{list(network.sites.values())}. Pass the posterior of the same model."
        )
    return np.concatenate([layer.probabilities.ravel() for layer in signs])


def _no_closed_form(call: str, what: str) -> TypeError:
    return TypeError(
        f"{call}: the weights of {what} share normal factors, so that their states have no "
        "probability in closed form. Pass a mean-field or a mixture guide, or its posterior."
    )
