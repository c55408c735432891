"""One layer alone: the definition in Python numbers, the reference, and the library agree."""

import pytest
import torch

from bayes_sbn.bits import PackedBits
from bayes_sbn.kernels import PackedProbabilities, unpack
from bayes_sbn.kernels.native import fused_linear as native
from bayes_sbn.kernels.native.ensemble import LAWS
from bayes_sbn.kernels.reference import fused_linear as reference
from tests.chance import numpy_generator
from tests.kernels.fused_cases import (
    KINDS,
    SHAPES,
    by_library,
    by_reference,
    calls,
    case,
    random_words,
)
from tests.kernels.reference import draw_oracle as oracle

WITHOUT_NOISE = (native.sign_linear, native.linear_logits)
SEED, STREAM, DRAW, SITE, FIRST = 2**64 - 3, 5, 2**32 - 1, 65_535, 29


@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize("noise", LAWS)
@pytest.mark.parametrize("kind", KINDS)
def test_reference_is_the_definition_number_by_number(kind, noise, is_shared):
    given = case((5, 63, 16))
    rows, key = given.rows[kind], oracle.key_of(SEED, STREAM)
    p = given.probabilities
    found = reference.stochastic_linear(
        *(rows, p.hot, p.cold, given.scale, given.bias, given.inputs, noise, given.noise_scale),
        *(is_shared, SEED - 2**64, STREAM, DRAW, SITE, FIRST),
    )
    drawn = unpack(PackedBits(found, 16), torch.int8).tolist()
    weights = unpack(p.draw([DRAW], seed=SEED, stream=STREAM, site=SITE), torch.int64)[0].tolist()
    x = rows if kind != "packed" else unpack(PackedBits(rows, given.inputs), torch.int64)
    for row, values in enumerate(x.tolist()):
        for unit in range(16):
            dot = sum(w * v for w, v in zip(weights[unit], values, strict=True))
            a = float(given.scale[unit]) * float(dot) + float(given.bias[unit])
            if is_shared:
                u = oracle.shared_u48(key, DRAW, SITE, unit)
            else:
                u = oracle.row_u48(key, DRAW, SITE, unit, FIRST + row)
            wanted = 1 if u < oracle.threshold48(noise, a, given.noise_scale) else -1
            assert drawn[row][unit] == wanted


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(5, 63, 16), (7, 65, 32)])
def test_signs_logits_and_dots_are_the_definition_number_by_number(kind, shape):
    given = case(shape)
    rows, w = given.rows[kind], unpack(given.w, torch.int64).tolist()
    x = rows if kind != "packed" else unpack(PackedBits(rows, given.inputs), torch.int64)
    units = (given.scale, given.bias, given.inputs)
    signs = unpack(PackedBits(reference.sign_linear(rows, given.w.data, *units), shape[2]))
    logits = reference.linear_logits(rows, given.w.data, *units)
    zeros = 0
    for row, values in enumerate(x.tolist()):
        for unit, weights in enumerate(w):
            dot = sum(a * b for a, b in zip(weights, values, strict=True))
            a = float(given.scale[unit]) * float(dot) + float(given.bias[unit])
            zeros += a == 0
            assert logits[row, unit] == a
            assert signs[row, unit] == (1 if a > 0 else -1)
            if kind != "packed":
                assert reference.integer_linear(rows, given.w.data)[row, unit] == dot
    assert zeros >= len(rows)  # the side of 0 is looked at


@pytest.mark.native
@pytest.mark.parametrize("slope", [0.5, -0.5, 3e-320, -1e300])
def test_signs_change_beyond_0_and_not_at_it(forced_library, slope):
    """All dots of 9 inputs, and units whose pre-activation is 0 at each of them."""
    x = torch.tensor([[(1 << ones) - 1] for ones in range(10)], dtype=torch.int32)
    dots = 2.0 * torch.arange(10, dtype=torch.float64) - 9
    scale, bias = torch.full((10,), slope, dtype=torch.float64), -slope * dots
    w = torch.full((10, 1), 511, dtype=torch.int32)
    a = scale * dots[:, None] + bias
    assert (a == 0).sum() == 10
    signs = native.sign_linear(forced_library, x, w, scale, bias, 9)
    assert torch.equal(unpack(PackedBits(signs, 10), torch.bool), a > 0)
    assert torch.equal(reference.sign_linear(x, w, scale, bias, 9), signs)
    assert torch.equal(native.linear_logits(forced_library, x, w, scale, bias, 9), a)


@pytest.mark.native
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_library_has_the_references_bits(forced_library, shape, kind):
    given = case(shape)
    for name, arguments in calls(given, kind):
        found = by_library(forced_library, name, arguments)
        wanted = by_reference(name, arguments)
        assert found.shape == wanted.shape
        assert found.dtype == wanted.dtype
        assert torch.equal(found, wanted), (name, arguments[6:])


@pytest.mark.native
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(33, 33, 17), (70, 100, 33), (2, 31, 3), (3, 129, 100)])
def test_padding_strides_and_threads_do_not_matter(forced_library, shape, kind):
    given = case(shape)
    pairs = zip(calls(given, kind), calls(given, kind, poison=True), strict=True)
    for number, ((name, clean), (_, arguments)) in enumerate(pairs):
        wanted = by_library(forced_library, name, clean)
        if wanted.dtype == torch.int32 and shape[2] % 32:
            assert not (wanted[:, -1] >> shape[2] % 32).any()  # padding of the result is 0
        strided = tuple(
            torch.stack([a, a], -1)[..., 0] if isinstance(a, torch.Tensor) else a for a in arguments
        )
        for threads in (1, 2 + number % 7, 8):
            assert torch.equal(by_library(forced_library, name, arguments, threads), wanted)
        assert torch.equal(by_library(forced_library, name, strided, 3), wanted)
        assert torch.equal(by_reference(name, strided), wanted)


