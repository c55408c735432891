"""Convolutions of packed maps: the definition, the reference, and the compiled library agree."""

import pytest
import torch
from torch.nn import functional

from bayes_sbn.kernels import loader, pack, xnor_conv2d
from bayes_sbn.kernels.native import convolutions as native
from bayes_sbn.kernels.native.windows import Maps, Window
from bayes_sbn.kernels.reference import convolutions as reference
from tests.kernels.conftest import ran_by
from tests.kernels.map_cases import (
    CASES,
    convolved_by_hand,
    maps_and_kernels,
    options,
    packed,
    random_case,
)
from tests.kernels.packing_cases import signs
from tests.kernels.test_operators import BACKENDS, _backend

__all__ = ["_backend"]  # a fixture


def name(case) -> str:
    return str(case.space) + str(case.channels)


@pytest.mark.parametrize("case", [c for c in CASES if c.channels * c.units < 800], ids=name)
def test_the_reference_is_the_sum_over_the_taps_in_the_map(case):
    x, w = maps_and_kernels(case)
    found = reference.xnor_conv2d(*packed(case, is_poisoned=True), *options(case))
    assert torch.equal(found, convolved_by_hand(x, w, case))


@pytest.mark.native
@pytest.mark.parametrize("case", CASES, ids=name)
def test_the_library_gives_the_reference(forced_library, case):
    words = packed(case)
    wanted = reference.xnor_conv2d(*words, *options(case))
    for threads in (1, 2, 3, 8):
        found = native.xnor_conv2d(forced_library, *words, *options(case), threads)
        assert torch.equal(found, wanted)


@pytest.mark.native
def test_the_library_gives_the_reference_in_random_cases(forced_library):
    for number in range(60):
        case = random_case(str(number))
        words = packed(case)
        wanted = reference.xnor_conv2d(*words, *options(case))
        poison = packed(case, is_poisoned=True)
        assert torch.equal(native.xnor_conv2d(forced_library, *words, *options(case)), wanted)
        assert torch.equal(native.xnor_conv2d(forced_library, *poison, *options(case)), wanted)


