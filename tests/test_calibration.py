"""Draws that measure their statistics: equal to a transcription, however the work is cut."""

import dataclasses

import numpy as np
import pytest
import torch

import bayes_sbn as sbn
from bayes_sbn.ensemble import Ensemble
from bayes_sbn.kernels import unpack
from bayes_sbn.kernels.reference.block_size import block_bytes
from bayes_sbn.kernels.reference.calibration import exact_sums, mean_and_variance
from bayes_sbn.posterior import Posterior
from tests.calibration_oracle import CalibratedNetwork
from tests.chance import numpy_generator
from tests.kernels.reference import draw_oracle as oracle
from tests.models.normalised_networks import normalised_network
from tests.plain_networks import random_posterior

EPS = 1e-5
NOISE_MODES = ("shared", "independent")


def recalibrated(*places: int, **options: object) -> Posterior:
    """A posterior of 5-8-6-3 of which the layers at some places measure their statistics."""
    posterior = random_posterior(**options)
    layers = [
        dataclasses.replace(layer, normalisation_eps=EPS) if index in places else layer
        for index, layer in enumerate(posterior.layers)
    ]
    return dataclasses.replace(posterior, components=tuple(layers))


def rows(count: int, label: str = "calibration") -> np.ndarray:
    return numpy_generator(f"{label}/{count}").uniform(-8, 8, (count, 5))


def on_grid(x: np.ndarray, posterior: Posterior) -> np.ndarray:
    """The inputs in steps."""
    return np.rint(x / posterior.input_scale).astype(np.int64)


def same(left: np.ndarray, right: np.ndarray) -> bool:
    """Equal bit for bit."""
    return left.shape == right.shape and left.tobytes() == right.tobytes()


@pytest.mark.parametrize("places", [(0, 1), (1,), (0,)])
def test_calibrated_draws_are_those_of_the_definition(places):
    posterior = recalibrated(*places)
    calibration, x = rows(37), rows(5, "test")
    ensemble = posterior.draw(3, seed=11, stream=2, calibrate=calibration)
    key = oracle.key_of(11, 2)
    found = {noise: ensemble.integer_logits(x, noise=noise) for noise in NOISE_MODES}
    for draw in range(3):
        wanted = CalibratedNetwork(posterior, key, draw, on_grid(calibration, posterior))
        for index, units in enumerate(ensemble.units):
            assert (units is not None) == (index in places)
            if units is not None:
                scale, bias = zip(*wanted.units[index], strict=True)
                assert units.scale[draw].tolist() == list(scale)
                assert units.bias[draw].tolist() == list(bias)
        for noise, logits in found.items():
            for row, inputs in enumerate(on_grid(x, posterior).tolist()):
                assert logits[draw, row].tolist() == wanted.logits(inputs, row, noise)


def test_statistics_of_other_rows_or_of_another_draw_are_noticed():
    posterior, x = recalibrated(0, 1), rows(50, "test")
    logits = posterior.draw(3, calibrate=rows(37)).integer_logits(x)
    others = posterior.draw(3, calibrate=2 + rows(37) / 4).integer_logits(x)
    assert (logits != others).mean() > 0.01
    ensemble = posterior.draw(3, calibrate=rows(37))
    ensemble._units = tuple(
        None if u is None else type(u)(u.scale[::-1], u.bias[::-1]) for u in ensemble.units
    )
    assert (ensemble.integer_logits(x) != logits).mean() > 0.01


@pytest.mark.parametrize("noise", NOISE_MODES)
def test_results_do_not_depend_on_how_the_work_is_cut(noise, monkeypatch):
    posterior, x, calibration = recalibrated(0, 1), rows(40, "test"), rows(70)
    whole = posterior.draw(7, seed=3, calibrate=calibration).predict(x, noise=noise)
    probs = whole.probs_per_draw
    one_draw = sum(block_bytes(posterior._mixture.networks[0], is_shared=False))
    for memory, rows_at_a_time in ((one_draw, 512), (1 << 16, 1), (1 << 17, 33)):
        monkeypatch.setattr(
            "bayes_sbn.kernels.reference.block_size._ROWS_AT_A_TIME", rows_at_a_time
        )
        again = posterior.draw(7, seed=3, calibrate=calibration)
        assert same(again.predict(x, noise=noise, max_memory=memory).probs_per_draw, probs)
    monkeypatch.undo()
    fresh = posterior.draw(9, seed=3, calibrate=calibration)
    assert same(fresh[2:7:2].predict(x, noise=noise).probs_per_draw, probs[2::2])
    assert fresh.units[0].scale.shape == (9, 8)  # measured now: slices take theirs along
    assert same(fresh[5:2:-1].predict(x, noise=noise).probs_per_draw, probs[5:2:-1])
    assert same(fresh[4].units[1].bias, fresh.units[1].bias[4:5])
    part = fresh[1:3].predict(x[10:20], noise=noise, row_offset=10)
    assert same(part.probs_per_draw, probs[1:3, 10:20])


