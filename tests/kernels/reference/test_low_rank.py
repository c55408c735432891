"""Weights with shared factors: bits as written out by hand, joint probabilities by quadrature."""

import numpy as np
import pytest

from bayes_sbn.kernels.reference.low_rank import LowRankDenseLayer, draw_factors, thresholds_at
from bayes_sbn.kernels.reference.network import signs_of_words
from bayes_sbn.philox import fold_stream
from tests.chance import assert_count, numpy_generator, seed
from tests.kernels.reference import draw_oracle, mixture_oracle


def layer(units: int = 3, inputs: int = 37, rank: int = 2, size: float = 0.8) -> LowRankDenseLayer:
    g = numpy_generator("low rank")
    return LowRankDenseLayer(
        site=5,
        natural=g.normal(size=(units, inputs)),
        loadings=size * g.normal(size=(rank, units, inputs)),
        scale=np.ones(units),
        bias=np.zeros(units),
        noise=None,
        noise_scale=1.0,
    )


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_bits_are_those_of_one_number_at_a_time(rank):
    own, key, draws = layer(rank=rank), fold_stream(9, 4), np.array([0, 3, 2**32 - 1])
    signs = signs_of_words(own.draw(key, draws), own.num_inputs)
    for place, draw in enumerate(draws.tolist()):
        factors = mixture_oracle.factors(key, draw, rank)
        for unit in range(own.num_units):
            for k in range(own.num_inputs):
                natural = float(own.natural[unit, k])
                for factor, loading in zip(factors, own.loadings[:, unit, k], strict=True):
                    natural = natural + factor * float(loading)
                q = round(draw_oracle.cdf("logistic", natural, 0.5) * 2**32)
                is_up = draw_oracle.weight_u32(key, draw, 5, unit, k) < q
                assert signs[place, unit, k] == (1 if is_up else -1)


def test_a_draw_does_not_depend_on_the_others_and_padding_is_0():
    own, key = layer(), fold_stream(0, 0)
    whole = own.draw(key, np.arange(6))
    assert (own.draw(key, np.array([4, 1])) == whole[[4, 1]]).all()
    assert not (whole[..., -1] >> np.uint32(own.num_inputs - 32)).any()
    assert own.bytes_per_draw == whole[0].nbytes
    assert own.draw(key, np.arange(0)).shape == (0, 3, 2)


def test_without_loadings_weights_are_independent_bernoulli_variables():
    own = layer(size=0.0)
    p = 1 / (1 + np.exp(-2 * own.natural))
    q = thresholds_at(own.natural, own.loadings, draw_factors((0, 0), np.array([1]), 2)[0])
    np.testing.assert_allclose(q / 2.0**32, p, atol=1e-9)


def test_pairs_of_weights_have_their_joint_probabilities():
    """By Gauss-Hermite quadrature over the factors; the control, independent weights, fails."""
    own, number = layer(units=1, inputs=4, size=1.5), 5000
    words = own.draw(fold_stream(seed("pairs"), 0), np.arange(number))
    ups = signs_of_words(words, 4)[:, 0] > 0
    places, weights = np.polynomial.hermite_e.hermegauss(80)
    z = np.stack(np.meshgrid(places, places), -1).reshape(-1, 2)
    weight = (weights[:, None] * weights).ravel() / weights.sum() ** 2
    p = 1 / (1 + np.exp(-2 * (own.natural[0] + z @ own.loadings[:, 0])))
    joint, alone = np.einsum("z,zi,zj->ij", weight, p, p), weight @ p
    counts, off = (ups[:, :, None] & ups[:, None, :]).sum(0), np.triu_indices(4, 1)
    assert_count(counts[off], number, joint[off], detects=0.08)
    assert_count(ups.sum(0), number, alone, detects=0.08)
    with pytest.raises(AssertionError, match="p-value"):
        assert_count(counts[off], number, np.outer(alone, alone)[off], detects=0.08)
