"""The public fused layers: opcheck, compilation, batches, and what the errors say."""

import numpy as np
import pytest
import torch

from bayes_sbn import kernels
from bayes_sbn.kernels import PackedBits, PackedProbabilities, pack, unpack
from tests.kernels.fused_cases import KINDS, calls, case
from tests.kernels.packing_cases import signs
from tests.kernels.test_operators import BACKENDS, _backend

__all__ = ["_backend"]  # a fixture


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS[:2])
def test_operators_pass_opcheck(kind, backend, request, monkeypatch):
    if backend == "native":
        request.getfixturevalue("library")
    monkeypatch.setenv("BAYES_SBN_BACKEND", backend)
    for number, (name, arguments) in enumerate(calls(case((5, 63, 16)), kind)):
        if name == "stochastic_linear" and number % 3:
            continue  # each check takes a while
        operator = getattr(torch.ops.bayes_sbn, name).default
        results = torch.library.opcheck(operator, arguments)
        assert set(results.values()) == {"SUCCESS"}


def network(x, weights, scale, bias, draw, seed=3, stream=0, row_offset=0):
    """Two hidden layers and logits."""
    p, w, last = weights
    place = {"draw": draw, "seed": seed, "stream": stream, "row_offset": row_offset}
    h = kernels.stochastic_linear(
        pack(x), p, scale, bias, noise="laplace", row_noise="independent", **place
    )
    h = kernels.sign_linear(h, w, 1.0, bias)
    return kernels.linear_logits(h, last, 0.1, -0.3)


def weights_of(inputs: int, units: int):
    p = torch.linspace(0, 1, units * inputs, dtype=torch.float64).reshape(units, inputs)
    return PackedProbabilities.pack(p), pack(signs((units, units))), pack(signs((3, units)))


@pytest.mark.parametrize("dynamic", [None, True])
@pytest.mark.usefixtures("_backend")
def test_layers_pass_through_compile_without_a_break(dynamic):
    torch._dynamo.reset()
    compiled = torch.compile(network, fullgraph=True, backend="eager", dynamic=dynamic)
    weights = weights_of(70, 33)
    scale, bias = torch.linspace(-1, 1, 33), torch.linspace(2, -2, 33)
    for shape, *numbers in [
        ((4, 70), 0),
        ((9, 70), 1, 5),
        ((2, 3, 70), 2**32 - 1, 6, 1),
        ((2, 3, 70), 7, 2**64 - 1, 2**63, 11),
        ((2, 3, 70), 8, 2**62, 3, 12),
    ]:
        x = signs(shape).double()
        found = compiled(x, weights, scale, bias, *numbers)
        assert torch.equal(found, network(x, weights, scale, bias, *numbers))


@pytest.mark.usefixtures("_backend")
def test_integers_pass_through_compile_without_a_break():
    torch._dynamo.reset()
    w = pack(signs((4, 40)))
    x = torch.arange(120, dtype=torch.int16).reshape(3, 40)

    def both(x, w):
        return kernels.integer_linear(x, w), kernels.sign_linear(x, w, 1.0, 0.5).data

    for found, wanted in zip(
        torch.compile(both, fullgraph=True, backend="eager")(x, w), both(x, w), strict=True
    ):
        assert torch.equal(found, wanted)


def test_fakes_state_shapes_without_data():
    p = PackedProbabilities.pack(torch.rand(33, 70))
    p = PackedProbabilities(p.hot.to("meta"), p.cold.to("meta"), p.units, p.inputs)
    w = pack(torch.empty(33, 70, device="meta"))
    for x in (
        pack(torch.empty(5, 2, 70, device="meta")),
        torch.empty(5, 2, 70, dtype=torch.int16, device="meta"),
    ):
        for weights in (p, w):
            bits = kernels.stochastic_linear(x, weights, 1.0, torch.ones(33, device="meta"))
            assert bits.shape == (5, 2, 33)
            assert bits.data.shape == (5, 2, 2)
        assert kernels.sign_linear(x, w, 1.0, 0.0).shape == (5, 2, 33)
        logits = kernels.linear_logits(x, w, 1.0, 0.0)
        assert (logits.shape, logits.dtype) == ((5, 2, 33), torch.float64)
    dots = kernels.integer_linear(x, w)
    assert (dots.shape, dots.dtype) == ((5, 2, 33), torch.int64)


