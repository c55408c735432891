"""Enumeration as an estimator of the whole ELBO: equal to the oracle, in value and gradient."""

import itertools

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, TraceEnum_ELBO, config_enumerate

import bayes_sbn as sbn
from bayes_sbn.estimators import Exact
from tests import problems
from tests.estimators.conformance import Subsampled
from tests.estimators.test_exact_expectation import NOISES, wanted
from tests.oracles import elbo as oracle_elbo
from tests.oracles import exact_gradient
from tests.pyro_networks import PyroNetwork, assert_same_gradient

PROBLEMS = (
    "one_hidden_layer",
    "one_hidden_layer_real_weights",
    "one_hidden_layer_sign_head",
    "two_hidden_layers",
    "two_hidden_layers_real_weights",
    "chain",
    "bernoulli_head",
    "normal_head",
)


def network(name: str, noise: str = "logistic", num_data: int = 3, **options) -> PyroNetwork:
    scale = {"uniform": 2.5, "triangular": 3.0}.get(noise, 1.0)
    return PyroNetwork(getattr(problems, name)(noise, scale, num_data=num_data), **options)


def assert_exact(net: PyroNetwork, elbo, temperature: float = 1.0) -> None:
    problem = net.problem
    loss = elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
    scale = net.num_data / len(problem.x)
    value = oracle_elbo(
        problem.net, problem.x, problem.y, temperature=temperature, data_scale=scale
    )
    assert loss == pytest.approx(-value, abs=1e-10 * scale)
    exact = exact_gradient(problem.net, problem.x, problem.y)
    assert_same_gradient(net.gradients(), wanted(net, exact, temperature), 1e-10 * scale)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", PROBLEMS)
def test_exact_equals_the_oracle_in_value_and_gradient(name, noise):
    # three rows share the states: the joint enumeration of the oracle's paths could not hold them
    assert_exact(network(name, noise), sbn.TraceEstimator_ELBO("exact"))


@pytest.mark.parametrize("temperature", [0.0, 0.3])
def test_temperature_and_number_of_data(temperature):
    net = network("two_hidden_layers", num_data=2)
    net.num_data = 14
    assert_exact(net, sbn.TraceEstimator_ELBO("exact", temperature=temperature), temperature)


def test_weight_kl_left_out_is_temperature_zero():
    net = network("one_hidden_layer")
    assert_exact(net, sbn.TraceEstimator_ELBO("exact", weight_kl=False), temperature=0.0)


