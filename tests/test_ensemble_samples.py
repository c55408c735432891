"""Labels and hidden activations of an ensemble: the bits behind its logits, and labels by them."""

import tracemalloc
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from bayes_sbn.bits import PackedBits
from bayes_sbn.ensemble_labels import draw_labels, label_uniforms
from bayes_sbn.kernels import unpack
from bayes_sbn.philox import fold_stream, philox4x32_numpy
from bayes_sbn.posterior import Posterior
from tests import oracles
from tests.chance import assert_count, numpy_generator, seed
from tests.hybrid_posteriors import CASES
from tests.plain_networks import posterior_of, random_posterior
from tests.problems import two_hidden_layers_sign_head
from tests.test_posterior_low_rank import network as low_rank_posterior

NOISE_MODES = ("shared", "independent")


def rows(count: int = 70, width: int = 5) -> np.ndarray:
    return numpy_generator(f"samples/{count}/{width}").uniform(-8, 8, (count, width))


def recalibrated() -> Posterior:
    posterior = random_posterior()
    measured = [
        type(layer)(**{**layer.__dict__, "normalisation_eps": 1e-5})
        for layer in posterior.layers[:-1]
    ]
    return Posterior([*measured, posterior.layers[-1]], posterior.input_scale)


def mixture() -> Posterior:
    return Posterior.mixture([random_posterior(), random_posterior(label="other")], (1, 2))


ENSEMBLES = {
    "plain": lambda: random_posterior().draw(11, seed=5, stream=1),
    "mixture": lambda: mixture().draw(11, seed=6),
    "real ends": lambda: CASES["ends"].draw(11, seed=7),
    "points": lambda: CASES["points"].draw(11, seed=8),
    "factors": lambda: low_rank_posterior().draw(11, seed=9),
    "recalibrated": lambda: recalibrated().draw(11, seed=10, calibrate=rows(30)),
}


def in_steps(weights: PackedBits | np.ndarray) -> np.ndarray:
    """Weights of a layer as integers, (draws, out, in)."""
    if isinstance(weights, PackedBits):
        return unpack(weights, torch.int64).numpy()
    return weights.astype(np.int64)


@pytest.mark.parametrize("noise", NOISE_MODES)
@pytest.mark.parametrize("name", ENSEMBLES)
def test_activations_are_those_behind_the_integer_logits(name, noise):
    """Of every layer: the dots of the head are the logits only if all layers below are right."""
    ensemble = ENSEMBLES[name]()
    x = rows()
    layers = ensemble.activations(x, noise=noise, row_offset=21)
    sizes = [layer.num_units for layer in ensemble.mixture.networks[0].layers[:-1]]
    assert [h.shape for h in layers] == [(11, 70, size) for size in sizes]
    assert {h.dtype for h in layers} == {np.dtype(np.int8)}
    assert all(np.array_equal(np.unique(h), [-1, 1]) for h in layers)
    dots = layers[-1].astype(np.int64) @ in_steps(ensemble.weights[-1]).swapaxes(1, 2)
    np.testing.assert_array_equal(dots, ensemble.integer_logits(x, noise=noise, row_offset=21))


@pytest.mark.parametrize("noise", NOISE_MODES)
def test_activations_do_not_depend_on_how_the_work_is_cut(noise):
    posterior, x = random_posterior((5, 70, 40, 3)), rows(300)
    whole = posterior.draw(6).activations(x, noise=noise)
    # of shared noise a draw takes less, so that each bound cuts both draws and rows
    cut = posterior.draw(6).activations(x, noise=noise, max_memory=300_000)
    parts = [
        posterior.draw(6)[2:].activations(x[s], noise=noise, row_offset=s.start)
        for s in (slice(0, 77), slice(77, 300))
    ]
    for layer in range(2):
        np.testing.assert_array_equal(cut[layer], whole[layer])
        joined = np.concatenate([part[layer] for part in parts], axis=1)
        np.testing.assert_array_equal(joined, whole[layer][2:])


def test_activations_and_labels_of_no_rows_and_no_hidden_layer():
    alone = random_posterior((5, 3), ()).draw(4)
    assert alone.activations(rows()) == []
    assert alone.labels(rows()).shape == (4, 70)
    ensemble = random_posterior().draw(4)
    assert [h.shape for h in ensemble.activations(rows()[:0])] == [(4, 0, 8), (4, 0, 6)]
    assert ensemble.labels(rows()[:0]).shape == (4, 0)


@pytest.mark.parametrize("call", ["labels", "activations"])
def test_options_that_are_not_known_are_refused(call):
    function = getattr(random_posterior().draw(2), call)
    with pytest.raises(ValueError, match=rf"{call}\(noise='logistic'\): noise is 'shared'"):
        function(rows(), noise="logistic")
    with pytest.raises(ValueError, match=rf"{call}\(row_offset=-1\) with 70 rows"):
        function(rows(), row_offset=-1)
    with pytest.raises(ValueError, match=rf"{call}\(max_memory=10\): one draw and one row"):
        function(rows(), max_memory=10, **({"backend": "reference"} if call == "labels" else {}))


