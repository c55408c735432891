"""exact_posterior: every number against nested loops, and the ELBOs that it bounds."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.analysis import exact_posterior
from tests.analysis.brute_force import Plain
from tests.analysis.networks import classifier, guide_of, regressor
from tests.chance import assert_count, assert_mean

CASES = {
    "one_layer": lambda: classifier(3, (), 2),
    "one_hidden_layer": lambda: classifier(2, (2,), 2),
    "three_classes": lambda: classifier(1, (2,), 3, noise="laplace"),
    "two_hidden_layers": lambda: classifier(1, (2, 1), 2, rows=3, noise="gaussian"),
    "three_hidden_layers": lambda: regressor(1, (1, 2, 1), rows=3),
    "real_target": lambda: regressor(2, (2,), noise="uniform"),
    "real_target_one_layer": lambda: regressor(4, ()),
}


def log_sum(values):
    top = max(values)
    return top + math.log(math.fsum(math.exp(v - top) for v in values))


@pytest.mark.parametrize("target", ["bayes", "trained"])
@pytest.mark.parametrize("case", CASES)
def test_all_states_have_the_probabilities_of_nested_sums(case, target):
    model, x, y = CASES[case]()
    temperature = 1.0 if case == "one_layer" else 0.7
    found = exact_posterior(model, x, y, temperature=temperature, target=target)
    plain = Plain.of(model)
    joint = plain.log_joint(x.tolist(), y.tolist(), temperature, target)
    evidence = log_sum(joint)
    assert len(found) == len(joint) == 2**found.num_weights
    assert found.log_evidence == pytest.approx(temperature * evidence, abs=1e-10)
    np.testing.assert_allclose(found.log_probs, joint - evidence, rtol=0, atol=1e-10)
    assert found.probs.sum() == pytest.approx(1, abs=1e-12)
    states = list(plain.states())
    matrices = found.weights(np.arange(len(found)))
    for layer, site in enumerate(found.network.sites):
        np.testing.assert_array_equal(matrices[site], [state[layer] for state in states])
        marginal = sum(
            p * (np.array(s[layer]) > 0) for p, s in zip(found.probs, states, strict=True)
        )
        np.testing.assert_allclose(found.weight_probabilities()[site], marginal, atol=1e-12)
    bits = -sum(math.exp(v - evidence) * (v - evidence) for v in joint) / math.log(2)
    assert found.entropy == pytest.approx(bits, abs=1e-10)


@pytest.mark.parametrize("case", CASES)
def test_predictive_is_that_of_nested_sums(case):
    model, x, y = CASES[case]()
    found = exact_posterior(model, x, y).predictive(x[:3] + 0.3)
    plain = Plain.of(model)
    joint = plain.log_joint(x.tolist(), y.tolist())
    posterior = np.exp(joint - log_sum(joint))
    states = list(plain.states())
    entropy = lambda p: -sum(v * math.log(v) for v in p if v > 0)  # noqa: E731
    for row, inputs in enumerate((x[:3] + 0.3).tolist()):
        p_y = sum(
            p * plain.row_likelihood(m, inputs, y[row].item())
            for p, m in zip(posterior, states, strict=True)
        )
        assert found.log_prob(y[:3])[row] == pytest.approx(math.log(p_y), abs=1e-10)
        given_weights, given_both, mean = 0.0, 0.0, 0.0
        for p, m in zip(posterior, states, strict=True):
            if plain.sigma is None:
                each = [(q, np.array(plain.class_probs(v))) for q, v in plain.paths(m, inputs)]
                of_state = sum(q * probs for q, probs in each)
                mean += p * of_state
                given_weights += p * entropy(of_state)
                given_both += p * sum(q * entropy(probs) for q, probs in each)
            else:
                each = [(q, v[0]) for q, v in plain.paths(m, inputs)]
                of_state = sum(q * v for q, v in each)
                mean += p * of_state
                given_both = plain.sigma**2
                given_weights += p * (
                    plain.sigma**2 + sum(q * (v - of_state) ** 2 for q, v in each)
                )
        if plain.sigma is None:
            total = entropy(mean)
        else:
            second = sum(
                p * sum(q * v[0] ** 2 for q, v in plain.paths(m, inputs))
                for p, m in zip(posterior, states, strict=True)
            )
            total = plain.sigma**2 + second - mean**2
        np.testing.assert_allclose(found.mean[row], mean, atol=1e-12)
        parts = found.parts
        assert parts.total[row] == pytest.approx(total, abs=1e-10)
        assert parts.weights[row] == pytest.approx(total - given_weights, abs=1e-10)
        assert parts.activations[row] == pytest.approx(given_weights - given_both, abs=1e-10)
        assert parts.likelihood[row] == pytest.approx(given_both, abs=1e-10)
    np.testing.assert_allclose(
        parts.total, parts.weights + parts.activations + parts.likelihood, atol=1e-12
    )


def test_one_weight_of_a_normal_target_by_hand():
    """``log P(w=+1) / P(w=-1) = logit prior + 2 sum s x (y - b) / sigma^2``."""
    model, x, y = regressor(1, (), rows=7)
    found = exact_posterior(model, x, y)
    s, b = model.output.scale.item(), model.output.bias.item()
    odds = model.output.prior_logit.item() + 2 * (s * x[:, 0] * (y - b)).sum().item() / 0.6**2
    p = found.weight_probabilities()["output.weight"].item()
    assert math.log(p / (1 - p)) == pytest.approx(odds, abs=1e-10)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_the_exact_elbo_of_a_guide_is_the_trained_evidence_less_its_divergence(case, temperature):
    """``TraceEstimator_ELBO("exact")`` lists the same states by other code."""
    model, x, y = CASES[case]()
    guide = guide_of(model)
    elbo = -sbn.TraceEstimator_ELBO("exact", temperature=temperature).loss(model, guide, x, y)
    trained = exact_posterior(model, x, y, temperature=temperature, target="trained")
    gap = trained.compare(guide)
    assert gap.elbo == pytest.approx(elbo, abs=1e-10)
    assert gap.kl_from > 0.01
    bayes = exact_posterior(model, x, y, temperature=temperature)
    assert elbo < trained.log_evidence <= bayes.log_evidence + 1e-12
    if model.hidden:
        assert trained.log_evidence < bayes.log_evidence - 1e-6
    else:
        assert trained.log_evidence == pytest.approx(bayes.log_evidence, abs=1e-12)


def test_the_bound_is_attained_by_the_exact_posterior():
    """Orthogonal columns: the posterior of a linear regression on ±1 weights is a product."""
    model, _, y = regressor(2, (), rows=4)
    x = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    found = exact_posterior(model, x, y)
    guide = guide_of(model)
    p = torch.as_tensor(found.weight_probabilities()["output.weight"])
    guide.leaf("output.weight").data.copy_(0.5 * torch.logit(p))
    gap = found.compare(guide)
    assert gap.total_variation < 1e-12
    assert gap.kl_from == pytest.approx(0, abs=1e-12)
    loss = sbn.TraceEstimator_ELBO("exact").loss(model, guide, x, y)
    assert -loss == pytest.approx(found.log_evidence, abs=1e-10)


def test_distances_are_those_of_their_definitions():
    model, x, y = classifier()
    found = exact_posterior(model, x, y)
    guide = guide_of(model)
    plain = Plain.of(model)
    plain.layers = [
        (*layer[:2], p.tolist())
        for layer, p in zip(plain.layers, guide.weight_probabilities().values(), strict=True)
    ]
    q = np.array([plain.prior(m) for m in plain.states()])
    p = found.probs
    posterior = sbn.Posterior.from_guide(model, guide)
    for law in (guide, posterior, guide.weight_probabilities()):
        gap = found.compare(law)
        atol = 1e-8 if law is posterior else 1e-12  # of multiples of 2**-32
        assert gap.total_variation == pytest.approx(0.5 * abs(p - q).sum(), abs=atol)
        assert gap.kl_from == pytest.approx((q * np.log(q / p)).sum(), abs=10 * atol)
        assert gap.kl_to == pytest.approx((p * np.log(p / q)).sum(), abs=10 * atol)
        assert gap.elbo == pytest.approx(found.log_evidence - gap.kl_from, abs=1e-12)
    assert found.compare(found).total_variation == 0
    assert found.compare(found).elbo == pytest.approx(found.log_evidence, abs=1e-12)
    mode = found.compare(posterior.mode())
    assert math.isinf(mode.kl_to)
    assert math.isfinite(mode.kl_from)
    assert mode.elbo < found.log_evidence


def test_laws_of_several_components_and_of_shared_factors():
    model, x, y = classifier()
    found = exact_posterior(model, x, y)
    guides = [guide_of(model, seed) for seed in (1, 2)]
    each = [np.exp(found.compare(g).elbo - found.log_evidence) for g in guides]  # exp(-KL)
    posteriors = [sbn.Posterior.from_guide(model, g) for g in guides]
    mixture = found.compare(sbn.Posterior.mixture(posteriors, [0.25, 0.75]))
    assert mixture.kl_from < -0.25 * math.log(each[0]) - 0.75 * math.log(each[1])  # convex
    torch.manual_seed(0)
    several = sbn.guides.AutoSignMixture(model, num_components=2)
    exported = sbn.Posterior.from_guide(model, several)
    assert found.compare(several).kl_from == pytest.approx(
        found.compare(exported).kl_from, abs=1e-7
    )
    low_rank = sbn.guides.AutoSignLowRank(model, rank=1)
    for law in (low_rank, sbn.Posterior.from_guide(model, low_rank)):
        with pytest.raises(TypeError, match="share normal factors"):
            found.compare(law)


def test_a_posterior_gives_the_network_its_prior_and_its_grid():
    model, x, y = classifier(rows=6)
    model.input_range.fill_(float(x.abs().max()))
    posterior = sbn.Posterior.from_guide(model, guide_of(model))
    found = exact_posterior(posterior, x, y)
    grid = (x / posterior.input_scale).round() * posterior.input_scale
    wanted = exact_posterior(model, grid, y)
    np.testing.assert_allclose(found.log_probs, wanted.log_probs, rtol=0, atol=1e-12)
    assert found.network.sites == wanted.network.sites
    assert 0 < abs(found.log_evidence - exact_posterior(model, x, y).log_evidence) < 1e-2
    with pytest.raises(ValueError, match="input range"):
        exact_posterior(posterior, 1000 * x, y)


def test_real_weights_of_a_posterior_that_are_points_are_constants():
    torch.manual_seed(1)
    model = sbn.models.BinaryMLP(2, [2], 2, num_data=4, real=["first"])
    guide = sbn.guides.AutoHybrid(model, real="point")
    posterior = sbn.Posterior.from_guide(model, guide, input_range=4.0)
    x, y = torch.randn(4, 2), torch.tensor([0, 1, 1, 0])
    found = exact_posterior(posterior, x, y)
    first, last = posterior.layers
    assert found.network.sites == {"output.weight": (2, 2)}
    weights = np.rint(first.loc / first.step) * first.step
    rows = np.rint(x.numpy() / posterior.input_scale) * posterior.input_scale
    f = 1 / (1 + np.exp(-(rows @ weights.T + first.bias)))
    joint = []
    for number in range(16):
        w = np.array([1 if number >> i & 1 else -1 for i in range(4)]).reshape(2, 2)
        total = 4 * math.log(0.5)
        for row, label in zip(f, y.tolist(), strict=True):
            p = 0.0
            for z in ([1, 1], [1, -1], [-1, 1], [-1, -1]):
                logits = last.scale * (w @ z) + last.bias
                mass = math.prod(q if s > 0 else 1 - q for q, s in zip(row, z, strict=True))
                p += mass * np.exp(logits[label]) / np.exp(logits).sum()
            total += math.log(p)
        joint.append(total)
    np.testing.assert_allclose(found.log_probs, np.array(joint) - log_sum(joint), atol=1e-10)


def test_the_predictive_of_the_prior_is_what_ensembles_draw():
    model, x, _ = classifier(2, (2, 2), 3)
    prior = {site: p for site, p in model.prior_probabilities().items()}
    guide = guide_of(model)
    for site, p in prior.items():
        guide.leaf(site).data.copy_(0.5 * torch.logit(p))
    posterior = sbn.Posterior.from_guide(model, guide, input_range=4.0)
    nothing = exact_posterior(posterior, torch.zeros(0, 2), torch.zeros(0, dtype=torch.long))
    assert nothing.log_evidence == pytest.approx(0, abs=1e-12)
    assert nothing.compare(guide).total_variation < 1e-12
    found = nothing.predictive(x)
    draws = posterior.draw(20000, seed=3).predict(x, noise="independent").probs_per_draw
    assert_mean(draws, found.mean, bounds=(0, 1), detects=0.04)
    # what an average over prior weights at all +1 would say is noticed
    ones = exact_posterior(sbn.Posterior.mixture([posterior.mode()]), x[:0], []).predictive(x)
    assert abs(ones.mean - found.mean).max() < 1e-12  # the mode of q does not move the prior


def test_draws_have_the_frequencies_of_the_states():
    model, x, y = classifier(2, (), 2)
    found = exact_posterior(model, x, y)
    drawn = found.sample(8000, seed=2)
    np.testing.assert_array_equal(drawn, found.sample(8000, seed=2))
    assert_count(np.bincount(drawn, minlength=16), 8000, found.probs, detects=0.06)
    with pytest.raises(AssertionError):
        assert_count(np.bincount(drawn, minlength=16), 8000, np.full(16, 1 / 16), detects=0.06)


def test_weights_that_the_prior_decides():
    model, x, y = classifier()
    posterior = sbn.Posterior.from_guide(model, guide_of(model), input_range=4.0)
    first, last = posterior.layers
    prior = np.full(first.prior.shape, 0.5)
    prior[0, 0], prior[1, 1] = 1.0, 0.0
    sure = sbn.Posterior([replace(first, prior=prior), last], posterior.input_scale)
    p = exact_posterior(sure, x, y).weight_probabilities()["hidden.0.weight"]
    assert p[0, 0] == pytest.approx(1, abs=1e-12)
    assert p[1, 1] == 0
    gap = exact_posterior(sure, x, y).compare(guide_of(model))
    assert math.isinf(gap.kl_from)
    assert gap.elbo == -math.inf
    assert math.isfinite(gap.kl_to)
