"""sbc: ranks that are exactly uniform, exact posteriors that pass and bad ones that are flagged."""

import itertools
import math

import numpy as np
import pytest
import torch
from pyro.infer import SVI
from scipy import stats

import bayes_sbn as sbn
from bayes_sbn.analysis import exact_posterior
from bayes_sbn.analysis.sbc import rank_range, sbc
from bayes_sbn.analysis.simulation import (
    fitted_weights,
    mean_activation_log_likelihood,
    prior_weights,
    simulated_targets,
)
from bayes_sbn.analysis.small_network_source import read_network
from bayes_sbn.analysis.uniformity import reaches, symmetry_p_value, uniformity_p_value
from tests import chance
from tests.analysis.networks import classifier, guide_of, regressor


def assert_passes(p_value):
    """One assertion of the budget: a uniform p-value is below it with that probability."""
    chance.BUDGET.spend()
    assert p_value > chance.FALSE_ALARM


def test_ranks_among_draws_of_the_exact_posterior_are_exactly_uniform():
    """All of w*, y and two draws are listed; so is the randomised rank of every weight."""
    model, x, _ = classifier(1, (), 2, rows=2)
    states = [exact_posterior(model, x, [0, 0]).weights([s]) for s in range(4)]
    prior = np.exp(exact_posterior(model, x, [0, 0]).log_prior)
    found = np.zeros((2, 3))  # of each weight, P(rank = r) for 2 draws
    for y in itertools.product((0, 1), repeat=2):
        exact = exact_posterior(model, x, list(y))
        joint = prior * np.exp(exact.log_likelihood)
        for own, first, second in itertools.product(range(4), repeat=3):
            p = joint[own] * exact.probs[first] * exact.probs[second]
            for weight in range(2):
                value, *draws = (
                    states[s]["output.weight"][0, weight, 0] for s in (own, first, second)
                )
                below, ties = rank_range(value, np.array(draws))
                found[weight, below : below + ties + 1] += p / (ties + 1)
    np.testing.assert_allclose(found, 1 / 3, atol=1e-12)


@pytest.mark.parametrize("case", [classifier, regressor])
def test_an_exact_posterior_passes_and_bad_ones_are_flagged(case):
    model, x, _ = case(1, (2,), rows=5)
    exact = sbc(model, lambda a, b: exact_posterior(model, a, b), x, seed=chance.seed("sbc"))
    number = sum(p.numel() for p in model.prior_probabilities().values())
    assert len(exact.ranks) == number + 2 + 1
    for name, p in exact.uniformity.items():
        assert_passes(p)
        assert_passes(exact.symmetry[name])
    assert all(r.min() >= 0 and r.max() <= 99 for r in exact.ranks.values())

    bold = sbc(model, lambda a, b: exact_posterior(model, a, b, temperature=0.15), x)
    assert bold.flagged()
    assert bold.p_value < 1e-4
    # too narrow: ranks at both ends
    name = min(bold.uniformity, key=bold.uniformity.get)
    assert (np.abs(bold.values[name] - 0.5) > 0.4).mean() > 0.3

    prior = sbc(model, lambda a, b: model.prior_probabilities(), x)
    assert prior.flagged() == ["log-likelihood"]  # which weights alone would never tell
    biased = sbc(
        model,
        lambda a, b: (
            {s: 0.02 + 0.9 * p for s, p in model.prior_probabilities().items()}
            | {"output.weight": np.full((model.output.out_features, 2), 0.97)}
        ),
        x,
    )
    assert any("output" in name for name in biased.biased())
    assert "sum of output.weight" in biased.flagged()


def test_a_guide_that_is_fitted_is_drawn_from_and_seeds_reproduce():
    model, x, _ = classifier(1, (1,), 2, rows=3)
    model.requires_grad_(False)

    def fit(x, y):
        guide = sbn.guides.AutoSignBernoulli(model)
        optim = sbn.optim.MirrorDescent({"lr": 0.3})
        svi = SVI(model, guide, optim, loss=sbn.TraceEstimator_ELBO("psa"))
        for _ in range(3):
            svi.step(x, y)
        return guide

    found = sbc(model, fit, x, num_simulations=6)
    again = sbc(model, fit, x, num_simulations=6)
    other = sbc(model, fit, x, num_simulations=6, seed=1)
    assert found.num_simulations == 6
    for name, ranks in found.ranks.items():
        np.testing.assert_array_equal(ranks, again.ranks[name])
    assert any((ranks != other.ranks[name]).any() for name, ranks in found.ranks.items())


