"""What the tests of guides beyond mean field share: gradients, digits, copies, and a few steps."""

import copy
import io
import math
import pickle

import numpy as np
import torch
from pyro.infer import SVI
from sklearn.datasets import load_digits

import bayes_sbn as sbn
from bayes_sbn.estimators.estimator import REGISTRY

SHIPPED = sorted(n for n, cls in REGISTRY.items() if cls.__module__.startswith("bayes_sbn."))


def gradients(*modules):
    """By parameter, and a clean slate."""
    found = {}
    for module in modules:
        for name, parameter in module.named_parameters():
            found[name] = None if parameter.grad is None else parameter.grad.clone()
            parameter.grad = None
    return found


def shuffled_digits():
    """Images in [-1, 1], float32, and labels, in an order of their own."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    return torch.tensor(images[order] / 8 - 1, dtype=torch.float32), labels[order]


def copies_of(guide, fresh):
    """The guide by way of a file of its state, by pickling and by copying."""
    buffer = io.BytesIO()
    torch.save(guide.state_dict(), buffer)
    buffer.seek(0)
    fresh.load_state_dict(torch.load(buffer, weights_only=True))
    return fresh, pickle.loads(pickle.dumps(guide)), copy.deepcopy(guide)


def assert_steps_move_all(name, model, guide, x, y):
    """Two steps with an estimator are finite, and leave no parameter of the guide where it was."""
    options = {"num_particles": 2, "vectorize_particles": True} if name == "loo" else {}
    elbo = sbn.TraceEstimator_ELBO(name, **options)
    before = copy.deepcopy(dict(guide.named_parameters()))
    svi = SVI(model, guide, sbn.optim.MirrorDescent({"lr": 0.1}), loss=elbo)
    for _ in range(2):
        assert math.isfinite(svi.step(x, y))
    for key, parameter in guide.named_parameters():
        assert torch.isfinite(parameter).all()
        assert not torch.equal(parameter, before[key]), key
