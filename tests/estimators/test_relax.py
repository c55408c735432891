"""RELAX: exact over all uniforms whatever its network is; trained on its second moment."""

import io

import numpy as np
import pytest
import torch
from pyro.infer import SVI

import bayes_sbn as sbn
from bayes_sbn.estimators import Rebar, Relax
from tests import chance
from tests.estimators.relaxed_controls import (
    expected_gradient_of_particles,
    one_unit,
    one_unit_of_two_weights,
    two_layers,
)
from tests.estimators.test_disarm import exact_of
from tests.pyro_networks import assert_same_gradient
from tests.uniform_cells import all_uniforms

NODES = 8


def with_unit(estimator, net, unit=1.5):
    """The estimator with given moments of the costs that no step changes."""
    estimator.costs.decay = 1.0
    for site in [name for name, _ in net.net.maps[:-1]] + ["layers.0.weight"]:
        estimator.costs.means[site] = torch.tensor(0.0)
        estimator.costs.squares[site] = torch.tensor(unit**2)
    return estimator


def with_numbers(estimator, net, label="numbers"):
    """The estimator after a step has made its networks, with other numbers in them."""
    generator = chance.torch_generator(label)
    sbn.TraceEstimator_ELBO(estimator).loss_and_grads(net.model, net.guide, net.x, net.y)
    net.gradients()
    for parameter in estimator.parameters():
        parameter.data.copy_(0.7 * torch.randn(parameter.shape, generator=generator))
        parameter.grad = None
    return with_unit(estimator, net)


class Quadratic(torch.nn.Module):
    """A network of one's own, not symmetric in anything."""

    def __init__(self, bits):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.linspace(-1.0, 2.0, bits))

    def forward(self, relaxed, given):
        return ((relaxed @ self.weight) ** 2 + (relaxed * given).sum(-1)).unsqueeze(-1)


@pytest.mark.parametrize("eta", [1.0, 0.0, "learned"])
@pytest.mark.parametrize("make", [two_layers, one_unit_of_two_weights])
def test_equals_the_exact_gradient_whatever_the_network_is(make, eta):
    net = make()
    estimator = with_numbers(Relax(width=3, temperature=1.0, eta=eta), net)
    found = expected_gradient_of_particles(net, estimator, 24)
    assert_same_gradient(found, exact_of(net))
    assert len(estimator.outer) == 2
    assert all(estimator.outer[site].grad.abs().max() > 0 for site in estimator.outer)


def test_is_exact_with_a_network_of_ones_own_at_a_site():
    estimator = Relax(Quadratic(2), temperature=1.0)
    net = two_layers(infer={"layers.0": {"estimator": estimator}})
    with_unit(estimator, net)
    # the site above is last, where exact flips have no bias
    found = expected_gradient_of_particles(net, "psa", 24)
    assert_same_gradient(found, exact_of(net))


class HalfLearned(Relax):
    """RELAX that leaves out the derivative of what it has learned."""

    def control(self, site, relaxed, deviation, rerun):
        value, slope = super().control(site, relaxed, deviation, rerun)
        _, known = Rebar.control(self, site, relaxed, deviation, rerun)
        return value, known + 0 * slope


def test_a_missing_derivative_of_the_network_would_be_noticed():
    net = one_unit(0.4)
    estimator = with_numbers(HalfLearned(width=3), net)
    found = expected_gradient_of_particles(net, estimator, NODES)
    wanted = exact_of(net)["layers.0.bias"]
    assert abs(found["layers.0.bias"] - wanted) > 0.05 * abs(wanted)


def second_moment(net, estimator):
    """Of one unit's estimate, by quadrature; its derivative stays in the parameters' ``grad``."""
    uniforms, weight = all_uniforms(net, (), None, NODES)
    elbo, total = sbn.TraceEstimator_ELBO(estimator), 0.0
    slopes = [torch.zeros_like(p) for p in estimator.parameters()]
    for u, share in zip(uniforms["layers.0"], weight, strict=True):
        for parameter in estimator.parameters():
            parameter.grad = None
        with sbn.force_draws({}, {"layers.0": u}):
            elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
        total += float(share) * float((net.gradients()["layers.0.bias"] ** 2).sum())
        for slope, parameter in zip(slopes, estimator.parameters(), strict=True):
            slope += share * parameter.grad
    for slope, parameter in zip(slopes, estimator.parameters(), strict=True):
        parameter.grad = slope
    return total


