"""Packed products and draws: the reference, the definition, and the compiled library agree."""

import numpy as np
import pytest
import torch

from bayes_sbn.kernels import PackedBits, PackedProbabilities, pack, unpack, xnor_linear
from bayes_sbn.kernels.native import layers as native
from bayes_sbn.kernels.reference import layers as reference
from bayes_sbn.kernels.reference.sampling import (
    draw_weights,
    probability_thresholds,
    threshold_planes,
)
from bayes_sbn.philox import fold_stream
from tests.chance import assert_count, numpy_generator, seed
from tests.kernels.packing_cases import signs
from tests.kernels.test_operators import BACKENDS, _backend

__all__ = ["_backend"]  # a fixture

SHAPES = [
    (1, 1, 1),
    (2, 31, 3),
    (33, 33, 17),
    (5, 63, 16),
    (8, 64, 15),
    (7, 65, 32),
    (3, 129, 100),
    (70, 1000, 33),
    (2, 20_000, 5),
    (0, 40, 3),
    (3, 40, 0),
    (3, 0, 4),
]
"""Rows, length, units."""


@pytest.mark.native
@pytest.mark.parametrize("threads", [1, 3, 8])
@pytest.mark.parametrize("shape", SHAPES)
def test_products_are_those_of_the_signs(forced_library, shape, threads):
    rows, length, units = shape
    x, w = signs((rows, length)), signs((units, length)).flip(-1)
    packed = pack(x).data, pack(w).data
    wanted = (x.double() @ w.double().T).to(torch.int32)
    assert torch.equal(reference.xnor_linear(*packed, length), wanted)
    assert torch.equal(native.xnor_linear(forced_library, *packed, length, threads), wanted)


@pytest.mark.native
@pytest.mark.parametrize("length", [1, 31, 33, 70])
def test_padding_and_strides_do_not_matter(forced_library, length):
    x, w = signs((9, length)), signs((18, length)).flip(0)
    rows, weights = pack(x).data.clone(), pack(w).data.clone()
    poison = -1 << (length % 32)
    rows[:, -1] |= poison
    wanted = (x.double() @ w.double().T).to(torch.int32)
    assert torch.equal(native.xnor_linear(forced_library, rows, weights, length), wanted)
    weights[::2, -1] |= poison
    assert torch.equal(native.xnor_linear(forced_library, rows, weights, length), wanted)
    strided = torch.stack([rows, rows], -1)[..., 0]
    assert not strided.is_contiguous() or strided.shape[1] == 1
    assert torch.equal(native.xnor_linear(forced_library, strided, weights, length), wanted)


@pytest.mark.usefixtures("_backend")
def test_products_keep_the_batch_and_say_what_is_wrong():
    x, w = signs((2, 3, 40)), signs((5, 40)).flip(-1)
    dots = xnor_linear(pack(x), pack(w))
    assert dots.dtype == torch.int32
    assert torch.equal(dots, (x.double() @ w.double().T).to(torch.int32))
    with pytest.raises(ValueError, match=r"rows have 40 values and weights 39.*last dimension"):
        xnor_linear(pack(x), pack(w[:, 1:]))
    with pytest.raises(ValueError, match=r"weights have shape \(2, 3, 40\).*a matrix"):
        xnor_linear(pack(x), pack(x))


def probabilities(units: int, inputs: int) -> torch.Tensor:
    g = numpy_generator(f"probabilities/{units}/{inputs}")
    p = g.random((units, inputs))
    p[g.random(p.shape) < 0.2] = 0.0
    p[g.random(p.shape) < 0.2] = 1.0
    p[g.random(p.shape) < 0.2] = 0.5
    return torch.tensor(p)


@pytest.mark.native
@pytest.mark.parametrize("shape", [(1, 1), (3, 31), (16, 33), (17, 64), (100, 129), (2, 17_000)])
def test_draws_are_those_of_the_definition(forced_library, shape):
    p = probabilities(*shape)
    packed = PackedProbabilities.pack(p)
    draws, key = [0, 3, 2**32 - 1], fold_stream(7, 5)
    planes = threshold_planes(probability_thresholds(p.numpy()))
    wanted = draw_weights(key, 9, np.array(draws), planes).view(np.int32)
    options = (packed.hot, packed.cold, *shape, draws, 9, *key)
    assert np.array_equal(reference.draw_weights(*options).numpy(), wanted)
    for threads in (1, 2, 8):
        found = native.draw_weights(forced_library, *options, threads)
        assert np.array_equal(found.numpy(), wanted)


@pytest.mark.usefixtures("_backend")
def test_draws_by_number_by_index_by_seed_and_by_stream():
    packed = PackedProbabilities.pack(probabilities(5, 70))
    bits = packed.draw(4, seed=1)
    assert isinstance(bits, PackedBits)
    assert tuple(bits.shape) == (4, 5, 70)
    assert torch.equal(packed.draw([3, 1], seed=1).data, bits.data[[3, 1]])
    others = [packed.draw(4), packed.draw(4, seed=1, stream=1), packed.draw(4, seed=1, site=2)]
    assert not any(torch.equal(other.data, bits.data) for other in others)
    fixed = unpack(PackedProbabilities.pack(torch.tensor([[0.0, 1.0]])).draw(50))
    assert torch.equal(fixed, torch.tensor([-1.0, 1.0]).expand(50, 1, 2).to(fixed))


