"""AutoSignLowRank: mean field at L = 0, exact expectations over factors, bounds, state, errors."""

import itertools
import math

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import SVI

import bayes_sbn as sbn
from bayes_sbn.distributions.sign_low_rank import mean_variance
from tests.guides.joint_guides import (
    SHIPPED,
    assert_steps_move_all,
    copies_of,
    gradients,
    shuffled_digits,
)

FACTORS = "AutoSignLowRank.factors"
BITS = 7
STATES = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=BITS)), dtype=torch.float64)


def network(**options):
    torch.manual_seed(3)
    x, y = torch.randn(3, 2), torch.tensor([0, 1, 0])
    model = sbn.models.BinaryMLP(2, [2], 2, num_data=3, prior_logit=0.6)
    return model, sbn.guides.AutoSignLowRank(model, **{"rank": 2, **options}), x, y


def neighbours(x, y=None):
    w = pyro.sample("w", sbn.SignBernoulli(logits=torch.zeros(1, BITS)).to_event(2))
    with pyro.plate("data", len(x), dim=-1):
        return pyro.sample("y", sbn.AffineBernoulli(sbn.affine(x, w, scale=1.5)), obs=y)


def neighbours_data():
    """Each pair of neighbours with both labels: equal weights explain that best."""
    x = torch.eye(BITS) - torch.eye(BITS).roll(1, 1)
    return x.repeat(2, 1), torch.tensor([0.0, 1.0]).repeat_interleave(BITS)[:, None]


def log_joint(x, y):
    """``ln p(w, y)`` of every state of the weights."""
    logits = 1.5 * STATES @ x.T
    return -torch.nn.functional.softplus(torch.where(y.T > 0, -1.0, 1.0) * logits).sum(
        1
    ) - BITS * math.log(2)


def gauss_hermite(points):
    places, weights = np.polynomial.hermite_e.hermegauss(points)
    return torch.tensor(places), torch.tensor(weights / weights.sum())


def log_law(guide):
    """``ln q(w)`` of every state by quadrature over the one factor."""
    places = torch.linspace(-8, 8, 801)
    weights = torch.exp(-places.square() / 2)
    weights = weights / weights.sum()
    lam = guide.leaf("w").detach()[0] + places[:, None] * guide.loading("w").detach()[0, 0]
    each = torch.nn.functional.logsigmoid(2 * lam[:, None] * STATES).sum(-1)
    return torch.logsumexp(each + weights.log()[:, None], 0)


@pytest.mark.parametrize("name", ["psa", "st", "score", "disarm"])
def test_without_loadings_it_is_mean_field_draw_for_draw_and_in_its_gradients(name):
    model, guide, x, y = network(loading_scale=0.0)
    single = guide.at(torch.zeros(2))
    shapes = {site: leaf.shape for site, leaf in single.weight_probabilities().items()}
    uniforms = {site: torch.rand(shape) for site, shape in shapes.items()}
    uniforms["x1"] = torch.rand(3, 2)
    losses, found = [], []
    for law in (single, guide):
        with sbn.force_draws({}, uniforms):
            losses.append(sbn.TraceEstimator_ELBO(name).loss_and_grads(model, law, x, y))
        found.append(gradients(law, model))
    assert losses[0] == pytest.approx(losses[1], abs=1e-12)
    for key, gradient in found[0].items():
        torch.testing.assert_close(found[1][key], gradient, rtol=1e-10, atol=1e-12)