def test_label_uniforms_are_words_of_draw_and_row():
    key = fold_stream(3, 4)
    found = label_uniforms(key, np.array([7, 2]), 5, 4)
    for s, draw in enumerate((7, 2)):
        for n, row in enumerate(range(5, 9)):
            words = [int(w) for w in philox4x32_numpy(row // 2, 0, draw, 9 << 8, *key)]
            high, low = words[:2] if row % 2 == 0 else words[2:]
            assert found[s, n] == ((high % 2**16) * 2**32 + low) / 2**48
    assert label_uniforms(key, np.array([7]), 5, 0).shape == (1, 0)


def test_labels_are_the_first_class_whose_sum_is_beyond_the_uniform():
    key, draws = fold_stream(1), np.arange(5)
    probs = numpy_generator("labels").dirichlet(np.full(4, 0.3), (5, 50))
    uniforms = label_uniforms(key, draws, 12, 50)
    expected = [
        [
            next(c for c in range(4) if p[: c + 1].sum() > u * p.sum() or c == 3)
            for p, u in zip(*of_draw, strict=True)
        ]
        for of_draw in zip(probs, uniforms, strict=True)
    ]
    np.testing.assert_array_equal(draw_labels(key, draws, 12, probs), expected)


@pytest.mark.parametrize("impossible", [0, 1, 2])
def test_a_class_of_probability_zero_is_never_drawn(impossible, monkeypatch):
    p = np.full(3, 0.5)
    p[impossible] = 0.0
    probs = np.broadcast_to(p * (1 - 2**-53), (1, 2, 3))
    ends = np.array([[0.0, 1 - 2.0**-48]])  # the least and the largest uniform
    monkeypatch.setattr("bayes_sbn.ensemble_labels.label_uniforms", lambda *_: ends)
    labels = draw_labels((0, 0), np.array([0]), 0, probs)
    possible = [c for c in range(3) if c != impossible]
    np.testing.assert_array_equal(labels, [possible])


@pytest.mark.parametrize("noise", NOISE_MODES)
def test_labels_do_not_depend_on_how_the_work_is_cut(noise):
    posterior, x = random_posterior((5, 70, 40, 3)), rows(300)
    whole = posterior.draw(40).labels(x, noise=noise)
    assert whole.dtype == np.int64
    cut = posterior.draw(40).labels(x, noise=noise, max_memory=400_000)
    np.testing.assert_array_equal(cut, whole)
    reference = posterior.draw(40).labels(x, noise=noise, backend="reference")
    np.testing.assert_array_equal(reference, whole)
    parts = [
        posterior.draw(40)[3::2].labels(x[s], noise=noise, row_offset=s.start)
        for s in (slice(0, 77), slice(77, 300))
    ]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole[3::2])
    assert not np.array_equal(posterior.draw(40, stream=1).labels(x, noise=noise), whole)


@pytest.mark.parametrize("is_other", [False, True])
def test_labels_have_the_frequencies_of_exact_enumeration(is_other):
    """And, as the control, not those of the same network with one weight's law reversed."""
    problem = two_hidden_layers_sign_head("triangular", 1.5)
    x = np.round(problem.x * 64) / 64
    ensemble = posterior_of(problem.net, 1 / 64).draw(40_000, seed=seed("labels"))
    labels = ensemble.labels(x)
    counts = np.stack([(labels == c).sum(0) for c in range(ensemble.num_classes)], axis=-1)
    net = problem.net
    if is_other:
        net = net.with_parameter("head.bias", net.head.bias + np.eye(len(net.head.bias))[0] / 4)
    expected = oracles.predictive_mean(net, x)
    with pytest.raises(AssertionError, match="p-value") if is_other else nullcontext():
        assert_count(counts, 40_000, expected, detects=0.03)


@pytest.mark.parametrize("call", ["labels", "activations"])
@pytest.mark.parametrize("noise", NOISE_MODES)
def test_memory_is_bounded_beside_the_result(call, noise):
    """Whatever the number of rows and draws; tracemalloc counts NumPy's arrays."""
    ensemble = random_posterior((20, 300, 300, 4)).draw(3)
    x = rows(900, 20)
    assert ensemble.weights
    budget = 5 << 20
    options = {"backend": "reference"} if call == "labels" else {}
    tracemalloc.start()
    try:
        result = getattr(ensemble, call)(x, noise=noise, max_memory=budget, **options)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    size = sum(part.nbytes for part in (result if call == "activations" else [result]))
    beside = size + 4 * x.nbytes + (3 << 19)
    assert budget / 8 < peak < budget + beside
