"""Models with guides for the tests of PackedPredictive, and what Predictive returns for them."""

import pyro
import torch
from pyro.infer import Predictive
from pyro.nn import PyroModule

import bayes_sbn as sbn
from tests.chance import torch_generator

SITES = ["hidden.0.weight", "hidden.1.weight", "output.weight", "x1", "x2", "y"]


def rows(number: int = 7, inputs: int = 5) -> torch.Tensor:
    """On the grid of the inputs, so that no rounding takes place."""
    drawn = torch.randn(number, inputs, generator=torch_generator("predictive"))
    return (drawn * 64).round() / 64


def network(guide: str = "AutoSignBernoulli", **options):
    model = sbn.models.BinaryMLP(5, [4, 3], 3, num_data=50, **options)
    return model, getattr(sbn.guides, guide)(model)


NETWORKS = {
    "mean field": network,
    "no hidden layer": lambda: with_guide(sbn.models.BinaryMLP(5, [], 3, num_data=50)),
    "signs": lambda: network("AutoSignDelta"),
    "mixture": lambda: network("AutoSignMixture"),
    "factors": lambda: network("AutoSignLowRank"),
    "real ends": lambda: network("AutoHybrid", real=("first", "last")),
    "float32": lambda: tuple(part.float() for part in network()),
}


def with_guide(model):
    return model, sbn.guides.AutoSignBernoulli(model)


def looks(samples):
    """Keys in their order, shapes and dtypes."""
    return [(name, tuple(value.shape), value.dtype) for name, value in samples.items()]


def stock(model, guide, *args, **options):
    return Predictive(model, guide=guide, **options)(*args)


class OwnNetwork(PyroModule):
    """A model of one's own that states its architecture, with names of its own."""

    def __init__(self, *, returns_pair: bool = False, extra: bool = False) -> None:
        super().__init__()
        self.lower = sbn.models.BinaryLinear(5, 4)
        self.upper = sbn.models.BinaryLinear(4, 3)
        self.returns_pair, self.extra = returns_pair, extra

    def forward(self, inputs, targets=None):
        upper = self.upper.weight
        lower = self.lower.weight
        if self.extra:
            pyro.sample("z", pyro.distributions.Normal(0.0, 1.0))
        with pyro.plate("people", 90, subsample=inputs, dim=-1):
            h = pyro.sample("fires", sbn.NoisySign(sbn.affine(inputs, lower, self.lower.bias)))
            law = sbn.AffineCategorical(sbn.affine(h, upper, self.upper.bias))
            choice = pyro.sample("choice", law, obs=targets)
        return (h, choice) if self.returns_pair else choice

    def architecture(self):
        layers = [("lower", self.lower, "logistic"), ("upper", self.upper, None)]
        return {
            "likelihood": "categorical",
            "input_scale": 2.0**-10,
            "layers": [
                {
                    "name": name,
                    "weight_site": f"{name}.weight",
                    "scale": torch.ones(layer.out_features),
                    "bias": layer.bias.detach().clone(),
                    "noise": noise,
                    "noise_scale": 1.0,
                }
                for name, layer, noise in layers
            ],
        }
