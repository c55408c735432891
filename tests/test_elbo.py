"""TraceEstimator_ELBO: temperature, reruns, custom estimators, per-site choice, errors."""

import math
import warnings

import pyro
import pytest
import torch
from pyro.infer import SVI
from pyro.infer.elbo import ELBOModule

import bayes_sbn as sbn
from bayes_sbn.estimators.estimator import REGISTRY
from tests import problems
from tests.oracles import exact_gradient, negative_elbo_gradient
from tests.pyro_networks import PyroNetwork, assert_same_gradient, expected_gradient


@pytest.fixture
def registry():
    before = dict(REGISTRY)
    yield REGISTRY
    REGISTRY.clear()
    REGISTRY.update(before)


def tiny(**options):
    return PyroNetwork(problems.one_hidden_layer(num_data=2), **options)


class LocalExpectation(sbn.Estimator):
    """Every bit of an activation flipped in turn, by reruns; exact for any loss."""

    unbiased, passes = True, "1 + 2 a bit"

    def draw(self, site, uniform):
        return site.fn.draw(uniform)

    def surrogate(self, site, cost, rerun):
        value = site.value.detach()
        mean = site.fn.mean_path()
        total = torch.zeros_like(mean)
        for i in range(value.shape[-1]):
            up, down = value.clone(), value.clone()
            up[..., i], down[..., i] = 1.0, -1.0
            difference = 0.5 * (rerun({site.name: up}) - rerun({site.name: down}))
            total[..., i] = difference.detach()
        return (mean * total).sum(-1)


def test_reruns_make_an_exact_estimator_and_are_counted():
    infer = {"layers.0": {"estimator": LocalExpectation()}}
    net = PyroNetwork(
        problems.one_hidden_layer_real_weights(num_data=2),
        infer=infer,
    )
    problem = net.problem
    elbo = sbn.TraceEstimator_ELBO("psa")
    elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
    assert elbo.passes == 1 + 2 * 3
    net.gradients()
    _, found = expected_gradient(net, lambda **kw: sbn.TraceEstimator_ELBO("psa", **kw))
    exact = exact_gradient(problem.net, problem.x, problem.y)
    assert_same_gradient(found, negative_elbo_gradient(problem.net, exact))


def test_rerun_by_the_same_uniforms_repeats_the_cost():
    seen = []

    class Repeat(sbn.Estimator):
        def draw(self, site, uniform):
            return site.fn.draw(uniform)

        def surrogate(self, site, cost, rerun):
            seen.append((cost, rerun({site.name: site.value})))
            with pytest.raises(ValueError, match="give those of site"):
                rerun({"another": site.value})

    net = PyroNetwork(
        problems.two_hidden_layers(num_data=3),
        infer={"layers.0": {"estimator": Repeat()}, "layers.0.weight": {"estimator": Repeat()}},
    )
    sbn.TraceEstimator_ELBO("score").loss_and_grads(net.model, net.guide, net.x, net.y)
    assert len(seen) == 2
    for cost, again in seen:
        assert torch.allclose(cost, again, atol=1e-12)


def test_rerun_keeps_the_rows_that_a_plate_has_drawn():
    x, y = torch.linspace(-2, 2, 16).reshape(8, 2), torch.arange(8) % 2
    leaf = torch.randn(3, 2, requires_grad=True)
    head = torch.linspace(-1, 1, 6).reshape(2, 3)
    seen = []

    class Repeat(sbn.Estimator):
        def draw(self, site, uniform):
            return site.fn.draw(uniform)

        def surrogate(self, site, cost, rerun):
            seen.append((cost, rerun({site.name: site.value})))

    def model(with_labels=True):
        with pyro.plate("data", 8, subsample_size=2) as rows:
            law = sbn.NoisySign(sbn.affine(x[rows], leaf))
            h = pyro.sample("h", law, infer={"follows_model": True})
            if with_labels:
                pyro.sample("y", sbn.AffineCategorical(sbn.affine(h, head)), obs=y[rows])

    elbo = sbn.TraceEstimator_ELBO(Repeat())
    for _ in range(20):
        elbo.loss_and_grads(model, lambda: model(with_labels=False))
    assert all(torch.equal(cost, again) for cost, again in seen)
    assert len({tuple(cost.tolist()) for cost, _ in seen}) > 5