def test_calibration_shares_no_noise_with_predictions():
    posterior, x = recalibrated(1), rows(30)
    ensemble = posterior.draw(2, calibrate=x)
    key = oracle.key_of(0, 0)
    other = CalibratedNetwork(posterior, key, 0, on_grid(x, posterior))
    by_prediction = [
        other.dots(v, n, 1, (1, 2)) for n, v in enumerate(on_grid(x, posterior).tolist())
    ]
    mean = np.mean(by_prediction, 0)
    found = [float(m) for m, _ in other.statistics[1]]
    assert np.abs(mean - found).max() > 1 / 30
    assert ensemble.units[1].scale[0].tolist() == [scale for scale, _ in other.units[1]]


def test_sums_are_exact_where_64_bits_do_not_hold_them():
    g = numpy_generator("large")
    dots = g.integers(-(2**40), 2**40, (2, 50, 3))
    total, squares = exact_sums(dots)
    mean, variance = mean_and_variance(total, squares, 50)
    for s in range(2):
        for j in range(3):
            values = [int(v) for v in dots[s, :, j]]
            assert total[s, j] == sum(values)
            assert squares[s, j] == sum(v * v for v in values) > 2**63
            assert mean[s, j] == sum(values) / 50
            exact = (50 * sum(v * v for v in values) - sum(values) ** 2) / 2500
            assert variance[s, j] == exact
    small = dots // 2**30
    assert exact_sums(small)[1][0, 0] == int((small[0, :, 0] ** 2).sum())


def test_units_that_never_change_have_the_shift_alone():
    posterior = recalibrated(0)
    x = np.repeat(rows(1), 20, axis=0)
    units = posterior.draw(4, calibrate=x).units[0]
    layer = posterior.layers[0]
    np.testing.assert_allclose(units.scale, np.tile(layer.scale / np.sqrt(EPS), (4, 1)))
    dots = posterior.draw(4, calibrate=x)
    assert np.isfinite(dots.predict(rows(10, "test")).probs_per_draw).all()


def test_the_mode_measures_its_statistics_too():
    posterior, x = recalibrated(0, 1).mode(), rows(40)
    units = posterior.draw(5, calibrate=x).units
    assert (units[0].scale == units[0].scale[0]).all()  # the same weights on the same rows
    assert not (units[1].bias == units[1].bias[0]).all()  # but noise of the activations below
    with pytest.raises(ValueError, match="calibrate=x"):
        posterior.draw(5)


def test_layers_of_real_weights_stand_beside_recalibrated_ones():
    torch.manual_seed(0)
    x, y = torch.randn(60, 4), torch.randint(3, (60,))
    options = {"num_data": 60, "normalisation": "recalibrated", "real": ("first", "last")}
    model = sbn.models.BinaryMLP(4, [7, 6], 3, **options)
    guide = sbn.guides.AutoHybrid(model)
    sbn.fit(model, guide, (x, y), epochs=2, progress=False)
    posterior = Posterior.from_guide(model, guide)
    assert [layer.is_recalibrated for layer in posterior.layers] == [False, True, False]
    ensemble = posterior.draw(6, calibrate=x)
    assert [units is None for units in ensemble.units] == [True, False, True]
    whole = ensemble.predict(x).probs_per_draw
    parts = np.concatenate([part.predict(x).probs_per_draw for part in ensemble])
    assert same(parts, whole)
    # of a layer of 7 inputs, dots are odd integers: means of 60 of them are multiples of 1/30
    scale, bias = ensemble.units[1]
    mean = (posterior.layers[1].bias - bias) / scale
    np.testing.assert_allclose(30 * mean, np.rint(30 * mean), atol=1e-9)
    with pytest.raises(ValueError, match=r"moments do not go through hidden layers of real weigh"):
        sbn.models.BinaryMLP(4, [7, 6], 3, **{**options, "normalisation": "analytic"})
    sbn.models.BinaryMLP(4, [7], 3, num_data=60, normalisation="analytic", real=("last",))