@pytest.mark.native
def test_strides_of_memory_do_not_matter(forced_library):
    case = CASES[4]
    maps, weights = packed(case)
    wanted = reference.xnor_conv2d(maps, weights, *options(case))
    strided = torch.stack([maps, maps], -1)[..., 0]
    turned = weights.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    assert not strided.is_contiguous()
    assert not turned.is_contiguous()
    found = native.xnor_conv2d(forced_library, strided, turned, *options(case))
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("padding", [0, 2, (0, 1), "same", "valid"])
@pytest.mark.usefixtures("_backend")
def test_the_call_is_that_of_torch(padding, groups):
    x, w = signs((2, 33, 6, 5)), signs((6, 33 // groups, 2, 3), seed=1)
    found = xnor_conv2d(
        pack(x.permute(0, 2, 3, 1)),
        pack(w.permute(0, 2, 3, 1)),
        padding=padding,
        dilation=(2, 1),
        groups=groups,
    )
    wanted = functional.conv2d(
        x.double(), w.double(), padding=padding, dilation=(2, 1), groups=groups
    )
    assert found.dtype == torch.int32
    assert torch.equal(found.permute(0, 3, 1, 2).double(), wanted)
    strided = xnor_conv2d(
        pack(x.permute(0, 2, 3, 1)), pack(w.permute(0, 2, 3, 1)), stride=(1, 2), groups=groups
    )
    wanted = functional.conv2d(x.double(), w.double(), stride=(1, 2), groups=groups)
    assert torch.equal(strided.permute(0, 3, 1, 2).double(), wanted)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_operator_passes_opcheck(backend, request, monkeypatch):
    if backend == "native":
        request.getfixturevalue("library")
    monkeypatch.setenv("BAYES_SBN_BACKEND", backend)
    for case in (CASES[5], CASES[11]):
        results = torch.library.opcheck(
            torch.ops.bayes_sbn.xnor_conv2d.default, (*packed(case), *options(case))
        )
        assert set(results.values()) == {"SUCCESS"}


@pytest.mark.parametrize("dynamic", [None, True])
@pytest.mark.usefixtures("_backend")
def test_the_call_passes_through_compile_without_a_break(dynamic):
    def layer(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        dots = xnor_conv2d(pack(x), pack(w), padding=1, stride=(2, 1))
        return dots.double() * 0.5

    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="eager", dynamic=dynamic)
    for shape in [(2, 6, 5, 40), (3, 6, 5, 40), (3, 4, 8, 33)]:
        x, w = signs(shape).double(), signs((5, 3, 3, shape[-1])).double()
        assert torch.equal(compiled(x, w), layer(x, w))


@pytest.mark.usefixtures("_backend")
def test_what_requires_a_gradient_is_refused_before_it_is_packed():
    x = torch.ones(1, 3, 3, 2, requires_grad=True)
    w = pack(torch.ones(1, 2, 2, 2))
    with pytest.raises(RuntimeError, match=r"pack\(\) has no gradient.*x\.detach\(\)"):
        xnor_conv2d(pack(x), w)
    dots = xnor_conv2d(pack(x.detach()), w)
    assert not dots.requires_grad
    assert dots.flatten().tolist() == [8] * 4


def test_errors_say_what_came_and_what_to_write():
    x, w = pack(signs((2, 4, 5, 12))), pack(signs((6, 3, 3, 12)))
    for maps, kernels, wrong, words in (
        (signs((2, 4, 5, 12)), w, {}, r"x is Tensor; it must be PackedBits.*pack\(x\.permute"),
        (x, signs((6, 3, 3, 12)), {}, r"w is Tensor; it must be PackedBits.*pack\(w\.permute"),
        (pack(signs((4, 5, 12))), w, {}, r"x has shape \(4, 5, 12\).*pack\(x\.permute\(0, 2, 3, 1"),
        (pack(signs((2, 4, 5, 0))), w, {}, r"shape \(2, 4, 5, 0\).*one cell and one channel"),
        (x, pack(signs((6, 3, 12))), {}, r"kernels have shape \(6, 3, 12\).*pack\(w\.permute"),
        (x, pack(signs((6, 0, 3, 12))), {}, r"shape \(6, 0, 3, 12\).*at least one of each"),
        (x, pack(signs((0, 3, 3, 12))), {}, r"shape \(0, 3, 3, 12\).*at least one of each"),
        (x, pack(signs((6, 3, 3, 4))), {}, r"12 channels, kernels 4, and groups is 1.*groups=3"),
        (x, pack(signs((6, 3, 3, 5))), {}, r"12 channels, kernels 5, and groups is 1"),
        (x, w, {"groups": 2}, r"kernels 12, and groups is 2.*Write groups=1"),
        (x, w, {"groups": 0}, r"groups is 0"),
        (x, pack(signs((5, 3, 3, 4))), {"groups": 3}, r"5 units do not fall into 3 groups"),
        (x, w, {"stride": 0}, r"stride is 0; it must be an integer of at least 1.*stride=1"),
        (x, w, {"dilation": (1, 2, 3)}, r"dilation is \(1, 2, 3\).*dilation=1"),
        (x, w, {"padding": -1}, r"padding is -1; it must be an integer of at least 0"),
        (x, w, {"padding": "full"}, r"padding is 'full'; .*'same' or 'valid'"),
        (x, w, {"padding": "same", "stride": 2}, r"'same' needs stride=1: received \(2, 2\)"),
        (x, w, {"dilation": 2}, r"\(3, 3\) taps with dilation \(2, 2\).*\(4, 5\) cells"),
    ):
        with pytest.raises((TypeError, ValueError), match=r"^xnor_conv2d\(x, w\): .*" + words):
            xnor_conv2d(maps, kernels, **wrong)


def small_call():
    """A call of the library, and its result."""
    x, w = pack(signs((2, 4, 5, 40))).data, pack(signs((6, 3, 3, 40))).data
    dots = torch.zeros(2, 2, 3, 6, dtype=torch.int32)
    arguments = native.XnorConv2dArguments(
        maps=Maps.of(x, 40),
        window=Window.of((3, 3), (1, 1), (1, 1), (0, 0), (2, 3)),
        weights=w.data_ptr(),
        dots=dots.data_ptr(),
        units=6,
        groups=1,
        num_threads=1,
        ran_isa=-1,
    )
    return arguments, dots, (x, w)


@pytest.mark.native
def test_the_library_says_what_ran(forced_library):
    arguments, dots, words = small_call()
    forced_library.run("bsbn_xnor_conv2d", arguments)
    assert loader.ISAS[arguments.ran_isa] == ran_by(forced_library)
    sizes = (40, [1, 1], [0, 0, 0, 0], [1, 1], 1)
    assert torch.equal(dots, reference.xnor_conv2d(*words, *sizes))


@pytest.mark.native
@pytest.mark.parametrize(
    ("part", "changes", "words"),
    [
        ("maps", {"batch": -1}, "-1 maps"),
        ("maps", {"height": 0}, "of 0 x 5 cells"),
        ("maps", {"width": 0}, "of 4 x 0 cells"),
        ("maps", {"channels": 0}, "0 channels"),
        ("maps", {"words": None}, "a null pointer"),
        ("window", {"height": 0}, "window of 0 x 3"),
        ("window", {"width": -1}, "window of 3 x -1"),
        ("window", {"height": 2**31}, "sums have 32 bits"),
        ("window", {"stride_height": 0}, "strides 0, 1"),
        ("window", {"stride_width": 0}, "strides 1, 0"),
        ("window", {"dilation_height": 0}, "dilations 0, 1"),
        ("window", {"dilation_width": 0}, "dilations 1, 0"),
        ("window", {"top": -1}, "padding -1, 0"),
        ("window", {"left": -1}, "padding 0, -1"),
        ("window", {"out_height": 0}, "for 0 x 3 outputs"),
        ("window", {"out_width": 0}, "for 2 x 0 outputs"),
        (None, {"units": -1}, "-1 units"),
        (None, {"groups": 0}, "0 groups"),
        (None, {"groups": 3}, "3 groups of 40 channels and 6 units"),
        (None, {"groups": 4}, "4 groups of 40 channels and 6 units"),
        (None, {"num_threads": 0}, "0 threads"),
        (None, {"weights": None}, "a null pointer"),
        (None, {"dots": None}, "a null pointer"),
    ],
)
def test_arguments_are_checked(library, part, changes, words):
    arguments, dots, _ = small_call()
    for field, value in changes.items():
        setattr(arguments if part is None else getattr(arguments, part), field, value)
    with pytest.raises(RuntimeError, match=f"bsbn_xnor_conv2d: .*{words}"):
        library.run("bsbn_xnor_conv2d", arguments)
    assert not dots.any()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_other_devices_have_the_same_sums():
    for case in CASES:
        words = packed(case)
        wanted = reference.xnor_conv2d(*words, *options(case))
        there = (t.cuda() for t in words)
        found = torch.ops.bayes_sbn.xnor_conv2d.default(*there, *options(case))
        assert torch.equal(found.cpu(), wanted)