def test_gradient_of_the_network_is_that_of_half_the_second_moment():
    net = one_unit(0.4)
    estimator = with_numbers(Relax(width=2, eta="learned"), net)
    second_moment(net, estimator)
    found = [p.grad.clone() for p in estimator.parameters()]
    assert len(found) == 3
    for parameter, slope in zip(estimator.parameters(), found, strict=True):
        for index in np.ndindex(*parameter.shape):
            ends = []
            for change in (1e-5, -1e-5):
                parameter.data[index] += change
                ends.append(second_moment(net, estimator))
                parameter.data[index] -= change
            wanted = (ends[0] - ends[1]) / 2e-5 / 2 / 1.5**2
            assert slope[index].item() == pytest.approx(wanted, rel=1e-6, abs=1e-9)


def test_training_lowers_the_variance_below_that_of_rebar():
    net = one_unit(0.4)
    estimator = with_unit(Relax(width=4), net)
    sbn.TraceEstimator_ELBO(estimator).loss_and_grads(net.model, net.guide, net.x, net.y)
    net.gradients()
    before = second_moment(net, estimator)
    rebar = with_unit(Rebar(), net)
    assert before == pytest.approx(second_moment(net, rebar), rel=1e-12)
    optimiser = torch.optim.Adam(estimator.parameters(), lr=0.1)
    for _ in range(25):
        optimiser.step()
        after = second_moment(net, estimator)
    exact = float(exact_of(net)["layers.0.bias"].item()) ** 2
    assert after - exact < 0.7 * (before - exact)


def binary_mlp(estimator):
    torch.manual_seed(0)
    x, y = torch.randn(16, 4), torch.randint(2, (16,))
    model = sbn.models.BinaryMLP(4, [3], 2, num_data=16)
    guide = sbn.guides.AutoSignBernoulli(model)
    elbo = sbn.TraceEstimator_ELBO(estimator)
    svi = SVI(model, guide, sbn.optim.MirrorDescent({"lr": 0.05}), loss=elbo)
    return elbo, lambda: svi.step(x, y)


def test_network_is_trained_in_the_svi_step_and_saved():
    first, step_of_first = binary_mlp("relax")
    for _ in range(4):
        step_of_first()
    estimator = first.estimators.default
    assert len(estimator.outer) == 3
    assert all(estimator.outer[site].abs().max() > 1e-3 for site in estimator.outer)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second, _ = binary_mlp("relax")
    second.load_state_dict(torch.load(file, weights_only=True))
    again = second.estimators.default.state_dict()
    assert len(again) == 3 * 4
    for key, value in estimator.state_dict().items():
        assert torch.equal(again[key], value)


def test_without_a_relaxed_cost_there_is_one_pass():
    elbo, step_of = binary_mlp(Relax(eta=0.0))
    step_of()
    assert elbo.passes == 1
    elbo, step_of = binary_mlp(Relax())
    step_of()
    assert elbo.passes == 1 + 3


def test_wrong_networks_and_options_are_errors():
    class Flat(torch.nn.Module):
        def forward(self, relaxed, given):
            return relaxed

    _, step_of = binary_mlp(Relax(Flat()))
    with pytest.raises(ValueError, match=r'"relax", site ".*": the network was given twice'):
        step_of()
    with pytest.raises(TypeError, match="the network is a torch module or None"):
        Relax(lambda r, a: r)
    with pytest.raises(ValueError, match="whole number of at least 1"):
        Relax(width=0)
    with pytest.raises(ValueError, match=r"Relax\(eta='best'\): eta is a number"):
        Relax(eta="best")
    assert repr(Relax(Flat())) == "Relax(Flat, width=16, temperature=1.0, eta=1.0)"