def test_a_seed_gives_the_same_loss_and_gradient():
    net = tiny()
    elbo = sbn.TraceEstimator_ELBO("psa", num_particles=3)
    runs = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        loss = elbo.loss_and_grads(net.model, net.guide, net.x, net.y)
        runs.append((loss, net.gradients()))
    assert runs[0][0] == runs[1][0] != runs[2][0]
    for name, gradient in runs[0][1].items():
        assert (gradient == runs[1][1][name]).all()


def test_automatic_temperature_is_the_rule_and_stays():
    model = sbn.models.BinaryMLP(4, [8], 3, num_data=50)
    guide = sbn.guides.AutoSignBernoulli(model)
    elbo = sbn.TraceEstimator_ELBO("st", temperature="auto")
    x, y = torch.randn(10, 4), torch.zeros(10, dtype=torch.long)
    elbo.loss(model, guide, x, y)
    bits = 4 * 8 + 8 * 3
    assert elbo.temperature == pytest.approx(50 * math.log(3) / (10 * bits * math.log(2)))
    elbo.loss(model, guide, x[:5], y[:5])
    assert elbo.temperature == pytest.approx(50 * math.log(3) / (10 * bits * math.log(2)))
    assert sbn.TraceEstimator_ELBO("st").temperature == 1.0


@pytest.mark.parametrize("vectorize", [False, True])
def test_automatic_temperature_counts_every_weight_once(vectorize):
    """Also where a law is expanded from one parameter, and where particles are drawn together."""

    def weights(p):
        return sbn.SignBernoulli(probs=torch.tensor(p)).expand((6, 4)).to_event(2)

    def model(x, y):
        w = pyro.sample("w", weights(0.5))
        with pyro.plate("data", 20, subsample=x, dim=-1):
            pyro.sample("y", sbn.AffineCategorical(sbn.affine(x, w)), obs=y)

    def guide(x, y):
        pyro.sample("w", weights(0.7))

    elbo = sbn.TraceEstimator_ELBO(
        "st",
        temperature="auto",
        num_particles=3,
        vectorize_particles=vectorize,
        max_plate_nesting=1,
    )
    elbo.loss(model, guide, torch.randn(5, 4), torch.zeros(5, dtype=torch.long))
    assert elbo.temperature == pytest.approx(20 * math.log(6) / (10 * 24 * math.log(2)))


def test_automatic_temperature_is_at_most_one():
    model = sbn.models.BinaryMLP(1, [1], 2, num_data=10000)
    guide = sbn.guides.AutoSignBernoulli(model)
    elbo = sbn.TraceEstimator_ELBO("st", temperature="auto")
    elbo.loss(model, guide, torch.randn(10, 1), torch.zeros(10, dtype=torch.long))
    assert elbo.temperature == 1.0


def test_loss_is_the_same_in_expectation_for_every_batch_size():
    net = tiny()
    forced = {"layers.0.weight": torch.ones(3, 2)}
    elbo = sbn.TraceEstimator_ELBO("psa")

    def loss(rows):
        values = {**forced, "layers.0": torch.ones(len(rows), 3)}
        with sbn.force_draws(values):
            return elbo.loss(net.model, net.guide, net.x[rows], net.y[rows])

    whole = loss([0, 1])
    assert 0.5 * (loss([0]) + loss([1])) == pytest.approx(whole, abs=1e-12)


def test_elbo_module_and_torch_optimisers_work():
    model = sbn.models.BinaryMLP(4, [8], 3, num_data=20)
    guide = sbn.guides.AutoSignBernoulli(model, gradient="euclidean")
    loss = sbn.TraceEstimator_ELBO("psa")(model, guide)
    assert isinstance(loss, ELBOModule)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.05)
    assert len(list(loss.parameters())) == 6
    x, y = torch.randn(20, 4), torch.randint(0, 3, (20,))
    before = {n: p.detach().clone() for n, p in loss.named_parameters()}
    for _ in range(3):
        optimizer.zero_grad()
        loss(x, y).backward()
        optimizer.step()
    assert all(not torch.equal(before[n], p) for n, p in loss.named_parameters())


def test_svi_step_and_evaluate_loss():
    model = sbn.models.BinaryMLP(2, [16], 2, num_data=100)
    guide = sbn.guides.AutoSignBernoulli(model)
    elbo = sbn.TraceEstimator_ELBO("psa", temperature=0.01)
    svi = SVI(model, guide, sbn.optim.MirrorDescent({"lr": 0.1}), loss=elbo)
    x = torch.randn(100, 2)
    y = (x[:, 0] > 0).long()
    first = sum(svi.evaluate_loss(x, y) for _ in range(20))
    for _ in range(60):
        svi.step(x, y)
    assert sum(svi.evaluate_loss(x, y) for _ in range(20)) < 0.7 * first