def test_memory_that_does_not_suffice_is_an_error_of_the_prediction():
    ensemble = recalibrated(0).draw(2, calibrate=rows(9))
    with pytest.raises(ValueError, match=r"predict\(max_memory=10\): one draw and one row"):
        ensemble.predict(rows(3), max_memory=10)


def test_a_file_keeps_what_is_measured_by_draws(tmp_path):
    posterior = recalibrated(1)
    posterior.save(tmp_path / "p.sbn")
    assert (posterior.format_version, random_posterior().format_version) == (3, 1)
    loaded = Posterior.load(tmp_path / "p.sbn")
    assert loaded.digest == posterior.digest != random_posterior().digest
    assert [layer.is_recalibrated for layer in loaded.layers] == [False, True, False]
    x = rows(20)
    one, other = (p.draw(3, calibrate=x).predict(x).probs_per_draw for p in (posterior, loaded))
    assert same(one, other)
    assert "statistics measured by each draw: layer1" in repr(loaded)
    assert "statistics" not in repr(random_posterior())


def test_predictions_say_what_the_draws_were_calibrated_with():
    posterior, x = recalibrated(0), rows(20)
    attrs = posterior.draw(2, calibrate=x).predict(x).attrs
    assert attrs["calibration_rows"] == 20
    assert attrs["calibration"] == posterior.draw(5, calibrate=x.tolist()).attrs["calibration"]
    assert attrs["calibration"] != posterior.draw(2, calibrate=x[:19]).attrs["calibration"]


def test_a_fitted_network_is_exported_with_its_gains_and_shifts():
    model, guide, x, y = normalised_network("recalibrated", (4, 6, 5, 3), rows=24)
    sbn.fit(model, guide, (x, y), epochs=2, progress=False)
    posterior = Posterior.from_guide(model, guide)
    assert [layer.normalisation_eps for layer in posterior.layers] == [EPS, EPS, None]
    np.testing.assert_array_equal(posterior.layers[1].scale, model.hidden[1].scale.detach())
    ensemble = posterior.draw(50, calibrate=x)
    probs = ensemble.predict(x).mean
    assert probs.shape == (24, 3)
    # after calibration every unit of every draw has mean beta and variance gamma^2 on these rows
    w = np.array([[1.0 if b else -1.0 for b in row] for row in _bits(ensemble, 0, 7)])
    steps = np.rint(x.numpy() / posterior.input_scale) * posterior.input_scale
    a = ensemble.units[0].scale[7] * (steps @ w.T) + ensemble.units[0].bias[7]
    np.testing.assert_allclose(a.mean(0), posterior.layers[0].bias, atol=1e-12)
    np.testing.assert_allclose(a.std(0), posterior.layers[0].scale, rtol=1e-3)


def _bits(ensemble: Ensemble, layer: int, draw: int) -> np.ndarray:
    """The weights of a draw as booleans."""
    return unpack(ensemble.weights[layer])[draw].numpy() > 0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: recalibrated(0, 1).draw(9),
            r'draw\(9\): each draw measures .* layers "layer0", "layer1" .*draw\(9, calibrate=x\)',
        ),
        (
            lambda: random_posterior().draw(9, calibrate=rows(5)),
            r"draw\(9, calibrate=...\): none of the layers is recalibrated.*posterior.draw\(9\)",
        ),
        (
            lambda: recalibrated(0).draw(9, calibrate=rows(1)),
            r"draw\(calibrate=...\): 1 rows have no variance. Give at least two",
        ),
        (
            lambda: recalibrated(0).draw(9, calibrate=100 * rows(5)),
            r"draw\(calibrate=...\) received .* values beyond the posterior's input range",
        ),
        (
            lambda: recalibrated(0).draw(9, calibrate=rows(5)[:, :4]),
            r"draw\(calibrate=...\) needs inputs of shape \(rows, 5\)",
        ),
        (
            lambda: recalibrated(2),
            r'"layer2" has a normalisation and no noise: the logits of the output layer are not',
        ),
        (
            lambda: dataclasses.replace(random_posterior().layers[0], normalisation_eps=0.0),
            r"has normalisation_eps 0.0: it is a positive finite number, such as 1e-5",
        ),
        (
            lambda: Ensemble(recalibrated(0)._mixture, np.arange(3)),
            r"Ensemble\(calibration=...\): rows to calibrate with are for networks with layers",
        ),
    ],
)
def test_errors_say_what_to_type(call, words):
    with pytest.raises(ValueError, match=words):
        call()
