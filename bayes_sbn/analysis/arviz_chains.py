"""The posteriors whose draws are the chains, and the other laws of the same networks.

A chain is a restart: one of several posteriors, or a component of a mixture.  Beside the posterior
stands the prior, which has the same scales, biases and noise: these are parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from bayes_sbn.posterior import Posterior
    from bayes_sbn.posterior_chain import Layer

_CALL = "to_arviz()"
COMPONENTS = ("chains", "mixed")


def chains_of(posterior: object, components: str) -> list[Posterior]:
    """The posterior of each chain.

    Args:
        posterior: a posterior or several.
        components: ``"chains"``, where each component of a mixture is a chain, or ``"mixed"``.

    Raises:
        TypeError: it is none.
        ValueError: posteriors do not go together, or components cannot be chains.
    """
    from bayes_sbn.posterior import Posterior
    from bayes_sbn.posterior_components import check_components

    if components not in COMPONENTS:
        raise ValueError(
            f"to_arviz(components={components!r}): the components of a mixture are 'chains', one "
            "each, or 'mixed' in one chain. Write components='chains'."
        )
    given = list(posterior) if isinstance(posterior, list | tuple) else [posterior]
    if not given:
        raise ValueError(f"{_CALL}: the list of posteriors is empty. Give one at least.")
    chains: list[Posterior] = []
    for each in given:
        if not isinstance(each, Posterior):
            raise TypeError(
                f"{_CALL} needs a Posterior, or a list of those of restarts: received "
                f"{type(each).__name__}. Write posterior = Posterior.from_guide(model, guide)."
            )
        chains += _chains_of_one(each, components)
    for name in ("likelihood", "input_scale", "temperature"):
        found = sorted({str(getattr(chain, name)) for chain in chains})
        if len(found) > 1:
            raise ValueError(
                f"{_CALL}: the posteriors have {name} {', '.join(found)}, which is the same for "
                "all chains. Export them one by one."
            )
    check_components(
        [replace(c, weight=1 / len(chains)) for chain in chains for c in chain.components[:1]]
    )
    return chains


def _chains_of_one(posterior: Posterior, components: str) -> list[Posterior]:
    number = len(posterior.components)
    if number == 1 or components == "mixed":
        return [posterior]
    weights = [component.weight for component in posterior.components]
    if max(weights) - min(weights) > 1e-9:
        raise ValueError(
            f"to_arviz(components='chains'): the {number} components have the weights "
            f"{', '.join(f'{weight:.3g}' for weight in weights)}, and chains count equally. Write "
            "components='mixed' for one chain of draws of the mixture."
        )
    return [
        replace_components(posterior, [replace(component, weight=1.0)])
        for component in posterior.components
    ]


def replace_components(posterior: Posterior, components: Sequence[Any]) -> Posterior:
    """The same posterior with other components."""
    from bayes_sbn.posterior import Posterior

    return Posterior(components, posterior.input_scale, posterior.likelihood, posterior.temperature)


def prior_of(posterior: Posterior) -> Posterior:
    """The same networks with weights from the prior."""
    return replace_components(
        posterior,
        [
            replace(component, layers=tuple(map(_prior_layer, component.layers)))
            for component in posterior.components
        ],
    )


def _prior_layer(layer: Layer) -> Layer:
    known: Any = layer
    if layer.num_real_weights:
        drawn = np.broadcast_to(known.spread, known.loc.shape) > 0
        real: Layer = replace(
            known,
            loc=np.where(drawn, 0.0, known.loc),
            spread=np.where(drawn, known.prior_scale, 0.0),
            step=None,
        )
        return real
    return with_probabilities(layer, np.broadcast_to(known.prior, _shape(layer)))


def with_probabilities(layer: Layer, probabilities: Any) -> Layer:
    """A layer of independent ±1 weights with these probabilities, all else as it is."""
    from bayes_sbn.posterior_layer import PosteriorLayer

    known: Any = layer
    return PosteriorLayer(
        name=known.name,
        site=known.site,
        probabilities=probabilities,
        scale=known.scale,
        bias=known.bias,
        noise=known.noise,
        noise_scale=known.noise_scale,
        prior=known.prior,
        normalisation_eps=known.normalisation_eps,
    )


def _shape(layer: Layer) -> tuple[int, int]:
    return layer.num_units, layer.num_inputs
