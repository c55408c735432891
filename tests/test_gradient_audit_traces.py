"""An audit leaves no trace: parameters, gradients, buffers, generators and states are as before."""

import random

import numpy as np
import pyro
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.estimators import (
    ScoreFunction,
)
from tests.test_gradient_audit import mlp


def snapshot(model, guide):
    values = {}
    for k, module in enumerate((model, guide)):
        for name, parameter in module.named_parameters():
            values[k, name] = parameter.detach().clone(), parameter.grad
        for name, buffer in module.named_buffers():
            values[k, name] = id(buffer), buffer.clone()
    generators = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002
    return values, generators


def assert_unchanged(before, after):
    (values, generators), (new_values, new_generators) = before, after
    assert values.keys() == new_values.keys()
    for key, pair in values.items():
        for one, other in zip(pair, new_values[key], strict=True):
            same = torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
            assert same, key
    assert torch.equal(generators[0], new_generators[0])
    assert generators[1] == new_generators[1]
    assert (generators[2][1] == new_generators[2][1]).all()


def test_an_audit_leaves_no_trace():
    model, guide, batch = mlp()
    sbn.TraceEstimator_ELBO("st").loss_and_grads(model, guide, *batch)  # gradients to keep
    running = ScoreFunction(baseline="running")
    before = snapshot(model, guide)
    batch = (batch[0] * 1e3, batch[1])  # would widen the range of inputs that the model remembers
    sbn.audit(model, guide, batch, [running, "disarm", "psa"], repeats=8)
    assert_unchanged(before, snapshot(model, guide))
    assert not running.state_dict()
    assert dict(pyro.get_param_store()) == {}


def test_an_audit_that_fails_leaves_no_trace():
    model, guide, batch = mlp()
    before = snapshot(model, guide)

    class Broken(sbn.Estimator):
        def draw(self, site, uniform):
            if torch.rand(()) < 2:
                raise ZeroDivisionError
            return site.fn.draw(uniform)

    with pytest.raises(ZeroDivisionError):
        sbn.audit(model, guide, (batch[0] * 1e3, batch[1]), {"broken": Broken()})
    assert_unchanged(before, snapshot(model, guide))


def test_an_audit_keeps_the_state_of_a_site_s_own_estimator_and_the_parameter_store():
    own = ScoreFunction(baseline="running")

    def model(x, y):
        bias = pyro.param("bias", torch.zeros(2))
        w = pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(2, 2)).to_event(2))
        with pyro.plate("data", len(x), dim=-1):
            law = sbn.NoisySign(sbn.affine(x, w, bias))
            h = pyro.sample("h", law, infer={"estimator": own})
            pyro.sample("y", sbn.AffineCategorical(sbn.affine(h, torch.eye(2))), obs=y)

    x, y = torch.ones(1, 2), torch.tensor([1])
    guide = sbn.guides.AutoSignBernoulli(model, example=(x, y))
    pyro.clear_param_store()
    found = sbn.audit(model, guide, {"x": x, "y": y}, ["psa"], repeats=4)
    assert not own.state_dict()
    assert list(found["psa"].blocks) == ["posterior.w", "bias"]
    assert dict(pyro.get_param_store()) == {}
    assert not found["psa"].is_exact  # the running mean at h remembers
    value = pyro.param("bias", torch.ones(2))
    sbn.audit(model, guide, (x, y), ["psa"], repeats=4)
    assert pyro.param("bias") is value or torch.equal(pyro.param("bias"), torch.ones(2))
