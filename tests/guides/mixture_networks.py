"""Small networks with a guide that is a mixture."""

import itertools

import pyro
import torch

import bayes_sbn as sbn

COMPONENT = "AutoSignMixture.component"
BITS = 3
STATES = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=BITS)), dtype=torch.float64)


def network(hidden=2, **options):
    torch.manual_seed(3)
    x, y = torch.randn(3, 2), torch.tensor([0, 1, 0])
    model = sbn.models.BinaryMLP(2, [hidden], 2, num_data=3, prior_logit=0.6)
    guide = sbn.guides.AutoSignMixture(model, **{"num_components": 2, **options})
    if guide.learn_weights:
        guide.mixture.logits.data.copy_(torch.linspace(0.5, -0.4, guide.num_components))
    return model, guide, x, y


def regression(x, y=None):
    w = pyro.sample("w", sbn.SignBernoulli(logits=torch.full((1, BITS), 0.4)).to_event(2))
    with pyro.plate("data", len(x), dim=-1):
        return pyro.sample("y", sbn.AffineBernoulli(sbn.affine(x, w, scale=0.8)), obs=y)


def regression_pair(**options):
    torch.manual_seed(5)
    x, y = torch.randn(4, BITS), torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    guide = sbn.guides.AutoSignMixture(
        regression, example=(x, y), **{"num_components": 2, "init_scale": 0.8, **options}
    )
    if guide.learn_weights:
        guide.mixture.logits.data.copy_(torch.linspace(0.5, -0.4, guide.num_components))
    return guide, x, y
