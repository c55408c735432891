"""A likelihood of any form: equal to the built-in heads, and exact for those that are not."""

import dataclasses
import functools
import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import (
    Trace_ELBO,
    TraceEnum_ELBO,
    TraceGraph_ELBO,
    TraceMeanField_ELBO,
    config_enumerate,
)

import bayes_sbn as sbn
from bayes_sbn.estimators import PathSampleAnalytic
from bayes_sbn.signs import FlipRule, tag_sign
from tests import problems
from tests.oracle_estimators import expected_psa_gradient
from tests.oracles import exact_gradient, negative_elbo_gradient
from tests.pyro_networks import PyroNetwork, assert_same_gradient, expected_gradient

EXACT_PSA = PathSampleAnalytic(real_inputs="exact")
HEADS = {
    "one_hidden_layer": 1,
    "one_hidden_layer_sign_head": 1,
    "two_hidden_layers": 1,
    "bernoulli_head": 1,
    "normal_head": 1,
}


def torch_law(network, a):
    return {
        "categorical": lambda: dist.Categorical(logits=a),
        "bernoulli": lambda: dist.Bernoulli(logits=a).to_event(1),
        "poisson": lambda: dist.Poisson(a.exp()).to_event(1),
        "normal": lambda: dist.Normal(a, network.leaves["sigma"]).to_event(1),
    }[network.net.likelihood]()


class UserHead(PyroNetwork):
    """The same network with its head as a law of a function of the last layer."""

    def likelihood(self, h, weight):
        if self.net.head.is_random:  # flips of ±1 weights are those of the built-in law
            return sbn.FlipLikelihood(lambda s: super(UserHead, self).likelihood(s, weight), h)
        scale, bias = self.leaves["head.scale"], self.leaves["head.bias"]
        return sbn.FlipLikelihood(
            lambda s: torch_law(self, scale * (s @ weight.mT) + bias), h, chunk_entries=50
        )


def make(kind, name, num_data=1):
    return kind(getattr(problems, name)("logistic", 1.0, num_data=num_data))


def one_path(network, estimator, **options):
    torch.manual_seed(5)
    elbo = sbn.TraceEstimator_ELBO(estimator, max_plate_nesting=1, **options)
    loss = elbo.loss_and_grads(network.model, network.guide, network.x, network.y)
    return loss, network.gradients()


@pytest.mark.parametrize("options", [{}, {"num_particles": 3, "vectorize_particles": True}])
@pytest.mark.parametrize("estimator", ["psa", "st", "score"])
@pytest.mark.parametrize("name", HEADS)
def test_any_law_equals_the_built_in_head(name, estimator, options):
    own, built_in = make(UserHead, name, 3), make(PyroNetwork, name, 3)
    own.num_data = built_in.num_data = 30
    loss, found = one_path(own, estimator, **options)
    wanted_loss, wanted = one_path(built_in, estimator, **options)
    assert loss == pytest.approx(wanted_loss, abs=1e-12)
    assert_same_gradient(found, wanted, 1e-12)


def poisson(kind, name, num_data):
    problem = getattr(problems, name)("logistic", 1.0, num_data=num_data)
    outputs = problem.net.head.shape[0]
    counts = np.array([[2.0, 0.0, 1.0], [0.0, 3.0, 1.0], [1.0, 1.0, 0.0]])[:num_data, :outputs]
    net = dataclasses.replace(problem.net, likelihood="poisson")
    return kind(dataclasses.replace(problem, net=net, y=counts))


@pytest.mark.parametrize("name", ["one_hidden_layer", "one_hidden_layer_real_weights", "chain"])
def test_poisson_head_equals_the_exact_gradient(name):
    network = poisson(UserHead, name, 2)
    problem = network.problem
    _, found = expected_gradient(network, functools.partial(sbn.TraceEstimator_ELBO, EXACT_PSA))
    exact = exact_gradient(problem.net, problem.x, problem.y)
    assert_same_gradient(found, negative_elbo_gradient(problem.net, exact))


def test_poisson_head_in_depth_equals_the_definition_by_literal_flips():
    network = poisson(UserHead, "two_hidden_layers", 1)
    problem = network.problem
    _, found = expected_gradient(network, functools.partial(sbn.TraceEstimator_ELBO, EXACT_PSA))
    definition = expected_psa_gradient(problem.net, problem.x, problem.y)
    assert_same_gradient(found, negative_elbo_gradient(problem.net, definition))


