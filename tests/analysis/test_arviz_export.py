"""to_arviz: every number against one computed another way, for every kind of posterior."""

import itertools
from dataclasses import replace
from math import erf, log, sqrt

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import logsumexp

import bayes_sbn as sbn
from bayes_sbn.analysis.arviz_groups import ORDER
from bayes_sbn.analysis.arviz_versions import holds_trees
from bayes_sbn.kernels.packing import unpack
from tests.analysis.posteriors import (
    labelled,
    measured,
    regression_posterior,
    restarts,
    two_of_one_network,
)
from tests.hybrid_posteriors import random_hybrid
from tests.plain_networks import random_posterior

OPTIONS = {"num_draws": 7, "num_activations": 3, "num_prior_draws": 5, "seed": 4}
X, Y = labelled()
POSTERIOR = random_posterior(temperature=0.2)
ENSEMBLE = POSTERIOR.draw(7, 4)


@pytest.fixture(scope="module")
def idata():
    return sbn.to_arviz(POSTERIOR, X, Y, x_test=X[:4], y_test=Y[:4], **OPTIONS)


def signs(ensemble, layer):
    return unpack(ensemble.weights[layer], torch.float64).numpy()


def test_arviz_finds_every_group_and_variable(idata):
    if holds_trees():
        from arviz_base.testing import check_multiple_attrs
    else:
        from arviz.tests.helpers import check_multiple_attrs

    by_layer = [
        f"layer{n}.{what}"
        for n, what in itertools.product(range(3), ("agreement", "weight_mean", "unit_overlap"))
    ]
    of_draws = [*by_layer, "mean_log_lik", "accuracy", "entropy"]
    stats_of_draws = ["lp", "log_q", "log_prior", "log_lik", "log_lik_mcse", "trained_lp"]
    stats_of_draws.append("log_defensive")
    wanted = {
        "posterior": of_draws,
        "posterior_predictive": ["y"],
        "predictions": ["y"],
        "log_likelihood": ["y"],
        "sample_stats": [*stats_of_draws, "log_lik_replicated"],
        "prior": of_draws,
        "prior_predictive": ["y"],
        "observed_data": ["y"],
        "constant_data": ["x"],
        "predictions_constant_data": ["x"],
        "held_out_data": ["y"],
        "held_out_log_likelihood": ["y"],
        "defensive": ["lp", "trained_lp", "log_q", "log_defensive"],
        "~posterior_packed": [],
    }
    # names with dots are no attributes of a Dataset, so they are looked up by hand
    plain = {g: [v for v in names if "." not in v] for g, names in wanted.items()}
    assert check_multiple_attrs(plain, idata) == []
    assert set(of_draws) == set(idata["posterior"]) == set(idata["prior"])
    in_order = [name for name in ORDER if name != "posterior_packed"]
    assert list(idata) == in_order
    assert set(in_order) == {*wanted, "variational"} - {"~posterior_packed"}
    assert idata["posterior"].sizes == {"chain": 1, "draw": 7}
    assert idata["prior"].sizes == {"chain": 1, "draw": 5}


def test_likelihoods_are_those_of_nested_predictions(idata):
    probs = ENSEMBLE.predict_nested(X, 3).probs
    of_label = probs[:, :, np.arange(12), Y]
    log_lik = np.log(of_label.mean(axis=1))
    assert idata["log_likelihood"]["y"].values[0] == pytest.approx(log_lik, abs=1e-12)
    given = idata["sample_stats"]
    assert given["log_lik"].values[0] == pytest.approx(log_lik.sum(-1), abs=1e-11)
    trained = given["log_prior"].values[0] + np.log(of_label).mean(1).sum(-1) / 0.2
    assert given["trained_lp"].values[0] == pytest.approx(trained, abs=1e-10)
    assert np.array_equal(given["lp"], given["log_prior"] + given["log_lik"])
    errors = [
        sqrt(sum(np.var(p, ddof=1) / 3 / np.mean(p) ** 2 for p in draw.T)) for draw in of_label
    ]
    assert given["log_lik_mcse"].values[0] == pytest.approx(errors, abs=1e-12)
    mean = probs.mean(axis=1)
    posterior = idata["posterior"]
    assert posterior["accuracy"].values[0] == pytest.approx((mean.argmax(-1) == Y).mean(-1))
    assert posterior["entropy"].values[0] == pytest.approx(stats.entropy(mean, axis=-1).mean(-1))
    assert posterior["mean_log_lik"].values[0] == pytest.approx(log_lik.mean(-1), abs=1e-12)


