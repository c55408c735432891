"""Posteriors whose weights share factors: given the factors, those of a mean-field guide."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy import integrate, special

import bayes_sbn as sbn
from bayes_sbn.kernels.reference.low_rank import draw_factors
from bayes_sbn.philox import fold_stream
from bayes_sbn.posterior import Posterior
from bayes_sbn.posterior_low_rank_layer import LowRankPosteriorLayer
from tests.chance import numpy_generator
from tests.plain_networks import random_posterior


def layer(**changes) -> LowRankPosteriorLayer:
    g = numpy_generator("low-rank layer")
    options = {
        "name": "fc",
        "site": 0,
        "natural": g.normal(size=(4, 5)),
        "loadings": 0.7 * g.normal(size=(2, 4, 5)),
        "scale": np.full(4, 0.5),
        "bias": g.normal(size=4),
        "noise": "logistic",
    }
    return LowRankPosteriorLayer(**{**options, **changes})


def network(**options) -> Posterior:
    g = numpy_generator("low-rank network")
    last = {"name": "output", "site": 1, "natural": g.normal(size=(3, 4)), "noise": None}
    last |= {"loadings": g.normal(size=(2, 3, 4)), "scale": np.ones(3), "bias": np.zeros(3)}
    return Posterior([layer(), layer(**last)], 2.0**-10, **options)


def rows(number: int = 9) -> np.ndarray:
    return numpy_generator("rows").uniform(-3, 3, size=(number, 5))


@pytest.fixture(scope="module")
def fitted():
    """A model and its guide in float64, with loadings that matter."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    state = torch.get_rng_state()
    torch.manual_seed(0)
    model = sbn.models.BinaryMLP(5, [6], 3, num_data=30)
    guide = sbn.guides.AutoSignLowRank(model, rank=2, loading_scale=1.5)
    torch.set_rng_state(state)
    torch.set_default_dtype(default)
    return model, guide


def test_draws_are_those_of_the_mean_field_posterior_at_their_factors(fitted):
    model, guide = fitted
    posterior, x = Posterior.from_guide(model, guide), rows()
    assert all(isinstance(la, LowRankPosteriorLayer) for la in posterior.layers)
    ensemble = posterior.draw(6, seed=3, stream=1)
    whole = ensemble.predict(x).probs_per_draw
    factors = draw_factors(fold_stream(3, 1), np.arange(6), 2)
    assert len({p.tobytes() for p in whole}) == 6
    for draw, own in enumerate(factors):
        given = Posterior.from_guide(model, guide.at(torch.tensor(own)))
        found = given.draw(6, seed=3, stream=1)[draw].predict(x).probs_per_draw
        assert found.tobytes() == whole[draw : draw + 1].tobytes()


def test_probabilities_are_the_guides_and_the_mode_is_their_sign(fitted):
    model, guide = fitted
    posterior = Posterior.from_guide(model, guide)
    probabilities = guide.weight_probabilities()
    for own, site in zip(posterior.layers, ("hidden.0.weight", "output.weight"), strict=True):
        np.testing.assert_allclose(own.probabilities, probabilities[site], atol=1e-14)
        up = own.mode().probabilities
        assert (up == (probabilities[site].numpy() >= 0.5)).all()
    assert posterior.mode().entropy == 0
    assert posterior.mode().format_version == 1


def test_entropy_is_that_given_the_factors():
    own = layer()
    spread = np.sqrt((own.loadings**2).sum(0))

    def bits(natural: float) -> float:
        p = special.expit(2 * natural)
        return float((special.entr(p) + special.entr(1 - p)) / math.log(2))

    total = 0.0
    for lam, size in zip(own.natural.flat, spread.flat, strict=True):
        total += integrate.quad(
            lambda z, lam=lam, size=size: (
                bits(lam + size * z) * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
            ),
            -9,
            9,
            epsabs=1e-12,
        )[0]
    assert own.entropy == pytest.approx(total, abs=1e-9)
    assert own.bits_per_weight == pytest.approx(total / 20)
    assert layer(natural=np.full((4, 5), 400.0), loadings=np.zeros((1, 4, 5))).entropy == 0


def test_a_file_keeps_it_and_is_of_version_4(tmp_path):
    posterior = network(temperature=0.5)
    assert posterior.format_version == 4
    posterior.save(tmp_path / "fit.sbn")
    loaded = Posterior.load(tmp_path / "fit.sbn")
    assert loaded.digest == posterior.digest
    found, saved = (p.draw(5).predict(rows()).probs_per_draw for p in (loaded, posterior))
    assert found.tobytes() == saved.tobytes()
    changed = dataclasses.replace(
        posterior, components=[layer(loadings=layer().loadings + 1e-9), posterior.layers[1]]
    )
    assert changed.digest != posterior.digest


def test_statistics_are_measured_given_the_factors():
    first = layer(normalisation_eps=1e-5)
    posterior = Posterior([first, network().layers[1]], 2.0**-10)
    ensemble = posterior.draw(3, calibrate=rows(30))
    assert ensemble.units[0].scale.shape == (3, 4)
    assert np.isfinite(ensemble.predict(rows()).probs_per_draw).all()
    assert Posterior.mixture([posterior, posterior]).draw(3, calibrate=rows(30)).memory == (
        ensemble.memory
    )


def test_low_rank_and_mean_field_posteriors_mix():
    """Restarts may be of different families: only the shapes count."""
    one, two = network(), random_posterior((5, 4, 3), ("logistic",))
    ensemble = Posterior.mixture([one, two]).draw(6)
    for draw, component in enumerate(ensemble.components):
        alone = (one, two)[component].draw(6)[draw].predict(rows()).probs_per_draw
        whole = ensemble.predict(rows()).probs_per_draw[draw : draw + 1]
        assert alone.tobytes() == whole.tobytes()


def test_the_table_says_what_the_bits_are():
    told = repr(network())
    assert "weights share 2 normal factors, given which the bits are" in told


def test_bad_numbers_are_errors():
    cases = [
        (lambda: layer(natural=np.zeros(5)), r"natural parameters of shape \(5,\)"),
        (lambda: layer(natural=np.full((4, 5), np.nan)), "20 values in natural parameters"),
        (lambda: layer(loadings=np.zeros((4, 5))), r"loadings of shape \(4, 5\)"),
        (lambda: layer(loadings=np.zeros((0, 4, 5))), "at least one factor"),
        (lambda: layer(loadings=np.full((1, 4, 5), 1e200)), "beyond 1e\\+100"),
        (lambda: layer(prior=np.full((5, 4), 0.5)), r"prior of shape \(5, 4\)"),
        (lambda: layer(scale=np.zeros(5)), r"scale of shape \(5,\)"),
        (
            lambda: Posterior([layer(loadings=np.zeros((3, 4, 5))), network().layers[1]], 1.0),
            "layers have 2, 3 factors",
        ),
    ]
    for make, words in cases:
        with pytest.raises(ValueError, match=words):
            make()
