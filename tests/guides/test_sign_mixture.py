"""AutoSignMixture: the exact bound, estimates of its gradient, stratified draws, state, errors."""

import copy
import io
import itertools
import math
import pickle

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO
from sklearn.datasets import load_digits

import bayes_sbn as sbn
from bayes_sbn.estimators.estimator import REGISTRY
from tests import chance

COMPONENT = "AutoSignMixture.component"
SHIPPED = sorted(n for n, cls in REGISTRY.items() if cls.__module__.startswith("bayes_sbn."))
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


def gradients(*modules):
    found = {}
    for module in modules:
        for name, parameter in module.named_parameters():
            found[name] = None if parameter.grad is None else parameter.grad.clone()
            parameter.grad = None
    return found


def test_the_exact_bound_is_the_mean_over_components_and_the_divergence_bound():
    model, guide, x, y = network(num_components=3)
    found = sbn.TraceEstimator_ELBO("exact", temperature=0.7).loss(model, guide, x, y)
    each = [
        sbn.TraceEstimator_ELBO("exact", temperature=0.0).loss(model, guide.component(c), x, y)
        for c in range(3)
    ]
    mean = float(guide.component_weights() @ torch.tensor(each))
    assert found == pytest.approx(mean + 0.7 * guide.divergence_bound(), abs=1e-12)
    estimated = sbn.TraceEstimator_ELBO("psa").loss(model, guide, x, y)
    free = sbn.TraceEstimator_ELBO("psa", temperature=0.0)
    torch.manual_seed(0)
    without = free.loss(model, guide, x, y)
    torch.manual_seed(0)
    within = sbn.TraceEstimator_ELBO("psa").loss(model, guide, x, y)
    assert within - without == pytest.approx(guide.divergence_bound(), abs=1e-12)
    assert math.isfinite(estimated)


def test_the_natural_gradient_is_the_euclidean_one_over_the_fisher_information():
    found = {}
    for kind in ("natural", "euclidean"):
        model, guide, x, y = network(gradient=kind)
        sbn.TraceEstimator_ELBO("exact").differentiable_loss(model, guide, x, y).backward()
        found[kind] = gradients(guide, model)
    for name, natural in found["natural"].items():
        wanted = found["euclidean"][name]
        if name.startswith("posterior."):
            leaf = guide.leaf(name.removeprefix("posterior.")).detach()
            weights = guide.component_weights().reshape(-1, 1, 1)
            wanted = wanted / (weights * (1 - leaf.tanh() ** 2))
        torch.testing.assert_close(natural, wanted, rtol=1e-9, atol=1e-12)


def test_one_component_is_mean_field_and_so_are_equal_ones():
    for number in (1, 3):
        model, guide, x, y = network(num_components=number)
        for name in guide.weight_probabilities():
            guide.leaf(name).data.copy_(guide.leaf(name).data[:1].expand(guide.leaf(name).shape))
        elbo = sbn.TraceEstimator_ELBO("exact")
        single = guide.component(0)
        loss = elbo.differentiable_loss(model, single, x, y)
        loss.backward()
        wanted = gradients(single, model)
        same = elbo.differentiable_loss(model, guide, x, y)
        same.backward()
        found = gradients(guide, model)
        assert float(same.detach()) == pytest.approx(float(loss.detach()), abs=1e-12)
        for name, gradient in wanted.items():
            torch.testing.assert_close(
                found[name], gradient.expand(found[name].shape), rtol=1e-10, atol=1e-12
            )
        weights = found["mixture.logits"]
        torch.testing.assert_close(weights, torch.zeros_like(weights), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["psa", "score", "local", "disarm"])
def test_estimates_have_the_gradient_of_the_exact_bound_in_expectation(name):
    guide, x, y = regression_pair()
    sbn.TraceEstimator_ELBO("exact").differentiable_loss(regression, guide, x, y).backward()
    wanted = gradients(guide)
    elbo = sbn.TraceEstimator_ELBO(sbn.estimators.PathSampleAnalytic(real_inputs="exact"))
    if name != "psa":
        elbo = sbn.TraceEstimator_ELBO(name)
    weights = guide.component_weights()
    costs = torch.tensor([2.0, 3.5])
    probs = torch.sigmoid(2 * guide.leaf("w").detach())
    total = {key: torch.zeros_like(value) for key, value in wanted.items()}
    for component in range(2):
        choice = {COMPONENT: torch.tensor(component)}
        for uniform, chance_of in cells(probs[component], name):
            guide.mixture.costs.copy_(costs)
            with sbn.force_draws(choice, uniforms={"w": uniform}):
                elbo.loss_and_grads(regression, guide, x, y)
            for key, gradient in gradients(guide).items():
                total[key] += weights[component] * chance_of * gradient
    for key, gradient in wanted.items():
        torch.testing.assert_close(total[key], gradient, rtol=1e-9, atol=1e-11, msg=key)


