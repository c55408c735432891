"""AutoSignMixture: the exact bound, estimates of its gradient, stratified draws, the joint law."""

import itertools
import math

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI

import bayes_sbn as sbn
from tests import chance
from tests.guides.joint_guides import (
    SHIPPED,
    assert_steps_move_all,
    gradients,
)
from tests.guides.mixture_networks import (
    BITS,
    COMPONENT,
    STATES,
    network,
    regression,
    regression_pair,
)


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
    assert_steps_move_all(name, model, guide, x, y)


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
