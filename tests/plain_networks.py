"""Small posteriors, models and guides for the tests of everything below Pyro."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from bayes_sbn.posterior import Posterior
from bayes_sbn.posterior_layer import PosteriorLayer
from tests.chance import numpy_generator
from tests.oracle_networks import Net


def random_posterior(
    sizes: Sequence[int] = (5, 8, 6, 3),
    noises: Sequence[str] = ("logistic", "gaussian"),
    *,
    label: str = "posterior",
    input_scale: float = 2.0**-10,
    **options: object,
) -> Posterior:
    """A posterior with weights of all certainties, 0 and 1 included, and scales of both signs."""
    g = numpy_generator(label)
    layers = []
    for site, noise in enumerate((*noises, None)):
        out, num_inputs = sizes[site + 1], sizes[site]
        p = 1 / (1 + np.exp(-3 * g.normal(size=(out, num_inputs))))
        p.flat[0], p.flat[-1] = 0.0, 1.0
        layers.append(
            PosteriorLayer(
                name=f"layer{site}",
                site=site,
                probabilities=p,
                scale=g.normal(size=out) / num_inputs**0.5,
                bias=g.normal(size=out) / 2,
                noise=noise,
                noise_scale=1.25,
                prior=0.5 if site else g.uniform(0.2, 0.8, size=(out, num_inputs)),
            )
        )
    return Posterior(tuple(layers), input_scale, **options)


def posterior_of(net: Net, input_scale: float) -> Posterior:
    """The posterior of an oracle's network."""
    layers = []
    for site, (name, layer) in enumerate(net.maps):
        layers.append(
            PosteriorLayer(
                name=name,
                site=site,
                probabilities=(1 + layer.weight_mean) / 2,
                scale=layer.scale,
                bias=layer.bias,
                noise=None if name == "head" else net.noise,
                noise_scale=net.noise_scale,
            )
        )
    return Posterior(tuple(layers), input_scale)


class PlainModel:
    """What a model must be to be exported: a dict."""

    def __init__(self, **changes: object) -> None:
        g = torch.Generator().manual_seed(3)
        self.layers: list[dict[str, object]] = [
            {
                "name": "hidden.0",
                "weight_site": "hidden.0.weight",
                "scale": torch.rand(4, generator=g, dtype=torch.float32).requires_grad_(),
                "bias": torch.randn(4, generator=g, dtype=torch.float64),
                "noise": "logistic",
                "noise_scale": 1.5,
            },
            {
                "name": "output",
                "weight_site": "output.weight",
                "scale": torch.rand(2, generator=g, dtype=torch.float64),
                "bias": torch.randn(2, generator=g, dtype=torch.float64),
                "noise": None,
                "noise_scale": 1.0,
            },
        ]
        self.changes = changes

    def architecture(self) -> Mapping[str, object]:
        """As :mod:`bayes_sbn.posterior_export` says."""
        return {
            "likelihood": "categorical",
            "input_scale": 2.0**-12,
            "layers": self.layers,
            **self.changes,
        }


class PlainGuide:
    """What a guide must be to be exported: two dicts of probabilities."""

    def __init__(self) -> None:
        g = torch.Generator().manual_seed(4)
        self.posterior = {
            "hidden.0.weight": torch.rand(4, 3, generator=g, dtype=torch.float64),
            "output.weight": torch.rand(2, 4, generator=g, dtype=torch.float64),
        }
        self.prior = {
            "hidden.0.weight": torch.full((4, 3), 0.25, dtype=torch.float64),
            "output.weight": torch.rand(2, 4, generator=g, dtype=torch.float64),
        }

    def weight_probabilities(self) -> Mapping[str, object]:
        """``P(w = +1)`` by site."""
        return self.posterior

    def prior_probabilities(self) -> Mapping[str, object]:
        """The prior's."""
        return self.prior
