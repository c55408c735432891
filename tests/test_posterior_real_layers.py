"""Posteriors with layers of real weights: export, draws, predictions, memory."""

import tracemalloc

import numpy as np
import pyro
import pytest
import torch
from sklearn.datasets import load_digits

import bayes_sbn as sbn
from bayes_sbn.bits import PackedBits
from bayes_sbn.kernels.reference.block_size import block_bytes
from bayes_sbn.posterior import Posterior
from bayes_sbn.posterior_layer import PosteriorLayer
from bayes_sbn.posterior_real_layer import RealPosteriorLayer
from tests import oracles
from tests.chance import assert_mean, numpy_generator, seed
from tests.hybrid_networks import ENDS, data, hybrid, oracle_net
from tests.hybrid_posteriors import CASES, random_hybrid
from tests.oracle_networks import Layer
from tests.plain_networks import random_posterior
from tests.test_ensemble import rows, same

NOISE_MODES = ("shared", "independent")


@pytest.fixture(params=CASES)
def posterior(request) -> Posterior:
    return CASES[request.param]


@pytest.mark.parametrize("kind", ["normal", "point"])
def test_export_keeps_every_number(kind):
    model, guide = hybrid(kind=kind)
    posterior = Posterior.from_guide(model, guide, temperature=0.5)
    first, middle, last = posterior.layers
    assert isinstance(middle, PosteriorLayer)
    for layer, units in ((first, model.hidden[0]), (last, model.output)):
        loc, spread = guide.real_weights()[f"{layer.name}.weight"]
        assert isinstance(layer, RealPosteriorLayer)
        np.testing.assert_array_equal(layer.loc, loc)
        np.testing.assert_array_equal(np.broadcast_to(layer.spread, loc.shape), spread)
        np.testing.assert_array_equal(layer.bias, units.bias.detach())
        assert layer.prior_scale == pytest.approx(layer.num_inputs**-0.5)
    assert (first.noise, last.noise) == ("logistic", None)
    assert posterior.num_weights == 4
    assert posterior.num_real_weights == 4 + 6
    assert posterior.entropy == middle.entropy
    assert posterior.bits_per_weight == middle.bits_per_weight


def test_export_of_another_models_guide_is_an_error():
    model, _ = hybrid(("first",))
    _, guide = hybrid(("last",), "normal")
    with pytest.raises(ValueError, match=r'layer "output" has real weights with .* is not 1'):
        Posterior.from_guide(sbn.models.BinaryMLP(2, [2, 2], 3, num_data=3), guide)
    _, wider = hybrid(("first",), sizes=(2, 2, 2, 2, 3))
    with pytest.raises(ValueError, match=r"weights at hidden.2.weight, which no layer"):
        Posterior.from_guide(model, wider)
    scaled = model.architecture()
    scaled["layers"][0]["scale"] = torch.tensor([2.0, 1.0])

    class Scaled:
        def architecture(self):
            return scaled

    with pytest.raises(ValueError, match="a scale beside them that is not 1"):
        Posterior.from_guide(Scaled(), sbn.guides.AutoHybrid(model))


def test_draws_are_integers_of_16_bits_on_the_grid(posterior):
    ensemble = posterior.draw(23, seed=5, stream=1)
    for layer, weights in zip(posterior.layers, ensemble.weights, strict=True):
        if isinstance(layer, PosteriorLayer):
            assert isinstance(weights, PackedBits)
            continue
        assert weights.dtype == np.int16
        assert weights.shape == (23, *layer.loc.shape)
        z = (weights * layer.step - layer.loc) / np.maximum(layer.spread, layer.step)
        assert np.abs(z).max() < 7


def test_weight_error_bounds_what_the_grid_takes(posterior):
    error = posterior.weight_error()
    reals = [la for la in posterior.layers if isinstance(la, RealPosteriorLayer)]
    assert set(error) == {layer.name for layer in reals}
    for layer in reals:
        assert 0 < error[layer.name] <= layer.step / 2
        fixed = layer.mode().kernel_layer().draw((0, 0), np.arange(1))[0] * layer.step
        assert np.abs(fixed - layer.loc).max() <= layer.step / 2
    assert random_posterior().weight_error() == {}
    exact = RealPosteriorLayer("a", 0, np.array([[0.5, -1.0]]), np.zeros(()), np.zeros(1))
    assert exact.weight_error == 0


def test_memory_counts_16_bits_a_real_weight_and_points_once():
    bits = {"ends": 4 * 6 * 1, "points": 4 * 6, "last": 4 * (8 + 6)}
    reals = {"ends": 2 * (40 + 18), "points": 2 * (40 + 18), "last": 2 * 18}
    for name, case in CASES.items():
        if name not in bits:
            continue
        wanted = 10 * bits[name] + (1 if name == "points" else 10) * reals[name]
        assert case.draw(10).memory == wanted
        kept = [w for w in case.draw(10).weights if not isinstance(w, PackedBits)]
        assert all((w.strides[0] == 0) == (name == "points") for w in kept)


