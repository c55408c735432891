"""Ensemble: the same bits however the work is cut, and the expectations of exact enumeration."""

import dataclasses
import io
import sys
import tracemalloc
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from bayes_sbn.bits import PackedBits
from bayes_sbn.ensemble import Ensemble
from bayes_sbn.kernels import unpack
from bayes_sbn.kernels.reference.block_size import block_bytes
from bayes_sbn.kernels.reference.components import Mixture
from bayes_sbn.kernels.reference.network import Network
from tests import oracles
from tests.chance import assert_count, assert_mean, numpy_generator, seed
from tests.oracle_networks import Layer, Net
from tests.plain_networks import posterior_of, random_posterior
from tests.problems import two_hidden_layers_sign_head

NOISE_MODES = ("shared", "independent")


def rows(count: int = 70, width: int = 5) -> np.ndarray:
    return numpy_generator(f"rows/{count}/{width}").uniform(-8, 8, (count, width))


def same(left: np.ndarray, right: np.ndarray) -> bool:
    """Equal bit for bit."""
    return left.shape == right.shape and left.tobytes() == right.tobytes()


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    return random_posterior().draw(23, seed=5, stream=1)


def test_ensemble_holds_one_bit_a_weight(ensemble):
    assert len(ensemble) == 23
    shapes = [(23, 8, 5), (23, 6, 8), (23, 3, 6)]
    assert [tuple(bits.shape) for bits in ensemble.weights] == shapes
    assert all(isinstance(bits, PackedBits) for bits in ensemble.weights)
    assert ensemble.memory == sum(4 * bits.data.numel() for bits in ensemble.weights)
    wide = random_posterior((64, 128, 10), ("logistic",)).draw(10)
    assert wide.memory == 10 * (64 * 128 + 128 * 10) // 8


def test_ensemble_draws_weights_by_blocks_without_a_seam(monkeypatch):
    whole = random_posterior().draw(23, seed=5).weights
    monkeypatch.setattr("bayes_sbn.ensemble_weights._WEIGHTS_AT_A_TIME", 1)
    for found, expected in zip(random_posterior().draw(23, seed=5).weights, whole, strict=True):
        assert torch.equal(found.data, expected.data)


def test_ensemble_depends_on_seed_and_stream():
    posterior = random_posterior()
    weights = {
        (s, t): posterior.draw(5, seed=s, stream=t).weights[0].data.numpy().tobytes()
        for s in (0, 1, 2**63)
        for t in (0, 1, 2**63)
    }
    assert len(set(weights.values())) == 9


def test_weights_of_certain_sign_are_in_every_draw(ensemble):
    for bits in ensemble.weights:
        values = unpack(bits)
        assert (values[:, 0, 0] == -1).all()
        assert (values[:, -1, -1] == 1).all()


def test_slices_keep_the_indices_of_their_draws(ensemble):
    x = rows()
    whole = ensemble.predict(x).probs_per_draw
    assert same(ensemble[7:19:3].predict(x).probs_per_draw, whole[7:19:3])
    assert same(ensemble[::-1].predict(x).probs_per_draw, whole[::-1])
    assert same(ensemble[-1].predict(x).probs_per_draw, whole[-1:])
    assert same(ensemble[4:][3].predict(x).probs_per_draw, whole[7:8])
    assert ensemble[7:19:3].draws.tolist() == [7, 10, 13, 16]
    parts = np.concatenate([part.predict(x).probs_per_draw for part in ensemble])
    assert same(parts, whole)


def test_slices_taken_before_and_after_the_weights_are_drawn_agree():
    early = random_posterior().draw(23, seed=5)
    part = early[3:9]
    assert "weights" not in early.__dict__
    late = early.weights
    for found, expected in zip(part.weights, late, strict=True):
        assert torch.equal(found.data, expected.data[3:9])
    shared = early[3:9].weights[0].data
    assert shared.data_ptr() == late[0].data[3:9].data_ptr()


def test_more_draws_begin_with_the_fewer():
    x = rows()
    posterior = random_posterior()
    few, many = posterior.draw(4).predict(x), posterior.draw(9).predict(x)
    assert same(few.probs_per_draw, many.probs_per_draw[:4])


def test_indices_out_of_range_are_refused(ensemble):
    for index in (23, -24):
        with pytest.raises(IndexError, match=r"the ensemble has 23 draws; index from -23 to 22"):
            ensemble[index]
    with pytest.raises(ValueError, match=r"ensemble\[5:5:None\] has no draws"):
        ensemble[5:5]