def cells(probs, name):
    """Uniforms, and the probability of what an estimator does with them."""
    if name == "disarm":  # a coordinate is drawn by u and by 1 - u: three cells between both
        edges = [sorted({0.0, 1.0, float(p), 1 - float(p)}) for p in probs.reshape(-1)]
    else:
        edges = [[0.0, float(p), 1.0] for p in probs.reshape(-1)]
    parts = [list(itertools.pairwise(e)) for e in edges]
    for chosen in itertools.product(*parts):
        middle = torch.tensor([(low + high) / 2 for low, high in chosen]).reshape(probs.shape)
        yield middle, math.prod(high - low for low, high in chosen)


def test_particles_draw_components_stratified():
    guide, x, y = regression_pair(num_components=4, learn_weights=False)
    guide.leaf("w").data.copy_(30.0 * torch.where(torch.randn(4, 1, BITS) < 0, -1.0, 1.0))
    losses = [
        sbn.TraceEstimator_ELBO("psa", temperature=0.0).loss(regression, guide.component(c), x, y)
        for c in range(4)
    ]
    assert len({round(value, 9) for value in losses}) > 1
    elbo = sbn.TraceEstimator_ELBO(
        "psa", temperature=0.0, num_particles=8, vectorize_particles=True, max_plate_nesting=1
    )
    for _ in range(3):
        found = elbo.loss(regression, guide, x, y)
        assert found == pytest.approx(sum(losses) / 4, abs=1e-12)


def test_components_are_drawn_by_their_weights():
    guide, x, y = regression_pair(num_components=3)
    counts = torch.zeros(3)
    for _ in range(1000):
        with poutine.trace(), sbn.EstimatorMessenger("st") as handler:
            guide(x, y)
        counts[handler.auxiliary[COMPONENT]] += 1
    chance.assert_count(counts, 1000, guide.component_weights(), detects=0.15)


def test_each_vectorised_particle_has_a_loss_of_its_own():
    guide, x, y = regression_pair()
    guide.mixture.costs.copy_(torch.tensor([2.0, 3.0]))
    options = {"num_particles": 6, "vectorize_particles": True, "max_plate_nesting": 1}
    losses, gradients_of_weights = [], []
    for each in (False, True):
        elbo = sbn.TraceEstimator_ELBO("psa", **options)
        kept = guide.mixture.costs.clone()
        torch.manual_seed(4)
        call = elbo.particle_losses if each else elbo.differentiable_loss
        loss = call(regression, guide, x, y)
        guide.mixture.costs.copy_(kept)
        assert loss.shape == ((6,) if each else ())
        loss.mean().backward()
        losses.append(float(loss.detach().mean()))
        gradients_of_weights.append(gradients(guide))
    assert losses[0] == pytest.approx(losses[1], abs=1e-12)
    for key, gradient in gradients_of_weights[0].items():
        torch.testing.assert_close(gradients_of_weights[1][key], gradient)


def test_an_audit_samples_as_paths_do_not_tell_the_component():
    guide, x, y = regression_pair(learn_weights=False)
    audit = sbn.audit(regression, guide, (x, y), estimators=["psa"], repeats=20, progress=False)
    assert COMPONENT in audit.why_sampled


def test_copies_of_a_bound_of_several_samples_share_their_component():
    guide, x, y = regression_pair(num_components=4, learn_weights=False)
    seen = []
    draw = guide._start

    def start(frames, shape):
        seen.append(draw(frames, shape))
        return seen[-1]

    guide._start = start
    elbo = sbn.TraceEstimator_ELBO("psa", num_particles=4, num_importance=3, max_plate_nesting=1)
    elbo.loss(regression, guide, x, y)
    assert seen[-1].value.shape == (12, 1)
    assert seen[-1].value.flatten().tolist() == [c for c in range(4) for _ in range(3)]
    learned, x, y = regression_pair()
    with pytest.raises(ValueError, match=r"learned from the cost of each.*learn_weights=False"):
        elbo.loss(regression, learned, x, y)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_estimator_steps_all_parameters(name):
    model, guide, x, y = network()
    guide.mixture.costs.copy_(torch.tensor([2.0, 2.5]))
    options = {"num_particles": 2, "vectorize_particles": True} if name == "loo" else {}
    elbo = sbn.TraceEstimator_ELBO(name, **options)
    before = copy.deepcopy(dict(guide.named_parameters()))
    svi = SVI(model, guide, sbn.optim.MirrorDescent({"lr": 0.1}), loss=elbo)
    for _ in range(2):
        assert math.isfinite(svi.step(x, y))
    for key, parameter in guide.named_parameters():
        assert torch.isfinite(parameter).all()
        assert not torch.equal(parameter, before[key]), key


