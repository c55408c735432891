"""RegressionEnsemble: means from the drawn bits by hand, sigma by component, files, refusals."""

import dataclasses

import numpy as np
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.kernels.packing import unpack
from bayes_sbn.posterior_components import Component
from tests.chance import numpy_generator
from tests.plain_networks import random_posterior

X = numpy_generator("regression rows").uniform(-2, 2, size=(9, 5))


def posterior(sigma=0.3, label="regression"):
    layers = random_posterior((5, 8, 6, 2), label=label).layers
    last = layers[-1]
    one = dataclasses.replace(
        last,
        probabilities=last.probabilities[:1],
        scale=last.scale[:1],
        bias=last.bias[:1],
        prior=0.5,
    )
    component = Component(1.0, (*layers[:-1], one), sigma)
    return sbn.Posterior([component], 2.0**-10, "normal")


@pytest.mark.parametrize("noise", ["shared", "independent"])
def test_means_are_those_of_the_bits(noise):
    ensemble = posterior().draw(6, seed=3)
    pred = ensemble.predict(X, noise=noise)
    assert isinstance(ensemble, sbn.RegressionEnsemble)
    last = ensemble.mixture.networks[0].layers[-1]
    weights = unpack(ensemble.weights[-1], torch.float64).numpy()
    hidden = ensemble.activations(X, noise=noise)[-1].astype(np.float64)
    by_hand = last.scale * np.einsum("soi,sni->sno", weights, hidden) + last.bias
    assert np.array_equal(pred.mean_per_draw, by_hand[..., 0])
    assert (pred.scale_per_draw == 0.3).all()


@pytest.mark.parametrize("noise", ["shared", "independent"])
def test_backends_and_batches_agree(noise):
    ensemble = posterior().draw(6, seed=3)
    whole = ensemble.predict(X, noise=noise)
    reference = ensemble.predict(X, noise=noise, backend="reference")
    assert whole == reference
    parts = [ensemble.predict(X[k : k + 1], noise=noise, row_offset=k) for k in range(len(X))]
    joined = np.concatenate([part.mean_per_draw for part in parts], axis=1)
    assert np.array_equal(joined, whole.mean_per_draw)
    if noise == "shared":
        order = np.array([3, 1, 0])
        assert np.array_equal(
            ensemble.predict(X[order]).mean_per_draw, whole.take(order).mean_per_draw
        )


def test_draws_of_a_mixture_have_the_sigma_of_their_component():
    mixed = sbn.Posterior.mixture([posterior(0.3), posterior(0.7, "other")])
    ensemble = mixed.draw(10, seed=1)
    assert set(ensemble.components) == {0, 1}
    wanted = np.array([0.3, 0.7])[ensemble.components]
    assert np.array_equal(ensemble.predict(X).scale_per_draw[:, 0], wanted)
    assert np.array_equal(ensemble[4:].predict(X).scale_per_draw[:, 0], wanted[4:])


def test_files_bring_everything_back(tmp_path):
    mixed = sbn.Posterior.mixture([posterior(0.3), posterior(0.7, "other")])
    for each in (posterior(), mixed):
        each.save(tmp_path / "p.sbn")
        loaded = sbn.Posterior.load(tmp_path / "p.sbn")
        assert loaded.digest == each.digest
        assert loaded.format_version == 6
        ensemble = each.draw(5, seed=2)
        ensemble.save(tmp_path / "e.sbn")
        again = sbn.RegressionEnsemble.load(tmp_path / "e.sbn")
        assert again.predict(X) == loaded.draw(5, seed=2).predict(X)


def test_files_of_the_other_kind_are_told_apart(tmp_path):
    posterior().draw(2).save(tmp_path / "e.sbn")
    with pytest.raises(ValueError, match=r"read it by RegressionEnsemble.load\(path\)"):
        sbn.Ensemble.load(tmp_path / "e.sbn")
    random_posterior().draw(2).save(tmp_path / "c.sbn")
    with pytest.raises(ValueError, match=r"read it by Ensemble.load\(path\)"):
        sbn.RegressionEnsemble.load(tmp_path / "c.sbn")


def test_a_file_without_sigma_does_not_open(tmp_path):
    from bayes_sbn.container import REGRESSION_ENSEMBLE, read_container, write_container

    posterior().draw(2).save(tmp_path / "e.sbn")
    for broken, words in (({"sigmas": np.array([-1.0])}, "not positive"), ({}, "sigmas")):
        header, tensors = read_container(REGRESSION_ENSEMBLE, tmp_path / "e.sbn")
        tensors = {**{k: v for k, v in tensors.items() if k != "sigmas"}, **broken}
        write_container(tmp_path / "b.sbn", header, tensors, 7)
        with pytest.raises(ValueError, match=words):
            sbn.RegressionEnsemble.load(tmp_path / "b.sbn")


def test_what_is_about_classes_says_so():
    ensemble = posterior().draw(2)
    with pytest.raises(TypeError, match=r"predict_moments.*class probabilities"):
        ensemble.predict_moments(X)
    with pytest.raises(TypeError, match=r"labels\(\): the target is real"):
        ensemble.labels(X)


@pytest.mark.parametrize(
    ("sigma", "words"), [(None, "sigma=None"), (0.0, "sigma=0.0"), (float("inf"), "sigma=inf")]
)
def test_sigma_is_positive_and_finite(sigma, words):
    with pytest.raises(ValueError, match=words + ".* Write Component"):
        posterior(sigma)


def test_likelihood_and_head_fit_each_other():
    layers = random_posterior().layers
    with pytest.raises(ValueError, match="has 3 units, and there is one real target a row"):
        sbn.Posterior([Component(1.0, layers, 0.5)], 2.0**-10, "normal")
    with pytest.raises(ValueError, match=r"sigma=0.5, which is .* Write likelihood='normal'"):
        sbn.Posterior([Component(1.0, layers, 0.5)], 2.0**-10)
    with pytest.raises(ValueError, match="likelihood categorical, normal; it is the same for all"):
        sbn.Posterior.mixture([posterior(), random_posterior((5, 8, 6, 2))])