@pytest.mark.parametrize("noise", NOISE_MODES)
def test_predict_does_not_depend_on_the_size_of_blocks(noise, monkeypatch):
    ensemble, x = random_posterior().draw(5, seed=5), rows()
    whole = ensemble.predict(x, noise=noise).probs_per_draw
    logits = ensemble.integer_logits(x, noise=noise)
    for rows_at_a_time in (1, 7, 32, 33):
        monkeypatch.setattr(
            "bayes_sbn.kernels.reference.block_size._ROWS_AT_A_TIME", rows_at_a_time
        )
        for max_memory in (
            sum(block_bytes(ensemble.mixture.networks[0], is_shared=False)),
            1 << 16,
            1 << 18,
        ):
            options = {"noise": noise, "max_memory": max_memory}
            assert same(ensemble.predict(x, **options).probs_per_draw, whole)
            assert same(ensemble.integer_logits(x, **options), logits)


def test_predict_shared_noise_does_not_depend_on_the_batch_or_the_order(ensemble):
    x = rows()
    whole = ensemble.predict(x).probs_per_draw
    order = numpy_generator("order").permutation(len(x))
    assert same(ensemble.predict(x[order]).probs_per_draw, whole[:, order])
    for n in (0, 33, 69):
        assert same(ensemble.predict(x[n : n + 1]).probs_per_draw, whole[:, n : n + 1])
    assert same(ensemble.predict(x, row_offset=1000).probs_per_draw, whole)


def test_predict_independent_noise_is_keyed_by_the_row(ensemble):
    x = rows()
    whole = ensemble.predict(x, noise="independent").probs_per_draw
    for start, stop in ((0, 1), (5, 40), (31, 33), (69, 70)):
        part = ensemble.predict(x[start:stop], noise="independent", row_offset=start)
        assert same(part.probs_per_draw, whole[:, start:stop])
    moved = ensemble.predict(x, noise="independent", row_offset=1).probs_per_draw
    assert not same(moved, whole)
    alike = ensemble.integer_logits(np.repeat(x[:1], 40, axis=0), noise="independent")
    assert len(np.unique(alike, axis=1)[0]) > 1
    last = 2**32 - len(x)
    assert ensemble.predict(x, noise="independent", row_offset=last).shape == (23, 70, 3)


def test_predict_shared_noise_gives_equal_rows_equal_results(ensemble):
    logits = ensemble.integer_logits(np.repeat(rows()[:1], 40, axis=0))
    assert (logits == logits[:, :1]).all()


def test_predict_takes_tensors_and_arrays_alike(ensemble):
    x = rows().astype(np.float32)
    whole = ensemble.predict(x).probs_per_draw
    tensor = torch.tensor(x)
    for alike in (tensor, tensor.double().requires_grad_(), x.astype(np.float64), x.tolist()):
        assert same(ensemble.predict(alike).probs_per_draw, whole)
    assert same(ensemble.predict(np.asfortranarray(x)).probs_per_draw, whole)


def test_predict_probabilities_are_the_softmax_of_the_logits(ensemble):
    x = rows()
    logits = ensemble.logits(x)
    last = ensemble.mixture.networks[0].layers[-1]
    assert same(logits, last.scale * ensemble.integer_logits(x) + last.bias)
    expected = torch.softmax(torch.from_numpy(logits), -1).numpy()
    np.testing.assert_allclose(ensemble.predict(x).probs_per_draw, expected, rtol=0, atol=1e-15)


def test_predict_says_where_it_comes_from(ensemble):
    pred = ensemble[2:4].predict(rows(), noise="independent", row_offset=9)
    assert pred.attrs["posterior"] == random_posterior().digest
    assert pred.attrs["draws"] == "2..3"
    assert ensemble[1:8:3].predict(rows()).attrs["draws"] == [1, 4, 7]
    assert (pred.attrs["seed"], pred.attrs["stream"]) == (5, 1)
    assert (pred.attrs["noise"], pred.attrs["row_offset"]) == ("independent", 9)


def test_predict_of_one_draw_and_one_row():
    pred = random_posterior().draw(1).predict(rows()[:1])
    assert pred.shape == (1, 1, 3)
    np.testing.assert_allclose(pred.mean.sum(), 1.0, rtol=1e-15)


@pytest.mark.parametrize("noise", NOISE_MODES)
def test_logits_of_no_rows_are_empty(ensemble, noise):
    nothing = np.zeros((0, 5))
    assert ensemble.logits(nothing, noise=noise).shape == (23, 0, 3)
    assert ensemble.integer_logits(nothing, noise=noise).shape == (23, 0, 3)
    assert ensemble.predict(nothing, noise=noise).shape == (23, 0, 3)
    assert ensemble.integer_logits(nothing, noise=noise).dtype == np.int64


def test_predict_without_a_hidden_layer():
    pred = random_posterior((5, 3), ()).draw(6).predict(rows())
    assert pred.shape == (6, 70, 3)