@pytest.mark.parametrize("is_broken", [False, True])
def test_draws_have_their_probabilities(is_broken):
    """Of numbers that 8 bits do not hold; rounded to 6 bits they are noticed."""
    p = torch.tensor([[1 / 3, 1 / 512 + 2**-16, 0.999, 0.5 + 2**-10]], dtype=torch.float64)
    drawn = torch.round(p * 64) / 64 if is_broken else p
    number = 200_000
    bits = PackedProbabilities.pack(drawn).draw(number, seed=seed("packed draws"))
    counts = (unpack(bits) > 0).sum(0).numpy()
    if is_broken:
        with pytest.raises(AssertionError, match="p-value"):
            assert_count(counts, number, p.numpy(), detects=0.01)
    else:
        assert_count(counts, number, p.numpy(), detects=0.01)


@pytest.mark.parametrize("backend", BACKENDS)
def test_operators_pass_opcheck(backend, request, monkeypatch):
    if backend == "native":
        request.getfixturevalue("library")
    monkeypatch.setenv("BAYES_SBN_BACKEND", backend)
    x, w = pack(signs((3, 70))).data, pack(signs((4, 70))).data
    packed = PackedProbabilities.pack(probabilities(5, 70))
    for operator, arguments in [
        (torch.ops.bayes_sbn.xnor_linear.default, (x, w, 70)),
        (
            torch.ops.bayes_sbn.draw_weights.default,
            (packed.hot, packed.cold, 5, 70, [0, 2], 1, 3, 4),
        ),
    ]:
        results = torch.library.opcheck(operator, arguments)
        assert set(results.values()) == {"SUCCESS"}


def test_bad_probabilities_are_errors():
    for p, words in (
        (torch.zeros(3), r"shape \(3,\)"),
        (torch.zeros(0, 3), "at least one of each"),
        (torch.full((1, 2), 1.5), r"lie in \[0, 1\]"),
        (torch.full((1, 2), float("nan")), r"lie in \[0, 1\]"),
    ):
        with pytest.raises(ValueError, match=words):
            PackedProbabilities.pack(p)
    packed = PackedProbabilities.pack(torch.zeros(1, 2))
    with pytest.raises(ValueError, match=r"PackedProbabilities\(hot\).*pack\(p\)"):
        PackedProbabilities(packed.hot[:, :0], packed.cold, 1, 2)
    with pytest.raises(ValueError, match=r"PackedProbabilities\(cold\)"):
        PackedProbabilities(packed.hot, packed.cold.long(), 1, 2)
    assert packed.draw(0).data.shape == (0, 1, 1)
    for options in (
        {"draws": -1},
        {"draws": [2**32]},
        {"draws": [-1]},
        {"draws": 1, "site": 65_536},
    ):
        with pytest.raises(ValueError, match="indices of draws lie in"):
            packed.draw(**options)


@pytest.mark.native
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_rows": -1}, "-1 rows"),
        ({"units": -1}, "-1 units"),
        ({"length": -1}, "length -1"),
        ({"length": 2**31}, "length 2147483648"),
        ({"num_threads": 0}, "0 threads"),
        ({"rows": None}, "a null pointer"),
        ({"weights": None}, "a null pointer"),
        ({"dots": None}, "a null pointer"),
    ],
)
def test_arguments_of_products_are_checked(library, changes, words):
    x = pack(signs((2, 40))).data
    dots = torch.zeros(2, 2, dtype=torch.int32)
    pointers = {"rows": x.data_ptr(), "weights": x.data_ptr(), "dots": dots.data_ptr()}
    sizes = {"num_rows": 2, "units": 2, "length": 40, "num_threads": 1}
    with pytest.raises(RuntimeError, match=f"bsbn_xnor_linear: .*{words}"):
        library.run("bsbn_xnor_linear", native.XnorLinearArguments(**pointers | sizes | changes))
    assert not dots.any()


@pytest.mark.native
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_draws": -1}, "-1 draws"),
        ({"units": 0}, "0 units"),
        ({"inputs": 0}, "0 inputs"),
        ({"site": 65_536}, "site 65536"),
        ({"num_threads": 0}, "0 threads"),
        ({"hot": None}, "a null pointer"),
        ({"words": None}, "a null pointer"),
        ({"draws": None}, "a null pointer"),
        ({"num_draws": 2}, "draw -1"),
    ],
)
def test_arguments_of_draws_are_checked(library, changes, words):
    packed = PackedProbabilities.pack(probabilities(3, 40))
    indices, found = np.array([0, -1]), torch.zeros(2, 3, 2, dtype=torch.int32)
    pointers = {
        "hot": packed.hot.data_ptr(),
        "cold": packed.cold.data_ptr(),
        "draws": indices.ctypes.data,
        "words": found.data_ptr(),
    }
    sizes = {"num_draws": 1, "site": 0, "units": 3, "inputs": 40, "num_threads": 1}
    with pytest.raises(RuntimeError, match=f"bsbn_draw_weights: .*{words}"):
        library.run("bsbn_draw_weights", native.DrawWeightsArguments(**pointers | sizes | changes))
    assert not found.any()