def test_unknown_estimators_are_errors_that_list_the_known():
    with pytest.raises(ValueError, match=r"known are .*psa, .*score, st.*Register your own"):
        sbn.TraceEstimator_ELBO("reinforce")
    with pytest.raises(TypeError, match="is a class; pass an instance"):
        sbn.TraceEstimator_ELBO(sbn.estimators.StraightThrough)
    with pytest.raises(TypeError, match="is a int"):
        sbn.TraceEstimator_ELBO(3)
    net = tiny(infer={"layers.0": {"estimator": "nothing"}})
    with pytest.raises(ValueError, match=r'site "layers.0", infer=\{"estimator"'):
        sbn.TraceEstimator_ELBO("psa").loss(net.model, net.guide, net.x, net.y)


@pytest.mark.parametrize("temperature", [-1.0, math.nan, math.inf, "cold", True])
def test_wrong_temperatures_are_errors(temperature):
    with pytest.raises(ValueError, match="the temperature is a number of at least 0"):
        sbn.TraceEstimator_ELBO("psa", temperature=temperature)


def test_nothing_observed_is_an_error():
    model = sbn.models.BinaryMLP(2, [3], 2, num_data=4)
    guide = sbn.guides.AutoSignBernoulli(model)
    with pytest.raises(ValueError, match="no observed site"):
        sbn.TraceEstimator_ELBO("psa").loss(model, guide, torch.randn(4, 2))


def test_registration(registry):
    @sbn.register_estimator("mine")
    class Mine(sbn.Estimator):
        """Straight-through again."""

        def draw(self, site, uniform):
            return sbn.straight_through(site.fn, uniform)

    net = tiny()
    forced = {"layers.0.weight": torch.ones(3, 2), "layers.0": torch.ones(2, 3)}
    with sbn.force_draws(forced):
        sbn.TraceEstimator_ELBO("mine").loss_and_grads(net.model, net.guide, net.x, net.y)
        mine = net.gradients()
        sbn.TraceEstimator_ELBO("st").loss_and_grads(net.model, net.guide, net.x, net.y)
    assert_same_gradient(mine, net.gradients(), 1e-14)
    assert "mine" in sbn.estimators.table()
    with pytest.warns(UserWarning, match="replaces bayes_sbn.estimators.straight_through"):
        sbn.register_estimator("st")(Mine)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sbn.register_estimator("st")(Mine)  # the same class again is no surprise
    with pytest.raises(TypeError, match="decorates a subclass"):
        sbn.register_estimator("no")(int)


def test_an_estimator_without_a_draw_or_with_a_wrong_shape_is_an_error():
    class Nothing(sbn.Estimator):
        pass

    class Narrow(sbn.Estimator):
        def draw(self, site, uniform):
            return site.fn.draw(uniform)[..., :1]

    net = tiny()
    with pytest.raises(NotImplementedError, match=r"Nothing.* has no draw"):
        sbn.TraceEstimator_ELBO(Nothing()).loss(net.model, net.guide, net.x, net.y)
    with pytest.raises(ValueError, match="must return the shape of the site"):
        sbn.TraceEstimator_ELBO(Narrow()).loss(net.model, net.guide, net.x, net.y)


def test_a_real_latent_site_keeps_pyros_terms():
    # a hand-written guide with one normal latent; its exact expectation is known
    def model(y):
        z = pyro.sample("z", pyro.distributions.Normal(0.0, 1.0))
        with pyro.plate("data", 1, dim=-1):
            pyro.sample("y", pyro.distributions.Normal(z, 1.0), obs=y)

    loc = torch.tensor(0.7, requires_grad=True)

    def guide(y):
        pyro.sample("z", pyro.distributions.Normal(loc, 1.0))

    y = torch.tensor([2.0])
    torch.manual_seed(0)
    elbo = sbn.TraceEstimator_ELBO("psa", num_particles=2000)
    elbo.loss_and_grads(model, guide, y)
    # d/dloc [ (y - loc)^2 / 2 + loc^2 / 2 ] = 2 loc - y = -0.6; the estimate is z + (z - y),
    # variance 4, so its standard error is 0.045: within six of them
    assert float(loc.grad) == pytest.approx(-0.6, abs=6 * 0.045)
