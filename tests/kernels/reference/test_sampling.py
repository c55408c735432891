"""Random bits and decisions against the definition, one number at a time."""

import numpy as np
import pytest

from bayes_sbn.bits import num_words
from bayes_sbn.kernels.reference import sampling
from bayes_sbn.kernels.reference.cdf64 import CDF64
from bayes_sbn.philox import fold_stream
from tests.chance import assert_count, numpy_generator
from tests.kernels.reference import draw_oracle as oracle

KEY = fold_stream(11, 3)
DRAWS = np.array([0, 5, 2**32 - 1])


def drawn(p: np.ndarray, draws: np.ndarray = DRAWS, site: int = 1) -> np.ndarray:
    """Whether each weight is +1, unpacked bit by bit: (draws, out, in)."""
    q = sampling.probability_thresholds(p)
    words = sampling.draw_weights(KEY, site, draws, sampling.threshold_planes(q))
    assert words.shape == (len(draws), len(p), num_words(p.shape[1]))
    k = np.arange(p.shape[1])
    return (words[:, :, k // 32] >> (k % 32).astype(np.uint32) & 1).astype(bool)


def test_counter_word_keeps_its_fields_apart():
    assert sampling.counter_word(0xABCD, 0x12, 0x34) == 0xABCD1234
    purposes = {
        sampling.WEIGHTS,
        sampling.ROW_NOISE,
        sampling.ROW_NOISE_TIES,
        sampling.SHARED_NOISE,
    }
    assert len(purposes) == 4


@pytest.mark.parametrize("length", [1, 31, 32, 33, 65])
def test_weights_are_plus_one_where_the_uniform_is_below_the_threshold(length):
    p = numpy_generator(f"weights/{length}").uniform(size=(3, length))
    p[0, 0], p[-1, -1] = 0.0, 1.0
    found = drawn(p)
    for s, draw in enumerate(DRAWS):
        for unit in range(3):
            for k in range(length):
                u32 = oracle.weight_u32(KEY, int(draw), 1, unit, k)
                assert found[s, unit, k] == (u32 < round(p[unit, k] * 2**32))


def test_weights_are_decided_by_the_last_of_32_bits():
    u32 = np.array(
        [[oracle.weight_u32(KEY, 5, 1, unit, k) for k in range(40)] for unit in range(2)]
    )
    draw = np.array([5])
    assert not drawn(u32 / 2.0**32, draw).any()  # u < u never
    assert drawn((u32 + 1) / 2.0**32, draw).all()  # u < u + 1 always


def test_weights_of_probability_0_and_1_are_fixed():
    p = np.zeros((4, 100))
    p[:, 1::2] = 1.0
    found = drawn(p, np.arange(50))
    assert (found == (p == 1)).all()


def test_probability_thresholds_have_33_bits_and_round_to_even():
    p = np.array([0.0, 2.0**-33, 1.5 * 2.0**-32, 2.0**-32, 1 - 2.0**-34, 1.0, 0.5])
    q = sampling.probability_thresholds(p)
    assert q.tolist() == [0, 0, 2, 1, 2**32, 2**32, 2**31]


def test_weights_padding_is_zero_even_where_all_probabilities_are_one():
    planes = sampling.threshold_planes(sampling.probability_thresholds(np.ones((2, 33))))
    words = sampling.draw_weights(KEY, 0, DRAWS, planes)
    assert (words[..., 0] == 0xFFFFFFFF).all()
    assert (words[..., 1] == 1).all()


def test_weights_of_a_draw_do_not_depend_on_the_others():
    p = numpy_generator("subset").uniform(size=(3, 40))
    together = drawn(p, np.arange(7))
    assert (drawn(p, np.array([6, 2])) == together[[6, 2]]).all()


@pytest.mark.parametrize(("first_row", "num_rows"), [(0, 1), (0, 33), (31, 2), (70, 64), (95, 1)])
def test_row_uniforms_are_those_of_the_definition(first_row, num_rows):
    u16 = sampling.row_uniforms16(KEY, 2, DRAWS, 3, first_row, num_rows)
    assert u16.shape == (3, num_rows, 3)
    for s, draw in enumerate(DRAWS):
        for r in range(num_rows):
            for unit in range(3):
                u48 = oracle.row_u48(KEY, int(draw), 2, unit, first_row + r)
                v32 = sampling.row_uniforms32(
                    KEY, 2, np.array([draw]), np.array([unit]), np.array([first_row + r])
                )
                assert (int(u16[s, r, unit]) << 32) + int(v32[0]) == u48


def test_row_activations_compare_all_48_bits():
    u48 = np.array(
        [
            [[oracle.row_u48(KEY, int(d), 2, unit, 40 + r) for unit in range(4)] for r in range(9)]
            for d in DRAWS
        ]
    )
    assert not sampling.draw_row_activations(KEY, 2, DRAWS, 40, u48).any()
    assert sampling.draw_row_activations(KEY, 2, DRAWS, 40, u48 + 1).all()
    assert not sampling.draw_row_activations(KEY, 2, DRAWS, 40, np.zeros_like(u48)).any()
    assert sampling.draw_row_activations(KEY, 2, DRAWS, 40, np.full_like(u48, 2**48)).all()


def test_row_activations_of_no_rows():
    nothing = np.zeros((3, 0, 4), np.int64)
    assert sampling.draw_row_activations(KEY, 2, DRAWS, 5, nothing).shape == (3, 0, 4)


def test_shared_uniforms_are_those_of_the_definition():
    u48 = sampling.shared_uniforms(KEY, 2, DRAWS, 5)
    expected = [[oracle.shared_u48(KEY, int(d), 2, unit) for unit in range(5)] for d in DRAWS]
    assert u48.tolist() == expected


@pytest.mark.parametrize("noise", CDF64)
def test_activation_thresholds_are_those_of_the_definition(noise):
    g = numpy_generator(f"thresholds/{noise}")
    scale, bias = g.normal(size=6), g.normal(size=6)
    dots = g.integers(-50, 50, (4, 5, 6))
    found = sampling.activation_thresholds(dots, scale, bias, noise, 1.25)
    for index, dot in np.ndenumerate(dots):
        a = float(scale[index[2]]) * float(dot) + float(bias[index[2]])
        assert found[index] == oracle.threshold48(noise, a, 1.25)


SCALES = np.array([0.11, -0.11, 0.0, 1e-17, -1e-17, 40.0, -3.0, 1e200, -1e200, 5e-324])
BIASES = np.array([0.0, 0.4, -0.7, 1e-9, 0.3, -0.2, 2.0, 1.0, -1.0, -0.1])
UNIFORMS = np.array([0, 1, 2**48 - 1, 2**47, 2**47 - 1, 2**40, *range(10**13, 2**48, 3 * 10**13)])


@pytest.mark.parametrize("noise", CDF64)
def test_shared_thresholds_equal_the_direct_rule_for_every_dot(noise):
    largest = 45
    u48 = np.repeat(UNIFORMS[:, None], len(SCALES), axis=1)
    found = sampling.shared_thresholds(u48, SCALES, BIASES, noise, 0.8, largest)
    assert found.min() >= -largest
    assert found.max() <= largest + 1
    sign = sampling.orientation(SCALES)
    for dot in range(-largest, largest + 1):
        dots = np.full(len(SCALES), dot)
        direct = u48 < sampling.activation_thresholds(dots, SCALES, BIASES, noise, 0.8)
        assert (direct == (sign * dot >= found)).all()


def test_shared_thresholds_reach_all_kinds_of_answers():
    """The test above would be empty if every unit were always or never +1."""
    u48 = np.repeat(UNIFORMS[:, None], len(SCALES), axis=1)
    found = sampling.shared_thresholds(u48, SCALES, BIASES, "logistic", 0.8, 45)
    assert (found == -45).any()
    assert (found == 46).any()
    assert len(np.unique(found)) > 20


@pytest.mark.parametrize("noise", CDF64)
def test_shared_thresholds_hold_at_the_largest_dots_of_real_inputs(noise):
    g = numpy_generator(f"large/{noise}")
    largest = 32767 * 784
    scale, bias = g.normal(size=50) * 2.0**-17, g.normal(size=50)
    u48 = g.integers(0, 2**48, (20, 50))
    found = sampling.shared_thresholds(u48, scale, bias, noise, 1.0, largest)
    sign = sampling.orientation(scale)
    inside = (found > -largest) & (found <= largest)
    assert inside.mean() > 0.9
    at = np.clip(found, -largest, largest)
    below = np.clip(found - 1, -largest, largest)
    rule = [sampling.activation_thresholds(sign * n, scale, bias, noise, 1.0) for n in (at, below)]
    assert (u48 < rule[0])[inside].all()
    assert not (u48 < rule[1])[inside].any()


def test_shared_thresholds_of_a_unit_that_ignores_its_inputs():
    u48 = np.array([[2**47 - 1], [2**47]])
    found = sampling.shared_thresholds(u48, np.zeros(1), np.zeros(1), "logistic", 1.0, 9)
    assert found.tolist() == [[-9], [10]]  # F = 1/2: always, never


def test_weights_occur_with_their_probabilities():
    """Every bit plane counts: 8 bits would put 1/512 + 2**-16 at 0 or 1/256."""
    p = np.array([0.5, 1 / 3, 1 / 512 + 2.0**-16, 0.999, 0.25, 1e-3])
    draws = np.arange(2000)
    found = drawn(np.repeat(p[:, None], 200, axis=1), draws)
    assert_count(found.sum((0, 2)), 2000 * 200, p, detects=0.007)


def test_weights_of_a_wrong_probability_are_noticed():
    found = drawn(np.full((1, 200), 0.51), np.arange(2000))
    with pytest.raises(AssertionError):
        assert_count(found.sum((0, 2)), 2000 * 200, 0.5, detects=0.007)


def test_neighbouring_weights_units_draws_and_sites_agree_half_of_the_time():
    draws = np.arange(500)
    p = np.full((8, 64), 0.5)
    w, other = drawn(p, draws), drawn(p, draws, site=2)
    pairs = [
        (w[:, :, 1:], w[:, :, :-1]),
        (w[:, 1:], w[:, :-1]),
        (w[1:], w[:-1]),
        (w, other),
    ]
    for left, right in pairs:
        assert_count((left == right).sum(), left.size, 0.5, detects=0.01)