def test_replicated_labels_are_drawn_under_activations_of_their_own(idata):
    labels = ENSEMBLE.labels(X, noise="independent", row_offset=36)
    assert np.array_equal(idata["posterior_predictive"]["y"].values[0], labels)
    test = ENSEMBLE.labels(X[:4], noise="independent", row_offset=12)
    assert np.array_equal(idata["predictions"]["y"].values[0], test)
    mean = ENSEMBLE.predict_nested(X, 3).probs.mean(axis=1)
    own = np.log([[mean[s, n, labels[s, n]] for n in range(12)] for s in range(7)]).sum(-1)
    given = idata["sample_stats"]["log_lik_replicated"].values[0]
    assert given == pytest.approx(own, abs=1e-11)
    held_out = np.log(
        ENSEMBLE.predict_nested(X[:4], 3).probs[:, :, np.arange(4), Y[:4]].mean(axis=1)
    )
    assert idata["held_out_log_likelihood"]["y"].values[0] == pytest.approx(held_out, abs=1e-12)


def test_densities_are_products_over_the_weights(idata):
    log_q, log_prior = np.zeros(7), np.zeros(7)
    for index, layer in enumerate(POSTERIOR.layers):
        prior = np.broadcast_to(layer.prior, layer.probabilities.shape)
        for draw, weights in enumerate(signs(ENSEMBLE, index)):
            for w, p, p0 in zip(weights.flat, layer.probabilities.flat, prior.flat, strict=True):
                log_q[draw] += log(p if w > 0 else 1 - p)
                log_prior[draw] += log(p0 if w > 0 else 1 - p0)
    assert idata["sample_stats"]["log_q"].values[0] == pytest.approx(log_q, abs=1e-10)
    assert idata["sample_stats"]["log_prior"].values[0] == pytest.approx(log_prior, abs=1e-10)


def test_layer_statistics_by_hand(idata):
    for index, layer in enumerate(POSTERIOR.layers):
        for draw, w in enumerate(signs(ENSEMBLE, index)):
            given = idata["posterior"].isel(chain=0, draw=draw)
            likelier = np.where(layer.probabilities >= 0.5, 1, -1)
            assert given[f"{layer.name}.agreement"] == pytest.approx((w == likelier).mean())
            assert given[f"{layer.name}.weight_mean"] == pytest.approx(w.mean())
            pairs = [(a @ b / len(a)) ** 2 for a, b in itertools.combinations(w, 2)]
            assert given[f"{layer.name}.unit_overlap"] == pytest.approx(np.mean(pairs))


def test_variational_group_is_the_posterior(idata):
    law = idata["variational"]
    assert law["layer1.prob"].dims == ("chain", "layer1.unit", "layer0.unit")
    assert law["layer0.prob"].dims == ("chain", "layer0.unit", "feature")
    assert law["layer2.prob"].dims == ("chain", "class", "layer1.unit")
    for layer in POSTERIOR.layers:
        for name, values in (("prob", layer.probabilities), ("scale", layer.scale)):
            assert np.array_equal(law[f"{layer.name}.{name}"].values[0], values)
        bits = law[f"{layer.name}.bits_per_weight"].values
        assert bits == pytest.approx([layer.entropy / layer.num_weights])
    assert law["layer0.prob"].attrs["family"] == "mean-field Bernoulli"
    assert law["layer0.prob"].attrs["noise"] == "logistic"


def test_real_targets():
    posterior = regression_posterior()
    x, y = measured()
    idata = sbn.to_arviz(posterior, x, y, **OPTIONS)
    ensemble = posterior.draw(7, 4)
    nested = ensemble.predict_nested(x, 3)
    log_prob = stats.norm.logpdf(y, nested.mean_per_draw, 0.7)
    log_lik = logsumexp(log_prob, axis=1) - log(3)
    assert idata["log_likelihood"]["y"].values[0] == pytest.approx(log_lik, abs=1e-11)
    mean = nested.mean_per_draw.mean(axis=1)
    rmse = np.sqrt(((mean - y) ** 2).mean(-1))
    assert idata["posterior"]["rmse"].values[0] == pytest.approx(rmse)
    assert idata["posterior"]["mean_prediction"].values[0] == pytest.approx(mean.mean(-1))
    under = ensemble.logits(x, noise="independent", row_offset=36)[..., 0]
    normal = np.random.default_rng([4, 0, 0]).standard_normal((7, 12))
    replicated = idata["posterior_predictive"]["y"].values[0]
    assert replicated == pytest.approx(under + 0.7 * normal, abs=1e-12)
    assert idata["variational"]["sigma"].values == pytest.approx([0.7])
    assert idata["variational"]["output.loc"].dims == ("chain", "target", "hidden.0.unit")

    # of the real weights, the probability of the cell of the grid about the draw
    layer = posterior.layers[1]
    steps = ensemble.weights[1][:, 0].astype(float)
    for name, loc, scales in (
        ("log_q", layer.loc[0], layer.spread[0]),
        ("log_prior", np.zeros(6), np.full(6, 1.5)),
    ):
        own = np.zeros(7)
        for n, (m, s) in enumerate(zip(loc, scales, strict=True)):
            if layer.spread[0, n] > 0:
                for draw in range(7):
                    ends = [(steps[draw, n] + side) * layer.step for side in (-0.5, 0.5)]
                    low, high = ((1 + erf((end - m) / s / sqrt(2))) / 2 for end in ends)
                    own[draw] += log(high - low)
        p = posterior.layers[0].probabilities if name == "log_q" else np.full((6, 4), 0.5)
        own += np.where(signs(ensemble, 0) > 0, np.log(p), np.log1p(-p)).sum((1, 2))
        # a cell is 1e-4 of the spread, so that the difference of two erf has 12 digits left
        assert idata["sample_stats"][name].values[0] == pytest.approx(own, abs=1e-8)