@pytest.mark.usefixtures("_backend")
def test_batches_rows_and_numbers_of_units():
    x, w = pack(signs((2, 3, 40))), pack(signs((5, 40)).flip(-1))
    dots = kernels.xnor_linear(x, w).double()
    scale, bias = torch.linspace(-1, 1, 5), torch.linspace(0.25, 2, 5)
    a = scale.double() * dots + bias.double()
    assert torch.equal(kernels.linear_logits(x, w, scale, bias), a)
    assert torch.equal(unpack(kernels.sign_linear(x, w, scale, bias), torch.bool), a > 0)
    assert torch.equal(kernels.linear_logits(x, w, 0.1, 0.2), 0.1 * dots + 0.2)  # not of float32
    row = PackedBits(x.data[1, 2], 40)
    assert torch.equal(kernels.linear_logits(row, w, scale, bias), a[1, 2])
    numbers = unpack(x, torch.int16) * 7
    assert torch.equal(kernels.integer_linear(numbers, w), 7 * dots.long())
    assert torch.equal(kernels.linear_logits(numbers, w, scale, bias), scale * (7 * dots) + bias)
    none = PackedBits(x.data[:0], 40)
    assert kernels.stochastic_linear(none, w, scale, bias).shape == (0, 3, 5)


@pytest.mark.usefixtures("_backend")
def test_draws_differ_by_each_number_that_keys_them():
    x, p = pack(signs((40, 70))), PackedProbabilities.pack(torch.rand(33, 70))
    base = {"seed": 1, "stream": 2, "draw": 3, "site": 4}
    for row_noise in ("shared", "independent"):
        found = [
            kernels.stochastic_linear(x, p, 0.1, 0.0, row_noise=row_noise, **base | {n: 9}).data
            for n in base
        ]
        found.append(kernels.stochastic_linear(x, p, 0.1, 0.0, row_noise=row_noise, **base).data)
        assert len({tuple(bits.flatten().tolist()) for bits in found}) == 5
    one = PackedBits(x.data[:1].expand(40, -1), 70)
    assert len(kernels.stochastic_linear(one, p, 0.1, 0.0).data.unique(dim=0)) == 1
    many = kernels.stochastic_linear(one, p, 0.1, 0.0, row_noise="independent")
    assert len(many.data.unique(dim=0)) > 30
    later = kernels.stochastic_linear(one, p, 0.1, 0.0, row_noise="independent", row_offset=5)
    assert torch.equal(later.data[:-5], many.data[5:])


@pytest.mark.usefixtures("_backend")
@pytest.mark.parametrize("which", ["scale", "bias"])
def test_layers_refuse_to_be_differentiated(which):
    x, w = pack(signs((2, 40))), pack(signs((5, 40)))
    units = {"scale": torch.ones(5), "bias": torch.zeros(5)}
    units[which].requires_grad_()
    for call in (kernels.stochastic_linear, kernels.sign_linear, kernels.linear_logits):
        words = (
            rf"{call.__name__}\(\) has no gradient.*Write scale\.detach\(\) and bias\.detach\(\)"
        )
        with pytest.raises(RuntimeError, match=words):
            call(x, w, **units)
        with torch.no_grad():
            call(x, w, **units)


@pytest.mark.usefixtures("_backend")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_scales_and_biases_are_finite(value):
    x, w = pack(signs((2, 40))), pack(signs((5, 40)))
    wrong = torch.tensor([0.0, 0, value, 0, 0])
    for call in (kernels.stochastic_linear, kernels.sign_linear, kernels.linear_logits):
        with pytest.raises(ValueError, match=r"finite scale: that of unit 2 is -?(nan|inf)"):
            call(x, w, wrong, 0.0)
        with pytest.raises(ValueError, match=rf"{call.__name__}\(\) needs a finite bias: that of"):
            call(x, w, 0.0, wrong)
        with pytest.raises(ValueError, match="finite bias"):
            call(PackedBits(x.data[:0], 40), w, 0.0, wrong)


def test_sums_beyond_32_bits_are_the_references(monkeypatch, library):
    """The library refuses them; where it is not forced the reference computes them."""
    x = torch.full((1, 65_540), 32_767, dtype=torch.int16)
    x[0, 0] = 0
    w = PackedBits(torch.full((2, 2049), -1, dtype=torch.int32), 65_540)
    assert kernels.integer_linear(x, w).tolist() == [[32_767 * 65_539] * 2]
    assert kernels.linear_logits(x, w, 2.0, 1.0).tolist() == [[2.0 * 32_767 * 65_539 + 1] * 2]
    assert kernels.sign_linear(x, w, torch.tensor([1.0, -1.0]), 0.0).data.tolist() == [[1]]
    scale = torch.tensor([1.0, -1.0])
    assert kernels.stochastic_linear(x, w, scale, 0.0).data.tolist() == [[1]]
    monkeypatch.setenv("BAYES_SBN_BACKEND", "native")
    for name, units in (("integer_linear", ()), ("sign_linear", (1.0, 0.0))):
        with pytest.raises(RuntimeError, match=rf"{name}\(\): the compiled library is forced"):
            getattr(kernels, name)(x, w, *units)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_layers_on_cuda_equal_cpu():
    for kind in KINDS:
        for name, arguments in calls(case((33, 33, 17)), kind):
            operator = getattr(torch.ops.bayes_sbn, name).default
            there = [a.cuda() if isinstance(a, torch.Tensor) else a for a in arguments]
            found = operator(*there)
            assert found.is_cuda
            assert torch.equal(found.cpu(), operator(*arguments))