@pytest.mark.parametrize("kind", ["law", "factor"])
def test_law_and_factor_are_scaled_by_their_plate(kind):
    """A model of its own: 3 rows of 30, the loss ten times that of three."""
    x, y = torch.randn(3, 4), torch.tensor([1.0, 0.0, 2.0])
    w, v = torch.randn(5, 4, requires_grad=True), torch.randn(5, requires_grad=True)

    def law_of(h):
        return dist.Poisson(torch.exp(0.1 * (h @ v)))

    def model(number, with_labels=True):
        with pyro.plate("data", number, subsample=x, dim=-1):
            h = pyro.sample("h", sbn.NoisySign(sbn.affine(x, w)), infer={"follows_model": True})
            if not with_labels:
                return
            if kind == "law":
                pyro.sample("y", sbn.FlipLikelihood(law_of, h), obs=y)
            else:
                pyro.factor("y", sbn.exact_flips(lambda s: law_of(s).log_prob(y), h))

    def guide(number):
        model(number, with_labels=False)

    found = []
    for number in (3, 30):
        torch.manual_seed(0)
        loss = sbn.TraceEstimator_ELBO("psa").loss_and_grads(model, guide, number)
        found.append((loss, w.grad, v.grad))
        w.grad = v.grad = None
    assert found[1][0] == pytest.approx(10 * found[0][0])
    for few, many in zip(found[0][1:], found[1][1:], strict=True):
        assert torch.allclose(10 * few, many)
        assert few.abs().max() > 1e-3


def test_units_of_convolutions_are_flipped_where_they_stand():
    def model(images, y=None, flat=True):
        kernel = pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(2, 1, 2, 2)).to_event(4))
        with pyro.plate("data", 3, subsample=images, dim=-1):
            h = pyro.sample("h", sbn.NoisySign(sbn.affine_conv2d(images, kernel, scale=0.5)))
            if flat:
                head = sbn.affine(sbn.flatten(h, 3), v)
                pyro.sample("y", sbn.AffineBernoulli(head), obs=y)
            else:

                def law_of(s):
                    return dist.Bernoulli(logits=s.flatten(-3) @ v.mT).to_event(1)

                pyro.sample("y", sbn.FlipLikelihood(law_of, h, event_dim=3), obs=y)

    images, v = torch.randn(3, 1, 3, 3), torch.randn(1, 8, requires_grad=True)
    y = torch.tensor([[1.0], [0.0], [1.0]])
    guide = sbn.guides.AutoSignBernoulli(model, example=(images,))
    gradients = []
    for flat in (True, False):
        torch.manual_seed(0)
        sbn.TraceEstimator_ELBO("psa").loss_and_grads(model, guide, images, y, flat)
        gradients.append((guide.leaf("w").grad.clone(), v.grad.clone()))
        guide.leaf("w").grad = v.grad = None
    for a, b in zip(*gradients, strict=True):
        assert torch.allclose(a, b, atol=1e-12)
        assert a.abs().max() > 1e-3


def test_a_law_without_gradients_is_the_law():
    h = torch.tensor([[1.0, -1.0], [1.0, 1.0], [-1.0, -1.0]])
    own = sbn.FlipLikelihood(lambda s: dist.Normal(s.sum(-1), 2.0), h)
    plain = dist.Normal(h.sum(-1), 2.0)
    y = torch.randn(3)
    assert torch.equal(own.log_prob(y), plain.log_prob(y))
    assert torch.equal(own.mean, plain.mean)
    assert torch.equal(own.variance, plain.variance)
    assert own.batch_shape == (3,)
    assert own.event_shape == ()
    assert not own.has_enumerate_support
    torch.manual_seed(0)
    drawn = own.sample((4,))
    torch.manual_seed(0)
    assert torch.equal(drawn, plain.sample((4,)))
    assert own.support is plain.support


def test_classes_can_be_enumerated():
    h = torch.ones(3, 2)
    own = sbn.FlipLikelihood(lambda s: dist.Categorical(logits=s @ torch.randn(2, 4)), h)
    assert own.has_enumerate_support
    assert own.enumerate_support(expand=False).shape == (4, 1)


def test_expanded_law_returns_the_gradient_of_every_copy():
    leaf = torch.tensor([[1.0, -1.0, 1.0]], requires_grad=True)
    y = torch.tensor([[0.5], [1.0]])
    # f = -(y - p)^2 / 2 with p = -1: half the difference over x_i is y p x_i
    wanted = (y * -1.0 * leaf.detach()).sum(0, keepdim=True)
    for expand in (True, False):  # or by targets with more rows than the law
        h = tag_sign(leaf * 1.0, "h", FlipRule())
        law = sbn.FlipLikelihood(lambda s: dist.Normal(s.prod(-1), 1.0), h)
        (law.expand((2,)) if expand else law).log_prob(y[:, 0]).sum().backward()
        assert torch.allclose(leaf.grad, wanted)
        leaf.grad = None