def test_restarts_are_chains_and_so_are_the_components_of_a_mixture():
    posteriors = restarts(2)
    listed = sbn.to_arviz(posteriors, X, Y, **OPTIONS)
    mixed = sbn.to_arviz(sbn.Posterior.mixture(posteriors), X, Y, **OPTIONS)
    assert listed["posterior"].sizes == {"chain": 2, "draw": 7}
    for group in ("posterior", "sample_stats", "log_likelihood", "prior", "variational"):
        assert listed[group].equals(mixed[group])
    for chain, posterior in enumerate(posteriors):
        probs = posterior.draw(7, 4, stream=chain).predict_nested(X, 3).probs
        log_lik = np.log(probs[:, :, np.arange(12), Y].mean(axis=1))
        given = listed["log_likelihood"]["y"].values[chain]
        assert given == pytest.approx(log_lik, abs=1e-12)
    alone = sbn.to_arviz(posteriors[0], X, Y, **OPTIONS)
    assert alone["log_likelihood"].equals(listed["log_likelihood"].isel(chain=[0]))


def test_components_mixed_in_one_chain():
    posterior = two_of_one_network()
    ensemble = posterior.draw(7, 4)
    idata = sbn.to_arviz(posterior, X, Y, components="mixed", **OPTIONS)
    by_component = np.zeros((2, 7))
    for c, component in enumerate(posterior.components):
        for index, layer in enumerate(component.layers):
            with np.errstate(divide="ignore"):
                p = np.where(
                    signs(ensemble, index) > 0, layer.probabilities, 1 - layer.probabilities
                )
                by_component[c] += np.log(p).sum((1, 2))
    log_q = logsumexp(by_component, axis=0, b=np.array([[0.25], [0.75]]))
    assert idata["sample_stats"]["log_q"].values[0] == pytest.approx(log_q, abs=1e-10)
    assert idata["variational"]["component_weight"].values == pytest.approx([0.25, 0.75])
    assert idata["variational"]["layer0.prob"].dims == ("component", "layer0.unit", "feature")

    # networks that share nothing: a draw is a component and its weights
    several = sbn.Posterior.mixture(restarts(2), [0.25, 0.75])
    given = sbn.to_arviz(several, X, Y, components="mixed", **OPTIONS)["sample_stats"]
    ensemble = several.draw(7, 4)
    for draw, c in enumerate(ensemble.components):
        own = log([0.25, 0.75][c])
        for index, layer in enumerate(several.components[c].layers):
            w = signs(ensemble, index)[draw]
            own += np.log(np.where(w > 0, layer.probabilities, 1 - layer.probabilities)).sum()
        assert float(given["log_q"][0, draw]) == pytest.approx(own, abs=1e-10)


@pytest.mark.parametrize("points", [False, True])
def test_layers_of_real_weights(points):
    posterior = random_hybrid((0, 2), points=points)
    given = sbn.to_arviz(posterior, X, Y, **OPTIONS)
    assert ("layer0.weight_rms" in given["posterior"]) is not points
    assert np.isfinite(given["sample_stats"]["log_q"]).all()
    if not points:
        layer, ensemble = posterior.layers[0], posterior.draw(7, 4)
        rms = np.sqrt(((ensemble.weights[0] * layer.step) ** 2).mean((1, 2)))
        assert given["posterior"]["layer0.weight_rms"].values[0] == pytest.approx(rms)
        prior = given["prior"]["layer0.weight_rms"].values
        assert prior == pytest.approx(5**-0.5, rel=0.5)


def test_prior_draws_are_of_the_prior():
    layers = [
        replace(layer, prior=float(index == 0)) for index, layer in enumerate(POSTERIOR.layers)
    ]
    posterior = sbn.Posterior(layers, 2.0**-10)
    given = sbn.to_arviz(posterior, X, Y, **OPTIONS)
    assert (given["prior"]["layer0.weight_mean"] == 1).all()
    assert (given["prior"]["layer1.weight_mean"] == -1).all()
    # the prior forbids what the posterior draws
    assert (given["sample_stats"]["lp"] == -np.inf).all()
