"""Moments of draws that are not kept: those of the draws, however the work is cut."""

import tracemalloc

import numpy as np
import pytest

from bayes_sbn.posterior import Posterior
from bayes_sbn.predictions import Predictions
from bayes_sbn.predictions_moments import RunningMoments
from tests.chance import numpy_generator
from tests.hybrid_posteriors import CASES
from tests.plain_networks import random_posterior

NAMES = ("mean", "std", "aleatoric", "epistemic", "entropy")


def rows(number: int = 45) -> np.ndarray:
    return numpy_generator("moments").uniform(-8, 8, size=(number, 5))


def posteriors() -> dict[str, Posterior]:
    one, two = random_posterior(), random_posterior(label="other")
    return {"plain": one, "mixture": Posterior.mixture([one, two], (1, 2)), "real": CASES["ends"]}


@pytest.mark.parametrize("noise", ["shared", "independent"])
@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("kind", list(posteriors()))
def test_moments_are_those_of_the_draws(kind, backend, noise):
    ensemble = posteriors()[kind].draw(30, seed=2)
    options = {"backend": backend, "noise": noise, "row_offset": 7}
    pred, moments = ensemble.predict(rows(), **options), ensemble.predict_moments(rows(), **options)
    for name in NAMES:
        np.testing.assert_allclose(getattr(moments, name), getattr(pred, name), atol=1e-12)
    assert (moments.entropy == moments.aleatoric + moments.epistemic).all()
    assert (moments.mode == pred.mode).all()
    labels = np.arange(45) % 3
    np.testing.assert_allclose(moments.log_prob(labels), pred.log_prob(labels), atol=1e-12)
    assert moments.attrs == pred.attrs
    assert (len(moments), moments.num_draws) == (45, 30)
    assert repr(moments) == "PredictionMoments(row=45, class=3, of 30 draws)"


@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_the_cut_changes_no_bit(backend, monkeypatch):
    ensemble = random_posterior((5, 40, 30, 3)).draw(50)
    whole = ensemble.predict_moments(rows(100), backend=backend)
    for max_memory in (100_000, 1 << 18):
        monkeypatch.setattr("bayes_sbn.kernels.reference.block_size._ROWS_AT_A_TIME", 33)
        found = ensemble.predict_moments(rows(100), backend=backend, max_memory=max_memory)
        for name in NAMES:
            assert getattr(found, name).tobytes() == getattr(whole, name).tobytes()


def test_small_spreads_do_not_cancel():
    """Probabilities that differ in their twelfth digit, from which squares would leave nothing."""
    g = numpy_generator("cancel")
    small = 1e-12 * g.random((40, 6, 1))
    probs = np.concatenate([1 - small, small], -1)
    moments = RunningMoments(6, 2)
    moments.add(slice(0, 6), probs[:13])
    moments.add(slice(0, 6), probs[13:])
    found, wanted = moments.result(40, {}), Predictions(probs)
    np.testing.assert_allclose(found.std, wanted.std, rtol=1e-3)
    one = RunningMoments(6, 2)
    one.add(slice(0, 6), probs[:1])
    alone = one.result(1, {})
    assert not alone.std.any()
    assert not alone.epistemic.any()


@pytest.mark.native
def test_memory_does_not_grow_with_the_draws():
    posterior, x = random_posterior((5, 64, 10), ("logistic",)), rows(200)
    peaks = []
    for draws in (50, 2000):
        ensemble = posterior.draw(draws)
        ensemble.predict_moments(x[:1])  # planes are made once
        tracemalloc.start()
        ensemble.predict_moments(x, max_memory=1 << 21)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] + 100_000


def test_no_rows_and_bad_labels():
    moments = random_posterior().draw(3).predict_moments(np.zeros((0, 5)))
    assert moments.mean.shape == (0, 3)
    with pytest.raises(ValueError, match=r"PredictionMoments.log_prob\(\)"):
        random_posterior().draw(3).predict_moments(rows()).log_prob([0, 1])
    with pytest.raises(ValueError, match=r"predict_moments\(backend='gpu'\)"):
        random_posterior().draw(3).predict_moments(rows(), backend="gpu")