@pytest.mark.parametrize("noise", NOISE_MODES)
def test_predict_does_not_depend_on_blocks_slices_or_more_draws(posterior, noise, monkeypatch):
    ensemble, x = posterior.draw(9, seed=5), rows(40)
    whole = ensemble.predict(x, noise=noise).probs_per_draw
    logits = ensemble.integer_logits(x, noise=noise)
    assert same(posterior.draw(4, seed=5).predict(x, noise=noise).probs_per_draw, whole[:4])
    assert same(ensemble[7:2:-2].predict(x, noise=noise).probs_per_draw, whole[7:2:-2])
    parts = [part.predict(x, noise=noise).probs_per_draw for part in ensemble]
    assert same(np.concatenate(parts), whole)
    part = ensemble.predict(x[13:40], noise=noise, row_offset=13).probs_per_draw
    assert same(part, whole[:, 13:40])
    monkeypatch.setattr("bayes_sbn.ensemble_weights._WEIGHTS_AT_A_TIME", 1)
    least = sum(block_bytes(ensemble.mixture.networks[0], is_shared=noise == "shared"))
    for rows_at_a_time, max_memory in ((7, 1 << 18), (33, 8 * least)):
        monkeypatch.setattr(
            "bayes_sbn.kernels.reference.block_size._ROWS_AT_A_TIME", rows_at_a_time
        )
        again = posterior.draw(9, seed=5)
        options = {"noise": noise, "max_memory": max_memory}
        assert same(again.predict(x, **options).probs_per_draw, whole)
        assert same(again.integer_logits(x, **options), logits)


@pytest.mark.parametrize("noise", NOISE_MODES)
def test_dots_are_those_of_64_bit_integers(posterior, noise, monkeypatch):
    """Whichever type they are computed in."""
    ensemble, x = posterior.draw(5, seed=2), rows()
    expected = ensemble.integer_logits(x, noise=noise)
    for name in ("_FLOAT32_IS_EXACT_BELOW", "_FLOAT64_IS_EXACT_BELOW"):
        monkeypatch.setattr(f"bayes_sbn.kernels.reference.exact_dots.{name}", 0)
        assert same(posterior.draw(5, seed=2).integer_logits(x, noise=noise), expected)


@pytest.mark.parametrize("noise", NOISE_MODES)
def test_a_draw_is_the_network_written_out(posterior, noise):
    """One draw by plain integers, layer by layer; the activations by the sampler's own rule."""
    from bayes_sbn.kernels import unpack
    from bayes_sbn.kernels.reference import sampling
    from bayes_sbn.kernels.reference.inputs import round_inputs

    x, key = rows(), (5, 0)
    ensemble = posterior.draw(3, seed=5)
    for s in range(3):
        h = round_inputs("x", x, 5, posterior.input_scale).astype(object)
        for index, (layer, weights) in enumerate(
            zip(posterior.layers, ensemble.weights, strict=True)
        ):
            is_real = isinstance(layer, RealPosteriorLayer)
            w = weights[s] if is_real else unpack(weights)[s].numpy()
            dots = (h @ w.astype(int).astype(object).T).astype(np.int64)
            scale = np.full(len(w), layer.step) if is_real else layer.scale
            scale = scale * posterior.input_scale if index == 0 else scale
            if layer.noise is None:
                assert (dots == ensemble.integer_logits(x, noise=noise)[s]).all()
                logits = scale * dots + layer.bias
                assert same(logits, ensemble.logits(x, noise=noise)[s])
                break
            rule = sampling.activation_thresholds(
                dots, scale, layer.bias, layer.noise, layer.noise_scale
            )
            draws = np.array([s])
            if noise == "shared":
                u = sampling.shared_uniforms(key, layer.site, draws, len(w))
                up = u < rule
            else:
                up = sampling.draw_row_activations(key, layer.site, draws, 0, rule[None])[0]
            h = np.where(up, 1, -1).astype(object)


def test_mode_takes_the_means():
    posterior = CASES["ends"]
    mode = posterior.mode()
    assert mode.bits_per_weight == 0
    for layer, fixed in zip(posterior.layers, mode.layers, strict=True):
        if isinstance(layer, RealPosteriorLayer):
            assert same(fixed.loc, layer.loc)
            assert not fixed.spread.any()
            assert fixed.step == layer.step
    assert same(mode.mode().draw(2).logits(rows()), mode.draw(2).logits(rows()))


def test_wide_layers_need_more_than_32_bits_and_stay_exact():
    g = numpy_generator("wide")
    first = RealPosteriorLayer(
        "a", 0, g.normal(size=(3, 2000)), np.zeros(()), np.zeros(3), "logistic"
    )
    last = PosteriorLayer("b", 1, np.full((2, 3), 0.5), np.ones(2), np.zeros(2))
    x = g.uniform(-8, 8, (4, 2000))
    posterior = Posterior((first, last), 2.0**-12)
    ensemble = posterior.draw(2)
    from bayes_sbn.kernels.reference.exact_dots import exact_dots
    from bayes_sbn.kernels.reference.inputs import round_inputs

    inputs = round_inputs("x", x, 2000, 2.0**-12)
    dots = exact_dots(inputs, ensemble.weights[0])
    exact = inputs.astype(object) @ ensemble.weights[0][0].astype(object).T
    assert dots.dtype == np.float64
    assert (dots[0].astype(np.int64) == exact.astype(np.int64)).all()
    assert np.abs(dots).max() > 2**31