def test_weights_wait_until_every_component_has_had_a_cost():
    guide, x, y = regression_pair()
    elbo = sbn.TraceEstimator_ELBO("psa", temperature=0.0)
    for component, is_moved in ((0, False), (0, False), (1, False), (1, True)):
        with sbn.force_draws({COMPONENT: torch.tensor(component)}):
            elbo.loss_and_grads(regression, guide, x, y)
        moved = gradients(guide)["mixture.logits"]
        assert (moved is not None and bool(moved.abs().max() > 0)) is is_moved
    assert torch.isfinite(guide.mixture.costs).all()


def test_the_joint_law_sums_to_one_and_has_the_marginals():
    guide, _, _ = regression_pair(num_components=3)
    log_q = guide.log_prob({"w": STATES.reshape(-1, 1, BITS)})
    chances = log_q.exp()
    assert float(chances.sum()) == pytest.approx(1, abs=1e-12)
    marginals = (chances[:, None] * (STATES > 0)).sum(0)
    torch.testing.assert_close(guide.weight_probabilities()["w"][0], marginals)
    prior = torch.sigmoid(torch.tensor(0.4))
    log_p = torch.where(STATES > 0, prior.log(), (-prior).log1p()).sum(1)
    divergence = float((chances * (log_q - log_p)).sum())
    assert divergence < guide.divergence_bound()
    found = guide.divergence(400, generator=chance.torch_generator("mixture divergence"))
    assert abs(found.value - divergence) < 6 * found.standard_error
    assert found.standard_error < 0.1
    assert "nats (400 draws)" in str(found)


def bimodal(x, y=None):
    w = pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(1, 7)).to_event(2))
    with pyro.plate("data", len(x), dim=-1):
        return pyro.sample("y", sbn.AffineBernoulli(sbn.affine(x, w, scale=1.5)), obs=y)


def test_a_mixture_finds_both_modes_of_a_bimodal_posterior():
    # each pair of neighbours is seen with both labels at x = e_i - e_(i+1): equal weights explain
    # that best, so that the posterior has its mass near all +1 and near all -1
    x = torch.eye(7) - torch.eye(7).roll(1, 1)
    x, y = x.repeat(2, 1), torch.tensor([0.0, 1.0]).repeat_interleave(7)[:, None]
    states = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=7)))
    logits = 1.5 * states @ x.T
    log_joint = (-torch.nn.functional.softplus(torch.where(y.T > 0, -1, 1) * logits)).sum(1)
    log_joint = log_joint - 7 * math.log(2)
    bounds = []
    for number in (1, 4):
        torch.manual_seed(0)
        guide = sbn.guides.AutoSignMixture(
            bimodal, num_components=number, example=(x, y), init_scale=0.3
        )
        elbo = sbn.TraceEstimator_ELBO(
            "psa", num_particles=4, vectorize_particles=True, max_plate_nesting=1
        )
        optim = sbn.optim.MirrorDescent({"lr": 0.1, "real": ("Adam", {"lr": 0.1})})
        svi = SVI(bimodal, guide, optim, loss=elbo)
        for _ in range(200):
            svi.step(x, y)
        log_q = guide.log_prob({"w": states.reshape(-1, 1, 7)})
        bounds.append(float((log_q.exp() * (log_joint - log_q)).sum()))
    assert bounds[1] > bounds[0] + 0.6  # the log of 2, but for what it has yet to learn
    assert bounds[1] < float(log_joint.logsumexp(0))


def test_state_survives_a_file_pickling_and_copying():
    model, guide, x, y = network(num_components=3)
    optim = sbn.optim.MirrorDescent({"lr": 0.1})
    svi = SVI(model, guide, optim, loss=sbn.TraceEstimator_ELBO("psa"))
    for _ in range(6):
        svi.step(x, y)
    assert sorted(guide.state_dict()) == [
        "mixture.costs",
        "mixture.logits",
        "posterior.hidden.0.weight",
        "posterior.output.weight",
    ]
    assert "mixture.logits" in optim.get_state()
    buffer = io.BytesIO()
    torch.save(guide.state_dict(), buffer)
    buffer.seek(0)
    fresh = sbn.guides.AutoSignMixture(model, num_components=3)
    fresh.load_state_dict(torch.load(buffer, weights_only=True))
    for other in (fresh, pickle.loads(pickle.dumps(guide)), copy.deepcopy(guide)):
        assert other.divergence_bound() == guide.divergence_bound()
        torch.testing.assert_close(other.component_weights(), guide.component_weights())


def test_a_lazy_guide_makes_its_parameters_at_the_first_call():
    guide, x, y = regression_pair()
    lazy = sbn.guides.AutoSignMixture(regression, num_components=2)
    with pytest.raises(RuntimeError, match=r"component_weights.*example="):
        lazy.component_weights()
    lazy(x, y)
    lazy.load_state_dict(guide.state_dict())
    assert lazy.divergence_bound() == guide.divergence_bound()


