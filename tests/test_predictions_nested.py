"""Three parts of the uncertainty: identities, limits, unbiased corrections, nested draws."""

import itertools

import numpy as np
import pytest

import bayes_sbn as sbn
from bayes_sbn.uncertainty import entropy
from tests.chance import numpy_generator
from tests.plain_networks import random_posterior
from tests.test_ensemble_regression import X, posterior

G = numpy_generator("nested")
PROBS = G.dirichlet(np.ones(3), size=(6, 4, 5))
MEAN, SCALE = G.normal(size=(6, 4, 5)), G.uniform(0.5, 1, size=(6, 4, 5))


def nested_kinds():
    return [sbn.NestedPredictions(PROBS), sbn.NestedRegressionPredictions(MEAN, SCALE)]


@pytest.mark.parametrize("nested", nested_kinds())
@pytest.mark.parametrize("correction", [None, "jackknife"])
def test_parts_sum_to_the_total_in_every_bit(nested, correction):
    parts = nested.decompose(correction)
    assert np.array_equal(parts.likelihood + parts.activations + parts.weights, parts.total)
    for part in (parts.total, parts.activations, parts.likelihood):
        assert (part >= 0).all()
    assert (parts.weights_se > 0).all()
    assert (parts.num_draws, parts.num_activations) == (6, 4)


def test_plug_in_parts_are_the_formula():
    parts = sbn.NestedPredictions(PROBS).decompose()
    of_draw = PROBS.mean(1)
    total = entropy(PROBS.mean((0, 1)))
    assert np.allclose(parts.total, total, atol=1e-12)
    assert np.allclose(parts.weights, total - entropy(of_draw).mean(0), atol=1e-12)
    assert np.allclose(parts.likelihood, entropy(PROBS).mean((0, 1)), atol=1e-12)
    of_real = sbn.NestedRegressionPredictions(MEAN, SCALE).decompose()
    assert np.allclose(of_real.weights, MEAN.mean(1).var(0), atol=1e-12)
    assert np.allclose(of_real.activations, MEAN.var(1).mean(0), atol=1e-12)
    assert np.allclose(of_real.likelihood, (SCALE**2).mean((0, 1)), atol=1e-12)


def test_weights_and_activations_are_told_apart():
    of_weights = np.broadcast_to(PROBS[:, :1], PROBS.shape)  # activations say nothing
    parts = sbn.NestedPredictions(of_weights).decompose("jackknife")
    assert np.allclose(parts.activations, 0, atol=1e-12)
    assert (parts.weights > 0.01).all()
    of_activations = np.broadcast_to(PROBS[:1], PROBS.shape)  # weights say nothing
    parts = sbn.NestedPredictions(of_activations).decompose()
    assert np.allclose(parts.weights, 0, atol=1e-12)
    assert (parts.activations > 0.01).all()


def test_two_parts_are_those_of_predictions_where_activations_are_averaged():
    nested = sbn.NestedPredictions(PROBS)
    parts = nested.decompose()
    assert np.allclose(parts.weights, nested.predictions.epistemic, atol=1e-12)
    one = sbn.NestedPredictions(PROBS[:, :1])
    assert np.allclose(one.decompose().activations, 0, atol=1e-12)
    ours, theirs = one.decompose(), sbn.Predictions(PROBS[:, 0]).decompose()
    assert np.allclose(ours.weights_se, theirs.epistemic_se, atol=1e-12)


def test_corrected_variances_are_unbiased_over_all_samples():
    """Two draws from a population of three, with their two activations from three: all of them."""
    population = G.normal(size=(3, 3, 1))
    within = population.var(1).mean()
    between = population.mean(1).var()
    found = []
    for draws in itertools.product(range(3), repeat=2):
        for places in itertools.product(range(3), repeat=4):
            mean = population[np.array(draws)[:, None], np.reshape(places, (2, 2))]
            parts = sbn.NestedRegressionPredictions(mean, 0.0).decompose("jackknife")
            found.append([parts.weights[0], parts.activations[0]])
    assert np.allclose(np.mean(found, 0), [between, within], atol=1e-12)


def test_corrected_entropies_are_less_biased_than_plug_in_ones():
    """The same sampling of class probabilities; biases are recorded."""
    population = G.dirichlet([2.0, 1.0], size=(3, 3, 1))
    of_draw = population.mean(1)
    truth = np.array(
        [
            entropy(population.mean((0, 1)))[0] - entropy(of_draw).mean(),
            entropy(of_draw).mean() - entropy(population).mean(),
        ]
    )
    biases = {}
    for correction in (None, "jackknife"):
        found = []
        for draws in itertools.product(range(3), repeat=3):
            for places in itertools.product(range(3), repeat=6):
                probs = population[np.array(draws)[:, None], np.reshape(places, (3, 2))]
                parts = sbn.NestedPredictions(probs).decompose(correction)
                found.append([parts.weights[0], parts.activations[0]])
        biases[correction] = np.abs(np.mean(found, 0) - truth)
    assert (biases["jackknife"] < 0.5 * biases[None] + 1e-3).all(), biases
    assert (biases[None] > 0.005).all(), biases


def test_ensemble_nests_activations_in_weights():
    ensemble = random_posterior().draw(6, seed=3)
    nested = ensemble.predict_nested(X, 3)
    assert nested.probs.shape == (6, 3, len(X), 3)
    for m in range(3):
        alone = ensemble.predict(X, noise="independent", row_offset=m * len(X))
        assert np.array_equal(nested.probs[:, m], alone.probs_per_draw)
    assert not np.array_equal(nested.probs[:, 0], nested.probs[:, 1])
    real = posterior().draw(6, seed=3)
    nested = real.predict_nested(X, 3)
    alone = real.predict(X, noise="independent", row_offset=2 * len(X))
    assert np.array_equal(nested.mean_per_draw[:, 2], alone.mean_per_draw)
    assert nested.predictions.shape == (18, len(X))


def test_a_network_without_noise_has_no_part_of_activations():
    import dataclasses

    layers = random_posterior().layers
    quiet = [dataclasses.replace(la, noise_scale=1e-9) for la in layers[:-1]]
    ensemble = sbn.Posterior((*quiet, layers[-1]), 2.0**-10).draw(5)
    parts = ensemble.predict_nested(X, 3).decompose("jackknife")
    assert np.allclose(parts.activations, 0, atol=1e-12)


@pytest.mark.parametrize("nested", nested_kinds())
def test_file_rows_and_refusals(nested, tmp_path):
    nested.save(tmp_path / "n.npz")
    assert type(nested).load(tmp_path / "n.npz") == nested
    assert len(nested.take([1, 2])) == 2
    with pytest.raises(ValueError, match="correction=None or correction='jackknife'"):
        nested.decompose("bootstrap")


def test_single_draws():
    one = sbn.NestedPredictions(PROBS[:1])
    parts = one.decompose()
    assert np.allclose(parts.weights, 0, atol=1e-12)
    assert np.isnan(parts.total_se).all()
    for few in (PROBS[:1], PROBS[:, :1]):
        with pytest.raises(ValueError, match="at least 2 draws and 2 activations"):
            sbn.NestedPredictions(few).decompose("jackknife")
    with pytest.raises(ValueError, match=r"write mean\[:, None\]"):
        sbn.NestedRegressionPredictions(MEAN[:, 0], 1.0)
    with pytest.raises(ValueError, match="num_activations of at least 1"):
        random_posterior().draw(2).predict_nested(X, 0)