@pytest.mark.parametrize("call", ["predict", "logits", "integer_logits"])
def test_options_that_are_not_known_are_refused(ensemble, call):
    function = getattr(ensemble, call)
    with pytest.raises(ValueError, match=rf"{call}\(backend='gpu'\): .* 'auto', 'reference'"):
        function(rows(), backend="gpu")
    with pytest.raises(ValueError, match=rf"{call}\(noise='logistic'\): noise is 'shared'"):
        function(rows(), noise="logistic")
    for offset in (-1, 2**32 - 69):
        with pytest.raises(ValueError, match=rf"{call}\(row_offset={offset}\) with 70 rows"):
            function(rows(), row_offset=offset)
    with pytest.raises(ValueError, match=rf"{call}\(max_memory=10\): one draw and one row"):
        function(rows(), max_memory=10)
    x = rows()
    x[12, 3] = np.nan
    with pytest.raises(ValueError, match=rf"{call}\(\) needs finite inputs: row 12 has nan"):
        function(x)
    with pytest.raises(ValueError, match=rf"{call}\(\) needs inputs of shape \(rows, 5\)"):
        function(x[:, :4])


@pytest.mark.parametrize("noise", NOISE_MODES)
def test_predict_stays_within_its_memory(noise):
    """Whatever the number of rows and draws; tracemalloc counts NumPy's arrays."""
    ensemble = random_posterior((20, 300, 300, 4)).draw(12)
    x = rows(3000, 20)
    assert ensemble.weights
    budget = 8 << 20
    tracemalloc.start()
    try:
        result = ensemble.predict(x, noise=noise, max_memory=budget).probs_per_draw
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    beside = result.nbytes + 4 * x.nbytes + (3 << 19)
    assert budget / 8 < peak < budget + beside


def test_progress_is_silent_where_there_is_no_terminal(ensemble, monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    ensemble.predict(rows())
    assert stream.getvalue() == ""
    ensemble.predict(rows(), progress=True)
    assert "predict" in stream.getvalue()


def test_repr_says_what_it_is(ensemble):
    assert repr(ensemble) == (
        f"Ensemble(23 draws of 5-8-6-3, seed=5, stream=1, {ensemble.memory:,} bytes packed)"
    )


@pytest.mark.parametrize("noise", NOISE_MODES)
@pytest.mark.parametrize("law", ["logistic", "triangular"])
def test_predictive_mean_is_that_of_exact_enumeration(noise, law):
    problem = two_hidden_layers_sign_head(law, 1.5)
    x = np.round(problem.x * 64) / 64
    posterior = posterior_of(problem.net, 1 / 64)
    ensemble = posterior.draw(40_000, seed=seed(f"enumeration/{noise}/{law}"))
    probs = ensemble.predict(x, noise=noise).probs_per_draw
    expected = oracles.predictive_mean(problem.net, x)
    assert_mean(probs, expected, bounds=(0.0, 1.0), detects=0.02)


def test_probabilities_of_each_outcome_are_those_of_exact_enumeration():
    """Not only their mean: how often each class has a probability above one half."""
    problem = two_hidden_layers_sign_head("gaussian", 1.0)
    x = np.round(problem.x * 64) / 64
    posterior = posterior_of(problem.net, 1 / 64)
    ensemble = posterior.draw(40_000, seed=seed("outcomes"))
    wins = (ensemble.predict(x).probs_per_draw > 0.5).sum(0)
    q, table = oracles.predictive_draws(problem.net, x)
    expected = (q[..., None] * (table > 0.5)).sum((0, 2))
    assert_count(wins, 40_000, expected, detects=0.03)


CHAIN = Net(
    layers=(Layer(scale=np.array([3.0]), bias=np.zeros(1), weight_mean=np.zeros((1, 1))),),
    head=Layer(scale=np.ones(2), bias=np.zeros(2), weight_mean=np.zeros((2, 1))),
)
"""x to one unit to two classes, all weights fair coins: every class has probability 1/2."""


@pytest.mark.parametrize("is_broken", [False, True])
def test_layers_that_share_their_random_bits_are_noticed(is_broken):
    """The positive control: with equal sites the two layers' weights of unit 0 are the same."""
    layers = posterior_of(CHAIN, 1.0)._mixture.networks[0].layers
    layers = tuple(dataclasses.replace(la, site=0 if is_broken else la.site) for la in layers)
    ensemble = Ensemble(Mixture.of(Network(layers, 1.0)), np.arange(20_000), seed=seed("chain"))
    x = np.array([[1.0], [-1.0]])
    wins = ensemble.predict(x).probs_per_draw[..., 0] > 0.5
    q, table = oracles.predictive_draws(CHAIN, x)
    expected = (q * (table[..., 0] > 0.5)).sum((0, 2))
    with pytest.raises(AssertionError, match="p-value") if is_broken else nullcontext():
        assert_count(wins.sum(0), 20_000, expected, detects=0.04)


def test_predictive_mean_of_a_wrong_posterior_is_noticed():
    problem = two_hidden_layers_sign_head("logistic", 1.5)
    x = np.round(problem.x * 64) / 64
    mode = posterior_of(problem.net, 1 / 64).mode().draw(40_000)
    expected = oracles.predictive_mean(problem.net, x)
    with pytest.raises(AssertionError, match="a mean of"):
        assert_mean(mode.predict(x).probs_per_draw, expected, bounds=(0.0, 1.0), detects=0.03)