@pytest.mark.parametrize("noise", NOISE_MODES)
@pytest.mark.parametrize("real", [("first",), ("last",), ENDS], ids=str)
def test_predictive_mean_is_that_of_exact_enumeration_on_the_grid(noise, real):
    model, guide = hybrid(real)
    x, _ = data()
    posterior = Posterior.from_guide(model, guide, input_range=4.0)
    net = oracle_net(model, guide)
    for layer, oracle in zip(posterior.layers, net.maps, strict=True):
        if isinstance(layer, RealPosteriorLayer):
            rounded = np.rint(layer.loc / layer.step) * layer.step
            assert np.abs(rounded - oracle[1].weight).max() <= layer.step / 2
            net = net.with_parameter(f"{oracle[0]}.weight", rounded)
    assert any(isinstance(layer, Layer) and not layer.is_random for _, layer in net.maps)
    rounded_x = np.rint(x.numpy() / posterior.input_scale) * posterior.input_scale
    draws = posterior.draw(40_000, seed=seed(f"enumeration/{noise}/{real}"))
    probs = draws.predict(x, noise=noise).probs_per_draw
    expected = oracles.predictive_mean(net, rounded_x)
    assert_mean(probs, expected, bounds=(0.0, 1.0), detects=0.03)


@pytest.mark.parametrize("is_broken", [False, True])
def test_predictions_with_normal_weights_are_those_of_the_model(is_broken):
    model, guide = hybrid(kind="normal")
    with torch.no_grad():
        for site in guide.real_weights():
            guide.real_site(site).log_spread.add_(2.5)
    x, _ = data()
    posterior = Posterior.from_guide(model, guide, input_range=4.0)
    posterior = posterior.mode() if is_broken else posterior
    number = 60_000
    probs = posterior.draw(number, seed=seed("normal")).predict(x, noise="independent")
    with torch.no_grad(), pyro.plate("particles", number, dim=-2):
        guide(x)
        head = guide.get_traces()[0].nodes["y"]["fn"]
    own = torch.softmax(head.logits.detach(), -1).numpy()
    difference = probs.probs_per_draw - own  # two samples: independent, of equal mean
    if is_broken:
        with pytest.raises(AssertionError, match="a mean of"):
            assert_mean(difference, 0.0, bounds=(-1.0, 1.0), detects=0.04)
    else:
        assert_mean(difference, 0.0, bounds=(-1.0, 1.0), detects=0.04)


def test_a_posterior_without_signs_is_refused():
    with pytest.raises(ValueError, match="none of the layers has ±1 weights"):
        random_hybrid((0, 1, 2))


@pytest.mark.parametrize("noise", NOISE_MODES)
@pytest.mark.parametrize("real", [(0, 1), (2,)], ids=str)
def test_predict_stays_within_its_memory(noise, real):
    ensemble = random_hybrid(real, sizes=(20, 300, 300, 4)).draw(12)
    x = rows(1000, 20)
    assert ensemble.weights
    budget = 8 << 20
    tracemalloc.start()
    try:
        result = ensemble.predict(x, noise=noise, max_memory=budget).probs_per_draw
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert budget / 8 < peak < budget + result.nbytes + 4 * x.nbytes + (3 << 19)


def test_repr_tells_the_real_weights():
    told = repr(CASES["ends"])
    assert "Posterior(categorical, 48 ±1 weights of" in told
    assert "bits, 58 real weights, inputs within" in told
    assert "  layer0                5      8  logistic(1.25)         real          80" in told
    assert "real weights" not in repr(random_posterior())


def test_fixed_signs_beside_real_weights():
    posterior = CASES["last"].mode()
    ensemble = posterior.draw(30, seed=1)
    for weights in ensemble.weights:
        values = weights.data if isinstance(weights, PackedBits) else weights
        assert (np.asarray(values) == np.asarray(values)[:1]).all()
    assert len(np.unique(ensemble.integer_logits(rows()), axis=0)) > 1  # activations stay random


@pytest.mark.parametrize("kind", ["normal", "point"])
def test_fit_learns_digits_through_real_ends(kind):
    x, y = (torch.tensor(part) for part in load_digits(return_X_y=True))
    x = x / 8 - 1
    model = sbn.models.BinaryMLP(64, [32, 32], 10, num_data=1000, real=ENDS)
    guide = sbn.guides.AutoHybrid(model, kind)
    optim = sbn.optim.MirrorDescent({"lr": 0.05, "real": ("Adam", {"lr": 0.03})})
    options = {"epochs": 12, "batch_size": 40, "progress": False, "optim": optim}
    fit = sbn.fit(model, guide, (x[:1000], y[:1000]), **options)
    posterior = Posterior.from_guide(model, guide, fit.temperature)
    pred = posterior.draw(50).predict(x[1000:])
    assert sbn.metrics.accuracy(pred, y[1000:]) > 0.8
