"""One layer alone, fused: the definition in Python numbers, the reference, and the library agree."""

import ctypes

import pytest
import torch

from bayes_sbn.bits import PackedBits
from bayes_sbn.kernels import PackedProbabilities, loader, unpack
from bayes_sbn.kernels.native import fused_linear as native
from bayes_sbn.kernels.native.ensemble import LAWS, LayerArguments
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
def test_rows_are_cut_anywhere_and_shared_out_over_threads(forced_library, is_shared):
    """One block of units, many rows: threads share the rows."""
    rows, inputs, units = 2000, 70, 9
    x = random_words("cut/x", rows, inputs)
    w = random_words("cut/w", units, inputs)
    g = numpy_generator("cut")
    of_units = torch.from_numpy(g.normal(size=(2, units)) / 3)

    def run(first, last, threads=1):
        arguments = (x[first:last], w, None, *of_units, inputs, "laplace", 1.0, is_shared)
        place = (1, 2, 3, 4, 45 + first)
        return native.stochastic_linear(forced_library, *arguments, *place, threads)

    whole = run(0, rows)
    for threads in range(2, 9):
        assert torch.equal(run(0, rows, threads), whole)
    for first, last in ((0, 1), (31, 33), (24, 1500), (1999, 2000)):
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


LINEAR = {
    "bsbn_stochastic_linear": native.StochasticLinearArguments,
    "bsbn_sign_linear": native.SignLinearArguments,
    "bsbn_linear_logits": native.LinearLogitsArguments,
}


def layer_call(name, changes):
    """Arguments of a small call, some of them changed, its result, and what must be kept."""
    x, w = random_words("call/x", 2, 40), random_words("call/w", 3, 40)
    numbers = torch.ones(3, dtype=torch.float64)
    result = torch.zeros(2, 3, dtype=torch.float64)
    of_layer = {n[6:]: v for n, v in changes.items() if n.startswith("layer_")}
    layer = LayerArguments(
        **{
            "words": w.data_ptr(),
            "scale": numbers.data_ptr(),
            "bias": numbers.data_ptr(),
            "units": 3,
            "inputs": 40,
            "noise_scale": 1.0,
        }
        | of_layer
    )
    options = {
        "layer": ctypes.pointer(layer),
        "rows": x.data_ptr(),
        "logits" if "logits" in name else "words": result.data_ptr(),
        "num_rows": 2,
        "num_threads": 1,
    }
    own = {n: v for n, v in changes.items() if not n.startswith("layer_")}
    if "result" in own:
        own = {"logits" if "logits" in name else "words": own["result"]}
    return LINEAR[name](**options | own), result, (x, w, numbers, layer)


@pytest.mark.native
@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_rows": -1}, "-1 rows"),
        ({"layer_units": -1}, "-1 units"),
        ({"layer_inputs": -1}, "-1 inputs"),
        ({"layer_inputs": 2**31}, "2147483648 inputs"),
        ({"num_threads": 0}, "0 threads"),
        ({"rows": None}, "a null pointer"),
        ({"result": None}, "a null pointer"),
        ({"layer": ctypes.POINTER(LayerArguments)()}, "no layer"),
        ({"layer_words": None}, "a null pointer"),
        ({"layer_scale": None}, "a null pointer"),
        ({"layer_bias": None}, "a null pointer"),
    ],
)
def test_arguments_are_checked_before_memory_is_touched(library, name, changes, words):
    struct, result, kept = layer_call(name, changes)
    with pytest.raises(RuntimeError, match=f"{name}: .*{words}"):
        library.run(name, struct)
    assert not result.any()
    del kept


@pytest.mark.native
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"draw": -1}, "draw -1"),
        ({"draw": 2**32}, "draw 4294967296"),
        ({"layer_site": 65_536}, "site 65536"),
        ({"first_row": -1}, "2 rows from -1"),
        ({"first_row": 2**32 - 1}, "2 rows from 4294967295"),
        ({"layer_law": 1}, "law 1"),
        ({"layer_law": 6}, "law 6"),
        ({"layer_noise_scale": 0.0}, "of scale 0"),
        ({"layer_noise_scale": float("nan")}, "of scale nan"),
        ({"layer_words": None, "layer_hot": 1}, "a null pointer"),
    ],
)
def test_arguments_of_draws_are_checked(library, changes, words):
    struct, result, kept = layer_call("bsbn_stochastic_linear", changes)
    with pytest.raises(RuntimeError, match=f"bsbn_stochastic_linear: .*{words}"):
        library.run("bsbn_stochastic_linear", struct)
    assert not result.any()
    del kept


@pytest.mark.native
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_rows": -1}, "-1 rows"),
        ({"units": -1}, "-1 units"),
        ({"inputs": -1}, "-1 inputs"),
        ({"num_threads": 0}, "0 threads"),
        ({"numbers": None}, "a null pointer"),
        ({"weights": None}, "a null pointer"),
        ({"dots": None}, "a null pointer"),
    ],
)
def test_arguments_of_integer_products_are_checked(library, changes, words):
    x, w = torch.ones(2, 40, dtype=torch.int16), random_words("call/w", 3, 40)
    dots = torch.zeros(2, 3, dtype=torch.int64)
    options = {"numbers": x.data_ptr(), "weights": w.data_ptr(), "dots": dots.data_ptr()}
    options |= {"num_rows": 2, "units": 3, "inputs": 40, "num_threads": 1}
    with pytest.raises(RuntimeError, match=f"bsbn_integer_linear: .*{words}"):
        library.run("bsbn_integer_linear", native.IntegerLinearArguments(**options | changes))
    assert not dots.any()


@pytest.mark.native
def test_memory_that_is_not_there_is_an_error(library, monkeypatch):
    monkeypatch.setattr(loader.NativeLibrary, "run", lambda *_, **__: loader.STATUS_OUT_OF_MEMORY)
    name, arguments = next(calls(case((2, 31, 3)), "packed"))
    with pytest.raises(MemoryError):
        by_library(library, name, arguments)


@pytest.mark.native
def test_the_code_that_runs_is_that_of_the_instruction_set(forced_library):
    for name in LINEAR:
        struct, _, kept = layer_call(name, {})
        forced_library.run(name, struct)
        assert loader.ISAS[struct.ran_isa] == forced_library.isa
        del kept


def test_probabilities_of_0_and_1_are_exact():
    p = PackedProbabilities.pack(torch.tensor([[0.0] * 40, [1.0] * 40]))
    x = torch.tensor([[-1, 255]], dtype=torch.int32)
    for seed in range(20):
        bits = reference.stochastic_linear(
            *(x, p.hot, p.cold, torch.ones(2).double(), torch.zeros(2).double(), 40),
            *("uniform", 1.0, True, seed, 0, 0, 0, 0),
        )
        assert bits.tolist() == [[0b10]]