def test_simulated_data_have_the_law_of_the_network():
    model, x, _ = classifier(2, (2,), 2, rows=3)
    network = read_network("f()", model)
    rows = network.inputs("f()", x)
    generator = chance.numpy_generator("simulated labels")
    drawn = [
        simulated_targets(network, prior_weights(network, generator), rows, generator)
        for _ in range(4000)
    ]
    truth = exact_posterior(model, x[:0], []).predictive(x).mean[:, 1]
    chance.assert_count(np.sum(drawn, 0), 4000, truth, detects=0.08)
    model, x, _ = regressor(2, (2,), rows=3)
    network = read_network("f()", model)
    targets = [
        simulated_targets(network, prior_weights(network, generator), rows, generator)
        for _ in range(4000)
    ]
    law = exact_posterior(model, rows[:0], []).predictive(rows)
    below = np.mean(targets, 0)
    spread = np.sqrt(law.parts.total / 4000)
    chance.BUDGET.spend()
    assert (np.abs(below - law.mean) < 6 * spread).all()


def test_log_likelihood_at_mean_activations_by_hand():
    model, x, y = classifier(2, (2,), 3)
    network = read_network("f()", model)
    generator = np.random.default_rng(0)
    weights = {k: np.repeat(v, 4, 0) for k, v in prior_weights(network, generator).items()}
    weights["output.weight"][1:] *= -1
    found = mean_activation_log_likelihood(network, weights, x.numpy(), y.numpy())
    first, last = model.hidden[0], model.output
    for draw in range(4):
        total = 0.0
        for row, label in zip(x, y.tolist(), strict=True):
            a = first.scale * (torch.tensor(weights["hidden.0.weight"][draw]) @ row) + first.bias
            h = 2 * torch.sigmoid(a) - 1
            logits = last.scale * (torch.tensor(weights["output.weight"][draw]) @ h) + last.bias
            total += torch.log_softmax(logits, -1)[label].item()
        assert found[draw] == pytest.approx(total, abs=1e-10)


def test_draws_of_every_law_have_its_probabilities():
    model, x, y = classifier(1, (2,), 2)
    network = read_network("f()", model)
    generator = chance.numpy_generator("draws of laws")
    guides = [guide_of(model, seed) for seed in (1, 2)]
    posteriors = [sbn.Posterior.from_guide(model, g, input_range=4.0) for g in guides]
    torch.manual_seed(2)
    mixture = sbn.guides.AutoSignMixture(model, num_components=2)
    low_rank = sbn.guides.AutoSignLowRank(model, rank=1)
    exact = exact_posterior(model, x, y)
    probs = [guide.weight_probabilities()["output.weight"].numpy() for guide in guides]
    both = 0.25 * probs[0] + 0.75 * probs[1]
    for law, wanted in (
        (guides[0], probs[0]),
        (guides[0].weight_probabilities(), probs[0]),
        (posteriors[0], probs[0]),
        (sbn.Posterior.mixture(posteriors, [0.25, 0.75]), both),
        (mixture, mixture.weight_probabilities()["output.weight"].numpy()),
        (low_rank, low_rank.weight_probabilities()["output.weight"].numpy()),
        (exact, exact.weight_probabilities()["output.weight"]),
        (lambda n, seed: exact.weights(exact.sample(n, seed)), None),
    ):
        drawn = fitted_weights("f()", law, network, 6000, generator)
        if wanted is None:
            wanted = exact.weight_probabilities()["output.weight"]
        counts = (drawn["output.weight"] > 0).sum(0)
        chance.assert_count(counts, 6000, wanted, detects=0.07)