def test_pyros_own_bound_runs_and_is_the_looser_one():
    guide, x, y = regression_pair(learn_weights=False)
    mean = 0.0
    for component in range(2):
        for state in STATES:
            values = {COMPONENT: torch.tensor(component), "w": state[None]}
            single = guide.component(component)
            probs = single.weight_probabilities()["w"][0]
            chance_of = torch.where(state > 0, probs, 1 - probs).prod() / 2
            with torch.no_grad(), sbn.force_draws(values):
                mean += float(chance_of) * Trace_ELBO().loss(regression, guide, x, y)
    exact = sbn.TraceEstimator_ELBO("exact").loss(regression, guide, x, y)
    each = sum(
        sbn.TraceEstimator_ELBO("exact").loss(regression, guide.component(c), x, y) for c in (0, 1)
    )
    assert mean == pytest.approx(each / 2, abs=1e-12)
    assert exact < mean - 1e-3


def test_a_mixture_learns_digits_and_its_components_differ():
    torch.set_default_dtype(torch.float32)
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    x, y = torch.tensor(images[order] / 8 - 1, dtype=torch.float32), labels[order]
    model = sbn.models.BinaryMLP(64, [64], 10, num_data=1437)
    guide = sbn.guides.AutoSignMixture(model, num_components=2)
    fit = sbn.fit(model, guide, (x[:1437], torch.tensor(y[:1437])), epochs=25, progress=False)
    assert fit.history[-1].kl_nats == pytest.approx(guide.divergence_bound(), rel=1e-4)
    draws = [
        sbn.Posterior.from_guide(model, guide.component(c))
        .draw(50)
        .predict(x[1437:], progress=False)
        .mean
        for c in range(2)
    ]
    mean = np.tensordot(guide.component_weights().numpy(), np.stack(draws), 1)
    assert sbn.metrics.accuracy(mean, y[1437:]) >= 0.9
    assert guide.weight_probabilities()["hidden.0.weight"].shape == (64, 64)
    told = sbn.summary(model, guide)
    assert told.bits == 64 * 64 + 640
    p = guide.weight_probabilities()["output.weight"]
    entropy = -(torch.special.xlogy(p, p) + torch.special.xlogy(1 - p, 1 - p)).mean()
    assert told.layers[-1].entropy == pytest.approx(float(entropy) / math.log(2), rel=1e-5)
    first, second = (guide.component(c).weight_probabilities()["hidden.0.weight"] for c in (0, 1))
    assert float(((first > 0.5) != (second > 0.5)).double().mean()) > 0.2


def test_what_a_mixture_cannot_do_is_an_error():
    model, guide, x, y = network()
    with pytest.raises(NotImplementedError, match=r'AutoSignMixture.unrolled.*"exact"'):
        guide.unrolled()
    with pytest.raises(NotImplementedError, match="weight_probabilities"):
        guide.law(guide.leaf("output.weight"))
    with pytest.raises(ValueError, match="num_components=0"):
        sbn.guides.AutoSignMixture(model, num_components=0)
    with pytest.raises(ValueError, match="'natural' or 'euclidean'"):
        sbn.guides.AutoSignMixture(model, gradient="fisher")
    with pytest.raises(IndexError, match="components are 0 to 1"):
        guide.component(2)
    with pytest.raises(ValueError, match="at least 2 draws"):
        guide.divergence(1)
    with pytest.raises(TypeError, match=r"weights of AutoSignMixture are not independent.*compon"):
        sbn.Posterior.from_guide(model, guide)
    with pytest.raises(ValueError, match=r"weight_kl=False.*AutoSignMixture"):
        sbn.TraceEstimator_ELBO("psa", weight_kl=False).loss_and_grads(model, guide, x, y)
    wrong = sbn.force_draws({COMPONENT: torch.tensor([0, 1])})
    with pytest.raises(ValueError, match="a component is an integer"), wrong:
        guide(x, y)


def test_sites_of_different_scales_are_an_error():
    def scaled(x, y=None):
        with poutine.scale(scale=0.5):
            v = pyro.sample("v", sbn.SignBernoulli(logits=torch.zeros(1, BITS)).to_event(2))
        w = pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(1, BITS)).to_event(2))
        with pyro.plate("data", len(x), dim=-1):
            a = sbn.affine(x, v) + sbn.affine(x, w)
            return pyro.sample("y", sbn.AffineBernoulli(a), obs=y)

    _, x, y = regression_pair()
    guide = sbn.guides.AutoSignMixture(scaled, example=(x, y))
    with pytest.raises(ValueError, match=r'"v" and "w" have one divergence'):
        sbn.TraceEstimator_ELBO("st").loss(scaled, guide, x, y)