@pytest.mark.parametrize("states_at_once", [1, 7, 512, 10_000])
def test_chunks_add_up_and_are_counted(states_at_once):
    net = network("one_hidden_layer", num_data=2)
    elbo = sbn.TraceEstimator_ELBO(Exact(states_at_once=states_at_once))
    assert_exact(net, elbo)
    bits = 6 + 3  # of the weights and of one row
    assert elbo.passes == 1 + -(-(2**bits) // states_at_once)


def test_loss_and_differentiable_loss_agree_and_no_chance_is_used():
    net = network("two_hidden_layers")
    elbo = sbn.TraceEstimator_ELBO(Exact(states_at_once=100))
    state = torch.get_rng_state()
    loss = elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
    gradients = net.gradients()
    tensor = elbo.differentiable_loss(net.model, net.guide, net.x, net.y)
    tensor.backward()
    assert_same_gradient(net.gradients(), gradients, 1e-13)
    assert float(tensor.detach()) == pytest.approx(loss, abs=1e-12)
    assert elbo.loss(net.model, net.guide, net.x, net.y) == pytest.approx(loss, abs=1e-12)
    assert all(leaf.grad is None for leaf in net.parameters.values())
    assert torch.equal(torch.get_rng_state(), state)


def test_the_choice_of_a_site_does_not_matter():
    infer = {"layers.0": {"estimator": "st"}, "layers.0.weight": {"estimator": "psa"}}
    assert_exact(network("one_hidden_layer", infer=infer), sbn.TraceEstimator_ELBO("exact"))


def test_euclidean_gradient_is_the_natural_one_times_the_variance():
    found = []
    for gradient in ("natural", "euclidean"):
        net = network("chain", gradient=gradient)
        sbn.TraceEstimator_ELBO("exact").loss_and_grads(net.model, net.guide, net.x, net.y)
        found.append(net.gradients())
    for name, layer in net.net.maps[:-1]:
        key = f"{name}.weight_mean"
        assert found[1][key] == pytest.approx(found[0][key] * (1 - layer.weight_mean**2), abs=1e-12)


def test_rows_drawn_by_the_plate_are_those_of_every_chunk():
    net = Subsampled()
    elbo = sbn.TraceEstimator_ELBO(Exact(states_at_once=300))
    torch.manual_seed(4)
    loss = elbo.loss_and_grads(net.model, net.guide)
    drawn = net.guide.leaf("w").grad.clone()
    net.guide.leaf("w").grad = None
    torch.manual_seed(4)
    rows = torch.randperm(net.num_data)[: net.batch]
    given = elbo.loss_and_grads(net.model, net.guide, rows)
    assert given == pytest.approx(loss, abs=1e-12)
    assert torch.allclose(net.guide.leaf("w").grad, drawn, atol=1e-12)
    assert elbo.loss(net.model, net.guide, (rows + 1) % net.num_data) != pytest.approx(loss)


@pytest.mark.parametrize("noise", ["logistic", "uniform"])
def test_agrees_with_pyros_enumeration_of_the_same_guide(noise):
    net = network("one_hidden_layer", noise)
    net.num_data = 30
    loss = sbn.TraceEstimator_ELBO("exact").loss_and_grads(net.model, net.guide, net.x, net.y)
    found = net.gradients()
    pyros = TraceEnum_ELBO(max_plate_nesting=1)
    stock = pyros.differentiable_loss(
        net.model, config_enumerate(net.guide.unrolled()), net.x, net.y
    )
    stock.backward()
    assert loss == pytest.approx(float(stock.detach()), abs=1e-9)
    assert_same_gradient(found, net.gradients(), 1e-9)


def test_a_guide_of_the_users_own_and_a_conditional_that_is_not_the_models():
    x, y = torch.tensor([[0.4, -1.0], [0.2, 0.9]]), torch.tensor([1, 0])
    prior, head = torch.tensor([[0.5, 0.2], [-0.3, 0.8]]), torch.tensor([[1.0, -0.4], [0.3, 0.9]])
    leaf = torch.tensor([[0.1, -0.6], [0.7, 0.2]], requires_grad=True)
    mean = torch.tensor([0.3, -0.8], requires_grad=True)

    def model(x, y):
        v = pyro.sample("v", sbn.SignBernoulli(logits=torch.tensor([0.5, -0.2])).to_event(1))
        with pyro.plate("data", 6, subsample=x, dim=-1):
            h = pyro.sample("h", sbn.NoisySign(sbn.affine(x, prior)))
            pyro.sample("y", sbn.AffineCategorical(sbn.affine(h * v, head)), obs=y)

    def guide(x, y):
        pyro.sample("v", sbn.SignBernoulli(mean=mean).to_event(1))
        with pyro.plate("data", 6, subsample=x, dim=-1):
            pyro.sample("h", sbn.NoisySign(sbn.affine(x, leaf)))

    bound = torch.zeros(())
    for v in itertools.product((-1.0, 1.0), repeat=2):
        v = torch.tensor(v)
        q_v = ((1 + v * mean) / 2).prod()
        p_v = torch.sigmoid(v * torch.tensor([0.5, -0.2])).prod()
        bound = bound + q_v * (q_v.log() - p_v.log())
        for n, state in itertools.product(range(2), itertools.product((-1.0, 1.0), repeat=2)):
            h = torch.tensor(state)
            log_q = torch.nn.functional.logsigmoid(h * (x[n] @ leaf.T)).sum()
            log_p = torch.nn.functional.logsigmoid(h * (x[n] @ prior.T)).sum()
            log_y = torch.log_softmax((h * v) @ head.T, -1)[y[n]]
            bound = bound + 3 * q_v * log_q.exp() * (log_q - log_p - log_y)
    exact = torch.autograd.grad(bound, (leaf, mean))
    loss = sbn.TraceEstimator_ELBO("exact").loss_and_grads(model, guide, x, y)
    assert loss == pytest.approx(float(bound.detach()), abs=1e-11)
    assert torch.allclose(leaf.grad, exact[0], atol=1e-11)
    assert torch.allclose(mean.grad, exact[1], atol=1e-11)


def shared_outcome(x, y, keepdim=False):
    """One observation that depends on the units of all rows: they are not independent."""
    with pyro.plate("data", len(x), dim=-1):
        h = pyro.sample("h", sbn.NoisySign(sbn.affine(x, WEIGHT)), infer={"follows_model": True})
    pooled = h.sum(-2, keepdim=keepdim)
    pyro.sample("y", pyro.distributions.Normal(pooled, 1.0).to_event(1), obs=y)


WEIGHT = torch.tensor([[0.5, 0.2], [-0.3, 0.8]], dtype=torch.float64)


def test_rows_that_meet_later_are_enumerated_jointly():
    x, y = torch.tensor([[0.4, -1.0], [0.2, 0.9], [-0.7, 0.3]]), torch.tensor([1.5, -0.5])

    def guide(x, y, keepdim=False):
        with poutine.block(hide=["y"]):
            shared_outcome(x, y, keepdim)

    p = torch.sigmoid(x @ WEIGHT.T)
    wanted = 0.0
    for state in itertools.product((-1.0, 1.0), repeat=6):
        h = torch.tensor(state).reshape(3, 2)
        share = torch.where(h > 0, p, 1 - p).prod()
        wanted -= float(share * torch.distributions.Normal(h.sum(0), 1.0).log_prob(y).sum())
    one_by_one = sbn.TraceEstimator_ELBO(Exact(states_at_once=1))
    assert one_by_one.loss(shared_outcome, guide, x, y) == pytest.approx(wanted, abs=1e-11)
    assert one_by_one.passes == 1 + 2**6
    with pytest.raises(ValueError, match=r'site "y" has .* shape \(64, 64\) and not \(64, 1\)'):
        sbn.TraceEstimator_ELBO("exact").loss(shared_outcome, guide, x, y)
    loss = sbn.TraceEstimator_ELBO("exact").loss(shared_outcome, guide, x, y, keepdim=True)
    assert loss == pytest.approx(wanted, abs=1e-11)
    # (the pooled sum alone ties the rows together, so their bits count each)
    with pytest.raises(ValueError, match=r'6 bits \("h" 6; rows'):
        sbn.TraceEstimator_ELBO(Exact(max_bits=5)).loss(shared_outcome, guide, x, y)


def test_rows_visited_one_by_one_are_sites_of_their_own():
    x, y = torch.tensor([[0.4, -1.0], [0.2, 0.9]]), torch.tensor([1.5, -0.5])

    def rows(x, y, observed=True):
        for n in pyro.plate("data", 2):
            law = sbn.NoisySign(sbn.affine(x[n], WEIGHT))
            h = pyro.sample(f"h_{n}", law, infer={"follows_model": True})
            if observed:
                pyro.sample(f"y_{n}", pyro.distributions.Normal(h.sum(-1), 1.0), obs=y[n])

    p = torch.sigmoid(x @ WEIGHT.T)
    wanted = 0.0
    for n, state in itertools.product(range(2), itertools.product((-1.0, 1.0), repeat=2)):
        h = torch.tensor(state)
        share = torch.where(h > 0, p[n], 1 - p[n]).prod()
        wanted -= float(share * torch.distributions.Normal(h.sum(), 1.0).log_prob(y[n]))
    loss = sbn.TraceEstimator_ELBO("exact").loss(
        rows, lambda x, y: rows(x, y, observed=False), x, y
    )
    assert loss == pytest.approx(wanted, abs=1e-11)


@pytest.mark.parametrize("mean", [1.0, -1.0])
def test_certain_weights_have_the_derivative_in_the_state_that_is_never_drawn(mean):
    leaf = torch.tensor([mean], requires_grad=True)

    def model(y):
        w = pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(1)).to_event(1))
        pyro.sample("y", pyro.distributions.Normal(w, 1.0).to_event(1), obs=y)

    def guide(y):
        pyro.sample("w", sbn.SignBernoulli(mean=leaf).to_event(1))

    loss = sbn.TraceEstimator_ELBO("exact", weight_kl=False)
    value = loss.loss_and_grads(model, guide, torch.tensor([0.3]))
    cost = {w: 0.5 * (0.3 - w) ** 2 + 0.5 * np.log(2 * np.pi) for w in (1.0, -1.0)}
    assert value == pytest.approx(cost[mean], abs=1e-12)
    assert float(leaf.grad) == pytest.approx((cost[1.0] - cost[-1.0]) / 2, abs=1e-12)