@pytest.mark.parametrize(
    ("law_of", "nats"),
    [
        (lambda a: dist.Categorical(logits=a), math.log(4)),
        (lambda a: dist.Bernoulli(logits=a).to_event(1), 4 * math.log(2)),
        (lambda a: dist.Poisson(a.exp()).to_event(1), 4.0),
    ],
)
def test_automatic_temperature_knows_what_a_datum_tells(law_of, nats):
    def model(x, y=None):
        w = pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(6, 2)).to_event(2))
        with pyro.plate("data", 50, subsample=x, dim=-1):
            h = pyro.sample("h", sbn.NoisySign(sbn.affine(x, w)))
            pyro.sample("y", sbn.FlipLikelihood(lambda s: law_of(s[..., :4]), h), obs=y)

    x = torch.randn(3, 2)
    guide = sbn.guides.AutoSignBernoulli(model, example=(x,))
    elbo = sbn.TraceEstimator_ELBO("psa", temperature="auto")
    elbo.loss(model, guide, x, torch.zeros(3) if nats < 2 else torch.zeros(3, 4))
    assert elbo.temperature == pytest.approx(min(1.0, 50 * nats / (10 * 12 * math.log(2))))


def drawn_line():
    return tag_sign(torch.ones(3, 2, 4, requires_grad=True) * 1.0, "h", FlipRule())


ONES = torch.ones(3, 2)
ERRORS = {
    "no law": (lambda: sbn.FlipLikelihood(lambda h: h.sum(-1), ONES), TypeError, "pyro.factor"),
    "batch": (
        lambda: sbn.FlipLikelihood(lambda h: dist.Normal(h, 1.0), ONES),
        ValueError,
        r"batch shape \(3, 2\) for h of shape \(3, 2\); .* \(3,\).*\.to_event\(1\)",
    ),
    "not signs": (
        lambda: sbn.FlipLikelihood(lambda h: dist.Normal(h.sum(-1), 1.0), 0 * ONES),
        ValueError,
        r"FlipLikelihood\(law_of, h\) needs ±1 values",
    ),
    "averages": (
        lambda: sbn.FlipLikelihood(
            lambda h: dist.Normal(h.sum(-1), 1.0),
            sbn.flatten(sbn.average_pool1d(drawn_line(), 2), 2),
        ),
        ValueError,
        'h are averages of the draw of site "h".*Average inside the function',
    ),
    "target": (
        lambda: sbn.FlipLikelihood(lambda h: dist.Poisson(h.sum(-1).exp()), ONES).log_prob(
            torch.tensor([1.0, -1.0, 2.0])
        ),
        ValueError,
        "support",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_say_what_to_type(case):
    call, kind, words = ERRORS[case]
    with pytest.raises(kind, match=words):
        call()


def test_validation_can_be_switched_off():
    law = sbn.FlipLikelihood(
        lambda h: dist.Poisson(h.sum(-1).exp(), validate_args=True), ONES, validate_args=False
    )
    assert law.log_prob(torch.tensor([1.0, -1.0, 2.0])).shape == (3,)


@pytest.mark.parametrize("name", ["one_hidden_layer", "one_hidden_layer_sign_head", "normal_head"])
def test_guide_side_enumeration_is_exact(name):
    net = make(UserHead, name, 2)
    guide = config_enumerate(net.guide.unrolled())
    TraceEnum_ELBO(max_plate_nesting=1).differentiable_loss(
        net.model, guide, net.x, net.y
    ).backward()
    exact = exact_gradient(net.net, net.problem.x, net.problem.y)
    assert_same_gradient(net.gradients(), negative_elbo_gradient(net.net, exact))


@pytest.mark.parametrize("Elbo", [Trace_ELBO, TraceGraph_ELBO, TraceMeanField_ELBO])
def test_stock_elbos_are_exact_with_any_law(Elbo):
    for estimator in (None, EXACT_PSA, PathSampleAnalytic(real_inputs="exact", rao_blackwell=True)):
        if estimator is None and Elbo is TraceMeanField_ELBO:
            continue  # it needs draws that are paths
        if estimator is not None and Elbo is TraceGraph_ELBO:
            continue
        net = make(UserHead, "one_hidden_layer", 2)
        wrap = (lambda guide: guide) if estimator is None else sbn.EstimatorMessenger(estimator)
        _, found = expected_gradient(net, Elbo, wrap)
        exact = exact_gradient(net.net, net.problem.x, net.problem.y)
        assert_same_gradient(found, negative_elbo_gradient(net.net, exact))