@pytest.mark.native
@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize("shape", [(60_000, 70, 9), (3000, 1280, 20), (300, 1280, 150)])
def test_rows_are_cut_anywhere_and_work_is_shared_out(forced_library, shape, is_shared):
    """Threads share the rows where units are few, both, or the units."""
    rows, inputs, units = shape
    x, w = random_words("cut/x", rows, inputs), random_words("cut/w", units, inputs)
    g = numpy_generator("cut")
    layer = (*torch.from_numpy(g.normal(size=(2, units)) / inputs**0.5), inputs)

    def run(first, last, threads=1):
        noise = ("laplace", 1.0, is_shared, 1, 2, 3, 4, 45 + first)
        return native.stochastic_linear(
            forced_library, x[first:last], w, None, *layer, *noise, threads
        )

    whole = run(0, rows)
    signs, logits = (f(forced_library, x, w, *layer, 1) for f in WITHOUT_NOISE)
    for threads in range(2, 9):
        assert torch.equal(run(0, rows, threads), whole)
        assert torch.equal(native.sign_linear(forced_library, x, w, *layer, threads), signs)
        assert torch.equal(native.linear_logits(forced_library, x, w, *layer, threads), logits)
    for first, last in ((0, 1), (31, 33), (24, rows - 1), (rows - 1, rows)):
        assert torch.equal(run(first, last), whole[first:last])


@pytest.mark.native
@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize("law", LAWS)
def test_laws_have_the_references_bits_where_nothing_is_cheap(forced_library, law, is_shared):
    """Scale and bias of 1e7 cancel: no bound in single precision holds, and F64 decides alone."""
    g = numpy_generator(f"fused cancel/{law}")
    units, inputs = 2000, 33
    scale = 1e7 * g.choice([-1, 1], units) * g.random(units)
    bias = 3 * g.normal(size=units) - scale * inputs
    w = torch.full((units, 2), -1, dtype=torch.int32)
    place = (law, 1.3, is_shared, 1, 0, 2, 3, 7)
    x = torch.tensor([[-1, 1], [-2, 1]], dtype=torch.int32)  # the second is one step away
    given = (w, None, torch.from_numpy(scale), torch.from_numpy(bias), inputs, *place)
    found = native.stochastic_linear(forced_library, x, *given)
    assert torch.equal(found, reference.stochastic_linear(x, *given))
    assert len(found[0].unique()) > 4


@pytest.mark.native
def test_sums_at_the_limit_of_32_bits(forced_library):
    """Of 65538 inputs of 32767, all the same but one, and of -32768."""
    inputs, units = 65_538, 3
    w = random_words("limit", units, inputs)
    w[0] = -1
    x = torch.full((2, inputs), 32_767, dtype=torch.int16)
    x[0, 0] = 0
    dots = native.integer_linear(forced_library, x, w)
    assert torch.equal(dots, reference.integer_linear(x, w))
    assert dots.max() == 32_767 * inputs
    assert 32_767 * inputs <= 2**31 - 1
    lowest = torch.full((1, 40), -32_768, dtype=torch.int16)
    for rows in (lowest, torch.cat([lowest, lowest[:, :1] + 1], -1)):
        weights = random_words("lowest", 5, rows.shape[1])
        found = native.integer_linear(forced_library, rows, weights)
        assert torch.equal(found, reference.integer_linear(rows, weights))
    wider = torch.cat([x, x[:, :2]], -1)
    assert native.integer_linear(forced_library, wider, random_words("w", 1, inputs + 2)) is None


@pytest.mark.native
def test_the_largest_sums_are_decided_too(forced_library):
    """Rows whose sums are the bounds of a search, and between which the rule changes."""
    x = torch.tensor([[-7] * 20, [7] * 20, [7] + [0] * 19], dtype=torch.int16)
    w = torch.tensor([[(1 << 20) - 1]], dtype=torch.int32).expand(6, 1)
    scale = torch.tensor([1.0, 1, 1, -1, -1, -1], dtype=torch.float64)
    bias = torch.tensor([141.0, 139.5, -139.5, 141, 139.5, -139.5], dtype=torch.float64)
    signs = native.sign_linear(forced_library, x, w, scale, bias, 20)
    assert torch.equal(signs, reference.sign_linear(x, w, scale, bias, 20))
    assert unpack(PackedBits(signs, 6), torch.int8)[0].tolist() == [1, -1, -1, 1, 1, 1]
    place = ("uniform", 0.25, True, 1, 0, 2, 3, 0)
    given = (x, w, None, scale, bias, 20, *place)
    found = native.stochastic_linear(forced_library, *given)
    assert torch.equal(found, reference.stochastic_linear(*given))
    assert torch.equal(found, signs)  # all are beyond the noise


def test_probabilities_of_0_and_1_are_exact():
    p = PackedProbabilities.pack(torch.tensor([[0.0] * 40, [1.0] * 40]))
    x = torch.tensor([[-1, 255]], dtype=torch.int32)
    for seed in range(20):
        bits = reference.stochastic_linear(
            *(x, p.hot, p.cold, torch.ones(2).double(), torch.zeros(2).double(), 40),
            *("uniform", 1.0, True, seed, 0, 0, 0, 0),
        )
        assert bits.tolist() == [[0b10]]
