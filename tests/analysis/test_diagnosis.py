"""The parts of a diagnosis against other ways to compute them, its words, files and errors."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import bayes_sbn as sbn
from bayes_sbn.analysis.arviz_versions import groups_of, in_one_object
from bayes_sbn.analysis.weight_certainty import weight_certainty
from bayes_sbn.posterior_components import Component
from tests.analysis.posteriors import (
    labelled,
    measured,
    regression_posterior,
    restarts,
    two_of_one_network,
)
from tests.plain_networks import random_posterior

X, Y = labelled(30)
POSTERIOR = random_posterior(temperature=0.2)


@pytest.fixture(scope="module")
def idata():
    return sbn.to_arviz(POSTERIOR, X, Y, num_draws=60, x_test=X[:9], y_test=Y[:9])


@pytest.fixture(scope="module")
def found(idata):
    return sbn.diagnose(idata)


def test_held_out_score_is_that_of_the_mean_probability(idata, found):
    probs = POSTERIOR.draw(60).predict_nested(X[:9], 4).probs.mean(axis=(0, 1))
    by_row = np.log(probs[np.arange(9), Y[:9]])
    assert found.held_out.elpd == pytest.approx(by_row.sum(), abs=1e-10)
    error = np.sqrt(9) * by_row.std(ddof=1)
    assert found.held_out.standard_error == pytest.approx(error, abs=1e-10)
    assert found.elpd == found.held_out.elpd  # leave-one-out cannot be had here
    assert found.loo[0].elpd is None


def test_certainty_of_layers_by_loops(found):
    for layer, own in zip(POSTERIOR.layers, found.layers, strict=True):
        p = layer.probabilities.ravel()
        prior = np.broadcast_to(layer.prior, layer.probabilities.shape).ravel()
        bits = [stats.entropy([a, 1 - a], base=2) for a in p]
        gain = [
            stats.entropy([a, 1 - a], [b, 1 - b], base=2) for a, b in zip(p, prior, strict=True)
        ]
        assert own.layer == layer.name
        assert own.num_weights == len(p)
        assert own.bits == pytest.approx(np.mean(bits), abs=1e-10)
        assert own.certainty == pytest.approx(np.mean([abs(2 * a - 1) for a in p]), abs=1e-12)
        assert own.undecided == pytest.approx(np.mean([0.05 < a < 0.95 for a in p]))
        assert own.flip_rate == pytest.approx(np.mean([2 * a * (1 - a) for a in p]), abs=1e-12)
        assert own.gain == pytest.approx(np.mean(gain), abs=1e-10)


def test_expected_flip_rate_is_that_of_pairs_of_draws(found):
    signs = sbn.kernels.unpack(POSTERIOR.draw(2000).weights[1]).numpy()
    rate = (signs[::2] != signs[1::2]).mean()
    assert found.layers[1].flip_rate == pytest.approx(rate, abs=0.01)


def test_certainty_of_mixed_components_and_of_real_weights():
    mixed = two_of_one_network()
    options = {"num_draws": 5, "num_prior_draws": 0, "num_defensive_draws": 0}
    groups = groups_of("test", sbn.to_arviz(mixed, X, Y, components="mixed", **options))
    own = weight_certainty(groups)[1]
    p = 0.25 * mixed.components[0].layers[1].probabilities
    p = p + 0.75 * mixed.components[1].layers[1].probabilities
    assert own.flip_rate == pytest.approx((2 * p * (1 - p)).mean())
    assert own.certainty == pytest.approx(np.abs(2 * p - 1).mean())
    bits = sum(c.weight * c.layers[1].entropy for c in mixed.components)
    assert own.bits == pytest.approx(bits / 48)

    posterior = regression_posterior()
    real = weight_certainty(groups_of("test", sbn.to_arviz(posterior, *measured(), **options)))[1]
    spread = posterior.layers[1].spread
    assert real.kind == "real"
    assert real.contraction == pytest.approx(np.sqrt((spread[spread > 0] ** 2).mean()) / 1.5)
    assert np.isnan(real.bits)


def louder(posterior, sigma=None):
    """All pre-activations of ±1 layers, biases too, 40 times as large: the network is sure."""
    layers = [
        replace(layer, scale=40 * layer.scale, bias=40 * layer.bias) if layer.num_weights else layer
        for layer in posterior.components[0].layers
    ]
    return sbn.Posterior(
        [Component(1.0, layers, sigma)], posterior.input_scale, posterior.likelihood
    )


def test_a_model_too_certain_of_its_labels_is_flagged():
    given = sbn.to_arviz(louder(POSTERIOR), X, Y, num_draws=200, num_prior_draws=0)
    flags = sbn.diagnose(given).flags
    assert any("more certain of its data than it should be" in flag for flag in flags)


def test_noise_of_real_targets_too_small_is_flagged():
    x, y = measured(25)
    posterior = louder(regression_posterior(), 0.05)
    found = sbn.diagnose(sbn.to_arviz(posterior, x, y, num_draws=200, num_prior_draws=0))
    assert found.likelihood == "normal"
    assert any("more certain of its data than it should be" in flag for flag in found.flags)


def test_words_and_json_say_the_same(found):
    text = str(found)
    for words in (
        "60 draws, 30 rows",
        "bayes, p(w) p(y|w): not reliable",
        "trained, p(w) exp(E log p(y|z,w) / T)",
        "leave-one-out: not estimable",
        "held out: ",
        "count of 2",
        "layer1",
        f"Flagged ({len(found.flags)}):",
    ):
        assert words in text
    assert all(flag in text for flag in found.flags)
    read = json.loads(found.to_json())
    assert read["flags"] == list(found.flags)
    assert read["importance"][0]["khat"] == pytest.approx(found.importance[0].khat)
    assert read["importance"][0]["log_evidence"] is None
    assert read["held_out"]["num_rows"] == 9
    assert read["restarts"] is None


def test_infinity_in_json():
    layers = [replace(layer, prior=1.0) for layer in POSTERIOR.layers]
    posterior = sbn.Posterior(layers, 2.0**-10)
    found = sbn.diagnose(sbn.to_arviz(posterior, X, Y, num_draws=30, num_prior_draws=0))
    assert found.importance[0].bound == -np.inf
    assert "0 at every draw" in found.importance[0].reason
    read = json.loads(found.to_json())
    assert read["importance"][0]["bound"] == "-Infinity"
    assert read["layers"][0]["gain"] == "Infinity"


def test_files_and_trees_give_the_same_diagnosis(idata, found, tmp_path):
    idata.to_netcdf(str(tmp_path / "fit.nc"))
    tree = in_one_object(groups_of("test", idata), {}, as_tree=True)
    for given in (tmp_path / "fit.nc", str(tmp_path / "fit.nc"), tree):
        assert sbn.diagnose(given).to_json() == found.to_json()


def test_what_is_not_an_export_is_refused(idata):
    with pytest.raises(TypeError, match="received ndarray"):
        sbn.diagnose(np.zeros(3))
    groups = groups_of("test", idata)
    del groups["log_likelihood"]
    groups["sample_stats"] = groups["sample_stats"].drop_vars("lp")
    with pytest.raises(ValueError, match=r"log_likelihood, sample_stats/lp are missing"):
        sbn.diagnose(in_one_object(groups, {}, as_tree=True))


def test_edges_one_draw_one_row():
    one = sbn.to_arviz(
        POSTERIOR, X[:1], Y[:1], num_draws=1, num_activations=1, x_test=X[:1], y_test=Y[:1]
    )
    found = sbn.diagnose(one)
    assert "too few" in found.importance[0].reason
    assert np.isnan(found.held_out.standard_error)
    assert "1 draw, 1 row" in str(found)
    # labels of one class
    same = sbn.to_arviz(POSTERIOR, X, np.zeros(30, int), num_draws=30, num_prior_draws=0)
    assert sbn.diagnose(same).predictive[0].observed == 30


def test_many_classes_are_shortened():
    posterior = random_posterior((5, 8, 6, 15))
    found = sbn.diagnose(sbn.to_arviz(posterior, X, Y, num_draws=30, num_prior_draws=0))
    assert "the smallest 8 of 15 statistics, and log_lik" in str(found)


def test_components_of_a_mixture_are_diagnosed_one_by_one():
    pair = sbn.Posterior.mixture(restarts(2))
    found = sbn.diagnose(sbn.to_arviz(pair, X, Y, num_draws=30, num_prior_draws=0))
    assert [check.chain for check in found.importance] == [0, 1]
    assert "bayes of chain 1" in str(found)
    assert isinstance(pair.components[0], Component)


def test_without_log_q_the_rest_is_diagnosed(idata, found):
    groups = groups_of("test", idata)
    groups["sample_stats"] = groups["sample_stats"].drop_vars("log_q")
    left = sbn.diagnose(in_one_object(groups, {}, as_tree=True))
    assert left.importance == ()
    assert left.loo[0].elpd is None
    assert "log q(w) is not known" in str(left)
    assert left.held_out == found.held_out
    assert left.layers == found.layers