X = pack(signs((2, 40)))
W = pack(signs((5, 40)))
P = PackedProbabilities.pack(torch.full((5, 40), 0.5))
NUMBERS = torch.ones(2, 40, dtype=torch.int16)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"x": torch.ones(2, 40)}, TypeError, r"rows of torch.float32 of shape \(2, 40\).*pack\(x"),
        ({"x": torch.tensor(1, dtype=torch.int16)}, TypeError, r"torch.int16 of shape \(\)"),
        ({"x": np.ones((2, 40))}, TypeError, r"rows of ndarray.*torch.int16"),
        ({"w": torch.ones(5, 40)}, TypeError, r"weights of Tensor.*packed bits.*Write pack\(w\)"),
        ({"w": pack(signs((2, 5, 40)))}, ValueError, r"weights of shape \(2, 5, 40\).*matrix"),
        ({"w": pack(signs((5, 39)))}, ValueError, "rows have 40 values and weights 39"),
        ({"scale": torch.ones(4)}, ValueError, r"a scale of torch.float32 and shape \(4,\)"),
        ({"bias": torch.ones(5, 1)}, ValueError, r"shape \(5, 1\).*bias.reshape\(5\)"),
        ({"bias": torch.ones(5) * 1j}, ValueError, "a bias of torch.complex64"),
    ],
)
def test_bad_operands_are_errors(changes, error, words):
    given = {"x": X, "w": W, "scale": 1.0, "bias": 0.0} | changes
    for call in (kernels.stochastic_linear, kernels.sign_linear, kernels.linear_logits):
        with pytest.raises(error, match=rf"{call.__name__}\(\).*{words}"):
            call(**given)
    if not {"scale", "bias"} & set(changes):
        given = {"x": NUMBERS, "w": W} | changes
        with pytest.raises(error, match=rf"integer_linear\(\).*{words}"):
            kernels.integer_linear(**given)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"noise": "cauchy"}, r"noise='cauchy'\): the noise must be one of 'logistic', 'gaussian'"),
        ({"noise_scale": 0.0}, r"noise_scale=0.0\).*Write sign_linear\(x, w, scale, bias\)"),
        ({"noise_scale": float("nan")}, r"noise_scale=nan\)"),
        ({"noise_scale": float("inf")}, r"noise_scale=inf\)"),
        ({"row_noise": "own"}, r"row_noise='own'\): .*'shared' or 'independent'"),
        ({"seed": -1}, r"seed=-1, stream=0\).*seed % 2\*\*64"),
        ({"stream": 2**64}, r"stream=18446744073709551616\): both are"),
        ({"draw": 2**32}, r"draw=4294967296, site=0\)"),
        ({"draw": -1}, r"draw=-1"),
        ({"site": 65_536}, r"site=65536\)"),
        ({"row_offset": -1}, r"row_offset=-1\): indices of 2 rows"),
        ({"row_offset": 2**32 - 1}, r"row_offset=4294967295\): indices of 2 rows"),
        ({"w": PackedProbabilities.pack(torch.full((5, 39), 0.5))}, "40 values and weights 39"),
    ],
)
def test_bad_options_of_a_draw_are_errors(changes, words):
    with pytest.raises(ValueError, match=f"stochastic_linear.*{words}"):
        kernels.stochastic_linear(**{"x": X, "w": P, "scale": 1.0, "bias": 0.0} | changes)


def test_what_belongs_to_another_function_is_said():
    for call in (kernels.sign_linear, kernels.linear_logits):
        with pytest.raises(TypeError, match=r"weights of PackedProb.*w\.draw\(\[draw\]"):
            call(X, P, 1.0, 0.0)
    with pytest.raises(TypeError, match=r"of packed ones write xnor_linear\(x, w\)"):
        kernels.integer_linear(X, W)