def test_the_expected_cost_has_the_gradients_of_quadrature():
    x, y = neighbours_data()
    guide = sbn.guides.AutoSignLowRank(neighbours, rank=1, loading_scale=0.7, example=(x, y))
    places, weights = gauss_hermite(3)  # the same finite sum on both sides
    estimator = sbn.estimators.PathSampleAnalytic(real_inputs="exact")
    elbo = sbn.TraceEstimator_ELBO(estimator, temperature=0.0)
    cost = -(log_joint(x, y) + BITS * math.log(2))
    leaves = [guide.leaf("w").detach().clone(), guide.loading("w").detach().clone()]
    plain = [leaf.clone().requires_grad_() for leaf in leaves]
    given = plain[0][0] + places[:, None] * plain[1][0, 0]
    chances = torch.nn.functional.logsigmoid(2 * given[:, None] * STATES).sum(-1).exp()
    (weights @ chances @ cost).backward()
    total = {key: torch.zeros_like(p) for key, p in guide.named_parameters()}
    value = 0.0
    for place, weight, chance_of in zip(places, weights, chances.detach(), strict=True):
        for state, probability in zip(STATES, chance_of, strict=True):
            with sbn.force_draws({FACTORS: place[None], "w": state[None]}):
                loss = elbo.loss_and_grads(neighbours, guide, x, y)
            value += float(weight * probability) * loss
            for key, gradient in gradients(guide).items():
                total[key] += weight * probability * gradient
    assert value == pytest.approx(float(weights @ chances.detach() @ cost), abs=1e-10)
    fisher = mean_variance(*leaves)
    torch.testing.assert_close(total["posterior.w"] * fisher, plain[0].grad, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(total["loadings.w"], plain[1].grad, rtol=1e-9, atol=1e-11)


def test_the_reported_bound_lies_above_the_divergence_and_falls_towards_it():
    x, y = neighbours_data()
    guide = sbn.guides.AutoSignLowRank(neighbours, rank=1, loading_scale=1.5, example=(x, y))
    guide.leaf("w").data.mul_(0.3)
    log_q = log_law(guide)
    true = float((log_q.exp() * (log_q + BITS * math.log(2))).sum())
    generator = torch.Generator().manual_seed(1)
    loose, tight = (guide.divergence(400, num_auxiliary=k, generator=generator) for k in (0, 200))
    assert loose.value - 5 * loose.standard_error > tight.value + 5 * tight.standard_error
    assert tight.value + 5 * tight.standard_error > true
    assert tight.value - 5 * tight.standard_error < true + 0.05
    chances = (log_q.exp()[:, None] * (STATES > 0)).sum(0)
    torch.testing.assert_close(guide.weight_probabilities()["w"][0], chances, rtol=0, atol=1e-10)


def test_correlated_weights_are_worth_more_than_mean_field():
    x, y = neighbours_data()
    bounds = []
    for scale in (0.0, 0.5):
        torch.manual_seed(1)
        guide = sbn.guides.AutoSignLowRank(
            neighbours,
            rank=1,
            num_auxiliary=20,
            loading_scale=scale,
            init_scale=0.3,
            example=(x, y),
        )
        elbo = sbn.TraceEstimator_ELBO(
            "psa", num_particles=4, vectorize_particles=True, max_plate_nesting=1
        )
        rate = 0.1 if scale else 0.0  # without loadings, mean field
        optim = sbn.optim.MirrorDescent({"lr": 0.05, "real": ("Adam", {"lr": rate})})
        svi = SVI(neighbours, guide, optim, loss=elbo)
        for _ in range(200):
            svi.step(x, y)
        log_q = log_law(guide)
        bounds.append(float((log_q.exp() * (log_joint(x, y) - log_q)).sum()))
    assert bounds[1] > bounds[0] + 0.4
    assert bounds[1] < float(log_joint(x, y).logsumexp(0))


@pytest.mark.parametrize("name", [n for n in SHIPPED if n != "exact"])  # continuous factors
def test_every_estimator_steps_all_parameters(name):
    model, guide, x, y = network()
    assert_steps_move_all(name, model, guide, x, y)


def test_particles_have_factors_of_their_own_and_copies_share_them():
    model, guide, x, y = network()
    seen = []
    start = guide._start

    def kept(frames, shape):
        seen.append(start(frames, shape))
        return seen[-1]

    guide._start = kept
    elbo = sbn.TraceEstimator_ELBO("psa", num_particles=3, num_importance=2, max_plate_nesting=1)
    assert math.isfinite(elbo.loss(model, guide, x, y))
    value = seen[-1].value
    assert value.shape == (6, 1, 2)
    assert torch.equal(value[::2], value[1::2])
    assert len(value.flatten().unique()) == 6


def test_state_survives_a_file_pickling_and_copying():
    model, guide, x, y = network()
    optim = sbn.optim.MirrorDescent({"lr": 0.1})
    svi = SVI(model, guide, optim, loss=sbn.TraceEstimator_ELBO("psa"))
    for _ in range(3):
        svi.step(x, y)
    assert sorted(guide.state_dict()) == [
        "loadings.hidden.0.weight",
        "loadings.output.weight",
        "posterior.hidden.0.weight",
        "posterior.output.weight",
    ]
    assert "loadings.output.weight" in optim.get_state()
    for other in copies_of(guide, sbn.guides.AutoSignLowRank(model, rank=2)):
        for site, probs in guide.weight_probabilities().items():
            assert torch.equal(other.weight_probabilities()[site], probs)


def test_a_low_rank_guide_learns_digits():
    torch.set_default_dtype(torch.float32)
    x, y = shuffled_digits()
    model = sbn.models.BinaryMLP(64, [64], 10, num_data=1437)
    guide = sbn.guides.AutoSignLowRank(model, rank=2)
    sbn.fit(model, guide, (x[:1437], torch.tensor(y[:1437])), epochs=20, progress=False)
    pred = sbn.Posterior.from_guide(model, guide).draw(50).predict(x[1437:], progress=False)
    assert sbn.metrics.accuracy(pred, y[1437:]) >= 0.9
    assert sbn.summary(model, guide).bits == 64 * 64 + 640


def test_what_a_low_rank_guide_cannot_do_is_an_error():
    model, guide, x, y = network()
    with pytest.raises(NotImplementedError, match=r"AutoSignLowRank.unrolled"):
        guide.unrolled()
    with pytest.raises(ValueError, match=r"AutoSignLowRank.factors is continuous"):
        sbn.TraceEstimator_ELBO("exact").loss(model, guide, x, y)
    with pytest.raises(ValueError, match=r"weight_kl=False.*AutoSignLowRank"):
        sbn.TraceEstimator_ELBO("psa", weight_kl=False).loss_and_grads(model, guide, x, y)
    with pytest.raises(ValueError, match=r"shape \(3,\); they are \(2,\)"):
        guide.at(torch.zeros(3))
    wrong = sbn.force_draws({FACTORS: torch.zeros(3)})
    with pytest.raises(ValueError, match="received shape"), wrong:
        guide(x, y)
    for options, words in (
        ({"rank": 0}, "rank=0"),
        ({"num_auxiliary": -1}, "num_auxiliary=-1"),
        ({"loading_scale": -0.1}, "loading_scale=-0.1"),
    ):
        with pytest.raises(ValueError, match=words):
            sbn.guides.AutoSignLowRank(model, **options)