def test_svi_trains_on_the_exact_loss():
    torch.manual_seed(0)
    x = torch.randn(20, 2)
    y = (x[:, 0] > 0).long()
    model = sbn.models.BinaryMLP(2, [2], 2, num_data=20)
    guide = sbn.guides.AutoSignBernoulli(model)
    elbo = sbn.TraceEstimator_ELBO("exact", temperature="auto")
    svi = SVI(model, guide, sbn.optim.MirrorDescent({"lr": 0.1}), loss=elbo)
    losses = [svi.step(x, y) for _ in range(40)]
    assert losses[-1] < 0.8 * losses[0]
    assert max(np.diff(losses)) < 0.05 * losses[0]  # no noise: nearly monotone
    assert isinstance(elbo.temperature, float)


def test_float32_follows_float64():
    found = []
    for dtype in (torch.float64, torch.float32):
        net = network("one_hidden_layer")
        net.leaves = {k: v.detach().to(dtype).requires_grad_() for k, v in net.leaves.items()}
        net.guide.to(dtype)
        elbo = sbn.TraceEstimator_ELBO("exact", weight_kl=False)
        loss = elbo.loss_and_grads(net.model, net.guide, net.x.to(dtype), net.y)
        found.append((loss, net.gradients()))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-5)
    assert all(g.dtype == np.float32 for g in found[1][1].values())
    assert_same_gradient(found[1][1], found[0][1], 1e-5)