def test_symmetry_is_tested_exactly():
    for steps in range(1, 9):
        heights = np.array(
            [np.abs(np.cumsum(w)).max() for w in itertools.product((-1, 1), repeat=steps)]
        )
        for height in range(steps + 2):
            assert reaches(steps, height) == pytest.approx((heights >= height).mean(), abs=1e-12)
    values = np.random.default_rng(0).random(200)
    assert symmetry_p_value(values) > 0.01
    assert symmetry_p_value(values) == pytest.approx(symmetry_p_value(1 - values), abs=1e-12)
    assert symmetry_p_value(values**3) < 1e-6
    narrow = np.where(values < 0.5, 0.1 * values, 1 - 0.1 * (1 - values))
    assert symmetry_p_value(narrow) > 0.01
    assert uniformity_p_value(narrow) < 1e-9
    assert uniformity_p_value(0.5 + 0.5 * (values - 0.5)) < 1e-9
    assert uniformity_p_value(values) == pytest.approx(
        min(1, 2 * min(stats.kstest(v, "uniform").pvalue for v in (values, abs(2 * values - 1)))),
        abs=1e-12,
    )


def test_quantities_of_ones_own_and_the_table():
    model, x, _ = classifier(2, (4,), 3, rows=4)  # 20 weights
    seen = []

    def quantity(weights, inputs, y):
        seen.append((inputs is x, y.dtype, weights["output.weight"].shape))
        return weights["output.weight"][:, 0].sum(1)

    found = sbc(
        model,
        lambda a, b: model.prior_probabilities(),
        x,
        num_simulations=5,
        num_draws=7,
        quantities={"unit": quantity},
    )
    assert seen == [(True, torch.int64, (8, 3, 4))] * 5
    assert list(found.ranks) == ["unit"]
    assert repr(found).splitlines()[1].split() == ["quantity", "uniform", "symmetric"]
    assert found.p_value == found.uniformity["unit"]
    larger = sbn.models.BinaryMLP(2, [9], 2, num_data=4)
    found = sbc(larger, lambda a, b: larger.prior_probabilities(), x.numpy(), num_simulations=2)
    assert list(found.ranks) == [
        "sum of hidden.0.weight",
        "sum of output.weight",
        "log-likelihood",
    ]


def test_a_fit_that_moves_the_scales_is_refused():
    model, x, _ = classifier()

    def fit(x, y):
        with torch.no_grad():
            model.output.scale = model.output.scale * 1.1
        return guide_of(model)

    with pytest.raises(ValueError, match=r"of the model are no longer .*requires_grad_\(False\)"):
        sbc(model, fit, x, num_simulations=2)
    other = classifier(seed=4)[0]
    posterior = sbn.Posterior.from_guide(other, guide_of(other), input_range=8.0)
    with pytest.raises(ValueError, match="of the posterior are no longer"):
        sbc(model, lambda a, b: posterior, x, num_simulations=2)


WRONG = {
    "nothing": (dict(guide_fn=lambda *_: None), TypeError, "guide_fn returned None"),
    "model": (dict(guide_fn=lambda *_: classifier()[0]), TypeError, "returned BinaryMLP"),
    "other_guide": (
        dict(guide_fn=lambda *_: guide_of(classifier(3)[0])),
        ValueError,
        r"hidden.0.weight \(2, 3\).*the same model",
    ),
    "not_signs": (
        dict(
            guide_fn=lambda *_: (
                lambda n, seed: {
                    "hidden.0.weight": np.zeros((n, 2, 2)),
                    "output.weight": np.ones((n, 2, 2)),
                }
            )
        ),
        ValueError,
        "not ±1",
    ),
    "no_simulation": (dict(num_simulations=0), ValueError, "num_simulations of at least 1"),
    "no_draw": (dict(num_draws=0), ValueError, "num_draws of at least 1"),
    "quantity": (
        dict(quantities={"q": lambda w, x, y: 1.0}),
        ValueError,
        r"'q' gave an array of shape \(\)",
    ),
    "nan": (
        dict(quantities={"q": lambda w, x, y: np.full(100, math.nan)}),
        ValueError,
        "not NaN",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_refused(name):
    options, error, words = WRONG[name]
    model, x, _ = classifier()
    call = {"guide_fn": lambda *_: model.prior_probabilities(), "num_simulations": 2, **options}
    with pytest.raises(error, match=words):
        sbc(model, x=x, **call)


def test_models_that_are_not_understood():
    with pytest.raises(TypeError, match="states its numbers"):
        sbc(len, len, [[0.0]])
    real = sbn.models.BinaryMLP(2, [2], 2, num_data=3, real=["last"])
    with pytest.raises(ValueError, match="real weights"):
        sbc(real, len, [[0.0, 0.0]])