def test_too_many_bits_are_counted_and_a_way_out_is_given():
    model = sbn.models.BinaryMLP(4, [8], 3, num_data=50)
    guide = sbn.guides.AutoSignBernoulli(model)
    x, y = torch.randn(5, 4), torch.zeros(5, dtype=torch.long)
    message = r'64 bits \("hidden.0.weight" 32, "output.weight" 24, "x1" 8; rows.*max_bits=16.*'
    with pytest.raises(ValueError, match=message + r'Exact\(max_bits=64\).*"local" is unbiased'):
        sbn.TraceEstimator_ELBO("exact").loss(model, guide, x, y)


def test_a_site_alone_particles_and_real_latents_are_errors():
    net = network("one_hidden_layer", infer={"layers.0": {"estimator": "exact"}})
    with pytest.raises(ValueError, match=r'"exact", site "layers.0".*whole ELBO.*"local"'):
        sbn.TraceEstimator_ELBO("psa").loss(net.model, net.guide, net.x, net.y)
    with pytest.raises(ValueError, match=r"no draws to be averaged\. Leave both out"):
        sbn.TraceEstimator_ELBO("exact", num_particles=2)

    def model(y):
        z = pyro.sample("z", pyro.distributions.Normal(0.0, 1.0))
        pyro.sample("y", pyro.distributions.Normal(z, 1.0), obs=y)

    def guide(y):
        pyro.sample("z", pyro.distributions.Normal(0.0, 1.0))

    with pytest.raises(TypeError, match=r'latent site "z" has law Normal.*must be ±1'):
        sbn.TraceEstimator_ELBO("exact").loss(model, guide, torch.tensor(1.0))
    for options in ({"max_bits": -1}, {"max_bits": 2.5}, {"states_at_once": 0}):
        with pytest.raises(ValueError, match="is a whole number of at least"):
            Exact(**options)
